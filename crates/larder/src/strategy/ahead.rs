//! Entries renewed before their time is over.
//!
//! A copy that is kept near knows from when on it is worth a thought; before that a hit looks at nothing more
//! than it did. From then on each reader that has a loader draws lots
//! ([`RefreshAhead`](crate::RefreshAhead)), and whoever is drawn is served what is there and leaves its
//! loader to [`refresh`](super::refresh), where the rest is as for a stale entry. For a while after that
//! nobody else draws: the copy is replaced when the renewal has come, and drawn for again when it has not.

use std::sync::Arc;
use std::time::Duration;

use super::load::Ask;
use super::read_through::OnHand;
use super::{Answer, Call, Tiers};
use crate::clock::Moment;
use crate::entry::{Held, Origin};
use crate::near::Kept;
use crate::observe::Event;
use crate::policy::{Policy, Span};

/// A renewal that has not come by then may be begun again; later, where the back-off is longer.
const REST: Duration = Duration::from_millis(100);

impl Held {
    pub(super) fn span(&self) -> Span {
        Span { fresh_for: self.fresh_for(), cost: self.cost }
    }
}

impl Tiers {
    /// Until when it is served without a thought.
    pub(super) fn plain_until(&self, policy: &Policy, held: &Held) -> Moment {
        if held.value.is_none() || held.in_need {
            return held.fresh_until;
        }
        match policy.refresh_ahead.considered_at(held.span(), &self.clock) {
            Some(age) => held.received.plus(age.saturating_sub(held.age)),
            None => held.fresh_until,
        }
    }

    /// Whether the reader who found it, fresh, is to renew it. Draws lots, from when on that is due.
    pub(crate) fn is_drawn(&self, policy: &Policy, kept: &Kept, now: Moment) -> bool {
        let held = &kept.held;
        let is_due = !kept.is_plain(now) && held.is_fresh(now) && held.value.is_some();
        is_due && policy.refresh_ahead.draws(held.age(now), held.span(), &self.clock)
    }

    /// What is fresh and was drawn, at once; and a load behind the caller's back.
    pub(super) fn serve_due(
        &self,
        call: &Call,
        kept: &Arc<Kept>,
        origin: Origin,
        ask: Ask,
    ) -> Answer {
        let rest = call.policy.backoff.max(REST);
        if kept.claims_renewal(self.clock.now(), rest) && self.refresh(call, ask, &kept.held) {
            self.observe.tell(Event::RefreshAhead { cache: self.observe.cache() });
        }
        (kept.held.clone(), origin)
    }

    /// The same without a caller.
    pub(super) fn renew_warm(&self, call: &Call, kept: &Kept, ask: Ask) {
        if self.refresh(call, ask, &kept.held) {
            self.observe.tell(Event::RefreshAhead { cache: self.observe.cache() });
        }
    }

    /// The same for what a flight has found.
    pub(super) fn renew_if_drawn(&self, call: &Call, found: &OnHand, ask: Ask) {
        if self.is_drawn(&call.policy, &found.kept, self.clock.now()) {
            self.serve_due(call, &found.kept, found.origin, ask);
        }
    }
}
