//! `cachet`: one memory tier with a lifetime.

use std::hint::black_box;
use std::sync::Arc;

use cachet::Cache;
use tick::Clock;
use tokio::runtime::Handle;

use super::{LIFETIME, Near, own};
use crate::Outcome;
use crate::workload::Payload;

pub struct Cachet {
    cache: Cache<String, Arc<Payload>>,
    runtime: Handle,
}

impl Cachet {
    pub fn new(capacity: usize, runtime: &Handle) -> Cachet {
        let _inside = runtime.enter();
        let builder = Cache::builder::<String, Arc<Payload>>(Clock::new_tokio());
        let builder = builder.memory_with(|memory| memory.max_capacity(capacity as u64));
        Cachet { cache: builder.ttl(LIFETIME).build(), runtime: runtime.clone() }
    }
}

impl Near for Cachet {
    fn name(&self) -> &'static str {
        "cachet"
    }

    fn hit(&self) -> &'static str {
        "lifetime; an entry with its age"
    }

    fn fill(&self, keys: &[String], value: &Payload) -> Outcome<()> {
        self.runtime.block_on(async {
            for key in keys {
                self.cache.insert(key.clone(), own(value)).await?;
            }
            Ok(())
        })
    }

    fn hits(&self, keys: &[String], order: &[u32]) -> usize {
        self.runtime.block_on(async {
            let mut found = 0;
            for at in order {
                let entry = self.cache.get(keys[*at as usize].as_str()).await;
                found += usize::from(matches!(black_box(entry), Ok(Some(_))));
            }
            found
        })
    }
}
