//! Which connection is asked for which slot, at one moment.

use std::sync::Arc;

use super::super::connect::Role;
use super::super::supervisor::Line;
use super::node::Standing;
use super::topology::Place;
use crate::key::slot::{SLOTS, Slot};

/// Nobody's slot.
const NOBODY: u16 = u16::MAX;

/// A master, and its connections that are believed.
#[derive(Clone)]
pub(super) struct Master {
    pub(super) standing: Arc<Standing>,
    pub(super) tracked: Option<Arc<Line>>,
    pub(super) untracked: Option<Arc<Line>>,
}

impl Master {
    pub(super) fn line(&self, role: Role) -> Option<&Arc<Line>> {
        match role {
            Role::Tracked => self.tracked.as_ref(),
            Role::Untracked => self.untracked.as_ref(),
        }
    }
}

/// The map as it stands: never changed, only replaced by another.
#[derive(Clone)]
pub(super) struct Lines {
    /// For each slot the place of its master among `masters`.
    owners: Box<[u16]>,
    pub(super) masters: Vec<Master>,
    pub(super) is_closed: bool,
}

impl Lines {
    pub(super) fn none() -> Lines {
        let owners = vec![NOBODY; usize::from(SLOTS)].into();
        Lines { owners, masters: Vec::new(), is_closed: false }
    }

    /// Nothing is asked any more.
    pub(super) fn closed() -> Lines {
        Lines { is_closed: true, ..Lines::none() }
    }

    pub(super) fn master(&self, slot: Slot) -> Option<&Master> {
        self.masters.get(usize::from(*self.owners.get(usize::from(slot.number()))?))
    }

    pub(super) fn at(&self, place: &Place) -> Option<&Master> {
        self.masters.iter().find(|master| master.standing.member.place == *place)
    }

    /// The slot is that node's; false when there is no such node here.
    pub(super) fn give(&mut self, slot: Slot, place: &Place) -> bool {
        let is = |master: &Master| master.standing.member.place == *place;
        let at = self.masters.iter().position(is).and_then(|at| u16::try_from(at).ok());
        match (at, self.owners.get_mut(usize::from(slot.number()))) {
            (Some(at), Some(owner)) => *owner = at,
            _ => return false,
        }
        true
    }

    /// Whether every slot has a master, and every master is believed on both its connections.
    pub(super) fn is_whole(&self) -> bool {
        let whole = |master: &Master| master.tracked.is_some() && master.untracked.is_some();
        self.owners.iter().all(|owner| *owner != NOBODY) && self.masters.iter().all(whole)
    }
}
