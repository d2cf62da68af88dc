//! A map that forgets what nobody asks for, in bounded memory and without ever going through it.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

const SHARDS: usize = 64;
/// Entries of a generation of a shard.
const CAPACITY: usize = 2048;

/// Values by key.
///
/// Each shard has a young and an old generation. What is asked for moves to the young one; when that has been so for
/// `lifetime`, it becomes the old one and the old one is dropped as a whole. So nothing is forgotten earlier than `lifetime`
/// after it was last asked for, unless there are more than 131,072 keys in that time: then the generations pass faster.
pub(super) struct Generations<K, V> {
    shards: Box<[Shard<K, V>]>,
    lifetime: i64,
    hasher: RandomState,
}

/// On cache lines of its own, so that cores do not fight over neighbours.
#[repr(align(128))]
struct Shard<K, V>(Mutex<Pair<K, V>>);

struct Pair<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// When the young generation becomes the old one.
    passes_at: i64,
}

impl<K: Hash + Eq + Clone, V: Default> Generations<K, V> {
    /// A map that remembers for at least `lifetime` nanoseconds.
    pub(super) fn new(lifetime: i64) -> Self {
        Self::in_shards(SHARDS, lifetime)
    }

    fn in_shards(shards: usize, lifetime: i64) -> Self {
        let pair = || Pair { young: HashMap::new(), old: HashMap::new(), passes_at: i64::MIN };
        let shards = (0..shards).map(|_| Shard(Mutex::new(pair()))).collect();
        Self { shards, lifetime, hasher: RandomState::new() }
    }

    /// Does something with the value of a key, which is the default if nobody has asked for it lately.
    pub(super) fn with<R>(&self, key: K, now: i64, act: impl FnOnce(&mut V) -> R) -> R {
        let shard = &self.shards[self.hasher.hash_one(&key) as usize % self.shards.len()];
        let mut pair = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = &mut *pair;
        let is_over = now >= pair.passes_at || pair.passes_at.saturating_sub(now) > self.lifetime;
        if is_over || pair.young.len() >= CAPACITY {
            pair.old = std::mem::take(&mut pair.young);
            pair.passes_at = now.saturating_add(self.lifetime);
        }
        if let Some(value) = pair.young.get_mut(&key) {
            return act(value);
        }
        let mut value = pair.old.remove(&key).unwrap_or_default();
        let result = act(&mut value);
        pair.young.insert(key, value);
        result
    }

    /// Does something with everything that is remembered, shard by shard.
    pub(super) fn for_each(&self, mut act: impl FnMut(&K, &V)) {
        for shard in &self.shards {
            let pair = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
            pair.young.iter().chain(&pair.old).for_each(|(key, value)| act(key, value));
        }
    }
}

impl<K, V> fmt::Debug for Generations<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generations").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(map: &Generations<u64, u32>, hash: u64, now: i64) -> u32 {
        map.with(hash, now, |visits| {
            *visits += 1;
            *visits
        })
    }

    #[test]
    fn what_is_asked_for_is_remembered_for_its_lifetime_and_forgotten_after_twice_that() {
        let map = Generations::in_shards(1, 100);
        assert_eq!(visit(&map, 1, 0), 1);
        assert_eq!(visit(&map, 1, 99), 2);
        assert_eq!(visit(&map, 1, 199), 3);
        assert_eq!(visit(&map, 1, 298), 4);
        assert_eq!(visit(&map, 1, 500), 5, "nobody else asked, so the generations stood still");
        visit(&map, 2, 601);
        visit(&map, 2, 702);
        assert_eq!(visit(&map, 1, 703), 1);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_keep_everything_for_ever() {
        let map = Generations::in_shards(1, 100);
        visit(&map, 1, 1_000_000);
        visit(&map, 2, 0);
        visit(&map, 2, 101);
        assert_eq!(visit(&map, 1, 102), 1);
    }

    #[test]
    fn memory_is_bounded_whoever_comes() {
        let map = Generations::new(i64::MAX);
        for hash in 0..1_000_000_u64 {
            visit(&map, hash.wrapping_mul(0x9e37_79b9_7f4a_7c15), 0);
        }
        let kept: usize = map
            .shards
            .iter()
            .map(|shard| {
                let pair = shard.0.lock().expect("no panic");
                pair.young.len() + pair.old.len()
            })
            .sum();
        assert!(kept <= 2 * SHARDS * CAPACITY, "{kept}");
    }
}
