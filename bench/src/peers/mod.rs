//! Who is measured, each used as its own documentation shows it.
//!
//! [`Near`] is what a cache in the process must do; the loops stand in the peers themselves, so that
//! nothing is called through a pointer inside the clock. Values are shared (`Arc`), except where a peer
//! keeps bytes and decodes each hit.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::Outcome;
use crate::workload::Payload;

pub mod by_hand;
pub mod cached;
pub mod cachet;
pub mod foyer;
pub mod hitbox;
pub mod larder;
pub mod moka;
pub mod quick_cache;
pub mod redis;

/// How long entries live, where a peer has lifetimes: longer than any run.
pub const LIFETIME: std::time::Duration = std::time::Duration::from_secs(6 * 60 * 60);

/// A cache in this process.
pub trait Near: Send + Sync {
    fn name(&self) -> &'static str;

    /// What a hit of it checks and hands out.
    fn hit(&self) -> &'static str;

    /// Keeps a copy of `value` under each key.
    fn fill(&self, keys: &[String], value: &Payload) -> Outcome<()>;

    /// Looks up `keys` in this order; says how many were there.
    fn hits(&self, keys: &[String], order: &[u32]) -> usize;
}

/// A read of the shared side by a task among many. Says how long the value was.
pub trait Far: Clone + Send + Sync + 'static {
    fn hit(&self, key: &str) -> impl Future<Output = Outcome<usize>> + Send;
}

/// A copy that one entry owns: were all to share one, a hit would touch less memory than it does in life.
fn own(value: &Payload) -> Arc<Payload> {
    Arc::new(value.clone())
}

/// Makes one, with room for so many entries.
pub type Make = fn(&Handle, usize) -> Outcome<Box<dyn Near>>;

/// All but larder.
pub const NEAR: &[Make] = &[
    |_, room| Ok(Box::new(quick_cache::QuickCache::new(room))),
    |_, room| Ok(Box::new(foyer::Foyer::new(room))),
    |_, room| Ok(Box::new(cached::Cached::new(room)?)),
    |_, room| Ok(Box::new(moka::Sync::new(room))),
    |runtime, room| Ok(Box::new(moka::Async::new(room, runtime))),
    |runtime, room| Ok(Box::new(cachet::Cachet::new(room, runtime))),
    |runtime, room| Ok(Box::new(hitbox::Hitbox::new(room, runtime))),
];
