//! What a queue promises, wherever it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use larder::structures::{
    Extended, Finished, Job, PushedOnce, Queue, QueueBuilder, Replayed, Retried,
};
use larder::{ErrorKind, MINUTE, SECOND};

use crate::scene::{Scene, on_every_side};
use crate::support::{NEVER, soon, until};

pub(crate) const MILLI: Duration = Duration::from_millis(1);

fn builder(scene: &Scene) -> QueueBuilder {
    scene.larder.queue("mails").look_every(20 * MILLI)
}

fn queue(scene: &Scene) -> Queue<String> {
    builder(scene).open().unwrap()
}

pub(crate) async fn claimed(queue: &Queue<String>) -> Job<String> {
    soon("a job", queue.claim(NEVER)).await.unwrap().expect("a job before the wait was over")
}

async fn push(queue: &Queue<String>, body: &str) {
    queue.push(&body.to_owned()).await.unwrap();
}

/// Waiting, claimed, later, dead.
pub(crate) async fn counts(queue: &Queue<String>) -> [u64; 4] {
    let stats = queue.stats().await.unwrap();
    [stats.waiting, stats.claimed, stats.later, stats.dead]
}

on_every_side! {
    jobs_come_in_order_and_are_gone_when_finished,
    a_job_is_handed_to_one_and_a_late_worker_cannot_finish_it,
    a_job_that_is_held_stays_its_workers,
    a_job_that_fails_comes_again_and_is_buried_in_the_end,
    a_poisonous_job_is_buried_though_nobody_says_a_word,
    dead_letters_are_listed_replayed_and_removed,
    a_delayed_job_comes_when_it_is_due,
    a_push_wakes_who_waits,
    under_one_name_a_job_is_pushed_once,
    a_full_queue_pushes_back_and_drops_nothing,
    what_cannot_be_read_is_a_dead_letter_and_blocks_nothing,
    what_is_given_back_comes_at_once_and_was_not_tried,
    a_worker_does_all_and_stops,
    after_close_it_is_closed,
}

async fn jobs_come_in_order_and_are_gone_when_finished(scene: &Scene) {
    let queue = queue(scene);
    assert!(queue.claim(Duration::ZERO).await.unwrap().is_none());
    let ids: Vec<_> = {
        let mut ids = Vec::new();
        for body in ["a", "b", "c"] {
            ids.push(queue.push(&body.to_owned()).await.unwrap());
        }
        ids
    };
    assert_eq!(counts(&queue).await, [3, 0, 0, 0]);
    assert!(queue.stats().await.unwrap().oldest.is_some());
    let mut jobs = vec![claimed(&queue).await];
    jobs.extend(queue.claim_many(10, Duration::ZERO).await.unwrap());
    assert_eq!(jobs.iter().map(|job| job.body().as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(jobs.iter().map(|job| job.delivery().id).collect::<Vec<_>>(), ids);
    assert!(jobs.iter().all(|job| job.delivery().attempt == 1));
    assert_eq!(counts(&queue).await, [0, 3, 0, 0]);
    for job in &jobs {
        assert_eq!(job.finish().await.unwrap(), Finished::Done);
        assert_eq!(job.finish().await.unwrap(), Finished::Lost, "it is gone already");
    }
    assert_eq!(counts(&queue).await, [0, 0, 0, 0]);
    assert!(queue.stats().await.unwrap().oldest.is_none());
}

async fn a_job_is_handed_to_one_and_a_late_worker_cannot_finish_it(scene: &Scene) {
    let visible = || builder(scene).visibility(100 * MILLI);
    let silent: Queue<String> = visible().renew_for(Duration::ZERO).open().unwrap();
    push(&silent, "a").await;
    let late = claimed(&silent).await;
    let other = scene.another().await.queue("mails");
    let other: Queue<String> = other.look_every(20 * MILLI).visibility(100 * MILLI).open().unwrap();
    let taken = claimed(&other).await;
    assert_eq!(taken.delivery().attempt, 2);
    assert_eq!(taken.delivery().id, late.delivery().id);
    assert_eq!(late.finish().await.unwrap(), Finished::Lost);
    assert_eq!(late.fail("too late").await.unwrap(), Retried::Lost);
    assert_eq!(late.extend().await.unwrap(), Extended::Lost);
    assert!(late.is_lost());
    assert_eq!(counts(&silent).await, [0, 1, 0, 0], "nothing was touched");
    // A busy machine may have kept it from renewing in time: then it is another's again, and that is no fault.
    if taken.extend().await.unwrap() == Extended::Held {
        let _ = taken.finish().await.unwrap();
    }
}

async fn a_job_that_is_held_stays_its_workers(scene: &Scene) {
    let queue: Queue<String> = builder(scene).visibility(5 * SECOND).open().unwrap();
    push(&queue, "a").await;
    let job = claimed(&queue).await;
    assert!(queue.claim(7 * SECOND).await.unwrap().is_none());
    assert!(!job.is_lost());
    assert_eq!(job.extend().await.unwrap(), Extended::Held);
    assert_eq!(job.finish().await.unwrap(), Finished::Done);
}

async fn a_job_that_fails_comes_again_and_is_buried_in_the_end(scene: &Scene) {
    let queue: Queue<String> =
        builder(scene).attempts_max(3).backoff(MILLI, 2 * MILLI).open().unwrap();
    let id = queue.push(&"a".to_owned()).await.unwrap();
    for attempt in 1..3 {
        let job = claimed(&queue).await;
        assert_eq!((job.delivery().attempt, job.delivery().id), (attempt, id.clone()));
        assert!(matches!(job.fail("no luck").await.unwrap(), Retried::In(_)));
        assert_eq!(job.finish().await.unwrap(), Finished::Lost, "it was given away");
    }
    let job = claimed(&queue).await;
    assert_eq!(job.fail("x".repeat(2000)).await.unwrap(), Retried::Dead);
    assert_eq!(counts(&queue).await, [0, 0, 0, 1]);
    let dead = queue.dead_letters(None, 10).await.unwrap();
    assert_eq!((dead[0].attempts, dead[0].error.len()), (3, 1000));
    assert_eq!(dead[0].body.as_ref().unwrap(), "a");
}

async fn a_poisonous_job_is_buried_though_nobody_says_a_word(scene: &Scene) {
    let deadly = builder(scene).visibility(100 * MILLI).attempts_max(2).renew_for(Duration::ZERO);
    let queue: Queue<String> = deadly.open().unwrap();
    push(&queue, "poison").await;
    for attempt in 1..3 {
        assert_eq!(claimed(&queue).await.delivery().attempt, attempt);
    }
    push(&queue, "bread").await;
    until("the poison is buried", || async {
        // Whatever is bread is eaten.
        if let Some(job) = queue.claim(20 * MILLI).await.unwrap() {
            assert_eq!(job.body(), "bread");
            let _ = job.finish().await.unwrap();
        }
        counts(&queue).await == [0, 0, 0, 1]
    })
    .await;
    let dead = queue.dead_letters(None, 10).await.unwrap();
    assert_eq!((dead[0].attempts, dead[0].body.as_ref().unwrap().as_str()), (2, "poison"));
    assert!(dead[0].error.contains("no worker"), "{}", dead[0].error);
}

async fn dead_letters_are_listed_replayed_and_removed(scene: &Scene) {
    let queue: Queue<String> = builder(scene).attempts_max(1).dead_max(3).open().unwrap();
    for body in ["a", "b", "c", "d"] {
        push(&queue, body).await;
        assert_eq!(claimed(&queue).await.fail("no").await.unwrap(), Retried::Dead);
    }
    let first = queue.dead_letters(None, 2).await.unwrap();
    let rest = queue.dead_letters(Some(&first[1].id), 2).await.unwrap();
    let all: Vec<_> = first.iter().chain(&rest).collect();
    let bodies: Vec<_> = all.iter().map(|one| one.body.as_ref().unwrap().as_str()).collect();
    assert_eq!(bodies, ["b", "c", "d"], "the oldest went");
    assert_eq!(queue.replay(&all[0].id).await.unwrap(), Replayed::Pushed);
    assert_eq!(queue.replay(&all[0].id).await.unwrap(), Replayed::Gone);
    assert!(queue.remove(&all[1].id).await.unwrap());
    assert!(!queue.remove(&all[1].id).await.unwrap());
    let job = claimed(&queue).await;
    assert_eq!((job.body().as_str(), job.delivery().attempt), ("b", 1));
    assert_eq!(job.finish().await.unwrap(), Finished::Done);
    assert_eq!(counts(&queue).await, [0, 0, 0, 1]);
    let half = all[2].id.split('-').next().unwrap();
    for rubbish in ["rubbish", half] {
        assert_eq!(queue.replay(rubbish).await.unwrap_err().kind(), ErrorKind::Key);
    }
}

async fn a_delayed_job_comes_when_it_is_due(scene: &Scene) {
    let queue = queue(scene);
    queue.push_in(MINUTE, &"in a minute".to_owned()).await.unwrap();
    let due = SystemTime::now() + SECOND;
    queue.push_at(due, &"soon".to_owned()).await.unwrap();
    queue.push_at(SystemTime::UNIX_EPOCH, &"long past".to_owned()).await.unwrap();
    let job = claimed(&queue).await;
    assert_eq!(job.body(), "long past");
    let job = claimed(&queue).await;
    assert_eq!(job.body(), "soon");
    // Its clock and ours are one here; the millisecond is what was rounded off.
    assert!(SystemTime::now() + MILLI >= due, "not before it was due");
    assert_eq!(counts(&queue).await, [0, 2, 1, 0]);
}

async fn a_push_wakes_who_waits(scene: &Scene) {
    // Who waits looks again after half a minute at the soonest: only a push can be quicker.
    let idle = || async {
        let queue = scene.another().await.queue("mails").look_every(MINUTE);
        queue.open::<String>().unwrap()
    };
    let waiting = idle().await;
    for body in ["a", "b"] {
        let there = waiting.clone();
        let waits = tokio::spawn(async move { there.claim(NEVER).await });
        let second = waiting.clone();
        let both = tokio::spawn(async move { second.claim(NEVER).await });
        tokio::task::yield_now().await;
        let pusher = queue(scene);
        push(&pusher, body).await;
        push(&pusher, body).await;
        for claim in [waits, both] {
            let job = tokio::time::timeout(20 * SECOND, claim).await.expect("woken by the push");
            let job = job.unwrap().unwrap().expect("a job");
            assert_eq!(job.body(), body);
            assert_eq!(job.finish().await.unwrap(), Finished::Done);
        }
    }
}

async fn under_one_name_a_job_is_pushed_once(scene: &Scene) {
    let queue: Queue<String> = builder(scene).once_for(SECOND).open().unwrap();
    let once = || async { queue.push_once("order:17", &"a".to_owned()).await.unwrap() };
    let PushedOnce::Pushed(id) = once().await else { panic!("it is the first") };
    let job = claimed(&queue).await;
    assert_eq!(job.delivery().id, id);
    assert_eq!(job.finish().await.unwrap(), Finished::Done);
    assert!(matches!(queue.push_once("18", &"b".to_owned()).await, Ok(PushedOnce::Pushed(_))));
    until("the window is over", || async { once().await != PushedOnce::Known }).await;
    assert_eq!(counts(&queue).await, [2, 0, 0, 0]);
    assert_eq!(queue.push_once("", &"a".to_owned()).await.unwrap_err().kind(), ErrorKind::Key);
    // Within the window nothing is pushed, also when the job is done: in a window that does not end here.
    let queue: Queue<String> = builder(scene).once_for(MINUTE).open().unwrap();
    let twice = queue.push_once("19", &"c".to_owned()).await.unwrap();
    assert!(matches!(twice, PushedOnce::Pushed(_)));
    for job in queue.claim_many(10, Duration::ZERO).await.unwrap() {
        assert_eq!(job.finish().await.unwrap(), Finished::Done);
    }
    assert_eq!(queue.push_once("19", &"c".to_owned()).await.unwrap(), PushedOnce::Known);
    assert_eq!(counts(&queue).await, [0, 0, 0, 0]);
}

async fn a_full_queue_pushes_back_and_drops_nothing(scene: &Scene) {
    let queue: Queue<String> = builder(scene).jobs_max(3).body_bytes_max(100).open().unwrap();
    push(&queue, "a").await;
    queue.push_in(MINUTE, &"b".to_owned()).await.unwrap();
    push(&queue, "c").await;
    let job = claimed(&queue).await; // one that is claimed takes its place all the same
    let full = queue.push(&"d".to_owned()).await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Overloaded);
    assert!(full.to_string().contains("queue.mails"), "{full}");
    let once = queue.push_once("d", &"d".to_owned()).await.unwrap_err();
    assert_eq!(once.kind(), ErrorKind::Overloaded);
    assert_eq!(counts(&queue).await, [1, 1, 1, 0]);
    assert_eq!(job.finish().await.unwrap(), Finished::Done);
    assert!(matches!(queue.push_once("d", &"d".to_owned()).await, Ok(PushedOnce::Pushed(_))));
    let large = queue.push(&"x".repeat(200)).await.unwrap_err();
    assert_eq!(large.kind(), ErrorKind::Encode);
}

async fn what_cannot_be_read_is_a_dead_letter_and_blocks_nothing(scene: &Scene) {
    let numbers: Queue<u64> = builder(scene).open().unwrap();
    numbers.push(&17).await.unwrap();
    numbers.push(&18).await.unwrap();
    let queue = queue(scene);
    push(&queue, "words").await;
    let job = claimed(&queue).await;
    assert_eq!(job.body(), "words");
    let dead = queue.dead_letters(None, 10).await.unwrap();
    assert_eq!(dead.len(), 2);
    assert_eq!(dead[0].body.as_ref().unwrap_err().kind(), ErrorKind::Encode);
    assert!(dead[0].error.contains("cannot be read"), "{}", dead[0].error);
    assert_eq!(*numbers.dead_letters(None, 10).await.unwrap()[1].body.as_ref().unwrap(), 18);
}

async fn what_is_given_back_comes_at_once_and_was_not_tried(scene: &Scene) {
    let queue: Queue<String> = builder(scene).visibility(10 * MINUTE).open().unwrap();
    push(&queue, "a").await;
    for _ in 0..3 {
        let job = claimed(&queue).await;
        assert_eq!(job.delivery().attempt, 1);
        assert_eq!(job.give_back().await.unwrap(), Extended::Held);
    }
}

async fn a_worker_does_all_and_stops(scene: &Scene) {
    const JOBS: usize = 60;
    let queue: Queue<String> = builder(scene).attempts_max(2).backoff(MILLI, MILLI).open().unwrap();
    let (done, most, now) = (Arc::new(AtomicUsize::new(0)), Arc::default(), Arc::default());
    let (counted, most_too): (_, Arc<AtomicUsize>) = (done.clone(), Arc::clone(&most));
    let now: Arc<AtomicUsize> = now;
    let work = move |body: String, delivery: larder::structures::Delivery| {
        let (done, most, now) = (counted.clone(), most_too.clone(), now.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            match (body.as_str(), delivery.attempt) {
                ("fails", 1) => Err("at first"),
                ("panics", _) => panic!("as it does"),
                _ => {
                    done.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                }
            }
        }
    };
    for number in 0..JOBS {
        push(&queue, &number.to_string()).await;
    }
    push(&queue, "fails").await;
    push(&queue, "panics").await;
    let worker = queue.run(4, work).unwrap();
    until("all is done", || async { counts(&queue).await == [0, 0, 0, 1] }).await;
    assert_eq!(done.load(Ordering::SeqCst), JOBS + 1);
    assert!(most.load(Ordering::SeqCst) <= 4, "{most:?} at once");
    let dead = queue.dead_letters(None, 10).await.unwrap();
    assert_eq!((dead[0].body.as_ref().unwrap().as_str(), dead[0].attempts), ("panics", 2));
    assert!(dead[0].error.contains("panicked"), "{}", dead[0].error);
    assert_eq!(soon("the worker stops", worker.stop(NEVER)).await, 0);
    push(&queue, "later").await;
    assert_eq!(counts(&queue).await, [1, 0, 0, 1]);
    // One that does not end in time is left, and told.
    let worker = queue.run(1, |_, _| std::future::pending::<Result<(), String>>()).unwrap();
    until("it is under way", || async { worker.under_way() == 1 }).await;
    assert_eq!(worker.stop(MILLI).await, 1);
    assert_eq!(counts(&queue).await, [0, 1, 0, 1]);
    let refused = queue.run(0, |_, _| async { Ok::<_, String>(()) }).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
}

async fn after_close_it_is_closed(scene: &Scene) {
    let larder = scene.another().await;
    let queue: Queue<String> = larder.queue("mails").look_every(20 * MILLI).open().unwrap();
    push(&queue, "a").await;
    let job = claimed(&queue).await;
    let waiting = queue.clone();
    let waits = tokio::spawn(async move { waiting.claim(NEVER).await });
    let _ = larder.close(SECOND).await;
    assert_eq!(queue.push(&"b".to_owned()).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(queue.stats().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(job.finish().await.unwrap_err().kind(), ErrorKind::Closed);
    let claim = soon("who waits is told", waits).await.unwrap();
    assert_eq!(claim.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn settings_out_of_bounds_are_refused_by_name() {
    let scene = Scene::memory().await;
    let queue = || scene.larder.queue("mails");
    let cases = [
        (queue().jobs_max(0), "jobs_max"),
        (queue().body_bytes_max(0), "body_bytes_max"),
        (queue().visibility(MILLI), "visibility"),
        (queue().renew_for(Duration::MAX), "renew_for"),
        (queue().attempts_max(0), "attempts_max"),
        (queue().backoff(Duration::ZERO, SECOND), "backoff: first"),
        (queue().backoff(2 * SECOND, SECOND), "backoff: longest"),
        (queue().once_for(Duration::ZERO), "once_for"),
        (queue().dead_max(0), "dead_max"),
        (queue().look_every(Duration::ZERO), "look_every"),
        (scene.larder.queue("a:b"), "queue"),
    ];
    for (builder, what) in cases {
        let refused = builder.open::<String>().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(refused.to_string().contains(what), "{refused}");
    }
}
