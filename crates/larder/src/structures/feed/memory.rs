//! A feed in this process.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::item::{ItemId, Pushed};
use crate::clock::Clock;
use crate::structures::Removal;
use crate::structures::kept::{BYTES_MAX, Kept, Row, Time};

/// What an item costs beside its bytes.
const ITEM_BYTES: usize = 64;

/// One feed.
#[derive(Default)]
pub(super) struct Items {
    /// Oldest first, in the order of their ids.
    items: VecDeque<Item>,
    names: HashMap<Vec<u8>, ItemId>,
    newest: Option<ItemId>,
    bytes: usize,
}

struct Item {
    id: ItemId,
    bytes: Vec<u8>,
    name: Option<Vec<u8>>,
}

impl Item {
    fn weight(&self) -> usize {
        let name = self.name.as_ref().map_or(0, |name| 2 * name.len() + ITEM_BYTES);
        ITEM_BYTES + self.bytes.len() + name
    }
}

impl Row for Items {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl Items {
    fn add(&mut self, item: Item) {
        self.bytes += item.weight();
        if let Some(name) = &item.name {
            self.names.insert(name.clone(), item.id);
        }
        self.newest = Some(item.id);
        self.items.push_back(item);
    }

    fn take(&mut self, at: usize) {
        let Some(item) = self.items.remove(at) else { return };
        self.bytes -= item.weight();
        if let Some(name) = &item.name {
            self.names.remove(name);
        }
    }

    fn position(&self, id: ItemId) -> Option<usize> {
        self.items.binary_search_by_key(&id, |item| item.id).ok()
    }
}

/// What goes into a feed, and how long it stays.
pub(super) struct Push<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) name: Option<&'a [u8]>,
    pub(super) items_max: usize,
    pub(super) expire_after: Option<Duration>,
}

pub(super) fn push(kept: &Kept<Items>, feed: &[u8], clock: &Clock, push: &Push<'_>) -> Pushed {
    kept.write(feed, clock.now(), |items| {
        if let Some(id) = push.name.and_then(|name| items.names.get(name)) {
            return (Pushed::AlreadyThere(*id), Time::AsItWas);
        }
        let now = ItemId::new(clock.unix_ms(), 0);
        let id = items.newest.map_or(now, |newest| now.max(newest.next()));
        let (bytes, name) = (push.bytes.to_vec(), push.name.map(<[u8]>::to_vec));
        items.add(Item { id, bytes, name });
        // One alone takes no more than all together may.
        while items.items.len() > push.items_max
            || (items.bytes > BYTES_MAX && items.items.len() > 1)
        {
            items.take(0);
        }
        (Pushed::New(id), Time::Anew(push.expire_after))
    })
}

/// Newest first, those before an id.
pub(super) fn page(
    kept: &Kept<Items>,
    feed: &[u8],
    clock: &Clock,
    before: Option<ItemId>,
    count: usize,
) -> Vec<(ItemId, Vec<u8>)> {
    kept.read(feed, clock.now(), |items| {
        let end =
            before.map_or(items.items.len(), |id| items.items.partition_point(|item| item.id < id));
        let newest_first = items.items.range(..end).rev().take(count);
        newest_first.map(|item| (item.id, item.bytes.clone())).collect()
    })
}

pub(super) fn length(kept: &Kept<Items>, feed: &[u8], clock: &Clock) -> usize {
    kept.read(feed, clock.now(), |items| items.items.len())
}

/// By its id, or by its name.
pub(super) fn remove(kept: &Kept<Items>, feed: &[u8], clock: &Clock, which: &Which<'_>) -> Removal {
    kept.write(feed, clock.now(), |items| {
        let id = match which {
            Which::Id(id) => Some(*id),
            Which::Name(name) => items.names.get(*name).copied(),
        };
        let removal = match id.and_then(|id| items.position(id)) {
            Some(at) => {
                items.take(at);
                Removal::Removed
            }
            None => Removal::NotThere,
        };
        (removal, Time::AsItWas)
    })
}

/// An item that is meant.
pub(super) enum Which<'a> {
    Id(ItemId),
    Name(&'a [u8]),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_feed_takes_no_more_than_all_may() {
        let (kept, clock) = (Kept::default(), Clock::system().unwrap());
        let bytes = vec![0; 1 << 20];
        let large = Push { bytes: &bytes, name: None, items_max: 1000, expire_after: None };
        for _ in 0..70 {
            push(&kept, b"feed", &clock, &large);
        }
        let left = length(&kept, b"feed", &clock);
        assert!((60..64).contains(&left), "{left} of a MiB in 64");
    }
}
