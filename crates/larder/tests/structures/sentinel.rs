//! By way of sentinels: a planned failover keeps what there is, and it goes on at the new master.

use std::time::Duration;

use larder::structures::{Fifo, Finished, HashObject, Queue, Written};
use larder::{Larder, SECOND};

use crate::support::{Fleet, NEVER, PATIENT, soon, until};

#[derive(Debug, PartialEq, HashObject)]
struct Profile {
    name: String,
    visits: i64,
    tags: Vec<String>,
}

#[tokio::test]
async fn they_go_on_at_the_new_master() {
    let fleet = Fleet::start().await;
    let builder = Larder::builder("app").redis(fleet.url()).bound(SECOND / 2).require_far();
    let builder = builder.far_deadline(PATIENT).connect_deadline(PATIENT);
    let larder = builder.invalidate_deadline(PATIENT).open().await.unwrap();
    let feed = larder.feed("activity").open::<String>().unwrap().of(&1);
    let object = larder.object("profile").open::<Profile>().unwrap().of(&1);
    let set = larder.set("online").open::<u64>().unwrap().of(&1);
    let ann = || Profile { name: "Ann".into(), visits: 1, tags: vec!["a".into()] };

    let first = feed.push_once("one", &"one".into()).await.unwrap().id();
    object.set_all(&ann()).await.unwrap();
    let _ = set.add_many([1, 2]).await.unwrap();
    let before = fleet.named_by(0);
    // What was acknowledged and not replicated would be lost with the master: here it is.
    let replicated: i64 = fleet.node(before).ask("WAIT 1 10000");
    assert!(replicated >= 1);
    fleet.fail_over();
    until("another is master", || async { fleet.named_by(0) != before }).await;

    until("the new one answers", || async { feed.push_once("two", &"two".into()).await.is_ok() })
        .await;
    let page = feed.newest(9).await.unwrap();
    let texts: Vec<&str> = page.items.iter().map(|item| item.value.as_str()).collect();
    assert_eq!(texts, ["two", "one"]);
    assert!(page.items[0].id > first, "ids grow on");
    assert_eq!(object.increment("visits", 1).await.unwrap(), 2);
    assert_eq!(object.create(&ann()).await.unwrap(), Written::AlreadyThere);
    assert_eq!(object.get_all().await.unwrap().unwrap().visits, 2);
    assert_eq!(set.contains_many([1, 2, 3]).await.unwrap(), [true, true, false]);
    let _ = larder.close(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn jobs_and_locks_go_on_at_the_new_master() {
    let fleet = Fleet::start().await;
    let builder = Larder::builder("app").redis(fleet.url()).bound(SECOND / 2).require_far();
    let builder = builder.far_deadline(PATIENT).connect_deadline(PATIENT);
    let larder = builder.invalidate_deadline(PATIENT).open().await.unwrap();
    let queue: Queue<String> = larder.queue("mails").open().unwrap();
    let list: Fifo<String> = larder.fifo("orders").open().unwrap();
    let lock = larder.lock("nightly").time(20 * SECOND).open().unwrap();
    let waiting = queue.clone();
    let waits = tokio::spawn(async move { waiting.claim(NEVER).await });
    queue.push(&"first".to_owned()).await.unwrap();
    let job = soon("a job, over a connection of its own", waits).await.unwrap().unwrap().unwrap();
    queue.push(&"second".to_owned()).await.unwrap();
    list.push(&"item".to_owned()).await.unwrap();
    let held = lock.try_acquire().await.unwrap().unwrap();
    let before = fleet.named_by(0);
    let replicated: i64 = fleet.node(before).ask("WAIT 1 10000");
    assert!(replicated >= 1);
    fleet.fail_over();
    until("another is master", || async { fleet.named_by(0) != before }).await;

    until("the new one answers", || async { queue.stats().await.is_ok() }).await;
    assert_eq!(job.finish().await.unwrap(), Finished::Done);
    let next = soon("the next job", queue.claim(NEVER)).await.unwrap().unwrap();
    assert_eq!(next.body(), "second");
    let item = soon("the item", list.take(NEVER)).await.unwrap().unwrap();
    assert_eq!(item.body(), "item");
    // What is held is held there too, unless this machine was too busy to renew it in time.
    if held.is_held() {
        assert!(lock.try_acquire().await.unwrap().is_none());
    }
    let fence = held.fence();
    let _ = held.release().await.unwrap();
    let after = soon("the lock", lock.acquire(NEVER)).await.unwrap().unwrap();
    assert!(after.fence() > fence);
    let waits = tokio::spawn(async move { queue.claim(NEVER).await });
    let other: Queue<String> = larder.queue("mails").open().unwrap();
    other.push(&"third".to_owned()).await.unwrap();
    assert_eq!(soon("a job", waits).await.unwrap().unwrap().unwrap().body(), "third");
    let _ = larder.close(Duration::from_secs(1)).await;
}
