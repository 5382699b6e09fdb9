//! In which order windows are taken. Invariant: an order is made of its seed alone, so that it can be repeated and
//! stored.

use crate::run::{Manifest, WindowId};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;

/// The order in which windows are run: levels in random order, again for each replicate.
pub fn order(levels: &[usize], replicates: usize, seed: u64) -> Vec<WindowId> {
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut order = Vec::new();
    for replicate in 1..=replicates {
        let mut levels = levels.to_vec();
        levels.shuffle(&mut random);
        order.extend(levels.into_iter().map(|level| WindowId { level, replicate }));
    }
    order
}

/// Windows of one arm that are taken one after another, of one target in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// From 0.
    pub arm: usize,
    /// From 1; `None`: all replicates of the run.
    pub replicate: Option<usize>,
}

impl Turn {
    /// All windows of the only arm.
    pub const WHOLE: Turn = Turn { arm: 0, replicate: None };

    /// The only arm's replicates, each a turn of its own.
    pub fn each(replicates: usize) -> Vec<Turn> {
        (1..=replicates).map(|replicate| Turn { arm: 0, replicate: Some(replicate) }).collect()
    }

    /// Whether a window is of this turn.
    pub fn has(self, id: WindowId) -> bool {
        self.replicate.is_none_or(|replicate| replicate == id.replicate)
    }
}

/// Two arms by turns, pair by pair: ABBA BAAB ABBA ..., or the other way round, as the seed has it. Within each four
/// turns a steady drift adds as much to one arm as to the other, and a curved one cancels over eight (a
/// counterbalanced, or Thue-Morse, order).
pub fn pairs(replicates: usize, seed: u64) -> Vec<Turn> {
    let begins = usize::from(rand::rngs::StdRng::seed_from_u64(seed).random::<bool>());
    let pair = |replicate: usize| {
        // The pairs AB BA BA AB repeat every four.
        let first = begins ^ usize::from([false, true, true, false][(replicate - 1) % 4]);
        [first, 1 - first].map(|arm| Turn { arm, replicate: Some(replicate) })
    };
    (1..=replicates).flat_map(pair).collect()
}

/// Any number of arms by turns: in random order, then in the reverse one, so that within two replicates a steady drift
/// adds as much to one arm as to another.
pub fn rounds(arms: usize, replicates: usize, seed: u64) -> Vec<Turn> {
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..arms).collect();
    let mut turns = Vec::new();
    for replicate in 1..=replicates {
        if replicate % 2 == 1 {
            order.shuffle(&mut random);
        } else {
            order.reverse();
        }
        turns.extend(order.iter().map(|arm| Turn { arm: *arm, replicate: Some(replicate) }));
    }
    turns
}

/// The turns as letters.
pub fn letters(turns: &[Turn]) -> String {
    turns.iter().map(|turn| letter(turn.arm)).collect()
}

/// An arm as a letter.
pub fn letter(arm: usize) -> char {
    char::from(b'A' + (arm % 26) as u8)
}

/// Where a window belongs whose clients are not ours to choose: to the earlier level that they are within a tenth of,
/// else to a level of their own.
pub fn number_window(manifest: &mut Manifest, index: usize, clients: usize) -> WindowId {
    let earlier = &manifest.order[..index];
    let near = earlier.iter().map(|id| id.level).find(|level| level.abs_diff(clients) * 10 <= *level);
    let level = near.unwrap_or(clients);
    let taken = earlier.iter().filter(|id| id.level == level).map(|id| id.replicate);
    let id = WindowId { level, replicate: 1 + taken.max().unwrap_or(0) };
    manifest.order[index] = id;
    let done = &manifest.order[..=index];
    manifest.levels = done.iter().map(|id| id.level).collect::<BTreeSet<_>>().into_iter().collect();
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::build;

    #[test]
    fn in_two_rounds_a_steady_drift_falls_on_all_arms_alike() {
        for seed in 0..20 {
            let turns = rounds(4, 4, seed);
            for two in turns.chunks(8) {
                let drift = |arm: usize| -> usize { (0..8).filter(|at| two[*at].arm == arm).sum() };
                assert!((1..4).all(|arm| drift(arm) == drift(0)), "{}", letters(&turns));
            }
            assert!(
                turns.chunks(4).zip(1..).all(|(round, replicate)| round.iter().all(|t| t.replicate == Some(replicate)))
            );
        }
        assert!((0..20).any(|seed| letters(&rounds(4, 1, seed)) != "ABCD"));
    }

    #[test]
    fn pairs_alternate_so_that_a_steady_drift_falls_on_both_arms_alike() {
        for seed in 0..20 {
            let turns = pairs(8, seed);
            let text = letters(&turns);
            assert!(text == "ABBABAABABBABAAB" || text == "BAABABBABAABABBA", "{text}");
            for four in turns.chunks(4) {
                let drift = |arm: usize| -> usize { (0..4).filter(|at| four[*at].arm == arm).sum() };
                assert_eq!(drift(0), drift(1));
            }
            for arm in [0, 1] {
                let own: Vec<usize> = turns.iter().filter(|t| t.arm == arm).filter_map(|t| t.replicate).collect();
                assert_eq!(own, [1, 2, 3, 4, 5, 6, 7, 8]);
            }
        }
        assert_eq!(pairs(4, 3), pairs(4, 3));
        assert!((0..20).any(|seed| pairs(2, seed)[0] != pairs(2, 0)[0]), "both orders occur");
    }

    #[test]
    fn clients_within_a_tenth_of_an_earlier_window_are_a_replicate_of_it() {
        let planned: Vec<WindowId> = order(&[16], 5, 0);
        let mut manifest = Manifest { order: planned, ..build::manifest("x", &[]) };
        let placed: Vec<_> =
            [16, 17, 40, 16, 39].into_iter().enumerate().map(|(at, n)| number_window(&mut manifest, at, n)).collect();
        let found: Vec<_> = placed.iter().map(|id| (id.level, id.replicate)).collect();
        assert_eq!(found, [(16, 1), (16, 2), (40, 1), (16, 3), (40, 2)]);
        assert_eq!((manifest.order, manifest.levels), (placed, vec![16, 40]));
    }

    #[test]
    fn every_replicate_runs_every_level_once_in_an_order_that_its_seed_repeats() {
        let levels = [1, 4, 16, 64];
        let first = order(&levels, 3, 7);
        assert_eq!(first, order(&levels, 3, 7));
        for replicate in 1..=3 {
            let mut found: Vec<_> = first.iter().filter(|id| id.replicate == replicate).map(|id| id.level).collect();
            found.sort_unstable();
            assert_eq!(found, levels);
        }
        assert!((0..20).any(|seed| order(&levels, 1, seed) != first[..4]));
    }
}
