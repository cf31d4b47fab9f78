//! Guards of writers, and soft ends.

use crate::entry::{Ended, Token, envelope};
use crate::error::FarError;
use crate::far::Claim;
use crate::far::guards::GUARDS_MAX;
use crate::key::{Key, Tag};

use super::scene::{LONG, Process, SHORT, SOFT, Scene, envelope as entry};

async fn guard(process: &Process, key: &Key, token: Token) {
    process.far.guard(std::slice::from_ref(key), token, LONG).await.unwrap();
}

async fn end(process: &Process, ended: Ended) {
    process.far.end(&[ended], SOFT).await.unwrap();
}

async fn stored(process: &Process, key: &Key) -> Token {
    let token = process.granted(key, LONG).await;
    assert!(process.store(key, token, &entry(token, "value")).await);
    token
}

/// Marked, and otherwise what it was.
async fn is_marked(process: &Process, key: &Key, id: Token) -> bool {
    let mut expected = entry(id, "value");
    assert!(envelope::mark_soft_expired(&mut expected));
    process.value(key).await == Some(expected)
}

pub(super) async fn a_guard_takes_the_value_away_and_grants_no_lease(scene: &Scene) {
    let key = scene.key("k");
    stored(&scene.one, &key).await;
    guard(&scene.other, &key, scene.draw()).await;
    assert_eq!(scene.one.value(&key).await, None);
    for _ in 0..2 {
        assert_eq!(scene.one.claim(&key).await, Claim::Guarded);
    }
}

pub(super) async fn a_load_that_began_before_a_guard_stores_nothing(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    let own = scene.draw();
    guard(&scene.other, &key, own).await;
    assert!(!scene.one.store(&key, token, b"old").await);
    assert!(!scene.one.link().extend(&key, token, LONG).await.unwrap());
    end(&scene.other, Ended::Guarded(key.clone(), own)).await;
    assert!(!scene.one.store(&key, token, b"old").await);
    assert_eq!(scene.one.claim(&key).await, Claim::Granted);
}

pub(super) async fn only_its_own_token_ends_a_guard(scene: &Scene) {
    let key = scene.key("k");
    let (first, second) = (scene.draw(), scene.draw());
    guard(&scene.one, &key, first).await;
    guard(&scene.other, &key, second).await;
    for other in [Ended::Key(key.clone()), Ended::SoftKey(key.clone())] {
        end(&scene.one, other).await;
        assert_eq!(scene.one.claim(&key).await, Claim::Guarded);
    }
    end(&scene.one, Ended::Guarded(key.clone(), scene.draw())).await;
    assert_eq!(scene.one.claim(&key).await, Claim::Guarded);
    end(&scene.one, Ended::Guarded(key.clone(), first)).await;
    assert_eq!(scene.one.claim(&key).await, Claim::Guarded);
    end(&scene.other, Ended::Guarded(key.clone(), second)).await;
    assert_eq!(scene.one.claim(&key).await, Claim::Granted);
}

/// It tells those who finish a write that the value they would store may be old.
pub(super) async fn an_end_marks_the_guards_that_stay(scene: &Scene) {
    let (key, own) = (scene.key("k"), scene.draw());
    let mark = async || scene.one.lease(&key).await.map(|record| record[..2].to_vec());
    guard(&scene.one, &key, own).await;
    assert_eq!(mark().await.unwrap(), b"W=");
    end(&scene.other, Ended::Key(key.clone())).await;
    assert_eq!(mark().await.unwrap(), b"W!");
    guard(&scene.other, &key, scene.draw()).await;
    assert_eq!(mark().await.unwrap(), b"W!", "a guard that joins another keeps its mark");
}

pub(super) async fn a_guard_is_over_after_its_time(scene: &Scene) {
    let key = scene.key("k");
    scene.one.far.guard(std::slice::from_ref(&key), scene.draw(), SHORT).await.unwrap();
    scene.until("its end", || async { scene.one.claim(&key).await == Claim::Granted }).await;
}

/// The list lives as long as its longest guard; those that are over no longer count.
pub(super) async fn a_guard_that_is_over_is_not_kept_by_another(scene: &Scene) {
    let key = scene.key("k");
    let (short, long) = (scene.draw(), scene.draw());
    scene.one.far.guard(std::slice::from_ref(&key), short, SHORT).await.unwrap();
    guard(&scene.one, &key, long).await;
    scene.clock.sleep(2 * SHORT).await;
    end(&scene.other, Ended::Key(key.clone())).await;
    let record = scene.one.lease(&key).await.unwrap();
    assert_eq!((record.len(), &record[2..18]), (2 + 16 + 13, &long[..]));
}

pub(super) async fn a_put_under_a_guard_is_refused_and_told_to_the_writer(scene: &Scene) {
    let (key, own) = (scene.key("k"), scene.draw());
    guard(&scene.one, &key, own).await;
    assert_eq!(scene.other.far.put(&key, b"v", LONG).await, Ok(false));
    assert_eq!(scene.one.value(&key).await, None);
    assert_eq!(scene.one.lease(&key).await.unwrap()[..2], *b"W!");
    end(&scene.one, Ended::Guarded(key.clone(), own)).await;
    assert_eq!(scene.other.far.put(&key, b"v", LONG).await, Ok(true));
}

/// Who loads beside a guard is told when it ends, and so is who waits.
pub(super) async fn a_guard_and_its_end_are_told(scene: &Scene) {
    let (key, own) = (scene.key("k"), scene.draw());
    let token = scene.one.granted(&key, LONG).await;
    guard(&scene.other, &key, own).await;
    assert!(scene.one.is_told(&[&key.l()]).await);
    assert_eq!(scene.one.claim(&key).await, Claim::Guarded);
    scene.one.told().await;
    end(&scene.other, Ended::Guarded(key.clone(), own)).await;
    assert!(scene.one.is_told(&[&key.l()]).await);
    assert!(!scene.one.link().release(&key, token, LONG).await.unwrap());
}

pub(super) async fn a_soft_end_marks_the_value_and_ends_its_load(scene: &Scene) {
    let key = scene.key("k");
    let id = stored(&scene.one, &key).await;
    let token = scene.draw();
    let read = scene.one.link().read(&key, token, LONG, Some(id), &[]).await.unwrap();
    assert_eq!(read.claim, Claim::Granted);
    end(&scene.other, Ended::SoftKey(key.clone())).await;
    assert!(is_marked(&scene.one, &key, id).await);
    assert!(!scene.one.store(&key, token, b"old").await);
    end(&scene.other, Ended::SoftKey(key.clone())).await;
    assert!(is_marked(&scene.one, &key, id).await, "marked twice is marked");
}

pub(super) async fn a_soft_end_makes_nothing_and_removes_what_cannot_be_marked(scene: &Scene) {
    let (none, short) = (scene.key("none"), scene.key("short"));
    let tag = Tag::new("t");
    scene.one.put(&short, b"ab").await;
    let ended = [none.clone(), short.clone()].map(Ended::SoftKey);
    scene.one.far.end(&ended, SOFT).await.unwrap();
    end(&scene.one, Ended::SoftTag(tag.clone())).await;
    for key in [&none, &short] {
        assert_eq!(scene.one.value(key).await, None);
    }
    assert_eq!(scene.one.bytes(&scene.t(&tag)).await, None);
}

pub(super) async fn a_soft_end_is_told(scene: &Scene) {
    let (key, tag) = (scene.key("k"), Tag::new("t"));
    stored(&scene.one, &key).await;
    scene.one.made(&tag, LONG).await;
    scene.one.value(&key).await;
    end(&scene.other, Ended::SoftKey(key.clone())).await;
    end(&scene.other, Ended::SoftTag(tag.clone())).await;
    assert!(scene.one.is_told(&[key.v(), &scene.t(&tag)]).await);
}

pub(super) async fn a_soft_end_draws_the_second_half_of_a_tag_anew(scene: &Scene) {
    let tag = Tag::new("t");
    let before = scene.one.made(&tag, LONG).await;
    end(&scene.other, Ended::SoftTag(tag.clone())).await;
    let after = scene.one.generation(&tag).await.unwrap();
    let (before, after) = (before.nonce, after.nonce);
    assert_eq!((&after[..8], &after[8..]), (&before[..8], &SOFT[..]));
    // What is no generation goes.
    scene.one.put(&Key::new(&scene.t(&tag)), b"short").await;
    end(&scene.other, Ended::SoftTag(tag.clone())).await;
    assert_eq!(scene.one.bytes(&scene.t(&tag)).await, None);
}

pub(super) async fn what_ends_softly_keeps_its_time(scene: &Scene) {
    let (key, tag) = (scene.key("k"), Tag::new("t"));
    let token = scene.one.granted(&key, LONG).await;
    let bytes = entry(token, "value");
    assert!(scene.one.link().store(&key, token, &bytes, SHORT).await.unwrap());
    scene.one.made(&tag, SHORT).await;
    end(&scene.one, Ended::SoftKey(key.clone())).await;
    end(&scene.one, Ended::SoftTag(tag.clone())).await;
    let is_gone = || async {
        scene.one.value(&key).await.is_none() && scene.one.generation(&tag).await.is_none()
    };
    scene.until("their end", is_gone).await;
}

pub(super) async fn so_many_writers_may_guard_a_key_and_no_more(scene: &Scene) {
    let keys = [scene.key("k")];
    let first = scene.draw();
    scene.one.far.guard(&keys, first, LONG).await.unwrap();
    for _ in 1..GUARDS_MAX {
        scene.one.far.guard(&keys, scene.draw(), LONG).await.unwrap();
    }
    let one_more = scene.other.far.guard(&keys, scene.draw(), LONG).await;
    assert!(matches!(one_more, Err(FarError::Refused(_))), "{one_more:?}");
    end(&scene.one, Ended::Guarded(keys[0].clone(), first)).await;
    scene.other.far.guard(&keys, scene.draw(), LONG).await.unwrap();
}
