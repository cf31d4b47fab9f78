//! Who is told of what, and when.
//!
//! A side may tell more than was read; the embedded one does. It may not tell less, nor later.

use super::scene::{LONG, SHORT, Scene, Told, bytes, envelope, is_held};
use crate::clock::MINUTE;
use crate::far::{Claim, Restamped};
use crate::key::Tag;

pub(super) async fn a_value_stored_elsewhere_is_told(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.other.granted(&key, LONG).await;
    assert_eq!(scene.one.value(&key).await, None);
    scene.one.told().await;
    assert!(scene.other.store(&key, token, b"v").await);
    assert!(scene.one.is_told(&[key.v()]).await);
}

pub(super) async fn a_value_put_elsewhere_is_told(scene: &Scene) {
    let key = scene.key("k");
    scene.other.put(&key, b"old").await;
    assert_eq!(scene.one.value(&key).await, bytes(b"old"));
    scene.one.told().await;
    scene.other.put(&key, b"new").await;
    assert!(scene.one.is_told(&[key.v()]).await);
}

pub(super) async fn a_value_restamped_elsewhere_is_told(scene: &Scene) {
    let (key, token) = (scene.key("k"), scene.draw());
    let id = scene.draw();
    scene.other.put(&key, &envelope(id, "v")).await;
    let read = scene.other.link().read(&key, token, LONG, Some(id), &[]).await.unwrap();
    assert_eq!(read.claim, Claim::Granted);
    assert!(scene.one.value(&key).await.is_some());
    scene.one.told().await;
    let done = scene.other.link().restamp(&key, token, id, &envelope(token, ""), LONG).await;
    assert_eq!(done, Ok(Restamped::Done));
    assert!(scene.one.is_told(&[key.v()]).await);
}

pub(super) async fn an_end_elsewhere_is_told(scene: &Scene) {
    let (key, id) = (scene.key("k"), scene.draw());
    scene.other.put(&key, &envelope(id, "v")).await;
    assert_eq!(scene.one.claim_over(&key, Some(id)).await, Claim::Granted);
    scene.one.told().await;
    scene.other.end_key(&key).await;
    assert!(scene.one.is_told(&[key.v(), &key.l()]).await);
}

pub(super) async fn a_discard_elsewhere_is_told(scene: &Scene) {
    let key = scene.key("k");
    scene.other.put(&key, b"v").await;
    scene.one.value(&key).await;
    scene.one.told().await;
    scene.other.far.discard(std::slice::from_ref(&key)).await.unwrap();
    assert!(scene.one.is_told(&[key.v()]).await);
}

/// Not in time, but at the latest when someone looks.
pub(super) async fn what_runs_out_is_told(scene: &Scene) {
    let (keys, tags) = ([scene.key("k")], [Tag::new("t")]);
    scene.other.far.put(&keys[0], b"v", SHORT).await.unwrap();
    scene.other.made(&tags[0], SHORT).await;
    scene.one.told().await;
    // A slow test may come when they are over: what was missing does not run out.
    let got = scene.one.link().get(&keys, &tags).await.unwrap();
    let gone = || async {
        scene.other.value(&keys[0]).await.is_none()
            && scene.other.generation(&tags[0]).await.is_none()
    };
    scene.until("the end of a value and a tag", gone).await;
    let told = scene.one.told().await;
    let is_told = |name: &[u8]| told.contains(&Told::Name(name.to_vec()));
    assert!(got.values[..] == [None] || is_told(keys[0].v()), "{told:?}");
    assert!(got.generations[..] == [None] || is_told(&scene.t(&tags[0])), "{told:?}");
}

pub(super) async fn a_tag_made_ended_or_prolonged_elsewhere_is_told(scene: &Scene) {
    let tag = Tag::new("t");
    let tags = std::slice::from_ref(&tag);
    assert_eq!(scene.one.generation(&tag).await, None);
    scene.one.told().await;
    scene.other.made(&tag, MINUTE).await;
    assert!(scene.one.is_told(&[&scene.t(&tag)]).await, "made");
    scene.one.state(&tag).await;
    scene.other.link().prolong(tags, LONG).await.unwrap();
    assert!(scene.one.is_told(&[&scene.t(&tag)]).await, "prolonged");
    let token = scene.draw();
    scene.one.link().read(&scene.key("k"), token, LONG, None, tags).await.unwrap();
    scene.one.told().await;
    scene.other.end_tag(&tag).await;
    assert!(scene.one.is_told(&[&scene.t(&tag)]).await, "ended");
}

pub(super) async fn who_waits_for_a_lease_is_told_of_its_release(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.other.granted(&key, LONG).await;
    assert!(is_held(&scene.one.claim(&key).await));
    scene.one.told().await;
    scene.other.link().release(&key, token, LONG).await.unwrap();
    assert!(scene.one.is_told(&[&key.l()]).await);
}

pub(super) async fn who_waits_for_a_lease_is_told_of_a_failure(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.other.granted(&key, LONG).await;
    assert!(is_held(&scene.one.claim(&key).await));
    scene.one.told().await;
    scene.other.link().fail(&key, token, "code", LONG).await.unwrap();
    assert!(scene.one.is_told(&[&key.l()]).await);
}

pub(super) async fn who_waits_for_a_lease_is_told_when_it_runs_out(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.other.granted(&key, LONG).await;
    assert!(is_held(&scene.one.claim(&key).await));
    scene.one.told().await;
    assert!(scene.other.link().extend(&key, token, SHORT).await.unwrap());
    assert!(scene.one.is_told(&[&key.l()]).await, "extended");
    if !is_held(&scene.one.claim(&key).await) {
        return; // over before we could wait
    }
    scene.one.told().await;
    let gone = || async { scene.other.lease(&key).await.is_none() };
    scene.until("the end of a lease", gone).await;
    assert!(scene.one.is_told(&[&key.l()]).await, "over");
}

/// Any reply will do that comes from where the key is, not only that of `sync`.
pub(super) async fn a_change_is_told_before_a_later_reply(scene: &Scene) {
    let key = scene.key("k");
    for round in 0..50 {
        scene.one.value(&key).await;
        scene.one.told_so_far();
        scene.other.put(&key, b"v").await;
        scene.one.lease(&key).await;
        assert!(scene.one.told_so_far().contains(&Told::Name(key.v().to_vec())), "{round}");
    }
}

pub(super) async fn what_we_write_over_the_link_is_not_told_to_us(scene: &Scene) {
    let (key, tag) = (scene.key("k"), Tag::new("t"));
    let tags = std::slice::from_ref(&tag);
    let link = scene.one.link();
    scene.one.value(&key).await;
    scene.one.lease(&key).await;
    scene.one.generation(&tag).await;
    scene.one.made(&tag, MINUTE).await;
    link.prolong(tags, LONG).await.unwrap();
    let token = scene.one.granted(&key, LONG).await;
    assert!(link.extend(&key, token, LONG).await.unwrap());
    assert!(scene.one.store(&key, token, b"v").await);
    scene.one.value(&key).await;
    scene.one.end_key(&key).await;
    scene.one.told().await;
    let token = scene.one.granted(&key, LONG).await;
    link.release(&key, token, LONG).await.unwrap();
    let token = scene.one.granted(&key, LONG).await;
    link.fail(&key, token, "code", LONG).await.unwrap();
    assert_eq!(scene.one.told().await, []);
}

pub(super) async fn what_we_end_or_put_is_told_to_us_as_well(scene: &Scene) {
    let (key, tag) = (scene.key("k"), Tag::new("t"));
    scene.one.granted(&key, LONG).await;
    scene.one.made(&tag, LONG).await;
    scene.one.told().await;
    scene.one.put(&key, b"v").await;
    assert!(scene.one.is_told(&[key.v(), &key.l()]).await, "put");
    scene.one.value(&key).await;
    scene.one.end_key(&key).await;
    assert!(scene.one.is_told(&[key.v()]).await, "ended");
    scene.one.put(&key, b"v").await;
    scene.one.value(&key).await;
    scene.one.told().await;
    scene.one.far.discard(std::slice::from_ref(&key)).await.unwrap();
    assert!(scene.one.is_told(&[key.v()]).await, "discarded");
    scene.one.end_tag(&tag).await;
    assert!(scene.one.is_told(&[&scene.t(&tag)]).await, "a tag ended");
}

/// Our own SET ended our tracking of the name: it has to be read once more, or the near copy of what
/// we stored would outlive it.
pub(super) async fn what_we_stored_is_still_watched(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    assert!(scene.one.store(&key, token, b"v").await);
    scene.one.told().await;
    scene.other.end_key(&key).await;
    assert!(scene.one.is_told(&[key.v()]).await);
}

pub(super) async fn what_we_restamped_is_still_watched(scene: &Scene) {
    let (key, id, token) = (scene.key("k"), scene.draw(), scene.draw());
    scene.other.put(&key, &envelope(id, "v")).await;
    let link = scene.one.link();
    let read = link.read(&key, token, LONG, Some(id), &[]).await.unwrap();
    assert_eq!(read.claim, Claim::Granted);
    let done = link.restamp(&key, token, id, &envelope(token, ""), LONG).await;
    assert_eq!(done, Ok(Restamped::Done));
    scene.one.told().await;
    scene.other.end_key(&key).await;
    assert!(scene.one.is_told(&[key.v()]).await);
}

pub(super) async fn what_we_were_granted_is_still_watched(scene: &Scene) {
    let (ended, put) = (scene.key("ended"), scene.key("put"));
    scene.one.granted(&ended, LONG).await;
    scene.one.granted(&put, LONG).await;
    scene.one.told().await;
    scene.other.end_key(&ended).await;
    assert!(scene.one.is_told(&[&ended.l()]).await);
    scene.other.put(&put, b"v").await;
    assert!(scene.one.is_told(&[&put.l(), put.v()]).await);
}

pub(super) async fn what_we_extended_is_still_watched(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    for _ in 0..3 {
        assert!(scene.one.link().extend(&key, token, LONG).await.unwrap());
    }
    scene.one.told().await;
    scene.other.end_key(&key).await;
    assert!(scene.one.is_told(&[&key.l()]).await);
}

pub(super) async fn what_we_created_is_still_watched(scene: &Scene) {
    let (new, old) = (Tag::new("new"), Tag::new("old"));
    scene.other.made(&old, LONG).await;
    let asked = [(new.clone(), scene.draw()), (old.clone(), scene.draw())];
    scene.one.link().create(&asked, LONG).await.unwrap();
    scene.one.told().await;
    scene.other.end_tag(&new).await;
    scene.other.end_tag(&old).await;
    assert!(scene.one.is_told(&[&scene.t(&new), &scene.t(&old)]).await);
}

pub(super) async fn what_we_prolonged_is_still_watched(scene: &Scene) {
    let tag = Tag::new("t");
    scene.one.made(&tag, MINUTE).await;
    scene.one.link().prolong(std::slice::from_ref(&tag), LONG).await.unwrap();
    scene.one.told().await;
    scene.other.end_tag(&tag).await;
    assert!(scene.one.is_told(&[&scene.t(&tag)]).await);
}

pub(super) async fn what_was_not_there_is_watched(scene: &Scene) {
    let (key, tag) = (scene.key("k"), Tag::new("t"));
    let keys = std::slice::from_ref(&key);
    scene.one.link().get(keys, std::slice::from_ref(&tag)).await.unwrap();
    scene.one.told().await;
    scene.other.made(&tag, LONG).await;
    scene.other.put(&key, b"v").await;
    assert!(scene.one.is_told(&[key.v(), &scene.t(&tag)]).await);
}
