//! What a writer keeps after its commit, and when it may not.

use crate::entry::{Ended, Token};
use crate::far::{Claim, Finish};
use crate::key::Key;

use super::scene::{LONG, Process, SHORT, SOFT, Scene, bytes};

async fn guarded(process: &Process, scene: &Scene, key: &Key) -> Token {
    let token = scene.draw();
    process.far.guard(std::slice::from_ref(key), token, LONG).await.unwrap();
    token
}

async fn finish(process: &Process, key: &Key, token: Token, envelope: &[u8]) -> bool {
    finish_beside(process, key, &[], token, envelope).await
}

async fn finish_beside(
    process: &Process,
    key: &Key,
    beside: &[Key],
    token: Token,
    envelope: &[u8],
) -> bool {
    process.far.finish(Finish { key, beside, token, envelope, keep: LONG }).await.unwrap()
}

/// Neither value nor lease: the next one to ask may load.
async fn is_bare(process: &Process, key: &Key) -> bool {
    process.value(key).await.is_none() && process.lease(key).await.is_none()
}

pub(super) async fn finish_keeps_the_value_and_ends_the_guard(scene: &Scene) {
    let key = scene.key("k");
    let token = guarded(&scene.one, scene, &key).await;
    assert!(finish(&scene.one, &key, token, b"new").await);
    assert_eq!(scene.other.value(&key).await, bytes(b"new"));
    assert_eq!(scene.other.lease(&key).await, None);
}

/// Whose commit came last nobody can tell: neither value is kept, and the last of them leaves the key bare.
pub(super) async fn of_writers_that_overlap_none_keeps_its_value(scene: &Scene) {
    let key = scene.key("k");
    let first = guarded(&scene.one, scene, &key).await;
    let second = guarded(&scene.other, scene, &key).await;
    assert!(!finish(&scene.one, &key, first, b"first").await);
    assert_eq!(scene.one.value(&key).await, None);
    assert_eq!(scene.one.claim(&key).await, Claim::Guarded);
    assert_eq!(scene.one.lease(&key).await.unwrap()[..2], *b"W!", "the other is told");
    assert!(!finish(&scene.other, &key, second, b"second").await);
    assert!(is_bare(&scene.one, &key).await);
}

pub(super) async fn finish_is_refused_after_an_end_and_after_a_put(scene: &Scene) {
    let key = scene.key("k");
    for ended in [Ended::Key(key.clone()), Ended::SoftKey(key.clone())] {
        let token = guarded(&scene.one, scene, &key).await;
        scene.other.far.end(&[ended], SOFT).await.unwrap();
        assert!(!finish(&scene.one, &key, token, b"new").await);
        assert!(is_bare(&scene.one, &key).await);
    }
    let token = guarded(&scene.one, scene, &key).await;
    assert_eq!(scene.other.far.put(&key, b"put", LONG).await, Ok(false));
    assert!(!finish(&scene.one, &key, token, b"new").await);
    assert!(is_bare(&scene.one, &key).await);
}

/// What was loaded since may be older than the commit: it goes, and whoever is loading stores nothing.
pub(super) async fn finish_of_a_guard_that_ran_out_takes_away_what_was_loaded_since(scene: &Scene) {
    let (stored, leased) = (scene.key("stored"), scene.key("leased"));
    let keys = [stored.clone(), leased.clone()];
    let own = scene.draw();
    scene.one.far.guard(&keys, own, SHORT).await.unwrap();
    for key in &keys {
        scene.until("its end", || async { scene.one.lease(key).await.is_none() }).await;
    }
    let token = scene.other.granted(&stored, LONG).await;
    assert!(scene.other.store(&stored, token, b"old").await);
    let token = scene.other.granted(&leased, LONG).await;
    for key in &keys {
        assert!(!finish(&scene.one, key, own, b"new").await);
        assert!(is_bare(&scene.one, key).await);
    }
    assert!(!scene.other.store(&leased, token, b"old").await);
}

/// Its writer may have died behind its commit, and that after ours.
pub(super) async fn a_guard_of_another_that_ran_out_stands_in_the_way_of_a_finish(scene: &Scene) {
    let key = scene.key("k");
    scene.other.far.guard(std::slice::from_ref(&key), scene.draw(), SHORT).await.unwrap();
    let own = guarded(&scene.one, scene, &key).await;
    scene.clock.sleep(2 * SHORT).await;
    assert!(!finish(&scene.one, &key, own, b"new").await);
    assert!(is_bare(&scene.one, &key).await);
}

pub(super) async fn finish_under_a_token_that_guards_nothing_leaves_the_guards_of_others(
    scene: &Scene,
) {
    let key = scene.key("k");
    let own = guarded(&scene.one, scene, &key).await;
    assert!(!finish(&scene.other, &key, scene.draw(), b"new").await);
    assert_eq!(scene.one.claim(&key).await, Claim::Guarded);
    assert!(!finish(&scene.one, &key, own, b"new").await, "something came between");
    assert!(is_bare(&scene.one, &key).await);
}

/// Late on its wire: it keeps nothing, and takes away what may be older than what it never knew.
pub(super) async fn a_finish_that_comes_twice_or_after_its_end_keeps_nothing(scene: &Scene) {
    let key = scene.key("k");
    let token = guarded(&scene.one, scene, &key).await;
    scene.one.far.end(&[Ended::Guarded(key.clone(), token)], SOFT).await.unwrap();
    assert!(!finish(&scene.one, &key, token, b"new").await);
    assert!(is_bare(&scene.one, &key).await);
    let token = guarded(&scene.one, scene, &key).await;
    assert!(finish(&scene.one, &key, token, b"new").await);
    assert!(!finish(&scene.one, &key, token, b"new").await);
    assert!(is_bare(&scene.one, &key).await);
}

pub(super) async fn finish_ends_the_guards_beside_it_and_keeps_nothing_there(scene: &Scene) {
    let (key, beside) = (scene.key("k"), scene.key("beside"));
    let token = scene.draw();
    scene.one.far.guard(&[key.clone(), beside.clone()], token, LONG).await.unwrap();
    let all = std::slice::from_ref(&beside);
    assert!(finish_beside(&scene.one, &key, all, token, b"new").await);
    assert_eq!(scene.one.value(&key).await, bytes(b"new"));
    assert!(is_bare(&scene.one, &beside).await);
}

/// Who loaded beside the guard, and the writer's own near.
pub(super) async fn a_finish_is_told(scene: &Scene) {
    let key = scene.key("k");
    for stored in [true, false] {
        let token = guarded(&scene.one, scene, &key).await;
        for process in [&scene.one, &scene.other] {
            assert_eq!(process.claim(&key).await, Claim::Guarded);
            process.told().await;
        }
        if !stored {
            scene.other.end_key(&key).await;
            for process in [&scene.one, &scene.other] {
                assert!(process.is_told(&[&key.l()]).await);
                assert_eq!(process.claim(&key).await, Claim::Guarded);
            }
        }
        assert_eq!(finish(&scene.one, &key, token, b"new").await, stored);
        for process in [&scene.one, &scene.other] {
            assert!(process.is_told(&[&key.l()]).await);
        }
    }
}
