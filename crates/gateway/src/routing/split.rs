//! Which of several places a conversation goes to first, by their weights.

use systemprompt_model::Fnv1a;

/// The order in which the places, each with its weight, are tried for a conversation: always the same for the same key, and
/// in the long run each place comes first as often as its weight says. Places without weight are left out.
///
/// This is weighted rendezvous hashing: when a place is added, taken away or given another weight, only those conversations
/// move that must, and all others keep the prompt cache of their provider.
pub(super) fn order<'a>(key: u64, places: impl Iterator<Item = (&'a str, u32)>) -> Vec<usize> {
    let mut scored: Vec<(f64, usize)> = places
        .enumerate()
        .filter(|(_, (_, weight))| *weight > 0)
        .map(|(index, (name, weight))| (score(key, name, weight), index))
        .collect();
    scored.sort_by(|(a, first), (b, second)| b.total_cmp(a).then(first.cmp(second)));
    scored.into_iter().map(|(_, index)| index).collect()
}

/// Grows with the weight; the places' scores for a key are independent of each other.
fn score(key: u64, name: &str, weight: u32) -> f64 {
    let mut hash = Fnv1a::default();
    hash.write(&key.to_le_bytes());
    hash.write(name.as_bytes());
    // The upper 53 bits, mixed, as a number between 0 and 1.
    let drawn = (mix(hash.finish()) >> 11) as f64 + 0.5;
    let chance = drawn / (1_u64 << 53) as f64;
    -f64::from(weight) / chance.ln()
}

/// Spreads a hash over all bits (the finish of `SplitMix64`); FNV alone leaves the upper ones alike for similar names.
const fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of ten thousand conversations go to each place first.
    fn shares(places: &[(&str, u32)]) -> Vec<usize> {
        let mut shares = vec![0; places.len()];
        for key in 0..10_000 {
            shares[order(key, places.iter().copied())[0]] += 1;
        }
        shares
    }

    #[test]
    fn each_place_gets_its_share() {
        for places in [&[("a", 1), ("b", 1)][..], &[("a", 9), ("b", 1)], &[("ant/x", 70), ("big/x", 20), ("oai/x", 10)]]
        {
            let all: u32 = places.iter().map(|(_, weight)| weight).sum();
            for ((name, weight), share) in places.iter().zip(shares(places)) {
                let expected = 10_000.0 * f64::from(*weight) / f64::from(all);
                assert!((share as f64 - expected).abs() < 200.0, "{name} of {places:?}: {share}");
            }
        }
    }

    #[test]
    fn a_conversation_stays_and_a_place_that_comes_takes_only_its_own() {
        let two = [("a", 1), ("b", 1)];
        let three = [("a", 1), ("b", 1), ("c", 1)];
        for key in 0..1000 {
            let before = order(key, two.iter().copied());
            assert_eq!(before, order(key, two.iter().copied()));
            let after = order(key, three.iter().copied());
            assert!(after[0] == before[0] || after[0] == 2, "{key}: from {before:?} to {after:?}");
            assert_eq!(after.len(), 3, "the others come after the first");
        }
    }

    #[test]
    fn a_place_without_weight_gets_nothing() {
        for key in 0..100 {
            assert_eq!(order(key, [("a", 0), ("b", 3)].into_iter()), [1]);
        }
        assert!(order(1, [("a", 0)].into_iter()).is_empty());
    }
}
