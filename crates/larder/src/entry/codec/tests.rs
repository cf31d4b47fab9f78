use std::collections::{BTreeMap, HashMap};
use std::thread;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Serialize, Serializer};

use super::*;

/// Those whose bytes say what they are.
const NAMED: &[Codec] = &[
    Codec::MessagePack,
    #[cfg(feature = "json")]
    Codec::Json,
];

const CODECS: &[Codec] = &[
    Codec::MessagePack,
    #[cfg(feature = "json")]
    Codec::Json,
    #[cfg(feature = "postcard")]
    Codec::Postcard,
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle(u32),
    Box { width: i64, height: i64 },
    Line(f32, f32),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Drawing {
    name: String,
    author: Option<String>,
    shapes: Vec<Shape>,
    notes: BTreeMap<String, Vec<u8>>,
    size: (u64, i8),
    at: uuid::Uuid,
}

/// Recursive through an enum, which is what MessagePack's reader does not bound by itself.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Chain {
    End,
    Next(Box<Chain>),
}

/// Recursive through everything else.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tree {
    leaves: Vec<Tree>,
    by_name: HashMap<String, Tree>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(f64),
    Text(String),
    List(Vec<Loose>),
    Map(BTreeMap<String, Loose>),
}

impl Chain {
    /// Nested `depth` lists or maps deep.
    fn of(depth: usize) -> Chain {
        (0..depth).fold(Chain::End, |chain, _| Chain::Next(Box::new(chain)))
    }
}

fn bytes_of<V: Serialize>(codec: Codec, value: &V) -> Vec<u8> {
    match codec.encode(value, usize::MAX).unwrap() {
        Encoded::Bytes(bytes) => bytes,
        Encoded::TooLarge => panic!("there is no cap"),
    }
}

/// `depth` levels of a one-field enum.
fn chain_bytes(codec: Codec, depth: usize) -> Vec<u8> {
    let (open, end, close): (&[u8], &[u8], &[u8]) = match codec {
        Codec::MessagePack => (b"\x81\xa4Next", b"\xa3End", b""),
        #[cfg(feature = "json")]
        Codec::Json => (b"{\"Next\":", b"\"End\"", b"}"),
        #[cfg(feature = "postcard")]
        Codec::Postcard => (b"\x01", b"\0", b""),
    };
    [open.repeat(depth), end.to_vec(), close.repeat(depth)].concat()
}

prop_compose! {
    fn any_drawing()(
        name: String,
        author: Option<String>,
        shapes in vec(prop_oneof![
            Just(Shape::Dot),
            any::<u32>().prop_map(Shape::Circle),
            any::<(i64, i64)>().prop_map(|(width, height)| Shape::Box { width, height }),
            (-1e9f32..1e9, -1e9f32..1e9).prop_map(|(x, y)| Shape::Line(x, y)),
        ], 0..40),
        notes in btree_map(any::<String>(), vec(any::<u8>(), 0..300), 0..20),
        size: (u64, i8),
        at: u128,
    ) -> Drawing {
        Drawing { name, author, shapes, notes, size, at: uuid::Uuid::from_u128(at) }
    }
}

#[test]
fn message_pack_is_the_default_and_ids_stay_as_they_are() {
    assert_eq!(Codec::default(), Codec::MessagePack);
    assert_eq!(Codec::MessagePack.id(), 1);
    #[cfg(feature = "json")]
    assert_eq!(Codec::Json.id(), 2);
    #[cfg(feature = "postcard")]
    assert_eq!(Codec::Postcard.id(), 3);
}

#[test]
fn fields_are_written_by_name_so_that_one_can_be_added() {
    #[derive(Serialize)]
    struct Old {
        id: u32,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct New {
        #[serde(default)]
        title: String,
        id: u32,
    }
    for codec in NAMED {
        let bytes = bytes_of(*codec, &Old { id: 17 });
        let read: New = codec.decode(&bytes).unwrap();
        assert_eq!(read, New { title: String::new(), id: 17 });
    }
}

#[test]
fn an_error_says_what_was_tried_and_keeps_its_cause() {
    let error = Codec::MessagePack.decode::<u8>(b"").unwrap_err();
    assert_eq!(error.to_string(), "cannot read value as MessagePack: it ends too early");
    let error = Codec::MessagePack.decode::<u8>(b"\xa1x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.cause::<rmp_serde::decode::Error>().is_some());
}

#[test]
fn bytes_behind_the_value_are_an_error() {
    for codec in CODECS {
        let whole = bytes_of(*codec, &Shape::Circle(3));
        assert_eq!(codec.decode::<Shape>(&whole).unwrap(), Shape::Circle(3));
        for more in [&b"1"[..], b"\0", b"\xc0", b"{}"] {
            let error = codec.decode::<Shape>(&[&whole[..], more].concat());
            assert!(error.is_err(), "{codec:?} with {more:?} behind it");
        }
    }
}

#[test]
fn a_value_over_the_cap_is_told_apart_from_one_that_cannot_be_written() {
    for codec in CODECS {
        let fits = bytes_of(*codec, &"x".repeat(100)).len();
        let encode = |bytes_max| codec.encode(&"x".repeat(100), bytes_max).unwrap();
        assert!(matches!(encode(fits), Encoded::Bytes(bytes) if bytes.len() == fits));
        assert_eq!(encode(fits - 1), Encoded::TooLarge);
        assert_eq!(encode(0), Encoded::TooLarge);
    }
    struct Unwilling;
    impl Serialize for Unwilling {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    let error = Codec::MessagePack.encode(&Unwilling, 100).unwrap_err();
    assert_eq!(error.to_string(), "cannot write value as MessagePack: not today");
}

#[test]
fn writing_stops_at_the_cap() {
    struct Endless(std::cell::Cell<u64>);
    impl Serialize for Endless {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut list = serializer.serialize_seq(Some(u32::MAX as usize))?;
            loop {
                self.0.set(self.0.get() + 1);
                list.serialize_element(&7u8)?;
            }
        }
    }
    for codec in CODECS {
        let endless = Endless(0.into());
        assert_eq!(codec.encode(&endless, 10_000).unwrap(), Encoded::TooLarge);
        assert!(endless.0.get() <= 10_001, "{codec:?}: {} elements", endless.0.get());
    }
}

#[test]
fn no_more_memory_is_reserved_than_the_cap() {
    for max in [1, 100, 1000, 1500] {
        let mut out = Capped { bytes: Vec::new(), max, passed: false };
        while io::Write::write_all(&mut out, b"123").is_ok() {
            assert!(out.bytes.capacity() <= max, "{} of {max}", out.bytes.capacity());
        }
        assert!(out.passed);
        assert_eq!(out.bytes.len(), max / 3 * 3);
    }
}

/// Written, it could never be read again, and would be a miss for ever.
#[test]
fn what_nests_too_deep_is_refused_both_ways() {
    for codec in CODECS {
        let deepest = bytes_of(*codec, &Chain::of(127));
        assert_eq!(deepest, chain_bytes(*codec, 127));
        assert_eq!(codec.decode::<Chain>(&deepest).unwrap(), Chain::of(127));
        let error = codec.encode_readable(&Chain::of(128), usize::MAX).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encode);
        assert!(error.to_string().ends_with("it is nested deeper than 127 levels"), "{error}");
        assert!(codec.decode::<Chain>(&chain_bytes(*codec, 128)).is_err());
    }
    // Not by what stands in texts, and not by what stands side by side.
    for text in ["[".repeat(500), "\\\"[".repeat(500), "\"]".repeat(500)] {
        for codec in CODECS {
            let bytes = bytes_of(*codec, &vec![&text; 300]);
            assert_eq!(codec.decode::<Vec<String>>(&bytes).unwrap().len(), 300);
        }
    }
}

/// On a quarter of the stack that tokio gives its workers.
#[test]
fn deep_bytes_do_not_overflow_a_stack() {
    let read = || {
        for codec in CODECS {
            assert!(codec.decode::<Chain>(&chain_bytes(*codec, 127)).is_ok());
            for depth in [128, 1000, 1_000_000] {
                assert!(codec.decode::<Chain>(&chain_bytes(*codec, depth)).is_err());
            }
        }
        for open in [&b"\x91"[..], b"\x81\xa0", b"\x81\xa6leaves\x91", b"\xdd\0\0\0\x01"] {
            let bytes = open.repeat(100_000);
            assert!(Codec::MessagePack.decode::<Tree>(&bytes).is_err());
            assert!(Codec::MessagePack.decode::<Loose>(&bytes).is_err());
        }
        let lists = [b"\x91".repeat(127), b"\x01".to_vec()].concat();
        assert!(Codec::MessagePack.decode::<Loose>(&lists).is_ok());
    };
    thread::Builder::new().stack_size(512 << 10).spawn(read).unwrap().join().unwrap();
}

#[cfg(feature = "postcard")]
#[test]
fn elements_that_take_no_bytes_are_counted() {
    let read = |bytes: &[u8]| Codec::Postcard.decode::<Vec<Vec<()>>>(bytes);
    let claims = [&[1][..], &[0xff; 9], &[1]].concat(); // one list, of 2^64 - 1 units
    for bytes in [&claims[..], &claims[1..], &b"\xff\x7f".repeat(3_000)] {
        assert!(read(bytes).is_err(), "{bytes:02x?}");
    }
    let error = read(&claims).unwrap_err().to_string();
    let expected = "cannot read value as Postcard: it claims more elements than its bytes can hold";
    assert_eq!(error, expected);
    assert_eq!(read(b"\x02\x03\x00").unwrap(), [vec![(); 3], vec![]]);
    // Written, it could not be read again.
    assert!(Codec::Postcard.encode_readable(&vec![(); 100], 1_000).is_ok());
    assert!(Codec::Postcard.encode_readable(&vec![(); 100_000], 1_000).is_err());
}

/// It would be stored, and be a miss for ever.
#[cfg(feature = "postcard")]
#[test]
fn a_type_that_needs_names_is_refused_when_it_is_written() {
    let error = Codec::Postcard.encode_readable(&Loose::Number(1.5), 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().starts_with("cannot write value as Postcard"), "{error}");
}

/// Options alone, without end.
#[cfg(feature = "postcard")]
#[test]
fn options_nest_no_deeper_than_lists() {
    #[derive(Debug, Deserialize)]
    struct Next(#[allow(dead_code, reason = "only its depth counts")] Option<Box<Next>>);
    let ones = |count: usize| [vec![1; count], vec![0]].concat();
    assert!(Codec::Postcard.decode::<Next>(&ones(127)).is_ok());
    for depth in [128, 1_000_000] {
        let error = Codec::Postcard.decode::<Next>(&ones(depth)).unwrap_err().to_string();
        assert!(error.ends_with("nested deeper than 127 levels"), "{error}");
    }
}

#[test]
fn a_claimed_length_is_not_believed() {
    use super::nesting::{Fault, check_message_pack};
    // Texts, bytes, extensions, lists and maps that claim all there can be.
    for marker in [0xd9, 0xda, 0xdb, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xdc, 0xdd, 0xde, 0xdf] {
        let bytes = [&[marker][..], &[0xff; 4], b"abc"].concat();
        assert_eq!(check_message_pack(&bytes), Err(Fault::Short), "{marker:#04x}");
        assert!(Codec::MessagePack.decode::<Vec<u64>>(&bytes).is_err());
        assert!(Codec::MessagePack.decode::<HashMap<u64, String>>(&bytes).is_err());
        assert!(Codec::MessagePack.decode::<Vec<()>>(&bytes).is_err());
    }
    // A list in a list in a list, each claiming the rest.
    let lists = b"\xdd\xff\xff\xff\xff".repeat(100);
    assert_eq!(check_message_pack(&lists), Err(Fault::Short));
    assert_eq!(check_message_pack(b"\xc1"), Err(Fault::Marker));
    assert_eq!(check_message_pack(b"\x92\x01"), Err(Fault::Short));
    assert_eq!(check_message_pack(b"\x92\x01\x02\x03\x04"), Err(Fault::Long(2)));
}

/// What begins with every byte there is, then as much as it may need.
#[test]
fn every_marker_is_measured_as_its_reader_measures_it() {
    for marker in 0..=255u8 {
        for filling in [0u8, 1, 2] {
            let bytes = [&[marker][..], &[filling; 200]].concat();
            for length in 0..=bytes.len() {
                agree(&bytes[..length]);
            }
        }
    }
}

/// The walk and the reader find the same bytes whole.
fn agree(bytes: &[u8]) {
    let mut reader = rmp_serde::Deserializer::new(io::Cursor::new(bytes));
    let read = IgnoredAny::deserialize(&mut reader).is_ok();
    let whole = read && reader.position() == bytes.len() as u64;
    let walked = super::nesting::check_message_pack(bytes);
    assert_eq!(whole, walked.is_ok(), "{bytes:02x?}: {walked:?}");
}

fn read_as_everything(codec: Codec, bytes: &[u8]) {
    let _ = codec.decode::<Drawing>(bytes);
    let _ = codec.decode::<Chain>(bytes);
    let _ = codec.decode::<Tree>(bytes);
    let _ = codec.decode::<Loose>(bytes);
    let _ = codec.decode::<Vec<Option<(u8, String)>>>(bytes);
    let _ = codec.decode::<HashMap<String, Vec<f64>>>(bytes);
    let _ = codec.decode::<(u128, i128, char, bool, ())>(bytes);
}

proptest! {
    #[test]
    fn what_is_written_is_read(drawing in any_drawing()) {
        for codec in CODECS {
            let bytes = bytes_of(*codec, &drawing);
            prop_assert_eq!(&codec.decode::<Drawing>(&bytes).unwrap(), &drawing);
        }
    }

    #[test]
    fn any_bytes_can_be_read(bytes in vec(any::<u8>(), 0..300)) {
        CODECS.iter().for_each(|codec| read_as_everything(*codec, &bytes));
    }

    #[test]
    fn a_value_with_bytes_changed_can_be_read(
        drawing in any_drawing(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        length: prop::sample::Index,
    ) {
        for codec in CODECS {
            let mut bytes = bytes_of(*codec, &drawing);
            for (at, to) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *to;
            }
            read_as_everything(*codec, &bytes);
            read_as_everything(*codec, &bytes[..length.index(bytes.len())]);
        }
    }

    /// Bytes that are mostly markers, so that they nest.
    #[test]
    fn the_walk_agrees_with_the_reader(
        bytes in vec(prop_oneof![0x80u8..=0x93, 0xc0u8..=0xdf, 0u8..4], 0..40),
    ) {
        agree(&bytes);
    }
}
