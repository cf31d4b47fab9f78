use std::collections::HashMap;

use http::Request;
use larder::Tag;
use proptest::prelude::*;

use super::*;

type Fields<'a> = &'a [(&'a str, &'a str)];

fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn key(uri: &str) -> RequestKey {
    RequestKey::of(&parts("GET", uri, &[("host", "shop.example")])).unwrap()
}

fn same(from: &str, location: &str) -> Option<RequestKey> {
    key(from).same_origin(&HeaderValue::from_str(location).unwrap())
}

#[test]
fn what_a_router_tells_apart_has_a_key_of_its_own() {
    let paths = [
        "/",
        "/a",
        "/a/",
        "//a",
        "/A",
        "/%61",
        "/a/../b",
        "/b",
        "/a%2Fb",
        "/a/b",
        "/a%2fb",
        "/a;x",
        "/a?",
        "/a?x",
        "/a?x=1",
        "/a?X=1",
        "/a?x=1&y=2",
        "/a?y=2&x=1",
        "/a%3Fx",
        "/./a",
        "/a/.",
        "/%2e/a",
        "/a.css",
    ];
    for (at, one) in paths.iter().enumerate() {
        for (beside, other) in paths.iter().enumerate() {
            assert_eq!(key(one) == key(other), at == beside, "{one} and {other}");
        }
    }
}

#[test]
fn hosts_of_different_bytes_differ_but_for_case() {
    let of = |host| RequestKey::of(&parts("GET", "/", &[("host", host)]));
    assert_eq!(of("Shop.Example"), of("shop.example"));
    for other in ["shop.example.", "shop.example:80", "shop.example:8080", "[::1]", "127.0.0.1"] {
        assert!(of(other).is_some(), "{other}");
        assert_ne!(of(other), of("shop.example"), "{other}");
    }
}

#[test]
fn http_1_and_2_and_the_absolute_form_give_one_key() {
    let field = RequestKey::of(&parts("GET", "/a?b", &[("host", "shop.example")]));
    let authority = RequestKey::of(&parts("GET", "http://shop.example/a?b", &[]));
    let both =
        RequestKey::of(&parts("GET", "HTTP://SHOP.example/a?b", &[("host", "shop.example")]));
    assert!(field.is_some());
    assert_eq!(field, authority);
    assert_eq!(field, both);
    let tls = RequestKey::of(&parts("GET", "https://shop.example/a?b", &[]));
    assert_ne!(field, tls);
}

#[test]
fn a_request_without_one_sure_host_has_no_key() {
    let two = [("host", "a.example"), ("host", "a.example")];
    let cases: &[(&str, &str, Fields<'_>)] = &[
        ("GET", "/", &[]),
        ("GET", "/", &[("host", "")]),
        ("GET", "/", &two),
        ("GET", "/", &[("host", "me@a.example")]),
        ("GET", "/", &[("host", "a.example, b.example")]),
        ("GET", "/", &[("host", "a.example/x")]),
        ("GET", "/", &[("host", "a example")]),
        ("GET", "http://me:pw@a.example/", &[]),
        ("GET", "http://a.example/", &[("host", "b.example")]),
        ("GET", "http://a.example/", &[("host", "a.example:80")]),
        ("GET", "ftp://a.example/", &[]),
        ("OPTIONS", "*", &[("host", "a.example")]),
        ("CONNECT", "a.example:443", &[("host", "a.example:443")]),
    ];
    for (method, uri, fields) in cases {
        assert_eq!(RequestKey::of(&parts(method, uri, fields)), None, "{method} {uri} {fields:?}");
    }
}

#[test]
fn all_of_a_url_is_both_schemes() {
    let all: Vec<_> = key("/a?b").all_of().collect();
    assert_eq!(all.len(), 2);
    assert!(all.contains(&key("/a?b")));
    assert!(all.contains(&RequestKey::of(&parts("GET", "https://shop.example/a?b", &[])).unwrap()));
}

/// RFC 9111 §4.4 with the examples of RFC 3986 §5.4.
#[test]
fn a_location_names_the_page_that_a_client_would_ask_for() {
    let cases = [
        ("/b", "/b"),
        ("/b?x=1#part", "/b?x=1"),
        ("http://shop.example/b", "/b"),
        ("http://SHOP.example:80/b", "/b"),
        ("http://shop.example", "/"),
        ("http://shop.example?q", "/?q"),
        ("//shop.example/b", "/b"),
        ("g", "/b/c/g"),
        ("./g", "/b/c/g"),
        ("g/", "/b/c/g/"),
        ("?y", "/b/c/d;p?y"),
        ("g?y", "/b/c/g?y"),
        ("", "/b/c/d;p?q"),
        ("#s", "/b/c/d;p?q"),
        (".", "/b/c/"),
        ("..", "/b/"),
        ("../g", "/b/g"),
        ("../../g", "/g"),
        ("../../../g", "/g"),
        ("/./g", "/g"),
        ("/../g", "/g"),
        ("g.", "/b/c/g."),
        ("..g", "/b/c/..g"),
        ("./g/.", "/b/c/g/"),
        ("g/../h", "/b/c/h"),
        ("g?y/../x", "/b/c/g?y/../x"),
        ("/a:b", "/a:b"),
        ("/b?u=http://other.example/", "/b?u=http://other.example/"),
    ];
    for (location, path) in cases {
        assert_eq!(same("/b/c/d;p?q", location), Some(key(path)), "{location}");
    }
    assert_eq!(same("/a", "https://shop.example/b"), Some(key("/b").under(Scheme::Https)));
}

#[test]
fn a_location_elsewhere_names_nothing_here() {
    for location in [
        "http://other.example/b",
        "//other.example/b",
        "http://shop.example.other.example/",
        "http://shop.example:8080/b",
        "https://shop.example:80/b",
        "http://me@shop.example/b",
        "http:/b",
        "http:b",
        "mailto:a@shop.example",
        "ftp://shop.example/b",
    ] {
        assert_eq!(same("/a", location), None, "{location}");
    }
    assert_eq!(key("/a").same_origin(&HeaderValue::from_bytes(b"/\xff").unwrap()), None);
}

#[test]
fn a_canonical_query_is_never_taken_for_a_query() {
    assert_ne!(key("/a?x").without_variance("x".into()), key("/a?x"));
    assert_eq!(key("/a?x").without_variance("x".into()), key("/a?y").without_variance("x".into()));
}

/// Few letters, and those that frame a key: a part that does not say where it ends would soon show.
fn any_key() -> impl Strategy<Value = RequestKey> {
    let text = || "[01.;a]{0,4}";
    (any::<bool>(), text(), text(), prop::option::of(text()), prop::option::of(text())).prop_map(
        |(tls, host, path, query, no_vary)| RequestKey {
            scheme: if tls { Scheme::Https } else { Scheme::Http },
            host: host.into(),
            path: path.into(),
            query: query.map(Box::from),
            inner: None,
            no_vary,
        },
    )
}

/// Keys that differ in one part only, which chance would hardly draw.
#[test]
fn keys_that_are_nearly_the_same_never_write_the_same() {
    let texts = ["", "0;", "1;", "1.a", "a"];
    let maybe = || iter::once(None).chain(texts.into_iter().map(Some));
    let mut seen = HashMap::new();
    for (host, path) in texts.into_iter().flat_map(|host| texts.map(|path| (host, path))) {
        for (query, no_vary) in
            maybe().flat_map(|query| maybe().map(move |no_vary| (query, no_vary)))
        {
            let plain = RequestKey {
                scheme: Scheme::Http,
                host: host.into(),
                path: path.into(),
                query: query.map(Box::from),
                inner: None,
                no_vary: no_vary.map(String::from),
            };
            for key in plain.all_of() {
                let met = seen.insert(Tag::from_parts(&key), key.clone());
                assert_eq!(met, None, "{key:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A tag of parts is the bytes of the key, seen through the front door.
    #[test]
    fn different_keys_never_write_the_same(one in any_key(), other in any_key()) {
        prop_assert_eq!(one == other, Tag::from_parts(&one) == Tag::from_parts(&other));
    }

    #[test]
    fn no_location_panics(base in "/[a./?]{0,8}", location in "[ -~]{0,24}") {
        let _ = key(&base).same_origin(&HeaderValue::from_str(&location).unwrap());
    }
}
