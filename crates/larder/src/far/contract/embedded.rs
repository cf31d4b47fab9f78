//! What only the embedded side can promise: it owns its time, and its budget.

use std::time::Duration;

use super::scene::{LONG, Scene, Told, bytes};
use crate::clock::SECOND;
use crate::far::Claim;
use crate::key::Tag;

/// On a paused clock, to the millisecond.
pub(super) async fn what_is_kept_is_there_to_the_end_of_its_time_and_not_longer(scene: &Scene) {
    let (put, stored, leased) = (scene.key("put"), scene.key("stored"), scene.key("leased"));
    let tag = Tag::new("t");
    let token = scene.one.granted(&stored, LONG).await;
    assert!(scene.one.link().store(&stored, token, b"v", SECOND).await.unwrap());
    scene.one.far.put(&put, b"v", SECOND).await.unwrap();
    scene.one.granted(&leased, SECOND).await;
    scene.one.made(&tag, SECOND).await;
    let milli = Duration::from_millis(1);
    scene.clock.sleep(SECOND - milli).await;
    assert_eq!(scene.other.value(&put).await, bytes(b"v"));
    assert_eq!(scene.other.value(&stored).await, bytes(b"v"));
    assert_eq!(scene.other.claim(&leased).await, Claim::Held(milli));
    assert_eq!(scene.other.state(&tag).await.unwrap().keeps, milli);
    scene.clock.sleep(milli).await;
    assert_eq!(scene.other.value(&put).await, None);
    assert_eq!(scene.other.value(&stored).await, None);
    assert_eq!(scene.other.claim(&leased).await, Claim::Granted);
    assert_eq!(scene.other.state(&tag).await, None);
}

pub(super) async fn over_its_budget_it_forgets_the_oldest_and_says_so(_: &Scene) {
    let scene = Scene::memory_of(100_000);
    let keys: Vec<_> = (0..200).map(|number| scene.key(&format!("k{number}"))).collect();
    scene.other.put(&keys[0], &[0; 1000]).await;
    assert_eq!(scene.one.value(&keys[0]).await, bytes(&[0; 1000]));
    scene.one.told().await;
    for key in &keys[1..] {
        scene.other.put(key, &[0; 1000]).await;
    }
    let there = scene.one.link().get(&keys, &[]).await.unwrap().values;
    let kept = there.iter().filter(|found| found.is_some()).count();
    assert!((50..100).contains(&kept), "{kept} of 1 KB each in 100 KB");
    let (forgotten, kept) = there.split_at(200 - kept);
    assert!(forgotten.iter().all(|found| found.is_none()));
    assert!(kept.iter().all(|found| found.is_some()));
    let told = scene.one.told().await;
    let last = |key: &crate::key::Key| {
        let name = Told::Name(key.v().to_vec());
        told.iter().filter(|told| **told == name).count()
    };
    assert_eq!(last(&keys[0]), 1, "forgotten");
    assert_eq!(last(&keys[1]), 2, "put and forgotten");
    assert_eq!(last(&keys[199]), 1, "put");
}

pub(super) async fn what_is_larger_than_the_budget_is_not_there(_: &Scene) {
    let scene = Scene::memory_of(10_000);
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    assert!(scene.one.store(&key, token, &[0; 20_000]).await);
    assert_eq!(scene.other.value(&key).await, None);
    assert_eq!(scene.other.claim(&key).await, Claim::Granted);
}
