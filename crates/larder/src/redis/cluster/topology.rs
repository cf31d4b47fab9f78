//! Who has which slots, in the words of one node.
//!
//! Answers of a server: what cannot be read is left out, or refused as a whole; nothing here trusts a
//! number before it has looked at it.

use std::fmt;

use ::redis::{Pipeline, RedisError, ServerErrorKind, Value, from_redis_value_ref};

use crate::key::slot::{SLOTS, Slot, Slots};

/// Where a node says that it, or another, is to be reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Place {
    /// `host:port` as redirects have it. Without a host it is that of the node which answered.
    fn read(text: &str, beside: &str) -> Option<Place> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        // The node does not know what it is called.
        let host = if host.is_empty() { beside } else { host };
        (host != "?").then(|| Place { host: host.to_owned(), port })
    }
}

/// A node, by the name that it keeps wherever it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) place: Place,
}

/// Slots that lie together on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    first: u16,
    last: u16,
    pub(super) master: Member,
    pub(super) replicas: Vec<Member>,
}

impl Span {
    /// As a node says it.
    #[cfg(test)]
    pub(super) fn answer(&self) -> Value {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let Member { id, place: Place { host, port } } = &self.master;
        let master = Value::Array(vec![text(host), Value::Int((*port).into()), text(id)]);
        Value::Array(vec![Value::Int(self.first.into()), Value::Int(self.last.into()), master])
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (self.first..=self.last).filter_map(Slot::numbered)
    }
}

/// How one node sees the cluster.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Who says so.
    pub(super) of: String,
    /// Whether it thinks that the cluster works.
    pub(super) is_ok: bool,
    /// The highest that it has heard of.
    pub(super) epoch: u64,
    pub(super) spans: Vec<Span>,
}

impl View {
    /// The questions that a view is made of.
    pub(super) fn ask(pipeline: &mut Pipeline) {
        pipeline.cmd("CLUSTER").arg("INFO");
        pipeline.cmd("CLUSTER").arg("MYID");
        pipeline.cmd("CLUSTER").arg("SLOTS");
    }

    /// `beside`: the host that the answers came from.
    pub(super) fn read(answers: Vec<Value>, beside: &str) -> Result<View, String> {
        let [info, id, slots] = <[Value; 3]>::try_from(answers)
            .map_err(|_| "it gave answers to other questions".to_owned())?;
        let text = |answer: Value| -> Result<String, String> {
            let answer = answer.extract_error().map_err(|why| why.to_string())?;
            from_redis_value_ref(&answer).map_err(|_| "it gave no text".to_owned())
        };
        let (info, of) = (text(info)?, text(id)?);
        let field = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map(str::trim)
        };
        let epoch = field("cluster_current_epoch").and_then(|epoch| epoch.parse().ok());
        Ok(View {
            of,
            is_ok: field("cluster_state") == Some("ok"),
            epoch: epoch.unwrap_or(0),
            spans: spans(&slots, beside)?,
        })
    }

    /// The slots of a node, in this view.
    pub(super) fn slots_of(&self, id: &str) -> Slots {
        slots_of(&self.spans, id)
    }
}

/// The slots whose master a node is.
pub(super) fn slots_of(spans: &[Span], id: &str) -> Slots {
    let mut slots = Slots::none();
    for span in spans.iter().filter(|span| span.master.id == id) {
        span.slots().for_each(|slot| slots.add(slot));
    }
    slots
}

/// An answer to CLUSTER SLOTS.
pub(super) fn spans(answer: &Value, beside: &str) -> Result<Vec<Span>, String> {
    match answer {
        Value::Array(spans) => Ok(spans.iter().filter_map(|one| span(one, beside)).collect()),
        Value::ServerError(why) => Err(RedisError::from(why.clone()).to_string()),
        _ => Err("CLUSTER SLOTS gave no list".to_owned()),
    }
}

fn span(answer: &Value, beside: &str) -> Option<Span> {
    let Value::Array(parts) = answer else { return None };
    let [first, last, master, replicas @ ..] = parts.as_slice() else { return None };
    let number = |value: &Value| match value {
        Value::Int(number) => u16::try_from(*number).ok().filter(|number| *number < SLOTS),
        _ => None,
    };
    Some(Span {
        first: number(first)?,
        last: number(last)?,
        master: member(master, beside)?,
        replicas: replicas.iter().filter_map(|one| member(one, beside)).collect(),
    })
}

fn member(answer: &Value, beside: &str) -> Option<Member> {
    let Value::Array(parts) = answer else { return None };
    let [host, port, id, ..] = parts.as_slice() else { return None };
    let host: Option<String> = from_redis_value_ref(host).ok()?;
    let port: u16 = from_redis_value_ref(port).ok().filter(|port| *port > 0)?;
    let host = match host.as_deref() {
        None | Some("") => beside,
        Some("?") => return None,
        Some(host) => host,
    };
    let place = Place { host: host.to_owned(), port };
    Some(Member { id: from_redis_value_ref(id).ok()?, place })
}

/// Where a node sends us instead of answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// For good.
    Moved(Place),
    /// With this one command: the slot is on its way there.
    Ask(Place),
}

impl Redirect {
    /// `None` when it is an answer, or another refusal.
    pub(super) fn of(answer: &Value, beside: &str) -> Option<Redirect> {
        let Value::ServerError(why) = answer else { return None };
        let kind = why.kind()?;
        if !matches!(kind, ServerErrorKind::Moved | ServerErrorKind::Ask) {
            return None;
        }
        let why = RedisError::from(why.clone());
        let (text, _) = why.redirect_node()?;
        let place = Place::read(text, beside)?;
        Some(if kind == ServerErrorKind::Ask {
            Redirect::Ask(place)
        } else {
            Redirect::Moved(place)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn node(host: Value, port: i64, id: &str) -> Value {
        Value::Array(vec![host, Value::Int(port), text(id), Value::Array(vec![])])
    }

    fn range(first: i64, last: i64, nodes: Vec<Value>) -> Value {
        Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat())
    }

    fn member_of(id: &str, host: &str, port: u16) -> Member {
        Member { id: id.to_owned(), place: Place { host: host.to_owned(), port } }
    }

    #[test]
    fn a_view_is_read_and_a_host_that_is_not_told_is_the_one_that_was_asked() {
        let slots = Value::Array(vec![
            range(0, 1, vec![node(text("10.0.0.1"), 7001, "a"), node(Value::Nil, 7004, "d")]),
            range(2, 16383, vec![node(text(""), 7002, "b")]),
            range(5, 5, vec![node(text("?"), 7003, "c")]),
        ]);
        let info = text("cluster_state:ok\r\ncluster_size:3\r\ncluster_current_epoch:7\r\n");
        let view = View::read(vec![info, text("b"), slots], "10.0.0.9").unwrap();
        assert_eq!((view.is_ok, view.epoch, view.of.as_str()), (true, 7, "b"));
        let [first, second] = &view.spans[..] else { panic!("{:?}", view.spans) };
        assert_eq!(first.master, member_of("a", "10.0.0.1", 7001));
        assert_eq!(first.replicas, [member_of("d", "10.0.0.9", 7004)]);
        assert_eq!(second.master, member_of("b", "10.0.0.9", 7002));
        assert_eq!(view.slots_of("a").iter().map(Slot::number).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(view.slots_of("b").iter().count(), 16382);
        assert!(view.slots_of("d").is_empty(), "a replica has none");
    }

    #[test]
    fn rubbish_is_left_out_or_refused_and_never_believed() {
        let good = || node(text("h"), 1, "a");
        let odd = Value::Array(vec![
            Value::Nil,
            range(0, 16384, vec![good()]),
            range(-1, 3, vec![good()]),
            range(0, 3, vec![]),
            range(0, 3, vec![node(text("h"), 0, "a")]),
            range(0, 3, vec![node(text("h"), 65536, "a")]),
            range(0, 3, vec![Value::Int(3)]),
            range(3, 0, vec![good()]),
        ]);
        let spans = spans(&odd, "x").unwrap();
        assert!(slots_of(&spans, "a").is_empty(), "{spans:?}");
        assert!(super::spans(&Value::Okay, "x").is_err());
        let view = |answers: Vec<Value>| View::read(answers, "x");
        assert!(view(vec![]).is_err());
        assert!(view(vec![Value::Nil, text("a"), Value::Array(vec![])]).is_err());
        let failing = view(vec![text("cluster_state:fail"), text("a"), Value::Array(vec![])]);
        assert!(!failing.unwrap().is_ok);
    }

    #[test]
    fn a_redirect_names_a_place_and_other_refusals_are_none() {
        let refused = |text: &str| {
            let reply = format!("-{text}\r\n");
            ::redis::parse_redis_value(reply.as_bytes()).unwrap()
        };
        let place = |host: &str, port| Place { host: host.to_owned(), port };
        for (said, redirect) in [
            ("MOVED 3999 10.0.0.1:6381", Some(Redirect::Moved(place("10.0.0.1", 6381)))),
            ("ASK 3999 :6381", Some(Redirect::Ask(place("here", 6381)))),
            ("MOVED 1 ::1:7", Some(Redirect::Moved(place("::1", 7)))),
            ("MOVED 1 ?:7", None),
            ("MOVED 1 h:0", None),
            ("MOVED 1", None),
            ("TRYAGAIN Multiple keys request during rehashing of slot", None),
            ("CLUSTERDOWN Hash slot not served", None),
        ] {
            assert_eq!(Redirect::of(&refused(said), "here"), redirect, "{said}");
        }
        assert_eq!(Redirect::of(&Value::Okay, "here"), None);
        assert_eq!(place("::1", 7).to_string(), "[::1]:7");
    }
}
