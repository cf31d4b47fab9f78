//! One sentinel, asked for as long as it is of use.
//!
//! One connection for its answers and its news, so that they come in order. One that is silent for
//! the bound B is closed, and dialled again with growing pauses of at most two seconds. A sentinel that
//! is connected by another name already is not asked twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{PushInfo, PushKind, Value, cmd, from_redis_value_ref, pipe};
use tokio::sync::Notify;

use super::Sentinels;
use super::council::{At, Word};
use crate::clock::Pauses;
use crate::error::{Error, ErrorKind};
use crate::redis::connect::{Greeted, NoConnection, Refusal, all, greet, silent};
use crate::redis::string;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// What a sentinel publishes when it has taken another server for the master.
const SWITCH: &str = "+switch-master";

/// Asks the one at `at` again and again; ends when nobody knows it any more.
pub(super) async fn attend(sentinels: &Arc<Sentinels>, at: &At) {
    let pauses = || Pauses::new(&sentinels.clock, FIRST_PAUSE, LONGEST_PAUSE);
    let (mut pause, mut told) = (pauses(), String::new());
    let mut name: Option<String> = None;
    loop {
        if let Some(name) = &name {
            sentinels.is_alone(name, at).await;
        }
        let began = sentinels.clock.now();
        let why = one_connection(sentinels, at, &mut name).await;
        if sentinels.clock.now().since(began) > sentinels.times.bound {
            (pause, told) = (pauses(), String::new());
        }
        let text = match &why {
            // The same sentinel by another name: nothing to tell.
            None => continue,
            Some(NoConnection::Away(why)) => why.clone(),
            Some(NoConnection::HungUp(why) | NoConnection::Wrong(why)) => why.to_string(),
        };
        if text != told {
            tracing::warn!(why = %text, "cannot ask a sentinel; trying on");
            told = text;
        }
        if !sentinels.is_wanted(at, why) {
            return;
        }
        pause.pause().await;
    }
}

/// From its first answer to its last. `None`: it is connected by another name already.
async fn one_connection(
    sentinels: &Arc<Sentinels>,
    at: &At,
    name: &mut Option<String>,
) -> Option<NoConnection> {
    let access = match sentinels.reach(&sentinels.to_sentinels, at) {
        Ok(access) => access,
        Err(why) => return Some(why),
    };
    let lost = Arc::new(Notify::new());
    let heard = {
        // Weak: the connection's driver must not keep alive who keeps it.
        let (sentinels, lost) = (Arc::downgrade(sentinels), lost.clone());
        move |push: PushInfo| match push.kind {
            PushKind::Message => {
                let told = push.data.into_iter().nth(1).and_then(string);
                let told = told.and_then(|told| String::from_utf8(told).ok());
                if let (Some(sentinels), Some(told)) = (sentinels.upgrade(), told) {
                    sentinels.hear_switch(&told);
                }
            }
            PushKind::Disconnection => lost.notify_one(),
            _ => {}
        }
    };
    let Greeted { mut connection, driver: _driver, refusal } =
        match greet(&access, &sentinels.clock, heard).await {
            Ok(greeted) => greeted,
            Err(why) => return Some(why),
        };
    let begun = begin(sentinels, &mut connection, &refusal);
    let begun = match sentinels.clock.within(sentinels.patience, begun).await {
        Some(Ok(begun)) => begun,
        Some(Err(why)) => return Some(why),
        None => return Some(silent(&access)),
    };
    let _seat = match Seat::take(sentinels, &begun, at) {
        Some(seat) => seat,
        None => {
            *name = Some(begun);
            return None;
        }
    };
    *name = Some(begun.clone());
    let overdue =
        || Some(NoConnection::Away(format!("{access} is silent for {:?}", sentinels.times.bound)));
    loop {
        let asked_now = sentinels.ask_now.notified();
        let asking = ask(sentinels, &mut connection, &refusal);
        let answer = tokio::select! {
            biased;
            () = lost.notified() => {
                return Some(NoConnection::Away(format!("{access} closed the connection")));
            }
            answer = sentinels.clock.within(sentinels.times.bound, asking) => answer,
        };
        match answer {
            None => return overdue(),
            Some(Err(why)) => return Some(why),
            Some(Ok(word)) => sentinels.hear(&begun, at, word),
        }
        tokio::select! {
            () = sentinels.clock.sleep(sentinels.times.bound / 4) => {}
            () = asked_now => {}
        }
    }
}

/// What it calls itself, and that it tells us of a switch.
async fn begin(
    sentinels: &Sentinels,
    connection: &mut MultiplexedConnection,
    refusal: &Refusal<'_>,
) -> Result<String, NoConnection> {
    let mut first = pipe();
    first.cmd("HELLO").arg(3).arg("SETNAME").arg(sentinels.to_sentinels.name("sentinel"));
    first.cmd("SENTINEL").arg("MYID");
    let answers = all(connection, &first).await.map_err(|why| refusal.of(&why))?;
    let name = answers.into_iter().nth(1).unwrap_or(Value::Nil).extract_error();
    let name = name.map_err(|why| match why.to_string().contains("unknown command") {
        true => odd(refusal, "it is no sentinel: check its port, 26379 unless set"),
        false => refusal.of(&why),
    })?;
    let name = string(name).and_then(|name| String::from_utf8(name).ok());
    let name = name.ok_or_else(|| odd(refusal, "it does not say what it calls itself"))?;
    let mut listen = cmd("SUBSCRIBE");
    listen.arg(SWITCH);
    let heard = listen.query_async::<Value>(connection).await;
    heard.and_then(Value::extract_error).map_err(|why| refusal.of(&why))?;
    Ok(name)
}

async fn ask(
    sentinels: &Sentinels,
    connection: &mut MultiplexedConnection,
    refusal: &Refusal<'_>,
) -> Result<Word, NoConnection> {
    let master = sentinels.master.as_str();
    let mut asked = pipe();
    asked.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    asked.cmd("SENTINEL").arg("MASTER").arg(master);
    asked.cmd("SENTINEL").arg("SENTINELS").arg(master);
    let sent = sentinels.clock.now();
    let answers = all(connection, &asked).await.map_err(|why| refusal.of(&why))?;
    let now = sentinels.clock.now();
    let [named, fields, others]: [Value; 3] =
        answers.try_into().map_err(|_| odd(refusal, "it gives another number of answers"))?;
    let named = named.extract_error().map_err(|why| refusal.of(&why))?;
    let (host, port) = match from_redis_value_ref::<Option<(String, u16)>>(&named) {
        Ok(Some(named)) => named,
        Ok(None) => {
            let what = format!("it watches no master named {master}: check the name in the URL");
            return Err(odd(refusal, &what));
        }
        Err(_) => return Err(odd(refusal, "its answer cannot be read")),
    };
    let names = At { host, port };
    let fields = fields.extract_error().map_err(|why| refusal.of(&why))?;
    let fields = pairs(&fields);
    let ms = |field: &str| {
        let ms = fields.get(field)?.parse().ok()?;
        Some(Duration::from_millis(ms))
    };
    if let Some(down_after) = ms("down-after-milliseconds") {
        sentinels.look_at(down_after);
    }
    // How long ago it took it for the master. Its failover may be a step ahead of what it calls the master
    // here: then that is what the time is of.
    let is_same = fields.get("ip") == Some(&names.host)
        && fields.get("port").is_some_and(|port| *port == names.port.to_string());
    let age = ms("role-reported-time").filter(|_| is_same).unwrap_or_default();
    let others = others.extract_error().map_err(|why| refusal.of(&why))?;
    let others = match others {
        Value::Array(others) => others.iter().filter_map(other).collect(),
        _ => return Err(odd(refusal, "what it says of other sentinels cannot be read")),
    };
    let epoch = fields.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or_default();
    Ok(Word { names, since: now.minus(age), epoch, asked: sent, others })
}

/// Another sentinel's name and place.
fn other(fields: &Value) -> Option<(String, At)> {
    let mut fields = pairs(fields);
    let (name, host) = (fields.remove("runid")?, fields.remove("ip")?);
    let port = fields.remove("port")?.parse().ok()?;
    // One that was found and has not said its name yet.
    (!name.is_empty()).then_some((name, At { host, port }))
}

fn pairs(fields: &Value) -> HashMap<String, String> {
    from_redis_value_ref(fields).unwrap_or_default()
}

fn odd(refusal: &Refusal<'_>, what: &str) -> NoConnection {
    NoConnection::Wrong(Error::new(ErrorKind::Config, format!("{}: {what}", refusal.access)))
}

/// A sentinel's one connection, by whichever of its names.
struct Seat {
    sentinels: Arc<Sentinels>,
    name: String,
}

impl Seat {
    fn take(sentinels: &Arc<Sentinels>, name: &str, at: &At) -> Option<Seat> {
        let mut room = sentinels.room.lock();
        room.trouble.remove(at);
        if room.attended.contains_key(name) {
            return None;
        }
        room.attended.insert(name.to_owned(), at.clone());
        Some(Seat { sentinels: sentinels.clone(), name: name.to_owned() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.sentinels.room.lock().attended.remove(&self.name);
        self.sentinels.news.send_replace(());
    }
}

impl Sentinels {
    /// Ends when the sentinel is not connected, save by this name.
    async fn is_alone(&self, name: &str, at: &At) {
        let mut news = self.news.subscribe();
        loop {
            news.borrow_and_update();
            if self.room.lock().attended.get(name).is_none_or(|by| by == at) {
                return;
            }
            // The sender lives as long as `self`.
            let _ = news.changed().await;
        }
    }

    /// Is it in the URL, or known to another? Notes what stands in its way, if so.
    fn is_wanted(&self, at: &At, why: Option<NoConnection>) -> bool {
        let mut room = self.room.lock();
        let wanted = self.seeds.contains(at) || room.council.known().any(|(_, known)| known == at);
        match why {
            Some(why) if wanted => room.trouble.insert(at.clone(), why),
            _ => room.trouble.remove(at),
        };
        drop(room);
        self.news.send_replace(());
        wanted
    }
}
