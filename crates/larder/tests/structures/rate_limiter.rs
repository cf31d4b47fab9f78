//! A rate limiter: what it allows, for a fleet, under several limits at once, and without Redis.

use std::time::{Duration, Instant};

use larder::structures::{Judge, Limit, Rate, RateLimiter, WhenDown};
use larder::{ErrorKind, HOUR, MINUTE, SECOND};

use crate::scene::{Scene, on_every_side};
use crate::support::{Cluster, NEVER, PATIENT, Proxy, Server, Way, until};

on_every_side! {
    a_log_allows_its_quota_and_says_when_the_next_is_due,
    a_counter_allows_its_quota,
    a_bucket_allows_its_burst_and_fills_again,
    what_is_taken_is_taken_under_all_limits_or_under_none,
    a_cost_may_be_many_and_one_that_never_fits_is_never_allowed,
    peek_takes_nothing_and_reset_forgets,
    many_at_once_get_no_more_than_there_is,
    keys_do_not_share,
    who_is_to_blame_is_told,
    what_was_taken_is_gone_when_it_no_longer_counts,
    no_window_has_more_than_it_may,
    every_side_judges_alike,
}

fn limiter(scene: &Scene, name: &str, limits: &[Limit]) -> RateLimiter {
    let limits = limits.iter().copied();
    scene.larder.rate_limiter(name, limits).deadline(PATIENT).open().unwrap()
}

async fn a_log_allows_its_quota_and_says_when_the_next_is_due(scene: &Scene) {
    let limiter = limiter(scene, "api", &[Limit::sliding_log(3, HOUR)]);
    for left in [2, 1, 0] {
        let verdict = limiter.check("ann").await.unwrap();
        assert!(verdict.allowed);
        assert_eq!((verdict.remaining, verdict.retry_after), (left, None));
        assert_eq!(verdict.judge, Judge::Shared);
        assert!(verdict.reset_after > HOUR - MINUTE && verdict.reset_after <= HOUR);
    }
    let verdict = limiter.check("ann").await.unwrap();
    let retry = verdict.retry_after.unwrap();
    assert!(!verdict.allowed && verdict.remaining == 0);
    // When the first of them is an hour ago; this test took less than that.
    assert!(retry > HOUR - MINUTE && retry <= HOUR, "{retry:?}");
    assert_eq!(verdict.limit, limiter.limits()[0]);
}

async fn a_counter_allows_its_quota(scene: &Scene) {
    let limiter = limiter(scene, "api", &[Limit::sliding_counter(3, 24 * HOUR)]);
    let mut allowed = 0;
    let mut last = limiter.peek("ann").await.unwrap();
    for _ in 0..6 {
        last = limiter.check("ann").await.unwrap();
        allowed += u32::from(last.allowed);
    }
    // A day that ends while this runs lets no more in: what was before counts nearly whole.
    assert_eq!(allowed, 3);
    assert!(last.retry_after.is_some_and(|retry| retry <= 48 * HOUR), "{last:?}");
}

async fn a_bucket_allows_its_burst_and_fills_again(scene: &Scene) {
    let limiter = limiter(scene, "api", &[Limit::token_bucket(Rate::per(1, HOUR), 2)]);
    assert!(limiter.check("ann").await.unwrap().allowed);
    assert!(limiter.check("ann").await.unwrap().allowed);
    let verdict = limiter.check("ann").await.unwrap();
    let retry = verdict.retry_after.unwrap();
    assert!(retry > HOUR - MINUTE && retry <= HOUR, "{retry:?}");
    assert!(verdict.reset_after > HOUR && verdict.reset_after <= 2 * HOUR);
    // One that fills fast: who waits as they are told is let in, every time.
    let limiter = self::limiter(scene, "fast", &[Limit::token_bucket(Rate::per_second(50), 1)]);
    let began = Instant::now();
    let mut in_all = 0;
    while in_all < 10 {
        let verdict = limiter.check("ann").await.unwrap();
        match verdict.retry_after {
            None => in_all += 1,
            Some(retry) => tokio::time::sleep(retry).await,
        }
        assert!(began.elapsed() < NEVER);
    }
    // The burst of one, and nine more by a rate of one in 20 ms.
    assert!(began.elapsed() >= Duration::from_millis(9 * 20 - 1), "{:?}", began.elapsed());
}

async fn what_is_taken_is_taken_under_all_limits_or_under_none(scene: &Scene) {
    let (few, many) = (Limit::sliding_log(2, HOUR), Limit::sliding_log(10, 24 * HOUR));
    let bucket = Limit::token_bucket(Rate::per(1, HOUR), 5);
    let limiter = limiter(scene, "api", &[many, few, bucket]);
    for _ in 0..6 {
        limiter.check("ann").await.unwrap();
    }
    let verdict = limiter.peek("ann").await.unwrap();
    assert!(!verdict.allowed);
    assert_eq!(verdict.limit, few, "the one to wait for");
    let left: Vec<u64> = verdict.standings.iter().map(|one| one.remaining).collect();
    assert_eq!(left, [8, 0, 3], "the four that were refused took nothing");
}

async fn a_cost_may_be_many_and_one_that_never_fits_is_never_allowed(scene: &Scene) {
    let ways = [
        Limit::sliding_log(10, HOUR),
        Limit::sliding_counter(10, 24 * HOUR),
        Limit::token_bucket(Rate::per(1, HOUR), 10),
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let limiter = limiter(scene, &format!("api{number}"), &[way]);
        assert_eq!(limiter.check_n("ann", 7).await.unwrap().remaining, 3);
        let verdict = limiter.check_n("ann", 4).await.unwrap();
        assert!(!verdict.allowed && verdict.retry_after.is_some(), "{way}");
        assert!(limiter.check_n("ann", 3).await.unwrap().allowed, "{way}");
        let verdict = limiter.check_n("bob", 11).await.unwrap();
        assert!(!verdict.allowed && verdict.retry_after.is_none(), "{way}: never");
        assert_eq!(limiter.peek("bob").await.unwrap().remaining, 10, "{way}: it took nothing");
    }
}

async fn peek_takes_nothing_and_reset_forgets(scene: &Scene) {
    let limits = [Limit::sliding_log(2, HOUR), Limit::token_bucket(Rate::per(1, HOUR), 2)];
    let limiter = limiter(scene, "api", &limits);
    for _ in 0..5 {
        assert_eq!(limiter.peek("ann").await.unwrap().remaining, 2);
    }
    assert!(scene.names().is_empty(), "it wrote something");
    limiter.check_n("ann", 2).await.unwrap();
    assert!(!limiter.peek("ann").await.unwrap().allowed);
    limiter.reset("ann").await.unwrap();
    assert_eq!(limiter.peek("ann").await.unwrap().remaining, 2);
    assert!(scene.names().is_empty(), "{:?}", scene.names());
}

/// Two processes, each with fifty tasks: together they get the quota, and not one more.
async fn many_at_once_get_no_more_than_there_is(scene: &Scene) {
    let limits = [Limit::sliding_log(30, HOUR), Limit::sliding_counter(30, 24 * HOUR)];
    let here = limiter(scene, "api", &limits);
    let larder = scene.another().await;
    let there = larder.rate_limiter("api", limits).deadline(PATIENT).open().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..100 {
        let limiter = if number % 2 == 0 { here.clone() } else { there.clone() };
        tasks.spawn(async move { limiter.check("ann").await.unwrap().allowed });
    }
    let allowed = tasks.join_all().await.into_iter().filter(|allowed| *allowed).count();
    assert_eq!(allowed, 30);
}

async fn keys_do_not_share(scene: &Scene) {
    let limiter = limiter(scene, "api", &[Limit::sliding_log(1, HOUR)]);
    let other = self::limiter(scene, "other", &[Limit::sliding_log(1, HOUR)]);
    for key in ["", "}", "{", "a}b{c", "ann"] {
        assert!(limiter.check(key).await.unwrap().allowed, "{key}");
        assert!(!limiter.check(key).await.unwrap().allowed, "{key}");
        assert!(other.check(key).await.unwrap().allowed, "{key}");
    }
    assert!(limiter.check(&("ann", 7)).await.unwrap().allowed);
}

async fn who_is_to_blame_is_told(scene: &Scene) {
    let log = Limit::sliding_log(1, HOUR);
    let limiter = limiter(scene, "api", &[log]);
    assert_eq!(limiter.check_n("ann", 0).await.unwrap_err().kind(), ErrorKind::Config);
    let long = "x".repeat(2000);
    assert_eq!(limiter.check(long.as_str()).await.unwrap_err().kind(), ErrorKind::Key);
    let wrong = [
        ("no:name", vec![log], "name"),
        ("api", vec![], "number of limits"),
        ("api", vec![log, Limit::sliding_log(2, HOUR)], "two limits count alike"),
        ("api", vec![Limit::sliding_log(0, HOUR)], "quota"),
        ("api", vec![Limit::sliding_log(10_001, HOUR)], "1 to 10000"),
        ("api", vec![Limit::sliding_counter(5, Duration::MAX)], "window"),
        ("api", vec![Limit::token_bucket(Rate::per(1, HOUR), 1_000_000)], "time to fill"),
        ("api", vec![Limit::token_bucket(Rate::per(0, HOUR), 1)], "rate"),
        ("api", vec![Limit::token_bucket(Rate::per(1, Duration::MAX), 9)], "period"),
    ];
    for (name, limits, says) in wrong {
        let why = scene.larder.rate_limiter(name, limits).open().unwrap_err();
        assert_eq!(why.kind(), ErrorKind::Config);
        assert!(why.to_string().contains(says), "{why}");
    }
    let builder = scene.larder.rate_limiter("api", [log]);
    let why = builder.clone().deadline(Duration::ZERO).open().unwrap_err();
    assert!(why.to_string().contains("deadline"), "{why}");
    let why = builder.when_down(WhenDown::Local { processes: 0 }).open().unwrap_err();
    assert!(why.to_string().contains("processes"), "{why}");
    assert_eq!(scene.larder.close(SECOND).await, 0);
    assert_eq!(limiter.check("ann").await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(limiter.reset("ann").await.unwrap_err().kind(), ErrorKind::Closed);
}

/// Nothing outlives its time in Redis.
async fn what_was_taken_is_gone_when_it_no_longer_counts(scene: &Scene) {
    let short = Duration::from_millis(300);
    let limits = [
        Limit::sliding_log(5, short),
        Limit::sliding_counter(5, short),
        Limit::token_bucket(Rate::per(1, short), 5),
    ];
    let limiter = limiter(scene, "api", &limits);
    assert!(limiter.check_n("ann", 2).await.unwrap().allowed);
    until("all of it is there again", || async {
        limiter.peek("ann").await.unwrap().remaining == 5
    })
    .await;
    until("nothing is left in Redis", || async { scene.names().is_empty() }).await;
}

/// Short windows and many tasks. Each check is somewhere between its two looks at the clock, so whatever began after
/// one look and ended before another is within that time: never more of them than the time may have.
async fn no_window_has_more_than_it_may(scene: &Scene) {
    let (quota, window) = (10_usize, Duration::from_millis(200));
    let ways = [
        Limit::sliding_log(10, window),
        Limit::sliding_counter(10, window),
        Limit::token_bucket(Rate::per(10, window), 10),
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let limiter = limiter(scene, &format!("api{number}"), &[way]);
        let began = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let limiter = limiter.clone();
            tasks.spawn(async move {
                let mut seen = Vec::new();
                while began.elapsed() < 6 * window {
                    let before = began.elapsed();
                    let verdict = limiter.check("ann").await.unwrap();
                    assert_eq!(verdict.judge, Judge::Shared);
                    if verdict.allowed {
                        seen.push((before, began.elapsed()));
                    }
                    tokio::time::sleep(Duration::from_millis(3)).await;
                }
                seen
            });
        }
        let seen: Vec<(Duration, Duration)> =
            tasks.join_all().await.into_iter().flatten().collect();
        assert!(seen.len() >= quota, "{way}: only {} were allowed", seen.len());
        for (from, _) in &seen {
            for (_, to) in seen.iter().filter(|(_, to)| to > from) {
                let within = seen.iter().filter(|one| one.0 >= *from && one.1 <= *to).count();
                let time = *to - *from;
                let most = match number {
                    0 if time < window => quota,
                    1 if time < window => 2 * quota - 1,
                    2 => quota + (time.as_secs_f64() / window.as_secs_f64() * 10.0) as usize,
                    _ => continue,
                };
                assert!(within <= most, "{way}: {within} in {time:?}");
            }
        }
    }
}

/// The script and the arithmetic in this process, over the same drawn costs.
async fn every_side_judges_alike(scene: &Scene) {
    let limits = [
        Limit::sliding_log(70, HOUR),
        Limit::sliding_counter(60, 31 * 24 * HOUR),
        Limit::token_bucket(Rate::per(1, HOUR), 50),
        Limit::token_bucket(Rate::per(3, 7 * HOUR), 90),
    ];
    let here = Scene::memory().await;
    let (here, there) = (limiter(&here, "api", &limits), limiter(scene, "api", &limits));
    let mut drawn = 7_u32;
    for step in 0..60 {
        drawn = drawn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let cost = 1 + (drawn >> 24) % 5;
        let told = |verdict: larder::structures::Verdict| {
            let left: Vec<u64> = verdict.standings.iter().map(|one| one.remaining).collect();
            (verdict.allowed, left, verdict.limit)
        };
        let one = told(here.check_n("ann", cost).await.unwrap());
        let other = told(there.check_n("ann", cost).await.unwrap());
        assert_eq!(one, other, "step {step}, cost {cost}");
    }
}

/// A server that is killed: the choice decides, and the fleet counts together again when it is back. What it had
/// counted is gone if it kept no log.
#[tokio::test]
async fn when_the_server_is_gone_the_choice_decides() {
    let mut server = Server::start();
    let builder = larder::Larder::builder("test").redis(server.url()).require_far();
    let larder = builder.open().await.unwrap();
    let limits = [Limit::sliding_log(4, HOUR)];
    let open = |choice| larder.rate_limiter("api", limits).when_down(choice).deadline(PATIENT);
    let limiter = open(WhenDown::Local { processes: 2 }).open().unwrap();
    let lax = open(WhenDown::Open).open().unwrap();
    let strict = open(WhenDown::Closed).open().unwrap();
    assert!(limiter.check_n("ann", 4).await.unwrap().allowed);
    assert!(!limiter.check("ann").await.unwrap().allowed);

    server.kill();
    until("it is known to be gone", || async {
        limiter.peek("ann").await.unwrap().judge == Judge::Local
    })
    .await;
    // Half of four, for each of two processes; what Redis had counted is not known here.
    let mut allowed = 0;
    for _ in 0..4 {
        let verdict = limiter.check("ann").await.unwrap();
        assert_eq!(verdict.judge, Judge::Local);
        allowed += u32::from(verdict.allowed);
    }
    assert_eq!(allowed, 2);
    // More than its share, and not more than the whole: when Redis is back it may go on. More than the whole never may.
    let verdict = limiter.check_n("bob", 3).await.unwrap();
    assert!(!verdict.allowed && verdict.retry_after.is_some(), "{verdict:?}");
    let verdict = limiter.check_n("bob", 5).await.unwrap();
    assert!(!verdict.allowed && verdict.retry_after.is_none(), "{verdict:?}");
    let verdict = lax.check("ann").await.unwrap();
    assert!(verdict.allowed && verdict.judge == Judge::Nobody);
    let verdict = strict.check("ann").await.unwrap();
    assert!(!verdict.allowed && verdict.judge == Judge::Nobody && verdict.retry_after.is_some());

    server.start_again();
    until("it is found again", || async {
        limiter.peek("ann").await.unwrap().judge == Judge::Shared
    })
    .await;
    assert_eq!(limiter.peek("ann").await.unwrap().remaining, 4, "it came back empty");
}

/// With a log on disk, written at once, a server that was killed knows what was taken.
#[tokio::test]
async fn with_a_log_on_disk_nothing_that_was_counted_is_forgotten() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let larder = larder::Larder::builder("test").redis(server.url()).require_far();
    let larder = larder.open().await.unwrap();
    let limits = [
        Limit::sliding_log(4, HOUR),
        Limit::sliding_counter(4, 24 * HOUR),
        Limit::token_bucket(Rate::per(1, HOUR), 4),
    ];
    let limiter = larder.rate_limiter("api", limits).deadline(PATIENT).open().unwrap();
    assert!(limiter.check_n("ann", 3).await.unwrap().allowed);
    server.start_again();
    until("it is found again", || async {
        limiter.peek("ann").await.unwrap().judge == Judge::Shared
    })
    .await;
    let verdict = limiter.peek("ann").await.unwrap();
    assert!(verdict.standings.iter().all(|one| one.remaining == 1), "{verdict:?}");
}

/// Its answer is lost: it counts against the key, once, and never twice.
#[tokio::test]
async fn a_check_whose_answer_was_lost_is_not_taken_twice() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let builder = larder::Larder::builder("test").redis(proxy.url()).require_far();
    let larder = builder.open().await.unwrap();
    let limiter = larder
        .rate_limiter("api", [Limit::sliding_log(10, HOUR)])
        .when_down(WhenDown::Open)
        .deadline(Duration::from_millis(500))
        .open()
        .unwrap();
    proxy.swallow_all(Way::Down);
    let verdict = limiter.check("ann").await.unwrap();
    assert_eq!(verdict.judge, Judge::Nobody);
    proxy.heal();
    until("it is found again", || async {
        limiter.peek("ann").await.unwrap().judge == Judge::Shared
    })
    .await;
    let left = limiter.peek("ann").await.unwrap().remaining;
    assert_eq!(left, 9, "it had reached the server");
}

/// A key that is evicted begins anew, whichever of its limits it is.
#[tokio::test]
async fn what_is_evicted_begins_anew() {
    let scene = Scene::single().await;
    let limits = [Limit::sliding_log(2, HOUR), Limit::token_bucket(Rate::per(1, HOUR), 2)];
    let limiter = limiter(&scene, "api", &limits);
    limiter.check_n("ann", 2).await.unwrap();
    for name in scene.names() {
        assert!(!limiter.peek("ann").await.unwrap().allowed);
        scene.says::<i64>("DEL", name.as_bytes(), &[]);
    }
    assert_eq!(limiter.check("ann").await.unwrap().remaining, 1);
}

/// A full server that refuses to write: the choice decides, nothing is counted by halves.
#[tokio::test]
async fn a_full_server_does_not_judge() {
    let scene = Scene::on(Server::start()).await;
    let limits = [Limit::sliding_log(5, HOUR), Limit::token_bucket(Rate::per(1, HOUR), 5)];
    let limiter = limiter(&scene, "api", &limits);
    let server = scene.server_of(b"").unwrap();
    server.ask::<String>("CONFIG SET maxmemory 1");
    let verdict = limiter.check("ann").await.unwrap();
    assert_eq!(verdict.judge, Judge::Local);
    server.ask::<String>("CONFIG SET maxmemory 0");
    let verdict = limiter.peek("ann").await.unwrap();
    let left: Vec<u64> = verdict.standings.iter().map(|one| one.remaining).collect();
    assert_eq!(left, [5, 5], "it was counted, or one of them was");
}

/// Somebody else's data under our name: told, and neither touched nor taken for a limit. Numbers that are none
/// count as nothing.
#[tokio::test]
async fn what_is_not_ours_is_told() {
    let scene = Scene::single().await;
    let limiter = limiter(&scene, "api", &[Limit::sliding_log(5, HOUR)]);
    limiter.check("ann").await.unwrap();
    let name = scene.names().remove(0);
    scene.says::<String>("SET", name.as_bytes(), &["theirs"]);
    let why = limiter.check("ann").await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Far);
    assert!(why.to_string().contains("WRONGTYPE"), "{why}");
    assert_eq!(scene.says::<String>("GET", name.as_bytes(), &[]).unwrap(), "theirs");

    let bucket = self::limiter(&scene, "bucket", &[Limit::token_bucket(Rate::per(1, HOUR), 5)]);
    bucket.check("ann").await.unwrap();
    let name = scene.names().into_iter().find(|name| name.contains("bucket-")).unwrap();
    for odd in ["nan", "inf", "-3", "words", ""] {
        scene.says::<i64>("HSET", name.as_bytes(), &["tokens", odd, "at", odd]);
        assert_eq!(bucket.check("ann").await.unwrap().remaining, 4, "{odd}");
    }
}

/// A slot that moves under traffic: nothing is refused that should not be, and nobody gets more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_takes_its_counts_along() {
    let scene = Scene::on_cluster(Cluster::of_masters()).await;
    let limits = [Limit::sliding_log(500, HOUR), Limit::token_bucket(Rate::per(1, HOUR), 400)];
    let limiter = limiter(&scene, "api", &limits);
    assert!(limiter.check("ann").await.unwrap().allowed);
    let crate::scene::Place::Cluster(cluster) = &scene.place else { unreachable!() };
    let slot = cluster.slot(scene.names()[0].as_bytes());
    let from = cluster.master_of(slot);
    let to = (from + 1) % 3;
    let asking = tokio::spawn({
        let limiter = limiter.clone();
        async move {
            let (mut allowed, mut refused, mut apart) = (1_u64, 0_u64, 0_u64);
            // Until both are used up; a refusal of Redis' own is the only thing that ends it.
            while refused == 0 {
                let verdict = limiter.check("ann").await.unwrap();
                match (verdict.judge, verdict.allowed) {
                    (Judge::Shared, true) => allowed += 1,
                    (Judge::Shared, false) => refused += 1,
                    _ => apart += 1,
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            (allowed, apart)
        }
    });
    tokio::task::block_in_place(|| {
        cluster.begin_to_move(slot, from, to);
        while cluster.move_keys(slot, from, to, 1) > 0 {}
        cluster.end_move(slot, from, to);
    });
    let (allowed, apart) = asking.await.unwrap();
    assert!(cluster.master_of(slot) == to);
    // What this process judged by itself while the slot was on its way may have been counted there as well.
    assert!(allowed <= 400 && allowed + apart >= 400, "{allowed} and {apart} apart");
}
