//! larder, through its typed face, with Redis as the far side and a tag on every entry.

use std::hint::black_box;
use std::sync::Arc;

use larder::{Cache, Larder, LarderBuilder, Lifetime, Origin};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::{Far, LIFETIME, Near};
use crate::Outcome;
use crate::workload::Payload;

/// The tag of every entry that the rows keep.
pub const TAG: &str = "all";

/// A handle on the server at `url`, with room near for `near_bytes_max`.
pub async fn open(url: &str, near_bytes_max: u64) -> Outcome<Larder> {
    Ok(builder(url).near_bytes_max(near_bytes_max).open().await?)
}

/// Defaults, but for the far deadline: on a loaded machine 50 ms may pass, and a row would measure its
/// loader.
pub fn builder(url: &str) -> LarderBuilder {
    let patient = std::time::Duration::from_secs(5);
    Larder::builder("bench").redis(url).require_far().far_deadline(patient)
}

/// A cache whose entries each carry one tag.
pub fn cache<V>(larder: &Larder, name: &str) -> Outcome<Cache<str, V>>
where
    V: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let builder = larder.cache(name).lifetime(Lifetime::fresh_for(LIFETIME));
    Ok(builder.tagged_by(|_: &str| [TAG]).shared()?)
}

/// Loads each key once, many at a time.
pub async fn fill<V>(cache: &Cache<str, V>, keys: &[String], value: &V) -> Outcome<()>
where
    V: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let gate = Arc::new(Semaphore::new(64));
    let mut loads = tokio::task::JoinSet::new();
    for key in keys {
        let permit = gate.clone().acquire_owned().await?;
        let (cache, key, value) = (cache.clone(), key.clone(), value.clone());
        loads.spawn(async move {
            let load = move || async move { Ok::<_, std::io::Error>(value) };
            let answer = cache.get_or_load(&key, load).await.map(drop);
            drop(permit);
            answer
        });
    }
    while let Some(loaded) = loads.join_next().await {
        loaded??;
    }
    Ok(())
}

/// Which of the doors is measured.
#[derive(Clone, Copy)]
pub enum Door {
    Get,
    GetOrLoad,
}

pub struct Face {
    pub cache: Cache<str, Payload>,
    pub runtime: Handle,
    pub door: Door,
}

impl Near for Face {
    fn name(&self) -> &'static str {
        match self.door {
            Door::Get => "larder get",
            Door::GetOrLoad => "larder get_or_load",
        }
    }

    fn hit(&self) -> &'static str {
        "lifetime, tags, heartbeat; an entry with its age"
    }

    fn fill(&self, keys: &[String], value: &Payload) -> Outcome<()> {
        self.runtime.block_on(fill(&self.cache, keys, value))
    }

    fn hits(&self, keys: &[String], order: &[u32]) -> usize {
        self.runtime.block_on(async {
            let mut found = 0;
            for at in order {
                let key = keys[*at as usize].as_str();
                let entry = match self.door {
                    Door::Get => self.cache.get(key).await.ok().flatten(),
                    Door::GetOrLoad => {
                        let load = || async { Err::<Payload, _>("it was near") };
                        self.cache.get_or_load(key, load).await.ok()
                    }
                };
                found += usize::from(
                    black_box(entry).is_some_and(|entry| entry.origin() == Origin::Near),
                );
            }
            found
        })
    }
}

/// A value of raw bytes: the cheapest that the default codec knows.
pub type Bytes = serde_bytes::ByteBuf;

/// Reads that near is too small to answer.
pub struct Beyond<V>(pub Cache<str, V>);

impl<V> Clone for Beyond<V> {
    fn clone(&self) -> Beyond<V> {
        Beyond(self.0.clone())
    }
}

impl<V: Length + Send + Sync + 'static> Far for Beyond<V> {
    async fn hit(&self, key: &str) -> Outcome<usize> {
        let load = || async { Err::<V, _>("it was far") };
        let entry = self.0.get_or_load(key, load).await?;
        Ok(entry.length())
    }
}

/// How long a value is.
pub trait Length {
    fn length(&self) -> usize;
}

impl Length for Payload {
    fn length(&self) -> usize {
        self.body.len()
    }
}

impl Length for Bytes {
    fn length(&self) -> usize {
        self.len()
    }
}
