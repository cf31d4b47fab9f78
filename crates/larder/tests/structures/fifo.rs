//! What a plain list promises, wherever it is, and what becomes of it when something breaks.

use std::collections::HashSet;
use std::time::Duration;

use larder::structures::{Fifo, FifoBuilder, Finished, Item};
use larder::{ErrorKind, Larder, MINUTE, SECOND};

use crate::scene::{Place, Scene, on_every_side};
use crate::support::{Cluster, NEVER, PATIENT, Process, Proxy, Server, soon, until};

const MILLI: Duration = Duration::from_millis(1);

fn builder(scene: &Scene) -> FifoBuilder {
    scene.larder.fifo("orders")
}

fn list(scene: &Scene) -> Fifo<String> {
    builder(scene).open().unwrap()
}

async fn taken(list: &Fifo<String>) -> Item<String> {
    soon("an item", list.take(NEVER)).await.unwrap().expect("before the wait was over")
}

async fn push(list: &Fifo<String>, body: &str) {
    list.push(&body.to_owned()).await.unwrap();
}

async fn counts(list: &Fifo<String>) -> [u64; 3] {
    let stats = list.stats().await.unwrap();
    [stats.waiting, stats.taken, stats.rejected]
}

fn name(scene: &Scene, part: &str) -> String {
    format!("{}:s:fifo.orders:{part}:{{.6.orders}}", scene.app)
}

on_every_side! {
    items_come_in_order_and_are_gone_when_done,
    what_is_dropped_or_put_back_is_taken_next,
    a_push_wakes_who_waits,
    a_full_list_pushes_back,
    what_cannot_be_read_is_set_aside,
    after_close_it_is_closed,
}

async fn items_come_in_order_and_are_gone_when_done(scene: &Scene) {
    let list = list(scene);
    assert!(list.take(Duration::ZERO).await.unwrap().is_none());
    for body in ["a", "b", "c"] {
        push(&list, body).await;
    }
    let mut items = Vec::new();
    for body in ["a", "b", "c"] {
        items.push(taken(&list).await);
        assert_eq!(items[items.len() - 1].body(), body);
    }
    assert_eq!(counts(&list).await, [0, 3, 0]);
    for item in &mut items {
        assert_eq!(item.done().await.unwrap(), Finished::Done);
        assert_eq!(item.done().await.unwrap(), Finished::Lost, "it is gone already");
    }
    drop(items);
    assert!(list.take(100 * MILLI).await.unwrap().is_none(), "what is done is not put back");
    assert_eq!(counts(&list).await, [0, 0, 0]);
}

async fn what_is_dropped_or_put_back_is_taken_next(scene: &Scene) {
    let list = list(scene);
    push(&list, "a").await;
    push(&list, "b").await;
    let mut item = taken(&list).await;
    assert_eq!(item.put_back().await.unwrap(), Finished::Done);
    assert_eq!(item.put_back().await.unwrap(), Finished::Lost);
    assert_eq!(item.done().await.unwrap(), Finished::Lost);
    let item = taken(&list).await;
    assert_eq!(item.body(), "a");
    drop(item);
    until("it is put back", || async { counts(&list).await == [2, 0, 0] }).await;
    assert_eq!(taken(&list).await.body(), "a");
}

async fn a_push_wakes_who_waits(scene: &Scene) {
    let (one, two) = (list(scene), list(scene));
    let waits: Vec<_> = [one.clone(), one.clone(), two]
        .into_iter()
        .map(|list| tokio::spawn(async move { list.take(NEVER).await.unwrap().unwrap() }))
        .collect();
    tokio::task::yield_now().await;
    for body in ["a", "b", "c"] {
        push(&one, body).await;
    }
    let mut seen = Vec::new();
    for wait in waits {
        let mut item = soon("an item", wait).await.unwrap();
        seen.push(item.body().clone());
        assert_eq!(item.done().await.unwrap(), Finished::Done);
    }
    seen.sort();
    assert_eq!(seen, ["a", "b", "c"]);
}

async fn a_full_list_pushes_back(scene: &Scene) {
    let list: Fifo<String> = builder(scene).items_max(2).item_bytes_max(100).open().unwrap();
    push(&list, "a").await;
    push(&list, "b").await;
    let full = list.push(&"c".to_owned()).await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Overloaded);
    assert!(full.to_string().contains("fifo.orders"), "{full}");
    assert_eq!(list.push(&"x".repeat(200)).await.unwrap_err().kind(), ErrorKind::Encode);
    assert_eq!(taken(&list).await.done().await.unwrap(), Finished::Done);
    push(&list, "c").await;
    assert_eq!(counts(&list).await, [2, 0, 0]);
}

async fn what_cannot_be_read_is_set_aside(scene: &Scene) {
    let numbers: Fifo<u64> = builder(scene).open().unwrap();
    numbers.push(&17).await.unwrap();
    let list = list(scene);
    push(&list, "words").await;
    let item = taken(&list).await;
    assert_eq!(item.body(), "words");
    assert_eq!(counts(&list).await, [0, 1, 1]);
}

async fn after_close_it_is_closed(scene: &Scene) {
    let larder = scene.another().await;
    let list: Fifo<String> = larder.fifo("orders").open().unwrap();
    push(&list, "a").await;
    let mut item = taken(&list).await;
    let waiting = list.clone();
    let waits = tokio::spawn(async move { waiting.take(NEVER).await.map(drop) });
    let _ = larder.close(SECOND).await;
    assert_eq!(list.push(&"b".to_owned()).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(item.done().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(soon("it is told", waits).await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn settings_out_of_bounds_are_refused_by_name() {
    let scene = Scene::memory().await;
    let list = || scene.larder.fifo("orders");
    let cases = [
        (list().items_max(0), "items_max"),
        (list().item_bytes_max(0), "item_bytes_max"),
        (list().silence(MILLI), "silence"),
        (scene.larder.fifo(" "), "fifo"),
    ];
    for (builder, what) in cases {
        let refused = builder.open::<String>().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(refused.to_string().contains(what), "{refused}");
    }
}

/// What redis-cli pushes is taken here, and what is pushed here redis-cli pops.
#[tokio::test]
async fn other_languages_push_and_pop() {
    let scene = Scene::single().await;
    let list = list(&scene);
    let items = name(&scene, "items");
    let _: i64 = scene.says("LPUSH", items.as_bytes(), &["\"from elsewhere\""]).unwrap();
    let mut item = taken(&list).await;
    assert_eq!(item.body(), "from elsewhere");
    assert_eq!(item.done().await.unwrap(), Finished::Done);
    push(&list, "to elsewhere").await;
    let popped: String = scene.says("RPOP", items.as_bytes(), &[]).unwrap();
    assert_eq!(popped, "\"to elsewhere\"");
}

#[tokio::test]
async fn what_a_killed_process_had_is_put_back_the_oldest_first() {
    let server = Server::start();
    let larder = Larder::builder("test").redis(server.url()).invalidate_deadline(PATIENT);
    let larder = larder.open().await.unwrap();
    let list: Fifo<String> = larder.fifo("orders").silence(500 * MILLI).open().unwrap();
    for body in ["a", "b"] {
        push(&list, body).await;
    }
    let mut process = Process::start(&server.url());
    assert_eq!(process.ask("take orders"), "a");
    let mut b = taken(&list).await;
    assert_eq!(b.body(), "b", "the other has the first");
    process.kill();
    push(&list, "c").await;
    let mut bodies = Vec::new();
    while !bodies.contains(&"a".to_owned()) {
        let mut item = taken(&list).await;
        bodies.push(item.body().clone());
        assert_eq!(item.done().await.unwrap(), Finished::Done);
    }
    assert_eq!(b.done().await.unwrap(), Finished::Done, "of the living nothing is taken");
}

/// A process that was paused for too long comes back: what it had is another's, and it is told.
#[tokio::test]
async fn what_was_put_back_meanwhile_is_lost_to_the_late() {
    let server = Server::start();
    let open = |silence: Duration| async move {
        let larder = Larder::builder("test").redis(server.url()).invalidate_deadline(PATIENT);
        let larder = larder.open().await.unwrap();
        (larder.fifo("orders").silence(silence).open::<String>().unwrap(), server)
    };
    let (late, server) = open(10 * MINUTE).await;
    push(&late, "a").await;
    let mut item = taken(&late).await;
    // As if its lease had run out.
    let lease = server.keys().into_iter().find(|key| key.contains(":lease.")).unwrap();
    let _: i64 = server.ask(&format!("DEL {lease}"));
    let larder = Larder::builder("test").redis(server.url()).open().await.unwrap();
    let other: Fifo<String> = larder.fifo("orders").silence(200 * MILLI).open().unwrap();
    let mut again = taken(&other).await;
    assert_eq!(again.body(), "a");
    assert_eq!(item.done().await.unwrap(), Finished::Lost);
    assert_eq!(again.done().await.unwrap(), Finished::Done);
}

#[tokio::test]
async fn a_restart_from_an_append_only_file_loses_nothing_and_an_empty_one_all() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let larder = Larder::builder("test").redis(server.url()).invalidate_deadline(PATIENT);
    let list: Fifo<String> = larder.open().await.unwrap().fifo("orders").open().unwrap();
    for body in ["a", "b"] {
        push(&list, body).await;
    }
    let mut item = taken(&list).await;
    server.start_again();
    until("it is back", || async { list.stats().await.is_ok() }).await;
    assert_eq!(item.done().await.unwrap(), Finished::Done);
    let mut item = taken(&list).await;
    assert_eq!(item.body(), "b");
    let _: String = server.ask("FLUSHALL");
    assert_eq!(item.done().await.unwrap(), Finished::Lost, "Redis has forgotten it");
    push(&list, "c").await;
    assert_eq!(taken(&list).await.body(), "c");
}

#[tokio::test]
async fn a_lost_reply_is_unconfirmed_and_nothing_is_lost() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let larder = Larder::builder("test").redis(proxy.url()).require_far();
    let larder = larder.invalidate_deadline(300 * MILLI).open().await.unwrap();
    let list: Fifo<String> = larder.fifo("orders").open().unwrap();
    proxy.hold(1);
    let why = list.push(&"a".to_owned()).await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Unconfirmed, "{why}");
    proxy.let_go();
    until("it is there", || async { list.stats().await.is_ok_and(|stats| stats.waiting == 1) })
        .await;
}

/// Whoever waits gives up in the middle, again and again: what was on its way is taken by a later one.
#[tokio::test]
async fn what_went_astray_on_its_way_is_put_back_while_the_process_lives() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let larder = Larder::builder("test").redis(proxy.url()).require_far();
    let larder = larder.invalidate_deadline(300 * MILLI).open().await.unwrap();
    let list: Fifo<String> = larder.fifo("orders").silence(SECOND).open().unwrap();
    push(&list, "a").await;
    // The reply to this take is lost, and the item stands in our list with nobody behind it.
    proxy.hold(1);
    assert!(list.take(Duration::ZERO).await.is_err());
    proxy.let_go();
    let mut item = soon("it is found", async {
        loop {
            if let Ok(Some(item)) = list.take(100 * MILLI).await {
                break item;
            }
        }
    })
    .await;
    assert_eq!(item.body(), "a");
    assert_eq!(item.done().await.unwrap(), Finished::Done);
    for number in 0..20 {
        push(&list, &number.to_string()).await;
        let _ = tokio::time::timeout(Duration::from_micros(50 * number), list.take(NEVER)).await;
    }
    let mut seen = HashSet::new();
    while seen.len() < 20 {
        let mut item = taken(&list).await;
        seen.insert(item.body().clone());
        let _ = item.done().await.unwrap();
    }
    // What somebody has in hand is never put back.
    push(&list, "held").await;
    let mut held = taken(&list).await;
    assert!(list.take(3 * SECOND).await.unwrap().is_none());
    assert_eq!(held.done().await.unwrap(), Finished::Done);
}

#[tokio::test]
async fn a_full_memory_and_other_types_are_told() {
    let server = Server::with(&["--maxmemory-policy", "noeviction"]);
    let scene = Scene::on(server).await;
    let Place::Single(server) = &scene.place else { panic!("it is one server") };
    let list = list(&scene);
    push(&list, "a").await;
    push(&list, "b").await;
    let mut item = taken(&list).await;
    let _: String = server.ask("CONFIG SET maxmemory 1");
    for why in [list.push(&"c".to_owned()).await.unwrap_err(), list.take(MILLI).await.unwrap_err()]
    {
        assert_eq!(why.kind(), ErrorKind::Far);
        assert!(why.to_string().contains("memory"), "{why}");
    }
    assert_eq!(item.put_back().await.unwrap_err().kind(), ErrorKind::Far);
    assert_eq!(item.done().await.unwrap(), Finished::Done, "what ends needs no memory");
    let _: String = server.ask("CONFIG SET maxmemory 0");
    assert_eq!(taken(&list).await.body(), "b");
    let items = name(&scene, "items");
    let _: i64 = scene.says("DEL", items.as_bytes(), &[]).unwrap();
    let _: String = scene.says("SET", items.as_bytes(), &["mine"]).unwrap();
    let why = list.push(&"d".to_owned()).await.unwrap_err();
    assert!(why.to_string().contains("WRONGTYPE"), "{why}");
    assert!(list.take(MILLI).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_moved_under_traffic_and_every_item_is_done() {
    let scene = Scene::on_cluster(Cluster::of_masters()).await;
    let Place::Cluster(cluster) = &scene.place else { panic!("it is a cluster") };
    let list = list(&scene);
    let pushing = tokio::spawn({
        let list = list.clone();
        async move {
            let mut pushed = Vec::new();
            for number in 0..200 {
                let body = format!("item {number}");
                // In the middle of a move it may be refused.
                if list.push(&body).await.is_ok() {
                    pushed.push(body);
                }
                tokio::time::sleep(2 * MILLI).await;
            }
            pushed
        }
    });
    let other: Fifo<String> = scene.another().await.fifo("orders").silence(SECOND).open().unwrap();
    let done = std::sync::Arc::new(std::sync::Mutex::new(HashSet::new()));
    let seen = done.clone();
    let taking = tokio::spawn(async move {
        loop {
            let Ok(Some(mut item)) = other.take(SECOND).await else { continue };
            if item.done().await.is_ok_and(|done| done == Finished::Done) {
                seen.lock().unwrap().insert(item.body().clone());
            }
        }
    });
    let slot = cluster.slot(name(&scene, "items").as_bytes());
    for _ in 0..2 {
        let from = cluster.master_of(slot);
        let to = (from + 1) % 3;
        cluster.begin_to_move(slot, from, to);
        tokio::time::sleep(50 * MILLI).await;
        while cluster.move_keys(slot, from, to, 1) > 0 {
            tokio::time::sleep(20 * MILLI).await;
        }
        cluster.end_move(slot, from, to);
    }
    let pushed = soon("all is pushed", pushing).await.unwrap();
    assert!(pushed.len() > 100, "only {} were confirmed", pushed.len());
    until("all is done", || async {
        let done = done.lock().unwrap();
        pushed.iter().all(|body| done.contains(body))
    })
    .await;
    taking.abort();
}
