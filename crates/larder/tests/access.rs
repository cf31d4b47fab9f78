//! Who larder is to Redis, what it may do there, and which way it comes in.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a scene that cannot be set has failed")]

mod support;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use larder::{Cache, Credentials, Error, ErrorKind, HOUR, Larder, LarderBuilder, Lifetime, SECOND};
use support::{PATIENT, Server, Source, World, soon, stepped, until};

fn builder(url: &str) -> LarderBuilder {
    Larder::builder("test").redis(url).far_deadline(PATIENT).connect_deadline(PATIENT)
}

fn says(error: &Error, words: &[&str]) {
    let text = error.to_string();
    words.iter().for_each(|word| assert!(text.contains(word), "no {word:?} in: {text}"));
}

/// The line that people copy from docs/running-it.md, for our app and with our password.
fn documented() -> String {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/running-it.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let rule = docs.lines().find(|line| line.starts_with("ACL SETUSER larder on ")).unwrap();
    let rule = rule.replace("larder on", "larder reset on").replace(">password", ">s3cret");
    assert!(rule.contains("~todo:*"));
    rule.replace("~todo:*", "~test:*")
}

/// Two processes whose user has the rights of `rule`, all with short leases, so that they are renewed.
async fn under(server: &Server, rule: &str, database: u32) -> Result<(World, World), Error> {
    let _: String = server.ask(rule);
    let url = format!("redis://larder:s3cret@127.0.0.1:{}/{database}", server.port());
    assert_eq!(builder(&url).open().await?.close(SECOND).await, 0);
    let source = Source::default();
    let short = || builder(&url).lease_time(Duration::from_millis(300));
    Ok((World::of(short(), &source).await, World::of(short(), &source).await))
}

/// Everything that larder does, once. Answers are looked at by who has the right to all of it.
async fn everything(server: &Server, here: &World, there: &World) -> Vec<Option<String>> {
    let mut seen = Vec::new();
    let mut note = |entry: Option<String>| seen.push(entry);
    here.source.set("k", "one");
    note(here.read_tagged("k", "list").await.ok().map(|entry| entry.to_string()));
    note(there.words.get("k").await.unwrap().map(|entry| entry.to_string()));
    let _ = here.words.invalidate("k").await;
    let _ = there.larder.sync().await;
    note(there.words.get("k").await.unwrap().map(|entry| entry.to_string()));
    // A lease that is renewed, somebody who waits for it, and a load that is dropped.
    let (mut step, load) = stepped();
    let loading = here.reading_by("slow", load);
    step.begins().await;
    let waiting = there.reading("slow");
    let before = server.calls("pexpire");
    let renewed = || async { server.calls("pexpire") > before || !server.refusals().is_empty() };
    until("the lease is renewed", renewed).await;
    there.source.set("slow", "slow");
    step.answers("slow");
    note(loading.await.unwrap().ok().map(|entry| entry.to_string()));
    note(waiting.await.unwrap().ok().map(|entry| entry.to_string()));
    let (mut step, load) = stepped();
    let dropped = here.reading_by("dropped", load);
    step.begins().await;
    dropped.abort();
    let _ = dropped.await;
    there.source.set("dropped", "loaded");
    note(there.read("dropped").await.ok().map(|entry| entry.to_string()));
    // A load that fails, a tag that must be kept for longer, many keys, a value without a source, a tag's end.
    note(here.read("absent").await.ok().map(|entry| entry.to_string()));
    let lifetime = Lifetime::fresh_for(HOUR).jitter(0.0);
    let longer: Cache<str, String> =
        here.larder.cache("longer").lifetime(lifetime).shared().unwrap();
    let load = || async { Ok::<_, std::io::Error>("long".to_owned()) };
    let long = longer.tagged(["list"]).get_or_load("k", load).await;
    note(long.ok().map(|entry| entry.to_string()));
    let _ = here.words.put("put", "put".to_owned()).await;
    note(there.words.get_many(["put", "k"]).await.unwrap()[0].as_ref().map(|e| e.to_string()));
    let _ = here.larder.invalidate_tag("list").await;
    // Soft ends, and a writer's guard.
    here.source.set("soft", "soft");
    let _ = here.read_tagged("soft", "soft").await;
    let _ = here.words.expire("soft").await;
    let _ = here.larder.expire_tag("soft").await;
    if let Ok(guard) = here.words.guard("soft").await {
        let _ = guard.end().await;
    }
    seen
}

/// The rule in the docs is enough for all that larder does, before and after a reconnect: nothing is refused.
#[tokio::test]
async fn the_documented_rights_are_enough() {
    for (database, more) in [(0, ""), (3, " +select")] {
        let server = Server::start();
        let rule = documented() + more;
        let (here, there) = under(&server, &rule, database).await.unwrap();
        for round in 1..=2 {
            let some = |text: &str| Some(text.to_owned());
            let seen = everything(&server, &here, &there).await;
            let wanted = [
                some("one"),
                some("one"),
                None,
                some("slow"),
                some("slow"),
                some("loaded"),
                None,
                some("long"),
                some("put"),
            ];
            assert_eq!(seen, wanted);
            server.hangs_up();
            for world in [&here, &there] {
                world.ear.hears("Connected { again: true }", round).await;
                let back = || async { world.words.invalidate("slow").await.is_ok() };
                until("the other connection is back", back).await;
            }
            here.words.invalidate("dropped").await.unwrap();
        }
        let tracked = server.larders().iter().filter(|line| line.contains("flags=t")).count();
        assert_eq!(tracked, 2);
        // One setting is asked for, and done without.
        let mut refused = server.refusals();
        refused.retain(|entry| entry != "command config|get");
        assert_eq!(refused, [""; 0]);
    }
}

/// None of them can be left out: without it something is refused, and the server's log names it.
#[tokio::test]
async fn each_of_the_documented_rights_is_needed() {
    let rule = documented();
    let rights: Vec<&str> = rule.split(' ').filter_map(|word| word.strip_prefix('+')).collect();
    assert!(rights.len() > 10, "{rights:?}");
    let server = Server::start();
    for right in rights {
        let _: String = server.ask("FLUSHALL");
        let _: String = server.ask("ACL LOG RESET");
        match under(&server, &format!("{rule} -{right}"), 0).await {
            Ok((here, there)) => {
                everything(&server, &here, &there).await;
            }
            Err(error) => says(&error, &["permission", right]),
        }
        let named = format!("command {right}");
        let logged = || async { server.refusals().contains(&named) };
        until(&format!("{named} in the server's log"), logged).await;
    }
}

/// The user is one of another app: the source is asked, nothing is claimed to be ended, and the log names the key.
#[tokio::test]
async fn a_user_of_another_app_may_touch_nothing() {
    let server = Server::start();
    let rule = documented().replace("~test:*", "~other:*");
    let (here, _there) = under(&server, &rule, 0).await.unwrap();
    here.source.set("k", "one");
    assert_eq!(*here.read("k").await.unwrap(), "one");
    assert_eq!(here.has("k").await, "nothing");
    assert!(here.words.stats().far_skipped > 0);
    let error = here.words.invalidate("k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unconfirmed, "{error}");
    assert!(here.larder.is_far_up());
    assert!(server.refusals().iter().any(|entry| entry.starts_with("key test:words:")));
    assert_eq!(server.keys(), [""; 0]);
}

/// A user that has no password is asked for by its name; it does not pass for the default user, who may do more.
#[tokio::test]
async fn a_user_without_a_password_is_itself() {
    let server = Server::start();
    let _: String = server.ask("ACL SETUSER larder reset on nopass ~* &* +@all");
    let at = format!("127.0.0.1:{}", server.port());
    let larder = builder(&format!("redis://larder@{at}")).open().await.unwrap();
    assert!(server.larders().iter().all(|line| line.contains("user=larder")));
    assert_eq!(larder.close(SECOND).await, 0);
    let error = builder(&format!("redis://nobody@{at}")).open().await.unwrap_err();
    says(&error, &["refuses the user name or password"]);
}

/// The password is changed while the service runs. Connections that break are made again with the new one, and
/// nobody gets in with the old.
#[tokio::test]
async fn a_password_that_changes_is_used_by_the_next_connection() {
    let server = Server::start();
    let _: String = server.ask("ACL SETUSER app reset on >first ~* &* +@all");
    let password = Arc::new(Mutex::new("first".to_owned()));
    let known = password.clone();
    let url = server.url();
    let asked = builder(&url).redis_credentials(move || {
        let password = known.lock().unwrap().clone();
        async move { Ok::<_, Infallible>(Credentials::password(password).user("app")) }
    });
    let world = World::of(asked, &Source::default()).await;
    world.source.set("k", "one");
    world.read("k").await.unwrap();
    assert_eq!(world.has("k").await, "one near");
    let _: String = server.ask("ACL SETUSER app <first >second");
    world.words.invalidate("another").await.unwrap(); // who is in stays in
    server.hangs_up();
    world.ear.hears("Disconnected", 1).await;
    let before = server.connections();
    until("tries with the old password", || async { server.connections() > before + 10 }).await;
    assert!(!world.larder.is_far_up());
    world.source.set("k", "two");
    assert_eq!(*world.read("k").await.unwrap(), "two", "what was near is not served");
    *password.lock().unwrap() = "second".to_owned();
    world.ear.hears("Connected { again: true }", 1).await;
    until("ends are confirmed", || async { world.words.invalidate("k").await.is_ok() }).await;
    assert_eq!(server.larders().len(), 2);
    let old = builder(&format!("redis://app:first@127.0.0.1:{}", server.port()));
    says(&old.open().await.unwrap_err(), &["refuses the user name or password"]);
}

/// Whoever knows the credentials fails, panics, and is asked again.
#[tokio::test]
async fn credentials_that_cannot_be_had_are_asked_for_again() {
    let server = Server::with(&["--requirepass", "s3cret"]);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let url = server.url();
    let asked = builder(&url).redis_credentials(move || {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            match call {
                2 => Err(std::io::Error::other("the vault is sealed")),
                3 => panic!("the vault is empty"),
                _ => Ok(Credentials::password("s3cret")),
            }
        }
    });
    let world = World::of(asked, &Source::default()).await;
    let kill = ["CLIENT", "KILL", "TYPE", "normal"];
    let _: i64 = server.ask_as("s3cret", &kill.join(" "));
    world.ear.hears("Connected { again: true }", 1).await;
    assert!(calls.load(Ordering::SeqCst) >= 5);
    until("ends are confirmed", || async { world.words.invalidate("k").await.is_ok() }).await;
}

#[tokio::test]
async fn credentials_that_cannot_be_had_at_the_start_are_no_error_unless_far_is_required() {
    let server = Server::start();
    let url = server.url();
    let sealed = || builder(&url).redis_credentials(|| async { Err("the vault is sealed") });
    let larder = sealed().open().await.unwrap();
    assert!(!larder.is_far_up());
    let error = sealed().require_far().open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Far);
    says(&error, &["redis_credentials failed", "the vault is sealed"]);
}

#[tokio::test]
async fn credentials_are_given_once_and_for_redis() {
    let ask = || async { Ok::<_, Infallible>(Credentials::password("s3cret")) };
    let both = builder("redis://u:s3cret@127.0.0.1:1").redis_credentials(ask);
    says(&both.open().await.unwrap_err(), &["redis_credentials", "leave one out"]);
    let none = Larder::builder("test").redis_credentials(ask);
    says(&none.open().await.unwrap_err(), &["redis_credentials", "redis URL"]);
}

/// Over a unix socket all is as over TCP: the database, changes that are pushed, connections that are made again.
#[tokio::test]
async fn a_unix_socket_will_do() {
    let server = Server::with(&["--unixsocket", "{folder}/redis.sock"]);
    let _: String = server.ask("ACL SETUSER app reset on >s3cret/@% ~* &* +@all");
    let socket = server.folder().join("redis.sock").display().to_string();
    let url = format!("redis+unix://{socket}?db=2&user=app&pass=s3cret/@%25");
    let (here, there) = (World::on(&url).await, World::on(&url).await);
    for round in 1..=2 {
        here.source.set("k", "one");
        here.read("k").await.unwrap();
        assert_eq!(there.has("k").await, "one far");
        assert_eq!(there.has("k").await, "one near");
        here.words.invalidate("k").await.unwrap();
        there.larder.sync().await.unwrap();
        assert_eq!(there.has("k").await, "nothing", "the change was pushed");
        let larders = server.larders();
        assert_eq!(larders.len(), 4);
        assert!(larders.iter().all(|line| line.contains("db=2") && line.contains("user=app")));
        server.hangs_up();
        for world in [&here, &there] {
            world.ear.hears("Connected { again: true }", round).await;
            let back = || async { world.words.invalidate("another").await.is_ok() };
            until("the other connection is back", back).await;
        }
    }
    let wrong = builder(&url.replace("s3cret", "wr0ng")).open().await.unwrap_err();
    says(&wrong, &["refuses the user name or password", "pass=", &socket]);
}

#[tokio::test]
async fn a_unix_socket_that_is_not_there_is_named() {
    let folder = std::env::temp_dir().join("larder-no-such-folder");
    let url = format!("redis+unix://{}/redis.sock?pass=hunter2", folder.display());
    let larder = builder(&url).open().await.unwrap();
    assert!(!larder.is_far_up(), "it may come later");
    let error = builder(&url).require_far().open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Far);
    says(&error, &["larder-no-such-folder/redis.sock", "unixsocket"]);
    assert!(!error.to_string().contains("hunter2"));
}

/// What is kept is kept in the URL's database, after a reconnect too.
#[tokio::test]
async fn the_database_is_the_one_in_the_url() {
    let server = Server::start();
    let url = server.url().replace("/0", "/3");
    let world = World::on(&url).await;
    world.source.set("k", "one");
    world.read("k").await.unwrap();
    server.hangs_up();
    world.ear.hears("Connected { again: true }", 1).await;
    assert_eq!(world.has("k").await, "one far");
    let back = || async { world.words.invalidate("another").await.is_ok() };
    until("the other connection is back", back).await;
    assert!(server.larders().iter().all(|line| line.contains("db=3")), "{:?}", server.larders());
    assert_eq!(server.keys(), [""; 0], "nothing in database 0");
}

/// Whoever looks at the server at night sees whose connections they are, and which is which. No right is needed.
#[tokio::test]
async fn connections_have_names() {
    let server = Server::start();
    let _: String = server.ask("ACL SETUSER app reset on >s3cret ~* &* +@all -client");
    let url = format!("redis://app:s3cret@127.0.0.1:{}", server.port());
    let larder = builder(&url).require_far().open().await.unwrap();
    let larders = server.larders();
    let names: Vec<&str> = larders.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["larder:test:tracked", "larder:test:untracked"]);
    assert_eq!(larder.close(SECOND).await, 0);
}

#[tokio::test]
async fn times_that_cannot_be_meant_are_refused() {
    let at = || builder("redis://127.0.0.1:1");
    for (builder, setting) in [
        (at().connect_deadline(Duration::from_millis(9)), "connect_deadline"),
        (at().connect_deadline(61 * SECOND), "connect_deadline"),
        (at().tcp_keepalive(Duration::from_millis(999)), "tcp_keepalive"),
        (at().tcp_keepalive(3 * HOUR), "tcp_keepalive"),
        (at().far_deadline(Duration::ZERO), "far_deadline"),
        (at().invalidate_deadline(61 * SECOND), "invalidate_deadline"),
    ] {
        let error = builder.open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        says(&error, &[setting, "from", "to"]);
    }
}

/// A server that takes connections and is silent is given as long as was settled.
#[tokio::test]
async fn a_silent_server_is_given_up_after_the_connect_deadline() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    for (deadline, shown) in [(20, "20ms"), (40, "40ms")] {
        let builder = builder(&url).require_far();
        let builder = builder.connect_deadline(Duration::from_millis(deadline));
        let error = soon("it gives up", builder.open()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Far);
        says(&error, &["is silent", shown]);
    }
}
