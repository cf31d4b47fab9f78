//! What becomes of a queue when something breaks.

use std::collections::HashSet;
use std::time::Duration;

use larder::structures::{Finished, Queue, Retried};
use larder::{ErrorKind, Larder, SECOND};

use crate::queue::{MILLI, claimed, counts};
use crate::scene::{Place, Scene};
use crate::support::{Cluster, PATIENT, Process, Proxy, Server, soon, until};

fn mails(larder: &Larder) -> Queue<String> {
    let queue = larder.queue("mails").look_every(20 * MILLI).visibility(500 * MILLI);
    queue.open().unwrap()
}

fn name(scene: &Scene, part: &str) -> String {
    format!("{}:s:queue.mails:{part}:{{.5.mails}}", scene.app)
}

async fn push(queue: &Queue<String>, body: &str) {
    queue.push(&body.to_owned()).await.unwrap();
}

#[tokio::test]
async fn a_process_that_is_killed_loses_its_job_to_another() {
    let server = Server::start();
    let mut process = Process::start(&server.url());
    let larder = Larder::builder("test").redis(server.url()).far_deadline(PATIENT);
    let queue = mails(&larder.invalidate_deadline(PATIENT).open().await.unwrap());
    push(&queue, "a").await;
    assert_eq!(process.ask("claim mails"), "a 1");
    assert!(queue.claim(Duration::ZERO).await.unwrap().is_none(), "it is the other's");
    process.kill();
    let job = claimed(&queue).await;
    assert_eq!((job.body().as_str(), job.delivery().attempt), ("a", 2));
    assert_eq!(job.finish().await.unwrap(), Finished::Done);
}

#[tokio::test]
async fn a_server_that_comes_back_empty_has_a_queue_again() {
    let mut server = Server::start();
    let larder = Larder::builder("test").redis(server.url()).invalidate_deadline(PATIENT);
    let queue = mails(&larder.open().await.unwrap());
    push(&queue, "lost with the server").await;
    let job = claimed(&queue).await;
    let waiting = queue.clone();
    let waits = tokio::spawn(async move {
        loop {
            // While it is away this fails; who works goes on.
            if let Ok(Some(job)) = waiting.claim(SECOND).await {
                return job;
            }
            tokio::time::sleep(10 * MILLI).await;
        }
    });
    server.start_again();
    until("it is back", || async { queue.push(&"new".to_owned()).await.is_ok() }).await;
    let new = soon("the new job", waits).await.unwrap();
    assert_eq!(new.body(), "new");
    assert_eq!(job.finish().await.unwrap(), Finished::Lost, "what it was of is gone");
    assert_eq!(new.finish().await.unwrap(), Finished::Done);
}

#[tokio::test]
async fn with_an_append_only_file_a_restart_loses_nothing() {
    let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let larder = Larder::builder("test").redis(server.url()).invalidate_deadline(PATIENT);
    let queue = mails(&larder.open().await.unwrap());
    for body in ["claimed", "waiting"] {
        push(&queue, body).await;
    }
    queue.push_in(2 * SECOND, &"later".to_owned()).await.unwrap();
    queue.push_once("x", &"once".to_owned()).await.unwrap();
    let held = claimed(&queue).await;
    server.start_again();
    until("it is back", || async { queue.stats().await.is_ok() }).await;
    let mut seen = HashSet::new();
    drop(held);
    while seen.len() < 4 {
        // While it is coming back this may fail; who works goes on.
        if let Ok(Some(job)) = soon("a job", queue.claim(SECOND)).await {
            let _ = job.finish().await;
            seen.insert(job.body().clone());
        }
    }
    let known = queue.push_once("x", &"once".to_owned()).await.unwrap();
    assert_eq!(known, larder::structures::PushedOnce::Known);
}

/// FLUSHALL, an evicted key, and a group that somebody destroyed, whose stream is handed out from its beginning.
#[tokio::test]
async fn a_group_that_is_gone_is_made_anew_from_the_beginning() {
    let scene = Scene::on(Server::start()).await;
    let queue = mails(&scene.larder);
    let jobs = name(&scene, "jobs");
    for body in ["a", "b"] {
        push(&queue, body).await;
    }
    let job = claimed(&queue).await;
    let gone: i64 = scene.says("XGROUP", b"DESTROY", &[&jobs, "larder"]).unwrap();
    assert_eq!(gone, 1);
    assert_eq!(job.finish().await.unwrap(), Finished::Lost);
    let again: Vec<_> = queue.claim_many(10, Duration::ZERO).await.unwrap();
    let bodies: Vec<_> = again.iter().map(|job| job.body().as_str()).collect();
    assert_eq!(bodies, ["a", "b"], "also what was handed out before");
    for gone in ["DEL", "FLUSHALL"] {
        let waiting = queue.clone();
        let waits = tokio::spawn(async move { waiting.claim(crate::support::NEVER).await });
        let _: redis::Value = match gone {
            "DEL" => scene.says("DEL", jobs.as_bytes(), &[]).unwrap(),
            _ => scene.says("FLUSHALL", b"SYNC", &[]).unwrap(),
        };
        push(&queue, gone).await;
        let job = soon("the next job", waits).await.unwrap().unwrap().expect("a job");
        assert_eq!(job.body(), gone);
        assert_eq!(job.finish().await.unwrap(), Finished::Done);
    }
}

#[tokio::test]
async fn a_push_whose_reply_is_lost_is_unconfirmed_and_was_done() {
    let server = Server::start();
    let proxy = Proxy::to(&server);
    let larder = Larder::builder("test").redis(proxy.url()).require_far();
    let larder = larder.invalidate_deadline(300 * MILLI).open().await.unwrap();
    let queue = mails(&larder);
    proxy.hold(1);
    let why = queue.push(&"a".to_owned()).await.unwrap_err();
    assert_eq!(why.kind(), ErrorKind::Unconfirmed, "{why}");
    proxy.let_go();
    until("it is there", || async { queue.stats().await.is_ok_and(|stats| stats.waiting == 1) })
        .await;
    // The same with a finish: to repeat it is harmless.
    let job = claimed(&queue).await;
    until("a hold", || async { queue.stats().await.is_ok() }).await;
    for connection in 0..20 {
        proxy.hold(connection);
    }
    let why = job.finish().await.unwrap_err();
    assert!(matches!(why.kind(), ErrorKind::Unconfirmed | ErrorKind::Far), "{why}");
    proxy.let_go();
    until("it is told", || async { job.finish().await.is_ok() }).await;
    assert_eq!(job.finish().await.unwrap(), Finished::Lost, "it is gone by now");
    until("nothing is left", || async { matches!(counts_of(&queue).await, Some([0, 0, 0, 0])) })
        .await;
}

async fn counts_of(queue: &Queue<String>) -> Option<[u64; 4]> {
    let stats = queue.stats().await.ok()?;
    Some([stats.waiting, stats.claimed, stats.later, stats.dead])
}

#[tokio::test]
async fn a_full_memory_refuses_pushes_and_loses_nothing() {
    let server = Server::with(&["--maxmemory-policy", "noeviction"]);
    let larder = Larder::builder("test").redis(server.url()).invalidate_deadline(PATIENT);
    let larder = larder.open().await.unwrap();
    let queue: Queue<String> = larder.queue("mails").backoff(MILLI, MILLI).open().unwrap();
    for body in ["a", "b"] {
        push(&queue, body).await;
    }
    let job = claimed(&queue).await;
    let _: String = server.ask("CONFIG SET maxmemory 1");
    let full = queue.push(&"c".to_owned()).await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Far);
    assert!(full.to_string().contains("memory"), "{full}");
    assert_eq!(job.fail("no luck").await.unwrap_err().kind(), ErrorKind::Far);
    assert_eq!(counts(&queue).await, [1, 1, 0, 0], "it was not taken away");
    let other = claimed(&queue).await;
    assert_eq!(other.finish().await.unwrap(), Finished::Done, "what ends needs no memory");
    let _: String = server.ask("CONFIG SET maxmemory 0");
    assert!(matches!(job.fail("no luck").await.unwrap(), Retried::In(_)));
    assert_eq!(claimed(&queue).await.body(), "a");
}

#[tokio::test]
async fn other_types_under_our_names_are_told_and_nothing_is_lost() {
    let scene = Scene::single().await;
    for part in ["jobs", "later", "dead"] {
        let queue = mails(&scene.larder);
        push(&queue, "a").await;
        let _: i64 = scene.says("DEL", name(&scene, part).as_bytes(), &[]).unwrap();
        let _: String = scene.says("SET", name(&scene, part).as_bytes(), &["mine"]).unwrap();
        let why = queue.stats().await.unwrap_err();
        assert_eq!(why.kind(), ErrorKind::Far);
        assert!(why.to_string().contains("WRONGTYPE"), "{why}");
        if part != "dead" {
            let why = queue.push(&"b".to_owned()).await.unwrap_err();
            assert!(why.to_string().contains("queue.mails"), "{why}");
            assert!(queue.claim(SECOND).await.is_err());
        }
        let kept: String = scene.says("GET", name(&scene, part).as_bytes(), &[]).unwrap();
        assert_eq!(kept, "mine");
        let _: i64 = scene.says("DEL", name(&scene, part).as_bytes(), &[]).unwrap();
    }
    // What somebody else wrote into the stream is a dead letter.
    let queue = mails(&scene.larder);
    let _: String =
        scene.says("XADD", name(&scene, "jobs").as_bytes(), &["*", "who", "me"]).unwrap();
    until("it is buried", || async {
        for job in queue.claim_many(10, Duration::ZERO).await.unwrap() {
            assert_eq!(job.finish().await.unwrap(), Finished::Done);
        }
        counts(&queue).await == [0, 0, 0, 1]
    })
    .await;
}

/// A hundred and fifty jobs are being worked on, and one of a worker that is gone stands behind them all.
#[tokio::test]
async fn one_that_was_left_behind_is_found_among_many() {
    let scene = Scene::single().await;
    let builder = || scene.larder.queue("mails").look_every(20 * MILLI);
    let holds: Queue<String> = builder().visibility(larder::HOUR).open().unwrap();
    for number in 0..151 {
        push(&holds, &number.to_string()).await;
    }
    let mut held = Vec::new();
    while held.len() < 150 {
        held.extend(holds.claim_many(50, Duration::ZERO).await.unwrap());
    }
    let left = claimed(&holds).await;
    let last = left.body().clone();
    // As if nobody had heard of its worker for a second.
    let jobs = name(&scene, "jobs");
    let entry: Vec<redis::Value> =
        scene.says("XREVRANGE", jobs.as_bytes(), &["+", "-", "COUNT", "1"]).unwrap();
    let redis::Value::Array(entry) = &entry[0] else { panic!("an entry has parts") };
    let entry: String = redis::from_redis_value_ref(&entry[0]).unwrap();
    let idle = ["larder", "x", "0", &entry, "IDLE", "3000000", "JUSTID"];
    let _: Vec<String> = scene.says("XCLAIM", jobs.as_bytes(), &idle).unwrap();
    let looks: Queue<String> = builder().visibility(20 * larder::MINUTE).open().unwrap();
    let job = looks.claim(Duration::ZERO).await.unwrap().expect("it is found at the first look");
    assert_eq!(*job.body(), last);
    drop(left);
}

/// Whoever waits gives up in the middle, again and again: what was on its way is another's after the visibility.
#[tokio::test]
async fn a_claim_that_is_given_up_loses_nothing() {
    let scene = Scene::single().await;
    let queue = mails(&scene.larder);
    for number in 0..20 {
        push(&queue, &number.to_string()).await;
        let _ = tokio::time::timeout(Duration::from_micros(50 * number), queue.claim(SECOND)).await;
    }
    let mut seen = HashSet::new();
    while seen.len() < 20 {
        let job = claimed(&queue).await;
        seen.insert(job.body().clone());
        let _ = job.finish().await.unwrap();
    }
}

#[tokio::test]
async fn a_consumer_is_forgotten_only_when_it_holds_nothing() {
    let scene = Scene::single().await;
    let (holds, idle) = (mails(&scene.larder), mails(&scene.larder));
    push(&holds, "a").await;
    let job = claimed(&holds).await;
    assert!(idle.claim(Duration::ZERO).await.unwrap().is_none());
    push(&idle, "b").await;
    assert_eq!(claimed(&idle).await.finish().await.unwrap(), Finished::Done);
    let Place::Single(server) = &scene.place else { panic!("it is one server") };
    let jobs = name(&scene, "jobs");
    let consumers = || server.ask::<Vec<redis::Value>>(&format!("XINFO CONSUMERS {jobs} larder"));
    assert_eq!(consumers().len(), 2);
    let tidy = redis::Script::new(include_str!("../../src/structures/queue/tidy.lua"));
    let forgotten = |idle_ms: i64| -> i64 {
        let mut call = tidy.key(jobs.as_str());
        call.arg("larder").arg(idle_ms).invoke(&mut server.client()).unwrap()
    };
    assert_eq!(forgotten(3_600_000), 0, "nobody is gone so long");
    assert_eq!(forgotten(-1), 1);
    assert_eq!(consumers().len(), 1);
    assert_eq!(job.finish().await.unwrap(), Finished::Done);
    // Who is forgotten and lives after all is known again with its next claim.
    push(&idle, "c").await;
    assert_eq!(claimed(&idle).await.finish().await.unwrap(), Finished::Done);
}

/// Jobs are pushed and done while their slot moves to another master and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_is_moved_under_traffic_and_every_job_is_done() {
    let scene = Scene::on_cluster(Cluster::of_masters()).await;
    let Place::Cluster(cluster) = &scene.place else { panic!("it is a cluster") };
    let queue = mails(&scene.larder);
    let done = std::sync::Arc::new(std::sync::Mutex::new(HashSet::new()));
    let seen = done.clone();
    let worker = mails(&scene.another().await);
    let worker = worker.run(4, move |body: String, _| {
        seen.lock().unwrap().insert(body);
        async { Ok::<_, String>(()) }
    });
    let worker = worker.unwrap();
    let pushing = tokio::spawn({
        let queue = queue.clone();
        async move {
            let mut pushed = Vec::new();
            for number in 0..300 {
                let body = format!("job {number}");
                // In the middle of a move it may be refused, or not be confirmed: then it may be done, or not.
                if queue.push(&body).await.is_ok() {
                    pushed.push(body);
                }
                tokio::time::sleep(2 * MILLI).await;
            }
            pushed
        }
    });
    let slot = cluster.slot(name(&scene, "jobs").as_bytes());
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
    assert!(pushed.len() > 200, "only {} were confirmed", pushed.len());
    until("all is done", || async {
        let done = done.lock().unwrap();
        pushed.iter().all(|body| done.contains(body))
    })
    .await;
    assert_eq!(soon("the worker stops", worker.stop(crate::support::NEVER)).await, 0);
    assert_eq!(counts(&queue).await[3], 0, "nothing was given up");
    for node in &cluster.nodes {
        let errors: String = node.ask("INFO errorstats");
        assert!(!errors.contains("CROSSSLOT"), "{errors}");
    }
}

/// What docs/running-it.md says that a user needs is enough for queues, plain lists and locks.
#[tokio::test]
async fn the_documented_permissions_are_enough() {
    let page = include_str!("../../../../docs/running-it.md");
    let rule = page.lines().find(|line| line.starts_with("ACL SETUSER larder on")).unwrap();
    let more = page.split("\n- ").find(|point| point.starts_with("Queues: ")).unwrap();
    let more: Vec<_> = more.split(['`', ' ', '\n']).filter(|word| word.starts_with('+')).collect();
    assert!(more.len() > 20, "{more:?}");
    let server = Server::start();
    let _: String = server.ask(&format!("{rule} {}", more.join(" ")));
    let url = format!("redis://larder:password@127.0.0.1:{}/0", server.port());
    let larder = Larder::builder("todo").redis(url).require_far().invalidate_deadline(PATIENT);
    let larder = larder.open().await.unwrap();
    let queue: Queue<String> =
        larder.queue("mails").backoff(MILLI, MILLI).attempts_max(2).open().unwrap();
    queue.push_in(MILLI, &"a".to_owned()).await.unwrap();
    let job = claimed(&queue).await;
    assert!(matches!(job.fail("no").await.unwrap(), Retried::In(_)));
    let job = claimed(&queue).await;
    let _ = job.extend().await.unwrap();
    assert_eq!(job.fail("no").await.unwrap(), Retried::Dead);
    let dead = queue.dead_letters(None, 1).await.unwrap();
    let _ = queue.replay(&dead[0].id).await.unwrap();
    let _ = queue.remove(&dead[0].id).await.unwrap();
    assert_eq!(claimed(&queue).await.finish().await.unwrap(), Finished::Done);
    queue.push_once("x", &"b".to_owned()).await.unwrap();
    let _ = claimed(&queue).await.give_back().await.unwrap();
    queue.stats().await.unwrap();
    // What waits does so over another connection, in vain.
    let empty: Queue<String> = larder.queue("empty").open().unwrap();
    assert!(empty.claim(100 * MILLI).await.unwrap().is_none());
    assert!(empty.claim(100 * MILLI).await.unwrap().is_none());

    let list = larder.fifo("orders").open::<String>().unwrap();
    assert!(list.take(100 * MILLI).await.unwrap().is_none());
    list.push(&"a".to_owned()).await.unwrap();
    let mut item = list.take(SECOND).await.unwrap().unwrap();
    let _ = item.put_back().await.unwrap();
    let mut item = list.take(SECOND).await.unwrap().unwrap();
    let _ = item.done().await.unwrap();
    larder.fifo("orders").open::<u64>().unwrap().push(&1).await.unwrap();
    assert!(list.take(Duration::ZERO).await.unwrap().is_none(), "what is rejected");
    let other: larder::structures::Fifo<String> = larder.fifo("orders").open().unwrap();
    assert!(other.take(Duration::ZERO).await.unwrap().is_none(), "who looks for the gone");
    list.stats().await.unwrap();

    let lock = larder.lock("nightly").open().unwrap();
    let held = lock.try_acquire().await.unwrap().unwrap();
    assert!(lock.acquire(100 * MILLI).await.unwrap().is_none());
    let _ = held.release().await.unwrap();

    // Tidying is seldom: its commands are asked for by hand.
    let name = "todo:s:queue.mails:jobs:{.5.mails}";
    let url = format!("redis://larder:password@127.0.0.1:{}/0", server.port());
    let mut client = redis::Client::open(url).unwrap().get_connection().unwrap();
    let consumers = redis::cmd("XINFO").arg("CONSUMERS").arg(name).arg("larder").to_owned();
    consumers.query::<redis::Value>(&mut client).unwrap();
    let forget =
        redis::cmd("XGROUP").arg("DELCONSUMER").arg(name).arg("larder").arg("x").to_owned();
    forget.query::<redis::Value>(&mut client).unwrap();
    assert_eq!(refused(&server), [""; 0], "in ACL LOG");
}

/// What was refused, without what larder asks for and does without.
fn refused(server: &Server) -> Vec<String> {
    let mut all = server.refusals();
    all.retain(|refusal| !refusal.contains("config|get"));
    all
}
