use proptest::prelude::*;

use super::*;

type Fields<'a> = &'a [(&'a str, &'a str)];

fn fields(of: Fields<'_>) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        )
    };
    of.iter().map(pair).collect()
}

fn select(vary: &[&str], request: Fields<'_>) -> Option<Selection> {
    let vary: Vec<_> = vary.iter().map(|value| ("vary", *value)).collect();
    Selection::of(&fields(&vary), &[], &fields(request))
}

/// Whether a response to `one`, with this `Vary`, may answer `other`; and the other way around.
fn may_answer(vary: &str, one: Fields<'_>, other: Fields<'_>) -> bool {
    let there = select(&[vary], one).unwrap().matches(&fields(other));
    assert_eq!(there, select(&[vary], other).unwrap().matches(&fields(one)), "{one:?} {other:?}");
    assert_eq!(there, select(&[vary], one) == select(&[vary], other), "{one:?} {other:?}");
    there
}

/// "A stored response with a Vary header field value containing a member "*" always fails to match."
#[test]
fn section_4_1_a_star_anywhere_matches_no_request() {
    for lines in [
        &["*"][..],
        &["*, *"],
        &["*", "*"],
        &[", *"],
        &["", "*"],
        &["*, Foo"],
        &["Foo, *"],
        &["Foo", "*"],
        &["Foo,\t*"],
    ] {
        assert_eq!(select(lines, &[("foo", "1")]), None, "{lines:?}");
    }
}

#[test]
fn a_vary_that_cannot_be_read_matches_no_request() {
    assert_eq!(select(&["Foo Bar"], &[]), None);
    assert_eq!(select(&["F\u{f6}\u{f6}"], &[]), None);
}

/// "When ... all those fields match": the table of the section.
#[test]
fn section_4_1_every_nominated_field_has_to_match() {
    let cases: &[(&str, Fields<'_>, Fields<'_>, bool)] = &[
        ("", &[("foo", "1")], &[("foo", "2")], true),
        ("Foo", &[("foo", "1")], &[("FOO", "1")], true),
        ("Foo", &[("foo", "1")], &[("foo", "2")], false),
        ("Foo", &[("foo", "1")], &[("foo", "1"), ("other", "2")], true),
        ("Foo", &[("foo", "1")], &[], false),
        ("Foo", &[("foo", "")], &[], false),
        ("Foo", &[], &[], true),
        ("Foo", &[("foo", "a")], &[("foo", "A")], false),
        ("Foo, Bar", &[("foo", "1"), ("bar", "abc")], &[("foo", "1"), ("bar", "abc")], true),
        ("foo,,bar,", &[("foo", "1"), ("bar", "abc")], &[("bar", "abc"), ("foo", "1")], true),
        ("Foo, Bar", &[("foo", "1"), ("bar", "abc")], &[("foo", "2"), ("bar", "abc")], false),
        ("Foo, Bar", &[("foo", "1"), ("bar", "abc")], &[("foo", "1"), ("bar", "abcd")], false),
        ("Foo, Bar", &[("foo", "1")], &[("bar", "1")], false),
        ("Foo, Bar", &[("foo", "1"), ("bar", "2")], &[("foo", "2"), ("bar", "1")], false),
        ("Foo, Bar, Baz", &[("foo", "1"), ("baz", "789")], &[("foo", "1"), ("baz", "789")], true),
    ];
    for (vary, one, other, want) in cases {
        assert_eq!(may_answer(vary, one, other), *want, "{vary}: {one:?} {other:?}");
    }
}

/// "adding or removing whitespace, where allowed ...; combining multiple header field lines ...;
/// normalizing both header field values in a way that is known to have identical semantics"
#[test]
fn section_4_1_values_that_mean_the_same_match() {
    let cases: &[(&str, Fields<'_>, Fields<'_>)] = &[
        ("foo", &[("foo", "1,2")], &[("foo", " 1, 2 ")]),
        ("foo", &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")]),
        ("cookie", &[("cookie", "a=1; b=2")], &[("cookie", "a=1"), ("cookie", "b=2")]),
        ("accept-language", &[("accept-language", "en, de")], &[("accept-language", "de, en")]),
        ("accept-language", &[("accept-language", "EN-us")], &[("accept-language", "en-US")]),
        (
            "accept-language",
            &[("accept-language", "en;q=0.5,de")],
            &[("accept-language", "de;q=1.0, EN ; q=0.50")],
        ),
        (
            "accept-encoding",
            &[("accept-encoding", "gzip, br")],
            &[("accept-encoding", "br"), ("accept-encoding", "GZIP")],
        ),
        (
            "accept-encoding",
            &[("accept-encoding", "gzip;q=1")],
            &[("accept-encoding", "gzip;Q=1.000")],
        ),
        ("accept-encoding", &[("accept-encoding", "gzip,,br")], &[("accept-encoding", "gzip, br")]),
        ("accept", &[("accept", "text/html, */*;q=0.1")], &[("accept", "*/*;q=0.1,text/html")]),
        ("accept", &[("accept", "Text/HTML;Level=1")], &[("accept", "text/html; level=1")]),
    ];
    for (vary, one, other) in cases {
        assert!(may_answer(vary, one, other), "{one:?} {other:?}");
    }
}

#[test]
fn values_that_may_mean_something_else_do_not_match() {
    let cases: &[(&str, Fields<'_>, Fields<'_>)] = &[
        ("foo", &[("foo", "1,2")], &[("foo", "12")]),
        ("foo", &[("foo", "1,23")], &[("foo", "12,3")]),
        ("foo, bar", &[("foo", "1"), ("bar", "23")], &[("foo", "12"), ("bar", "3")]),
        ("foo", &[("foo", "1,2")], &[("foo", "2,1")]),
        ("foo", &[("foo", "1,,2")], &[("foo", "1,2")]),
        ("foo", &[("foo", "\"a, b\"")], &[("foo", "\"a,b\"")]),
        ("foo", &[("foo", "\"a\\\", b\"")], &[("foo", "\"a\\\",b\"")]),
        ("foo", &[("foo", "\"a, b")], &[("foo", "\"a,b")]),
        ("cookie", &[("cookie", "a=1, 2")], &[("cookie", "a=1,2")]),
        ("cookie", &[("cookie", "a=1; b=2")], &[("cookie", "b=2; a=1")]),
        ("user-agent", &[("user-agent", "x (a, b)")], &[("user-agent", "x (a,b)")]),
        ("authorization", &[("authorization", "Bearer a")], &[("authorization", "bearer A")]),
        (
            "accept-language",
            &[("accept-language", "en, de")],
            &[("accept-language", "en, de;q=0.9")],
        ),
        (
            "accept-language",
            &[("accept-language", "en;q=0.9, de;q=0.8")],
            &[("accept-language", "de;q=0.9, en;q=0.8")],
        ),
        ("accept-language", &[("accept-language", "en")], &[("accept-language", "en, en-gb")]),
        ("accept-encoding", &[("accept-encoding", "")], &[]),
        ("accept-encoding", &[("accept-encoding", "gzip;q=0")], &[("accept-encoding", "gzip")]),
        ("accept-encoding", &[("accept-encoding", "gzip;q=2")], &[("accept-encoding", "gzip;q=1")]),
        ("accept", &[("accept", "a/b;q=.1")], &[("accept", "a/b;q=0.1")]),
        ("accept", &[("accept", "text/html;v=A")], &[("accept", "text/html;v=a")]),
        ("accept", &[("accept", "text/html;q=0.5;x=1")], &[("accept", "text/html;x=1;q=0.5")]),
        ("accept", &[("accept", "a/b;p=\"x, c/d\"")], &[("accept", "c/d\", a/b;p=\"x")]),
    ];
    for (vary, one, other) in cases {
        assert!(!may_answer(vary, one, other), "{one:?} {other:?}");
    }
}

#[test]
fn a_field_that_always_counts_is_as_if_vary_named_it() {
    let origin = |value| fields(&[("origin", value)]);
    let also = [ORIGIN, HeaderName::from_static("accept"), ORIGIN];
    let chosen =
        Selection::of(&fields(&[("vary", "Origin, Foo")]), &also, &origin("https://a")).unwrap();
    assert_eq!(chosen.names, ["accept", "foo", "origin"]);
    assert!(chosen.matches(&origin("https://a")));
    assert!(!chosen.matches(&origin("https://b")));
    assert!(Selection::of(&fields(&[("vary", "*")]), &also, &origin("https://a")).is_none());
}

#[test]
fn a_secret_is_nowhere_in_clear() {
    let chosen = select(&["Cookie"], &[("cookie", "session=hunter2")]).unwrap();
    let seen = format!("{chosen:?} {}", serde_json::to_string(&chosen).unwrap());
    assert!(!seen.contains("hunter2"));
    let again: Selection = serde_json::from_str(&serde_json::to_string(&chosen).unwrap()).unwrap();
    assert!(again.matches(&fields(&[("cookie", "session=hunter2")])));
}

proptest! {
    /// Outside of quotes, two lists match exactly when their members do.
    #[test]
    fn unknown_lists_match_when_their_members_do(one in "[ab, ]{0,6}", other in "[ab, ]{0,6}") {
        let members = |text: &str| text.split(',').map(|each| each.trim().to_owned()).collect::<Vec<_>>();
        let matched = may_answer("foo", &[("foo", &one)], &[("foo", &other)]);
        prop_assert_eq!(matched, members(&one) == members(&other));
    }

    #[test]
    fn no_value_panics(value in "[ -~]{0,24}") {
        for name in ["foo", "accept", "accept-encoding", "cookie"] {
            may_answer(name, &[(name, &value)], &[(name, &value)]);
        }
    }
}
