//! Writes that wait for their source.

use super::scene::{LONG, Process, SHORT, SOFT, Scene, bytes, envelope, is_held};
use crate::entry::{Ended, Pending, Stamp, Token, WriteId};
use crate::far::backlog::{Backlog, Claimed, Done, Queued, Replayed, Write};
use crate::far::{Claim, pending_claim};
use crate::key::{Key, Partition};

const MANY: usize = 100;

impl Process {
    fn backlog(&self) -> &dyn Backlog {
        self.far.backlog().unwrap()
    }

    async fn queue(&self, key: &Key, token: Token, envelope: &[u8], bound: usize) -> Queued {
        let write = Write { key, token, envelope, keep: LONG, typed: b"typed", bound };
        self.backlog().write(write).await.unwrap()
    }

    /// Writes, and says where it stands.
    async fn queued(&self, key: &Key, token: Token, text: &str) -> Stamp {
        match self.queue(key, token, &envelope(token, text), MANY).await {
            Queued::At(id) => Stamp { token, id },
            Queued::Full => panic!("the queue is full"),
        }
    }

    async fn d(&self, key: &Key) -> Option<Pending> {
        let record = self.backlog().pending(std::slice::from_ref(key)).await.unwrap().remove(0)?;
        Some(Pending::read(&record).unwrap())
    }

    async fn holds(&self, partition: &Partition) -> Token {
        let token = self.far_token();
        assert_eq!(self.backlog().hold(partition, token, LONG).await.unwrap(), Ok(()));
        token
    }

    async fn claims(
        &self,
        partition: &Partition,
        token: Token,
        after: Option<WriteId>,
    ) -> Vec<WriteId> {
        let claimed = self.backlog().claim(partition, token, after, MANY).await.unwrap().unwrap();
        claimed.into_iter().map(|claimed| claimed.id).collect()
    }

    async fn clears(&self, key: &Key, stamp: Option<Stamp>, entries: &[WriteId]) -> bool {
        let (partition, _) = key.in_partition().unwrap();
        let done = [Done { key, stamp, entries }];
        self.backlog().clear(&partition, &done).await.unwrap()[0]
    }

    async fn waiting(&self, partition: &Partition) -> u64 {
        self.backlog().depths(std::slice::from_ref(partition)).await.unwrap()[0].waiting
    }
}

fn part(key: &Key) -> Partition {
    key.in_partition().unwrap().0
}

pub(super) async fn a_write_is_the_value_and_waits_and_ends_the_lease(scene: &Scene) {
    let (key, token) = (scene.behind("k"), scene.draw());
    let load = scene.one.granted(&key, LONG).await;
    let stamp = scene.other.queued(&key, token, "written").await;
    assert_eq!(scene.one.value(&key).await, bytes(&envelope(token, "written")));
    assert_eq!(
        scene.one.d(&key).await,
        Some(Pending { stamp, envelope: envelope(token, "written") })
    );
    assert_eq!(scene.one.lease(&key).await, None);
    assert!(!scene.one.store(&key, load, b"late").await);
    let Claim::Value(value) = scene.one.claim(&key).await else { panic!("the value is there") };
    assert_eq!(value.bytes, envelope(token, "written"));
}

pub(super) async fn a_write_over_the_bound_changes_nothing(scene: &Scene) {
    let (key, other) = (scene.behind("k"), scene.behind("other"));
    let first = scene.one.queued(&key, scene.draw(), "first").await;
    let refused = scene.other.queue(&key, scene.draw(), b"second", 1).await;
    assert_eq!(refused, Queued::Full);
    assert_eq!(scene.other.queue(&other, scene.draw(), b"other", 1).await, Queued::Full);
    assert_eq!(scene.one.value(&key).await, bytes(&envelope(first.token, "first")));
    assert_eq!(scene.one.d(&key).await.unwrap().stamp, first);
    assert_eq!(scene.one.value(&other).await, None);
    assert_eq!(scene.one.waiting(&part(&key)).await, 1);
    assert!(matches!(scene.other.queue(&other, scene.draw(), b"other", 2).await, Queued::At(_)));
}

pub(super) async fn read_answers_a_pending_write_and_grants_no_lease_beside_it(scene: &Scene) {
    let (key, token) = (scene.behind("k"), scene.draw());
    let stamp = scene.one.queued(&key, token, "written").await;
    let pending = Claim::Pending(envelope(token, "written"));
    assert_eq!(scene.other.claim_over(&key, Some(token)).await, pending, "the value was rejected");
    scene.other.far.discard(std::slice::from_ref(&key)).await.unwrap();
    assert_eq!(scene.other.claim(&key).await, pending, "the value is gone");
    scene.other.far.end(&[Ended::Key(key.clone())], SOFT).await.unwrap();
    assert_eq!(scene.one.claim(&key).await, pending, "the key was ended");
    assert_eq!(scene.one.lease(&key).await, None);
    let d = Key::from(key.d().unwrap());
    let read = scene.one.link().get(std::slice::from_ref(&d), &[]).await.unwrap();
    let record = read.values[0].clone().unwrap().bytes;
    assert_eq!(pending_claim(&record), pending);
    assert!(scene.one.clears(&key, Some(stamp), &[stamp.id]).await);
    assert_eq!(scene.one.claim(&key).await, Claim::Granted);
    assert!(is_held(&scene.other.claim(&key).await));
}

pub(super) async fn one_at_a_time_holds_a_partition(scene: &Scene) {
    let partition = part(&scene.behind("k"));
    let token = scene.one.holds(&partition).await;
    let (one, other) = (scene.one.backlog(), scene.other.backlog());
    assert_eq!(one.hold(&partition, token, LONG).await.unwrap(), Ok(()), "asked once more");
    let left = other.hold(&partition, scene.draw(), LONG).await.unwrap().unwrap_err();
    assert!(left <= LONG && left > LONG / 2, "{left:?}");
    assert!(one.renew(&partition, token, LONG).await.unwrap());
    assert!(!other.renew(&partition, scene.draw(), LONG).await.unwrap());
    assert!(!other.give_back(&partition, scene.draw()).await.unwrap());
    assert!(one.give_back(&partition, token).await.unwrap());
    let next = scene.draw();
    assert_eq!(other.hold(&partition, next, SHORT).await.unwrap(), Ok(()));
    let free = || async { one.hold(&partition, token, LONG).await.unwrap().is_ok() };
    scene.until("the end of a partition's lease", free).await;
    assert!(!other.renew(&partition, next, LONG).await.unwrap());
}

pub(super) async fn entries_are_claimed_once_oldest_first_and_told_again(scene: &Scene) {
    let (a, b) = (scene.behind("a"), scene.behind("b"));
    let partition = part(&a);
    let token = scene.one.holds(&partition).await;
    assert!(scene.one.claims(&partition, token, None).await.is_empty(), "nothing was ever written");
    let mut stamps = Vec::new();
    for key in [&a, &b, &a] {
        stamps.push(scene.other.queued(key, scene.draw(), "v").await);
    }
    let ids: Vec<WriteId> = stamps.iter().map(|stamp| stamp.id).collect();
    assert!(ids.is_sorted());
    let first = scene.one.backlog().claim(&partition, token, None, 2).await.unwrap().unwrap();
    let [Claimed { id, of }, _] = &first[..] else { panic!("{first:?}") };
    let of = of.clone().unwrap();
    assert_eq!((*id, of.key, of.token, of.typed), (ids[0], a, stamps[0].token, b"typed".to_vec()));
    assert_eq!(scene.one.claims(&partition, token, None).await, ids[2..]);
    assert!(scene.one.claims(&partition, token, None).await.is_empty());
    // Whoever holds it next finds them.
    assert!(scene.one.backlog().give_back(&partition, token).await.unwrap());
    let next = scene.other.holds(&partition).await;
    assert_eq!(scene.one.backlog().claim(&partition, token, None, 9).await.unwrap(), None);
    assert_eq!(scene.other.claims(&partition, next, Some(WriteId::default())).await, ids);
    assert_eq!(scene.other.claims(&partition, next, Some(ids[0])).await, ids[1..]);
    scene.other.clears(&b, None, &ids[1..2]).await;
    let left = scene.other.claims(&partition, next, Some(WriteId::default())).await;
    assert_eq!(left, [ids[0], ids[2]]);
}

pub(super) async fn clear_leaves_a_newer_write(scene: &Scene) {
    let key = scene.behind("k");
    let old = scene.one.queued(&key, scene.draw(), "old").await;
    let new = scene.one.queued(&key, scene.draw(), "new").await;
    for stamp in [
        Some(old),
        None,
        Some(Stamp { id: old.id, ..new }),
        Some(Stamp { token: old.token, ..new }),
    ] {
        assert!(!scene.other.clears(&key, stamp, &[old.id]).await, "{stamp:?}");
        assert_eq!(scene.one.d(&key).await.unwrap().stamp, new);
        assert_eq!(scene.one.waiting(&part(&key)).await, 1);
    }
    assert!(scene.other.clears(&key, Some(new), &[new.id]).await);
    assert_eq!(scene.one.d(&key).await, None);
    assert_eq!(scene.one.waiting(&part(&key)).await, 0);
    assert!(!scene.other.clears(&key, Some(new), &[new.id]).await, "it happens once");
    assert_eq!(scene.one.value(&key).await, bytes(&envelope(new.token, "new")), "the value stays");
}

pub(super) async fn rebase_goes_above_and_keeps_the_write(scene: &Scene) {
    let key = scene.behind("k");
    let stamp = scene.one.queued(&key, scene.draw(), "v").await;
    let rebase = |token, above| {
        let key = &key;
        async move { scene.other.backlog().rebase(key, token, above, b"typed").await.unwrap() }
    };
    let above = WriteId { ms: stamp.id.ms + 1_000_000, seq: 7 };
    assert_eq!(rebase(scene.draw(), above).await, None, "it is another's");
    let id = rebase(stamp.token, above).await.unwrap();
    assert_eq!(id, WriteId { seq: 8, ..above });
    let moved = Stamp { id, ..stamp };
    assert_eq!(
        scene.one.d(&key).await,
        Some(Pending { stamp: moved, envelope: envelope(stamp.token, "v") })
    );
    let again = rebase(stamp.token, stamp.id).await.unwrap();
    assert!(again > id, "the queue is past that");
    let later = scene.one.queued(&key, scene.draw(), "later").await;
    assert!(later.id > again);
    assert_eq!(rebase(stamp.token, above).await, None, "it is another by now");
    assert_eq!(scene.one.waiting(&part(&key)).await, 4);
}

pub(super) async fn what_is_buried_is_undone_and_can_be_replayed(scene: &Scene) {
    let key = scene.behind("k");
    let (partition, one) = (part(&key), scene.one.backlog());
    let old = scene.one.queued(&key, scene.draw(), "old").await;
    let new = scene.one.queued(&key, scene.draw(), "new").await;
    let bury = |stamp: Stamp| {
        let (key, other) = (&key, scene.other.backlog());
        async move {
            let done = Done { key, stamp: Some(stamp), entries: &[stamp.id] };
            other.bury(done, b"typed", "why").await.unwrap()
        }
    };
    assert!(!bury(old).await, "a newer one waits");
    assert_eq!(scene.one.d(&key).await.unwrap().stamp, new);
    assert!(bury(new).await);
    assert_eq!(scene.one.d(&key).await, None);
    assert_eq!(scene.one.value(&key).await, None);
    let dead = one.dead(&partition, WriteId::default(), MANY).await.unwrap();
    let [dead] = &dead[..] else { panic!("{dead:?}") };
    assert_eq!((&dead.key, &dead.envelope), (&key, &envelope(new.token, "new")));
    assert_eq!((dead.typed.as_slice(), dead.reason.as_slice()), (&b"typed"[..], &b"why"[..]));
    let depth = one.depths(std::slice::from_ref(&partition)).await.unwrap()[0];
    assert_eq!((depth.waiting, depth.dead, depth.oldest), (0, 1, None));
    // Over a load that is under way, and not over a newer write.
    let load = scene.one.granted(&key, LONG).await;
    let newer = scene.one.queued(&key, scene.draw(), "newer").await;
    assert_eq!(one.replay(&key, dead.id, scene.draw()).await.unwrap(), Replayed::Newer);
    assert!(scene.one.clears(&key, Some(newer), &[newer.id]).await);
    assert_eq!(one.replay(&key, dead.id, scene.draw()).await.unwrap(), Replayed::Queued);
    assert_eq!(one.replay(&key, dead.id, scene.draw()).await.unwrap(), Replayed::Gone);
    assert!(!scene.one.store(&key, load, b"late").await);
    assert_eq!(scene.other.claim(&key).await, Claim::Pending(envelope(new.token, "new")));
    let again = scene.one.d(&key).await.unwrap().stamp;
    assert!(again.id > new.id && again.token != new.token);
    assert!(bury(again).await);
    let id = one.dead(&partition, WriteId::default(), MANY).await.unwrap()[0].id;
    assert!(one.dead(&partition, id, MANY).await.unwrap().is_empty());
    assert!(one.forget_dead(&partition, id).await.unwrap());
    assert!(!one.forget_dead(&partition, id).await.unwrap());
}

pub(super) async fn a_write_and_a_burial_elsewhere_are_told(scene: &Scene) {
    let key = scene.behind("k");
    assert_eq!(scene.one.value(&key).await, None);
    scene.one.told().await;
    let stamp = scene.other.queued(&key, scene.draw(), "v").await;
    assert!(scene.one.is_told(&[key.v()]).await);
    assert!(scene.one.value(&key).await.is_some());
    let done = Done { key: &key, stamp: Some(stamp), entries: &[stamp.id] };
    scene.other.backlog().bury(done, b"typed", "why").await.unwrap();
    assert!(scene.one.is_told(&[key.v()]).await);
}
