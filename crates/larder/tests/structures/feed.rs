//! Feeds: newest first, each of them short, and no item twice or hidden while pages are turned.

use larder::structures::{Feed, FeedPage, ItemId, Pushed, Removal};
use larder::{ErrorKind, HOUR, KeyWriter, SECOND, ToKey};

use crate::scene::{Scene, on_every_side};
use crate::support::{Cluster, Proxy, Server, Way, until};

on_every_side! {
    the_newest_come_first_and_the_oldest_make_room,
    pages_neither_repeat_nor_hide_while_items_are_pushed,
    an_item_with_a_name_is_pushed_once,
    an_item_is_taken_out_by_its_id_or_its_name,
    one_item_reaches_many_owners,
    what_cannot_be_read_is_told_and_hides_nothing,
    a_feed_is_forgotten_after_its_last_push,
    what_is_asked_wrongly_is_refused,
    many_writers_lose_nothing,
    a_closed_larder_says_so,
}

fn open(scene: &Scene, items_max: usize) -> Feed<String> {
    scene.larder.feed("activity").items_max(items_max).open().unwrap()
}

fn texts(page: &FeedPage<String>) -> Vec<&str> {
    page.items.iter().map(|item| item.value.as_str()).collect()
}

async fn the_newest_come_first_and_the_oldest_make_room(scene: &Scene) {
    let feed = open(scene, 3);
    let (ann, bob) = (feed.of("ann"), feed.of("bob"));
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(ann.push(&number.to_string()).await.unwrap());
    }
    bob.push(&"his".into()).await.unwrap();
    let page = ann.newest(10).await.unwrap();
    assert_eq!(texts(&page), ["4", "3", "2"]);
    assert_eq!(page.next, None);
    assert_eq!(page.items.iter().map(|item| item.id).collect::<Vec<_>>(), [ids[4], ids[3], ids[2]]);
    assert!(ids.is_sorted());
    assert_eq!(ann.len().await.unwrap(), 3);
    // Another handle of the same process or of another sees the same.
    let other: Feed<String> = scene.another().await.feed("activity").open().unwrap();
    assert_eq!(texts(&other.of("ann").newest(1).await.unwrap()), ["4"]);
    ann.clear().await.unwrap();
    assert!(ann.is_empty().await.unwrap());
    assert_eq!(bob.len().await.unwrap(), 1);
}

async fn pages_neither_repeat_nor_hide_while_items_are_pushed(scene: &Scene) {
    let mine = open(scene, 1000).of(&1);
    for number in 0..10 {
        mine.push(&number.to_string()).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut page = mine.newest(3).await.unwrap();
    loop {
        seen.extend(texts(&page).into_iter().map(str::to_owned));
        let Some(next) = page.next else { break };
        mine.push(&"newer".into()).await.unwrap();
        if seen.len() == 3 {
            // Also when the one the next page begins before is gone by then.
            assert_eq!(mine.remove(next).await.unwrap(), Removal::Removed);
        }
        page = mine.before(next, 3).await.unwrap();
    }
    assert_eq!(seen, ["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"]);
}

async fn an_item_with_a_name_is_pushed_once(scene: &Scene) {
    let mine = open(scene, 3).of(&1);
    let first = mine.push_once("post:1", &"one".into()).await.unwrap();
    let Pushed::New(id) = first else { panic!("{first:?}") };
    let again = mine.push_once("post:1", &"other".into()).await.unwrap();
    assert_eq!(again, Pushed::AlreadyThere(id));
    assert_eq!(texts(&mine.newest(9).await.unwrap()), ["one"]);
    // What the feed no longer keeps is not remembered.
    for number in 2..5 {
        mine.push_once(&format!("post:{number}"), &number.to_string()).await.unwrap();
    }
    assert!(matches!(mine.push_once("post:1", &"one".into()).await.unwrap(), Pushed::New(_)));
    assert_eq!(texts(&mine.newest(9).await.unwrap()), ["one", "4", "3"]);
    for name in scene.names() {
        if name.contains(":names:") {
            assert_eq!(scene.says::<usize>("HLEN", name.as_bytes(), &[]), Some(3), "{name}");
        }
    }
}

async fn an_item_is_taken_out_by_its_id_or_its_name(scene: &Scene) {
    let mine = open(scene, 9).of(&1);
    let one = mine.push(&"one".into()).await.unwrap();
    let two = mine.push_once("two", &"two".into()).await.unwrap().id();
    mine.push_once("three", &"three".into()).await.unwrap();
    assert_eq!(mine.remove(one).await.unwrap(), Removal::Removed);
    assert_eq!(mine.remove(one).await.unwrap(), Removal::NotThere);
    assert_eq!(mine.withdraw("three").await.unwrap(), Removal::Removed);
    assert_eq!(mine.withdraw("three").await.unwrap(), Removal::NotThere);
    assert_eq!(mine.remove(two).await.unwrap(), Removal::Removed);
    assert!(mine.is_empty().await.unwrap());
    // A name is free again once its item is gone.
    assert!(matches!(mine.push_once("two", &"two".into()).await.unwrap(), Pushed::New(_)));
}

async fn one_item_reaches_many_owners(scene: &Scene) {
    let feed = open(scene, 9);
    let owners: Vec<String> = (0..300).map(|number| format!("user {number}")).collect();
    let long = "x".repeat(2000);
    let all = owners.iter().map(String::as_str).chain([long.as_str()]);
    let told = feed.push_once_to_many(all.clone(), "news", &"news".into()).await.unwrap();
    assert_eq!(told.done, 300);
    assert!(!told.is_complete());
    let (at, why) = &told.failed[0];
    assert_eq!((*at, why.kind()), (300, ErrorKind::Key));
    let again = feed.push_once_to_many(&owners, "news", &"news".into()).await.unwrap();
    assert!(again.is_complete(), "{again:?}");
    let told = feed.push_to_many(&owners[..2], &"more".into()).await.unwrap();
    assert_eq!((told.done, told.is_complete()), (2, true));
    assert_eq!(texts(&feed.of(&owners[0]).newest(9).await.unwrap()), ["more", "news"]);
    assert_eq!(texts(&feed.of(&owners[299]).newest(9).await.unwrap()), ["news"]);
    let told = feed.withdraw_from_many(&owners, "news").await.unwrap();
    assert!(told.is_complete(), "{told:?}");
    assert_eq!(texts(&feed.of(&owners[0]).newest(9).await.unwrap()), ["more"]);
    assert!(feed.of(&owners[299]).is_empty().await.unwrap());
}

async fn what_cannot_be_read_is_told_and_hides_nothing(scene: &Scene) {
    let (texts_of, numbers) =
        (open(scene, 9), scene.larder.feed("activity").open::<u64>().unwrap());
    let mine = texts_of.of(&1);
    mine.push(&"one".into()).await.unwrap();
    let odd = numbers.of(&1).push(&2).await.unwrap();
    mine.push(&"three".into()).await.unwrap();
    let page = mine.newest(9).await.unwrap();
    assert_eq!(texts(&page), ["three", "one"]);
    assert_eq!(page.unreadable, [odd]);
    let page = mine.newest(2).await.unwrap();
    assert_eq!((texts(&page), page.next), (vec!["three"], Some(odd)));
}

async fn a_feed_is_forgotten_after_its_last_push(scene: &Scene) {
    let brief = SECOND / 4;
    let feed = scene.larder.feed("brief").expire_after(brief).open::<u8>().unwrap();
    let mine = feed.of(&1);
    mine.push_once("one", &1).await.unwrap();
    until("it is forgotten", || async { mine.is_empty().await.unwrap() }).await;
    assert!(scene.names().is_empty(), "{:?}", scene.names());
    let lasting = scene.larder.feed("lasting").expire_after(HOUR).open::<u8>().unwrap();
    lasting.of(&1).push_once("one", &1).await.unwrap();
    for name in scene.names() {
        let ms: i64 = scene.says("PTTL", name.as_bytes(), &[]).unwrap();
        assert!(ms > 3_000_000, "{name} expires in {ms} ms");
    }
}

/// A key that writes nothing.
struct Unsaid;

impl ToKey for Unsaid {
    fn to_key(&self, _: &mut KeyWriter<'_>) {}
}

async fn what_is_asked_wrongly_is_refused(scene: &Scene) {
    let config = |why: larder::Error, words: [&str; 3]| {
        assert_eq!(why.kind(), ErrorKind::Config);
        for word in words {
            assert!(why.to_string().contains(word), "{why} lacks {word}");
        }
    };
    let feed = |name: &str| scene.larder.feed(name);
    config(feed("a").items_max(0).open::<u8>().unwrap_err(), ["items_max", "0", "100000"]);
    config(
        feed("a").expire_after(std::time::Duration::ZERO).open::<u8>().unwrap_err(),
        ["expire_after", "0", "a"],
    );
    config(feed("a:b").open::<u8>().unwrap_err(), ["feed", "a:b", "-"]);
    let mine = open(scene, 9).of(&1);
    config(mine.newest(0).await.unwrap_err(), ["count", "0", "1000"]);
    config(mine.newest(1001).await.unwrap_err(), ["count", "1001", "1000"]);
    assert_eq!(mine.push_once(&Unsaid, &"a".into()).await.unwrap_err().kind(), ErrorKind::Key);
    let large = "x".repeat(2 << 20);
    assert_eq!(mine.push(&large).await.unwrap_err().kind(), ErrorKind::Encode);
    let long = open(scene, 9).of(&"x".repeat(2000));
    assert_eq!(long.len().await.unwrap_err().kind(), ErrorKind::Key);
}

async fn many_writers_lose_nothing(scene: &Scene) {
    let feed = open(scene, 1000);
    let another: Feed<String> = scene.another().await.feed("activity").open().unwrap();
    let pushing = (0..200).map(|number| {
        let mine = if number % 2 == 0 { feed.of(&1) } else { another.of(&1) };
        tokio::spawn(async move { mine.push(&number.to_string()).await.unwrap() })
    });
    let pushing: Vec<_> = pushing.collect();
    let mut ids: Vec<ItemId> = Vec::new();
    for push in pushing {
        ids.push(push.await.unwrap());
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    let page = feed.of(&1).newest(1000).await.unwrap();
    let mut seen: Vec<ItemId> = page.items.iter().map(|item| item.id).collect();
    seen.reverse();
    assert_eq!(seen, ids);
}

async fn a_closed_larder_says_so(scene: &Scene) {
    let mine = open(scene, 9).of(&1);
    let _ = scene.larder.close(SECOND).await;
    assert_eq!(mine.push(&"a".into()).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(mine.newest(1).await.unwrap_err().kind(), ErrorKind::Closed);
}

/// The reply is lost: nobody knows whether it was pushed. With a name it can be pushed again.
#[tokio::test]
async fn a_lost_reply_is_unconfirmed_and_repeated_without_harm() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let builder = larder::Larder::builder("app").redis(proxy.url()).require_far();
    let larder = builder.invalidate_deadline(SECOND).open().await.unwrap();
    let mine = larder.feed("activity").open::<String>().unwrap().of(&1);
    mine.push(&"zero".into()).await.unwrap();
    proxy.swallow_all(Way::Down);
    let why = mine.push_once("one", &"one".into()).await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Unconfirmed, "{why}");
    proxy.heal();
    let push = || async { mine.push_once("one", &"one".into()).await };
    until("it is pushed", || async { push().await.is_ok() }).await;
    assert!(matches!(push().await.unwrap(), Pushed::AlreadyThere(_)));
    assert_eq!(texts(&mine.newest(9).await.unwrap()), ["one", "zero"]);
}

/// A server that is killed comes back empty, or with what its log has: pages and pushes go on.
#[tokio::test]
async fn a_feed_outlives_a_server_that_keeps_a_log() {
    for (settings, left) in
        [(vec![], 0), (vec!["--appendonly", "yes", "--appendfsync", "always"], 2)]
    {
        let mut server = Server::with(&settings);
        let builder = larder::Larder::builder("app").redis(server.url()).require_far();
        let larder = builder.open().await.unwrap();
        let mine = larder.feed("activity").open::<String>().unwrap().of(&1);
        mine.push_once("one", &"one".into()).await.unwrap();
        let two = mine.push(&"two".into()).await.unwrap();
        server.kill();
        until("it is gone", || async { mine.len().await.is_err() }).await;
        server.start_again();
        until("it is back", || async { mine.len().await.is_ok() }).await;
        assert_eq!(mine.len().await.unwrap(), left, "{settings:?}");
        let three = mine.push(&"three".into()).await.unwrap();
        assert!(three > two, "ids grow on");
        let pushed = mine.push_once("one", &"one".into()).await.unwrap();
        assert_eq!(matches!(pushed, Pushed::AlreadyThere(_)), left == 2);
    }
}

/// Redis may evict either of a feed's two keys: what is left works, and names without items hold nobody up.
#[tokio::test]
async fn evicted_keys_are_no_trouble() {
    let scene = Scene::on(Server::start()).await;
    let feed = open(&scene, 9);
    let mine = feed.of(&1);
    let evict = |part: &str| {
        let name = scene.names().into_iter().find(|name| name.contains(part)).unwrap();
        assert_eq!(scene.says::<usize>("DEL", name.as_bytes(), &[]), Some(1));
    };
    mine.push_once("one", &"one".into()).await.unwrap();
    evict(":items:");
    assert!(matches!(mine.push_once("one", &"one".into()).await.unwrap(), Pushed::New(_)));
    mine.push_once("two", &"two".into()).await.unwrap();
    evict(":items:");
    mine.push(&"three".into()).await.unwrap();
    assert_eq!(scene.names().len(), 1, "names went with their items: {:?}", scene.names());
    // What redis-cli takes out has a name still.
    let id = mine.push_once("four", &"four".into()).await.unwrap().id().to_string();
    let name = scene.names().into_iter().find(|name| name.contains(":items:")).unwrap();
    assert_eq!(scene.says::<usize>("XDEL", name.as_bytes(), &[&id]), Some(1));
    assert!(matches!(mine.push_once("four", &"four".into()).await.unwrap(), Pushed::New(_)));
    assert_eq!(mine.withdraw("four").await.unwrap(), Removal::Removed);
    mine.push_once("one", &"one".into()).await.unwrap();
    evict(":names:");
    assert_eq!(texts(&mine.newest(9).await.unwrap()), ["one", "three"]);
    assert!(matches!(mine.push_once("one", &"one".into()).await.unwrap(), Pushed::New(_)));
}

/// Another's key under our name, and memory that is full: an error that says so, and nothing lost.
#[tokio::test]
async fn a_key_of_another_type_and_full_memory_are_told() {
    let server = Server::start();
    let scene = Scene::on(server).await;
    let mine = open(&scene, 9).of(&1);
    mine.push_once("one", &"one".into()).await.unwrap();
    let name = scene.names().into_iter().find(|name| name.contains(":items:")).unwrap();
    let _: Option<String> = scene.says("CONFIG", b"SET", &["maxmemory", "1"]);
    let why = mine.push(&"two".into()).await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Far);
    assert!(why.to_string().contains("feed.activity") && why.to_string().contains("OOM"), "{why}");
    assert_eq!(texts(&mine.newest(9).await.unwrap()), ["one"]);
    assert_eq!(mine.withdraw("one").await.unwrap(), Removal::Removed);
    let _: Option<String> = scene.says("CONFIG", b"SET", &["maxmemory", "0"]);
    let _: Option<String> = scene.says("SET", name.as_bytes(), &["text"]);
    for why in [
        mine.push(&"two".into()).await.unwrap_err(),
        mine.newest(9).await.unwrap_err(),
        mine.withdraw("one").await.map(|_| ()).and(mine.len().await.map(|_| ())).unwrap_err(),
    ] {
        assert!(why.to_string().contains("WRONGTYPE"), "{why}");
    }
    mine.clear().await.unwrap();
    mine.push(&"two".into()).await.unwrap();
}

/// A slot that is on its way to another node while items are pushed: every push that is acknowledged is there.
#[tokio::test]
async fn a_slot_moves_under_pushes() {
    let scene = Scene::on_cluster(Cluster::of_masters()).await;
    let crate::scene::Place::Cluster(cluster) = &scene.place else { panic!() };
    let mine = open(&scene, 100_000).of(&1);
    mine.push_once("first", &"first".into()).await.unwrap();
    let name = scene.names().into_iter().find(|name| name.contains(":items:")).unwrap();
    let slot = cluster.slot(name.as_bytes());
    let from = cluster.master_of(slot);
    let to = (from + 1) % 3;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let pushing = tokio::spawn({
        let mine = mine.clone();
        async move {
            let mut pushed = Vec::new();
            while !*stopped.borrow() {
                let name = format!("{}", pushed.len());
                // One that was not confirmed is repeated.
                while mine.push_once(&name, &name).await.is_err() {}
                pushed.push(name);
            }
            pushed
        }
    });
    until("some were pushed", || async { mine.len().await.unwrap_or(0) > 20 }).await;
    cluster.begin_to_move(slot, from, to);
    while cluster.move_keys(slot, from, to, 100) > 0 {}
    cluster.end_move(slot, from, to);
    let before = mine.len().await.unwrap();
    until("more were pushed", || async { mine.len().await.unwrap_or(0) > before + 20 }).await;
    stop.send(true).unwrap();
    let pushed = pushing.await.unwrap();
    let mut seen = Vec::new();
    let mut page = mine.newest(1000).await.unwrap();
    loop {
        seen.extend(page.items.iter().map(|item| item.value.clone()));
        let Some(next) = page.next else { break };
        page = mine.before(next, 1000).await.unwrap();
    }
    seen.reverse();
    let expected: Vec<String> = std::iter::once("first".to_owned()).chain(pushed).collect();
    assert_eq!(seen, expected);
}

/// One node of three is gone: the others' feeds get their item, and those that did not are told.
#[tokio::test]
async fn a_fan_out_tells_whom_a_lost_node_kept_it_from() {
    let scene =
        Scene::on_cluster(Cluster::with(0, &["--cluster-require-full-coverage", "no"])).await;
    let crate::scene::Place::Cluster(cluster) = &scene.place else { panic!() };
    let feed = open(&scene, 9);
    let owners: Vec<u64> = (0..60).collect();
    assert!(feed.push_to_many(&owners, &"one".into()).await.unwrap().is_complete());
    cluster.nodes[1].pause();
    let told = feed.push_to_many(&owners, &"two".into()).await.unwrap();
    cluster.nodes[1].resume();
    assert_eq!(told.done + told.failed.len(), 60);
    assert!(told.done > 20 && told.failed.len() > 5, "{} and {}", told.done, told.failed.len());
    let failed: Vec<usize> = told.failed.iter().map(|(at, _)| *at).collect();
    for (at, owner) in owners.iter().enumerate().filter(|(at, _)| !failed.contains(at)) {
        let read = || async { feed.of(owner).len().await.unwrap_or(0) == 2 };
        until(&format!("{at} has it"), read).await;
    }
}
