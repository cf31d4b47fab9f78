//! How deep bytes nest, found without recursion and before anything is made of them.
//!
//! The readers of both codecs recurse, once a level or more. rmp-serde bounds lists and maps, but not
//! enums with a field, which are maps as well: `{"Next": {"Next": ..}}` of some kilobytes would
//! overflow the stack and end the process. It also does not mind bytes behind the value. So its input
//! is walked over first, which shows besides that every claimed length is true.
//!
//! One thing is out of reach here: a type that holds itself through newtypes and options alone
//! (`struct N(Option<Box<N>>)`) is read by either codec without consuming a byte a level, and so
//! without end. Such a type can say one thing only, and nobody caches it.

use smallvec::SmallVec;

/// What serde_json reads, and far from the end of a thread's stack.
pub(super) const DEPTH_MAX: usize = 127;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("it is nested deeper than {DEPTH_MAX} levels")]
    Deep,
    #[error("it ends too early")]
    Short,
    #[error("{0} bytes are left over behind it")]
    Long(usize),
    #[cfg(feature = "postcard")]
    #[error("it claims more elements than its bytes can hold")]
    Many,
    #[error("it has a byte that begins no value")]
    Marker,
}

/// Bytes to skip behind a marker, and values to come before the one it began is whole.
struct Began {
    skip: usize,
    parts: usize,
}

/// Exactly one value, all of it.
pub(super) fn check_message_pack(bytes: &[u8]) -> Result<(), Fault> {
    let mut rest = bytes;
    // How many values each open list or map still waits for.
    let mut open = SmallVec::<[usize; 16]>::new();
    loop {
        let Began { skip, parts } = begin(&mut rest)?;
        rest = rest.get(skip..).ok_or(Fault::Short)?;
        if parts > rest.len() {
            return Err(Fault::Short); // each takes a byte at least
        }
        if parts > 0 {
            if open.len() == DEPTH_MAX {
                return Err(Fault::Deep);
            }
            open.push(parts);
            continue;
        }
        while let Some(waiting) = open.last_mut() {
            *waiting -= 1;
            if *waiting > 0 {
                break;
            }
            open.pop();
        }
        if open.is_empty() {
            break;
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(Fault::Long(rest.len())) }
}

fn begin(rest: &mut &[u8]) -> Result<Began, Fault> {
    let (marker, behind) = rest.split_first().ok_or(Fault::Short)?;
    *rest = behind;
    let (skip, parts) = match *marker {
        0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => (0, 0), // small numbers, nil, bool
        map @ 0x80..=0x8f => (0, 2 * usize::from(map & 0x0f)),
        list @ 0x90..=0x9f => (0, usize::from(list & 0x0f)),
        text @ 0xa0..=0xbf => (usize::from(text & 0x1f), 0),
        0xc1 => return Err(Fault::Marker),
        0xc4 | 0xd9 => (length::<1>(rest)?, 0), // bytes, text
        0xc5 | 0xda => (length::<2>(rest)?, 0),
        0xc6 | 0xdb => (length::<4>(rest)?, 0),
        0xc7 => (1 + length::<1>(rest)?, 0), // extensions, with their type
        0xc8 => (1 + length::<2>(rest)?, 0),
        0xc9 => (length::<4>(rest)?.saturating_add(1), 0),
        0xcc | 0xd0 => (1, 0), // numbers
        0xcd | 0xd1 => (2, 0),
        0xca | 0xce | 0xd2 => (4, 0),
        0xcb | 0xcf | 0xd3 => (8, 0),
        fixed @ 0xd4..=0xd8 => (1 + (1 << (fixed - 0xd4)), 0),
        0xdc => (0, length::<2>(rest)?),
        0xdd => (0, length::<4>(rest)?),
        0xde => (0, 2 * length::<2>(rest)?),
        0xdf => (0, length::<4>(rest)?.saturating_mul(2)),
    };
    Ok(Began { skip, parts })
}

/// A length of `N` bytes, big end first.
fn length<const N: usize>(rest: &mut &[u8]) -> Result<usize, Fault> {
    let (digits, behind) = rest.split_first_chunk::<N>().ok_or(Fault::Short)?;
    *rest = behind;
    Ok(digits.iter().fold(0, |sum, digit| (sum << 8) | usize::from(*digit)))
}

/// For what was just written: no deeper than serde_json reads. It looks after all else itself.
#[cfg(feature = "json")]
pub(super) fn check_json(bytes: &[u8]) -> Result<(), Fault> {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(Fault::Deep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}
