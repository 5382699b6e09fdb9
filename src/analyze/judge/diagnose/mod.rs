//! Why queries take as long as they do at a level: causes with their evidence, judged by the preset's rules.
//! Invariant: a finding is computed from a stored run alone; its effect is what the network of `model.rs` says goes
//! with the cause, and a cause that could not be looked for is named with what was missing.
//!
//! Serialized as it is, a [`Diagnosis`] is the JSON of `wireprof diagnose --json`. Times are ns.

mod accounting;
mod behind;
mod between_hosts;
mod blocked;
mod carried;
mod chain;
mod cpu;
mod facts;
mod in_hand;
mod judge;
mod machine;
mod model;
mod network;
mod owners;
mod precise;
mod queries_wait;
mod validity;
mod wait_cpu;
mod waits;

pub use blocked::{Blocked, OffCpuWaits, Waited};
pub use facts::{Facts, LatencyBy, RoundTrip};
pub use model::{HeldResource, LowerLevel, Network, Removal, ResourceKind};

use crate::analyze::time::hands::hands;
use crate::analyze::time::places::places;
use crate::preset::{Cause, Preset, WaitKind};
use crate::run::Run;
use owners::{Naming, Owner};
use serde::Serialize;
use std::collections::BTreeMap;
use wait_cpu::WaitCpu;

/// The findings at one level, the first one first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Id of the run.
    pub run: String,
    /// The level that is explained: a number of clients.
    pub level: usize,
    /// N: connections of the load; where they are not known, queries under way on average (Little's law).
    pub clients: f64,
    /// Queries that can be under way at once, with which effects reckon: the clients of a closed loop, else as many as
    /// were on average.
    pub under_way: f64,
    /// ns between an answer and the next query of a closed loop's client; `None`: the load is no closed loop.
    pub think: Option<f64>,
    /// Mean latency, ns.
    pub latency: f64,
    /// By whose account that is.
    pub latency_by: LatencyBy,
    /// Queries a second.
    pub throughput: f64,
    /// The findings, in the order that [`Finding`] describes.
    pub verdicts: Vec<Finding>,
    /// The level that tells how CPU a query falls as the throughput rises, which effects reckon with; `None`: they
    /// take what is left to cost what it costs.
    #[serde(rename = "slower")]
    pub lower: Option<usize>,
    /// Share of the latency that stays without all causes that the confident verdicts name, 0..1; `None`: effects
    /// cannot be told.
    pub left: Option<f64>,
    /// What could not be looked for, and why.
    pub not_judged: Vec<String>,
}

/// One cause. Confident ones come first: what makes a run say something else than it seems to, then causes by their
/// effect, then the causes that saturated CPUs mask, by the time that queries spend at them, and then the state of the
/// machine, which multiplies or masks their effects and is itself nothing that can be taken away.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What kind of cause it is.
    pub cause: Cause,
    /// What is waited for, as the preset names it; `None`: the cause is no wait that stacks tell of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// Tables whose locks are waited for, the most first; empty: it is no such wait, or they are not known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// The finding in one sentence, with its main figures.
    pub sentence: String,
    /// How far the bounds of its rule are passed.
    pub confidence: Confidence,
    /// Which bounds it passes or misses.
    pub because: String,
    /// ns a query that queries spend at it: blocked, waiting for a CPU there, and on one. `None`: it is no wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub there: Option<f64>,
    /// `None` where none can be told (a run that measured something else).
    pub effect: Option<Effect>,
    /// Functions, those with the largest effect first.
    pub named: Vec<Named>,
    /// The figures that it comes from.
    pub evidence: Vec<Evidence>,
    /// What would show that it is wrong, by the preset's rule.
    pub refuted_by: String,
    /// What to do next, by the preset's rule.
    pub next: String,
}

/// How far a finding passes the bounds of its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// All bounds of its rule are passed.
    Confident,
    /// Queries spend time at it, of at least half the share that its effect would need; but the CPUs are saturated, so
    /// that without it they would wait for one instead.
    Masked,
    /// Some are, and the others are missed by no more than half.
    Possible,
}

/// What would go with the cause.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// ns of mean latency.
    pub latency: f64,
    /// Of the mean latency, 0..1.
    pub share: f64,
    /// By how much the throughput would rise, 0.5: by half. `None`: the load is no closed loop, or hardly any latency
    /// would be left to tell.
    pub throughput: Option<f64>,
}

/// A function with what it calls.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Named {
    /// Full name of the function.
    pub name: String,
    /// The process that runs it, where several are told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// ns of CPU a query; for what waits, of blocked time and of CPU there.
    pub cost: f64,
    /// 95 % interval of `cost`; `None`: not measured.
    pub interval: Option<(f64, f64)>,
    /// ns of mean latency that would go with it; `None`: it cannot be told.
    pub effect: Option<f64>,
}

/// One figure and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// What the figure is of.
    pub what: String,
    /// The figure, in `unit`.
    pub value: f64,
    /// Unit in words: `us a query`, `% of the latency`.
    pub unit: String,
    /// The level at which it was measured.
    pub level: usize,
    /// Files of the window's directory.
    pub source: String,
}

/// The diagnosis at a level; `None` where the level has no latency.
pub fn diagnose(run: &Run, preset: &Preset, level: usize) -> Option<Diagnosis> {
    let known = Known::of(run, preset);
    known.diagnosis(level)
}

/// The diagnosis of every level that has a latency.
pub fn diagnose_all(run: &Run, preset: &Preset) -> Vec<Diagnosis> {
    let known = Known::of(run, preset);
    known.levels().into_iter().filter_map(|level| known.diagnosis(level)).collect()
}

/// What is known of a run, for all its levels; these can be diagnosed at once.
pub struct Known<'a> {
    run: &'a Run,
    preset: &'a Preset,
    levels: BTreeMap<usize, Facts<'a>>,
    waits: OffCpuWaits<'a>,
    naming: Naming,
}

impl<'a> Known<'a> {
    /// Of this run, by the rules of this preset.
    pub fn of(run: &'a Run, preset: &'a Preset) -> Self {
        let (hops, naming) = (places(run), Naming::of(preset, &run.manifest));
        let waits = OffCpuWaits::of(run, preset, &naming.rules);
        let mut hands = hands(run, preset);
        let facts = |level| Some((level, Facts::of(run, preset, &hops, &waits, hands.remove(&level), level)?));
        let levels = run.levels().into_keys().filter_map(facts).collect();
        Known { run, preset, levels, waits, naming }
    }

    /// The levels that have a latency.
    pub fn levels(&self) -> Vec<usize> {
        self.levels.keys().copied().collect()
    }

    /// The diagnosis at a level; `None` where it has no latency.
    pub fn diagnosis(&self, level: usize) -> Option<Diagnosis> {
        let facts = self.levels.get(&level)?;
        let Known { preset, waits, naming, levels, .. } = self;
        let wait_cpu = WaitCpu { naming, waits }.of(facts);
        let case = Case { preset, facts, levels, waits, naming, wait_cpu, network: facts.network(levels) };
        let judge::Judgement { verdicts, left, not_judged } = judge::judge(&case);
        Some(Diagnosis {
            run: self.run.manifest.id.clone(),
            level,
            clients: facts.clients,
            under_way: facts.under_way,
            think: facts.think,
            latency: facts.latency,
            latency_by: facts.latency_by,
            throughput: facts.throughput,
            verdicts,
            lower: facts.lower(levels).filter(|lower| lower.cpu.is_some()).map(|lower| lower.level),
            left,
            not_judged,
        })
    }
}

/// What causes are looked for in.
struct Case<'a> {
    preset: &'a Preset,
    facts: &'a Facts<'a>,
    /// All levels, this one among them.
    levels: &'a BTreeMap<usize, Facts<'a>>,
    waits: &'a OffCpuWaits<'a>,
    naming: &'a Naming,
    /// The kinds of waits that are causes and use CPU, each with the owners of that.
    wait_cpu: BTreeMap<WaitKind, Vec<Owner>>,
    /// `None` without scheduler statistics of the machine.
    network: Option<Network>,
}

/// A cause that may be one.
struct Candidate {
    cause: Cause,
    /// What is waited for, as the preset names it.
    wait: Option<String>,
    sentence: String,
    /// What would be taken away; `None`: not to be told.
    removal: Option<Removal>,
    /// What would be taken away at least, where an interval is known.
    at_least: Option<Removal>,
    /// ns a query that queries spend at it; `None`: it is no wait.
    there: Option<f64>,
    /// What the rule's threshold is held against, and in words.
    measure: Option<(f64, &'static str)>,
    named: Vec<Named>,
    evidence: Vec<Evidence>,
    /// Of a wait in the server's hands: at what its chain ends.
    ends: Option<chain::Ends>,
    /// Of such a wait: the server's own figures of what is behind say what it is spent on.
    divided: bool,
    /// See [`Finding::tables`].
    tables: Vec<String>,
}

impl Candidate {
    fn new(cause: Cause, sentence: String) -> Self {
        let (named, evidence) = (Vec::new(), Vec::new());
        Candidate {
            cause,
            wait: None,
            sentence,
            removal: None,
            at_least: None,
            there: None,
            measure: None,
            named,
            evidence,
            ends: None,
            divided: false,
            tables: Vec::new(),
        }
    }
}

impl Diagnosis {
    /// The first finding where it is a confident one.
    pub fn first(&self) -> Option<&Finding> {
        self.verdicts.iter().find(|verdict| verdict.confidence == Confidence::Confident)
    }
}

impl Case<'_> {
    /// ns of latency that would go with it; `None` without scheduler statistics of the machine.
    fn effect(&self, removal: &Removal) -> Option<f64> {
        self.network.as_ref().map(|network| network.effect(removal))
    }

    /// What tells the CPU of waits at any level.
    fn of_waits(&self) -> WaitCpu<'_> {
        WaitCpu { naming: self.naming, waits: self.waits }
    }

    /// The threshold of a cause's rule; infinite without a rule.
    fn threshold(&self, cause: Cause) -> f64 {
        self.preset.rule.iter().find(|rule| rule.cause == cause).map_or(f64::INFINITY, |rule| rule.threshold)
    }

    /// The least share of the latency of a cause's rule; infinite without a rule.
    fn least_share(&self, cause: Cause) -> f64 {
        self.preset.rule.iter().find(|rule| rule.cause == cause).map_or(f64::INFINITY, |rule| rule.share)
    }

    /// A time at this case's level.
    fn nanos(&self, what: &str, nanos: f64, per: &str, source: &str) -> Evidence {
        nanos_at(self.facts, what, nanos, per, source)
    }

    fn share(&self, what: &str, share: f64, of: &str, source: &str) -> Evidence {
        let unit = format!("% of {of}");
        Evidence { what: what.into(), value: 100.0 * share, unit, level: self.facts.level, source: source.into() }
    }

    /// The lowest level of the run, where queues are shortest.
    fn lowest(&self) -> &Facts<'_> {
        self.levels.values().next().unwrap_or(self.facts)
    }
}

fn nanos_at(facts: &Facts, what: &str, nanos: f64, per: &str, source: &str) -> Evidence {
    let unit = format!("us a {per}");
    Evidence { what: what.into(), value: nanos / 1e3, unit, level: facts.level, source: source.into() }
}

const SCHEDULER: &str = "scheduler.json";
const WIRE: &str = "wire.json";
const STATEMENTS: &str = "statements.json";
const OFF_CPU: &str = "offcpu.pb.gz";
const PROFILE: &str = "profile.pb.gz";
const METRICS: &str = "metrics-before.prom.gz, metrics-after.prom.gz";
const CHECKS: &str = "guards.json";
const WINDOW: &str = "window.json";
const HANDS: &str = "hands.json, hands.pb.gz";
