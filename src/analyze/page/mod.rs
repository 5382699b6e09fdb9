//! What the report page shows of a run, gathered: figures alone, no words and no drawing. Invariant: it says nothing
//! that the analyses which it gathers do not say, so that the page and the other verbs never differ.

mod ceiling;
mod timeline;

pub use ceiling::{Ceiling, ceiling};
pub use timeline::{Line, Slice, Stretch, timeline};

use crate::analyze::cost::hot::{By, HotOptions, HotTable, hot};
use crate::analyze::cost::owners::Rules;
use crate::analyze::judge::answer::{Answer, answer};
use crate::analyze::judge::diagnose::Diagnosis;
use crate::analyze::judge::summary::{LevelSummary, summary};
use crate::analyze::time::hands::{LevelHands, hands, not_followed};
use crate::analyze::time::nodes::nodes;
use crate::analyze::time::places::{HopPlaces, places};
use crate::analyze::time::populations::{Population, populations};
use crate::check::Check;
use crate::preset::Preset;
use crate::run::{Run, WindowId};
use std::collections::BTreeMap;

/// Functions in the table at most: what a script sorts and filters at once without a pause.
const FUNCTIONS: usize = 5_000;

/// All figures of the page but for the stacks.
#[derive(Clone, Debug)]
pub struct Page {
    /// What the first screen says.
    pub answer: Answer,
    /// Throughput and latency by level, ascending.
    pub levels: Vec<LevelSummary>,
    /// What bounds the throughput; `None`: the run does not tell what a query costs.
    pub ceiling: Option<Ceiling>,
    /// Places of each hop; empty where the sockets were not followed.
    pub places: Vec<HopPlaces>,
    /// Where the clients are; empty likewise.
    pub populations: Vec<Population>,
    /// What carried the queries in the server's hands, by level.
    pub hands: BTreeMap<usize, LevelHands>,
    /// Of the other levels, why that is not known.
    pub not_followed: BTreeMap<usize, String>,
    /// Functions of the program with what they call, by level.
    pub functions: HotTable,
    /// The diagnosis of each level that has a latency, ascending.
    pub diagnoses: Vec<Diagnosis>,
    /// Every window in slices.
    pub lines: Vec<Line>,
    /// Every check of every window.
    pub checks: Vec<(WindowId, Check)>,
}

impl Page {
    /// The figures of a run. `preset` is the run's, or why there is none to judge by; `diagnoses` are of all levels.
    pub fn of(run: &Run, preset: Result<&Preset, String>, diagnoses: Vec<Diagnosis>) -> Page {
        let known = preset.as_ref().ok().copied();
        let hops = places(run);
        let trees = nodes(run, &hops, known);
        let hands = known.map_or_else(BTreeMap::new, |preset| hands(run, preset));
        let checks = |window: &crate::run::Window| {
            let id = window.id();
            window.checks.iter().map(move |check| (id, check.clone())).collect::<Vec<_>>()
        };
        Page {
            answer: answer(run, preset, None),
            levels: summary(run),
            ceiling: ceiling(run),
            populations: populations(&hops, &trees),
            places: hops,
            not_followed: not_followed(run, &hands),
            hands,
            functions: functions(run, known),
            diagnoses,
            lines: timeline(run),
            checks: run.windows.iter().flat_map(checks).collect(),
        }
    }
}

/// By the function of the program that owns a sample; by the function that it was taken in where no preset says who
/// owns what.
fn functions(run: &Run, preset: Option<&Preset>) -> HotTable {
    let owners = preset.map(|preset| Rules::of(preset, &run.manifest));
    let by = if owners.is_some() { By::Owner } else { By::SelfCost };
    hot(run, &HotOptions { by, owners, kernel_grouped: true, top: FUNCTIONS, ..HotOptions::default() })
}
