//! When a comparison may look at its results, and how sure it must be at each look. Invariant: the error levels of all
//! looks add up to no more than the comparison's own, so that looking often, and stopping at what one likes, does not
//! make a false verdict likelier (the union bound: it asks nothing of how the looks depend on each other).
//!
//! Alpha is spent over the looks by the power family of spending functions, a(t) = a t^3 (Kim and DeMets 1987,
//! Biometrika 74:149), close to O'Brien and Fleming's: little while replicates are few, most at the end. Each look's
//! tests use its own share; intervals at that share are repeated confidence intervals (Jennison and Turnbull 1989, J.
//! R. Statist. Soc. B 51:305), true together whatever made the comparison stop.

use crate::run::Look;

/// Looks at most: each costs the later ones some of their alpha.
const LOOKS: usize = 5;
/// Replicates of each side before which there is nothing to see: one has no spread.
const FIRST: usize = 2;

/// The looks of one comparison, planned before its first.
#[derive(Clone, Debug, PartialEq)]
pub struct Stopping {
    looks: Vec<Look>,
}

impl Stopping {
    /// Looks at `replicates` and before, at each from the second on or evenly spread where those are too many, which
    /// together may be wrong with a probability of `alpha`.
    pub fn new(replicates: usize, alpha: f64) -> Stopping {
        let first = FIRST.min(replicates);
        let points: Vec<usize> = match replicates - first < LOOKS {
            true => (first..=replicates).collect(),
            false => (1..=LOOKS).map(|look| (look * replicates).div_ceil(LOOKS)).collect(),
        };
        let mut spent = 0.0;
        let of = points.len();
        let look = |(index, replicates_now): (usize, usize)| {
            let until = alpha * (replicates_now as f64 / replicates as f64).powi(3);
            let share = until - std::mem::replace(&mut spent, until);
            Look { replicates: replicates_now, number: index + 1, of, alpha: share }
        };
        Stopping { looks: points.into_iter().enumerate().map(look).collect() }
    }

    /// The look that is due when each side has so many replicates.
    pub fn look(&self, replicates: usize) -> Option<Look> {
        self.looks.iter().find(|look| look.replicates == replicates).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::compare::difference::{Difference, Options, Side, compare, constructed};
    use crate::run::Run;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    /// A side whose windows scatter by 2 % in throughput, latency and CPU, each by itself.
    fn side(random: &mut StdRng, replicates: usize) -> Run {
        let mut draw = |mean: f64| {
            let normal: f64 = (0..12).map(|_| random.random::<f64>() - 0.5).sum();
            (mean * (1.0 + 0.02 * normal)).round() as u64
        };
        let windows: Vec<(u64, u64, u64)> =
            (0..replicates).map(|_| (draw(50_000.0), draw(1_600_000.0), draw(150_000.0))).collect();
        constructed::run("r", 16, &windows)
    }

    fn differs(found: &Difference) -> bool {
        found.levels.iter().flat_map(|alpha| &alpha.rows).any(|row| row.subject.is_main() && row.verdict.differs())
    }

    #[test]
    fn equal_sides_seldom_differ_at_any_look_and_often_where_every_look_takes_the_whole_level() {
        let (rounds, replicates, alpha) = (1_000, 6, 0.05);
        let mut random = StdRng::seed_from_u64(5);
        let stopping = Stopping::new(replicates, alpha);
        let (mut kept, mut broken) = (0, 0);
        for _ in 0..rounds {
            let runs = [side(&mut random, replicates), side(&mut random, replicates)];
            let mut sides = [Side::new(&runs[0].manifest), Side::new(&runs[1].manifest)];
            let (mut by_share, mut by_level) = (false, false);
            for count in 1..=replicates {
                let options = |familywise: f64| Options { familywise, ..Options::default() };
                for (side, run) in sides.iter_mut().zip(&runs) {
                    side.add(&run.windows[count - 1], &options(alpha));
                }
                let Some(look) = stopping.look(count) else { continue };
                by_share |= differs(&compare(&sides[0], &sides[1], &options(look.alpha)));
                by_level |= differs(&compare(&sides[0], &sides[1], &options(alpha)));
            }
            kept += usize::from(by_share);
            broken += usize::from(by_level);
        }
        // Four standard errors above alpha.
        let bound = f64::from(rounds) * alpha + 4.0 * (f64::from(rounds) * alpha * (1.0 - alpha)).sqrt();
        assert!((kept as f64) < bound, "{kept} of {rounds}");
        assert!(broken as f64 > bound, "{broken} of {rounds} without the correction");
    }

    #[test]
    fn the_looks_shares_add_up_to_the_level_and_the_last_one_is_at_the_end() {
        for replicates in 1..=40 {
            let stopping = Stopping::new(replicates, 0.01);
            let sum: f64 = stopping.looks.iter().map(|look| look.alpha).sum();
            assert!((sum - 0.01).abs() < 1e-12, "{replicates}: {sum}");
            assert!(stopping.looks.len() <= LOOKS && stopping.look(replicates).is_some());
            assert!(stopping.looks.iter().all(|look| look.alpha > 0.0 && look.replicates >= FIRST.min(replicates)));
        }
    }

    #[test]
    fn six_replicates_are_looked_at_after_each_pair_from_the_second() {
        let stopping = Stopping::new(6, 0.01);
        let at: Vec<usize> = stopping.looks.iter().map(|look| look.replicates).collect();
        assert_eq!(at, [2, 3, 4, 5, 6]);
        assert_eq!(stopping.look(1), None);
        let last = stopping.look(6).unwrap();
        assert_eq!((last.number, last.of), (5, 5));
        assert!((last.alpha - 0.01 * (1.0 - (5.0f64 / 6.0).powi(3))).abs() < 1e-12);
    }
}
