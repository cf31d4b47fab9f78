//! The members of a tag: listed by those who want to look, freed when the tag ends, and nothing rests on it.

use std::collections::BTreeSet;
use std::time::Duration;

use larder::{Cache, ErrorKind, HOUR, Larder, Lifetime, Origin, SECOND, Tag, WriteBehind};

use crate::scene::{Scene, on_every_side};
use crate::support::{Server, until};

on_every_side! {
    members_are_listed_by_those_who_ask,
    what_has_no_source_is_no_member,
    ends_of_one_tag_free_each_their_own,
    what_a_tag_ended_is_freed,
    an_entry_that_is_over_is_no_member,
    pages_show_every_member,
    a_cache_without_an_index_writes_nothing_down,
}

fn cache(larder: &Larder, name: &str) -> Cache<u64, String> {
    let tagged = |_: &u64| [Tag::new("lists")];
    let cache = larder.cache(name).lifetime(Lifetime::fresh_for(HOUR)).tagged_by(tagged);
    cache.member_index().shared().unwrap()
}

async fn load(cache: &Cache<u64, String>, key: u64) -> Origin {
    let loader = || async { Ok::<_, std::io::Error>("value".to_owned()) };
    cache.get_or_load(&key, loader).await.unwrap().origin()
}

async fn listed(larder: &Larder, tag: &str) -> BTreeSet<String> {
    let members = larder.members(Tag::new(tag));
    let mut page = members.page(100).await.unwrap();
    let mut found = BTreeSet::new();
    loop {
        for member in page.members {
            assert!(member.expires_in > Duration::ZERO && member.expires_in <= 2 * HOUR);
            found.insert(member.key);
        }
        let Some(next) = page.next else { return found };
        page = members.page_from(&next, 100).await.unwrap();
    }
}

/// Written down in the background: waits until there are so many.
async fn until_listed(larder: &Larder, tag: &str, count: usize) -> BTreeSet<String> {
    until(&format!("{count} members of {tag}"), || async {
        listed(larder, tag).await.len() == count
    })
    .await;
    listed(larder, tag).await
}

async fn members_are_listed_by_those_who_ask(scene: &Scene) {
    let (pages, tasks) = (cache(&scene.larder, "pages"), cache(&scene.larder, "tasks"));
    assert!(listed(&scene.larder, "lists").await.is_empty());
    load(&pages, 1).await;
    load(&pages, 2).await;
    load(&tasks, 1).await;
    load(&tasks, 1).await;
    let found = until_listed(&scene.larder, "lists", 3).await;
    let expected = ["pages:v1:{1;}", "pages:v1:{2;}", "tasks:v1:{1;}"];
    assert_eq!(found, BTreeSet::from(expected.map(str::to_owned)));
    // Another process sees the same.
    assert_eq!(listed(&scene.another().await, "lists").await, found);
    let why = scene.larder.members("lists").page(0).await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Config);
    for name in scene.names().iter().filter(|name| name.contains(":s:members.")) {
        let ms: i64 = scene.says("PTTL", name.as_bytes(), &[]).unwrap();
        assert!(ms > 0 && ms <= 2 * 3_600_000, "{name} lives for {ms} ms");
    }
}

/// A value without a source would be freed by the note of the one before it.
async fn what_has_no_source_is_no_member(scene: &Scene) {
    let pages = cache(&scene.larder, "pages");
    let why = pages.put(&7, "value".to_owned()).await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Config);
    assert!(why.to_string().contains("member index"), "{why}");
    assert!(pages.get(&7).await.unwrap().is_none());
}

/// What comes while the members of an end are freed, and those of a second end: each goes once, and none is forgotten.
async fn ends_of_one_tag_free_each_their_own(scene: &Scene) {
    let pages = cache(&scene.larder, "pages");
    for round in 0..3 {
        for key in 0..700 {
            load(&pages, round * 1000 + key).await;
        }
        until("they are listed", || async { listed(&scene.larder, "lists").await.len() >= 700 })
            .await;
        scene.larder.invalidate_tag("lists").await.unwrap();
    }
    if scene.url().is_some() {
        let left = || scene.names().iter().filter(|name| name.contains(":pages:1:v:")).count();
        until("all are freed", || async { left() == 0 }).await;
    }
}

async fn what_a_tag_ended_is_freed(scene: &Scene) {
    let pages = cache(&scene.larder, "pages");
    for key in 0..1200 {
        load(&pages, key).await;
    }
    until_listed(&scene.larder, "lists", 1200).await;
    let values = || scene.names().iter().filter(|name| name.contains(":pages:1:v:")).count();
    let began = values();
    scene.larder.invalidate_tag("lists").await.unwrap();
    // At once and for all, whatever is freed when.
    assert_eq!(load(&pages, 3).await, Origin::Loaded);
    assert_eq!(load(&pages, 4).await, Origin::Loaded);
    if scene.url().is_some() {
        assert_eq!(began, 1200);
        until("they are freed", || async { values() <= 2 }).await;
        let going = || scene.names().iter().any(|name| name.contains(":going."));
        until("nobody is going any more", || async { !going() }).await;
    }
    // What was stored since is served, or loaded once more, and is a member again.
    load(&pages, 3).await;
    until("it is a member", || async {
        load(&pages, 5).await;
        listed(&scene.larder, "lists").await.contains("pages:v1:{5;}")
    })
    .await;
    assert!(listed(&scene.larder, "lists").await.len() < 10);
}

async fn an_entry_that_is_over_is_no_member(scene: &Scene) {
    let brief: Cache<u64, String> = scene
        .larder
        .cache("brief")
        .lifetime(Lifetime::fresh_for(SECOND))
        .tagged_by(|_: &u64| [Tag::new("lists")])
        .member_index()
        .shared()
        .unwrap();
    load(&brief, 1).await;
    until_listed(&scene.larder, "lists", 1).await;
    until_listed(&scene.larder, "lists", 0).await;
    // And makes room with the next that comes.
    let lasting = cache(&scene.larder, "lasting");
    load(&brief, 2).await;
    load(&lasting, 1).await;
    until("the brief one is over", || async { listed(&scene.larder, "lists").await.len() == 1 })
        .await;
    load(&lasting, 2).await;
    until_listed(&scene.larder, "lists", 2).await;
    for name in scene.names().iter().filter(|name| name.contains(":s:members.")) {
        assert_eq!(scene.says::<usize>("ZCARD", name.as_bytes(), &[]), Some(2));
    }
}

async fn pages_show_every_member(scene: &Scene) {
    let pages = cache(&scene.larder, "pages");
    for key in 0..700 {
        load(&pages, key).await;
    }
    let found = until_listed(&scene.larder, "lists", 700).await;
    assert!((0..700).all(|key| found.contains(&format!("pages:v1:{{{key};}}"))));
    assert!(scene.larder.members("lists").page(100).await.unwrap().next.is_some());
}

async fn a_cache_without_an_index_writes_nothing_down(scene: &Scene) {
    let quiet: Cache<u64, String> =
        scene.larder.cache("quiet").tagged_by(|_: &u64| [Tag::new("lists")]).shared().unwrap();
    load(&quiet, 1).await;
    let pages = cache(&scene.larder, "pages");
    load(&pages, 1).await;
    let found = until_listed(&scene.larder, "lists", 1).await;
    assert_eq!(found.first().unwrap(), "pages:v1:{1;}");
    let other: Result<Cache<u64, String>, _> = scene
        .larder
        .cache("quiet")
        .tagged_by(|_: &u64| [Tag::new("lists")])
        .member_index()
        .shared();
    assert_eq!(other.map(drop).unwrap_err().kind(), ErrorKind::Config);
}

/// A write that its source hears of later is a member from the start; its end frees no write that waits.
#[tokio::test]
async fn a_write_behind_is_a_member_and_its_end_loses_no_write() {
    let scene = Scene::single().await;
    let cache = scene.larder.cache("words").lifetime(Lifetime::fresh_for(HOUR));
    let cache = cache.tagged_by(|_: &u64| [Tag::new("lists")]).member_index();
    let words: Cache<u64, String> =
        cache.write_behind(WriteBehind::partitions(4)).shared().unwrap();
    words.write_behind(&7, "seven".to_owned()).await.unwrap();
    let found = until_listed(&scene.larder, "lists", 1).await;
    assert!(found.first().unwrap().starts_with("words:v1~4:"), "{found:?}");
    scene.larder.invalidate_tag("lists").await.unwrap();
    let values = || scene.names().iter().filter(|name| name.contains(":words:1~4:v:")).count();
    until("it is freed", || async { values() == 0 }).await;
    let asked = || async { Err::<String, _>(std::io::Error::other("the source was asked")) };
    assert_eq!(*words.get_or_load(&7, asked).await.unwrap(), "seven");
}

/// The index is evicted, or another's, or its server away: entries are stored, served and ended all the same.
#[tokio::test]
async fn nothing_rests_on_the_index() {
    let mut server = Server::start();
    let builder = Larder::builder("app").redis(server.url()).require_far();
    let larder = builder.far_deadline(crate::support::PATIENT).open().await.unwrap();
    let pages = cache(&larder, "pages");
    load(&pages, 1).await;
    until_listed(&larder, "lists", 1).await;
    let index = || server.keys().into_iter().find(|name| name.contains(":s:members.")).unwrap();
    let _: i64 = server.ask(&format!("DEL {}", index()));
    larder.invalidate_tag("lists").await.unwrap();
    assert_eq!(load(&pages, 1).await, Origin::Loaded);
    until_listed(&larder, "lists", 1).await;
    let name = index();
    let _: String = server.ask(&format!("SET {name} text"));
    assert_eq!(load(&pages, 2).await, Origin::Loaded);
    let why = larder.members("lists").page(10).await.unwrap_err();
    assert!(why.kind() == ErrorKind::Far && why.to_string().contains("WRONGTYPE"), "{why}");
    larder.invalidate_tag("lists").await.unwrap();
    assert_eq!(load(&pages, 2).await, Origin::Loaded);
    let _: i64 = server.ask(&format!("DEL {name}"));
    // What somebody else wrote into it is nobody's to free.
    let _: String = server.ask("SET other:1 text");
    let _: String = server.ask("SET app:other text");
    for name in ["other:1", "app:other"] {
        let index = "app:s:members.of:all:{.5.lists}";
        let _: i64 = server.ask(&format!("ZADD {index} 9999999999999 {name}"));
    }
    load(&pages, 3).await;
    until_listed(&larder, "lists", 1).await;
    larder.invalidate_tag("lists").await.unwrap();
    until("it is freed", || async {
        !server.keys().iter().any(|name| name.contains(":s:members."))
    })
    .await;
    assert!(server.keys().iter().any(|name| name == "other:1"));
    assert!(server.keys().iter().any(|name| name == "app:other"));
    server.kill();
    until("it is gone", || async { larder.members("lists").page(1).await.is_err() }).await;
    assert_eq!(load(&pages, 9).await, Origin::Loaded);
    server.start_again();
    until("it is written down again", || async {
        larder.invalidate([pages.entry(&9)]).await.ok();
        load(&pages, 9).await;
        larder.members("lists").page(10).await.is_ok_and(|page| page.members.len() == 1)
    })
    .await;
}
