//! `#[derive(HashObject)]`: each field by its name, there and back.
#![allow(clippy::unwrap_used, reason = "a scene that cannot be set has failed")]

use larder_macros::HashObject;
use mock::structures::{FieldReader, HashObject};
use serde::{Deserialize, Serialize};

/// What larder has for it, as small as it can be: fields are JSON, and those `with = "json"` begin with a mark.
mod mock {
    #[derive(Debug, PartialEq)]
    pub(crate) struct Error(pub(crate) String);

    pub(crate) mod structures {
        use super::Error;
        use serde::Serialize;
        use serde::de::DeserializeOwned;

        pub(crate) trait HashObject: Sized {
            const FIELDS: &'static [&'static str];
            fn to_fields(&self) -> Result<Vec<(&'static str, Vec<u8>)>, Error>;
            fn from_fields(fields: &mut FieldReader<'_>) -> Result<Self, Error>;
        }

        pub(crate) struct FieldWriter(Vec<(&'static str, Vec<u8>)>);

        impl FieldWriter {
            pub(crate) fn new() -> FieldWriter {
                FieldWriter(Vec::new())
            }

            pub(crate) fn put<T: Serialize>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Error> {
                let bytes = serde_json::to_vec(value).map_err(|why| Error(why.to_string()))?;
                if bytes != b"null" {
                    self.0.push((name, bytes));
                }
                Ok(())
            }

            pub(crate) fn put_json<T: Serialize>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Error> {
                let bytes = serde_json::to_vec(value).map_err(|why| Error(why.to_string()))?;
                self.0.push((name, [b"json ", bytes.as_slice()].concat()));
                Ok(())
            }

            pub(crate) fn into_fields(self) -> Vec<(&'static str, Vec<u8>)> {
                self.0
            }
        }

        pub(crate) struct FieldReader<'a>(pub(crate) &'a [(&'static str, Vec<u8>)]);

        impl FieldReader<'_> {
            fn bytes(&self, name: &str) -> Option<&[u8]> {
                self.0.iter().find(|(field, _)| *field == name).map(|(_, bytes)| &bytes[..])
            }

            pub(crate) fn take<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Error> {
                let absent = || Error(format!("{name} is not there"));
                match self.bytes(name) {
                    Some(bytes) => {
                        serde_json::from_slice(bytes).map_err(|_| Error(format!("bad {name}")))
                    }
                    None => serde_json::from_str("null").map_err(|_| absent()),
                }
            }

            pub(crate) fn take_or_default<T: DeserializeOwned + Default>(
                &mut self,
                name: &str,
            ) -> Result<T, Error> {
                if self.bytes(name).is_some() { self.take(name) } else { Ok(T::default()) }
            }

            pub(crate) fn take_json<T: DeserializeOwned>(
                &mut self,
                name: &str,
            ) -> Result<T, Error> {
                match self.bytes(name).map(|bytes| bytes.strip_prefix(b"json ")) {
                    Some(Some(bytes)) => {
                        serde_json::from_slice(bytes).map_err(|_| Error(format!("bad {name}")))
                    }
                    Some(None) => Err(Error(format!("{name} is no JSON"))),
                    None => self.take(name),
                }
            }
        }
    }
}

#[derive(HashObject, Clone, Debug, PartialEq)]
#[object(crate = crate::mock)]
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
#[object(crate = mock)]
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

fn read<T: HashObject>(fields: &[(&'static str, Vec<u8>)]) -> Result<T, mock::Error> {
    T::from_fields(&mut FieldReader(fields))
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
    assert_eq!(of("tags"), Some(&b"json [\"a\"]"[..]));
    assert_eq!(of("more"), Some(&b"json [1,2]"[..]));
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
        assert_eq!(error, mock::Error(format!("{required} is not there")));
    }
}
