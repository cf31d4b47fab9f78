//! What is in a feed, and where in it.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// Where an item is in its feed: when it was pushed, in milliseconds since 1970 by the server's clock, and its
/// number among those of the same millisecond.
///
/// Later items have greater ids, also when the clock was set back: they are what pages are turned by. As text
/// it is what Redis writes, `1700000000000-0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId {
    ms: u64,
    number: u64,
}

impl ItemId {
    pub(super) fn new(ms: u64, number: u64) -> ItemId {
        ItemId { ms, number }
    }

    /// When it was pushed, in milliseconds since 1970, by the server's clock.
    pub fn pushed_at_ms(self) -> u64 {
        self.ms
    }

    /// The least that is greater.
    pub(super) fn next(self) -> ItemId {
        match self.number.checked_add(1) {
            Some(number) => ItemId { ms: self.ms, number },
            None => ItemId { ms: self.ms.saturating_add(1), number: 0 },
        }
    }
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

impl FromStr for ItemId {
    type Err = Error;

    /// # Errors
    /// [`ErrorKind::Key`] unless it is two numbers with a `-` between them.
    fn from_str(text: &str) -> Result<ItemId, Error> {
        let digits = |text: &str| {
            let plain = text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| plain)
        };
        let id = text
            .split_once('-')
            .and_then(|(ms, number)| Some(ItemId { ms: digits(ms)?, number: digits(number)? }));
        id.ok_or_else(|| {
            Error::new(ErrorKind::Key, "not the id of an item: it is as 1700000000000-0")
        })
    }
}

/// One item, and where it is.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedItem<T> {
    /// Where it is.
    pub id: ItemId,
    /// What was pushed.
    pub value: T,
}

/// Some items, newest first.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedPage<T> {
    /// Newest first.
    pub items: Vec<FeedItem<T>>,
    /// Before which the next page begins; `None` when there is nothing older.
    pub next: Option<ItemId>,
    /// Those that stand among them and are no `T`: pushed by another version, perhaps. They can be
    /// [removed](super::FeedOf::remove).
    pub unreadable: Vec<ItemId>,
}

/// What became of an item with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the feed now.
    New(ItemId),
    /// One of the same name is in it: nothing changed.
    AlreadyThere(ItemId),
}

impl Pushed {
    /// Where the item of this name is.
    pub fn id(self) -> ItemId {
        match self {
            Pushed::New(id) | Pushed::AlreadyThere(id) => id,
        }
    }
}

/// What became of one item in many feeds.
#[must_use = "those that failed are only told here"]
#[non_exhaustive]
#[derive(Clone, Debug, Default)]
pub struct FanOut {
    /// In how many feeds it was done; for an item with a name, those that had it already among them.
    pub done: usize,
    /// Whose failed, by their number among the owners that were given, and why: of kind `Unconfirmed` it may
    /// have been done all the same.
    pub failed: Vec<(usize, Error)>,
}

impl FanOut {
    /// Was it done in all of them?
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_nothing_else_is() {
        let id = ItemId::new(1_700_000_000_000, 7);
        assert_eq!(id.to_string().parse::<ItemId>().unwrap(), id);
        assert!(ItemId::new(5, u64::MAX).next() > ItemId::new(5, u64::MAX));
        for text in ["", "-", "1", "1-", "+1-2", "1-2-3", "a-b", "99999999999999999999999-0"] {
            assert_eq!(text.parse::<ItemId>().unwrap_err().kind(), ErrorKind::Key, "{text}");
        }
    }
}
