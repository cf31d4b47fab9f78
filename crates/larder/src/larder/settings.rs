//! What two openings of one name must agree in, and in which words they are told that they do not.

use std::any::TypeId;
use std::fmt::Debug;
use std::panic::Location;

use crate::entry::{Codec, Compression};
use crate::policy::Policy;

/// What two openings of one name must agree in, beside their types.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) policy: Policy,
    pub(crate) schema: u32,
    pub(crate) codec: Codec,
    pub(crate) compression: Compression,
    pub(crate) per_user: bool,
    pub(crate) tagged_by: Option<TaggedBy>,
}

/// The closure that knows an entry's tags: its type, and where it was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaggedBy {
    pub(crate) closure: TypeId,
    pub(crate) at: &'static Location<'static>,
}

/// A function given twice is the same one, wherever that was.
impl PartialEq for TaggedBy {
    fn eq(&self, other: &TaggedBy) -> bool {
        self.closure == other.closure
    }
}

impl Settings {
    /// Each setting in which `other` differs, with both values; nothing when they agree.
    pub(super) fn differences(&self, other: &Settings) -> Option<String> {
        // Taken apart, so that a setting that is new cannot be forgotten here.
        let Settings { policy, schema, codec, compression, per_user, tagged_by } = self;
        let Policy {
            lifetime,
            stale,
            refresh_ahead,
            backoff,
            max_load,
            guard_time,
            soft_deadline,
            loads_max,
            loads_waiting_max,
            value_bytes_max,
            key_bytes_max,
            #[cfg(feature = "structures")]
            member_index,
            write_behind,
        } = policy;
        let theirs = &other.policy;
        let mut found = Vec::new();
        for ((name, ours), (_, theirs)) in lifetime.parts().iter().zip(theirs.lifetime.parts()) {
            found.extend(unless_same(name, ours, &theirs, String::clone));
        }
        found.extend(unless_same("stale", stale, &theirs.stale, shown));
        let ahead = &theirs.refresh_ahead;
        found.extend(unless_same("refresh_ahead", refresh_ahead, ahead, shown));
        found.extend(unless_same("backoff", backoff, &theirs.backoff, shown));
        found.extend(unless_same("max_load", max_load, &theirs.max_load, shown));
        found.extend(unless_same("guard_time", guard_time, &theirs.guard_time, shown));
        found.extend(unless_same("soft_deadline", soft_deadline, &theirs.soft_deadline, shown));
        found.extend(unless_same("loads_max", loads_max, &theirs.loads_max, shown));
        let waiting_max = &theirs.loads_waiting_max;
        found.extend(unless_same("loads_waiting_max", loads_waiting_max, waiting_max, shown));
        let bytes_max = &theirs.value_bytes_max;
        found.extend(unless_same("value_bytes_max", value_bytes_max, bytes_max, shown));
        found.extend(unless_same("key_bytes_max", key_bytes_max, &theirs.key_bytes_max, shown));
        #[cfg(feature = "structures")]
        found.extend(unless_same("member_index", member_index, &theirs.member_index, shown));
        found.extend(unless_same("write_behind", write_behind, &theirs.write_behind, shown));
        found.extend(unless_same("schema", schema, &other.schema, shown));
        found.extend(unless_same("codec", codec, &other.codec, shown));
        let shown_so = |compression: &Compression| compression.shown();
        found.extend(unless_same("compression", compression, &other.compression, shown_so));
        found.extend(unless_same("the cache", per_user, &other.per_user, kept));
        found.extend(unless_same("tagged_by", tagged_by, &other.tagged_by, given));
        (!found.is_empty()).then(|| found.join(", "))
    }
}

/// `name` and both values, where they are not the same.
fn unless_same<T: PartialEq>(
    name: &str,
    there: &T,
    here: &T,
    shown: impl Fn(&T) -> String,
) -> Option<String> {
    (there != here).then(|| format!("{name} is {} there and {} here", shown(there), shown(here)))
}

fn shown<T: Debug>(value: &T) -> String {
    format!("{value:?}")
}

fn kept(per_user: &bool) -> String {
    if *per_user { "per user" } else { "shared" }.to_owned()
}

fn given(tagged_by: &Option<TaggedBy>) -> String {
    match tagged_by {
        Some(tagged_by) => format!("the function given at {}", tagged_by.at),
        None => "nothing".to_owned(),
    }
}
