//! A value's bytes, made fewer on the way to far.
//!
//! What is compressed begins with the length it had before. Reading believes that length only as far as
//! the cap of the cache: it is compared before anything is reserved, nothing is written past it, and
//! what comes out must be exactly as long. So a few bytes that inflate to gigabytes are a miss like
//! any other bytes that cannot be read.
//!
//! A process that lacks a way takes what is written in it for a miss, and writes the entry anew in a
//! way it knows. The features are a ladder (`zstd` brings `lz4`), so whoever reads more reads all
//! that those who read less have written: two such processes do not take turns in ending each other's
//! entries.

use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// In front of what is compressed: its length before, little end first.
const LENGTH_BYTES: usize = 4;
/// A byte of LZ4 never becomes more than this many.
#[cfg(feature = "lz4")]
const LZ4_GAIN_MAX: usize = 255;

/// How values are made smaller before they are stored, and from which size on.
///
/// Kept only where it saves an eighth or more: else the value is stored as it is, and readers have
/// nothing to inflate. Choosing otherwise later is safe at any time; what was stored before is still
/// read.
///
/// ```
/// use larder::Compression;
/// let rarely = Compression::lz4().over_bytes(64 << 10);
/// # assert_ne!(rarely, Compression::none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    way: Way,
    over_bytes: usize,
}

impl Compression {
    /// Values are stored as the codec wrote them.
    pub const fn none() -> Compression {
        Compression { way: Way::None, over_bytes: usize::MAX }
    }

    /// LZ4, for values of more than 1 KiB: quick, and smaller where there is something to save.
    #[cfg(feature = "lz4")]
    pub const fn lz4() -> Compression {
        Compression { way: Way::Lz4, over_bytes: 1 << 10 }
    }

    /// Zstandard, level 1, for values of more than 8 KiB: smaller than LZ4, and slower. For large values,
    /// where Redis' memory or the network is what is short.
    ///
    /// Choose it when every process that reads the cache is built with the feature: to the others
    /// these entries are misses.
    #[cfg(feature = "zstd")]
    pub const fn zstd() -> Compression {
        Compression { way: Way::Zstd, over_bytes: 8 << 10 }
    }

    /// Only values that take more bytes than this, as the codec wrote them, are compressed.
    #[must_use]
    pub const fn over_bytes(mut self, bytes: usize) -> Compression {
        self.over_bytes = bytes;
        self
    }

    /// In words, for errors.
    pub(crate) fn shown(&self) -> String {
        match self.over_bytes {
            usize::MAX => format!("{:?}", self.way),
            over_bytes => format!("{:?} over {over_bytes} bytes", self.way),
        }
    }

    /// What goes into the envelope for a value that the codec wrote as `bytes`.
    pub(crate) fn pack(self, bytes: Vec<u8>) -> Payload {
        let whole_bytes = bytes.len();
        let packed = (whole_bytes > self.over_bytes).then(|| self.way.deflate(&bytes)).flatten();
        match packed {
            Some(packed) if packed.len() <= whole_bytes - whole_bytes / 8 => {
                Payload { way: self.way, bytes: packed, whole_bytes }
            }
            _ => Payload { way: Way::None, bytes, whole_bytes },
        }
    }
}

impl Default for Compression {
    /// LZ4 where it is built in, none where it is not.
    fn default() -> Compression {
        #[cfg(feature = "lz4")]
        return Compression::lz4();
        #[cfg(not(feature = "lz4"))]
        Compression::none()
    }
}

/// A value as it stands in an envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) way: Way,
    pub(crate) bytes: Vec<u8>,
    /// Its length before it was compressed: what caps and weights go by.
    pub(crate) whole_bytes: usize,
}

/// What the flags of an envelope say of its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    #[default]
    None,
    #[cfg(feature = "lz4")]
    Lz4,
    #[cfg(feature = "zstd")]
    Zstd,
}

/// Why a payload was not inflated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("it is of {bytes} bytes, and value_bytes_max is {max}")]
    Large { bytes: usize, max: usize },
    #[error("it does not begin with its length")]
    Short,
    #[cfg(feature = "lz4")]
    #[error("it claims {0} bytes, and does not inflate to them")]
    Claim(usize),
}

impl Way {
    /// What an envelope calls it.
    pub(crate) const fn id(self) -> u8 {
        match self {
            Way::None => 0,
            #[cfg(feature = "lz4")]
            Way::Lz4 => 1,
            #[cfg(feature = "zstd")]
            Way::Zstd => 2,
        }
    }

    /// `None`: not known to this program.
    pub(crate) const fn of_id(id: u8) -> Option<Way> {
        match id {
            0 => Some(Way::None),
            #[cfg(feature = "lz4")]
            1 => Some(Way::Lz4),
            #[cfg(feature = "zstd")]
            2 => Some(Way::Zstd),
            _ => None,
        }
    }

    /// Length and all. `None` when nothing is to be gained.
    fn deflate(self, bytes: &[u8]) -> Option<Vec<u8>> {
        #[cfg(feature = "lz4")]
        let with_length = |most: usize| -> Option<Vec<u8>> {
            let mut out = vec![0; LENGTH_BYTES + most];
            let (length, _) = out.split_first_chunk_mut::<LENGTH_BYTES>()?;
            *length = u32::try_from(bytes.len()).ok()?.to_le_bytes();
            Some(out)
        };
        match self {
            Way::None => {
                let _ = bytes;
                None
            }
            #[cfg(feature = "lz4")]
            Way::Lz4 => {
                let mut out = with_length(lz4_flex::block::get_maximum_output_size(bytes.len()))?;
                let block = out.get_mut(LENGTH_BYTES..)?;
                let length = lz4_flex::block::compress_into(bytes, block).ok()?;
                out.truncate(LENGTH_BYTES + length);
                Some(out)
            }
            #[cfg(feature = "zstd")]
            Way::Zstd => {
                let mut out = with_length(zstd::zstd_safe::compress_bound(bytes.len()))?;
                let length = zstandard::deflate(bytes, out.get_mut(LENGTH_BYTES..)?)?;
                out.truncate(LENGTH_BYTES + length);
                Some(out)
            }
        }
    }

    /// How long a payload is before compression, as far as it says the truth.
    pub(crate) fn whole_bytes(self, payload: &[u8]) -> Result<usize, Fault> {
        if self == Way::None {
            return Ok(payload.len());
        }
        let length = payload.first_chunk::<LENGTH_BYTES>().ok_or(Fault::Short)?;
        usize::try_from(u32::from_le_bytes(*length)).map_err(|_| Fault::Short)
    }

    /// The bytes that the codec wrote.
    ///
    /// # Errors
    /// `Large` when they are, or claim to be, more than `bytes_max`: nothing was reserved.
    pub(crate) fn inflate(self, payload: &[u8], bytes_max: usize) -> Result<Cow<'_, [u8]>, Fault> {
        let bytes = self.whole_bytes(payload)?;
        if bytes > bytes_max {
            return Err(Fault::Large { bytes, max: bytes_max });
        }
        match self {
            Way::None => Ok(Cow::Borrowed(payload)),
            #[cfg(feature = "lz4")]
            Way::Lz4 => {
                let block = payload.get(LENGTH_BYTES..).unwrap_or_default();
                if bytes > block.len().saturating_mul(LZ4_GAIN_MAX) {
                    return Err(Fault::Claim(bytes));
                }
                exactly(bytes, |out| lz4_flex::block::decompress_into(block, out).ok())
            }
            #[cfg(feature = "zstd")]
            Way::Zstd => {
                let frame = payload.get(LENGTH_BYTES..).unwrap_or_default();
                exactly(bytes, |out| zstandard::inflate(frame, out))
            }
        }
    }
}

/// What `inflate` writes, if it is of `bytes` bytes: no more, and no fewer.
#[cfg(feature = "lz4")]
fn exactly(
    bytes: usize,
    inflate: impl FnOnce(&mut [u8]) -> Option<usize>,
) -> Result<Cow<'static, [u8]>, Fault> {
    let mut out = vec![0; bytes];
    match inflate(&mut out) {
        Some(written) if written == bytes => Ok(Cow::Owned(out)),
        _ => Err(Fault::Claim(bytes)),
    }
}

/// Its contexts are large and slow to make: a thread makes one of each when it first needs it, and
/// keeps it as long as it lives.
#[cfg(feature = "zstd")]
mod zstandard {
    use std::cell::RefCell;

    use zstd::bulk::{Compressor, Decompressor};

    const LEVEL: i32 = 1;

    thread_local! {
        static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
        static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }

    pub(super) fn deflate(bytes: &[u8], out: &mut [u8]) -> Option<usize> {
        COMPRESSOR.with_borrow_mut(|kept| {
            let compressor = made(kept, || Compressor::new(LEVEL).ok())?;
            compressor.compress_to_buffer(bytes, out).ok()
        })
    }

    pub(super) fn inflate(frame: &[u8], out: &mut [u8]) -> Option<usize> {
        DECOMPRESSOR.with_borrow_mut(|kept| {
            let decompressor = made(kept, || Decompressor::new().ok())?;
            decompressor.decompress_to_buffer(frame, out).ok()
        })
    }

    fn made<T>(kept: &mut Option<T>, make: impl FnOnce() -> Option<T>) -> Option<&mut T> {
        if kept.is_none() {
            *kept = make();
        }
        kept.as_mut()
    }
}
