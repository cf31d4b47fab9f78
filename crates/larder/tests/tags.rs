//! A tag ends whatever carries it, at once and at one price, and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::time::Duration;

use larder::{Cache, HOUR, Larder, Lifetime, Loaded, MINUTE, Origin, SECOND, Tag, UserCache};
use support::{PATIENT, Server, Source, World, until};

async fn load(value: &'static str) -> Result<String, std::io::Error> {
    Ok(value.to_owned())
}

#[tokio::test]
async fn a_tag_crosses_caches() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let prices: Cache<u32, String> =
        here.larder.cache("prices").tagged_by(|_: &u32| ["shop"]).shared().unwrap();
    let carts: UserCache<u32, String> = here
        .larder
        .cache("carts")
        .tagged_by(|n: &u32| [Tag::new("shop"), Tag::from_parts(&("cart", *n))])
        .per_user()
        .unwrap();
    prices.get_or_load(&1, || load("p")).await.unwrap();
    carts.of("u").get_or_load(&1, || load("c1")).await.unwrap();
    carts.of("u").get_or_load(&2, || load("c2")).await.unwrap();
    there.larder.invalidate_tag(Tag::from_parts(&("cart", 1_u32))).await.unwrap();
    here.larder.sync().await.unwrap();
    assert!(carts.of("u").get(&1).await.unwrap().is_none());
    assert!(carts.of("u").get(&2).await.unwrap().is_some());
    assert!(prices.get(&1).await.unwrap().is_some());
    there.larder.invalidate([Tag::new("shop")]).await.unwrap();
    here.larder.sync().await.unwrap();
    assert!(carts.of("u").get(&2).await.unwrap().is_none());
    assert!(prices.get(&1).await.unwrap().is_none());
}

/// One command, whatever the number of members; and nothing but the entries themselves, which run out.
#[tokio::test]
async fn ending_a_tag_is_one_command_however_many_carry_it() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let words: Cache<u32, String> =
        world.larder.cache("many").tagged_by(|_: &u32| ["all"]).shared().unwrap();
    for n in 0..500 {
        words.get_or_load(&n, || load("v")).await.unwrap();
    }
    assert_eq!(
        server.keys().iter().filter(|key| key.contains(":t:")).count(),
        1,
        "a tag is one key"
    );
    let before = server.calls("unlink");
    world.larder.invalidate_tag("all").await.unwrap();
    assert_eq!(server.calls("unlink") - before, 1);
    for n in 0..500 {
        assert!(words.get(&n).await.unwrap().is_none());
    }
}

/// Evicted, deleted, flushed: a tag that is not there means that nothing of it is true.
#[tokio::test]
async fn a_tag_that_is_lost_ends_what_carries_it() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    world.source.set("k", "one");
    world.read_tagged("k", "list").await.unwrap();
    let _: i64 = server.ask("DEL test:t:{.list}");
    world.larder.sync().await.unwrap();
    world.source.set("k", "two");
    assert_eq!(*world.read_tagged("k", "list").await.unwrap(), "two");
    let other = World::on(&server.url()).await;
    let entry = other.words.tagged(["list"]).get("k").await.unwrap().unwrap();
    assert_eq!((entry.as_str(), entry.origin()), ("two", Origin::Far));
}

#[tokio::test]
async fn a_tag_outlives_its_longest_member_and_a_short_one_does_not_shorten_it() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let cache = |name: &str, time: Duration| -> Cache<str, String> {
        let lifetime = Lifetime::fresh_for(time).jitter(0.0);
        let builder = world.larder.cache(name).lifetime(lifetime).max_load(SECOND);
        builder.tagged_by(|_: &str| ["list"]).shared().unwrap()
    };
    let left = || server.ask::<u64>("PTTL test:t:{.list}");
    let (long, short) = (cache("long", HOUR), cache("short", SECOND));
    short.get_or_load("a", || load("v")).await.unwrap();
    let first = left();
    assert!(first > 2_000 && first <= 4_000, "{first}");
    long.get_or_load("b", || load("v")).await.unwrap();
    let longer = left();
    assert!(longer > 3_600_000, "{longer}");
    short.get_or_load("c", || load("v")).await.unwrap();
    assert!(left() > 3_600_000, "a short-lived member took nothing away");
    // One that its loader gives a longer life than the cache's own.
    let day = Lifetime::fresh_for(24 * HOUR).jitter(0.0);
    let loaded =
        move || async move { Ok::<_, std::io::Error>(Loaded::new("v".to_owned()).lifetime(day)) };
    long.get_or_load("d", loaded).await.unwrap();
    assert!(left() > 24 * 3_600_000, "{}", left());
    assert_eq!(long.get("d").await.unwrap().unwrap().origin(), Origin::Near);
    let put = Loaded::new("v".to_owned()).lifetime(Lifetime::fresh_for(48 * HOUR).jitter(0.0));
    long.put("e", put).await.unwrap();
    assert!(left() > 48 * 3_600_000, "{}", left());
}

/// A tag that loaders learn, made by a cache of brief entries and then carried by a lasting one.
#[tokio::test]
async fn a_learned_tag_outlives_its_longest_member_too() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let cache = |name: &str, time: Duration| -> Cache<str, String> {
        let lifetime = Lifetime::fresh_for(time).jitter(0.0);
        world.larder.cache(name).lifetime(lifetime).max_load(SECOND).shared().unwrap()
    };
    let (short, long) = (cache("short", SECOND), cache("long", HOUR));
    let tags: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    let learned = || {
        let tags = tags.clone();
        || async move {
            let loaded = Loaded::new("v".to_owned());
            Ok::<_, std::io::Error>(tags.into_iter().fold(loaded, Loaded::tag))
        }
    };
    short.get_or_load("a", learned()).await.unwrap();
    assert_eq!(world.ear.count("NewTag"), 1);
    long.get_or_load("b", learned()).await.unwrap();
    assert_eq!(long.get("b").await.unwrap().unwrap().origin(), Origin::Near);
    assert!(server.ask::<u64>("PTTL test:t:{.t7}") > 3_600_000);
    let other = World::on(&server.url()).await;
    let again: Cache<str, String> = other.larder.cache("long").shared().unwrap();
    assert_eq!(again.get("b").await.unwrap().unwrap().origin(), Origin::Far);
    world.larder.invalidate_tag("t19").await.unwrap();
    other.larder.sync().await.unwrap();
    assert!(again.get("b").await.unwrap().is_none());
    let many = || async {
        let loaded = Loaded::new("v".to_owned());
        Ok::<_, std::io::Error>((0..300).fold(loaded, |loaded, n| loaded.tag(format!("m{n}"))))
    };
    assert_eq!(*long.get_or_load("c", many).await.unwrap(), "v");
    assert_eq!(world.ear.count("TooManyTags"), 1);
    assert_eq!(server.keys().iter().filter(|key| key.contains("{.m")).count(), 0);
}

/// Nothing on the server outlives its time: entries, leases, tags.
#[tokio::test]
async fn everything_on_the_server_ends_by_itself() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let lifetime = Lifetime::fresh_for(Duration::from_millis(50));
    let builder =
        world.larder.cache("brief").lifetime(lifetime).max_load(Duration::from_millis(50));
    let brief: UserCache<u32, String> =
        builder.backoff(Duration::from_millis(50)).per_user().unwrap();
    for n in 0..50 {
        let user = brief.of(&format!("u{}", n % 5));
        if n % 10 == 0 {
            let fail = || async { Err::<String, _>(std::io::Error::other("no")) };
            assert!(user.get_or_load(&n, fail).await.is_err());
        } else {
            user.get_or_load(&n, || load("v")).await.unwrap();
        }
    }
    for key in server.keys() {
        let left: i64 = redis::cmd("PTTL").arg(&key).query(&mut server.client()).unwrap();
        assert!(left != -1, "{key} has no end");
    }
    until("everything has ended", || async { server.keys().is_empty() }).await;
}

/// Names longer than 255 bytes are hashed; names that look like ours are not ours.
#[tokio::test]
async fn any_text_is_a_tag() {
    let server = Server::start();
    let (here, there) = (World::on(&server.url()).await, World::on(&server.url()).await);
    let long = "x".repeat(1000);
    for name in ["", "}", "{a}", "a:t:{.b}", "@h", "@ucpages", "ü\n\0", long.as_str()] {
        here.source.set(name, "v");
        here.read_tagged(name, name).await.unwrap();
        here.larder.sync().await.unwrap();
        let words = here.words.tagged([name]);
        assert!(words.get(name).await.unwrap().is_some(), "{name:?}");
        there.larder.invalidate_tag(name).await.unwrap();
        here.larder.sync().await.unwrap();
        assert!(words.get(name).await.unwrap().is_none(), "{name:?}");
    }
}

/// Forty tags on one entry, and an entry stored before the tag was asked for.
#[tokio::test]
async fn an_entry_without_a_tag_that_is_asked_for_is_loaded_anew() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    world.source.set("k", "v");
    world.read("k").await.unwrap();
    let tags: Vec<String> = (0..40).map(|n| format!("t{n}")).collect();
    let words = world.words.tagged(&tags);
    assert!(words.get("k").await.unwrap().is_none());
    words.get_or_load("k", || load("again")).await.unwrap();
    assert_eq!(words.get("k").await.unwrap().unwrap().origin(), Origin::Near);
    world.larder.invalidate_tag("t39").await.unwrap();
    assert!(words.get("k").await.unwrap().is_none());
}

/// Two apps on one Redis: neither sees the other's entries or tags.
#[tokio::test]
async fn two_apps_share_a_server_and_nothing_else() {
    let server = Server::start();
    let open = async |app: &str| {
        let builder = Larder::builder(app).redis(server.url()).far_deadline(PATIENT);
        World::of(builder, &Source::default()).await
    };
    let (one, two) = (open("one").await, open("two").await);
    for world in [&one, &two] {
        world.source.set("k", "v");
        world.read_tagged("k", "list").await.unwrap();
        assert_eq!(world.source.loads(), 1);
    }
    two.larder.invalidate_tag("list").await.unwrap();
    two.words.invalidate("k").await.unwrap();
    one.larder.sync().await.unwrap();
    assert_eq!(one.words.tagged(["list"]).get("k").await.unwrap().unwrap().origin(), Origin::Near);
    assert_eq!(one.words.ttl("k").await.unwrap().map(|left| left <= MINUTE), Some(true));
}
