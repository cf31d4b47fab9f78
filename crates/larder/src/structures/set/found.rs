//! What became of members, and what was found of them.

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is in the set now.
    New,
    /// It was in it.
    AlreadyThere,
    /// There are as many members as the set may have: it is not in it.
    NoRoom,
}

/// What became of many members.
#[must_use = "members there was no room for are only told here"]
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddedMany {
    /// How many are in the set now that were not.
    pub new: usize,
    /// How many were in it.
    pub already_there: usize,
    /// For which there is no room, by their numbers among those that were given.
    pub no_room: Vec<usize>,
}

/// Members that were found.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members<M> {
    /// In no order.
    pub members: Vec<M>,
    /// How many more there are that are no `M`.
    pub unreadable: usize,
}

/// Some members, and where to go on.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct SetPage<M> {
    /// In no order.
    pub members: Vec<M>,
    /// How many more there are that are no `M`.
    pub unreadable: usize,
    /// Where the next page begins; `None` after the last.
    pub next: Option<SetCursor>,
}

/// Where a page of a set begins. It means something to the set it is of, for as long as that is on one server.
#[derive(Clone, Debug)]
pub struct SetCursor(pub(super) Place);

#[derive(Clone, Debug)]
pub(super) enum Place {
    #[cfg(feature = "redis")]
    Scan(u64),
    Behind(Vec<u8>),
}
