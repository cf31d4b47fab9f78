use proptest::prelude::*;

use super::*;

type Fields<'a> = &'a [(&'a str, &'a str)];

const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

fn fields(of: Fields<'_>) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        )
    };
    of.iter().map(pair).collect()
}

/// What a stored 200 of ten bytes, received at `THEN`, answers to a GET.
fn get(request: Fields<'_>, stored: Fields<'_>) -> Reply {
    ask_for(Method::GET, StatusCode::OK, request, stored)
}

fn ask_for(method: Method, status: StatusCode, request: Fields<'_>, stored: Fields<'_>) -> Reply {
    let then = httpdate::parse_http_date(THEN).unwrap();
    reply(&method, &fields(request), status, &fields(stored), 10, then)
}

fn part_of(first: u64, last: u64) -> Reply {
    Reply::Part { first, last, total: 10 }
}

/// RFC 9110 §13.1.2 and §8.8.3.2: the weak comparison, over lists and lines.
#[test]
fn section_13_1_2_if_none_match() {
    use Reply::{NotModified, Whole};
    let cases: &[(&[&str], &str, Reply)] = &[
        (&["\"1\""], "\"1\"", NotModified),
        (&["W/\"1\""], "W/\"1\"", NotModified),
        (&["W/\"1\""], "W/\"2\"", Whole),
        (&["W/\"1\""], "\"1\"", NotModified),
        (&["\"1\""], "W/\"1\"", NotModified),
        (&["\"2\""], "\"1\"", Whole),
        (&["\"A\""], "\"a\"", Whole),
        (&["\"a\", \"b\", \"c\""], "\"a\"", NotModified),
        (&["\"a\", \"b\", \"c\""], "\"b\"", NotModified),
        (&["\"a\",\"b\",W/\"c\""], "\"c\"", NotModified),
        (&[",, \"a\" ,"], "\"a\"", NotModified),
        (&["\"a\"", "\"b\""], "\"b\"", NotModified),
        (&["\"a, b\""], "\"a, b\"", NotModified),
        (&["\"a, b\""], "\"b\"", Whole),
        (&["\"a\\\""], "\"a\\\"", NotModified),
        (&["\"\u{fc}\""], "\"\u{fc}\"", NotModified),
        (&["\"\""], "\"\"", NotModified),
        (&["abc"], "\"abc\"", NotModified),
        (&["abc"], "abc", NotModified),
        (&["\"abc\""], "abc", NotModified),
        (&["w/\"abc\""], "w/\"abc\"", NotModified),
        (&["W\"abc\""], "W\"abc\"", NotModified),
        (&["*"], "\"1\"", NotModified),
        (&[" * "], "\"1\"", NotModified),
        (&["\"2\", *"], "\"1\"", Whole),
        (&["\"*\""], "\"1\"", Whole),
        (&[""], "\"1\"", Whole),
        (&["\"1"], "\"1\"", Whole),
    ];
    for (lines, etag, want) in cases {
        let request: Vec<_> = lines.iter().map(|line| ("if-none-match", *line)).collect();
        assert_eq!(get(&request, &[("etag", etag)]), *want, "{lines:?} {etag}");
    }
    assert_eq!(get(&[("if-none-match", "*")], &[]), NotModified);
    assert_eq!(get(&[("if-none-match", "\"1\"")], &[]), Whole);
    assert_eq!(get(&[("if-none-match", "\"1\"")], &[("etag", "\"1\""), ("etag", "\"2\"")]), Whole);
}

/// RFC 9110 §13.1.3 and RFC 9111 §4.3.2: against `Last-Modified`, else `Date`, else when it came.
#[test]
fn section_13_1_3_if_modified_since() {
    use Reply::{NotModified, Whole};
    let lm = ("last-modified", THEN);
    let cases: &[(Fields<'_>, Fields<'_>, Reply)] = &[
        (&[("if-modified-since", THEN)], &[lm], NotModified),
        (&[("if-modified-since", AFTER)], &[lm], NotModified),
        (&[("if-modified-since", BEFORE)], &[lm], Whole),
        (&[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")], &[lm], NotModified),
        (&[("if-modified-since", "Sun Nov  6 08:49:37 1994")], &[lm], NotModified),
        (&[("if-modified-since", "yesterday")], &[lm], Whole),
        (&[("if-modified-since", "0")], &[lm], Whole),
        (&[("if-modified-since", THEN), ("if-modified-since", THEN)], &[lm], Whole),
        (&[("if-modified-since", THEN)], &[lm, ("date", AFTER)], NotModified),
        (&[("if-modified-since", THEN)], &[("date", THEN)], NotModified),
        (&[("if-modified-since", BEFORE)], &[("date", THEN)], Whole),
        (&[("if-modified-since", THEN)], &[], NotModified),
        (&[("if-modified-since", BEFORE)], &[], Whole),
        // "A recipient MUST ignore If-Modified-Since if the request contains an If-None-Match"
        (
            &[("if-modified-since", THEN), ("if-none-match", "\"2\"")],
            &[lm, ("etag", "\"1\"")],
            Whole,
        ),
        (&[("if-modified-since", THEN), ("if-none-match", "\"2\"")], &[lm], Whole),
        (
            &[("if-modified-since", BEFORE), ("if-none-match", "\"1\"")],
            &[lm, ("etag", "\"1\"")],
            NotModified,
        ),
    ];
    for (request, stored, want) in cases {
        assert_eq!(get(request, stored), *want, "{request:?} {stored:?}");
    }
}

/// RFC 9110 §13.2.1: conditions are for what would have succeeded, and these two for GET and HEAD.
#[test]
fn section_13_2_1_when_conditions_are_ignored() {
    let (asked, stored) =
        ([("if-none-match", "\"1\""), ("range", "bytes=0-1")], [("etag", "\"1\"")]);
    let range = [("range", "bytes=0-1")];
    let cases = [
        (Method::HEAD, StatusCode::OK, &asked[..], Reply::NotModified),
        (Method::HEAD, StatusCode::OK, &range[..], Reply::Whole),
        (Method::POST, StatusCode::OK, &asked, Reply::Whole),
        (Method::GET, StatusCode::NOT_FOUND, &asked, Reply::Whole),
        (Method::GET, StatusCode::MOVED_PERMANENTLY, &asked, Reply::Whole),
        (Method::GET, StatusCode::PARTIAL_CONTENT, &asked, Reply::Whole),
        (Method::GET, StatusCode::NON_AUTHORITATIVE_INFORMATION, &asked, Reply::NotModified),
        (Method::GET, StatusCode::NON_AUTHORITATIVE_INFORMATION, &range, Reply::Whole),
        (Method::GET, StatusCode::NOT_FOUND, &range, Reply::Whole),
    ];
    for (method, status, request, want) in cases {
        assert_eq!(
            ask_for(method.clone(), status, request, &stored),
            want,
            "{method} {status} {request:?}"
        );
    }
}

#[test]
fn if_match_and_if_unmodified_since_are_for_the_handler() {
    assert!(passes(&fields(&[("if-match", "*")])));
    assert!(passes(&fields(&[("if-unmodified-since", THEN)])));
    assert!(!passes(&fields(&[("if-none-match", "*"), ("if-range", THEN)])));
}

/// RFC 9110 §14.1.2 and §14.2, over ten bytes.
#[test]
fn section_14_2_a_single_range_of_bytes() {
    let none = Reply::Unsatisfiable { total: 10 };
    let cases = [
        ("bytes=0-1", part_of(0, 1)),
        ("bytes=0-0", part_of(0, 0)),
        ("bytes=1-", part_of(1, 9)),
        ("bytes=9-9", part_of(9, 9)),
        ("bytes=5-99", part_of(5, 9)),
        ("bytes=0-", part_of(0, 9)),
        ("bytes=-1", part_of(9, 9)),
        ("bytes=-10", part_of(0, 9)),
        ("bytes=-99", part_of(0, 9)),
        ("Bytes= 2-3 ", part_of(2, 3)),
        ("bytes=2-99999999999999999999999", part_of(2, 9)),
        ("bytes=10-", none),
        ("bytes=10-11", none),
        ("bytes=99999999999999999999999-", none),
        ("bytes=-0", none),
        ("bytes=3-2", Reply::Whole),
        ("bytes=0-1,3-4", Reply::Whole),
        ("bytes=0-1,", Reply::Whole),
        ("bytes=-", Reply::Whole),
        ("bytes=", Reply::Whole),
        ("bytes", Reply::Whole),
        ("bytes=a-b", Reply::Whole),
        ("bytes=+1-2", Reply::Whole),
        ("bytes=1-2-3", Reply::Whole),
        ("bytes=--1", Reply::Whole),
        ("lines=0-1", Reply::Whole),
        ("", Reply::Whole),
    ];
    for (range, want) in cases {
        assert_eq!(get(&[("range", range)], &[]), want, "{range}");
    }
    assert_eq!(get(&[("range", "bytes=0-1"), ("range", "bytes=0-1")], &[]), Reply::Whole);
    assert_eq!(part(b"bytes=-5", 0), None);
    assert_eq!(part(b"bytes=0-", 0), Some(Reply::Unsatisfiable { total: 0 }));
}

/// RFC 9110 §13.1.5: only a strong match joins bytes.
#[test]
fn section_13_1_5_if_range() {
    let old = [("last-modified", BEFORE), ("date", THEN)];
    let just_now = [("last-modified", THEN), ("date", THEN)];
    let cases: &[(&str, Fields<'_>, bool)] = &[
        ("\"1\"", &[("etag", "\"1\"")], true),
        ("\"2\"", &[("etag", "\"1\"")], false),
        ("W/\"1\"", &[("etag", "W/\"1\"")], false),
        ("\"1\"", &[("etag", "W/\"1\"")], false),
        ("W/\"1\"", &[("etag", "\"1\"")], false),
        ("\"1\", \"2\"", &[("etag", "\"1\"")], false),
        ("\"1\"", &[], false),
        ("1", &[("etag", "1")], false),
        (BEFORE, &old, true),
        (THEN, &old, false),
        (THEN, &just_now, false),
        (BEFORE, &[("last-modified", BEFORE)], false),
        (BEFORE, &[], false),
        ("*", &[("etag", "\"1\"")], false),
    ];
    for (condition, stored, applies) in cases {
        let want = if *applies { part_of(0, 1) } else { Reply::Whole };
        assert_eq!(
            get(&[("range", "bytes=0-1"), ("if-range", condition)], stored),
            want,
            "{condition} {stored:?}"
        );
    }
}

/// RFC 9110 §13.2.2: conditions first, ranges after.
#[test]
fn section_13_2_2_a_condition_that_fails_ends_it() {
    let stored = [("etag", "\"1\"")];
    assert_eq!(
        get(&[("range", "bytes=0-1"), ("if-none-match", "\"1\"")], &stored),
        Reply::NotModified
    );
    assert_eq!(get(&[("range", "bytes=0-1"), ("if-none-match", "\"2\"")], &stored), part_of(0, 1));
}

#[test]
fn section_4_3_1_what_a_cache_asks_is_all_it_asks() {
    let value = HeaderValue::from_static;
    let client = [
        ("if-none-match", "\"theirs\""),
        ("if-modified-since", AFTER),
        ("if-range", "\"theirs\""),
        ("range", "bytes=0-1"),
        ("accept", "text/html"),
    ];
    let mut request = fields(&client);
    ask(&mut request, &[value("\"1\""), value("W/\"2\""), value("\"1\"")], Some(&value(THEN)));
    let want =
        [("accept", "text/html"), ("if-none-match", "\"1\", W/\"2\""), ("if-modified-since", THEN)];
    assert_eq!(request, fields(&want));

    let mut request = fields(&client);
    ask(&mut request, &[], None);
    assert_eq!(request, fields(&[("accept", "text/html")]));
}

#[test]
fn section_4_3_4_which_response_a_304_freshens() {
    let one = ("etag", "\"1\"");
    let weak = ("etag", "W/\"1\"");
    let lm = ("last-modified", THEN);
    let cases: &[(Fields<'_>, Fields<'_>, bool, bool)] = &[
        // the 304, what is stored, whether it is the only one, whether it is freshened
        (&[one], &[one], false, true),
        (&[one], &[("etag", "\"2\"")], true, false),
        (&[one], &[weak], true, false),
        (&[one], &[], true, false),
        (&[weak], &[weak], false, true),
        (&[weak], &[one], false, true),
        (&[weak], &[("etag", "W/\"2\"")], true, false),
        (&[("etag", "x")], &[("etag", "x")], false, true),
        (&[lm], &[lm], false, true),
        (&[lm], &[("last-modified", BEFORE)], true, false),
        (&[lm], &[], true, false),
        (&[one, lm], &[("etag", "\"2\""), lm], true, false),
        (&[one, lm], &[lm], false, true),
        (&[lm], &[one, lm], false, true),
        (&[], &[one], true, true),
        (&[], &[], true, true),
        (&[], &[one], false, false),
        (&[], &[], false, false),
    ];
    for (not_modified, stored, only, want) in cases {
        let got = selects(&fields(not_modified), &fields(stored), *only);
        assert_eq!(got, *want, "{not_modified:?} {stored:?} {only}");
    }
}

#[test]
fn section_3_2_a_304_replaces_what_is_stored_but_for_what_describes_its_bytes() {
    let mut stored = fields(&[
        ("cache-control", "max-age=1"),
        ("content-type", "text/plain"),
        ("content-encoding", "gzip"),
        ("content-length", "10"),
        ("test", "a"),
        ("test", "b"),
        ("kept", "a"),
    ]);
    freshen(
        &mut stored,
        &fields(&[
            ("cache-control", "max-age=3600"),
            ("content-type", "text/plain;charset=utf-8"),
            ("content-encoding", "br"),
            ("content-length", "0"),
            ("content-range", "bytes 0-1/2"),
            ("test", "c"),
            ("new", "a"),
            ("new", "b"),
            ("age", "7"),
            ("set-cookie", "a=b"),
            ("connection", "close, Hop"),
            ("hop", "a"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("te", "trailers"),
            ("trailer", "a"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
        ]),
    );
    let want = [
        ("cache-control", "max-age=3600"),
        ("content-type", "text/plain;charset=utf-8"),
        ("content-encoding", "gzip"),
        ("content-length", "10"),
        ("test", "c"),
        ("kept", "a"),
        ("new", "a"),
        ("new", "b"),
    ];
    assert_eq!(stored, fields(&want));
}

#[test]
fn section_15_4_5_a_304_has_the_fields_of_the_200_and_none_of_its_body() {
    let all = [
        ("content-location", "/a"),
        ("date", THEN),
        ("etag", "\"1\""),
        ("vary", "a"),
        ("vary", "b"),
        ("cache-control", "max-age=1"),
        ("expires", AFTER),
    ];
    let mut stored = fields(&all);
    stored.extend(fields(&[
        ("content-type", "a/b"),
        ("content-length", "10"),
        ("last-modified", BEFORE),
        ("x", "y"),
    ]));
    assert_eq!(not_modified_fields(&stored), fields(&all));
    let dated = [("last-modified", BEFORE)];
    assert_eq!(not_modified_fields(&fields(&dated)), fields(&dated));
}

#[test]
fn an_entity_tag_of_bytes_is_strong_and_matches_itself_alone() {
    let (one, other) = (etag_of(b"one").unwrap(), etag_of(b"other").unwrap());
    assert_eq!(one.len(), 34);
    let (one, other) = (EntityTag::one(&one).unwrap(), EntityTag::one(&other).unwrap());
    assert!(one.strongly_equals(one));
    assert!(!one.weakly_equals(other));
}

proptest! {
    /// Whatever is asked, a part lies within the body, and no list runs for ever.
    #[test]
    fn any_request_is_answered_within_the_body(range in "(bytes=)?[0-9,-]{0,6}|[ -~]{0,12}", list in "[W/\",a* ]{0,16}", len in 0_u64..20) {
        let request = fields(&[("range", &range), ("if-none-match", &list)]);
        let got = reply(&Method::GET, &request, StatusCode::OK, &fields(&[("etag", "\"b\"")]), len, SystemTime::UNIX_EPOCH);
        if let Reply::Part { first, last, total } = got {
            prop_assert!(first <= last && last < total && total == len);
        }
    }
}
