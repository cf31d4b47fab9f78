//! The server forgets our scripts at any moment (SCRIPT FLUSH, a restart): they are sent again, and no caller notices.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use larder::Tag;
use support::{Server, World, soon};

const TASKS: usize = 6;
const FLUSHES: usize = 40;

/// Under load, at moments that nobody chose. A call may meet one flush and not two: the next one comes when every task
/// has ended a call that began after the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_forgotten_under_load_are_sent_again() {
    let server = Server::start();
    let world = World::on(&server.url()).await;
    let done: Arc<Vec<AtomicUsize>> = Arc::new((0..TASKS).map(|_| AtomicUsize::new(0)).collect());
    let flushed = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (world, done, flushed) = (world.clone(), done.clone(), flushed.clone());
            tokio::spawn(async move {
                for n in 0.. {
                    if flushed.load(Ordering::SeqCst) == FLUSHES {
                        return;
                    }
                    let (key, tag) = (format!("{task}-{}", n % 7), format!("tag-{}", n % 3));
                    world.source.set(&key, &n.to_string());
                    match n % 4 {
                        0 => world.words.invalidate(&key).await.unwrap(),
                        1 => {
                            world.words.put(&key, "put".to_owned()).await.unwrap();
                        }
                        2 => {
                            let both = [world.words.entry(&key), Tag::new(&tag).into()];
                            world.larder.invalidate(both).await.unwrap();
                        }
                        _ => world.words.remove(&key).await.unwrap(),
                    }
                    if n % 2 == 0 {
                        world.read_tagged(&key, &tag).await.unwrap();
                    } else {
                        world.read(&key).await.unwrap();
                    }
                    done[task].fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let counts = || done.iter().map(|done| done.load(Ordering::SeqCst)).collect::<Vec<_>>();
    let flushing = async {
        for _ in 0..FLUSHES {
            let before = counts();
            support::until("every task has gone on", || async {
                counts().iter().zip(&before).all(|(now, before)| *now >= before + 2)
            })
            .await;
            let _: String = server.ask("SCRIPT FLUSH");
            flushed.fetch_add(1, Ordering::SeqCst);
        }
    };
    soon("the flushes", flushing).await;
    for task in tasks {
        soon("the traffic to end", task).await.unwrap();
    }
    let stats = world.words.stats();
    assert_eq!((stats.far_skipped, stats.not_stored), (0, 0), "{stats:?}");
    assert_eq!(world.larder.stats().unconfirmed, 0);
    assert!(server.calls("script|load") > 0, "they were forgotten indeed");
}
