//! Faults that were once thought of, or made. Each must be found by a scene: that is the test of the scenes.

/// One place of larder's source, and what makes it wrong.
pub(crate) struct Wrong {
    /// Of the module it becomes.
    pub(crate) name: &'static str,
    pub(crate) why: &'static str,
    pub(crate) file: &'static str,
    /// There once.
    pub(crate) right: &'static str,
    pub(crate) instead: &'static str,
}

pub(crate) const WRONG: &[Wrong] = &[
    Wrong {
        name: "inserted_beside_the_gate",
        why: "The epoch is compared, and then something is inserted.",
        file: "near/coherence.rs",
        right: "pub(super) fn if_unchanged(&self, since: Epoch, insert: impl FnOnce()) -> bool {
        let _one_step = self.gate.lock();",
        instead: "pub(super) fn if_unchanged(&self, since: Epoch, insert: impl FnOnce()) -> bool {",
    },
    Wrong {
        name: "removed_beside_the_gate",
        why: "What has changed is removed, and then the epoch is bumped, without the gate.",
        file: "near/coherence.rs",
        right: "        let _one_step = self.gate.lock();
        self.epoch.fetch_add(1, Ordering::AcqRel);
        remove();",
        instead: "        remove();
        self.epoch.fetch_add(1, Ordering::AcqRel);",
    },
    Wrong {
        name: "own_store_is_no_change",
        why: "An own store goes in and lets in what was asked for before it.",
        file: "near/coherence.rs",
        right: "        let unchanged = self.epoch() == since;
        self.epoch.fetch_add(1, Ordering::AcqRel);",
        instead: "        let unchanged = self.epoch() == since;",
    },
    Wrong {
        name: "cleared_before_the_bumps",
        why: "After a gap near is cleared, and then the epochs are bumped.",
        file: "near/mod.rs",
        right: "pub(crate) fn drop_all(&self) {
        for stripe in self.stripes.all() {
            stripe.bump(|| {});
        }",
        instead: "pub(crate) fn drop_all(&self) {
        self.entries.clear();
        for stripe in self.stripes.all() {
            stripe.bump(|| {});
        }
        if true {
            return;
        }",
    },
    Wrong {
        name: "slots_dropped_before_the_bumps",
        why: "What lies in the lost slots goes, and then the epochs are bumped.",
        file: "near/mod.rs",
        right: "        // Stripes know nothing of slots: what was asked for elsewhere must be asked for again, too.
        for stripe in self.stripes.all() {
            stripe.bump(|| {});
        }",
        instead: "        self.entries.retain(|Slot { key, .. }, ()| !slots.has(key.slot()));
        for stripe in self.stripes.all() {
            stripe.bump(|| {});
        }
        if true {
            return;
        }",
    },
    Wrong {
        name: "confirmed_whatever_its_number",
        why: "A confirmation counts for a later end of the same name.",
        file: "near/bypass.rs",
        right: "if self.ended.get(name) != Some(&number) {",
        instead: "if !self.ended.contains_key(name) {",
    },
    Wrong {
        name: "counted_beside_the_names",
        why: "How many ends wait is written when others may have added some.",
        file: "near/bypass.rs",
        right: "        confirmed.iter().for_each(|(name, number)| names.remove(name, *number));
        self.waiting.store(names.ended.len(), Ordering::Release);",
        instead: "        confirmed.iter().for_each(|(name, number)| names.remove(name, *number));
        let left = names.ended.len();
        drop(names);
        self.waiting.store(left, Ordering::Release);",
    },
    Wrong {
        name: "a_push_on_an_empty_cell_is_nothing",
        why: "A push on a cell that knows nothing leaves it as it is.",
        file: "near/generations.rs",
        right: "self.ended(&mut self.known.lock(), None);",
        instead: "let mut known = self.known.lock();
        if known.sure.is_some() {
            self.ended(&mut known, None);
        }",
    },
    Wrong {
        name: "learned_beside_the_lock",
        why: "That a cell has not moved on is looked at, and then it is filled.",
        file: "near/generations.rs",
        right: "        let mut known = self.cell.known.lock();
        if self.is_current() {
            self.cell.settle(&mut known, generation, now);
        }
",
        instead: "        if self.is_current() {
            self.cell.settle(&mut self.cell.known.lock(), generation, now);
        }
",
    },
    Wrong {
        name: "a_watched_cell_is_forgotten",
        why: "A full map forgets a cell that somebody holds.",
        file: "near/generations.rs",
        right: "Arc::strong_count(cell) > 1",
        instead: "Arc::strong_count(cell) > 2",
    },
    Wrong {
        name: "two_cells_for_a_tag",
        why: "That a tag has no cell is looked at, and then it is given one.",
        file: "near/generations.rs",
        right: "        let cell = Cell::new(0, Arc::default());
        cells.by_tag.insert(tag.clone(), cell.clone());",
        instead: "        drop(cells);
        let cell = Cell::new(0, Arc::default());
        self.cells.lock().by_tag.insert(tag.clone(), cell.clone());",
    },
    Wrong {
        name: "own_reply_is_one_like_any",
        why: "The reply behind an own write counts only if the cell has not moved on.",
        file: "near/generations.rs",
        right: "        } else if self.version != UNTRACKED {
            self.cell.agrees(&mut known, generation);
        }",
        instead: "        }",
    },
    Wrong {
        name: "ends_counted_after_the_cell",
        why: "A cell hears of an end, and then the end is counted.",
        file: "near/generations.rs",
        right: "        self.ends.fetch_add(1, Ordering::AcqRel);
        if let Some(cell) = self.cells.lock().by_tag.get(tag) {
            cell.end();
        }",
        instead: "        if let Some(cell) = self.cells.lock().by_tag.get(tag) {
            cell.end();
        }
        self.ends.fetch_add(1, Ordering::AcqRel);",
    },
    Wrong {
        name: "cancelled_in_two_steps",
        why: "The last caller is counted out, and then the doors are closed.",
        file: "coordination/flight.rs",
        right: "        let mut shard = self.flights.shard(self.key.v()).lock();
        let mut doors = self.flight.doors.lock();
        doors.aboard -= 1;
        if doors.aboard == 0 {",
        instead: "        let mut doors = self.flight.doors.lock();
        doors.aboard -= 1;
        let left = doors.aboard;
        drop(doors);
        if left == 0 {
            let mut shard = self.flights.shard(self.key.v()).lock();",
    },
    Wrong {
        name: "cancelled_with_its_doors_open",
        why: "The flight is cancelled, and may still be boarded.",
        file: "coordination/flight.rs",
        right: "            if let Some(gate) = shard.get_mut(&self.key) {
                gate.close(&self.flight);
            }
            self.flight.cancelled",
        instead: "            self.flight.cancelled",
    },
    Wrong {
        name: "boarded_in_two_steps",
        why: "That there is no flight is looked at, and then one is opened.",
        file: "coordination/flight.rs",
        right: "        gate.signals.push(flight.signal.clone());
        if !alone {",
        instead: "        drop(shard);
        let mut shard = self.shard(key.v()).lock();
        let gate = shard.entry(key.clone()).or_default();
        gate.signals.push(flight.signal.clone());
        if !alone {",
    },
    Wrong {
        name: "an_end_leaves_the_doors_open",
        why: "Who comes after an end boards what began before it.",
        file: "coordination/flight.rs",
        right: "        if let Some(gate) = self.shard(name).lock().get_mut(name) {
            gate.boarding = None;
        }",
        instead: "",
    },
    Wrong {
        name: "asks_with_its_doors_open",
        why: "A flight that asks again is taken for one that waits.",
        file: "coordination/flight.rs",
        right: "self.waiting.store(false, Ordering::SeqCst);",
        instead: "",
    },
    Wrong {
        name: "joined_however_old_it_is",
        why: "A flight may be joined whenever it was asked, as if it always waited.",
        file: "coordination/flight.rs",
        right: "if flight.signal.waiting.load(Ordering::SeqCst) || self.may_board(&doors, now) {",
        instead: "{",
    },
    Wrong {
        name: "changed_without_a_word",
        why: "A change closes doors and wakes nobody.",
        file: "coordination/flight.rs",
        right: "        self.close_if_asked();
        self.signals.iter().for_each(|signal| signal.tell());",
        instead: "        self.close_if_asked();",
    },
    Wrong {
        name: "landed_before_the_doors_closed",
        why: "What has landed may still be boarded, and is asked before that whether it was overtaken.",
        file: "coordination/flight.rs",
        right: "        self.flights.forget(&self.key, &self.flight.signal, Some(&self.flight));
        let landing = match self.with.take() {
            Some(Landed { answer, is_overtaken, unwatched_since }) => Landing {
                answer,
                overtaken: is_overtaken(),",
        instead: "        let overtaken = self.with.take().map(|with| {
            let Landed { answer, is_overtaken, unwatched_since } = with;
            (is_overtaken(), Landed { answer, is_overtaken: Box::new(|| false), unwatched_since })
        });
        self.flights.forget(&self.key, &self.flight.signal, Some(&self.flight));
        let landing = match overtaken {
            Some((overtaken, Landed { answer, unwatched_since, .. })) => Landing {
                answer,
                overtaken,",
    },
    Wrong {
        name: "looked_before_it_listened",
        why: "A passenger sees that nothing has landed, and then waits to be told.",
        file: "coordination/flight.rs",
        right: "            let mut lands = pin!(self.flight.lands.notified());
            lands.as_mut().enable();
            if let Some(landing) = self.flight.landed.get() {
                return landing.clone();
            }",
        instead: "            if let Some(landing) = self.flight.landed.get() {
                return landing.clone();
            }
            let lands = pin!(self.flight.lands.notified());",
    },
    Wrong {
        name: "lands_only_with_an_answer",
        why: "A load that dies lands nowhere.",
        file: "coordination/flight.rs",
        right: "        // Doors first: nobody may board what has landed.",
        instead: "        if self.with.is_none() {
            return;
        }",
    },
    Wrong {
        name: "leaves_its_gate",
        why: "A gate stays in the map when nobody is at it.",
        file: "coordination/flight.rs",
        right: "if gate.signals.is_empty() && gate.boarding.is_none() {",
        instead: "if gate.signals.is_empty() && gate.boarding.is_some() {",
    },
];
