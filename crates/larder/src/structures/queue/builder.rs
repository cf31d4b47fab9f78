//! How a queue is opened: the one place where its defaults are written down.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::{Inner, Place, Queue, Rules, memory};
use crate::clock::{DAY, HOUR, MINUTE, SECOND};
use crate::entry::Codec;
use crate::error::{Error, ErrorKind};
use crate::structures::{Ground, Side};

/// Settles how a [`Queue`] works. Every default is here.
#[must_use]
pub struct QueueBuilder {
    ground: Ground,
    name: String,
    rules: Rules,
}

impl std::fmt::Debug for QueueBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}

impl QueueBuilder {
    pub(crate) fn new(ground: Ground, name: &str) -> QueueBuilder {
        let rules = Rules {
            jobs_max: 100_000,
            body_bytes_max: 1 << 20,
            visibility: 30 * SECOND,
            renew_for: HOUR,
            attempts_max: 10,
            backoff: (SECOND, 5 * MINUTE),
            once_for: HOUR,
            dead_max: 10_000,
            look_every: SECOND,
            codec: Codec::default(),
        };
        QueueBuilder { ground, name: name.to_owned(), rules }
    }

    /// How many jobs there may be: waiting, claimed and to come later. 100,000; from 1 to 100,000,000. A push beyond
    /// it is [`ErrorKind::Overloaded`]; no job is ever dropped to make room.
    pub fn jobs_max(mut self, jobs: u64) -> QueueBuilder {
        self.rules.jobs_max = jobs;
        self
    }

    /// How large one body may be when written. 1 MiB; from 1 to 64 MiB.
    pub fn body_bytes_max(mut self, bytes: usize) -> QueueBuilder {
        self.rules.body_bytes_max = bytes;
        self
    }

    /// For how long a worker may be silent before its job is handed to another. 30 seconds; from 100 ms to a day. A
    /// job that is held is renewed every third of it, so it bounds how soon the dead are replaced, not how long
    /// work may take.
    pub fn visibility(mut self, time: Duration) -> QueueBuilder {
        self.rules.visibility = time;
        self
    }

    /// For how long a job that is held is renewed. An hour; from nothing to 30 days. Work that hangs loses its job
    /// after that.
    pub fn renew_for(mut self, time: Duration) -> QueueBuilder {
        self.rules.renew_for = time;
        self
    }

    /// How often a job is tried before it is a dead letter. 10; from 1 to 1,000. A worker that dies with it has
    /// tried it.
    pub fn attempts_max(mut self, attempts: u32) -> QueueBuilder {
        self.rules.attempts_max = attempts;
        self
    }

    /// How long a job that failed waits: `first`, then each time twice as long up to `longest`, and the second half
    /// of it left to chance. One second and five minutes; from 1 ms to 30 days.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> QueueBuilder {
        self.rules.backoff = (first, longest);
        self
    }

    /// For how long [`push_once`](Queue::push_once) remembers a name. An hour; from a second to 30 days.
    pub fn once_for(mut self, time: Duration) -> QueueBuilder {
        self.rules.once_for = time;
        self
    }

    /// How many dead letters are kept; the oldest go. 10,000; from 1 to 1,000,000.
    pub fn dead_max(mut self, letters: u64) -> QueueBuilder {
        self.rules.dead_max = letters;
        self
    }

    /// How often who waits for a job looks for those that have become due, and for those of workers that are gone: at
    /// most so late is a delayed job. One second; from 10 ms to a minute. A job that is pushed is seen at once.
    pub fn look_every(mut self, time: Duration) -> QueueBuilder {
        self.rules.look_every = time;
        self
    }

    /// How bodies are written. [`Codec::MessagePack`].
    pub fn codec(mut self, codec: Codec) -> QueueBuilder {
        self.rules.codec = codec;
        self
    }

    fn check(&self) -> Result<(), Error> {
        let rules = &self.rules;
        let milli = Duration::from_millis(1);
        let times = [
            ("visibility", rules.visibility, 100 * milli, DAY),
            ("renew_for", rules.renew_for, Duration::ZERO, 30 * DAY),
            ("backoff: first", rules.backoff.0, milli, 30 * DAY),
            ("backoff: longest", rules.backoff.1, rules.backoff.0, 30 * DAY),
            ("once_for", rules.once_for, SECOND, 30 * DAY),
            ("look_every", rules.look_every, 10 * milli, MINUTE),
        ];
        for (what, time, least, most) in times {
            if time < least || time > most {
                return self.refuse(&format!("{what} is from {least:?} to {most:?}, not {time:?}"));
            }
        }
        let counts = [
            ("jobs_max", rules.jobs_max, 100_000_000),
            ("body_bytes_max", rules.body_bytes_max as u64, 64 << 20),
            ("attempts_max", rules.attempts_max.into(), 1000),
            ("dead_max", rules.dead_max, 1_000_000),
        ];
        for (what, count, most) in counts {
            if count < 1 || count > most {
                return self.refuse(&format!("{what} is from 1 to {most}, not {count}"));
            }
        }
        Ok(())
    }

    fn refuse(&self, why: &str) -> Result<(), Error> {
        Err(Error::new(ErrorKind::Config, format!("queue {}: {why}", self.name)))
    }

    /// Opens it. Asks nobody: no round trip.
    ///
    /// # Errors
    /// [`ErrorKind::Config`]: a setting is out of its bounds, or the name is not 1 to 64 of `A-Z a-z 0-9 _ . -`.
    pub fn open<T>(self) -> Result<Queue<T>, Error> {
        self.check()?;
        // The name is the key, so that the queues of an app are spread over a cluster.
        let shape = self.ground.shape("queue", &self.name)?.of(self.name.as_str())?;
        let place = match self.ground.side() {
            #[cfg(feature = "redis")]
            Side::Redis(commands) => {
                let stream = super::redis::Stream::new(commands.clone(), shape.clone());
                Place::Redis(Box::new(stream))
            }
            Side::Memory(shelves) => Place::Memory(shelves.get::<memory::Desk>(&shape)?),
        };
        let inner = Inner { ground: self.ground, shape, rules: self.rules, place };
        Ok(Queue { inner: Arc::new(inner), of: PhantomData })
    }
}
