//! Where to dial, and for how long what answers there is what we take it for.
//!
//! A server at a fixed address is what it is for as long as it answers. Where others decide who is
//! master that is not so: a master that was replaced goes on answering, and believes in itself. So a
//! [`Supervisor`](super::Supervisor) asks its [`Whereabouts`] before it dials, puts what they want to
//! know into each heartbeat, and lets them judge the answers; and whoever decides keeps the word they
//! gave for a server, [`Vouched`], or takes it back. An answer is believed only while it stands: see
//! [`Line::ask`](super::Line::ask).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ::redis::{Pipeline, Value};
use tokio::sync::watch;

use super::connect::{Access, NoConnection};
use crate::clock::Moment;
use crate::pulse::Pulse;

/// A question under way.
pub(crate) type Asked<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a connection is to be made, as asked for one try.
#[derive(Clone)]
pub(crate) struct Spot {
    pub(crate) access: Access,
    /// Which of its times as master this is; 0 where it is always one. A server that was another's
    /// replica in between has what that one had, and is not believed as the one that it was.
    pub(crate) tenure: u64,
    pub(crate) vouched: Arc<Vouched>,
}

/// Knows where to dial. Prints what people call it.
pub(crate) trait Whereabouts: fmt::Display + Send + Sync {
    /// Where to dial now. May wait for as long as a connection may take to be made.
    fn spot(&self) -> Asked<'_, Result<Spot, NoConnection>>;

    /// Adds to what a new connection is asked before it is used, and to each heartbeat.
    fn ask(&self, _heartbeat: &mut Pipeline) {}

    /// Judges the answers, refusals among them, to what [`ask`](Self::ask) added; it was sent at `sent`. An
    /// error ends the connection for good.
    fn judge(&self, _spot: &Spot, _sent: Moment, _answers: &[Value]) -> Result<(), String> {
        Ok(())
    }

    /// Runs until the process stops it, where there is something to watch.
    fn watch(self: Arc<Self>) -> Asked<'static, ()> {
        Box::pin(async {})
    }
}

/// The word that a server is what we take it for: good up to a moment, put off again and again, and
/// taken back once and for all.
pub(crate) struct Vouched {
    pulse: Pulse,
    ended: watch::Sender<Option<Arc<str>>>,
}

impl Vouched {
    /// Of a server that is what it is.
    pub(crate) fn always() -> Vouched {
        Vouched { pulse: Pulse::always(), ended: watch::Sender::new(None) }
    }

    /// Good up to a moment, until it is put off.
    pub(crate) fn up_to(moment: Moment) -> Vouched {
        Vouched { pulse: Pulse::up_to(moment), ended: watch::Sender::new(None) }
    }

    /// Puts its end off.
    pub(crate) fn covers_until(&self, moment: Moment) {
        self.pulse.proven_until(moment);
    }

    /// Has anybody ever spoken for the server?
    pub(crate) fn is_given(&self) -> bool {
        self.until() > Moment::NEVER
    }

    /// Takes it back. The connection is given up, with the first reason given.
    pub(crate) fn end(&self, why: &str) {
        self.pulse.end();
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert_with(|| Arc::from(why));
            first
        });
    }

    pub(crate) fn covers(&self, now: Moment) -> bool {
        self.pulse.covers(now)
    }

    /// How far it reaches now.
    pub(crate) fn until(&self) -> Moment {
        self.pulse.until()
    }

    /// Ends when it is taken back, with why.
    pub(crate) async fn ended(&self) -> String {
        let mut ended = self.ended.subscribe();
        // The sender lives as long as `self`.
        match ended.wait_for(Option::is_some).await {
            Ok(why) => why.as_deref().unwrap_or_default().to_owned(),
            Err(_) => String::new(),
        }
    }
}

/// A server at an address that does not change.
pub(crate) struct Fixed(Spot);

impl Fixed {
    pub(crate) fn new(access: Access) -> Fixed {
        Fixed(Spot { access, tenure: 0, vouched: Arc::new(Vouched::always()) })
    }
}

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.access.fmt(f)
    }
}

impl Whereabouts for Fixed {
    fn spot(&self) -> Asked<'_, Result<Spot, NoConnection>> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[tokio::test]
    async fn a_word_taken_back_stays_so_and_keeps_its_first_reason() {
        let now = Clock::system().unwrap().now();
        let vouched = Vouched::always();
        assert!(vouched.covers(now));
        vouched.end("another is master");
        vouched.end("and another");
        assert!(!vouched.covers(now));
        assert_eq!(vouched.ended().await, "another is master");
        assert_eq!(vouched.ended().await, "another is master", "whoever asks later hears it too");
    }
}
