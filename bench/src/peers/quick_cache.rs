//! `quick_cache`: what larder's own near stands on, alone.

use std::hint::black_box;
use std::sync::Arc;

use quick_cache::sync::Cache;

use super::{Near, own};
use crate::Outcome;
use crate::workload::Payload;

pub struct QuickCache(Cache<String, Arc<Payload>>);

impl QuickCache {
    pub fn new(capacity: usize) -> QuickCache {
        QuickCache(Cache::new(capacity))
    }
}

impl Near for QuickCache {
    fn name(&self) -> &'static str {
        "quick_cache"
    }

    fn hit(&self) -> &'static str {
        "no lifetime"
    }

    fn fill(&self, keys: &[String], value: &Payload) -> Outcome<()> {
        keys.iter().for_each(|key| self.0.insert(key.clone(), own(value)));
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
