//! `#[derive(HashObject)]`: each field by its name, there and back.
#![allow(clippy::unwrap_used, reason = "a scene that cannot be set has failed")]

use larder::structures::{FieldReader, HashObject, Object, Written};
use larder::{Error, ErrorKind, Larder};
use serde::{Deserialize, Serialize};

#[derive(HashObject, Clone, Debug, PartialEq)]
struct Profile {
    name: String,
    #[field(rename = "n")]
    visits: u64,
    #[field(default)]
    score: i32,
    nick: Option<String>,
    #[field(with = "json")]
    tags: Vec<String>,
    #[field(with = "json", default, rename = "more")]
    extra: Vec<u8>,
    r#type: bool,
    // Names that what is written uses too.
    out: u8,
    fields: u8,
}

#[derive(HashObject, Debug, PartialEq)]
#[object(crate = ::larder)]
struct Of<T: Serialize + for<'de> Deserialize<'de>, const N: usize>
where
    T: Copy,
{
    kept: T,
}

fn ann() -> Profile {
    Profile {
        name: "Ann".into(),
        visits: 3,
        score: -1,
        nick: None,
        tags: vec!["a".into()],
        extra: vec![1, 2],
        r#type: true,
        out: 7,
        fields: 8,
    }
}

fn read<T: HashObject>(fields: &[(&'static str, Vec<u8>)]) -> Result<T, Error> {
    T::from_fields(&mut FieldReader::new(fields))
}

#[test]
fn fields_are_called_as_in_the_struct_or_as_told() {
    let names = ["name", "n", "score", "nick", "tags", "more", "type", "out", "fields"];
    assert_eq!(Profile::FIELDS, names);
    assert_eq!(Of::<u8, 1>::FIELDS, ["kept"]);
}

#[test]
fn what_was_written_is_read() {
    let fields = ann().to_fields().unwrap();
    let of = |name| fields.iter().find(|(field, _)| *field == name).map(|(_, bytes)| &bytes[..]);
    assert_eq!(of("n"), Some(&b"3"[..]));
    assert_eq!(of("visits"), None);
    assert_eq!(of("nick"), None, "what is nothing is absent");
    assert_eq!(of("score"), Some(&b"-1"[..]));
    assert_eq!(of("tags"), Some(&b"[\"a\"]"[..]));
    assert_eq!(of("more"), Some(&b"[1,2]"[..]));
    assert_eq!(read::<Profile>(&fields).unwrap(), ann());

    let of = Of::<_, 0> { kept: 7_u16 };
    assert_eq!(read::<Of<u16, 0>>(&of.to_fields().unwrap()).unwrap(), of);
}

#[test]
fn what_is_absent_is_a_default_only_where_told() {
    let whole = ann().to_fields().unwrap();
    let without = |name: &str| {
        let rest: Vec<_> = whole.iter().filter(|(field, _)| *field != name).cloned().collect();
        read::<Profile>(&rest)
    };
    assert_eq!(without("score").unwrap(), Profile { score: 0, ..ann() });
    assert_eq!(without("more").unwrap(), Profile { extra: Vec::new(), ..ann() });
    for required in ["name", "n", "tags", "type", "out", "fields"] {
        let error = without(required).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encode);
        assert!(error.to_string().contains(required), "{error}");
    }
}

/// Through an object, where fields are set and counted on their own.
#[tokio::test]
async fn an_object_is_of_what_was_derived() {
    let larder = Larder::builder("test").open().await.unwrap();
    let profiles: Object<Profile> = larder.object("profile").open().unwrap();
    let profile = profiles.of(&7);
    assert_eq!(profile.create(&ann()).await.unwrap(), Written::Done);
    assert_eq!(profile.increment("n", 2).await.unwrap(), 5);
    profile.set("nick", "A").await.unwrap();
    let expected = Profile { visits: 5, nick: Some("A".into()), ..ann() };
    assert_eq!(profile.get_all().await.unwrap(), Some(expected));
    assert!(profile.increment("visits", 1).await.is_err(), "it is called otherwise");
    profile.set_all(&ann()).await.unwrap();
    assert_eq!(profile.get_all().await.unwrap(), Some(ann()), "what is nothing again is removed");
}
