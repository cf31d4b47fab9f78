//! `cached`: its sharded LRU with lifetimes, used directly.

use std::hint::black_box;
use std::sync::Arc;

use cached::ShardedLruTtlCache;

use super::{LIFETIME, Near, own};
use crate::Outcome;
use crate::workload::Payload;

pub struct Cached(ShardedLruTtlCache<String, Arc<Payload>>);

impl Cached {
    pub fn new(capacity: usize) -> Outcome<Cached> {
        let builder = ShardedLruTtlCache::builder().max_size(capacity).ttl(LIFETIME);
        Ok(Cached(builder.build().map_err(|why| format!("cached: {why}"))?))
    }
}

impl Near for Cached {
    fn name(&self) -> &'static str {
        "cached"
    }

    fn hit(&self) -> &'static str {
        "lifetime"
    }

    fn fill(&self, keys: &[String], value: &Payload) -> Outcome<()> {
        keys.iter().for_each(|key| drop(self.0.set(key.clone(), own(value))));
        Ok(())
    }

    fn hits(&self, keys: &[String], order: &[u32]) -> usize {
        let mut found = 0;
        for at in order {
            let value = self.0.get(keys[*at as usize].as_str());
            found += usize::from(black_box(value).is_some());
        }
        found
    }
}
