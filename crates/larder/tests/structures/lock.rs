//! What a lock promises, wherever it is, and what becomes of it when something breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use larder::structures::{Held, Lock, LockBuilder, Released};
use larder::{ErrorKind, Larder, MINUTE, SECOND};

use crate::scene::{Place, Scene, on_every_side};
use crate::support::{Cluster, NEVER, PATIENT, Process, Proxy, Server, soon, until};

const MILLI: Duration = Duration::from_millis(1);

fn builder(scene: &Scene) -> LockBuilder {
    scene.larder.lock("nightly")
}

async fn other(scene: &Scene) -> Lock {
    scene.another().await.lock("nightly").open().unwrap()
}

async fn taken(lock: &Lock) -> Held {
    lock.try_acquire().await.unwrap().expect("it is free")
}

async fn waited(lock: &Lock) -> Held {
    soon("the lock", lock.acquire(NEVER)).await.unwrap().expect("before the wait was over")
}

fn name(scene: &Scene, part: &str) -> String {
    format!("{}:s:lock.nightly:{part}:{{.7.nightly}}", scene.app)
}

on_every_side! {
    one_holds_it_and_its_fence_is_greater_than_all_before,
    who_waits_is_woken_when_it_is_given_back,
    it_is_renewed_for_as_long_as_it_is_held,
    a_holder_that_is_not_renewed_is_told_and_replaced,
    dropped_it_is_given_back,
    a_wait_that_is_given_up_leaves_nothing_behind,
    every_key_has_its_own,
    no_two_hold_it_at_once,
    after_close_it_is_closed_and_lost,
}

async fn one_holds_it_and_its_fence_is_greater_than_all_before(scene: &Scene) {
    let (lock, other) = (builder(scene).open().unwrap(), other(scene).await);
    let mut last = 0;
    for _ in 0..5 {
        let held = taken(&lock).await;
        assert!(held.fence() > last);
        last = held.fence();
        assert!(held.is_held());
        assert!(other.try_acquire().await.unwrap().is_none());
        assert!(lock.try_acquire().await.unwrap().is_none(), "it is not reentrant");
        assert!(other.acquire(50 * MILLI).await.unwrap().is_none());
        assert_eq!(held.release().await.unwrap(), Released::Done);
    }
}

async fn who_waits_is_woken_when_it_is_given_back(scene: &Scene) {
    let slow = || async {
        scene.another().await.lock("nightly").time(10 * MINUTE).look_every(MINUTE).open().unwrap()
    };
    let (lock, waits, also) = (slow().await, slow().await, slow().await);
    let held = taken(&lock).await;
    let waiting: Vec<_> = [waits, also]
        .into_iter()
        .map(|lock| {
            tokio::spawn(async move {
                let held = lock.acquire(NEVER).await.unwrap().expect("before the wait was over");
                let fence = held.fence();
                assert_eq!(held.release().await.unwrap(), Released::Done);
                fence
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(held.release().await.unwrap(), Released::Done);
    for one in waiting {
        // By itself it would look again after half a minute.
        tokio::time::timeout(20 * SECOND, one).await.expect("woken by the bell").unwrap();
    }
}

async fn it_is_renewed_for_as_long_as_it_is_held(scene: &Scene) {
    let lock = builder(scene).time(5 * SECOND).open().unwrap();
    let other = other(scene).await;
    let held = taken(&lock).await;
    assert!(other.acquire(8 * SECOND).await.unwrap().is_none());
    assert!(held.is_held());
    assert_eq!(held.release().await.unwrap(), Released::Done);
}

async fn a_holder_that_is_not_renewed_is_told_and_replaced(scene: &Scene) {
    let lock = builder(scene).time(300 * MILLI).renew_for(Duration::ZERO).open().unwrap();
    let held = taken(&lock).await;
    let other = other(scene).await;
    let next = waited(&other).await;
    // Its own clock said so before the server's did.
    assert!(!held.is_held());
    soon("it is told", held.lost()).await;
    assert!(next.fence() > held.fence());
    assert_eq!(held.release().await.unwrap(), Released::Lost);
    assert!(next.is_held(), "what is another's is not given back");
    assert_eq!(next.release().await.unwrap(), Released::Done);
}

async fn dropped_it_is_given_back(scene: &Scene) {
    let lock = builder(scene).time(10 * MINUTE).open().unwrap();
    drop(taken(&lock).await);
    let held = waited(&lock).await;
    assert_eq!(held.release().await.unwrap(), Released::Done);
}

async fn a_wait_that_is_given_up_leaves_nothing_behind(scene: &Scene) {
    let lock = builder(scene).time(10 * MINUTE).open().unwrap();
    // Given up at every point: before it was sent, when it was, and when it waits.
    for micros in (0..2000).step_by(100) {
        let waiting = lock.acquire(NEVER);
        let _ = tokio::time::timeout(Duration::from_micros(micros), waiting).await;
    }
    let held = waited(&lock).await;
    for micros in (0..2000).step_by(100) {
        let waiting = lock.acquire(NEVER);
        let given_up = tokio::time::timeout(Duration::from_micros(micros), waiting).await;
        assert!(given_up.is_err());
    }
    assert_eq!(held.release().await.unwrap(), Released::Done);
    let held = waited(&lock).await;
    assert_eq!(held.release().await.unwrap(), Released::Done);
}

async fn every_key_has_its_own(scene: &Scene) {
    let lock = builder(scene).open().unwrap();
    let all = taken(&lock).await;
    let one = taken(&lock.of(&17_u64).unwrap()).await;
    let two = taken(&lock.of("nightly").unwrap()).await;
    assert!(lock.of(&17_u64).unwrap().try_acquire().await.unwrap().is_none());
    for held in [all, one, two] {
        assert_eq!(held.release().await.unwrap(), Released::Done);
    }
    assert_eq!(lock.of(&"x".repeat(2000)).unwrap_err().kind(), ErrorKind::Key);
}

async fn no_two_hold_it_at_once(scene: &Scene) {
    let inside = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for _ in 0..6 {
        let (lock, inside) = (other(scene).await, inside.clone());
        tasks.push(tokio::spawn(async move {
            let mut fences = Vec::new();
            for _ in 0..5 {
                let held = lock.acquire(NEVER).await.unwrap().expect("before the wait was over");
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "somebody is inside");
                tokio::task::yield_now().await;
                fences.push(held.fence());
                inside.fetch_sub(1, Ordering::SeqCst);
                assert_eq!(held.release().await.unwrap(), Released::Done);
            }
            fences
        }));
    }
    let mut fences = Vec::new();
    for task in tasks {
        fences.extend(soon("everybody had it", task).await.unwrap());
    }
    fences.sort_unstable();
    fences.dedup();
    assert_eq!(fences.len(), 30, "no number was given twice");
}

async fn after_close_it_is_closed_and_lost(scene: &Scene) {
    let larder = scene.another().await;
    let lock = larder.lock("nightly").time(SECOND).open().unwrap();
    let held = taken(&lock).await;
    let _ = larder.close(SECOND).await;
    assert_eq!(lock.try_acquire().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(lock.acquire(NEVER).await.unwrap_err().kind(), ErrorKind::Closed);
    soon("it is told", held.lost()).await;
}

#[tokio::test]
async fn settings_out_of_bounds_are_refused_by_name() {
    let scene = Scene::memory().await;
    let lock = || scene.larder.lock("nightly");
    let cases = [
        (lock().time(MILLI), "time"),
        (lock().renew_for(Duration::MAX), "renew_for"),
        (lock().look_every(Duration::ZERO), "look_every"),
        (scene.larder.lock(""), "lock"),
    ];
    for (builder, what) in cases {
        let refused = builder.open().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(refused.to_string().contains(what), "{refused}");
    }
}

#[tokio::test]
async fn a_holder_that_is_killed_is_replaced() {
    let server = Server::start();
    let mut process = Process::start(&server.url());
    let larder = Larder::builder("test").redis(server.url()).invalidate_deadline(PATIENT);
    let lock = larder.open().await.unwrap().lock("nightly").open().unwrap();
    let theirs: u64 = process.ask("lock nightly").parse().unwrap();
    assert!(lock.try_acquire().await.unwrap().is_none());
    process.kill();
    assert!(waited(&lock).await.fence() > theirs);
}

/// Redis forgets all: the holder is told, the next gets it, and its fence is greater all the same.
#[tokio::test]
async fn a_server_that_comes_back_empty_gives_it_again_with_a_greater_fence() {
    let mut server = Server::start();
    let larder = Larder::builder("test").redis(server.url()).invalidate_deadline(PATIENT);
    let larder = larder.open().await.unwrap();
    let lock = larder.lock("nightly").time(3 * SECOND).open().unwrap();
    let held = taken(&lock).await;
    server.start_again();
    soon("it is told", held.lost()).await;
    let next = waited(&lock).await;
    assert!(next.fence() > held.fence());
    assert_eq!(held.release().await.unwrap(), Released::Lost);
}

#[tokio::test]
async fn an_evicted_lock_is_lost_and_fences_grow_without_their_key() {
    let scene = Scene::on(Server::start()).await;
    let lock = builder(&scene).time(2 * SECOND).open().unwrap();
    let held = taken(&lock).await;
    for part in ["lock", "fence"] {
        let gone: i64 = scene.says("DEL", name(&scene, part).as_bytes(), &[]).unwrap();
        assert_eq!(gone, 1);
    }
    let next = taken(&lock).await;
    assert!(next.fence() > held.fence());
    soon("it is told", held.lost()).await;
    // A last number from a server whose clock was far ahead is not fallen behind.
    let ahead = "9000000000000000";
    let _: String = scene.says("SET", name(&scene, "fence").as_bytes(), &[ahead]).unwrap();
    assert_eq!(next.release().await.unwrap(), Released::Done);
    assert_eq!(taken(&lock).await.fence(), 9_000_000_000_000_001);
}

#[tokio::test]
async fn a_lock_whose_reply_is_lost_is_given_back() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let larder = Larder::builder("test").redis(proxy.url()).require_far();
    let larder = larder.invalidate_deadline(300 * MILLI).open().await.unwrap();
    let lock = larder.lock("nightly").time(10 * MINUTE).open().unwrap();
    proxy.hold(1);
    assert_eq!(lock.try_acquire().await.unwrap_err().kind(), ErrorKind::Far);
    until("it was taken all the same", || async { server.calls("evalsha") > 0 }).await;
    proxy.let_go();
    // Within ten minutes only what was sent in the background can free it.
    let held = soon("it is free again", lock.acquire(NEVER)).await.unwrap().expect("the lock");
    assert_eq!(held.release().await.unwrap(), Released::Done);
}

#[tokio::test]
async fn another_type_under_its_name_is_told() {
    let scene = Scene::single().await;
    let lock = builder(&scene).open().unwrap();
    let _: i64 = scene.says("LPUSH", name(&scene, "lock").as_bytes(), &["mine"]).unwrap();
    let why = lock.try_acquire().await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Far);
    assert!(why.to_string().contains("WRONGTYPE"), "{why}");
    let _: i64 = scene.says("DEL", name(&scene, "lock").as_bytes(), &[]).unwrap();
    // The bell is a help and no more.
    let held = taken(&lock).await;
    let _: String = scene.says("SET", name(&scene, "bell").as_bytes(), &["mine"]).unwrap();
    assert_eq!(held.release().await.unwrap(), Released::Done);
}

#[tokio::test]
async fn a_full_memory_keeps_what_is_held_and_gives_back() {
    let server = Server::with(&["--maxmemory-policy", "noeviction"]);
    let larder = Larder::builder("test").redis(server.url()).invalidate_deadline(PATIENT);
    let larder = larder.open().await.unwrap();
    let lock = larder.lock("nightly").time(2 * SECOND).open().unwrap();
    let held = taken(&lock).await;
    let _: String = server.ask("CONFIG SET maxmemory 1");
    let other = larder.lock("other").open().unwrap();
    let full = other.try_acquire().await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Far);
    assert!(lock.acquire(3 * SECOND).await.unwrap().is_none(), "it was renewed");
    assert!(held.is_held());
    assert_eq!(held.release().await.unwrap(), Released::Done);
    let _: String = server.ask("CONFIG SET maxmemory 0");
    let _ = taken(&lock).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_moved_and_no_two_hold_it() {
    let scene = Scene::on_cluster(Cluster::of_masters()).await;
    let Place::Cluster(cluster) = &scene.place else { panic!("it is a cluster") };
    let (inside, rounds) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let lock = scene.another().await.lock("nightly").time(30 * SECOND).open().unwrap();
        let (inside, rounds, stop) = (inside.clone(), rounds.clone(), stop.clone());
        tasks.push(tokio::spawn(async move {
            let mut last = 0;
            while !stop.load(Ordering::SeqCst) {
                // In the middle of a move it may be refused.
                let Ok(Some(held)) = lock.acquire(SECOND).await else { continue };
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "somebody is inside");
                assert!(held.fence() > last);
                last = held.fence();
                tokio::time::sleep(MILLI).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                // Not given back, it is free when its time is over; so it is tried again.
                let _ = held.release().await;
                rounds.fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    let more = |than: usize| {
        let rounds = rounds.clone();
        async move {
            until("it goes round", || async { rounds.load(Ordering::SeqCst) > than }).await;
        }
    };
    let slot = cluster.slot(name(&scene, "lock").as_bytes());
    for _ in 0..2 {
        more(rounds.load(Ordering::SeqCst) + 10).await;
        let from = cluster.master_of(slot);
        let to = (from + 1) % 3;
        cluster.begin_to_move(slot, from, to);
        while cluster.move_keys(slot, from, to, 1) > 0 {
            tokio::time::sleep(10 * MILLI).await;
        }
        cluster.end_move(slot, from, to);
    }
    more(rounds.load(Ordering::SeqCst) + 10).await;
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        soon("the tasks end", task).await.unwrap();
    }
    for node in &cluster.nodes {
        let errors: String = node.ask("INFO errorstats");
        assert!(!errors.contains("CROSSSLOT"), "{errors}");
    }
}
