//! What near asks of its eviction engine, over a lock of the scheduler.
//!
//! The real one calls back under a lock of its own: a scheduler that stopped the thread there would wait
//! for ever for another that wants this lock. It is no part of what is tried here, so in its place stands
//! a list, with the same names and types, that looks at its entries where they lie, as the real one does.
//! It evicts nothing: near may lose an entry at any time, and nothing rests on one being there.

use std::borrow::Borrow;
use std::marker::PhantomData;

/// Is this the name of that key?
pub trait Equivalent<K: ?Sized> {
    fn equivalent(&self, key: &K) -> bool;
}

impl<Q: Eq + ?Sized, K: Borrow<Q> + ?Sized> Equivalent<K> for Q {
    fn equivalent(&self, key: &K) -> bool {
        *self == *key.borrow()
    }
}

/// What an entry is charged for: asked by the real one alone.
pub trait Weighter<K, V> {
    fn weight(&self, key: &K, value: &V) -> u64;
}

pub struct Options;

#[derive(Default)]
pub struct OptionsBuilder;

impl OptionsBuilder {
    pub fn new() -> OptionsBuilder {
        OptionsBuilder
    }

    pub fn estimated_items_capacity(&mut self, _: usize) -> &mut OptionsBuilder {
        self
    }

    pub fn weight_capacity(&mut self, _: u64) -> &mut OptionsBuilder {
        self
    }

    pub fn build(&self) -> Result<Options, &'static str> {
        Ok(Options)
    }
}

pub mod sync {
    use shuttle::sync::Mutex;

    use super::{Equivalent, Options, PhantomData, Weighter};

    pub struct DefaultLifecycle<K, V>(PhantomData<fn() -> (K, V)>);

    impl<K, V> Default for DefaultLifecycle<K, V> {
        fn default() -> DefaultLifecycle<K, V> {
            DefaultLifecycle(PhantomData)
        }
    }

    type Life<K, V> = DefaultLifecycle<K, V>;

    pub struct Cache<K, V, W, B> {
        entries: Mutex<Vec<(K, V)>>,
        parts: PhantomData<fn() -> (W, B)>,
    }

    impl<K: Eq, V: Clone, W: Weighter<K, V>, B> Cache<K, V, W, B> {
        pub fn with(_: usize, _: u64, _: W, _: B, _: Life<K, V>) -> Cache<K, V, W, B> {
            Cache { entries: Mutex::default(), parts: PhantomData }
        }

        pub fn with_options(_: Options, _: W, _: B, _: Life<K, V>) -> Cache<K, V, W, B> {
            Cache { entries: Mutex::default(), parts: PhantomData }
        }

        /// Locked while the name is compared, which may look at the key.
        pub fn get<Q: Equivalent<K> + ?Sized>(&self, name: &Q) -> Option<V> {
            self.locked(|entries| {
                let found = entries.iter().find(|(key, _)| name.equivalent(key));
                found.map(|(_, value)| value.clone())
            })
        }

        /// What is there under an equal key goes, and its key with it.
        pub fn insert(&self, key: K, value: V) {
            let _gone = self.locked(|entries| {
                let at = entries.iter().position(|(other, _)| *other == key);
                let gone = at.map(|at| entries.swap_remove(at));
                entries.push((key, value));
                gone
            });
        }

        pub fn remove<Q: Equivalent<K> + ?Sized>(&self, name: &Q) -> Option<(K, V)> {
            self.locked(|entries| {
                let at = entries.iter().position(|(key, _)| name.equivalent(key))?;
                Some(entries.swap_remove(at))
            })
        }

        pub fn retain(&self, stays: impl Fn(&K, &V) -> bool) {
            self.locked(|entries| entries.retain(|(key, value)| stays(key, value)));
        }

        pub fn clear(&self) {
            let _gone = self.locked(std::mem::take);
        }

        fn locked<T>(&self, run: impl FnOnce(&mut Vec<(K, V)>) -> T) -> T {
            // Poisoned: the scene has failed already, and says why.
            run(&mut self.entries.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
        }
    }
}
