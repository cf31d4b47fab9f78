//! Tables of (request, response) and what becomes of it, one per section.

use std::time::UNIX_EPOCH;

use larder::{HOUR, Lifetime, MINUTE, SECOND};

use super::*;
use crate::directive::tests::headers;
use crate::freshness::Use;

const NOW_SECONDS: u64 = 1_723_946_478;

fn route() -> Rule {
    Rule::for_route(Lifetime::fresh_for(5 * MINUTE).stale_for(HOUR))
}

/// A GET and its answer.
struct Scene {
    whose: Whose,
    method: Method,
    request: HeaderMap,
    status: u16,
    response: HeaderMap,
}

impl Scene {
    fn answered(status: u16, response: &[(&str, &str)]) -> Scene {
        Scene {
            whose: Whose::Everyone,
            method: Method::GET,
            request: HeaderMap::new(),
            status,
            response: headers(response),
        }
    }

    fn ok(response: &[(&str, &str)]) -> Scene {
        Scene::answered(200, response)
    }

    fn asked(mut self, request: &[(&str, &str)]) -> Scene {
        self.request = headers(request);
        self
    }

    fn of_one_user(mut self) -> Scene {
        self.whose = Whose::OneUser;
        self
    }

    fn judged(&self, rule: &Rule) -> Storable {
        let now = UNIX_EPOCH + NOW_SECONDS as u32 * SECOND;
        rule.judge(&Exchange {
            whose: self.whose,
            method: &self.method,
            request: &self.request,
            status: StatusCode::from_u16(self.status).unwrap(),
            response: &self.response,
            request_time: now,
            response_time: now,
        })
    }

    fn terms(&self, rule: &Rule) -> Terms {
        match self.judged(rule) {
            Storable::Yes(terms) => terms,
            Storable::No(reason) => panic!("not stored: {reason}: {:?}", self.response),
        }
    }

    fn refused(&self, rule: &Rule) -> Option<&'static str> {
        match self.judged(rule) {
            Storable::Yes(_) => None,
            Storable::No(reason) => Some(reason),
        }
    }
}

type Lines<'a> = &'a [(&'a str, &'a str)];

const FRESH: (&str, &str) = ("cache-control", "max-age=3600");

#[test]
fn section_3_what_forbids_wins_under_every_rule() {
    let table: [(Lines<'_>, Option<&str>); 19] = [
        (&[FRESH], None),
        (&[("cache-control", "max-age=3600, no-store")], Some("no-store")),
        (&[FRESH, ("cache-control", "No-StOrE")], Some("no-store")),
        (&[("cache-control", "max-age=3600, x=\"no-store\"")], None),
        (&[("cache-control", "max-age=3600, no-store, must-understand")], None),
        (&[("cache-control", "private, max-age=3600")], Some("private")),
        (&[("cache-control", "private=\"a\", max-age=3600")], None),
        (&[("cache-control", "private=\"\", max-age=3600")], Some("private")),
        (&[("cdn-cache-control", "private"), FRESH], Some("private")),
        (&[("cdn-cache-control", "no-store"), FRESH], Some("no-store")),
        (&[("cdn-cache-control", "max-age=9"), ("cache-control", "no-store")], None),
        (
            &[("cdn-cache-control", "max-age=9, &&"), ("cache-control", "no-store")],
            Some("no-store"),
        ),
        (
            &[("larder-cache-control", "no-store"), ("cdn-cache-control", "max-age=9")],
            Some("no-store"),
        ),
        (&[FRESH, ("set-cookie", "a=b")], Some("set-cookie")),
        (&[FRESH, ("vary", "*")], Some("vary *")),
        (&[FRESH, ("vary", "accept, * , origin")], Some("vary *")),
        (&[FRESH, ("vary", "accept"), ("vary", "origin,*")], Some("vary *")),
        (&[FRESH, ("vary", "accept, x-*")], None),
        (&[("cache-control", "no-cache")], Some("not fresh, and no validator")),
    ];
    for (lines, expected) in table {
        for rule in [Rule::standard(), route()] {
            let scene = Scene::ok(lines);
            assert_eq!(scene.refused(&rule), expected, "{lines:?}");
            assert_eq!(scene.of_one_user().refused(&rule), expected, "{lines:?}");
        }
    }
}

#[test]
fn section_3_only_an_answer_to_get_is_stored() {
    for method in ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "get"] {
        for rule in [Rule::standard(), route()] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let scene = Scene { method, ..Scene::ok(&[FRESH, ("etag", "\"a\"")]) };
            assert_eq!(scene.refused(&rule), Some("method"), "{}", scene.method);
        }
    }
}

#[test]
fn section_3_a_final_status_with_explicit_freshness_is_stored_but_no_part_and_no_condition() {
    let any =
        [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599];
    for status in any {
        assert_eq!(Scene::answered(status, &[FRESH]).refused(&Rule::standard()), None, "{status}");
        let stale = Scene::answered(status, &[FRESH, ("age", "7200")]);
        assert_eq!(
            stale.refused(&Rule::standard()),
            Some("not fresh, and no validator"),
            "{status}"
        );
    }
    for status in [100, 101, 103, 206, 304, 412, 416] {
        for rule in [Rule::standard(), route()] {
            assert_eq!(
                Scene::answered(status, &[FRESH]).refused(&rule),
                Some("status"),
                "{status}"
            );
        }
    }
    for status in [201, 202, 299, 302, 307, 400, 401, 403, 422, 429, 500, 502, 503, 599] {
        assert_eq!(Scene::answered(status, &[FRESH]).refused(&route()), Some("status"), "{status}");
    }
}

#[test]
fn section_3_without_explicit_freshness_the_status_or_public_must_allow_it() {
    let unchanged = ("last-modified", "Sat, 17 Aug 2024 02:01:18 GMT");
    let silent = Some("nothing said of freshness");
    for status in [200, 203, 204, 404, 405, 410, 414, 501] {
        let terms = Scene::answered(status, &[unchanged]).terms(&Rule::standard());
        assert_eq!(terms.fresh_for_ms, 8_640_000, "{status}");
    }
    for status in [201, 202, 302, 403, 502, 503, 504, 599] {
        assert_eq!(
            Scene::answered(status, &[unchanged]).refused(&Rule::standard()),
            silent,
            "{status}"
        );
        let public = Scene::answered(status, &[unchanged, ("cache-control", "public")]);
        assert_eq!(public.terms(&Rule::standard()).fresh_for_ms, 8_640_000, "{status}");
    }
    let off = Rule::standard().heuristic(Heuristic::Off);
    let terms = Scene::ok(&[unchanged]).terms(&off);
    assert_eq!((terms.fresh_for_ms, terms.judge(Duration::ZERO)), (0, Use::Validate));
    assert_eq!(Scene::ok(&[]).refused(&Rule::standard()), Some("not fresh, and no validator"));
}

#[test]
fn section_3_what_is_not_fresh_is_stored_if_it_can_be_validated_or_stand_in() {
    let (etag, zero) = (("etag", "\"a\""), ("cache-control", "max-age=0"));
    let table: [(Lines<'_>, bool); 6] = [
        (&[zero], false),
        (&[zero, etag], true),
        (&[zero, ("last-modified", "foo")], true),
        (&[etag], true),
        (&[etag, ("cache-control", "no-cache")], true),
        (&[("cache-control", "max-age=0, stale-if-error=9")], true),
    ];
    for (lines, stored) in table {
        assert_eq!(Scene::ok(lines).refused(&Rule::standard()).is_none(), stored, "{lines:?}");
    }
}

#[test]
fn section_3_5_authorization_needs_leave_to_share() {
    let asked = [("authorization", "Bearer x")];
    let table = [
        ("max-age=3600", Some("authorization")),
        ("max-age=3600, proxy-revalidate", Some("authorization")),
        ("max-age=3600, no-cache=\"a\"", Some("authorization")),
        ("max-age=3600, public", None),
        ("max-age=3600, must-revalidate", None),
        ("s-maxage=3600", None),
    ];
    for (said, expected) in table {
        let scene = || Scene::ok(&[("cache-control", said)]).asked(&asked);
        assert_eq!(scene().refused(&Rule::standard()), expected, "{said}");
        assert_eq!(scene().of_one_user().refused(&Rule::standard()), expected, "{said}");
        assert_eq!(scene().refused(&route()), expected, "{said}");
        assert_eq!(scene().of_one_user().refused(&route()), None, "{said}");
    }
}

#[test]
fn section_5_2_2_3_must_understand_needs_a_status_we_know() {
    let said = [("cache-control", "max-age=3600, no-store, must-understand")];
    for (status, expected) in [(200, None), (404, None), (599, Some("must-understand"))] {
        assert_eq!(Scene::answered(status, &said).refused(&Rule::standard()), expected, "{status}");
    }
    let said = [("cache-control", "max-age=3600, must-understand")];
    assert_eq!(Scene::answered(599, &said).refused(&Rule::standard()), Some("must-understand"));
}

#[test]
fn under_standard_the_response_says_how_long() {
    let terms = |said: &str| Scene::ok(&[("cache-control", said)]).terms(&Rule::standard());
    let said = terms("max-age=1, s-maxage=60, stale-while-revalidate=7, stale-if-error=8");
    assert_eq!((said.fresh_for_ms, said.never_stale, said.must_validate), (60_000, true, false));
    assert_eq!((said.stale_while_revalidate_ms, said.stale_if_error_ms), (7_000, 8_000));
    let plain = terms("max-age=60");
    assert_eq!((plain.fresh_for_ms, plain.never_stale), (60_000, false));
    assert_eq!((plain.stale_while_revalidate_ms, plain.stale_if_error_ms), (0, 0));
}

#[test]
fn under_for_route_the_owner_says_how_long_and_what_forbids_keeps_its_meaning() {
    let terms = |lines: &[(&str, &str)]| Scene::ok(lines).terms(&route());
    let (fresh_ms, stale_ms) = (300_000, 3_600_000);
    for lines in [
        &[][..],
        &[("cache-control", "max-age=1, stale-while-revalidate=1")],
        &[("expires", "0")],
        &[("last-modified", "Sat, 17 Aug 2024 02:01:18 GMT")],
    ] {
        let terms = terms(lines);
        assert_eq!(terms.fresh_for_ms, fresh_ms, "{lines:?}");
        assert_eq!(terms.stale_while_revalidate_ms, stale_ms, "{lines:?}");
        assert_eq!(terms.stale_if_error_ms, stale_ms, "{lines:?}");
        assert!(!terms.never_stale && !terms.must_validate, "{lines:?}");
    }
    for said in ["must-revalidate", "proxy-revalidate", "s-maxage=1"] {
        let terms = terms(&[("cache-control", said)]);
        assert!(terms.never_stale && terms.fresh_for_ms == fresh_ms, "{said}");
    }
    assert!(terms(&[("cache-control", "no-cache"), ("etag", "\"a\"")]).must_validate);
    // The owner's time runs from the storing, also when the answer came from another cache.
    assert_eq!(terms(&[("age", "7200")]).judge(7499 * SECOND), Use::Fresh);
    assert_eq!(terms(&[("age", "7200")]).judge(7500 * SECOND), Use::StaleWhileRevalidate);
}

#[test]
fn rfc_9213_a_field_of_our_own_name_comes_first() {
    let ours = Rule::standard().targeted_by(HeaderName::from_static("shop-cache-control"));
    let scene = Scene::ok(&[
        ("shop-cache-control", "max-age=9"),
        ("larder-cache-control", "max-age=8"),
        ("cdn-cache-control", "max-age=7"),
        ("cache-control", "no-store"),
        ("expires", "0"),
    ]);
    assert_eq!(scene.terms(&ours).fresh_for_ms, 9_000);
    assert_eq!(scene.terms(&Rule::standard()).fresh_for_ms, 8_000);
}

#[test]
fn section_5_2_1_a_request_is_heard_only_if_told() {
    let scene = Scene::ok(&[FRESH]).asked(&[("cache-control", "no-store, max-age=0")]);
    assert_eq!(scene.refused(&Rule::standard()), None);
    assert_eq!(Rule::standard().wishes(&scene.request), RequestDirectives::default());
    let honoured = Rule::standard().honour_request_directives();
    assert_eq!(scene.refused(&honoured), Some("request no-store"));
    assert_eq!(honoured.wishes(&scene.request).max_age, Some(Duration::ZERO));
}

#[test]
fn section_3_1_what_belongs_to_the_connection_is_not_stored() {
    let response = headers(&[
        ("connection", "a, B ,, close"),
        ("connection", "c"),
        ("a", "1"),
        ("b", "1"),
        ("c", "1"),
        ("keep-alive", "x"),
        ("proxy-authenticate", "x"),
        ("proxy-authentication-info", "x"),
        ("proxy-authorization", "x"),
        ("proxy-connection", "x"),
        ("te", "x"),
        ("trailer", "x"),
        ("transfer-encoding", "x"),
        ("upgrade", "x"),
        ("age", "5"),
        ("x-cache", "MISS"),
        ("surrogate-control", "x"),
        ("cache-group-invalidation", "\"x\""),
        ("set-cookie", "a=b"),
        ("set-cookie", "c=d"),
        ("etag", "\"a\""),
        ("link", "<a>"),
        ("link", "<b>"),
        ("cache-status", "far; hit"),
        ("content-range", "x"),
        ("content-length", "5"),
    ]);
    for rule in [Rule::standard().strip_set_cookie(), route()] {
        let stored = rule.stored_headers(&response);
        let kept = headers(&[
            ("etag", "\"a\""),
            ("link", "<a>"),
            ("link", "<b>"),
            ("cache-status", "far; hit"),
            ("content-range", "x"),
            ("content-length", "5"),
        ]);
        assert_eq!(stored, kept);
    }
}

#[test]
fn sections_5_2_2_4_and_5_2_2_7_named_fields_are_not_stored() {
    let response = headers(&[
        ("cache-control", "no-cache=\"a, b\", private=\"C\""),
        FRESH,
        ("a", "1"),
        ("b", "2"),
        ("c", "3"),
        ("d", "4"),
    ]);
    let stored = Rule::standard().stored_headers(&response);
    assert!(["a", "b", "c"].iter().all(|name| !stored.contains_key(*name)));
    assert!(stored.contains_key("d") && stored.contains_key("cache-control"));
}

#[test]
fn a_cookie_is_stored_under_no_rule_and_its_response_only_if_told() {
    let scene = Scene::ok(&[FRESH, ("set-cookie", "a=b")]);
    for rule in [Rule::standard(), route()] {
        assert_eq!(scene.refused(&rule), Some("set-cookie"));
        let stripping = rule.strip_set_cookie();
        assert_eq!(scene.refused(&stripping), None);
        assert!(!stripping.stored_headers(&scene.response).contains_key("set-cookie"));
    }
}

#[test]
fn server_timing_is_stored_only_where_the_response_decides() {
    let response = headers(&[("server-timing", "db;dur=5")]);
    assert!(Rule::standard().stored_headers(&response).contains_key("server-timing"));
    assert!(!route().stored_headers(&response).contains_key("server-timing"));
}

#[test]
fn the_largest_body_is_a_mebibyte_unless_told() {
    assert_eq!(Rule::standard().body_cap(), 1 << 20);
    assert_eq!(Rule::standard().body_bytes_max(5).body_cap(), 5);
}
