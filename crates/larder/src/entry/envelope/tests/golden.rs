//! Files as each version wrote them. They are never edited: entries like them are in people's Redis.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::*;
use crate::entry::codec::Encoded;
use crate::entry::{Codec, Compression, Payload};

/// No scene is longer, whatever its bytes say.
const BYTES_MAX: usize = 100_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    id: u32,
    title: String,
    done: bool,
}

struct Scene {
    file: &'static str,
    key: Key,
    header: Header,
    codec: Codec,
    compression: Compression,
    value: Option<Task>,
}

fn milk() -> Task {
    Task { id: 17, title: "milk".into(), done: false }
}

fn scene(file: &'static str, header: Header) -> Scene {
    Scene {
        file,
        key: key(17),
        header,
        codec: Codec::MessagePack,
        compression: Compression::none(),
        value: Some(milk()),
    }
}

/// With a header that was put before it later.
fn in_parts(file: &'static str) -> Scene {
    let whole = scene(file, tagged());
    let sum = Some(sum(&whole.payload().bytes));
    Scene { header: Header { sum, ..tagged() }, ..whole }
}

fn in_codec(file: &'static str, codec: Codec) -> Scene {
    Scene { codec, ..scene(file, Header { codec: codec.id(), ..plain() }) }
}

#[cfg(feature = "lz4")]
fn compressed(file: &'static str, compression: Compression) -> Scene {
    let title = "milk, bread and butter; ".repeat(100);
    let value = Some(Task { title, ..milk() });
    let way = compression.pack(vec![0; 100_000]).way;
    Scene { compression, value, ..scene(file, Header { way, ..tagged() }) }
}

/// As many as there can be.
fn most_tags() -> Header {
    let tagged = |at: u8| Tagged { tag: Tag::new(format!("t{at}")), generation: [at; 16].into() };
    Header { tags: (1..=255).map(tagged).collect(), ..plain() }
}

fn one_tag() -> Header {
    Header { tags: tagged().tags.split_off(1), ..plain() }
}

fn shared_key() -> Key {
    let mut name = KeyBuf::new();
    let tasks = Namespace::new("todo", "tasks", SCHEMA).unwrap();
    tasks.shared("list}{", 1024, &mut name).unwrap();
    Key::new(&name)
}

fn scenes() -> Vec<Scene> {
    let none = Header { negative: true, fresh_ms: 6_000, hard_ms: 6_600, ..tagged() };
    vec![
        scene("plain.bin", plain()),
        scene("one-tag.bin", one_tag()),
        scene("tagged.bin", tagged()),
        scene("most-tags.bin", most_tags()),
        Scene { value: None, ..scene("negative.bin", none) },
        Scene { key: shared_key(), ..scene("shared.bin", plain()) },
        scene("soft-expired.bin", Header { soft_expired: true, ..tagged() }),
        in_parts("in-parts.bin"),
        #[cfg(feature = "json")]
        in_codec("json.bin", Codec::Json),
        #[cfg(feature = "postcard")]
        in_codec("postcard.bin", Codec::Postcard),
        #[cfg(feature = "lz4")]
        compressed("lz4.bin", Compression::lz4()),
        #[cfg(feature = "zstd")]
        compressed("zstd.bin", Compression::zstd().over_bytes(1024)),
    ]
}

impl Scene {
    fn path(&self) -> PathBuf {
        let v1 = [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "v1", self.file];
        v1.iter().collect()
    }

    fn payload(&self) -> Payload {
        let Some(value) = &self.value else { return Payload::default() };
        match self.codec.encode(value, usize::MAX).unwrap() {
            Encoded::Bytes(bytes) => self.compression.pack(bytes),
            Encoded::TooLarge => panic!("there is no cap"),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        encode(&self.header, &self.key, &self.payload().bytes).unwrap()
    }

    /// The file of a new scene is made by hand, with what this says; one that is there is never edited.
    fn golden(&self) -> Vec<u8> {
        let hex = || self.bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        fs::read(self.path()).unwrap_or_else(|why| {
            panic!("{}: {why}; make it by `xxd -r -p` from {}", self.path().display(), hex())
        })
    }

    /// The way a reader goes, from bytes to the value.
    fn read(&self, bytes: &[u8]) -> Result<(Header, Option<Task>), String> {
        let (header, payload) = decode(bytes, &self.key, self.codec.id(), SCHEMA, &[])
            .map_err(|unreadable| unreadable.to_string())?;
        if header.negative {
            return Ok((header, None));
        }
        let whole = header.way.inflate(payload, BYTES_MAX).map_err(|fault| fault.to_string())?;
        assert!(whole.len() <= BYTES_MAX);
        let value = self.codec.decode(&whole).map_err(|error| error.to_string())?;
        Ok((header, Some(value)))
    }

    /// Where the checksum of `bytes` stands.
    fn sum_at(&self) -> usize {
        encode(&self.header, &self.key, b"").unwrap().len() - CHECKSUM_BYTES
    }
}

/// Bit for bit, save for what a compressor makes of a value: that may change with its version, and is
/// covered by being read.
#[test]
fn entries_are_written_as_version_1_writes_them() {
    for scene in scenes() {
        let (golden, today, sum_at) = (scene.golden(), scene.bytes(), scene.sum_at());
        assert_eq!(golden[..sum_at], today[..sum_at], "{} begins otherwise today", scene.file);
        if scene.header.way == Way::None {
            assert!(golden == today, "{} is written otherwise today", scene.file);
        } else {
            assert!(golden.len() < 600, "{} is not compressed", scene.file);
        }
    }
}

#[test]
fn entries_of_version_1_are_read() {
    for scene in scenes() {
        let expected = (scene.header.clone(), scene.value.clone());
        assert_eq!(scene.read(&scene.golden()), Ok(expected), "{}", scene.file);
        assert_eq!(id(&scene.golden()), Some(scene.header.id));
    }
}

#[test]
fn no_golden_file_is_left_unread() {
    let folder = scenes()[0].path();
    let files = fs::read_dir(folder.parent().unwrap()).unwrap();
    let mut left: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    left.retain(|file| scenes().iter().all(|scene| file != scene.file));
    let features_are_all_on = cfg!(all(feature = "json", feature = "postcard", feature = "zstd"));
    assert!(left.is_empty() || !features_are_all_on, "{left:?}");
}

/// A miss or the same value, never another one: whatever single byte is changed, and wherever it ends.
#[test]
fn a_damaged_entry_of_version_1_is_a_miss_or_the_same_value() {
    for scene in scenes() {
        let golden = scene.golden();
        let few = [1, SOFT_EXPIRED, 0xff];
        let all: Vec<u8> = (1..=255).collect();
        let changes = if golden.len() < 1_000 { &all[..] } else { &few[..] };
        for at in 0..golden.len() {
            assert!(scene.read(&golden[..at]).is_err(), "{} cut at {at}", scene.file);
            for change in changes {
                let mut bytes = golden.clone();
                bytes[at] ^= change;
                let read = scene.read(&bytes).map(|(_, value)| value);
                if at == FLAGS_AT && *change == SOFT_EXPIRED {
                    assert_eq!(read, Ok(scene.value.clone()), "{}", scene.file);
                } else {
                    assert!(
                        read.is_err(),
                        "{} with byte {at} changed by {change:#04x}",
                        scene.file
                    );
                }
            }
        }
    }
}

/// With a checksum that fits, as someone would write it who means harm: read as something or as nothing,
/// and no longer than the cap.
#[test]
fn a_forged_entry_of_version_1_harms_nobody() {
    for scene in scenes().into_iter().filter(|scene| scene.file != "most-tags.bin") {
        let (golden, sum_at) = (scene.golden(), scene.sum_at());
        for at in (0..golden.len()).filter(|at| !(sum_at..sum_at + CHECKSUM_BYTES).contains(at)) {
            for change in 1..=255 {
                let mut bytes = golden.clone();
                bytes[at] ^= change;
                let _ = scene.read(&with_right_checksum(bytes, sum_at));
            }
        }
    }
}
