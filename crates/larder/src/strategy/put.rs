//! Values whose only home is the cache.

use super::store::Times;
use super::{Call, Tiers};
use crate::entry::{Ended, Stored, Value};
use crate::error::{Error, ErrorKind, FarError};
use crate::invalidation::Ends;
use crate::observe::NotStored;
use crate::source::Loaded;

impl Tiers {
    /// Keeps a value, ends older loads; the last writer wins, in the order of the far side. Goes on
    /// to its end when the caller is dropped.
    pub(crate) async fn put(
        &self,
        ends: &Ends,
        call: Call,
        loaded: Loaded<Option<Value>>,
    ) -> Result<Stored, Error> {
        loaded.lifetime.unwrap_or(call.policy.lifetime).check()?;
        let (this, ends) = (self.clone(), ends.clone());
        let behind = self.leases.behind.clone();
        let Some(room) = behind.room() else {
            let error = Error::new(ErrorKind::Overloaded, "cannot put: nothing was changed");
            return Err(error.at(&call.key).because(FarError::Crowded));
        };
        let putting = room.run(async move { this.put_all(&ends, call, loaded).await });
        putting.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, "the runtime stopped")))
    }

    async fn put_all(
        &self,
        ends: &Ends,
        call: Call,
        loaded: Loaded<Option<Value>>,
    ) -> Result<Stored, Error> {
        #[cfg(feature = "structures")]
        if self.members.is_some() {
            let text = "a cache with a member index takes no put: when a tag ends its members are freed, and one that was put since has no source";
            return Err(Error::new(ErrorKind::Config, text).at(&call.key));
        }
        let failed = |why: FarError| {
            Error::new(why.kind(), "cannot put: nothing was changed").at(&call.key).because(why)
        };
        let ended = [Ended::Key(call.key.clone())];
        ends.forget(&ended);
        let link = self.far.link().map_err(failed)?;
        // The tags' generations as they are before the value is there.
        let lifetime = loaded.lifetime.unwrap_or(call.policy.lifetime);
        let need = call.need(lifetime);
        let tagged = self.tags_before(&call, &loaded.tags, need, &link).await.map_err(failed)?;
        let drawn = lifetime.draw(loaded.value.is_none(), &self.clock);
        let cost = std::time::Duration::ZERO;
        let (server_now_ms, by) =
            (link.server_ms_at(self.clock.now(), &call.key), link.incarnation(&call.key));
        let times = Times { drawn, server_now_ms, cost, by };
        let id = self.leases.token();
        let written = self.envelope(&call, id, &loaded, &tagged, times).map_err(|why| {
            self.not_stored(why);
            refused(why, call.policy.value_bytes_max).at(&call.key)
        })?;
        // Older ends that still wait to be sent would end this value instead: they go first, those of the schemas
        // beside it among them, and none is sent again until it is there.
        let _turn = match self.near.bypass.of_key(&call.key).is_empty() {
            true => None,
            false => {
                let turn = ends.resending.lock().await;
                let queued = self.near.bypass.of_key(&call.key);
                if !queued.is_empty() {
                    ends.end_waiting(&queued).await.map_err(failed)?;
                }
                Some(turn)
            }
        };
        let answer = self.far.put(&call.key, &written.envelope, drawn.whole).await;
        ends.forget(&ended);
        match answer {
            // A writer's guard ends what is there.
            Ok(false) => Ok(Stored::Refused),
            Ok(true) => Ok(Stored::Stored),
            Err(
                why @ (FarError::Away
                | FarError::Closed
                | FarError::TurnedAway
                | FarError::Crowded
                | FarError::Refused(_)),
            ) => Err(failed(why)),
            Err(why) => {
                let text =
                    "a put was not confirmed by redis: it may have landed, or may land later";
                Err(Error::new(ErrorKind::Unconfirmed, text).at(&call.key).because(why))
            }
        }
    }
}

fn refused(why: NotStored, bytes_max: usize) -> Error {
    let text = match why {
        NotStored::TooLarge => {
            format!("a value longer than value_bytes_max ({bytes_max}) was not put")
        }
        _ => "a value was not put: it cannot be turned into bytes, or carries more than 255 tags"
            .to_owned(),
    };
    Error::new(ErrorKind::Encode, text)
}
