//! Tables in the words of the RFCs, one per section.

use super::*;

/// The fields of a message, in order.
pub(crate) fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

fn parse(lines: &[&str]) -> Directives {
    let lines: Vec<_> = lines.iter().map(|line| ("cache-control", *line)).collect();
    Directives::of_response(&headers(&lines), &[]).0
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn named(names: &[&'static str]) -> Option<Fields> {
    Some(Fields::Named(names.iter().map(|name| HeaderName::from_static(name)).collect()))
}

#[test]
fn section_5_2_directives_are_read_whatever_their_case_and_order() {
    let said = parse(&[
        "Public, MAX-AGE=60 ,, s-maxage=120,foobar, ext=1,\tmust-revalidate",
        "Proxy-Revalidate, must-understand, immutable",
        "stale-while-revalidate=7, stale-if-error=8, nO-StOrE, private, no-cache",
    ]);
    let all = Directives {
        no_store: true,
        no_cache: Some(Fields::All),
        private: Some(Fields::All),
        public: true,
        must_revalidate: true,
        proxy_revalidate: true,
        must_understand: true,
        immutable: true,
        max_age: seconds(60),
        s_maxage: seconds(120),
        stale_while_revalidate: seconds(7),
        stale_if_error: seconds(8),
    };
    assert_eq!(said, all);
    assert_eq!(parse(&[]), Directives::default());
    assert_eq!(parse(&["", " , ,", "x, y=\"\", =3, =, \u{e9}=1"]), Directives::default());
}

#[test]
fn section_1_2_2_delta_seconds_are_digits_and_all_else_is_over_at_once() {
    let table = [
        ("max-age=3600", 3600),
        ("max-age=003600", 3600),
        ("max-age=\"3600\"", 3600),
        ("max-age=\"36\\00\"", 3600),
        ("max-age=3600 , x", 3600),
        ("max-age=2147483647", 2_147_483_647),
        ("max-age=2147483648", 2_147_483_648),
        ("max-age=2147483649", 2_147_483_648),
        ("max-age=99999999999", 2_147_483_648),
        ("max-age=99999999999999999999999999", 2_147_483_648),
        ("max-age=0", 0),
        ("max-age=-3600", 0),
        ("max-age=+3600", 0),
        ("max-age=3600.0", 0),
        ("max-age=3600.5", 0),
        ("max-age=a3600", 0),
        ("max-age=3600a", 0),
        ("max-age='3600'", 0),
        ("max-age =3600", 0),
        ("max-age= 3600", 0),
        ("max-age= \"3600\"", 0),
        ("max-age=\"3600\"0", 0),
        ("max-age=\"\"", 0),
        ("max-age=", 0),
        ("max-age", 0),
    ];
    for (line, expected) in table {
        assert_eq!(parse(&[line]).max_age, seconds(expected), "{line}");
    }
}

#[test]
fn section_4_2_1_of_duplicates_the_one_that_allows_less_stands() {
    let table: [(&[&str], u64); 6] = [
        (&["max-age=1800, max-age=1"], 1),
        (&["max-age=1, max-age=1800"], 1),
        (&["max-age=1800", "max-age=1"], 1),
        (&["max-age=1", "max-age=1800"], 1),
        (&["max-age=5, max-age=5"], 5),
        (&["max-age=5, max-age=x"], 0),
    ];
    for (lines, expected) in table {
        assert_eq!(parse(lines).max_age, seconds(expected), "{lines:?}");
    }
    let both = parse(&["stale-if-error=9, stale-if-error=4, s-maxage=3, s-maxage=2"]);
    assert_eq!((both.stale_if_error, both.s_maxage), (seconds(4), seconds(2)));
}

#[test]
fn section_5_2_text_in_a_quoted_string_is_no_directive() {
    let table = [
        ("extension=\"max-age=3600\", max-age=1", 1),
        ("max-age=1, extension=\"max-age=3600\"", 1),
        ("extension=\"a, max-age=0, b\", max-age=7", 7),
        ("extension=\"a\\\", max-age=0\", max-age=7", 7),
        ("extension=\"a\\\\\", max-age=7", 7),
        ("extension= \"a, max-age=0\", max-age=7", 7),
        ("extension=a\"b, max-age=7", 7),
    ];
    for (line, expected) in table {
        let said = parse(&[line]);
        assert_eq!(said.max_age, seconds(expected), "{line}");
        assert!(!said.no_store, "{line}");
    }
    assert!(parse(&["x=a\", no-store, y=\"b\""]).no_store, "a quote inside a token opens nothing");
}

/// What a string without an end swallowed may have been the `no-store`.
#[test]
fn a_quoted_string_that_never_ends_is_not_stored() {
    for line in ["x=\"a, no-store", "max-age=60, x=\"", "x=\"\\", "must-understand, x=\"a\\\""] {
        let said = parse(&[line]);
        assert!(said.no_store && !said.must_understand, "{line}");
    }
}

#[test]
fn sections_5_2_2_4_and_5_2_2_7_no_cache_and_private_may_name_fields() {
    let table: [(&[&str], Option<Fields>); 13] = [
        (&["no-cache"], Some(Fields::All)),
        (&["no-cache=\"a\""], named(&["a"])),
        (&["no-cache=\"A, b\""], named(&["a", "b"])),
        (&["no-cache=\" a ,, b \""], named(&["a", "b"])),
        (&["no-cache=a"], named(&["a"])),
        (&["no-cache=\"a\"", "max-age=3600"], named(&["a"])),
        (&["no-cache=\"a\"", "no-cache=\"b\""], named(&["a", "b"])),
        (&["no-cache=\"a\", no-cache"], Some(Fields::All)),
        (&["no-cache, no-cache=\"a\""], Some(Fields::All)),
        (&["no-cache=\"\""], Some(Fields::All)),
        (&["no-cache=\"a b\""], Some(Fields::All)),
        (&["no-cache =\"a\""], Some(Fields::All)),
        (&["x=no-cache"], None),
    ];
    for (lines, expected) in table {
        assert_eq!(parse(lines).no_cache, expected, "{lines:?}");
        let private: Vec<String> =
            lines.iter().map(|line| line.replace("no-cache", "private")).collect();
        let private: Vec<&str> = private.iter().map(String::as_str).collect();
        assert_eq!(parse(&private).private, expected, "{private:?}");
    }
}

#[test]
fn what_forbids_counts_with_an_argument_and_what_allows_does_not() {
    let said = parse(&["no-store=x, must-revalidate=1, proxy-revalidate=\"\", public=1"]);
    assert!(said.no_store && said.must_revalidate && said.proxy_revalidate && !said.public);
    let said = parse(&["must-understand=0, immutable=no"]);
    assert!(!said.must_understand && !said.immutable);
}

#[test]
fn rfc_9213_section_2_2_the_first_valid_targeted_field_stands_alone() {
    let targets = [
        HeaderName::from_static("our-cache-control"),
        HeaderName::from_static("cdn-cache-control"),
    ];
    let of = |lines: &[(&str, &str)]| {
        let mut lines = lines.to_vec();
        lines.push(("cache-control", "max-age=1"));
        let (said, targeted) = Directives::of_response(&headers(&lines), &targets);
        (said.max_age.map(|age| age.as_secs()), targeted)
    };
    let (ours, cdn) = ("our-cache-control", "cdn-cache-control");
    assert_eq!(of(&[]), (Some(1), false));
    assert_eq!(of(&[(cdn, "max-age=30")]), (Some(30), true));
    assert_eq!(of(&[(cdn, "max-age=30"), (ours, "max-age=9")]), (Some(9), true));
    assert_eq!(of(&[(cdn, "max-age=30"), (ours, "MAX-AGE=9")]), (Some(30), true));
    assert_eq!(of(&[(cdn, "no-store")]), (None, true));
    assert_eq!(of(&[(cdn, "public"), (cdn, "max-age=4;x=1")]), (Some(4), true));
}

#[test]
fn rfc_9213_section_2_1_a_targeted_field_is_a_dictionary_or_it_is_nothing() {
    let target = HeaderName::from_static("cdn-cache-control");
    let of = |line: &str| {
        let headers = headers(&[("cdn-cache-control", line)]);
        Directives::of_response(&headers, std::slice::from_ref(&target))
    };
    let valid = [
        ("max-age=3600", 3600),
        ("foobar, max-age=3600", 3600),
        ("max-age=99999999999", 2_147_483_648),
        ("max-age=0", 0),
        ("max-age=-7", 0),
        ("max-age=1, max-age=5", 5),
        ("max-age=5;p;q=\"a,b\", x=(a \"b\";c 1.5), y=:AAA=:, z=?0, *w=*t", 5),
        (" max-age=5 ", 5),
    ];
    for (line, expected) in valid {
        let (said, targeted) = of(line);
        assert_eq!((said.max_age, targeted), (seconds(expected), true), "{line}");
    }
    let broken = [
        "",
        " ",
        "max-age=10000, &&&&&",
        "max-age=\"10000\"",
        "max-age=1.5",
        "max-age",
        "max-age=tok",
        "max-age =100",
        "max-age= 100",
        "MaX-aGe=3600",
        "max-age=1,",
        ",max-age=1",
        "max-age=1 x",
        "no-store=1",
        "no-store=\"\"",
        "private=(a b)",
        "no-cache=a",
        "x=\"a",
        "x=\"\\a\"",
        "x=(a",
        "x=(a)b",
        "x=?2",
        "x=:a",
        "x=1234567890123456",
        "x=-",
        "x=1.",
        "x=.5",
        "x=\"\u{e9}\"",
        "x;",
    ];
    for line in broken {
        assert_eq!(of(line), (Directives::default(), false), "{line}");
    }
    assert_eq!(of("private=\"a, b\"").0.private, named(&["a", "b"]));
    assert_eq!(of("private, no-cache").0.no_cache, Some(Fields::All));
    assert_eq!(of("no-store=?0, private=?0, public").0, Directives { public: true, ..of("x").0 });
}

#[test]
fn section_5_2_1_a_request_has_directives_of_its_own() {
    let of = |line: &str| RequestDirectives::of(&headers(&[("cache-control", line)]));
    let said = of("No-Cache, no-store, only-if-cached, no-transform, max-age=5, min-fresh=6");
    assert!(said.no_cache && said.no_store && said.only_if_cached);
    assert_eq!((said.max_age, said.min_fresh, said.max_stale), (seconds(5), seconds(6), None));
    assert_eq!(of("stale-if-error=3").stale_if_error, seconds(3));
    let stale = [
        ("max-stale", Some(None)),
        ("max-stale=4", Some(seconds(4))),
        ("max-stale=x", Some(seconds(0))),
        ("max-stale, max-stale=4", Some(seconds(4))),
        ("max-stale=4, max-stale", Some(seconds(4))),
        ("max-stale=4, max-stale=3", Some(seconds(3))),
    ];
    for (line, expected) in stale {
        assert_eq!(of(line).max_stale, expected, "{line}");
    }
    assert_eq!(of("max-age=5, max-age=4").max_age, seconds(4));
    assert_eq!(of("min-fresh=5, min-fresh=4").min_fresh, seconds(5));
}

#[test]
fn section_5_4_pragma_counts_only_without_cache_control() {
    let of = |lines: &[(&str, &str)]| RequestDirectives::of(&headers(lines)).no_cache;
    assert!(of(&[("pragma", "no-cache")]));
    assert!(of(&[("pragma", "x=\"y\", No-Cache")]));
    assert!(!of(&[("pragma", "unrecognised-extension")]));
    assert!(!of(&[("pragma", "x=\"no-cache\"")]));
    assert!(!of(&[("pragma", "no-cache"), ("cache-control", "max-age=5")]));
}
