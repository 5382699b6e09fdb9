//! Further windows until the large functions of each level are known as precisely as was asked. Invariant: they come
//! after all that were planned, and no level has more of them than was permitted.

use super::{Event, order};
use crate::analyze::cost::owners::Rules;
use crate::analyze::cost::precision::{Costs, FEWEST, Precision, windows_left};
use crate::analyze::cost::view::Per;
use crate::preset::Preset;
use crate::run::{Manifest, PrecisionGoal, Window, WindowId};
use crate::words::list;

/// The costs of the windows so far; of nothing where no precision was asked for.
#[derive(Default)]
pub struct PrecisionBook(Option<Costs>);

/// Windows to take next.
pub struct Further {
    /// One of each level that is not known well enough, in random order.
    pub windows: Vec<WindowId>,
    /// How many more it will be in all, by the intervals now (a count).
    pub expected: usize,
    /// How well the levels are known, in words.
    pub told: String,
}

impl PrecisionBook {
    /// Adds a finished window of a run that is to reach a precision.
    pub fn add(&mut self, preset: &Preset, manifest: &Manifest, window: &Window) {
        if manifest.precision.is_none() {
            return;
        }
        let per = if window.counted() { Per::Query } else { Per::Hundredth };
        self.0.get_or_insert_with(|| Costs::new(per, Some(Rules::of(preset, manifest)))).add(window);
    }

    /// What to take next; `None`: nothing, for every level is known well enough or has as many windows as it may.
    pub fn further(&self, manifest: &Manifest) -> Option<Further> {
        let (costs, goal) = (self.0.as_ref()?, manifest.precision?);
        let left = |known: &Precision| {
            let taken = manifest.order.iter().filter(|id| id.level == known.level).count();
            windows_left(known, &goal).min(goal.windows.saturating_sub(taken))
        };
        let open: Vec<(Precision, usize)> = costs
            .levels()
            .into_iter()
            .map(|known| (left(&known), known))
            .filter(|(left, _)| *left > 0)
            .map(|(left, known)| (known, left))
            .collect();
        let expected = open.iter().map(|(_, left)| left).sum();
        let levels: Vec<usize> = open.iter().map(|(known, _)| known.level).collect();
        let windows = next_round(manifest, &levels);
        (!windows.is_empty()).then(|| Further { windows, expected, told: told(&open, &goal) })
    }
}

/// The next replicate of these levels, in the order that the seed gives it.
fn next_round(manifest: &Manifest, levels: &[usize]) -> Vec<WindowId> {
    let replicates = manifest.order.iter().filter(|id| levels.contains(&id.level)).map(|id| id.replicate);
    let next = 1 + replicates.max().unwrap_or(0);
    let all = order(&manifest.levels, next, manifest.seed);
    all.into_iter().filter(|id| id.replicate == next && levels.contains(&id.level)).collect()
}

fn told(open: &[(Precision, usize)], goal: &PrecisionGoal) -> String {
    let level =
        |(known, _): &(Precision, usize)| known.told().unwrap_or_else(|| format!("not known at level {}", known.level));
    let levels: Vec<String> = open.iter().map(level).collect();
    format!(
        "precision: {}; {} was asked for, by {FEWEST} to {} windows a level",
        list(&levels),
        goal.told(),
        goal.windows
    )
}

impl Further {
    /// Tells who looks on.
    pub fn tell(&self, tell: &mut (dyn FnMut(Event) + Send)) {
        tell(Event::Noted(&self.told));
        tell(Event::Further(self.expected));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::build::{self, spread};

    /// A run of these levels, a window each, that is to be known to 10 % by four windows a level at most.
    fn manifest(levels: &[usize]) -> Manifest {
        let goal = Some(PrecisionGoal { half_width: 0.1, windows: 4 });
        Manifest {
            levels: levels.to_vec(),
            order: order(levels, 1, 7),
            seed: 7,
            precision: goal,
            ..build::manifest("x", levels)
        }
    }

    /// A window with so many samples of one function in a second.
    fn window(level: usize, replicate: usize, samples: u64) -> Window {
        build::window(level, replicate, 1, 1_000, Some(build::profile(&spread("main;exec", samples, 1))))
    }

    /// Takes all windows that the book asks for; their ids after those that were planned.
    fn take(manifest: &mut Manifest, samples: impl Fn(usize) -> u64) -> Vec<(usize, usize)> {
        let preset = Preset::built_in("generic").unwrap();
        let (mut book, planned) = (PrecisionBook::default(), manifest.order.len());
        let mut taken = 0;
        loop {
            for id in &manifest.order[taken..] {
                book.add(&preset, manifest, &window(id.level, id.replicate, samples(id.level)));
            }
            taken = manifest.order.len();
            let Some(further) = book.further(manifest) else { break };
            assert!(further.expected >= further.windows.len(), "{}", further.told);
            manifest.order.extend(further.windows);
        }
        manifest.order[planned..].iter().map(|id| (id.level, id.replicate)).collect()
    }

    #[test]
    fn a_level_gets_windows_until_it_is_known_or_has_as_many_as_it_may() {
        let mut run = manifest(&[1, 4]);
        // 1.96 over the root of 3 x 900 samples is 4 %, over that of 4 x 16 it is 25 %.
        let further = take(&mut run, |level| if level == 1 { 16 } else { 900 });
        let of = |level: usize| -> Vec<usize> {
            further.iter().filter(|(of, _)| *of == level).map(|(_, replicate)| *replicate).collect()
        };
        assert_eq!((of(1), of(4)), (vec![2, 3, 4], vec![2, 3]), "{further:?}");
        let second: Vec<usize> = further[..2].iter().map(|(level, _)| *level).collect();
        let drawn: Vec<usize> = order(&[1, 4], 2, 7)[2..].iter().map(|id| id.level).collect();
        assert_eq!(second, drawn, "in the order that the seed gives");
    }

    #[test]
    fn without_a_goal_or_a_profile_there_are_no_further_windows() {
        let mut without = Manifest { precision: None, ..manifest(&[1]) };
        assert_eq!(take(&mut without, |_| 16), []);
        let (preset, run) = (Preset::built_in("generic").unwrap(), manifest(&[1]));
        let mut book = PrecisionBook::default();
        book.add(&preset, &run, &build::window(1, 1, 1, 1_000, None));
        assert!(book.further(&run).is_none());
    }
}
