//! From a user's key to bytes that no other key of its type has.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;
use uuid::Uuid;

/// Where names are written: on the stack while they are short.
pub(crate) type KeyBuf = SmallVec<[u8; 256]>;

/// What an entry can be asked for by.
///
/// Strings, `char`, bytes, integers, [`NonZero`], `bool`, [`Uuid`], IP addresses, `Option`, lists, tuples
/// of up to six of them, and pointers to them are keys. A type of your own becomes one by `#[derive(ToKey)]`,
/// or by writing its parts in turn:
///
/// ```
/// use larder::{KeyWriter, ToKey};
///
/// enum Listing {
///     Page { number: u32, tag: Option<String> },
///     Search(String),
/// }
///
/// impl ToKey for Listing {
///     fn to_key(&self, out: &mut KeyWriter<'_>) {
///         match self {
///             Listing::Page { number, tag } => (0u8, number, tag).to_key(out),
///             Listing::Search(words) => (1u8, words).to_key(out),
///         }
///     }
/// }
/// ```
///
/// # Two keys must never write the same
///
/// If they did, one would be answered with the other's entry. Each part says where it ends, so this
/// holds of its own accord when
///
/// - every field that tells two keys apart is written, each in the same order and as the same type;
/// - an enum writes a number for its variant first, and no two variants have the same;
/// - a list writes its length before its elements, as slices and `Vec` do.
///
/// Equal keys must write the same in every process, and in every version of your program that shares
/// the cache: nothing drawn at random, no hash that is seeded per process. When what is written
/// changes, give the cache a new schema number.
pub trait ToKey {
    /// Writes the parts that make up the key.
    fn to_key(&self, out: &mut KeyWriter<'_>);

    /// Writes a list of these: how many, `;`, and each in turn.
    ///
    /// Only here for bytes, which are written as they are. There is nothing to gain for another type.
    #[doc(hidden)]
    fn list_to_key(list: &[Self], out: &mut KeyWriter<'_>)
    where
        Self: Sized,
    {
        out.number(list.len() as u128, b';');
        list.iter().for_each(|each| each.to_key(out));
    }
}

/// Takes a key's parts: each [`ToKey`] writes itself into it.
///
/// It has no methods of its own on purpose. Bytes that do not say where they end would let two
/// different keys meet.
pub struct KeyWriter<'a> {
    out: &'a mut KeyBuf,
    length: usize,
    bound: usize,
}

impl<'a> KeyWriter<'a> {
    /// Appends to `out`, and stores nothing more once `bound` bytes were passed.
    pub(super) fn new(out: &'a mut KeyBuf, bound: usize) -> KeyWriter<'a> {
        KeyWriter { out, length: 0, bound }
    }

    /// How many bytes were written, stored or not.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    #[inline]
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
        if self.length <= self.bound {
            self.out.extend_from_slice(bytes);
        }
    }

    /// `<length>.<bytes>`
    #[inline(always)]
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u128, b'.');
        self.raw(bytes);
    }

    /// A number in decimal, and what ends it.
    #[inline(always)]
    pub(super) fn number(&mut self, magnitude: u128, end: u8) {
        // Lengths, nearly always: two digits are written as they are.
        if let Ok(small @ 0..100) = u8::try_from(magnitude) {
            let (tens, ones) = (small / 10, small % 10);
            return match tens {
                0 => self.raw(&[b'0' + ones, end]),
                _ => self.raw(&[b'0' + tens, b'0' + ones, end]),
            };
        }
        self.long_number(magnitude, end);
    }

    fn long_number(&mut self, magnitude: u128, end: u8) {
        let mut text = SmallVec::<[u8; 40]>::new();
        text.push(end);
        let mut rest = magnitude;
        // Most numbers are small, and dividing 128 bits is slow.
        while rest > u128::from(u64::MAX) {
            text.push(b'0' + (rest % 10) as u8);
            rest /= 10;
        }
        let mut rest = rest as u64;
        loop {
            text.push(b'0' + (rest % 10) as u8);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        text.reverse();
        self.raw(&text);
    }
}

impl fmt::Debug for KeyWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyWriter")
            .field("length", &self.length)
            .field("bound", &self.bound)
            .finish()
    }
}

/// Bytes are `<length>.<bytes>`, all else is `<length>;` and each in turn.
impl<T: ToKey> ToKey for [T] {
    #[inline(always)]
    fn to_key(&self, out: &mut KeyWriter<'_>) {
        T::list_to_key(self, out);
    }
}

impl<T: ToKey, const N: usize> ToKey for [T; N] {
    #[inline]
    fn to_key(&self, out: &mut KeyWriter<'_>) {
        self.as_slice().to_key(out);
    }
}

impl<T: ToKey> ToKey for Vec<T> {
    #[inline]
    fn to_key(&self, out: &mut KeyWriter<'_>) {
        self.as_slice().to_key(out);
    }
}

impl ToKey for str {
    #[inline(always)]
    fn to_key(&self, out: &mut KeyWriter<'_>) {
        out.bytes(self.as_bytes());
    }
}

impl ToKey for String {
    #[inline(always)]
    fn to_key(&self, out: &mut KeyWriter<'_>) {
        out.bytes(self.as_bytes());
    }
}

/// As a string of this one character.
impl ToKey for char {
    #[inline]
    fn to_key(&self, out: &mut KeyWriter<'_>) {
        out.bytes(self.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Text on the stack: an address has at most 45 characters.
#[derive(Default)]
struct Text(SmallVec<[u8; 48]>);

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// As the text people write, which tells the two kinds apart: only one of them has colons.
macro_rules! addresses {
    ($($address:ty),*) => {$(
        impl ToKey for $address {
            fn to_key(&self, out: &mut KeyWriter<'_>) {
                let mut text = Text::default();
                // Neither the address nor `Text` ever fails.
                let _ = fmt::Write::write_fmt(&mut text, format_args!("{self}"));
                out.bytes(&text.0);
            }
        }
    )*};
}

addresses!(IpAddr, Ipv4Addr, Ipv6Addr);

/// 36 characters, always.
impl ToKey for Uuid {
    #[inline]
    fn to_key(&self, out: &mut KeyWriter<'_>) {
        out.raw(self.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
    }
}

impl ToKey for bool {
    fn to_key(&self, out: &mut KeyWriter<'_>) {
        u8::from(*self).to_key(out);
    }
}

/// `0;` for none, `1;` before some.
impl<T: ToKey> ToKey for Option<T> {
    fn to_key(&self, out: &mut KeyWriter<'_>) {
        self.is_some().to_key(out);
        if let Some(part) = self {
            part.to_key(out);
        }
    }
}

/// `17;`, `-17;`: the same for one number whatever its width, and whether it may be zero or not.
macro_rules! integers {
    ($($unsigned:ty, $signed:ty $(, $list:item)?;)*) => {$(
        impl ToKey for $unsigned {
            #[inline]
            fn to_key(&self, out: &mut KeyWriter<'_>) {
                out.number(*self as u128, b';');
            }

            $($list)?
        }

        impl ToKey for $signed {
            #[inline]
            fn to_key(&self, out: &mut KeyWriter<'_>) {
                if *self < 0 {
                    out.raw(b"-");
                }
                out.number(self.unsigned_abs() as u128, b';');
            }
        }

        impl ToKey for NonZero<$unsigned> {
            #[inline]
            fn to_key(&self, out: &mut KeyWriter<'_>) {
                self.get().to_key(out);
            }
        }

        impl ToKey for NonZero<$signed> {
            #[inline]
            fn to_key(&self, out: &mut KeyWriter<'_>) {
                self.get().to_key(out);
            }
        }
    )*};
}

integers! {
    u8, i8,
    #[inline(always)]
    fn list_to_key(list: &[u8], out: &mut KeyWriter<'_>) {
        out.bytes(list);
    };
    u16, i16;
    u32, i32;
    u64, i64;
    u128, i128;
    usize, isize;
}

macro_rules! pointers {
    ($($pointer:ty),*) => {$(
        impl<T: ToKey + ?Sized> ToKey for $pointer {
            fn to_key(&self, out: &mut KeyWriter<'_>) {
                T::to_key(self, out);
            }
        }
    )*};
}

pointers!(&T, Box<T>, Arc<T>, Rc<T>);

impl<T: ToKey + ToOwned + ?Sized> ToKey for Cow<'_, T> {
    fn to_key(&self, out: &mut KeyWriter<'_>) {
        T::to_key(self, out);
    }
}

macro_rules! tuples {
    ($(($($part:ident)*))*) => {$(
        impl<$($part: ToKey),*> ToKey for ($($part,)*) {
            #[allow(non_snake_case, reason = "a part is named like its type")]
            fn to_key(&self, out: &mut KeyWriter<'_>) {
                let ($($part,)*) = self;
                $($part.to_key(out);)*
            }
        }
    )*};
}

tuples! { (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) }
