//! A lock in Redis: a string with a time to live, the last fence, and a bell for who waits.

use std::time::Duration;

use parking_lot::Mutex;

use super::Try;
use crate::error::{Error, FarError};
use crate::key::{Name, Shape};
use crate::redis::{Call, Commands, Private, Reply, Script};
use crate::structures::bounds::ms;
use crate::structures::{not_done, not_read};

pub(crate) static ACQUIRE: Script = Script::new(include_str!("acquire.lua"));
pub(crate) static RENEW: Script = Script::new(include_str!("renew.lua"));
pub(crate) static RELEASE: Script = Script::new(include_str!("release.lua"));

/// How long a bell rings that nobody hears.
const RINGS: Duration = Duration::from_secs(5);

pub(super) struct Names {
    commands: Commands,
    shape: Shape,
    lock: Name,
    fence: Name,
    bell: Name,
    /// The connection of the one who waits in this process.
    private: Mutex<Option<Private>>,
}

impl Names {
    pub(super) fn new(commands: Commands, shape: Shape) -> Names {
        Names {
            lock: shape.part("lock"),
            fence: shape.part("fence"),
            bell: shape.part("bell"),
            commands,
            shape,
            private: Mutex::new(None),
        }
    }

    pub(super) async fn acquire(
        &self,
        token: &str,
        time: Duration,
        fence_kept: Duration,
    ) -> Result<Try, Error> {
        let call = Call::script(&ACQUIRE, &[&self.lock, &self.fence]).arg(token);
        let answer = self.commands.ask(call.arg(ms(time)).arg(ms(fence_kept))).await;
        // Whether it was done or not: it is asked again under the same token, or given back.
        let answer = answer.map_err(|why| not_read(&self.shape, "acquire", why))?;
        let parts: Vec<_> = Reply::from(answer).parts().iter().map(Reply::whole).collect();
        match parts[..] {
            [Some(1), Some(fence)] => Ok(Try::Ours(u64::try_from(fence).unwrap_or(0))),
            [Some(0), Some(left)] => {
                Ok(Try::Others(Duration::from_millis(u64::try_from(left).unwrap_or(0))))
            }
            _ => {
                let rubbish = FarError::Refused("an answer that is none".to_owned());
                Err(not_read(&self.shape, "acquire", rubbish))
            }
        }
    }

    pub(super) async fn renew(
        &self,
        token: &str,
        fence: u64,
        time: Duration,
    ) -> Result<bool, Error> {
        let held = format!("{token} {fence}");
        let call = Call::script(&RENEW, &[&self.lock]).arg(held).arg(ms(time));
        self.done(call, "renew").await
    }

    pub(super) async fn release(&self, token: &str) -> Result<bool, Error> {
        let call = Call::script(&RELEASE, &[&self.lock, &self.bell]).arg(token).arg(ms(RINGS));
        self.done(call, "release").await
    }

    async fn done(&self, call: Call, doing: &str) -> Result<bool, Error> {
        let answer = self.commands.ask(call).await;
        let answer = answer.map_err(|why| not_done(&self.shape, doing, why))?;
        Ok(Reply::from(answer).whole() == Some(1))
    }

    /// Nobody waits any more: the connection is for others.
    pub(super) fn rest(&self) {
        self.private.lock().take();
    }

    /// Until somebody gives it back, or for as long as `wait`. One at a time.
    pub(super) async fn wait(&self, wait: Duration) {
        let clock = self.commands.clock();
        let until = clock.now().plus(wait);
        // Taken out while it is used: one that was let go of in the middle of a wait is of no use.
        let kept = self.private.lock().take();
        let private = match kept {
            Some(private) => Ok(private),
            None => {
                let left = until.since(clock.now());
                let made = clock.within(left, self.commands.private(&self.bell)).await;
                made.unwrap_or(Err(FarError::Slow))
            }
        };
        let waited = match private {
            Ok(private) => self.wait_over(private, until.since(clock.now())).await,
            Err(why) => Err(why),
        };
        if let Err(why) = waited {
            tracing::debug!(lock = %self.shape, %why, "cannot wait for a lock at the server");
            let pause = until.since(clock.now()).min(Duration::from_millis(100));
            clock.sleep(pause / 2 + clock.up_to(pause / 2)).await;
        }
    }

    async fn wait_over(&self, mut private: Private, left: Duration) -> Result<(), FarError> {
        // To the server nothing is for ever.
        let seconds = left.as_secs_f64().max(0.001);
        let call = Call::new("BLPOP", &self.bell).arg(format!("{seconds:.3}"));
        private.ask(call, left).await?;
        *self.private.lock() = Some(private);
        Ok(())
    }
}
