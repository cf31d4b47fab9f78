//! What ends an entry: people, puts, and the server on its own.

use super::super::search::Steps;
use super::state::{End, Envelope, Generation, Kind, Late, Lease, Progress, State};
use super::{Loads, Rule};

const WHO: [&str; 3] = ["end 1", "end 2", "end 3"];
const PUT: [&str; 2] = ["put 1", "put 2"];

impl Loads {
    /// A commit, and after it the end of what was cached.
    pub(super) fn end(&self, end: usize, from: &State, next: &mut Steps<State>) {
        match from.ends[end].progress {
            Progress::NotBegun => {
                // They are alike: the second never begins before the first.
                if end > 0 && from.ends[end - 1].progress == Progress::NotBegun {
                    return;
                }
                for &kind in self.scene.kinds {
                    let mut to = *from;
                    to.newest += 1;
                    to.ends[end].kind = kind;
                    to.ends[end].progress = Progress::Committed(to.newest);
                    let what = match kind {
                        Kind::Key => "commits, will invalidate the key",
                        Kind::Tag => "commits, will invalidate the tag",
                        Kind::Expire => "commits, will expire the key",
                        Kind::ExpireTag => "commits, will expire the tag",
                    };
                    next.add(WHO[end], what, to);
                }
            }
            Progress::Committed(version) => {
                let kind = from.ends[end].kind;
                let mut to = *from;
                self.run_end(kind, end as u8, &mut to);
                to.ends[end] = End { progress: Progress::Done, ..End::default() };
                to.floor = to.floor.max(version);
                if matches!(kind, Kind::Key | Kind::Tag) {
                    to.hard_floor = to.hard_floor.max(version);
                }
                let what = match kind {
                    Kind::Key => "END: Ok",
                    Kind::Tag => "UNLINK T: Ok",
                    Kind::Expire => "EXPIRE: Ok",
                    Kind::ExpireTag => "EXPIRE_TAG: Ok",
                };
                next.add(WHO[end], what, to);
                // A copy of it may be on its way still: it was sent again after a lost reply.
                if from.faults > 0 && from.late == Late::Nothing {
                    to.faults -= 1;
                    to.late = Late::End(kind);
                    next.add(WHO[end], "Ok of a retry; the first copy is still on its way", to);
                }
            }
            Progress::Done => {}
        }
    }

    pub(super) fn run_end(&self, kind: Kind, nonce: u8, to: &mut State) {
        match kind {
            Kind::Key => {
                to.value = Envelope::default();
                // The usual design forgets the value alone.
                if self.rule != Rule::PollAndLock {
                    to.fin();
                }
            }
            Kind::Tag => to.tag = Generation::default(),
            Kind::Expire => {
                if self.rule != Rule::ExpireKeepsLease {
                    to.fin();
                }
                if to.value.id != 0 {
                    to.value.marked = true;
                }
            }
            Kind::ExpireTag => {
                // On a missing T SETRANGE would create one: never.
                if to.tag.hard != 0 {
                    to.tag.soft = 100 + nonce;
                }
            }
        }
    }

    /// A value whose only home is the cache. It becomes the newest when PUT runs.
    pub(super) fn put(&self, put: usize, from: &State, next: &mut Steps<State>) {
        if from.puts[put].over || (put > 0 && !from.puts[put - 1].over) {
            return;
        }
        let mut to = *from;
        self.run_put(put, &mut to);
        to.puts[put].over = true;
        to.floor = to.puts[put].version;
        to.hard_floor = to.puts[put].version;
        next.add(PUT[put], "PUT: stored", to);
        if from.faults > 0 && from.late == Late::Nothing {
            let mut to = *from;
            to.faults -= 1;
            to.late = Late::Put(put as u8);
            if self.rule == Rule::PutRetried {
                next.add(PUT[put], "PUT: no reply in time; will send it again", to);
            } else {
                to.puts[put].over = true;
                next.add(PUT[put], "PUT: no reply in time: Err(Unconfirmed)", to);
            }
        }
    }

    pub(super) fn run_put(&self, put: usize, to: &mut State) {
        if to.puts[put].version == 0 {
            to.newest += 1;
            to.puts[put].version = to.newest;
        }
        let version = to.puts[put].version;
        to.value = Envelope { version, id: 50 + put as u8, ..Envelope::default() };
        if self.rule != Rule::PutKeepsLease {
            to.lease = Lease::Absent;
        }
    }

    /// What expires or is evicted, at any moment.
    pub(super) fn server(&self, from: &State, next: &mut Steps<State>) {
        let no_value = State { value: Envelope::default(), ..*from };
        let no_lease = State { lease: Lease::Absent, ..*from };
        let no_tag = State { tag: Generation::default(), ..*from };
        let nothing = State { value: Envelope::default(), lease: Lease::Absent, ..no_tag };
        next.add("the server", "V expires, or is evicted", no_value);
        next.add("the server", "L expires, or is evicted", no_lease);
        next.add("the server", "T expires, or is evicted", no_tag);
        next.add("the server", "FLUSHALL", nothing);
    }
}
