//! How generations are made, kept and ended.

use super::scene::{LONG, SHORT, Scene, bytes};
use crate::clock::MINUTE;
use crate::key::{Key, Tag};

pub(super) async fn create_gives_a_generation_to_those_without(scene: &Scene) {
    let (there, missing, beside) = (Tag::new("there"), Tag::new("missing"), Tag::new("beside"));
    let old = scene.other.made(&there, LONG).await;
    let (a, b, c) = (scene.draw(), scene.draw(), scene.draw());
    let asked = [(missing.clone(), a), (there.clone(), b), (beside.clone(), c)];
    let made = scene.one.link().create(&asked, LONG).await.unwrap();
    assert_eq!(made, [Some(a.into()), Some(old), Some(c.into())]);
    assert_eq!(scene.other.generation(&missing).await, Some(a.into()));
    assert_eq!(scene.other.generation(&there).await, Some(old));
    assert_eq!(scene.other.generation(&beside).await, Some(c.into()));
}

pub(super) async fn create_of_one_tag_twice_keeps_the_first(scene: &Scene) {
    let (tag, a, b) = (Tag::new("t"), scene.draw(), scene.draw());
    let asked = [(tag.clone(), a), (tag.clone(), b)];
    let made = scene.one.link().create(&asked, LONG).await.unwrap();
    assert_eq!(made, [Some(a.into()), Some(a.into())]);
}

pub(super) async fn create_does_not_lengthen_what_is_there(scene: &Scene) {
    let tag = Tag::new("t");
    let nonce = scene.other.made(&tag, MINUTE).await;
    scene.one.link().create(&[(tag.clone(), scene.draw())], LONG).await.unwrap();
    let state = scene.one.state(&tag).await.unwrap();
    assert_eq!(state.generation, nonce);
    assert!(!state.keeps.is_zero() && state.keeps <= MINUTE, "{state:?}");
}

pub(super) async fn a_tag_is_gone_after_its_time(scene: &Scene) {
    let (short, long) = (Tag::new("short"), Tag::new("long"));
    scene.one.made(&short, SHORT).await;
    let nonce = scene.one.made(&long, LONG).await;
    let gone = || async { scene.other.generation(&short).await.is_none() };
    scene.until("the end of a tag", gone).await;
    assert_eq!(scene.other.state(&short).await, None);
    let state = scene.other.state(&long).await.unwrap();
    assert_eq!(state.generation, nonce);
    assert!(state.keeps <= LONG && state.keeps > LONG - MINUTE, "{state:?}");
}

/// Between the removal and a second try the tag may have been made, read and ended: the generation
/// that was sent first must never stand.
pub(super) async fn create_removes_what_is_no_generation_and_does_not_take_its_place(
    scene: &Scene,
) {
    let (odd, good) = (Tag::new("odd"), Tag::new("good"));
    for bytes in [&b""[..], b"fifteen bytes..", b"seventeen bytes.."] {
        scene.other.put(&Key::new(&scene.t(&odd)), bytes).await;
        let (a, b) = (scene.draw(), scene.draw());
        let asked = [(odd.clone(), a), (good.clone(), b)];
        let made = scene.one.link().create(&asked, LONG).await.unwrap();
        assert_eq!(made, [None, Some(b.into())]);
        assert_eq!(scene.one.bytes(&scene.t(&odd)).await, None);
        scene.one.made(&odd, LONG).await;
        scene.one.end_tag(&good).await;
    }
}

pub(super) async fn bytes_that_are_no_generation_count_as_none(scene: &Scene) {
    let (tag, tags) = (Tag::new("t"), [Tag::new("t")]);
    scene.other.put(&Key::new(&scene.t(&tag)), b"fifteen bytes..").await;
    let link = scene.one.link();
    assert_eq!(link.get(&[], &tags).await.unwrap().generations[..], [None]);
    assert_eq!(link.generations(&tags).await.unwrap()[..], [None]);
    assert_eq!(link.tag_states(&tags).await.unwrap(), [None]);
    assert_eq!(link.prolong(&tags, LONG).await.unwrap(), [None]);
    let read = link.read(&scene.key("k"), scene.draw(), LONG, None, &tags).await.unwrap();
    assert_eq!(read.tags, [None]);
    scene.one.end_tag(&tag).await;
    assert_eq!(scene.one.bytes(&scene.t(&tag)).await, None);
}

pub(super) async fn prolong_lengthens_and_never_shortens(scene: &Scene) {
    let tags = ["short", "long"].map(Tag::new);
    let a = scene.other.made(&tags[0], MINUTE).await;
    let b = scene.other.made(&tags[1], 3 * LONG).await;
    assert_eq!(scene.one.link().prolong(&tags, 2 * LONG).await.unwrap(), [Some(a), Some(b)]);
    let states = scene.one.link().tag_states(&tags).await.unwrap();
    let keeps = states.iter().map(|state| state.unwrap().keeps).collect::<Vec<_>>();
    assert!(keeps[0] <= 2 * LONG && keeps[0] > 2 * LONG - MINUTE, "{keeps:?}");
    assert!(keeps[1] <= 3 * LONG && keeps[1] > 3 * LONG - MINUTE, "{keeps:?}");
}

pub(super) async fn prolong_makes_nothing(scene: &Scene) {
    let tags = ["ended", "never"].map(Tag::new);
    scene.other.made(&tags[0], LONG).await;
    scene.other.end_tag(&tags[0]).await;
    assert_eq!(scene.one.link().prolong(&tags, LONG).await.unwrap(), [None, None]);
    assert_eq!(scene.one.link().generations(&tags).await.unwrap()[..], [None, None]);
}

pub(super) async fn an_ended_tag_comes_back_under_another_generation_only(scene: &Scene) {
    let tag = Tag::new("t");
    let old = scene.one.made(&tag, LONG).await;
    scene.other.end_tag(&tag).await;
    assert_eq!(scene.one.generation(&tag).await, None);
    let new = scene.one.made(&tag, LONG).await;
    assert_ne!(old, new);
    assert_eq!(scene.other.generation(&tag).await, Some(new));
}

/// Across caches: its name has the app's in it and no cache's.
pub(super) async fn a_tag_lies_under_its_app(scene: &Scene) {
    let tag = Tag::new("t");
    let nonce = scene.one.made(&tag, LONG).await;
    let name = format!("{}:t:{{.t}}", scene.app);
    assert_eq!(scene.other.bytes(name.as_bytes()).await, bytes(&nonce.nonce));
}
