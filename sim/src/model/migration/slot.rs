//! A slot that moves from one node to another, and what the scripts do to its keys.

/// V. A version of 0: there is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Value {
    /// Of the database, plus one.
    pub(super) version: u8,
    /// Soft-expired.
    pub(super) marked: bool,
    /// The node that granted its lease, or answered its GUARD.
    pub(super) by: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Item {
    #[default]
    Absent,
    Live,
    /// Past its deadline, and still in the list.
    Lapsed,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct List {
    pub(super) touched: bool,
    /// By writer.
    pub(super) items: [Item; 2],
}

/// L.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Lock {
    #[default]
    Absent,
    Lease(u8),
    Guards(List),
}

impl List {
    /// Its live items without that of `token`; none: nothing is left.
    fn without(mut self, token: Option<u8>) -> Option<Self> {
        if let Some(token) = token {
            self.items[usize::from(token)] = Item::Absent;
        }
        for item in &mut self.items {
            if *item == Item::Lapsed {
                *item = Item::Absent;
            }
        }
        self.items.contains(&Item::Live).then_some(self)
    }

    fn is_only(&self, token: u8) -> bool {
        let mut there = (0..self.items.len()).filter(|at| self.items[*at] != Item::Absent);
        there.next() == Some(usize::from(token)) && there.next().is_none()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Phase {
    #[default]
    AtSource,
    Migrating,
    AtTarget,
}

pub(super) const SOURCE: usize = 0;
pub(super) const TARGET: usize = 1;

/// V and L on one node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) lock: Lock,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Value,
    Lock,
}

impl Node {
    pub(super) fn has(&self, key: Key) -> bool {
        match key {
            Key::Value => self.value.version > 0,
            Key::Lock => self.lock != Lock::Absent,
        }
    }

    fn has_both(&self) -> bool {
        self.has(Key::Value) && self.has(Key::Lock)
    }

    fn is_empty(&self) -> bool {
        !self.has(Key::Value) && !self.has(Key::Lock)
    }

    /// `fin(tok)`: overwrites L, or removes it; nothing is touched after it was removed.
    pub(super) fn fin(&mut self, token: Option<u8>) {
        self.lock = match self.lock {
            Lock::Guards(list) => list
                .without(token)
                .map_or(Lock::Absent, |rest| Lock::Guards(List { touched: true, ..rest })),
            _ => Lock::Absent,
        };
    }

    /// GUARD1 L | token guard_ms.
    pub(super) fn guard(&mut self, token: u8) {
        let mut list = match self.lock {
            Lock::Guards(list) => list.without(None).unwrap_or_default(),
            _ => List::default(),
        };
        list.items[usize::from(token)] = Item::Live;
        self.lock = Lock::Guards(list);
    }

    /// FINISH V L | token envelope hard_ms.
    pub(super) fn finish(&mut self, token: u8, version: u8, by: u8) {
        if let Lock::Guards(list) = self.lock
            && !list.touched
            && list.is_only(token)
        {
            self.value = Value { version: version + 1, marked: false, by };
            self.lock = Lock::Absent;
            return;
        }
        self.value = Value::default();
        self.fin(Some(token));
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Slot {
    pub(super) phase: Phase,
    pub(super) nodes: [Node; 2],
}

/// Where a single-key command ran.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Node(usize),
    Ask,
}

impl Slot {
    /// Where a command with both keys runs. None: TRYAGAIN, nothing ran. That it may have been answered by ASK
    /// first makes no difference: the target wants both keys too.
    pub(super) fn both(&self) -> Option<usize> {
        match self.phase {
            Phase::AtSource => Some(SOURCE),
            Phase::AtTarget => Some(TARGET),
            Phase::Migrating if self.nodes[SOURCE].has_both() => Some(SOURCE),
            Phase::Migrating if self.nodes[SOURCE].is_empty() && self.nodes[TARGET].has_both() => {
                Some(TARGET)
            }
            Phase::Migrating => None,
        }
    }

    /// What the source says to a command with one key; a MOVED is followed at once.
    pub(super) fn single(&self, key: Key) -> Route {
        match self.phase {
            Phase::AtSource => Route::Node(SOURCE),
            Phase::AtTarget => Route::Node(TARGET),
            Phase::Migrating if self.nodes[SOURCE].has(key) => Route::Node(SOURCE),
            Phase::Migrating => Route::Ask,
        }
    }

    /// Where a command runs that was sent to the target with ASKING.
    pub(super) fn asked(&self) -> usize {
        if self.phase == Phase::AtSource { SOURCE } else { TARGET }
    }

    /// What GET V brings a call that begins now, and from which node.
    pub(super) fn served(&self) -> (Value, usize) {
        let [source, target] = &self.nodes;
        match self.phase {
            Phase::AtSource => (source.value, SOURCE),
            Phase::Migrating if source.has(Key::Value) => (source.value, SOURCE),
            Phase::Migrating | Phase::AtTarget => (target.value, TARGET),
        }
    }

    /// Where the slot is when it does not move: only then are both keys of no use and a lease can be granted.
    pub(super) fn at_rest(&self) -> Option<usize> {
        match self.phase {
            Phase::AtSource => Some(SOURCE),
            Phase::AtTarget => Some(TARGET),
            Phase::Migrating => None,
        }
    }

    /// MIGRATE of one key. A node that has the key already refuses it.
    pub(super) fn migrate(&mut self, key: Key, from: usize, to: usize) -> bool {
        if self.phase != Phase::Migrating || !self.nodes[from].has(key) || self.nodes[to].has(key) {
            return false;
        }
        match key {
            Key::Value => self.nodes[to].value = std::mem::take(&mut self.nodes[from].value),
            Key::Lock => self.nodes[to].lock = std::mem::take(&mut self.nodes[from].lock),
        }
        true
    }

    /// What a MIGRATE that timed out may still bring to the target.
    pub(super) fn copy(&self, key: Key) -> Option<Node> {
        let Node { value, lock } = self.nodes[SOURCE];
        let moves = self.phase == Phase::Migrating && self.nodes[SOURCE].has(key);
        moves.then_some(match key {
            Key::Value => Node { value, ..Node::default() },
            Key::Lock => Node { lock, ..Node::default() },
        })
    }

    /// It arrives. A node that has the key already refuses it, unless MIGRATE said REPLACE.
    pub(super) fn land(&mut self, copy: Node, replaces: bool) -> bool {
        let node = &mut self.nodes[TARGET];
        if copy.has(Key::Value) && (replaces || !node.has(Key::Value)) {
            node.value = copy.value;
            return true;
        }
        if copy.has(Key::Lock) && (replaces || !node.has(Key::Lock)) {
            node.lock = copy.lock;
            return true;
        }
        false
    }

    /// The slot is moved once nothing is left at the source.
    pub(super) fn is_moved(&self) -> bool {
        self.phase == Phase::Migrating && self.nodes[SOURCE].is_empty()
    }
}
