//! Tables in the words of the RFCs, one per section.

use std::time::UNIX_EPOCH;

use super::*;
use crate::directive::tests::headers;

/// Sunday, 18 August 2024, 02:01:18 GMT.
const NOW_SECONDS: u64 = 1_723_946_478;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW_SECONDS)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The date so many seconds from now.
fn at(seconds: i64) -> String {
    let time = UNIX_EPOCH + secs(NOW_SECONDS.checked_add_signed(seconds).unwrap());
    httpdate::fmt_http_date(time)
}

/// Seconds of the lifetime, and whether it was explicit.
fn lifetime_of(status: u16, lines: &[(&str, &str)]) -> Option<(u64, bool)> {
    let headers = headers(lines);
    let (said, targeted) =
        Directives::of_response(&headers, &[HeaderName::from_static("cdn-cache-control")]);
    let status = StatusCode::from_u16(status).unwrap();
    let lifetime = lifetime(status, &headers, &said, targeted, now(), Heuristic::On)?;
    Some((lifetime.time.as_secs(), lifetime.explicit))
}

#[test]
fn section_4_2_a_date_has_three_forms_and_its_case_does_not_matter() {
    let valid = [
        ("Thu, 18 Aug 2050 02:01:18 GMT", 2_544_400_878),
        ("THU, 18 Aug 2050 02:01:18 GMT", 2_544_400_878),
        ("Thu, 18 AUG 2050 02:01:18 GMT", 2_544_400_878),
        ("Thu, 18 Aug 2050 02:01:18 gMT", 2_544_400_878),
        ("thu, 18 aug 2050 02:01:18 gmt", 2_544_400_878),
        ("Thursday, 18-Aug-50 02:01:18 GMT", 2_544_400_878),
        ("thursday, 18-AUG-50 02:01:18 gmt", 2_544_400_878),
        ("Thu Aug 18 02:01:18 2050", 2_544_400_878),
        ("Mon Aug  8 02:01:18 2050", 2_543_536_878),
        ("Tue, 19 Jan 2038 14:14:08 GMT", 2_147_523_248),
        ("Sun, 21 Nov 2286 04:46:39 GMT", 10_000_039_599),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
    ];
    for (text, expected) in valid {
        let parsed = http_date(&HeaderValue::from_static(text));
        assert_eq!(parsed, Some(UNIX_EPOCH + secs(expected)), "{text}");
    }
    let invalid = [
        "",
        "0",
        "-1",
        "foo",
        "Thu, 18 Aug 2050 02:01:18 UTC",
        "Thu, 18 Aug 2050 02:01:18 AEST",
        "Thu, 18 Aug 2050 02:01:18 +0000",
        "Thu, 18 Aug 2050 02:01:18",
        "Thu, 18 Aug 50 02:01:18 GMT",
        "Thu 18 Aug 2050 02:01:18 GMT",
        "Thu, 18  Aug  2050 02:01:18 GMT",
        "Thu, 18-Aug-2050 02:01:18 GMT",
        "Thu, 18 Aug 2050 02.01.18 GMT",
        "Thu, 18 Aug 2050 2:01:18 GMT",
        "Thu, 18 Aug 2050 25:01:18 GMT",
        "2544400878",
    ];
    for text in invalid {
        assert_eq!(http_date(&HeaderValue::from_static(text)), None, "{text}");
    }
    assert_eq!(
        http_date(&HeaderValue::from_bytes(b"Thu, 18 Aug 2050 02:01:18 GM\xd4").unwrap()),
        None
    );
}

#[test]
fn of_several_dates_the_oldest_stands_and_what_is_none_does_not_count() {
    let (early, late) = (at(-20), at(-10));
    for lines in [[early.as_str(), late.as_str()], [&late, &early]] {
        let headers = headers(&[("date", lines[0]), ("date", "foo"), ("date", lines[1])]);
        assert_eq!(date(&headers), Some(now() - secs(20)));
    }
    assert_eq!(date(&headers(&[("date", "foo")])), None);
}

#[test]
fn section_4_2_1_a_shared_cache_asks_s_maxage_then_max_age_then_expires() {
    let (past, soon, late, date) = (at(-30), at(300), at(3600), at(0));
    let (cc, cdn, expires) = ("cache-control", "cdn-cache-control", "expires");
    let explicit = |seconds| Some((seconds, true));
    let table: Vec<(Vec<(&str, &str)>, _)> = vec![
        (vec![(cc, "max-age=60")], explicit(60)),
        (vec![(cc, "max-age=60, s-maxage=5")], explicit(5)),
        (vec![(cc, "s-maxage=60"), (cc, "max-age=5")], explicit(60)),
        (vec![(cc, "max-age=0, s-maxage=60"), (expires, &past)], explicit(60)),
        (vec![(cc, "max-age=60"), (expires, &past)], explicit(60)),
        (vec![(cc, "max-age=60"), (expires, "0")], explicit(60)),
        (vec![(cc, "max-age=0"), (expires, &late)], explicit(0)),
        (vec![(cc, "max-age=x"), (expires, &late)], explicit(0)),
        (vec![(cc, "public"), (expires, &late)], explicit(3600)),
        (vec![(expires, &late), ("date", &soon)], explicit(3300)),
        (vec![(expires, &soon), ("date", &late)], explicit(0)),
        (vec![(expires, &late), ("date", "foo")], explicit(3600)),
        (vec![(cdn, "max-age=9"), (cc, "s-maxage=60"), (expires, &past)], explicit(9)),
        (vec![(cdn, "public"), (cc, "s-maxage=60"), (expires, &late)], None),
        (vec![("date", &date)], None),
        (vec![(cc, "no-cache")], None),
    ];
    for (lines, expected) in table {
        assert_eq!(lifetime_of(200, &lines), expected, "{lines:?}");
    }
}

#[test]
fn section_5_3_an_expires_that_is_no_date_has_expired() {
    let (soon, late) = (at(300), at(3600));
    let table: Vec<(Vec<(&str, &str)>, u64)> = vec![
        (vec![("expires", "0")], 0),
        (vec![("expires", "")], 0),
        (vec![("expires", "Thu, 18 Aug 2050 02:01:18 UTC")], 0),
        (vec![("expires", &late), ("expires", &soon)], 300),
        (vec![("expires", &soon), ("expires", &late)], 300),
        (vec![("expires", &late), ("expires", "0")], 0),
        (
            vec![
                ("expires", "Thu, 18 Aug 2050 2:01:18 GMT"),
                ("expires", "Thu, 18 Aug 2050 2:01:19 GMT"),
            ],
            0,
        ),
    ];
    for (lines, expected) in table {
        assert_eq!(lifetime_of(200, &lines), Some((expected, true)), "{lines:?}");
    }
}

#[test]
fn section_4_2_2_a_guess_is_a_tenth_of_the_time_unchanged_and_at_most_a_day() {
    let guess = |seconds: i64| lifetime_of(200, &[("last-modified", &at(seconds))]);
    assert_eq!(guess(-1000), Some((100, false)));
    assert_eq!(guess(-86_400), Some((8640, false)));
    assert_eq!(guess(-86_400 * 400), Some((86_400, false)));
    assert_eq!(guess(0), Some((0, false)));
    assert_eq!(guess(1000), None);
    assert_eq!(lifetime_of(200, &[("last-modified", "foo")]), None);
    let unchanged = at(-1000);
    let explicit = [("last-modified", unchanged.as_str()), ("cache-control", "max-age=3")];
    assert_eq!(lifetime_of(200, &explicit), Some((3, true)));
    let headers = headers(&[("last-modified", &unchanged)]);
    let said = Directives::default();
    assert_eq!(lifetime(StatusCode::OK, &headers, &said, false, now(), Heuristic::Off), None);
}

#[test]
fn section_4_2_2_a_guess_needs_a_status_that_allows_it_or_public() {
    let unchanged = at(-1000);
    for status in [200, 203, 204, 404, 405, 410, 414, 501] {
        assert!(lifetime_of(status, &[("last-modified", &unchanged)]).is_some(), "{status}");
    }
    for status in [201, 202, 206, 302, 304, 307, 400, 403, 500, 502, 503, 504, 599] {
        assert!(lifetime_of(status, &[("last-modified", &unchanged)]).is_none(), "{status}");
        let public = [("last-modified", unchanged.as_str()), ("cache-control", "public")];
        assert_eq!(lifetime_of(status, &public), Some((100, false)), "{status}");
    }
}

#[test]
fn section_4_2_3_age_is_what_is_said_or_what_appears_whichever_is_more() {
    let (slow, fast) = (at(-10), at(10));
    // The request took two seconds.
    let table: Vec<(Vec<(&str, &str)>, u64)> = vec![
        (vec![], 2),
        (vec![("date", &slow)], 10),
        (vec![("date", &fast)], 2),
        (vec![("date", &slow), ("age", "25")], 27),
        (vec![("date", &fast), ("age", "15")], 17),
        (vec![("date", &slow), ("age", "3")], 10),
        (vec![("date", "foo"), ("age", "3")], 5),
    ];
    for (lines, expected) in table {
        let age = initial_age(&headers(&lines), now() - secs(2), now());
        assert_eq!(age, secs(expected), "{lines:?}");
    }
    let clock_set_back = initial_age(&headers(&[("age", "3")]), now() + secs(9), now());
    assert_eq!(clock_set_back, secs(3));
}

#[test]
fn section_5_1_the_first_age_stands_and_what_is_no_number_is_ignored() {
    let table: Vec<(Vec<&str>, u64)> = vec![
        (vec!["7200"], 7200),
        (vec!["abc"], 0),
        (vec!["-7200"], 0),
        (vec!["7200.0"], 0),
        (vec!["7200;foo=bar"], 0),
        (vec![""], 0),
        (vec!["2147483647"], 2_147_483_647),
        (vec!["2147483648"], 2_147_483_648),
        (vec!["2147483649"], 2_147_483_648),
        (vec!["99999999999999999999999"], 2_147_483_648),
        (vec!["7200, 0"], 7200),
        (vec!["0, 7200"], 0),
        (vec!["7200", "0"], 7200),
        (vec!["0", "7200"], 0),
        (vec!["0, 0"], 0),
        (vec!["3600", "3600"], 3600),
    ];
    for (lines, expected) in table {
        let lines: Vec<_> = lines.iter().map(|line| ("age", *line)).collect();
        assert_eq!(initial_age(&headers(&lines), now(), now()), secs(expected), "{lines:?}");
    }
}

fn terms(cache_control: &str) -> Terms {
    let said = Directives::of_response(&headers(&[("cache-control", cache_control)]), &[]).0;
    Terms::new(
        &said,
        said.s_maxage.or(said.max_age).unwrap_or_default(),
        said.stale_while_revalidate.unwrap_or_default(),
        said.stale_if_error.unwrap_or_default(),
    )
}

#[test]
fn section_4_2_and_rfc_5861_a_response_is_fresh_then_stale_then_of_no_use() {
    use Use::{Fresh, StaleWhileRevalidate, Validate};
    let table = [
        ("max-age=10", 9_999, Fresh, true),
        ("max-age=10", 10_000, Validate, false),
        ("max-age=0", 0, Validate, false),
        ("max-age=10, stale-while-revalidate=5", 9_999, Fresh, true),
        ("max-age=10, stale-while-revalidate=5", 10_000, StaleWhileRevalidate, false),
        ("max-age=10, stale-while-revalidate=5", 14_999, StaleWhileRevalidate, false),
        ("max-age=10, stale-while-revalidate=5", 15_000, Validate, false),
        ("max-age=10, stale-if-error=5", 10_000, Validate, true),
        ("max-age=10, stale-if-error=5", 14_999, Validate, true),
        ("max-age=10, stale-if-error=5", 15_000, Validate, false),
    ];
    for (said, age_ms, usable, stands_in) in table {
        let (terms, age) = (terms(said), Duration::from_millis(age_ms));
        assert_eq!((terms.judge(age), terms.stands_in(age)), (usable, stands_in), "{said} {age:?}");
    }
}

#[test]
fn section_4_2_4_stale_is_never_served_where_it_is_forbidden() {
    let stale = "stale-while-revalidate=60, stale-if-error=60";
    for forbids in ["must-revalidate", "proxy-revalidate", "s-maxage=10", "no-cache"] {
        let terms = terms(&format!("max-age=10, {forbids}, {stale}"));
        assert!(terms.never_stale, "{forbids}");
        assert_eq!(terms.judge(secs(10)), Use::Validate, "{forbids}");
        assert!(!terms.stands_in(secs(10)), "{forbids}");
        let fresh = if forbids == "no-cache" { Use::Validate } else { Use::Fresh };
        assert_eq!(terms.judge(secs(9)), fresh, "{forbids}");
        assert_eq!(terms.stands_in(secs(9)), fresh == Use::Fresh, "{forbids}");
    }
    assert_eq!(terms("max-age=10, no-cache=\"a\"").judge(secs(9)), Use::Fresh);
}

#[test]
fn it_is_kept_until_it_is_of_no_use_for_anything() {
    let stale = "stale-while-revalidate=20, stale-if-error=50";
    let table = [
        ("max-age=10".to_owned(), 4, 0, 6),
        ("max-age=10".to_owned(), 4, 100, 106),
        ("max-age=10".to_owned(), 40, 0, 0),
        ("max-age=10".to_owned(), 40, 100, 100),
        (format!("max-age=10, {stale}"), 4, 0, 56),
        (format!("max-age=10, {stale}"), 4, 10, 56),
        (format!("max-age=10, {stale}, must-revalidate"), 4, 10, 16),
        (format!("max-age=10, {stale}, no-cache"), 4, 0, 0),
        (format!("max-age=10, {stale}, no-cache"), 4, 10, 10),
    ];
    for (said, age, window, expected) in table {
        let kept = terms(&said).keep_for(secs(age), secs(window));
        assert_eq!(kept, secs(expected), "{said}, {age} s old, window {window} s");
    }
    let endless = Terms { fresh_for_ms: u64::MAX, stale_if_error_ms: u64::MAX, ..terms("x") };
    assert!(endless.keep_for(Duration::ZERO, Duration::MAX) > secs(u64::from(u32::MAX)));
}
