//! Sets: each member once, within a bound, and put together on the server or here with the same answer.

use std::collections::BTreeSet;

use larder::structures::{Added, Set, SetOf};
use larder::{Error, ErrorKind, HOUR, SECOND};

use crate::scene::{Place, Scene, on_every_side};
use crate::support::{Cluster, Proxy, Server, Way, until};

on_every_side! {
    a_member_is_in_once_and_out_again,
    there_is_no_room_beyond_the_bound,
    pages_show_every_member,
    sets_are_put_together_wherever_they_are,
    members_are_drawn_by_lot,
    what_is_no_member_of_this_type_is_counted,
    a_set_is_forgotten_in_its_time,
    what_is_asked_wrongly_is_refused,
    many_who_add_at_once_keep_the_bound,
    a_closed_larder_says_so,
}

fn open(scene: &Scene, name: &str) -> Set<u64> {
    scene.larder.set(name).open().unwrap()
}

async fn all(set: &SetOf<u64>) -> BTreeSet<u64> {
    let mut page = set.page(100).await.unwrap();
    let mut found = BTreeSet::from_iter(page.members);
    while let Some(next) = page.next {
        page = set.page_from(&next, 100).await.unwrap();
        found.extend(page.members);
    }
    found
}

async fn a_member_is_in_once_and_out_again(scene: &Scene) {
    let mine = open(scene, "online").of("room");
    assert!(mine.is_empty().await.unwrap());
    assert_eq!(mine.add(&1).await.unwrap(), Added::New);
    assert_eq!(mine.add(&1).await.unwrap(), Added::AlreadyThere);
    let told = mine.add_many([1, 2, 3]).await.unwrap();
    assert_eq!((told.new, told.already_there, told.no_room), (2, 1, vec![]));
    assert_eq!(mine.len().await.unwrap(), 3);
    assert!(mine.contains(&2).await.unwrap());
    assert!(!mine.contains(&9).await.unwrap());
    assert_eq!(mine.contains_many([9, 1, 3]).await.unwrap(), [false, true, true]);
    assert!(mine.contains_many([0; 0]).await.unwrap().is_empty());
    assert!(open(scene, "online").of("other").is_empty().await.unwrap());
    let other: Set<u64> = scene.another().await.set("online").open().unwrap();
    assert_eq!(other.of("room").remove([1, 9]).await.unwrap(), 1);
    assert_eq!(all(&mine).await, BTreeSet::from([2, 3]));
    for name in scene.names() {
        let has: bool = scene.says("SISMEMBER", name.as_bytes(), &["2"]).unwrap();
        assert!(has, "redis-cli reads them");
    }
    mine.clear().await.unwrap();
    assert!(mine.is_empty().await.unwrap());
}

async fn there_is_no_room_beyond_the_bound(scene: &Scene) {
    let mine = scene.larder.set("few").members_max(3).open::<u64>().unwrap().of(&1);
    let told = mine.add_many([1, 2, 1, 3, 4, 2, 5]).await.unwrap();
    assert_eq!((told.new, told.already_there, told.no_room), (3, 2, vec![4, 6]));
    assert_eq!(mine.add(&6).await.unwrap(), Added::NoRoom);
    assert_eq!(mine.add(&2).await.unwrap(), Added::AlreadyThere);
    assert_eq!(mine.remove([1]).await.unwrap(), 1);
    assert_eq!(mine.add(&6).await.unwrap(), Added::New);
    assert_eq!(all(&mine).await, BTreeSet::from([2, 3, 6]));
}

async fn pages_show_every_member(scene: &Scene) {
    let mine = open(scene, "many").of(&1);
    let members: Vec<u64> = (0..2500).map(|number| number * 7).collect();
    assert_eq!(mine.add_many(&members).await.unwrap().new, 2500);
    let mut page = mine.page(100).await.unwrap();
    let mut found = BTreeSet::from_iter(page.members);
    let mut pages = 1;
    while let Some(next) = page.next {
        // Who comes and goes meanwhile hides nobody.
        mine.add(&(1_000_000 + pages)).await.unwrap();
        mine.remove([1_000_000 + pages - 1]).await.unwrap();
        page = mine.page_from(&next, 100).await.unwrap();
        assert!(page.members.len() <= 512, "{} members in a page", page.members.len());
        found.extend(page.members);
        pages += 1;
    }
    assert!(pages > 5, "{pages} pages");
    assert!(members.iter().all(|member| found.contains(member)));
}

async fn sets_are_put_together_wherever_they_are(scene: &Scene) {
    let (online, muted) = (open(scene, "online"), open(scene, "muted"));
    // Of one key, so of one slot; and of others, whose slots are others on a cluster.
    for keys in [["room"; 3], ["room", "hall", "yard"]] {
        let [a, b, c] = [online.of(keys[0]), muted.of(keys[1]), open(scene, "third").of(keys[2])];
        for (set, members) in [(&a, 0..10_u64), (&b, 5..15), (&c, 8..30)] {
            set.clear().await.unwrap();
            let _ = set.add_many(members).await.unwrap();
        }
        let sorted = |mut members: Vec<u64>| {
            members.sort_unstable();
            members
        };
        let union = a.union(&[&b, &c]).await.unwrap().members;
        assert_eq!(sorted(union), Vec::from_iter(0..30));
        let common = a.intersection(&[&b]).await.unwrap().members;
        assert_eq!(sorted(common), [5, 6, 7, 8, 9]);
        let mine_alone = a.difference(&[&b, &c]).await.unwrap().members;
        assert_eq!(sorted(mine_alone), [0, 1, 2, 3, 4]);
        assert_eq!(a.intersection_len(&[&b], 0).await.unwrap(), 5);
        assert_eq!(a.intersection_len(&[&b], 3).await.unwrap(), 3);
        assert_eq!(a.intersection_len(&[&b, &c], 9).await.unwrap(), 2);
        assert_eq!(sorted(a.union(&[]).await.unwrap().members), Vec::from_iter(0..10));
        let _ = b.add_many(10_000..20_000).await.unwrap();
        let why = a.union(&[&b]).await.unwrap_err();
        assert_eq!(why.kind(), ErrorKind::Overloaded, "{why}");
    }
}

async fn members_are_drawn_by_lot(scene: &Scene) {
    let mine = open(scene, "lots").of(&1);
    let _ = mine.add_many(0..50).await.unwrap();
    let mut drawn = BTreeSet::new();
    for _ in 0..100 {
        let some = mine.random(10).await.unwrap().members;
        assert_eq!(BTreeSet::from_iter(&some).len(), 10, "different ones: {some:?}");
        drawn.extend(some);
    }
    assert_eq!(drawn, BTreeSet::from_iter(0..50));
    assert_eq!(mine.random(1000).await.unwrap().members.len(), 50);
    assert!(open(scene, "lots").of(&2).random(3).await.unwrap().members.is_empty());
}

async fn what_is_no_member_of_this_type_is_counted(scene: &Scene) {
    let words: Set<String> = scene.larder.set("mixed").open().unwrap();
    let _ = words.of(&1).add_many(["one".to_owned(), "2".to_owned()]).await.unwrap();
    let numbers = open(scene, "mixed").of(&1);
    let page = numbers.page(10).await.unwrap();
    assert_eq!((page.members, page.unreadable), (vec![2], 1));
    let all = numbers.union(&[]).await.unwrap();
    assert_eq!((all.members, all.unreadable), (vec![2], 1));
    let pairs: Set<(u8, String)> = scene.larder.set("pairs").open().unwrap();
    let pair = (7, "a".to_owned());
    pairs.of(&1).add(&pair).await.unwrap();
    assert!(pairs.of(&1).contains(&pair).await.unwrap());
    assert_eq!(pairs.of(&1).random(1).await.unwrap().members, [pair]);
    let nothing: Set<Option<u8>> = scene.larder.set("nothing").open().unwrap();
    assert_eq!(nothing.of(&1).add(&None).await.unwrap_err().kind(), ErrorKind::Encode);
}

async fn a_set_is_forgotten_in_its_time(scene: &Scene) {
    let brief = scene.larder.set("brief").expire_after(SECOND / 5).open::<u64>().unwrap();
    brief.of(&1).add(&1).await.unwrap();
    until("it is forgotten", || async { brief.of(&1).is_empty().await.unwrap() }).await;
    let lasting = scene.larder.set("lasting").expire_after(HOUR).open::<u64>().unwrap();
    lasting.of(&1).add(&1).await.unwrap();
    for name in scene.names() {
        let ms: i64 = scene.says("PTTL", name.as_bytes(), &[]).unwrap();
        assert!(ms > 3_000_000, "{name} expires in {ms} ms");
    }
}

async fn what_is_asked_wrongly_is_refused(scene: &Scene) {
    let config = |why: Error, word: &str| {
        assert_eq!(why.kind(), ErrorKind::Config);
        assert!(why.to_string().contains(word), "{why} lacks {word}");
    };
    config(scene.larder.set("a").members_max(0).open::<u8>().unwrap_err(), "members_max is 0");
    let builder = scene.larder.set("a").expire_after(std::time::Duration::ZERO);
    config(builder.open::<u8>().unwrap_err(), "expire_after");
    let mine = open(scene, "online").of(&1);
    config(mine.page(0).await.unwrap_err(), "count is 0");
    config(mine.random(1001).await.unwrap_err(), "count is 1001");
    let others = vec![&mine; 16];
    config(mine.union(&others).await.unwrap_err(), "17");
    let words: Set<String> = scene.larder.set("words").open().unwrap();
    let large = "x".repeat(100 << 10);
    assert_eq!(words.of(&1).add(&large).await.unwrap_err().kind(), ErrorKind::Encode);
    let long = open(scene, "online").of(&"x".repeat(2000));
    assert_eq!(long.len().await.unwrap_err().kind(), ErrorKind::Key);
}

async fn many_who_add_at_once_keep_the_bound(scene: &Scene) {
    let open = |larder: &larder::Larder| {
        larder.set("bounded").members_max(50).open::<u64>().unwrap().of(&1)
    };
    let (here, there) = (open(&scene.larder), open(&scene.another().await));
    let adding: Vec<_> = (0..100)
        .map(|number| {
            let set = if number % 2 == 0 { here.clone() } else { there.clone() };
            tokio::spawn(async move { set.add(&number).await.unwrap() })
        })
        .collect();
    let mut new = 0;
    for add in adding {
        new += usize::from(add.await.unwrap() == Added::New);
    }
    assert_eq!((new, here.len().await.unwrap()), (50, 50));
}

async fn a_closed_larder_says_so(scene: &Scene) {
    let mine = open(scene, "online").of(&1);
    let _ = scene.larder.close(SECOND).await;
    assert_eq!(mine.add(&1).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(mine.union(&[]).await.unwrap_err().kind(), ErrorKind::Closed);
}

/// The reply is lost: nobody knows whether it was added, and it can be added again.
#[tokio::test]
async fn a_lost_reply_is_unconfirmed() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let builder = larder::Larder::builder("app").redis(proxy.url()).require_far();
    let larder = builder.invalidate_deadline(SECOND).open().await.unwrap();
    let mine = larder.set("online").open::<u64>().unwrap().of(&1);
    mine.add(&1).await.unwrap();
    proxy.swallow_all(Way::Down);
    let why = mine.add(&2).await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Unconfirmed, "{why}");
    proxy.heal();
    until("it is added", || async { mine.add(&2).await.is_ok() }).await;
    assert_eq!(all(&mine).await, BTreeSet::from([1, 2]));
}

/// A server that is killed comes back empty, or with what its log has.
#[tokio::test]
async fn a_set_outlives_a_server_that_keeps_a_log() {
    for (settings, left) in [
        (vec![], BTreeSet::new()),
        (vec!["--appendonly", "yes", "--appendfsync", "always"], BTreeSet::from([1, 2])),
    ] {
        let mut server = Server::with(&settings);
        let builder = larder::Larder::builder("app").redis(server.url()).require_far();
        let larder = builder.open().await.unwrap();
        let mine = larder.set("online").open::<u64>().unwrap().of(&1);
        let _ = mine.add_many([1, 2]).await.unwrap();
        server.kill();
        until("it is gone", || async { mine.len().await.is_err() }).await;
        server.start_again();
        until("it is back", || async { mine.len().await.is_ok() }).await;
        assert_eq!(all(&mine).await, left, "{settings:?}");
        mine.add(&3).await.unwrap();
    }
}

/// Evicted, another's key under our name, memory that is full: told, and nothing half done.
#[tokio::test]
async fn eviction_another_type_and_full_memory_are_told() {
    let scene = Scene::on(Server::start()).await;
    let mine = open(&scene, "online").of(&1);
    let _ = mine.add_many([1, 2]).await.unwrap();
    let name = scene.names().remove(0);
    let _: Option<String> = scene.says("CONFIG", b"SET", &["maxmemory", "1"]);
    let why = mine.add_many([3, 4]).await.unwrap_err();
    assert!(why.kind() == ErrorKind::Far && why.to_string().contains("OOM"), "{why}");
    assert_eq!(mine.remove([1]).await.unwrap(), 1);
    assert_eq!(all(&mine).await, BTreeSet::from([2]));
    let _: Option<String> = scene.says("CONFIG", b"SET", &["maxmemory", "0"]);
    assert_eq!(scene.says::<usize>("DEL", name.as_bytes(), &[]), Some(1));
    assert!(mine.is_empty().await.unwrap(), "evicted");
    let _: Option<String> = scene.says("SET", name.as_bytes(), &["text"]);
    let added = mine.add(&1).await.unwrap_err();
    let read = mine.page(10).await.unwrap_err();
    let united = mine.union(&[]).await.unwrap_err();
    for why in [added, read, united] {
        assert!(why.kind() == ErrorKind::Far && why.to_string().contains("WRONGTYPE"), "{why}");
    }
    mine.clear().await.unwrap();
    mine.add(&1).await.unwrap();
}

/// A slot on its way to another node while members come: all that were acknowledged are there.
#[tokio::test]
async fn a_slot_moves_under_new_members() {
    let scene = Scene::on_cluster(Cluster::of_masters()).await;
    let Place::Cluster(cluster) = &scene.place else { panic!() };
    let mine = open(&scene, "online").of(&1);
    mine.add(&0).await.unwrap();
    let slot = cluster.slot(scene.names()[0].as_bytes());
    let from = cluster.master_of(slot);
    let to = (from + 1) % 3;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let adding = tokio::spawn({
        let mine = mine.clone();
        async move {
            let mut members = 1;
            while !*stopped.borrow() {
                if mine.add(&members).await.is_ok() {
                    members += 1;
                }
            }
            members
        }
    });
    let count = || async { mine.len().await.unwrap_or(0) };
    until("some came", || async { count().await > 20 }).await;
    cluster.begin_to_move(slot, from, to);
    while cluster.move_keys(slot, from, to, 100) > 0 {}
    cluster.end_move(slot, from, to);
    let before = count().await;
    until("more came", || async { count().await > before + 20 }).await;
    stop.send(true).unwrap();
    let members = adding.await.unwrap();
    let found = all(&mine).await;
    assert!((0..members).all(|member| found.contains(&member)), "{members} and {}", found.len());
}
