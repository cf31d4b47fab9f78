//! What the holder of a lease may do, and what becomes of it once the lease is lost.

use std::time::Duration;

use super::scene::{LONG, SHORT, SOFT, Scene, bytes, envelope, is_held};
use crate::clock::MINUTE;
use crate::entry::{Ended, Token};
use crate::far::{Claim, Restamped};
use crate::key::Key;

pub(super) async fn store_keeps_the_value_and_gives_the_lease_up(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    assert!(scene.one.store(&key, token, b"v").await);
    assert_eq!(scene.other.value(&key).await, bytes(b"v"));
    assert_eq!(scene.other.lease(&key).await, None);
}

pub(super) async fn store_happens_once(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    assert!(scene.one.store(&key, token, b"v").await);
    assert!(!scene.one.store(&key, token, b"w").await);
    assert_eq!(scene.other.value(&key).await, bytes(b"v"));
}

pub(super) async fn a_value_stored_is_gone_after_its_time(scene: &Scene) {
    let (short, long) = (scene.key("short"), scene.key("long"));
    for (key, keep) in [(&short, SHORT), (&long, LONG)] {
        let token = scene.one.granted(key, LONG).await;
        assert!(scene.one.link().store(key, token, b"v", keep).await.unwrap());
    }
    let gone = || async { scene.other.value(&short).await.is_none() };
    scene.until("the end of a value", gone).await;
    assert_eq!(scene.other.value(&long).await, bytes(b"v"));
}

/// Tries all that the holder of a lease may do; nothing of it may show.
async fn has_lost(scene: &Scene, key: &Key, token: Token) {
    let before = (scene.one.value(key).await, scene.one.lease(key).await);
    let link = scene.one.link();
    assert!(!scene.one.store(key, token, b"late").await);
    assert_eq!(link.restamp(key, token, [0; 16], b"late", LONG).await, Ok(Restamped::Lost));
    assert!(!link.extend(key, token, LONG).await.unwrap());
    link.fail(key, token, "late", LONG).await.unwrap();
    link.release(key, token, LONG).await.unwrap();
    assert_eq!((scene.one.value(key).await, scene.one.lease(key).await), before);
}

pub(super) async fn store_is_refused_after_an_end(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    scene.other.end_key(&key).await;
    has_lost(scene, &key, token).await;
    assert_eq!(scene.one.value(&key).await, None);
}

pub(super) async fn store_is_refused_after_a_put(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    scene.other.put(&key, b"put").await;
    has_lost(scene, &key, token).await;
    assert_eq!(scene.one.value(&key).await, bytes(b"put"));
}

pub(super) async fn store_is_refused_when_the_lease_ran_out(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, SHORT).await;
    let over = || async { scene.other.lease(&key).await.is_none() };
    scene.until("the end of a lease", over).await;
    has_lost(scene, &key, token).await;
    assert_eq!(scene.one.value(&key).await, None);
}

pub(super) async fn store_is_refused_when_another_was_granted(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    scene.one.end_key(&key).await;
    let next = scene.other.granted(&key, LONG).await;
    has_lost(scene, &key, token).await;
    assert!(scene.other.store(&key, next, b"next").await);
    has_lost(scene, &key, token).await;
    assert_eq!(scene.one.value(&key).await, bytes(b"next"));
}

pub(super) async fn store_is_refused_under_another_token(scene: &Scene) {
    let (key, beside) = (scene.key("k"), scene.key("beside"));
    let token = scene.one.granted(&key, LONG).await;
    let another = scene.one.granted(&beside, LONG).await;
    has_lost(scene, &key, another).await;
    has_lost(scene, &key, [0; 16]).await;
    assert!(scene.one.store(&key, token, b"v").await);
}

pub(super) async fn store_is_refused_after_release_and_after_failure(scene: &Scene) {
    let (released, failed) = (scene.key("released"), scene.key("failed"));
    let token = scene.one.granted(&released, LONG).await;
    scene.one.link().release(&released, token, LONG).await.unwrap();
    has_lost(scene, &released, token).await;
    let token = scene.one.granted(&failed, LONG).await;
    scene.one.link().fail(&failed, token, "code", LONG).await.unwrap();
    has_lost(scene, &failed, token).await;
}

pub(super) async fn fail_of_a_lost_lease_changes_nothing(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    scene.other.end_key(&key).await;
    scene.one.link().fail(&key, token, "late", LONG).await.unwrap();
    scene.other.granted(&key, LONG).await;
    scene.one.link().fail(&key, token, "late", LONG).await.unwrap();
    assert!(is_held(&scene.one.claim(&key).await));
}

pub(super) async fn release_gives_back_only_its_own(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    for another in [scene.draw(), [0; 16], [b'T'; 16]] {
        scene.one.link().release(&key, another, LONG).await.unwrap();
        assert!(is_held(&scene.other.claim(&key).await));
    }
    // The token is the owner's word, whoever sends it: a lease may be given back over any link.
    scene.other.link().release(&key, token, LONG).await.unwrap();
    assert_eq!(scene.one.lease(&key).await, None);
    scene.one.link().release(&key, token, LONG).await.unwrap();
}

pub(super) async fn extend_renews(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, MINUTE).await;
    assert!(scene.one.link().extend(&key, token, LONG).await.unwrap());
    let Claim::Held(left) = scene.other.claim(&key).await else { panic!("not held") };
    assert!(left <= LONG && left > LONG - MINUTE, "{left:?} left of {LONG:?}");
    assert!(scene.one.store(&key, token, b"v").await);
}

pub(super) async fn extend_sets_the_time_anew(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    assert!(scene.one.link().extend(&key, token, SHORT).await.unwrap());
    let granted = || async { scene.other.claim(&key).await == Claim::Granted };
    scene.until("the end of a lease", granted).await;
}

pub(super) async fn extend_of_a_lost_lease_is_refused_and_revives_nothing(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    assert!(!scene.one.link().extend(&key, scene.draw(), LONG).await.unwrap());
    scene.other.end_key(&key).await;
    assert!(!scene.one.link().extend(&key, token, LONG).await.unwrap());
    assert_eq!(scene.one.lease(&key).await, None);
    assert_eq!(scene.other.claim(&key).await, Claim::Granted);
}

pub(super) async fn word_of_a_failure_is_no_lease(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    scene.one.link().fail(&key, token, "code", LONG).await.unwrap();
    has_lost(scene, &key, token).await;
    assert_eq!(scene.other.claim(&key).await, Claim::Failed(token, b"code".to_vec()));
    scene.other.end_key(&key).await;
    assert_eq!(scene.other.claim(&key).await, Claim::Granted, "an end ends the waiting, too");
}

/// A value under an id, and the lease over it: the id, and the lease's token.
async fn seen(scene: &Scene, key: &Key, keep: Duration) -> (Token, Token) {
    let id = scene.one.granted(key, LONG).await;
    let stored = scene.one.link().store(key, id, &envelope(id, "value"), keep).await;
    assert_eq!(stored, Ok(true));
    let token = scene.draw();
    let read = scene.one.link().read(key, token, LONG, Some(id), &[]).await.unwrap();
    assert_eq!(read.claim, Claim::Granted);
    (id, token)
}

pub(super) async fn restamp_puts_a_header_before_the_value_and_gives_the_lease_up(scene: &Scene) {
    let key = scene.key("k");
    let (id, token) = seen(scene, &key, LONG).await;
    let link = scene.one.link();
    let head = envelope(token, "");
    assert_eq!(link.restamp(&key, token, id, &head, LONG).await, Ok(Restamped::Done));
    assert_eq!(scene.other.value(&key).await, Some(envelope(token, "value")));
    assert_eq!(scene.other.lease(&key).await, None);
    assert_eq!(link.restamp(&key, token, token, &head, LONG).await, Ok(Restamped::Lost), "once");
    has_lost(scene, &key, token).await;
    // What was seen before is not what is there now.
    assert!(matches!(scene.other.claim_over(&key, Some(id)).await, Claim::Value(_)));
}

pub(super) async fn restamp_sets_the_time_anew(scene: &Scene) {
    let (longer, shorter) = (scene.key("longer"), scene.key("shorter"));
    let brief = SHORT * 4;
    let (id, token) = seen(scene, &longer, brief).await;
    let link = scene.one.link();
    let done = link.restamp(&longer, token, id, &envelope(token, ""), LONG).await;
    if done == Ok(Restamped::Gone) {
        return; // so slow a machine proves nothing
    }
    assert_eq!(done, Ok(Restamped::Done));
    let (id, token) = seen(scene, &shorter, LONG).await;
    let done = link.restamp(&shorter, token, id, &envelope(token, ""), brief).await;
    assert_eq!(done, Ok(Restamped::Done));
    let gone = || async { scene.other.value(&shorter).await.is_none() };
    scene.until("the end of a value", gone).await;
    assert!(scene.other.value(&longer).await.is_some());
}

pub(super) async fn restamp_of_another_value_or_none_changes_nothing_and_the_lease_stands(
    scene: &Scene,
) {
    let (another, none, short) = (scene.key("another"), scene.key("none"), scene.key("short"));
    let link = scene.one.link();
    let (id, token) = seen(scene, &another, LONG).await;
    for wrong in [scene.draw(), [0; 16], token] {
        let head = envelope(token, "");
        let answer = link.restamp(&another, token, wrong, &head, LONG).await;
        assert_eq!(answer, Ok(Restamped::Gone));
    }
    assert_eq!(scene.other.value(&another).await, Some(envelope(id, "value")));
    let token = scene.one.granted(&none, LONG).await;
    let answer = link.restamp(&none, token, id, &envelope(token, ""), LONG).await;
    assert_eq!((answer, scene.other.value(&none).await), (Ok(Restamped::Gone), None));
    assert!(scene.one.store(&none, token, b"v").await, "the lease stands");
    let token = scene.one.granted(&short, LONG).await;
    scene.other.far.discard(std::slice::from_ref(&short)).await.unwrap();
    let answer = link.restamp(&short, token, [0; 16], b"head", LONG).await;
    assert_eq!((answer, scene.other.value(&short).await), (Ok(Restamped::Gone), None));
}

pub(super) async fn restamp_is_refused_after_a_soft_end(scene: &Scene) {
    let key = scene.key("k");
    let (id, token) = seen(scene, &key, LONG).await;
    scene.other.far.end(&[Ended::SoftKey(key.clone())], SOFT).await.unwrap();
    let before = scene.other.value(&key).await;
    let answer = scene.one.link().restamp(&key, token, id, &envelope(token, ""), LONG).await;
    assert_eq!((answer, scene.other.value(&key).await), (Ok(Restamped::Lost), before));
}
