//! What only a Redis can meet: flushes, lost connections, foreign things, a full memory.

use super::scene::{LONG, SHORT, SOFT, Scene, Told, bytes, envelope, generations, is_held};
use crate::clock::MINUTE;
use crate::entry::Ended;
use crate::error::FarError;
use crate::far::{Claim, Finish, Reply, Restamped};
use crate::key::Tag;

/// Someone at the server itself, as with `redis-cli`.
pub trait Console: Sync {
    /// Runs one command, and gives its answer as text.
    ///
    /// # Panics
    /// When it is refused.
    fn run(&self, words: &[&[u8]]) -> String;
}

impl dyn Console + '_ {
    fn type_of(&self, name: &[u8]) -> String {
        self.run(&[b"TYPE", name])
    }

    /// A list where there should be a string.
    fn place_list(&self, name: &[u8]) {
        self.run(&[b"DEL", name]);
        self.run(&[b"RPUSH", name, b"not ours"]);
        assert_eq!(self.type_of(name), "list");
    }

    /// How often a command ran, those from within scripts among them.
    fn calls(&self, command: &str) -> u64 {
        let info = self.run(&[b"INFO", b"commandstats"]);
        let start = format!("cmdstat_{command}:calls=");
        let line = info.lines().find_map(|line| line.strip_prefix(start.as_str()));
        line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
    }

    fn memory_max(&self, bytes: &str) {
        self.run(&[b"CONFIG", b"SET", b"maxmemory", bytes.as_bytes()]);
    }
}

pub(super) async fn everything_is_kept_for_as_long_as_was_said(
    scene: &Scene,
    console: &dyn Console,
) {
    let [stored, put, leased, extended, failed] =
        ["stored", "put", "leased", "extended", "failed"].map(|key| scene.key(key));
    let [made, prolonged] = ["made", "prolonged"].map(Tag::new);
    let link = scene.one.link();
    let token = scene.one.granted(&stored, MINUTE).await;
    assert!(link.store(&stored, token, b"v", LONG).await.unwrap());
    scene.one.far.put(&put, b"v", LONG).await.unwrap();
    scene.one.granted(&leased, LONG).await;
    let token = scene.one.granted(&extended, MINUTE).await;
    assert!(link.extend(&extended, token, LONG).await.unwrap());
    let token = scene.one.granted(&failed, MINUTE).await;
    link.fail(&failed, token, "code", LONG).await.unwrap();
    scene.one.made(&made, LONG).await;
    scene.one.made(&prolonged, MINUTE).await;
    link.prolong(std::slice::from_ref(&prolonged), LONG).await.unwrap();
    let names = [
        stored.v().to_vec(),
        put.v().to_vec(),
        leased.l(),
        extended.l(),
        failed.l(),
        scene.t(&made),
        scene.t(&prolonged),
    ];
    for name in &names {
        let left: i64 = console.run(&[b"PTTL", name]).parse().unwrap();
        let (most, least) = (LONG.as_millis() as i64, (LONG - MINUTE).as_millis() as i64);
        assert!(left <= most && left > least, "{left} ms left of {}", name.escape_ascii());
    }
    assert_eq!(console.run(&[b"DBSIZE"]), names.len().to_string(), "and nothing else is");
}

pub(super) async fn a_flush_is_a_gap(scene: &Scene, console: &dyn Console) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    scene.one.told().await;
    console.run(&[b"FLUSHALL"]);
    assert!(scene.one.told().await.contains(&Told::Gap));
    assert!(!scene.one.store(&key, token, b"late").await);
    assert!(scene.one.link().pulse(&key, &[]).is_alive(), "the connection is as good as it was");
}

/// The old link stays dead: whoever began on it never goes on over the new one.
pub(super) async fn a_killed_connection_is_a_gap_and_is_followed_by_another(
    scene: &Scene,
    console: &dyn Console,
) {
    let key = scene.key("k");
    let old = scene.one.link();
    let token = scene.one.granted(&key, LONG).await;
    scene.one.told().await;
    console.run(&[b"CLIENT", b"KILL", b"TYPE", b"normal"]);
    let late = old.store(&key, token, b"late", LONG).await;
    assert!(matches!(late, Err(FarError::Broken(_))), "{late:?}");
    assert!(!old.pulse(&key, &[]).is_alive());
    assert!(scene.one.told_so_far().contains(&Told::Gap));
    for process in [&scene.one, &scene.other] {
        let again = || async {
            let Ok(link) = process.far.link() else { return false };
            // Of a node that is not connected again nothing is proven, and nothing has ended either; and
            // only those are synced that are there. An answer says that this one is.
            link.pulse(&key, &[]).is_alive()
                && link.get(std::slice::from_ref(&key), &[]).await.is_ok()
                && link.sync().await.is_ok()
        };
        scene.until("a new connection", again).await;
        process.far.is_back().await;
        let ends = || async { process.far.end(&[Ended::Key(key.clone())], SOFT).await.is_ok() };
        scene.until("a new untracked connection", ends).await;
    }
    assert!(matches!(old.sync().await, Err(FarError::Broken(_))));
    scene.one.told().await;
    scene.one.granted(&key, LONG).await;
    scene.other.put(&key, b"v").await;
    assert!(scene.one.is_told(&[key.v(), &key.l()]).await, "and changes are told again");
}

pub(super) async fn read_removes_a_foreign_value_and_grants(scene: &Scene, console: &dyn Console) {
    let key = scene.key("k");
    console.place_list(key.v());
    assert_eq!(scene.one.value(&key).await, None, "what is no string reads as nothing");
    let token = scene.one.granted(&key, LONG).await;
    assert_eq!(console.type_of(key.v()), "none");
    scene.one.told().await;
    console.place_list(key.v());
    assert!(scene.one.is_told(&[key.v()]).await || console.type_of(key.v()) == "list");
    assert!(is_held(&scene.other.claim(&key).await), "whoever holds the lease holds it still");
    assert_eq!(console.type_of(key.v()), "none");
    console.place_list(key.v());
    assert!(is_held(&scene.other.claim_over(&key, Some(token)).await));
    assert!(scene.one.store(&key, token, b"v").await);
    assert_eq!(scene.other.value(&key).await, bytes(b"v"));
}

pub(super) async fn read_replaces_a_foreign_lease_and_grants(scene: &Scene, console: &dyn Console) {
    let key = scene.key("k");
    console.place_list(&key.l());
    let token = scene.one.granted(&key, LONG).await;
    assert!(is_held(&scene.other.claim(&key).await));
    scene.one.told().await;
    scene.other.end_key(&key).await;
    assert!(scene.one.is_told(&[&key.l()]).await, "it is watched like any lease");
    assert!(!scene.one.store(&key, token, b"late").await);
    console.place_list(key.v());
    console.place_list(&key.l());
    let token = scene.one.granted(&key, LONG).await;
    assert!(scene.one.store(&key, token, b"v").await);
}

pub(super) async fn a_foreign_lease_is_nobody_s(scene: &Scene, console: &dyn Console) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    console.place_list(&key.l());
    let link = scene.one.link();
    assert!(!scene.one.store(&key, token, b"late").await);
    assert!(!link.extend(&key, token, LONG).await.unwrap());
    link.fail(&key, token, "code", LONG).await.unwrap();
    link.release(&key, token, LONG).await.unwrap();
    assert_eq!(console.type_of(&key.l()), "list");
    assert_eq!(console.type_of(key.v()), "none");
}

/// A later version may write leases that we do not know: they are not ours to end.
pub(super) async fn a_lease_record_of_another_form_is_left_alone(
    scene: &Scene,
    console: &dyn Console,
) {
    let key = scene.key("k");
    let token = scene.draw();
    for record in [&b"W"[..], b"T", b"", b"lock", &[b"E", &token[..9]].concat()] {
        console.run(&[b"SET", &key.l(), record, b"PX", b"3600000"]);
        assert_eq!(scene.one.claim(&key).await, Claim::Foreign);
        assert!(!scene.one.store(&key, token, b"v").await);
        assert!(!scene.one.link().extend(&key, token, LONG).await.unwrap());
        scene.one.link().release(&key, token, LONG).await.unwrap();
        assert_eq!(scene.one.lease(&key).await, bytes(record));
    }
}

/// "inf" is a number to Lua, and none to Redis.
pub(super) async fn a_guard_list_of_another_form_stands_in_no_end_s_way(
    scene: &Scene,
    console: &dyn Console,
) {
    for deadline in ["inf          ", "1e999        ", "nan          ", "+170000000000"] {
        let key = scene.key("k");
        let record = [b"W=", scene.draw().as_slice(), deadline.as_bytes()].concat();
        console.run(&[b"SET", &key.l(), &record, b"PX", b"3600000"]);
        scene.one.end_key(&key).await;
        scene.one.granted(&key, LONG).await;
        console.run(&[b"SET", &key.l(), &record, b"PX", b"3600000"]);
        let keys = [key];
        scene.one.far.guard(&keys, scene.draw(), LONG).await.unwrap();
        scene.one.far.end(&keys.map(Ended::SoftKey), SOFT).await.unwrap();
    }
}

/// Written by hand, or restored: nobody would ever give it up.
pub(super) async fn a_lease_without_an_end_is_replaced(scene: &Scene, console: &dyn Console) {
    let key = scene.key("k");
    console.run(&[b"SET", &key.l(), &[b"T", scene.draw().as_slice()].concat()]);
    let token = scene.one.granted(&key, LONG).await;
    assert!(is_held(&scene.other.claim(&key).await));
    assert!(scene.one.store(&key, token, b"v").await);
}

pub(super) async fn discard_end_put_and_store_take_the_place_of_foreign_things(
    scene: &Scene,
    console: &dyn Console,
) {
    let (key, tag) = (scene.key("k"), Tag::new("t"));
    let (v, l, t) = (key.v(), key.l(), scene.t(&tag));
    console.place_list(v);
    scene.one.far.discard(std::slice::from_ref(&key)).await.unwrap();
    assert_eq!(console.type_of(v), "none");

    for name in [v, &l, &t] {
        console.place_list(name);
    }
    scene.one.far.end(&[Ended::Tag(tag), Ended::Key(key.clone())], SOFT).await.unwrap();
    assert_eq!([v, &l, &t].map(|name| console.type_of(name)), ["none"; 3]);

    console.place_list(v);
    console.place_list(&l);
    scene.one.put(&key, b"put").await;
    assert_eq!(scene.other.value(&key).await, bytes(b"put"));
    assert_eq!(console.type_of(&l), "none");

    scene.one.end_key(&key).await;
    let token = scene.one.granted(&key, LONG).await;
    console.place_list(v);
    assert!(scene.one.store(&key, token, b"stored").await);
    assert_eq!(scene.other.value(&key).await, bytes(b"stored"));
}

pub(super) async fn a_foreign_tag_is_none_and_gives_way_to_another_generation(
    scene: &Scene,
    console: &dyn Console,
) {
    let (tag, good) = (Tag::new("t"), Tag::new("good"));
    let there = scene.other.made(&good, LONG).await;
    let (tags, t) = ([tag.clone(), good.clone()], scene.t(&tag));
    console.place_list(&t);
    let link = scene.one.link();
    assert_eq!(link.get(&[], &tags).await.unwrap().generations[..], [None, Some(there)]);
    assert_eq!(link.generations(&tags).await.unwrap()[..], [None, Some(there)]);
    assert_eq!(link.prolong(&tags, 2 * LONG).await.unwrap(), [None, Some(there)]);
    assert_eq!(scene.one.state(&tag).await, None);
    let read = link.read(&scene.key("k"), scene.draw(), LONG, None, &tags).await.unwrap();
    assert_eq!(read.claim, Claim::Granted);
    assert_eq!(generations(&read.tags), [None, Some(there)]);

    let asked = [(tag.clone(), scene.draw()), (good, scene.draw())];
    assert_eq!(link.create(&asked, LONG).await.unwrap(), [None, Some(there)]);
    assert_eq!(console.type_of(&t), "none", "what was sent first does not stand");
    scene.one.made(&tag, LONG).await;
    scene.one.told().await;
    scene.other.end_tag(&tag).await;
    assert!(scene.one.is_told(&[&t]).await);
}

pub(super) async fn forgotten_scripts_are_not_noticed(scene: &Scene, console: &dyn Console) {
    let key = scene.key("k");
    let link = scene.one.link();
    let forget = || console.run(&[b"SCRIPT", b"FLUSH"]);
    forget();
    let token = scene.one.granted(&key, LONG).await;
    forget();
    assert!(link.extend(&key, token, LONG).await.unwrap());
    forget();
    assert!(scene.one.store(&key, token, b"v").await);
    forget();
    scene.one.put(&key, b"w").await;
    scene.one.end_key(&key).await;
    let token = scene.one.granted(&key, LONG).await;
    forget();
    link.release(&key, token, LONG).await.unwrap();
    assert_eq!(scene.one.lease(&key).await, None);
    let token = scene.one.granted(&key, LONG).await;
    forget();
    link.fail(&key, token, "code", LONG).await.unwrap();
    assert!(matches!(scene.other.claim(&key).await, Claim::Failed(..)));
}

/// A token is in at most one READ that ran: NOSCRIPT did not.
pub(super) async fn a_forgotten_script_runs_once(scene: &Scene, console: &dyn Console) {
    let (key, tag) = (scene.key("k"), Tag::new("t"));
    let nonce = scene.other.made(&tag, LONG).await;
    console.run(&[b"SCRIPT", b"FLUSH"]);
    console.run(&[b"CONFIG", b"RESETSTAT"]);
    let link = scene.one.link();
    let tags = std::slice::from_ref(&tag);
    let read = link.read(&key, scene.draw(), LONG, None, tags).await.unwrap();
    assert_eq!(read.claim, Claim::Granted);
    assert_eq!(generations(&read.tags), [Some(nonce)]);
    let stats = console.run(&[b"INFO", b"commandstats"]);
    assert_eq!(console.calls("set"), 1, "one grant: {stats}");
    let missing = console.run(&[b"INFO", b"errorstats"]);
    assert!(missing.contains("errorstat_NOSCRIPT:count=1"), "{missing}");
    assert_eq!(console.calls("evalsha"), 2, "one that did not run, and one that did: {stats}");
}

fn is_refused<T>(answer: &Result<T, FarError>) -> bool {
    matches!(answer, Err(FarError::Refused(_)))
}

async fn refused<T>(what: &str, reply: Reply<'_, T>) {
    assert!(is_refused(&reply.await), "{what}");
}

pub(super) async fn a_full_server_still_reads_and_ends(scene: &Scene, console: &dyn Console) {
    let (key, leased, tag) = (scene.key("k"), scene.key("leased"), Tag::new("t"));
    let (id, tags) = (scene.draw(), std::slice::from_ref(&tag));
    scene.one.put(&key, &envelope(id, "v")).await;
    let token = scene.one.granted(&leased, MINUTE).await;
    let nonce = scene.one.made(&tag, MINUTE).await;
    scene.one.told().await;
    console.memory_max("1");
    let value = envelope(id, "v");
    let link = scene.one.link();
    assert_eq!(scene.one.value(&key).await, bytes(&value));
    assert_eq!(scene.one.claim(&key).await, Claim::Value(value.into()));
    assert!(is_held(&scene.other.claim(&leased).await));
    assert_eq!(scene.one.generation(&tag).await, Some(nonce));
    assert_eq!(link.prolong(tags, LONG).await.unwrap(), [Some(nonce)]);
    assert!(link.extend(&leased, token, LONG).await.unwrap());
    let soft = [Ended::SoftKey(key.clone()), Ended::SoftTag(tag.clone())];
    scene.other.far.end(&soft, SOFT).await.unwrap();
    assert!(scene.one.value(&key).await.is_some(), "marked, and there to stand in");
    let marked = scene.one.generation(&tag).await.map(|marked| marked.nonce);
    assert_eq!(marked.map(|marked| marked[8..] == SOFT), Some(true));
    scene.one.told().await;
    let ended = [Ended::Key(key.clone()), Ended::Key(leased.clone()), Ended::Tag(tag.clone())];
    scene.other.far.end(&ended, SOFT).await.unwrap();
    assert!(scene.one.is_told(&[key.v(), &leased.l(), &scene.t(&tag)]).await);
    assert_eq!(scene.one.value(&key).await, None);
    assert_eq!(console.run(&[b"DBSIZE"]), "0");
    console.memory_max("0");
    scene.one.granted(&key, LONG).await;
}

pub(super) async fn a_full_server_refuses_a_lease_and_leaves_nothing(
    scene: &Scene,
    console: &dyn Console,
) {
    let (missing, rejected, foreign) =
        (scene.key("missing"), scene.key("rejected"), scene.key("foreign"));
    let (id, tag) = (scene.draw(), Tag::new("t"));
    scene.one.put(&rejected, &envelope(id, "v")).await;
    console.memory_max("1");
    let link = scene.one.link();
    refused("READ", link.read(&missing, scene.draw(), LONG, None, &[])).await;
    refused("READ(seen)", link.read(&rejected, scene.draw(), LONG, Some(id), &[])).await;
    refused("SET of a tag", link.create(&[(tag.clone(), scene.draw())], LONG)).await;
    assert_eq!(scene.one.lease(&missing).await, None);
    assert_eq!(scene.one.lease(&rejected).await, None);
    assert_eq!(scene.one.generation(&tag).await, None);
    assert_eq!(scene.one.value(&rejected).await, bytes(&envelope(id, "v")));
    console.memory_max("0");
    console.place_list(foreign.v());
    console.memory_max("1");
    let over = link.read(&foreign, scene.draw(), LONG, None, &[]).await;
    // Room was made by removing what stood there: refused whole, or granted, never in between.
    let lease = scene.one.lease(&foreign).await;
    assert_eq!(is_refused(&over), lease.is_none(), "{over:?} {lease:?}");
    assert_eq!(console.type_of(foreign.v()), "none");
}

pub(super) async fn a_full_server_refuses_a_store_whose_lease_can_be_released(
    scene: &Scene,
    console: &dyn Console,
) {
    let (key, short) = (scene.key("k"), scene.key("short"));
    let token = scene.one.granted(&key, LONG).await;
    let brief = scene.one.granted(&short, SHORT).await;
    console.memory_max("1");
    let link = scene.one.link();
    refused("STORE", link.store(&key, token, b"v", LONG)).await;
    refused("FAIL", link.fail(&key, token, "code", LONG)).await;
    assert_eq!(scene.one.value(&key).await, None);
    assert!(scene.one.lease(&key).await == bytes(&[b"T", token.as_slice()].concat()));
    link.release(&key, token, LONG).await.unwrap();
    assert_eq!(scene.one.lease(&key).await, None);
    let over = || async { scene.one.lease(&short).await.is_none() };
    scene.until("the end of a lease", over).await;
    let late = link.store(&short, brief, b"v", LONG).await;
    assert_eq!(late, Ok(false), "what is lost is not refused");
}

pub(super) async fn a_full_server_refuses_a_put_and_keeps_what_was(
    scene: &Scene,
    console: &dyn Console,
) {
    let (valued, leased) = (scene.key("valued"), scene.key("leased"));
    scene.one.put(&valued, b"v").await;
    let token = scene.one.granted(&leased, LONG).await;
    console.memory_max("1");
    refused("PUT", scene.one.far.put(&valued, b"w", LONG)).await;
    refused("PUT", scene.one.far.put(&leased, b"w", LONG)).await;
    assert_eq!(scene.one.value(&valued).await, bytes(b"v"));
    assert!(is_held(&scene.other.claim(&leased).await));
    console.memory_max("0");
    assert!(scene.one.store(&leased, token, b"v").await);
}

/// What keeps nothing is not refused: the guard of a writer that was overtaken is over.
pub(super) async fn a_full_server_refuses_a_finish_whose_guard_can_be_ended(
    scene: &Scene,
    console: &dyn Console,
) {
    let (alone, ended) = (scene.key("alone"), scene.key("ended"));
    let token = scene.draw();
    scene.one.far.guard(&[alone.clone(), ended.clone()], token, LONG).await.unwrap();
    scene.other.end_key(&ended).await;
    console.memory_max("1");
    let finish = |key| Finish { key, beside: &[], token, envelope: b"new", keep: LONG };
    refused("FINISH", scene.one.far.finish(finish(&alone))).await;
    assert_eq!(scene.one.value(&alone).await, None);
    assert_eq!(scene.one.claim(&alone).await, Claim::Guarded);
    scene.one.far.end(&[Ended::Guarded(alone.clone(), token)], SOFT).await.unwrap();
    assert_eq!(scene.one.lease(&alone).await, None);
    assert_eq!(scene.one.far.finish(finish(&ended)).await, Ok(false));
    assert_eq!(scene.one.lease(&ended).await, None);
    console.memory_max("0");
}

pub(super) async fn a_full_server_refuses_a_new_header_and_keeps_what_was(
    scene: &Scene,
    console: &dyn Console,
) {
    let (key, id, token) = (scene.key("k"), scene.draw(), scene.draw());
    scene.one.put(&key, &envelope(id, "v")).await;
    let link = scene.one.link();
    assert_eq!(link.read(&key, token, LONG, Some(id), &[]).await.unwrap().claim, Claim::Granted);
    let head = envelope(token, "");
    console.memory_max("1");
    refused("RESTAMP", link.restamp(&key, token, id, &head, LONG)).await;
    assert_eq!(scene.one.value(&key).await, Some(envelope(id, "v")));
    console.memory_max("0");
    assert_eq!(link.restamp(&key, token, id, &head, LONG).await, Ok(Restamped::Done));
}

pub(super) async fn restamp_of_a_foreign_value_changes_nothing(
    scene: &Scene,
    console: &dyn Console,
) {
    let key = scene.key("k");
    let token = scene.one.granted(&key, LONG).await;
    console.place_list(key.v());
    let answer = scene.one.link().restamp(&key, token, [0; 16], b"head", LONG).await;
    assert_eq!(answer, Ok(Restamped::Gone));
    assert_eq!(console.type_of(key.v()), "list");
    assert!(scene.one.store(&key, token, b"v").await);
}
