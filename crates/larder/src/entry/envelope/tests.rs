use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::entry::Nonce;
use crate::error::ErrorKind;
use crate::key::{KeyBuf, Namespace};

mod golden;

const CODEC: u8 = 1;
const SCHEMA: u32 = 3;

fn key(number: u32) -> Key {
    let mut name = KeyBuf::new();
    let tasks = Namespace::new("todo", "tasks", SCHEMA).unwrap();
    let alice = tasks.user_prefix("alice", 1024).unwrap();
    tasks.per_user(&alice, &number, 1024, &mut name).unwrap();
    Key::new(&name)
}

fn plain() -> Header {
    Header {
        id: std::array::from_fn(|at| 0xa0 + at as u8),
        negative: false,
        soft_expired: false,
        way: Way::None,
        hard_ms: 66_000,
        fresh_ms: 60_000,
        stored_at_ms: 1_767_225_600_000,
        load_cost_us: 50_123,
        codec: CODEC,
        schema: SCHEMA,
        by: 0,
        sum: None,
        tags: Vec::new(),
    }
}

fn tagged() -> Header {
    let tags = [Tag::new("lists"), Tag::from_parts(&("project", 5))];
    let generations = [[0x11; 16], [0x22; 16]];
    let tagged = |(tag, nonce): (_, Nonce)| Tagged { tag, generation: nonce.into() };
    Header { tags: tags.into_iter().zip(generations).map(tagged).collect(), ..plain() }
}

fn read(bytes: &[u8]) -> Result<(Header, &[u8]), Unreadable> {
    decode(bytes, &key(17), CODEC, SCHEMA, &[])
}

/// As a writer would who knows the layout and means harm.
fn with_right_checksum(mut bytes: Vec<u8>, sum_at: usize) -> Vec<u8> {
    let sum = checksum(&bytes[..sum_at], &bytes[sum_at + 4..]);
    bytes[sum_at..sum_at + 4].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn sum_at(header: &Header) -> usize {
    encode(header, &key(17), b"").unwrap().len() - 4
}

prop_compose! {
    fn any_header()(
        id: Token,
        negative: bool,
        soft_expired: bool,
        times: (u32, u32, u64, u32),
        codec: u8,
        schema: u32,
        tags in vec((".{0,300}", any::<(Nonce, Incarnation)>()), 0..9),
        by: Incarnation,
    ) -> Header {
        let (hard_ms, fresh_ms, stored_at_ms, load_cost_us) = times;
        let tagged = |(name, (nonce, by))| Tagged {
            tag: Tag::new(name),
            generation: Generation { nonce, by },
        };
        let tags = tags.into_iter().map(tagged).collect();
        let lifetime = Header { hard_ms, fresh_ms, stored_at_ms, load_cost_us, ..plain() };
        Header { id, negative, soft_expired, codec, schema, by, tags, ..lifetime }
    }
}

#[test]
fn every_field_stands_where_the_protocol_says() {
    let bytes = encode(&tagged(), &key(17), b"payload").unwrap();
    assert_eq!(bytes[..4], [MAGIC, 1, 0, 2]);
    assert_eq!(bytes[4..8], 66_000u32.to_le_bytes());
    assert_eq!(bytes[8..24], tagged().id);
    assert_eq!(bytes[24], CODEC);
    assert_eq!(bytes[25..29], 3u32.to_le_bytes());
    assert_eq!(bytes[29..37], 1_767_225_600_000u64.to_le_bytes());
    assert_eq!(bytes[37..41], 60_000u32.to_le_bytes());
    assert_eq!(bytes[41..45], 50_123u32.to_le_bytes());
    assert_eq!(bytes[45..53], [0; 8]); // incarnation
    assert_eq!(bytes[53..59], *b"\x05lists");
    assert_eq!(bytes[59..67], [0; 8]); // incarnation
    assert_eq!(bytes[67..83], [0x11; 16]);
    assert_eq!(bytes[83..97], *b"\x0d@p7.project5;");
    assert_eq!(bytes[97..105], [0; 8]); // incarnation
    assert_eq!(bytes[105..121], [0x22; 16]);
    assert_eq!(bytes[121..123], 30u16.to_le_bytes());
    assert_eq!(bytes[123..153], *b"todo:tasks:3:v:{.7|5.alice17;}");
    assert_eq!(bytes[157..], *b"payload");
    let without_sum = [&bytes[..153], &bytes[157..]].concat();
    let sum = xxhash_rust::xxh3::xxh3_64(&without_sum).to_le_bytes();
    assert_eq!(bytes[153..157], sum[..4]);
}

#[test]
fn negative_is_a_flag_of_its_own() {
    let header = Header { negative: true, ..tagged() };
    let bytes = encode(&header, &key(17), b"").unwrap();
    assert_eq!(bytes[FLAGS_AT], 1);
    assert_eq!(read(&bytes), Ok((header, &b""[..])));
}

#[test]
fn memory_is_reserved_once_and_exactly() {
    let bytes = encode(&tagged(), &key(17), &[7; 1000]).unwrap();
    assert_eq!(bytes.capacity(), bytes.len());
}

/// What `restamp.lua` makes: another header, of which nothing but the times, the id and the generations are others,
/// before bytes that nobody has.
#[test]
fn a_new_header_before_an_old_payload_is_an_envelope() {
    for payload in [&b"payload"[..], b"", &[7; 100_000]] {
        let old = encode(&tagged(), &key(17), payload).unwrap();
        let mut header = Header { id: [0xbb; 16], stored_at_ms: 1, fresh_ms: 2, ..tagged() };
        header.tags[0].generation.nonce = [0x33; 16];
        let head = head(&header, &key(17), sum(payload)).unwrap();
        let new = [&head, &old[head.len()..]].concat();
        let expected = Header { sum: Some(sum(payload)), ..header };
        assert_eq!(read(&new), Ok((expected, payload)));
        // And once more over that one.
        let again = Header { id: [0xcc; 16], ..tagged() };
        let head = super::head(&again, &key(17), sum(payload)).unwrap();
        assert!(read(&[&head, &new[head.len()..]].concat()).is_ok());
        let other = [&head[..], b"x", payload].concat();
        assert_eq!(read(&other), Err(Unreadable::Checksum), "of another payload");
    }
}

#[test]
fn an_entry_carries_at_most_255_tags() {
    let tags = |count: usize| {
        let tag = |at| Tagged { tag: Tag::new(format!("t{at}")), generation: [0; 16].into() };
        Header { tags: (0..count).map(tag).collect(), ..plain() }
    };
    let most = tags(255);
    let bytes = encode(&most, &key(17), b"").unwrap();
    assert_eq!(read(&bytes).unwrap().0, most);
    let error = encode(&tags(300), &key(17), b"").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert_eq!(error.to_string(), "an entry carries at most 255 tags, not 300");
}

#[test]
fn a_name_that_does_not_fit_is_refused() {
    let long = Key::new(&[b'x'; 65_536]);
    assert_eq!(encode(&plain(), &long, b"").unwrap_err().kind(), ErrorKind::Encode);
    assert!(encode(&plain(), &Key::new(&[b'x'; 65_535]), b"").is_ok());
}

/// Every bit of every byte, one byte at a time: found out, save for the bit that may be set in place.
#[test]
fn no_changed_byte_goes_unnoticed() {
    let whole = encode(&tagged(), &key(17), b"payload").unwrap();
    for at in 0..whole.len() {
        for change in 1..=255u8 {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            if at == FLAGS_AT && change == SOFT_EXPIRED {
                let marked = Header { soft_expired: true, ..tagged() };
                assert_eq!(read(&bytes), Ok((marked, &b"payload"[..])));
            } else {
                assert!(read(&bytes).is_err(), "byte {at} changed by {change:#04x}");
            }
        }
    }
}

#[test]
fn an_envelope_that_is_cut_or_grown_is_unreadable() {
    let whole = encode(&tagged(), &key(17), b"payload").unwrap();
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err(), "{length} bytes of it");
    }
    assert_eq!(read(&[&whole[..], b"\0"].concat()), Err(Unreadable::Checksum));
}

#[test]
fn what_is_wrong_is_told_apart() {
    let whole = encode(&plain(), &key(17), b"payload").unwrap();
    let sum_at = sum_at(&plain());
    let changed = |at: usize, to: u8| {
        let mut bytes = whole.clone();
        bytes[at] = to;
        with_right_checksum(bytes, sum_at)
    };
    assert_eq!(read(b""), Err(Unreadable::Magic));
    assert_eq!(read(b"{\"id\":17}"), Err(Unreadable::Magic));
    assert_eq!(read(&changed(1, 9)), Err(Unreadable::Version(9)));
    assert_eq!(read(&whole[..60]), Err(Unreadable::Truncated));
    assert_eq!(read(&changed(2, 0b0000_0110)), Err(Unreadable::Compression(3)));
    assert_eq!(read(&changed(2, 0b0001_0000)), Err(Unreadable::Flags(0b0001_0000)));
    assert_eq!(read(&changed(24, 2)), Err(Unreadable::Codec(2)));
    assert_eq!(read(&changed(25, 4)), Err(Unreadable::Schema(4)));
    assert_eq!(decode(&whole, &key(18), CODEC, SCHEMA, &[]), Err(Unreadable::Key));
    let told = Unreadable::Version(9).to_string();
    assert_eq!(told, "envelope version 9 is newer than 1");
}

#[test]
fn who_answered_stands_before_the_tags_and_before_each_generation() {
    let mut header = tagged();
    header.by = 0x0102_0304_0506_0708;
    header.tags[0].generation.by = 0xee;
    let bytes = encode(&header, &key(17), b"payload").unwrap();
    assert_eq!(bytes[45..53], header.by.to_le_bytes());
    assert_eq!(bytes[59..67], 0xee_u64.to_le_bytes());
    assert_eq!(bytes[97..105], [0; 8]);
    assert_eq!(read(&bytes), Ok((header, &b"payload"[..])));
}

#[test]
fn the_id_is_found_as_the_script_finds_it() {
    assert_eq!(id(&encode(&plain(), &key(17), b"").unwrap()), Some(plain().id));
    assert_eq!(id(&[7; 24]), Some([7; 16]));
    assert_eq!(id(&[7; 23]), None);
    assert_eq!(id(b""), None);
}

proptest! {
    #[test]
    fn what_is_written_is_read(header in any_header(), number: u32, payload in vec(any::<u8>(), 0..2000)) {
        let bytes = encode(&header, &key(number), &payload).unwrap();
        let read = decode(&bytes, &key(number), header.codec, header.schema, &[]);
        prop_assert_eq!(id(&bytes), Some(header.id));
        prop_assert_eq!(read, Ok((header, &payload[..])));
    }

    #[test]
    fn several_changed_bytes_do_not_go_unnoticed(
        header in any_header(),
        payload in vec(any::<u8>(), 0..100),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let whole = encode(&header, &key(17), &payload).unwrap();
        let mut bytes = whole.clone();
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        bytes[FLAGS_AT] = (bytes[FLAGS_AT] & !SOFT_EXPIRED) | (whole[FLAGS_AT] & SOFT_EXPIRED);
        let read = decode(&bytes, &key(17), header.codec, header.schema, &[]);
        prop_assert_eq!(bytes == whole, read.is_ok());
    }

    #[test]
    fn any_bytes_can_be_read(mut bytes in vec(any::<u8>(), 0..400), ours: bool) {
        if let ([magic, version, ..], true) = (&mut bytes[..], ours) {
            (*magic, *version) = (MAGIC, VERSION);
        }
        prop_assert!(read(&bytes).is_err());
        id(&bytes);
    }

    /// The checksum is no secret: behind it nothing may be taken on trust either.
    #[test]
    fn an_envelope_forged_with_care_harms_nobody(
        header in any_header(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        tag_count: u8,
    ) {
        let mut bytes = encode(&header, &key(17), b"payload").unwrap();
        bytes[3] = tag_count;
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        for at in [sum_at(&header), FIXED_BYTES + 2, bytes.len() / 2] {
            let bytes = with_right_checksum(bytes.clone(), at.min(bytes.len() - 4));
            if let Ok((header, payload)) = decode(&bytes, &key(17), header.codec, header.schema, &[]) {
                let tags = header.tags.iter().map(|tagged| tagged.tag.name().len() + TAG_BYTES);
                prop_assert!(tags.sum::<usize>() + payload.len() < bytes.len());
            }
        }
    }
}
