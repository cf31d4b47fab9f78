//! The work, the same for everyone.

use serde::{Deserialize, Serialize};

/// How many keys there are.
pub const KEYS: usize = 2_000;

/// A value: what a service would keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload {
    pub body: String,
}

impl Payload {
    pub fn of(bytes: usize) -> Payload {
        Payload { body: text(bytes) }
    }

    /// As larder's default codec writes it.
    pub fn encoded(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).unwrap_or_default()
    }
}

/// Text that no allocator and no codec finds special.
pub fn text(bytes: usize) -> String {
    let mut draw = Draw(7);
    (0..bytes).map(|_| char::from(b'a' + (draw.below(26)) as u8)).collect()
}

/// Keys of 32 bytes, each time the same.
pub fn keys(count: usize) -> Vec<String> {
    let mut draw = Draw(42);
    (0..count).map(|_| format!("{:016x}{:016x}", draw.number(), draw.number())).collect()
}

/// A sequence of accesses to `keys` keys, each as likely as the other.
pub fn uniform(keys: usize, length: usize, seed: u64) -> Vec<u32> {
    let mut draw = Draw(seed);
    (0..length).map(|_| draw.below(keys as u64) as u32).collect()
}

/// SplitMix64: the same numbers each time.
pub struct Draw(pub u64);

impl Draw {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }
}
