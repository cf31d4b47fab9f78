//! How long a page is fresh, as clients see it: who says it, and what its age is.

use std::time::{Duration, SystemTime};

use crate::stage::{Origin, of_status, step, timed};
use crate::support::App;
use larder::{Lifetime, MINUTE, SECOND};
use larder_http::{Audience, Heuristic, Rule};

async fn app(rule: Rule) -> (App, Origin) {
    let origin = Origin::default();
    let larder = timed().await;
    let app = App::of(larder, |layer| layer.rule(rule), Audience::Public, origin.handler()).await;
    (app, origin)
}

fn ago(time: Duration) -> String {
    httpdate::fmt_http_date(SystemTime::now() - time)
}

fn from_now(time: Duration) -> String {
    httpdate::fmt_http_date(SystemTime::now() + time)
}

/// A page with these fields is fresh after `fresh` seconds and no more after `over`.
async fn lasts(rule: Rule, fields: &[(&str, &str)], fresh: u64, over: u64) {
    let (app, origin) = app(rule).await;
    origin.answers(fields, "page");
    app.get("/a").await;
    step(Duration::from_secs(fresh)).await;
    assert_eq!(app.get("/a").await.x_cache(), "HIT", "after {fresh} s: {fields:?}");
    step(Duration::from_secs(over - fresh)).await;
    origin.answers(&[], "new");
    assert_eq!(app.get("/a").await.text(), "new", "after {over} s: {fields:?}");
}

/// It is not fresh from the beginning.
async fn never_lasts(rule: Rule, fields: &[(&str, &str)]) {
    let (app, origin) = app(rule).await;
    origin.answers(fields, "page");
    app.get("/a").await;
    origin.answers(&[], "new");
    assert_eq!(app.get("/a").await.text(), "new", "{fields:?}");
}

#[tokio::test]
async fn a_hit_says_how_old_it_is() {
    let (app, origin) = app(Rule::standard()).await;
    origin.answers(&[("cache-control", "max-age=60"), ("age", "7")], "page");
    app.get("/a").await;
    for (time, least) in [(0, 7), (10, 17), (20, 37)] {
        step(Duration::from_secs(time)).await;
        let hit = app.get("/a").await;
        let age: u64 = hit.field("age").parse().unwrap();
        assert!((least..least + 5).contains(&age), "{age} after {time} s more");
        assert_eq!(hit.headers.get_all("age").iter().count(), 1);
        let ttl = hit.field("cache-status").strip_prefix("larder; hit; ttl=").unwrap();
        let lifetime = age + ttl.parse::<u64>().unwrap();
        assert!((59..=60).contains(&lifetime), "{hit:?}");
    }
}

#[tokio::test]
async fn a_hit_keeps_the_date_of_its_handler() {
    let (app, origin) = app(Rule::standard()).await;
    let date = ago(30 * SECOND);
    origin.answers(&[("cache-control", "max-age=60"), ("date", &date)], "page");
    app.get("/a").await;
    let hit = app.get("/a").await;
    assert_eq!((hit.x_cache(), hit.field("date")), ("HIT", date.as_str()));
    let age: u64 = hit.field("age").parse().unwrap();
    assert!((30..60).contains(&age), "what is old when it comes is not young: {age}");
}

#[tokio::test]
async fn a_page_that_was_old_when_it_came_is_not_fresh() {
    let old = ago(90 * SECOND);
    never_lasts(Rule::standard(), &[("cache-control", "max-age=60"), ("date", &old)]).await;
    never_lasts(Rule::standard(), &[("cache-control", "max-age=60"), ("age", "60")]).await;
}

#[tokio::test]
async fn who_speaks_to_this_cache_comes_before_who_speaks_to_all() {
    let all = [
        ("larder-cache-control", "max-age=20"),
        ("cdn-cache-control", "max-age=40"),
        ("cache-control", "s-maxage=60, max-age=80"),
        ("expires", "Tue, 24 Nov 2099 10:00:00 GMT"),
    ];
    for (fields, over) in
        [(&all[..], 20), (&all[1..], 40), (&all[2..], 60), (&[("cache-control", "max-age=80")], 80)]
    {
        lasts(Rule::standard(), fields, over - 10, over).await;
    }
}

#[tokio::test]
async fn who_speaks_to_this_cache_may_forbid_and_allow() {
    let allows = [("cdn-cache-control", "max-age=20"), ("cache-control", "no-store, private")];
    lasts(Rule::standard(), &allows, 10, 20).await;
    let forbids = [("larder-cache-control", "no-store"), ("cache-control", "max-age=20")];
    never_lasts(Rule::standard(), &forbids).await;
    never_lasts(Rule::for_route(Lifetime::fresh_for(MINUTE)), &forbids).await;
}

#[tokio::test]
async fn the_field_that_speaks_to_this_cache_may_have_another_name() {
    let rule = Rule::standard().targeted_by("edge-cache-control".parse().unwrap());
    let fields = [("edge-cache-control", "max-age=20"), ("larder-cache-control", "max-age=90")];
    lasts(rule, &fields, 10, 20).await;
}

#[tokio::test]
async fn expires_counts_from_the_date() {
    let (date, expires) = (ago(Duration::ZERO), from_now(40 * SECOND));
    lasts(Rule::standard(), &[("date", &date), ("expires", &expires)], 30, 41).await;
    // One whose clock is wrong is wrong in both.
    let (date, expires) = (from_now(1000 * SECOND), from_now(1040 * SECOND));
    lasts(Rule::standard(), &[("date", &date), ("expires", &expires)], 30, 41).await;
    let late = from_now(40 * SECOND);
    let both = [("cache-control", "max-age=10"), ("expires", late.as_str())];
    lasts(Rule::standard(), &both, 3, 10).await;
}

#[tokio::test]
async fn expires_that_is_no_date_is_over() {
    for expires in ["0", "-1", "tomorrow", &ago(10 * SECOND)] {
        never_lasts(Rule::standard(), &[("expires", expires)]).await;
    }
}

#[tokio::test]
async fn a_page_that_has_long_been_unchanged_is_fresh_for_a_tenth_of_that() {
    let unchanged = ago(400 * SECOND);
    lasts(Rule::standard(), &[("last-modified", &unchanged)], 35, 41).await;
    let rule = Rule::standard().heuristic(Heuristic::Off);
    never_lasts(rule, &[("last-modified", &unchanged)]).await;
    let long_unchanged = ago(Duration::from_secs(100 * 24 * 3600));
    let day = 24 * 3600;
    lasts(Rule::standard(), &[("last-modified", &long_unchanged)], day - 20, day + 1).await;
}

#[tokio::test]
async fn a_page_that_says_nothing_is_not_fresh() {
    never_lasts(Rule::standard(), &[]).await;
    never_lasts(Rule::standard(), &[("cache-control", "max-age=soon")]).await;
    never_lasts(Rule::standard(), &[("cache-control", "max-age=0")]).await;
}

#[tokio::test]
async fn the_owner_of_a_route_comes_before_what_its_handler_says() {
    let rule = || Rule::for_route(Lifetime::fresh_for(MINUTE));
    for said in ["max-age=1", "max-age=1000", "max-age=0", "s-maxage=1"] {
        lasts(rule(), &[("cache-control", said)], 50, 60).await;
    }
    let long_ago = ago(1000 * SECOND);
    for fields in [&[][..], &[("expires", "0")], &[("age", "1000")], &[("date", &long_ago)]] {
        lasts(rule(), fields, 50, 60).await;
    }
}

#[tokio::test]
async fn what_forbids_comes_before_the_owner_of_a_route() {
    let rule = || Rule::for_route(Lifetime::fresh_for(MINUTE));
    for said in ["no-store", "private", "private, max-age=60"] {
        never_lasts(rule(), &[("cache-control", said)]).await;
    }
    never_lasts(rule(), &[("set-cookie", "a=1")]).await;
    never_lasts(rule(), &[("vary", "*")]).await;
}

#[tokio::test]
async fn what_a_handler_says_of_caching_goes_on_to_the_client() {
    let (app, origin) = app(Rule::for_route(Lifetime::fresh_for(MINUTE))).await;
    let fields =
        [("cache-control", "max-age=5"), ("expires", "0"), ("cdn-cache-control", "max-age=9")];
    origin.answers(&fields, "page");
    for x_cache in ["MISS", "HIT"] {
        let answer = app.get("/a").await;
        assert_eq!(answer.x_cache(), x_cache);
        for (name, value) in fields {
            assert_eq!(answer.field(name), value);
        }
    }
}

#[tokio::test]
async fn statuses_are_stored_by_their_own_rules() {
    for (status, said, stored) in [
        (404, "max-age=60", true),
        (301, "max-age=60", true),
        (302, "max-age=60", true),
        (500, "max-age=60", true),
        (302, "", false),
        (500, "", false),
    ] {
        let (app, origin) = app(Rule::standard()).await;
        let unchanged = ago(1000 * SECOND);
        let fields = [("cache-control", said), ("last-modified", unchanged.as_str())];
        origin.says(of_status(status, &fields, "page"));
        app.get("/a").await;
        origin.answers(&[], "new");
        let answer = app.get("/a").await;
        assert_eq!(answer.x_cache() == "HIT", stored, "{status} {said}");
        assert_eq!(answer.status == status, stored);
    }
}

/// Under an owner's rule a failure is not kept because it forgot to forbid it.
#[tokio::test]
async fn the_owner_of_a_route_stores_only_what_is_cacheable_by_default() {
    for (status, stored) in [(404, true), (301, true), (302, false), (403, false), (500, false)] {
        let (app, origin) = app(Rule::for_route(Lifetime::fresh_for(MINUTE))).await;
        origin.says(of_status(status, &[], "page"));
        app.get("/a").await;
        origin.answers(&[], "new");
        assert_eq!(app.get("/a").await.x_cache() == "HIT", stored, "{status}");
    }
}
