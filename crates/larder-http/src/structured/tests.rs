use http::HeaderValue;
use proptest::prelude::*;

use super::*;

const FIELD: HeaderName = HeaderName::from_static("field");

fn lines(of: &[&str]) -> HeaderMap {
    of.iter().map(|line| (FIELD, HeaderValue::from_bytes(line.as_bytes()).unwrap())).collect()
}

fn string(text: &str) -> Bare {
    Bare::String(text.into())
}

fn other(text: &str) -> Bare {
    Bare::Other(text.into())
}

#[test]
fn section_4_2_1_lists() {
    let item = Member::Item;
    let cases: &[(&[&str], Option<Vec<Member>>)] = &[
        (&[], None),
        (&[""], Some(vec![])),
        (&["\"a\", \"b\""], Some(vec![item(string("a")), item(string("b"))])),
        (&["\"a\"", "\"b\""], Some(vec![item(string("a")), item(string("b"))])),
        (&["  \"a\"\t,\t\"b\"  "], Some(vec![item(string("a")), item(string("b"))])),
        (&["\"a, b\""], Some(vec![item(string("a, b"))])),
        (&["\"a\\\"\\\\\""], Some(vec![item(string("a\"\\"))])),
        (&["\"a\";x;y=1;z=\"q\""], Some(vec![item(string("a"))])),
        (
            &["a/b:c, 1, -1.5, ?1, :YQ==:, @1, %\"%c3%a9\""],
            Some(vec![
                item(other("a/b:c")),
                item(Bare::Integer(1)),
                item(other("-1.5")),
                item(Bare::Boolean(true)),
                item(other("YQ==")),
                item(other("1")),
                item(other("%c3%a9")),
            ]),
        ),
        (
            &["( \"a\" \"b\";x  );y, ()"],
            Some(vec![Member::Inner(vec![string("a"), string("b")]), Member::Inner(vec![])]),
        ),
    ];
    for (of, want) in cases {
        assert_eq!(list(&lines(of), &FIELD), *want, "{of:?}");
    }
}

#[test]
fn one_fault_is_a_fault_of_the_whole_field() {
    for text in [
        ",",
        "\"a\",",
        ",\"a\"",
        "\"a\",,\"b\"",
        "\"a\" \"b\"",
        "\"a",
        "\"a\\b\"",
        "\"\u{e9}\"",
        "\"a\"; x =1",
        "(\"a\"",
        "(\"a\"\"b\")",
        "(\"a\",\"b\")",
        "?2",
        "?10",
        "1.",
        "1.2345",
        "--1",
        "1-2",
        "1234567890123456",
        ":a",
        ":-:",
        "@1.5",
        "%\"%C3\"",
        "%\"%c\"",
        "=a",
        "\"a\";X",
    ] {
        assert_eq!(list(&lines(&[text]), &FIELD), None, "{text}");
    }
    assert_eq!(list(&lines(&["\"a\"", ""]), &FIELD), None);
}

#[test]
fn section_4_2_2_dictionaries() {
    let read = dictionary(&lines(&["a, b=?0;x, c=(\"d\" \"e\")", "a=1"]), &FIELD).unwrap();
    let want = [
        ("a", Member::Item(Bare::Integer(1))),
        ("b", Member::Item(Bare::Boolean(false))),
        ("c", Member::Inner(vec![string("d"), string("e")])),
    ];
    assert_eq!(read, want.map(|(key, member)| (key.to_owned(), member)));
    for text in ["A", "a=", "a = 1", "a=1,", "1", "a b"] {
        assert_eq!(dictionary(&lines(&[text]), &FIELD), None, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_or_runs_for_ever(text in "[ -~]{0,32}|[a(\"%;=,): ?1]{0,16}") {
        let _ = (list(&lines(&[&text]), &FIELD), dictionary(&lines(&[&text]), &FIELD));
    }
}
