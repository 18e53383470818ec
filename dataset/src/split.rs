//! Which songs are trained on and which are held out.
//!
//! A song is known by the hash of its content, so two copies of one recording are never on both
//! sides. The order in which hashes are held out depends on the seed alone: the same songs give
//! the same split on any machine, in any order, under any names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The side of a song, and of all its pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Trained on.
    Train,
    /// Held out, to judge by.
    Validation,
}

/// Splits songs by content hash.
///
/// `fraction` of all songs, rounded, is held out; with a fraction above zero and two or more
/// songs, at least one is on each side. Songs in `fixed` keep their side: a set that grows never
/// moves a song that was trained on into validation, or back.
#[must_use]
pub fn assign_splits<'a>(
    songs: impl IntoIterator<Item = &'a str>,
    fixed: &BTreeMap<String, Split>,
    fraction: f64,
    seed: u64,
) -> BTreeMap<String, Split> {
    let mut splits = fixed.clone();
    let mut open: Vec<(u64, &str)> = songs
        .into_iter()
        .filter(|hash| !fixed.contains_key(*hash))
        .map(|hash| (rank(hash, seed), hash))
        .collect();
    open.sort_unstable();
    open.dedup();
    let total = fixed.len() + open.len();
    let already = fixed
        .values()
        .filter(|split| **split == Split::Validation)
        .count();
    let held_out = wanted(total, fraction).saturating_sub(already);
    // With all fixed songs held out, one of the new must train.
    let has_train = already < fixed.len();
    let most = open.len().saturating_sub(usize::from(!has_train));
    let held_out = if fraction > 0.0 {
        held_out.min(most)
    } else {
        0
    };
    for (index, (_, hash)) in open.into_iter().enumerate() {
        let split = if index < held_out {
            Split::Validation
        } else {
            Split::Train
        };
        splits.insert(hash.to_owned(), split);
    }
    splits
}

/// Songs to hold out of `total`.
fn wanted(total: usize, fraction: f64) -> usize {
    if total < 2 || fraction <= 0.0 {
        return 0;
    }
    let rounded = (total as f64 * fraction.min(1.0)).round() as usize;
    rounded.clamp(1, total - 1)
}

fn rank(hash: &str, seed: u64) -> u64 {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update(hash.as_bytes());
    let digest = hasher.finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |rank, &byte| (rank << 8) | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn songs(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("sha256:{n:064x}")).collect()
    }

    fn split(
        songs: &[String],
        fixed: &BTreeMap<String, Split>,
        fraction: f64,
        seed: u64,
    ) -> BTreeMap<String, Split> {
        assign_splits(songs.iter().map(String::as_str), fixed, fraction, seed)
    }

    fn held_out(splits: &BTreeMap<String, Split>) -> usize {
        splits
            .values()
            .filter(|split| **split == Split::Validation)
            .count()
    }

    #[test]
    fn counts_are_as_asked_and_both_sides_are_filled() {
        let none = BTreeMap::new();
        for (count, fraction, expected) in [
            (0, 0.2, 0),
            (1, 0.2, 0),
            (2, 0.01, 1),
            (2, 0.99, 1),
            (10, 0.2, 2),
            (10, 0.0, 0),
            (10, 1.0, 9),
        ] {
            let splits = split(&songs(count), &none, fraction, 7);
            assert_eq!(
                (splits.len(), held_out(&splits)),
                (count, expected),
                "{count} songs, {fraction}"
            );
        }
    }

    #[test]
    fn order_and_doubles_do_not_matter_and_the_seed_does() {
        let none = BTreeMap::new();
        let forward = songs(20);
        let mut other: Vec<_> = forward.iter().rev().cloned().collect();
        other.push(forward[3].clone());
        assert_eq!(split(&forward, &none, 0.3, 1), split(&other, &none, 0.3, 1));
        assert_ne!(
            split(&forward, &none, 0.3, 1),
            split(&forward, &none, 0.3, 2)
        );
    }

    #[test]
    fn a_growing_set_moves_no_song() {
        let before = split(&songs(4), &BTreeMap::new(), 0.25, 5);
        let after = split(&songs(12), &before, 0.25, 5);
        assert!(before.iter().all(|(song, side)| after[song] == *side));
        assert_eq!(held_out(&after), 3);
    }

    #[test]
    fn a_single_song_that_grows_to_two_gets_a_held_out_one() {
        let before = split(&songs(1), &BTreeMap::new(), 0.2, 5);
        let after = split(&songs(2), &before, 0.2, 5);
        assert_eq!(held_out(&after), 1);
    }
}
