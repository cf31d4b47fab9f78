//! What READ answers: the value, the lease, or who has it.

use super::scene::{LONG, SHORT, Scene, bytes, envelope, is_held};
use crate::clock::MINUTE;
use crate::far::{Claim, read_lease};
use crate::key::Tag;

pub(super) async fn a_value_is_answered_and_no_lease_granted(scene: &Scene) {
    let (key, value) = (scene.key("k"), envelope(scene.draw(), "v"));
    scene.other.put(&key, &value).await;
    assert_eq!(scene.one.claim(&key).await, Claim::Value(value.into()));
    assert_eq!(scene.one.lease(&key).await, None);
}

pub(super) async fn a_value_other_than_the_rejected_one_is_answered(scene: &Scene) {
    let (key, value) = (scene.key("k"), envelope(scene.draw(), "v"));
    scene.other.put(&key, &value).await;
    let rejected = Some(scene.draw());
    assert_eq!(scene.one.claim_over(&key, rejected).await, Claim::Value(value.into()));
    assert_eq!(scene.one.lease(&key).await, None);
}

pub(super) async fn a_value_too_short_for_an_id_is_answered(scene: &Scene) {
    let key = scene.key("k");
    for value in [&b""[..], b"short", &[0; 23]] {
        scene.other.put(&key, value).await;
        let claim = scene.one.claim_over(&key, Some([0; 16])).await;
        assert_eq!(claim, Claim::Value(value.to_vec().into()));
    }
}

pub(super) async fn the_rejected_value_is_to_be_loaded_anew(scene: &Scene) {
    let (key, id) = (scene.key("k"), scene.draw());
    scene.other.put(&key, &envelope(id, "v")).await;
    assert_eq!(scene.one.claim_over(&key, Some(id)).await, Claim::Granted);
    assert_eq!(scene.one.value(&key).await, bytes(&envelope(id, "v")), "it stands until then");
    let claim = scene.other.claim(&key).await;
    assert_eq!(claim, Claim::Value(envelope(id, "v").into()), "who did not reject it is served");
}

pub(super) async fn those_who_reject_one_value_are_granted_one_lease(scene: &Scene) {
    let (key, old, new) = (scene.key("k"), scene.draw(), scene.draw());
    scene.other.put(&key, &envelope(old, "v")).await;
    let link = scene.one.link();
    let read = link.read(&key, new, LONG, Some(old), &[]).await.unwrap();
    assert_eq!((read.claim, read.is_there), (Claim::Granted, true));
    let other = scene.other.link();
    let waits = other.read(&key, scene.draw(), LONG, Some(old), &[]).await.unwrap();
    assert!(is_held(&waits.claim) && waits.is_there, "it is told to those who wait as well");
    let gone = scene.key("gone");
    let read = link.read(&gone, scene.draw(), LONG, Some(old), &[]).await.unwrap();
    assert_eq!((read.claim, read.is_there), (Claim::Granted, false), "what was ended is not there");
    for _ in 0..5 {
        assert!(is_held(&scene.other.claim_over(&key, Some(old)).await));
        assert!(is_held(&scene.one.claim_over(&key, Some(old)).await));
    }
    assert!(scene.one.store(&key, new, &envelope(new, "w")).await);
    let late = scene.other.claim_over(&key, Some(old)).await;
    assert_eq!(
        late,
        Claim::Value(envelope(new, "w").into()),
        "who rejected the old one gets the new"
    );
}

pub(super) async fn a_lease_held_is_told_with_the_time_it_has_left(scene: &Scene) {
    let key = scene.key("k");
    scene.one.granted(&key, LONG).await;
    let Claim::Held(left) = scene.other.claim(&key).await else { panic!("not held") };
    assert!(left <= LONG && left > LONG - MINUTE, "{left:?} left of {LONG:?}");
    assert!(is_held(&scene.one.claim(&key).await), "nor is it granted twice to one process");
}

pub(super) async fn one_key_s_lease_is_not_another_s(scene: &Scene) {
    for key in ["", "k", "}k", "{k", ".k", "k}"] {
        scene.one.granted(&scene.key(key), LONG).await;
    }
}

pub(super) async fn a_grant_stands_until_it_is_stored(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    assert!(is_held(&scene.other.claim(&key).await));
    assert!(scene.one.store(&key, token, b"v").await);
    assert_eq!(scene.other.claim(&key).await, Claim::Value(b"v".to_vec().into()));
}

pub(super) async fn a_grant_stands_until_it_is_released(scene: &Scene) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    assert!(is_held(&scene.other.claim(&key).await));
    scene.one.link().release(&key, token, LONG).await.unwrap();
    assert_eq!(scene.other.claim(&key).await, Claim::Granted);
}

pub(super) async fn a_grant_stands_until_it_runs_out(scene: &Scene) {
    let (key, beside) = (scene.key("k"), scene.key("beside"));
    scene.one.granted(&key, SHORT).await;
    scene.one.granted(&beside, LONG).await;
    let granted = || async { scene.other.claim(&key).await == Claim::Granted };
    scene.until("the end of a lease", granted).await;
    assert!(is_held(&scene.one.claim(&key).await));
    assert!(is_held(&scene.other.claim(&beside).await));
}

pub(super) async fn a_failure_is_told_with_token_and_code_until_its_time_is_over(scene: &Scene) {
    let (brief, lasting) = (scene.key("brief"), scene.key("lasting"));
    for (key, code, backoff) in [(&brief, "", SHORT), (&lasting, "source: \r\n \u{e9}", LONG)] {
        let token = scene.one.granted(key, LONG).await;
        scene.one.link().fail(key, token, code, backoff).await.unwrap();
        match scene.other.claim(key).await {
            Claim::Failed(of, told) => assert_eq!((of, told), (token, code.as_bytes().to_vec())),
            // A slow test may come when the short one is over.
            claim => assert!(backoff == SHORT && claim == Claim::Granted, "{claim:?}"),
        }
    }
    let over = || async { !matches!(scene.other.claim(&brief).await, Claim::Failed(..)) };
    scene.until("the end of a back-off", over).await;
    assert!(matches!(scene.other.claim(&lasting).await, Claim::Failed(..)));
}

/// Whatever is answered of the value, the tags come with it.
pub(super) async fn read_answers_the_tags_as_they_are(scene: &Scene) {
    let (key, tags) = (scene.key("k"), ["x", "y"].map(Tag::new));
    let nonce = scene.other.made(&tags[1], LONG).await;
    let token = scene.draw();
    for step in 0..3 {
        let asking = if step == 0 { token } else { scene.draw() };
        let read = scene.one.link().read(&key, asking, LONG, None, &tags).await.unwrap();
        match (step, &read.claim) {
            (0, Claim::Granted) | (1, Claim::Held(_)) | (2, Claim::Value(_)) => {}
            (_, claim) => panic!("{claim:?} in step {step}"),
        }
        assert_eq!(read.tags.len(), 2);
        assert_eq!(read.tags[0], None);
        let state = read.tags[1].unwrap();
        assert_eq!(state.generation, nonce);
        assert!(state.keeps <= LONG && state.keeps > LONG - MINUTE, "{state:?}");
        if step == 1 {
            assert!(scene.one.store(&key, token, b"v").await);
        }
    }
}

/// Both sides read a lease's record with the same function; it is told here what each form means.
pub(super) async fn records_of_another_form_are_nobody_s_lease(scene: &Scene) {
    let token = scene.draw();
    let record = |kind: u8, rest: &[u8]| [&[kind], token.as_slice(), rest].concat();
    assert_eq!(read_lease(&record(b'T', b""), LONG), Claim::Held(LONG));
    assert_eq!(read_lease(&record(b'E', b""), LONG), Claim::Failed(token, vec![]));
    assert_eq!(read_lease(&record(b'E', b"c"), LONG), Claim::Failed(token, b"c".to_vec()));
    let foreign = [&b""[..], b"T", b"E", b"Tshort", b"Eshort", b"lock", &record(b'T', b"x")];
    for record in foreign.into_iter().chain([&record(b'W', b"=")[..], &record(b't', b"")]) {
        assert_eq!(read_lease(record, LONG), Claim::Foreign, "{}", record.escape_ascii());
    }
}
