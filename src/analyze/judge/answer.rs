//! The answer: what the first screen says of a run. Invariant: it says nothing that the analyses which it gathers do
//! not say, and what they cannot tell is named with the reason.

use super::diagnose::{Finding, Known};
use super::summary::{LevelSummary, summary};
use crate::analyze::cost::carried::why_not_followed;
use crate::analyze::cost::hot::{By, HotOptions, Order, hot};
use crate::analyze::cost::owners::Rules;
use crate::analyze::time::growth::{Growth, growth};
use crate::analyze::time::hands::{LevelHands, hands};
use crate::analyze::time::places::{HopPlaces, load_places, places};
use crate::carriers::State;
use crate::check::{Check, Status};
use crate::preset::Preset;
use crate::run::{Part, Run, Window};
use crate::wire::Place;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Why a run's server is slow, and how far that is to be believed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Id of the run.
    pub run: String,
    /// How it ended: `complete`, or why not.
    pub ended: String,
    /// All levels, ascending.
    pub levels: Vec<AnswerLevel>,
    /// The first verdict of the highest level that can be diagnosed; `None`: `not_diagnosed` says why.
    pub first: Option<First>,
    /// Why there is no verdict; `None`: there is one.
    pub not_diagnosed: Option<String>,
    /// What grew from the first level to the last; `None` with a single level.
    pub grown: Option<Grown>,
    /// Number of windows.
    pub windows: usize,
    /// What does not hold, each condition once, the worst first.
    pub doubts: Vec<Doubt>,
    /// What of the run was not measured, each once with the reason.
    pub missing: Vec<Lacking>,
    /// Windows that are on disk and cannot be read, each with what is wrong: nothing of them is in any figure.
    pub left_out: Vec<String>,
    /// What was changed on the server for the run.
    pub changes: Vec<String>,
}

/// One level: how fast, and where the clients are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnswerLevel {
    /// Number of clients.
    pub level: usize,
    /// Queries a second; `None`: they were not counted.
    pub throughput: Option<f64>,
    /// Mean latency in ns; `None`: neither the load nor the sockets tell it.
    pub mean: Option<f64>,
    /// The mean is by the sockets, since the load does not tell its own.
    pub by_sockets: bool,
    /// Median of the latency in ns; `None`: no distribution was kept.
    pub p50: Option<u64>,
    /// 99th percentile of the latency in ns.
    pub p99: Option<u64>,
    /// 99.9th percentile of the latency in ns; `None` also with fewer than a thousand queries.
    pub p999: Option<u64>,
    /// Clients in each place on average, in the order of the path; `None`: the sockets were not followed.
    pub places: Option<Vec<(Place, f64)>>,
    /// Why the latency, or its distribution, is not there.
    pub why: Option<String>,
}

/// A verdict of `diagnose` and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct First {
    /// The level that was diagnosed.
    pub level: usize,
    /// Mean latency there, ns.
    pub latency: f64,
    /// The verdict.
    pub finding: Finding,
}

/// What grew most between two levels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grown {
    /// The first level.
    pub from: usize,
    /// The last level.
    pub to: usize,
    /// The latency by places; `None`: it is not known at both.
    pub latency: Option<Growth>,
    /// The wait that grew most, per query.
    pub wait: Most,
    /// The function whose CPU a query grew most, with what it calls.
    pub function: Most,
}

/// What grew most of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Most {
    /// It grew by so many ns a query.
    Grew {
        /// What it is called.
        name: String,
        /// ns a query.
        nanos: f64,
    },
    /// None did.
    None,
    /// Not measured at both levels.
    NotMeasured,
}

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Doubt {
    /// Warn or fail.
    pub status: Status,
    /// The check of the highest level at which it has this status.
    pub check: Check,
    /// Number of windows in which it does not hold.
    pub windows: usize,
    /// Levels of these windows.
    pub levels: BTreeSet<usize>,
}

/// A part that is missing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lacking {
    /// The part.
    pub what: Part,
    /// Why it was not measured.
    pub why: String,
    /// Number of windows that lack it.
    pub windows: usize,
}

/// The answer of a run, or of one of its levels. `preset` is the run's, or why there is none to judge by.
pub fn answer(run: &Run, preset: Result<&Preset, String>, level: Option<usize>) -> Answer {
    let hops = places(run);
    let known = preset.as_ref().ok().map(|preset| Known::of(run, preset));
    let (first, not_diagnosed) = match (&preset, &known) {
        (Ok(preset), Some(known)) => first_verdict(known, preset, level),
        (preset, _) => (None, preset.as_ref().err().cloned()),
    };
    let asked = |of: usize| level.is_none_or(|level| level == of);
    let windows: Vec<&Window> = run.windows.iter().filter(|window| asked(window.id().level)).collect();
    let levels = summary(run).into_iter().filter(|level| asked(level.level));
    Answer {
        run: run.manifest.id.clone(),
        ended: run.manifest.ended.clone(),
        levels: levels.map(|level| of_level(&level, &hops)).collect(),
        first,
        not_diagnosed,
        grown: if level.is_none() { grown(run, &hops, preset.ok(), known.as_ref()) } else { None },
        windows: windows.len(),
        doubts: doubts(&windows),
        missing: missing(&windows),
        left_out: run.damaged.iter().map(|damaged| damaged.why.clone()).collect(),
        changes: run.manifest.changes.clone(),
    }
}

fn of_level(level: &LevelSummary, hops: &[HopPlaces]) -> AnswerLevel {
    let there = load_places(hops).and_then(|hop| hop.levels.get(&level.level));
    let own = level.mean_latency;
    AnswerLevel {
        level: level.level,
        throughput: level.throughput,
        mean: own.or(level.sockets_latency),
        by_sockets: own.is_none() && level.sockets_latency.is_some(),
        p50: level.p50,
        p99: level.p99,
        p999: level.p999,
        places: there.map(|found| found.places.iter().map(|share| (share.place, share.population)).collect()),
        why: level.why.latency.clone().or_else(|| level.why.distribution.clone()),
    }
}

/// The first verdict of a level, or of the highest that has a latency; or why there is none.
fn first_verdict(known: &Known, preset: &Preset, level: Option<usize>) -> (Option<First>, Option<String>) {
    if preset.rule.is_empty() {
        return (None, Some(format!("preset {} has no rules to diagnose by", preset.name)));
    }
    let Some(diagnosis) = level.or(known.levels().last().copied()).and_then(|level| known.diagnosis(level)) else {
        return (None, Some("the latency is not known, by the load or by the sockets".into()));
    };
    let (level, latency) = (diagnosis.level, diagnosis.latency);
    let why = || diagnosis.not_judged.first().cloned().unwrap_or_else(|| "nothing could be judged".into());
    match diagnosis.verdicts.first() {
        Some(finding) => (Some(First { level, latency, finding: finding.clone() }), None),
        None => (None, Some(why())),
    }
}

fn grown(run: &Run, hops: &[HopPlaces], preset: Option<&Preset>, known: Option<&Known>) -> Option<Grown> {
    let levels: Vec<usize> = run.levels().into_keys().collect();
    let (from, to) = (*levels.first()?, *levels.last()?);
    (from != to).then(|| Grown {
        from,
        to,
        latency: growth(run, hops),
        wait: preset.zip(known).map_or(Most::NotMeasured, |(preset, known)| grown_wait(run, preset, known, from, to)),
        function: grown_function(run, preset),
    })
}

/// Of the carriers where they were followed, else of the threads that handle queries.
fn grown_wait(run: &Run, preset: &Preset, known: &Known, from: usize, to: usize) -> Most {
    let followed = hands(run, preset);
    if let (Some(first), Some(last)) = (followed.get(&from), followed.get(&to)) {
        return largest(&carried(first), &carried(last));
    }
    match known.waits_of_queries(from).zip(known.waits_of_queries(to)) {
        Some((first, mut last)) => {
            // What one of them does not tell has not grown from 0.
            last.retain(|name, _| first.contains_key(name));
            largest(&first, &last)
        }
        None => Most::NotMeasured,
    }
}

/// ns a query in the server's hands in which nothing was done for it, by what it waits for.
fn carried(hands: &LevelHands) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for part in hands.parts.iter().filter(|part| !matches!(part.state, State::Running | State::Unseen)) {
        let at = part.function.as_ref().map(|function| function.name.clone());
        let name = match (part.behind, at) {
            (Some(port), _) => format!("for the answer of port {port}"),
            (None, Some(function)) => format!("at {function}"),
            (None, None) if part.state == State::Runnable => "for a CPU".into(),
            (None, None) if part.state == State::Queued => "for a worker of the runtime".into(),
            (None, None) => "at a stack that is not known".into(),
        };
        *found.entry(name).or_default() += part.nanos;
    }
    found
}

fn largest(first: &BTreeMap<String, f64>, last: &BTreeMap<String, f64>) -> Most {
    let grown = last.iter().map(|(name, nanos)| (name, nanos - first.get(name).copied().unwrap_or(0.0)));
    match grown.max_by(|a, b| a.1.total_cmp(&b.1)).filter(|(_, nanos)| *nanos > 0.0) {
        Some((name, nanos)) => Most::Grew { name: name.clone(), nanos },
        None => Most::None,
    }
}

/// Rows among which one is looked for that grew beyond chance.
const LOOKED_AT: usize = 10;
/// Of the CPU a query at the last level: less is nothing that made the server slow, and may be chance.
pub const LEAST_GROWTH: f64 = 0.01;

fn grown_function(run: &Run, preset: Option<&Preset>) -> Most {
    let owners = preset.map(|preset| Rules::of(preset, &run.manifest));
    let by = if owners.is_some() { By::Owner } else { By::SelfCost };
    let table = hot(run, &HotOptions { by, owners, order: Order::Growth, top: LOOKED_AT, ..HotOptions::default() });
    let ends = [table.levels.first(), table.levels.last()].map(|level| level.and_then(|level| level.total.as_ref()));
    let [Some(_), Some(total)] = ends else { return Most::NotMeasured };
    if table.unit != "nanoseconds" || table.levels.iter().any(|level| level.queries.is_none()) {
        return Most::NotMeasured;
    }
    let real = table.rows.iter().find(|row| {
        let beyond_chance = row.difference_interval.is_some_and(|(low, _)| low > 0.0);
        beyond_chance && !row.frame.name.starts_with('[') && row.difference > Some(LEAST_GROWTH * total.value)
    });
    match real.and_then(|row| Some((row, row.difference?))) {
        Some((row, nanos)) => Most::Grew { name: row.frame.name.clone(), nanos },
        None => Most::None,
    }
}

/// Each condition that does not hold once, the worst first, then what holds in the fewest windows.
fn doubts(windows: &[&Window]) -> Vec<Doubt> {
    let mut found: Vec<Doubt> = Vec::new();
    for window in windows {
        for check in window.checks.iter().filter(|check| matches!(check.status(), Status::Warn | Status::Fail)) {
            let (status, level) = (check.status(), window.id().level);
            match found.iter_mut().find(|doubt| doubt.status == status && same(&doubt.check, check)) {
                Some(doubt) => {
                    if doubt.levels.last() <= Some(&level) {
                        doubt.check = check.clone();
                    }
                    doubt.windows += 1;
                    doubt.levels.insert(level);
                }
                None => {
                    let levels = BTreeSet::from([level]);
                    found.push(Doubt { status, check: check.clone(), windows: 1, levels });
                }
            }
        }
    }
    found.sort_by_key(|doubt| std::cmp::Reverse((doubt.status, doubt.windows)));
    found
}

/// The same condition, of whatever window.
fn same(a: &Check, b: &Check) -> bool {
    let of_preset = |check: &Check| match check {
        Check::ServerChurn { name, .. } | Check::Focus { name, .. } => Some(name.clone()),
        _ => None,
    };
    std::mem::discriminant(a) == std::mem::discriminant(b) && of_preset(a) == of_preset(b)
}

/// What the answer itself, or the verbs that it leads to, would need.
const NEEDED: [Part; 11] = [
    Part::Queries,
    Part::Latency,
    Part::LatencyDistribution,
    Part::Places,
    Part::Profile,
    Part::TargetCpu,
    Part::Scheduler,
    Part::OffCpuStacks,
    Part::Carriers,
    Part::Metrics,
    Part::Statements,
];

/// Whether a window has a part, as far as it has a place of its own.
fn has(window: &Window, part: &Part) -> bool {
    match part {
        Part::LatencyDistribution => !window.load.latency.is_empty(),
        Part::Places => window.wire.is_some(),
        Part::Profile => window.profile.is_some(),
        Part::Scheduler => window.scheduler.is_some(),
        Part::OffCpuStacks => window.off_cpu.is_some(),
        Part::Carriers => window.hands.is_some(),
        Part::Metrics => window.metrics.is_some(),
        Part::Statements => window.statements.is_some(),
        _ => true,
    }
}

/// In the order in which they are needed.
fn missing(windows: &[&Window]) -> Vec<Lacking> {
    let lacking = |what: Part| {
        let told: Vec<&String> = windows.iter().filter_map(|window| Some(&window.facts.lacks(&what)?.why)).collect();
        let nowhere = !windows.is_empty() && windows.iter().all(|window| !has(window, &what));
        match told.first() {
            Some(why) => Some(Lacking { why: (*why).clone(), windows: told.len(), what }),
            None if nowhere => {
                let why = match what {
                    Part::Carriers => why_not_followed(windows),
                    _ => "not recorded in this run".into(),
                };
                Some(Lacking { what, why, windows: windows.len() })
            }
            None => None,
        }
    };
    NEEDED.into_iter().filter_map(lacking).collect()
}
