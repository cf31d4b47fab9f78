//! `#[derive(ToKey)]`: a struct writes what a tuple of its fields does, and two different values never write the
//! same.
#![allow(clippy::unwrap_used, reason = "a scene that cannot be set has failed")]

use std::collections::HashMap;
use std::marker::PhantomData;

use larder::{Tag, ToKey};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// What `key` writes, as far as anyone outside can see it: equal tags were written equal, and up to 251 bytes they
/// are what was written.
fn written<T: ToKey + ?Sized>(key: &T) -> Tag {
    Tag::from_parts(key)
}

#[derive(ToKey, Clone, Debug, PartialEq, Eq, Hash)]
struct Named {
    list: String,
    page: u32,
    filter: Option<Vec<u8>>,
}

#[derive(ToKey, Clone, Debug, PartialEq, Eq, Hash)]
struct Tuple(i64, String);

#[derive(ToKey, Clone, Debug, PartialEq, Eq, Hash)]
struct Unit;

#[derive(ToKey, Clone, Debug, PartialEq, Eq, Hash)]
enum Listing {
    All,
    None,
    Named(Named),
    Pair(String, String),
    Deep {
        tuple: Tuple,
        unit: Unit,
        more: Vec<Listing>,
    },
    #[key(number = 40)]
    Moved(Tuple),
    Strings(Vec<String>),
}

#[derive(ToKey)]
struct Borrowed<'a, T: ?Sized> {
    name: &'a str,
    rest: &'a T,
}

trait Kind {
    type Id;
}

#[derive(ToKey)]
struct Of<K: Kind>
where
    K::Id: Clone,
{
    id: K::Id,
    kind: PhantomData<K>,
}

/// No key, and need not be one.
struct Tasks;

impl Kind for Tasks {
    type Id = (u64, String);
}

#[derive(ToKey)]
enum Either<L, R, const N: usize> {
    Left(L),
    Right { right: [R; N] },
}

#[derive(ToKey)]
enum Never {}

/// Seven: more than a tuple may have.
#[derive(ToKey)]
#[key(crate = ::larder)]
struct Seven(u8, u8, u8, u8, u8, u8, u8);

/// Names that what is written uses too, and a word of the language.
#[derive(ToKey)]
struct Taken {
    out: u8,
    part_0: u8,
    r#type: u8,
}

#[test]
fn a_struct_is_a_tuple_of_its_fields() {
    let named = Named { list: "inbox".into(), page: 3, filter: Some(b"x".to_vec()) };
    assert_eq!(written(&named), written(&("inbox", 3, Some(b"x"))));
    assert_eq!(written(&Tuple(-4, "a".into())), written(&(-4, "a")));
    assert_eq!(written(&(Unit, 4)), written(&(4,)));
    assert_eq!(written(&Seven(1, 2, 3, 4, 5, 6, 7)), written(&((1, 2, 3), (4, 5, 6, 7))));
    assert_eq!(written(&Taken { out: 1, part_0: 2, r#type: 3 }), written(&(1, 2, 3)));
}

#[test]
fn an_enum_begins_with_its_variants_number() {
    assert_eq!(written(&Listing::All), written(&(0,)));
    assert_eq!(written(&Listing::None), written(&(1,)));
    assert_eq!(written(&Listing::Pair("a".into(), "b".into())), written(&(3, "a", "b")));
    assert_eq!(written(&Listing::Moved(Tuple(7, "b".into()))), written(&(40, 7, "b")));
    assert_eq!(written(&Listing::Strings(vec!["a".into()])), written(&(6, ["a"])));
}

#[test]
fn parameters_are_keys_where_they_are_written() {
    assert_eq!(written(&Borrowed { name: "a", rest: "b" }), written(&("a", "b")));
    assert_eq!(written(&Borrowed { name: "a", rest: &[1_u32, 2][..] }), written(&("a", [1, 2])));
    let of = Of::<Tasks> { id: (1, "b".into()), kind: PhantomData };
    assert_eq!(written(&of), written(&(1, "b")));
    assert_eq!(written(&Either::<u8, u8, 1>::Left(4)), written(&(0, 4)));
    assert_eq!(written(&Either::<u8, u32, 2>::Right { right: [4, 5] }), written(&(1, [4, 5])));
    assert_eq!(written(&Vec::<Never>::new()), written(&(0,)));
}

/// Short texts, of what keys are made of: those are the ones that could run into one another.
fn text() -> impl Strategy<Value = String> {
    "[0-9.;a|{}-]{0,3}"
}

fn named() -> impl Strategy<Value = Named> {
    let filter = proptest::option::of(proptest::collection::vec(b'0'..b'<', 0..3));
    (text(), 0..30_u32, filter).prop_map(|(list, page, filter)| Named { list, page, filter })
}

fn tuple() -> impl Strategy<Value = Tuple> {
    (-3..30_i64, text()).prop_map(|(number, text)| Tuple(number, text))
}

fn listing() -> impl Strategy<Value = Listing> {
    let flat = prop_oneof![
        Just(Listing::All),
        Just(Listing::None),
        named().prop_map(Listing::Named),
        (text(), text()).prop_map(|(a, b)| Listing::Pair(a, b)),
        tuple().prop_map(Listing::Moved),
        proptest::collection::vec(text(), 0..3).prop_map(Listing::Strings),
    ];
    flat.prop_recursive(2, 8, 3, |listing| {
        (tuple(), proptest::collection::vec(listing, 0..3))
            .prop_map(|(tuple, more)| Listing::Deep { tuple, unit: Unit, more })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Many at once: each pair of them is compared.
    #[test]
    fn two_values_never_write_the_same(
        listings in proptest::collection::vec(listing(), 200),
        tail in proptest::collection::vec((tuple(), named()), 200),
    ) {
        apart(listings.iter().map(|listing| (written(listing), listing)))?;
        apart(tail.iter().map(|pair| (written(pair), pair)))?;
        // Where one ends is known, whatever follows it.
        let pairs: Vec<_> = listings.iter().zip(listings.iter().rev()).collect();
        apart(pairs.iter().map(|pair| (written(pair), pair)))?;
    }
}

fn apart<'a, T: PartialEq + std::fmt::Debug + 'a>(
    all: impl Iterator<Item = (Tag, &'a T)>,
) -> Result<(), TestCaseError> {
    let mut met: HashMap<Tag, &T> = HashMap::new();
    for (tag, value) in all {
        if let Some(other) = met.insert(tag.clone(), value) {
            prop_assert_eq!(other, value, "both write {}", tag);
        }
    }
    Ok(())
}
