//! `moka`: its two faces.

use std::hint::black_box;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::{LIFETIME, Near, own};
use crate::Outcome;
use crate::workload::Payload;

pub struct Sync(moka::sync::Cache<String, Arc<Payload>>);

impl Sync {
    pub fn new(capacity: usize) -> Sync {
        let builder = moka::sync::Cache::builder().max_capacity(capacity as u64);
        Sync(builder.time_to_live(LIFETIME).build())
    }
}

impl Near for Sync {
    fn name(&self) -> &'static str {
        "moka sync"
    }

    fn hit(&self) -> &'static str {
        "lifetime"
    }

    fn fill(&self, keys: &[String], value: &Payload) -> Outcome<()> {
        keys.iter().for_each(|key| self.0.insert(key.clone(), own(value)));
        self.0.run_pending_tasks();
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

pub struct Async {
    cache: moka::future::Cache<String, Arc<Payload>>,
    runtime: Handle,
}

impl Async {
    pub fn new(capacity: usize, runtime: &Handle) -> Async {
        let builder = moka::future::Cache::builder().max_capacity(capacity as u64);
        Async { cache: builder.time_to_live(LIFETIME).build(), runtime: runtime.clone() }
    }
}

impl Near for Async {
    fn name(&self) -> &'static str {
        "moka async"
    }

    fn hit(&self) -> &'static str {
        "lifetime"
    }

    fn fill(&self, keys: &[String], value: &Payload) -> Outcome<()> {
        self.runtime.block_on(async {
            for key in keys {
                self.cache.insert(key.clone(), own(value)).await;
            }
            self.cache.run_pending_tasks().await;
        });
        Ok(())
    }

    fn hits(&self, keys: &[String], order: &[u32]) -> usize {
        self.runtime.block_on(async {
            let mut found = 0;
            for at in order {
                let value = self.cache.get(keys[*at as usize].as_str()).await;
                found += usize::from(black_box(value).is_some());
            }
            found
        })
    }
}
