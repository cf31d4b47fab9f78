//! `hitbox`: its moka backend through the typed door. It keeps bytes, so each hit decodes; bincode is the
//! fastest of the formats it brings. Its key is made of parts, and made for each call, as its extractors do.

use std::hint::black_box;

use hitbox::{CacheContext, CacheKey, CacheValue};
use hitbox_backend::format::BincodeFormat;
use hitbox_backend::{CacheBackend, PassthroughCompressor};
use hitbox_moka::MokaBackend;
use tokio::runtime::Handle;

use super::Near;
use crate::Outcome;
use crate::workload::Payload;

pub struct Hitbox {
    backend: MokaBackend<BincodeFormat, PassthroughCompressor>,
    runtime: Handle,
}

impl Hitbox {
    pub fn new(capacity: usize, runtime: &Handle) -> Hitbox {
        let builder = MokaBackend::builder().max_entries(capacity as u64);
        let backend = builder.value_format(BincodeFormat).build();
        Hitbox { backend, runtime: runtime.clone() }
    }
}

impl Near for Hitbox {
    fn name(&self) -> &'static str {
        "hitbox"
    }

    fn hit(&self) -> &'static str {
        "decodes a copy"
    }

    fn fill(&self, keys: &[String], value: &Payload) -> Outcome<()> {
        self.runtime.block_on(async {
            for key in keys {
                let key = CacheKey::from_str("key", key);
                let value = CacheValue::new(value.body.clone(), None, None);
                let mut context = CacheContext::default().boxed();
                let set = self.backend.set::<String>(&key, &value, &mut context).await;
                set.map_err(|why| why.to_string())?;
            }
            self.backend.cache().run_pending_tasks().await;
            Ok(())
        })
    }

    fn hits(&self, keys: &[String], order: &[u32]) -> usize {
        self.runtime.block_on(async {
            let mut found = 0;
            for at in order {
                let key = CacheKey::from_str("key", &keys[*at as usize]);
                let mut context = CacheContext::default().boxed();
                let value = self.backend.get::<String>(&key, &mut context).await;
                found += usize::from(matches!(black_box(value), Ok(Some(_))));
            }
            found
        })
    }
}
