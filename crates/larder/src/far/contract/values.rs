//! What is read, ended and put by key.

use std::time::Duration;

use super::scene::{LONG, SHORT, SOFT, Scene, answered, bytes, envelope, generations, is_held};
use crate::clock::MINUTE;
use crate::entry::Ended;
use crate::error::FarError;
use crate::far::Claim;
use crate::key::Tag;

pub(super) async fn values_come_before_generations_and_each_in_the_order_asked(scene: &Scene) {
    let keys = ["a", "b", "c"].map(|key| scene.key(key));
    let tags = ["x", "y", "z"].map(Tag::new);
    scene.other.put(&keys[2], b"C").await;
    scene.other.put(&keys[0], b"A").await;
    let y = scene.other.made(&tags[1], LONG).await;
    let got = scene.one.link().get(&keys, &tags).await.unwrap();
    assert_eq!(got.values[..], [answered(b"A"), None, answered(b"C")]);
    assert_eq!(got.generations[..], [None, Some(y), None]);
    assert_eq!(scene.one.link().generations(&tags).await.unwrap()[..], [None, Some(y), None]);
    let states = scene.one.link().tag_states(&tags).await.unwrap();
    assert_eq!(generations(&states), [None, Some(y), None]);
}

pub(super) async fn what_is_asked_for_twice_is_answered_twice(scene: &Scene) {
    let (key, tag) = (scene.key("k"), Tag::new("t"));
    scene.other.put(&key, b"v").await;
    let nonce = scene.other.made(&tag, LONG).await;
    let (keys, tags) = ([key.clone(), key], [tag.clone(), tag]);
    let got = scene.one.link().get(&keys, &tags).await.unwrap();
    assert_eq!(got.values[..], [answered(b"v"), answered(b"v")]);
    assert_eq!(got.generations[..], [Some(nonce), Some(nonce)]);
}

pub(super) async fn asking_for_nothing_is_answered_with_nothing(scene: &Scene) {
    let link = scene.one.link();
    let got = link.get(&[], &[]).await.unwrap();
    assert!(got.values.is_empty() && got.generations.is_empty());
    assert!(link.generations(&[]).await.unwrap().is_empty());
    assert_eq!(link.tag_states(&[]).await, Ok(vec![]));
    assert_eq!(link.create(&[], LONG).await, Ok(vec![]));
    assert_eq!(link.prolong(&[], LONG).await, Ok(vec![]));
    assert_eq!(scene.one.far.end(&[], SOFT).await, Ok(()));
}

pub(super) async fn any_bytes_come_back_as_they_were(scene: &Scene) {
    let all: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for (number, value) in [&b""[..], b"OK", b"$-1\r\n", b"\0", b"1", &all].iter().enumerate() {
        let key = scene.key(&format!("}}{number}{{\r\n"));
        let token = scene.one.granted(&key, LONG).await;
        assert!(scene.one.store(&key, token, value).await);
        assert_eq!(scene.other.value(&key).await, bytes(value));
        assert_eq!(scene.other.claim(&key).await, Claim::Value(value.to_vec().into()));
    }
}

pub(super) async fn discard_removes_the_value_and_leaves_the_lease(scene: &Scene) {
    let (key, id) = (scene.key("k"), scene.draw());
    scene.other.put(&key, &envelope(id, "old")).await;
    assert_eq!(scene.other.claim_over(&key, Some(id)).await, Claim::Granted);
    scene.one.far.discard(std::slice::from_ref(&key)).await.unwrap();
    assert_eq!(scene.one.value(&key).await, None);
    assert!(is_held(&scene.one.claim(&key).await));
    scene.one.far.discard(std::slice::from_ref(&key)).await.unwrap();
}

pub(super) async fn end_removes_values_leases_and_tags_in_one_call(scene: &Scene) {
    let (valued, leased, tag) = (scene.key("valued"), scene.key("leased"), Tag::new("t"));
    scene.one.put(&valued, b"v").await;
    let token = scene.one.granted(&leased, LONG).await;
    scene.one.made(&tag, LONG).await;
    let ended = [Ended::Key(valued.clone()), Ended::Tag(tag.clone()), Ended::Key(leased.clone())];
    scene.other.far.end(&ended, SOFT).await.unwrap();
    assert_eq!(scene.one.value(&valued).await, None);
    assert_eq!(scene.one.lease(&leased).await, None);
    assert_eq!(scene.one.generation(&tag).await, None);
    assert!(!scene.one.store(&leased, token, b"late").await);
    assert_eq!(scene.other.claim(&leased).await, Claim::Granted);
}

pub(super) async fn end_of_what_is_not_there_is_as_good(scene: &Scene) {
    let (key, tag) = (scene.key("k"), Tag::new("t"));
    scene.one.put(&key, b"v").await;
    let ended = [Ended::Key(key.clone()), Ended::Tag(tag)];
    for _ in 0..2 {
        scene.one.far.end(&ended, SOFT).await.unwrap();
        assert_eq!(scene.other.value(&key).await, None);
    }
}

pub(super) async fn end_leaves_everything_else_alone(scene: &Scene) {
    let (ended, valued, leased) = (scene.key("k"), scene.key("kk"), scene.key(""));
    let (gone, stays) = (Tag::new("t"), Tag::new("tt"));
    scene.one.put(&valued, b"v").await;
    let token = scene.one.granted(&leased, LONG).await;
    let nonce = scene.one.made(&stays, LONG).await;
    scene.other.far.end(&[Ended::Key(ended), Ended::Tag(gone)], SOFT).await.unwrap();
    assert_eq!(scene.one.value(&valued).await, bytes(b"v"));
    assert_eq!(scene.one.generation(&stays).await, Some(nonce));
    assert!(scene.one.store(&leased, token, b"v").await);
}

pub(super) async fn put_replaces_and_ends_the_lease(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    scene.other.put(&key, b"first").await;
    assert_eq!(scene.one.value(&key).await, bytes(b"first"));
    assert_eq!(scene.one.lease(&key).await, None);
    scene.other.put(&key, b"second").await;
    assert_eq!(scene.one.value(&key).await, bytes(b"second"));
    assert!(!scene.one.link().extend(&key, token, LONG).await.unwrap());
}

pub(super) async fn a_value_put_is_gone_after_its_time(scene: &Scene) {
    let (short, long) = (scene.key("short"), scene.key("long"));
    scene.one.far.put(&short, b"v", SHORT).await.unwrap();
    scene.one.far.put(&long, b"v", LONG).await.unwrap();
    let gone = || async { scene.other.value(&short).await.is_none() };
    scene.until("the end of a value", gone).await;
    assert_eq!(scene.other.value(&long).await, bytes(b"v"));
}

pub(super) async fn a_time_of_nothing_is_short_and_no_error(scene: &Scene) {
    for time in [Duration::ZERO, Duration::from_micros(1)] {
        let (put, stored, failed) = (scene.key("put"), scene.key("stored"), scene.key("failed"));
        let tag = Tag::new("t");
        scene.one.far.put(&put, b"v", time).await.unwrap();
        let token = scene.one.granted(&stored, LONG).await;
        assert!(scene.one.link().store(&stored, token, b"v", time).await.unwrap());
        let token = scene.one.granted(&failed, LONG).await;
        scene.one.link().fail(&failed, token, "code", time).await.unwrap();
        scene.one.link().create(&[(tag.clone(), scene.draw())], time).await.unwrap();
        let gone = || async {
            scene.other.value(&put).await.is_none()
                && scene.other.value(&stored).await.is_none()
                && scene.other.lease(&failed).await.is_none()
                && scene.other.generation(&tag).await.is_none()
        };
        scene.until("the end of what was hardly kept", gone).await;
    }
}

pub(super) async fn the_two_agree_on_the_servers_clock(scene: &Scene) {
    let now = scene.clock.now();
    let key = scene.key("k");
    let [one, other] =
        [&scene.one, &scene.other].map(|process| process.link().server_ms_at(now, &key));
    assert!(u128::from(one.abs_diff(other)) < MINUTE.as_millis(), "{one} and {other}");
}

pub(super) async fn an_open_side_is_back_and_its_answers_may_be_believed(scene: &Scene) {
    scene.one.far.is_back().await;
    let link = scene.one.link();
    assert!(link.pulse(&scene.key("k"), &[]).is_alive());
    assert!(link.pulse(&scene.key("k"), &[]).covers(scene.clock.now()));
}

/// What a load still holds may be given back over its old link; it proves nothing any more.
pub(super) async fn a_closed_side_says_so_and_the_other_goes_on(scene: &Scene) {
    let key = scene.key("k");
    scene.one.put(&key, b"v").await;
    let link = scene.one.link();
    for _ in 0..2 {
        scene.one.far.close();
        assert_eq!(scene.one.far.link().err(), Some(FarError::Closed));
        assert_eq!(
            scene.one.far.end(&[Ended::Key(key.clone())], SOFT).await,
            Err(FarError::Closed)
        );
        assert_eq!(scene.one.far.put(&key, b"w", LONG).await, Err(FarError::Closed));
    }
    assert!(!link.pulse(&scene.key("k"), &[]).is_alive());
    assert!(!link.pulse(&scene.key("k"), &[]).covers(scene.clock.now()));
    assert_eq!(scene.other.value(&key).await, bytes(b"v"));
    scene.other.end_key(&key).await;
    assert_eq!(scene.other.value(&key).await, None);
}
