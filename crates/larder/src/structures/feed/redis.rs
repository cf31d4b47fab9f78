//! A feed in Redis: a stream of items, and a hash of the names of those that have one.

use super::item::{ItemId, Pushed};
use super::memory::{Push, Which};
use crate::error::FarError;
use crate::key::{Name, Shape};
use crate::redis::{Call, Reply, Script, odd};
use crate::structures::Removal;
use crate::structures::bounds::ms;

pub(in crate::structures) static PUSH: Script = Script::new(include_str!("push.lua"));
pub(in crate::structures) static REMOVE: Script = Script::new(include_str!("remove.lua"));

/// What one feed is called.
pub(super) fn names(feed: &Shape) -> (Name, Name) {
    (feed.part("items"), feed.part("names"))
}

pub(super) fn push(feed: &Shape, push: &Push<'_>) -> Call {
    let (items, names) = names(feed);
    Call::script(&PUSH, &[&items, &names])
        .arg(push.bytes)
        .arg(push.items_max)
        .arg(ms(push.expire_after))
        .arg(push.name.unwrap_or_default())
}

pub(super) fn pushed(reply: Reply) -> Result<Pushed, FarError> {
    let (is_new, id) = reply.pair()?;
    let id = id_of(id)?;
    match is_new.number()? {
        1 => Ok(Pushed::New(id)),
        0 => Ok(Pushed::AlreadyThere(id)),
        _ => Err(odd()),
    }
}

pub(super) fn remove(feed: &Shape, which: &Which<'_>) -> Call {
    let (items, names) = names(feed);
    let call = Call::script(&REMOVE, &[&items, &names]);
    match which {
        Which::Id(id) => call.arg(id.to_string()).arg(""),
        Which::Name(name) => call.arg("").arg(*name),
    }
}

pub(super) fn removed(reply: Reply) -> Result<Removal, FarError> {
    Ok(match reply.number()? {
        0 => Removal::NotThere,
        _ => Removal::Removed,
    })
}

pub(super) fn page(feed: &Shape, before: Option<ItemId>, count: usize) -> Call {
    let start = before.map_or("+".to_owned(), |id| format!("({id}"));
    Call::new("XREVRANGE", &feed.part("items")).arg(start).arg("-").arg("COUNT").arg(count)
}

pub(super) fn items(reply: Reply) -> Result<Vec<(ItemId, Vec<u8>)>, FarError> {
    let item = |reply: Reply| {
        let (id, fields) = reply.pair()?;
        // What somebody else put there has other fields: it is an item that cannot be read.
        let bytes = fields.list()?.into_iter().nth(1).map_or(Ok(Vec::new()), Reply::bytes)?;
        Ok((id_of(id)?, bytes))
    };
    reply.list()?.into_iter().map(item).collect()
}

pub(super) fn length(feed: &Shape) -> Call {
    Call::new("XLEN", &feed.part("items"))
}

pub(super) fn clear(feed: &Shape) -> Call {
    let (items, names) = names(feed);
    Call::new("UNLINK", &items).arg(names.bytes())
}

fn id_of(reply: Reply) -> Result<ItemId, FarError> {
    reply.text()?.parse().map_err(|_| odd())
}
