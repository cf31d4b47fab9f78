//! A command in halves: each has one key, follows ASK, and is waited for.

use super::slot::{Item, Key, Lock, Node, Phase, Route, SOURCE, TARGET, Value};
use super::{Migration, Rule, State};

/// What a half does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    /// `fin(token)` on L.
    Fin(Option<u8>),
    /// GUARD1 on L.
    Guard(u8),
    /// UNLINK V.
    Unlink,
    /// SETRANGE V 2, if V exists.
    Mark,
    /// SET V: only where a rule is broken.
    Set(u8),
}

impl Half {
    fn key(self) -> Key {
        match self {
            Self::Fin(_) | Self::Guard(_) => Key::Lock,
            Self::Unlink | Self::Mark | Self::Set(_) => Key::Value,
        }
    }

    fn run(self, node: &mut Node) {
        match self {
            Self::Fin(token) => node.fin(token),
            Self::Guard(token) => node.guard(token),
            Self::Unlink => node.value = Value::default(),
            Self::Mark => node.value.marked = node.value.version > 0,
            Self::Set(version) => {
                node.value = Value { version: version + 1, ..Value::default() };
            }
        }
    }
}

/// How far a half has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) enum Way {
    #[default]
    First,
    /// ASK was the answer; ASKING and the command go to the target.
    Asked,
    /// It ran there, and is sent once more from the start.
    Second,
    AskedAgain,
}

impl Migration {
    /// One step of a half. Gives what happened, and whether the half is done.
    pub(super) fn half(&self, half: Half, way: &mut Way, to: &mut State) -> (&'static str, bool) {
        match *way {
            Way::First | Way::Second => match to.slot.single(half.key()) {
                Route::Ask => {
                    *way = if *way == Way::First { Way::Asked } else { Way::AskedAgain };
                    (said(half, Where::Ask), false)
                }
                Route::Node(at) => {
                    if self.rule == Rule::FinUnlinksFirst && self.fails_half_way(half, at, to) {
                        to.slot.nodes[at].lock = Lock::Absent;
                        return (
                            "fin(L) at the source: UNLINK L, and SET L fails: it is gone",
                            false,
                        );
                    }
                    half.run(&mut to.slot.nodes[at]);
                    self.answered(half, at, to);
                    *way = Way::First;
                    (said(half, if at == SOURCE { Where::Source } else { Where::Target }), true)
                }
            },
            Way::Asked | Way::AskedAgain => {
                let at = to.slot.asked();
                half.run(&mut to.slot.nodes[at]);
                self.answered(half, at, to);
                let again = *way == Way::Asked && self.rule != Rule::AskNotRepeated;
                *way = if again { Way::Second } else { Way::First };
                (said(half, if at == TARGET { Where::Asking } else { Where::Source }), !again)
            }
        }
    }

    /// Incarnation: of the process that answered GUARD1.
    fn answered(&self, half: Half, at: usize, to: &mut State) {
        if let Half::Guard(writer) = half {
            to.writers[usize::from(writer)].by = self.named(at);
        }
    }

    /// On a migrating source a key that was removed cannot be set.
    fn fails_half_way(&self, half: Half, at: usize, to: &State) -> bool {
        let Half::Fin(token) = half else { return false };
        let Lock::Guards(list) = to.slot.nodes[at].lock else { return false };
        let others = (0..list.items.len())
            .any(|item| list.items[item] == Item::Live && token != Some(item as u8));
        at == SOURCE && to.slot.phase == Phase::Migrating && others
    }
}

#[derive(Clone, Copy)]
enum Where {
    Source,
    Target,
    Asking,
    Ask,
}

fn said(half: Half, place: Where) -> &'static str {
    let of_half: [&'static str; 4] = match half {
        Half::Fin(_) => [
            "fin(L) at the source",
            "fin(L) at the target",
            "ASKING, fin(L) at the target",
            "fin(L): ASK",
        ],
        Half::Guard(_) => [
            "GUARD1 at the source",
            "GUARD1 at the target",
            "ASKING, GUARD1 at the target",
            "GUARD1: ASK",
        ],
        Half::Unlink => [
            "UNLINK V at the source",
            "UNLINK V at the target",
            "ASKING, UNLINK V at the target",
            "UNLINK V: ASK",
        ],
        Half::Mark => [
            "marks V at the source",
            "marks V at the target",
            "ASKING, marks V at the target",
            "SETRANGE V: ASK",
        ],
        Half::Set(_) => [
            "SET V at the source",
            "SET V at the target",
            "ASKING, SET V at the target",
            "SET V: ASK",
        ],
    };
    match place {
        Where::Source => of_half[0],
        Where::Target => of_half[1],
        Where::Asking => of_half[2],
        Where::Ask => of_half[3],
    }
}
