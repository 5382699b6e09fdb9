//! What a stored run holds. Everything right of the run (analysis, rendering, the log) reads only this.
//! Invariant: a value that was not measured is `None` or absent, with a [`Missing`] that says why; it is never 0.

use super::{CpuAccount, Part, PrecisionGoal, ServerProfile, told};
use crate::check::Check;
use crate::clock::{ClockRelation, Span};
use crate::load::LoadTrace;
use crate::metrics::MetricsDelta;
use crate::profile::Profile;
use crate::sample::{OffCpuReport, SamplingReport};
use crate::statements::StatementsDelta;
use crate::target::{Host, SchedulerDelta};
use crate::vcs::WorkingCopy;
use crate::wire::WireDelta;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Version of the layout of `runs/ID/`; a reader refuses a newer one by name.
pub const SCHEMA: u32 = 1;

/// `manifest.json`: what was measured, with what, on what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the layout, [`SCHEMA`] when it was written.
    pub schema: u32,
    /// The run's directory name: `20261122-101530-testbed`.
    pub id: String,
    /// What the user calls it; the newest run of a name is meant by it. `None`: nobody named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// RFC 3339, UTC.
    pub created: String,
    /// Name and version of the tool: `wireprof 0.1.0`, with `(import)` where it only read the files of others.
    pub tool: String,
    /// Arguments of the command, as typed, with secrets removed.
    pub arguments: Vec<String>,
    /// Name of the preset.
    pub preset: String,
    /// The server under test, of the last turn where each replicate had its own.
    pub target: Target,
    /// The machine that the windows were taken on: the target's.
    pub host: Host,
    /// The machine that drove the load, where that was another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_host: Option<Host>,
    /// The machines that drove the load, where it was asked for some; in the order in which clients were divided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load_hosts: Vec<LoadHostFacts>,
    /// What was sent, and by whom.
    pub workload: WorkloadSummary,
    /// Levels in ascending order; the order they were run in is that of `order`.
    pub levels: Vec<usize>,
    /// Windows of each level as planned (a count).
    pub replicates: usize,
    /// Seed of the random order of levels.
    pub seed: u64,
    /// (level, replicate) in the order they were run.
    pub order: Vec<WindowId>,
    /// Length of each window as asked for, in seconds.
    pub window_seconds: f64,
    /// Load before each window as asked for, in seconds.
    pub warmup_seconds: f64,
    /// The precision until which windows were taken; `None`: as many as were planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<PrecisionGoal>,
    /// Set-up made on the target, as `what: from -> to`.
    #[serde(serialize_with = "told::texts")]
    pub changes: Vec<String>,
    /// What the user should know of the whole run (a metric the preset wants and the server lacks, ...).
    #[serde(serialize_with = "told::texts")]
    pub notes: Vec<String>,
    /// `complete`, or why the run was cut short.
    #[serde(serialize_with = "told::text")]
    pub ended: String,
    /// Each replicate had a target of its own, started for it; `target` is the last one.
    #[serde(default)]
    pub restarted: bool,
    /// `None`: a run by itself.
    #[serde(default)]
    pub side: Option<Side>,
}

/// What makes a run one side of a comparison, or one rung of a ladder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// As the user calls it.
    pub name: String,
    /// The run of the other side; of a rung the one below, empty for the lowest.
    pub partner: String,
    /// This run's letter in `turns`.
    pub letter: char,
    /// What was set for this side only.
    pub setup: Vec<String>,
    /// The sides' turns in the order that was planned, one letter a replicate: `ABBABAAB`.
    pub turns: String,
    /// The last look at both sides; `None`: there was none.
    pub look: Option<Look>,
    /// What the rungs of one ladder have in common; `None`: a side of a comparison.
    #[serde(default)]
    pub ladder: Option<String>,
}

/// One look at a comparison under way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Replicates of each side that it rests on.
    pub replicates: usize,
    /// Looks planned up to this one, itself included (a count).
    pub number: usize,
    /// Looks planned in all (a count).
    pub of: usize,
    /// Probability of a false difference that this look may use, so that all looks together keep theirs.
    #[serde(rename = "level")]
    pub alpha: f64,
}

/// The running process, not the file one thinks it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Target {
    /// Without password.
    pub url: String,
    /// Process number; `None`: the server is not on this host, or not known.
    pub pid: Option<u32>,
    /// Path of the running executable; `None`: not known.
    pub executable: Option<String>,
    /// Build-id of the running executable, in hex; `None`: it has none, or it could not be read.
    pub build_id: Option<String>,
    /// Arguments with secrets removed.
    pub argv: Vec<String>,
    /// Start time, RFC 3339, UTC, from /proc/PID/stat.
    pub started: Option<String>,
    /// Revision as the server tells it (`SELECT version()` or a metric).
    pub version: Option<String>,
    /// The executable on disk is no longer the one that runs.
    pub deleted: bool,
    /// Symbols were found for the executable.
    pub symbols: Option<bool>,
    /// When the running executable's file was modified, RFC 3339, UTC, milliseconds.
    #[serde(default)]
    pub built: Option<String>,
    /// The working copy that the target was built from.
    #[serde(default)]
    pub source: BuiltFrom,
}

impl Target {
    /// Whether the executable is newer than the last change of the working copy that it is said to be built from;
    /// `None` where one of the two times is not known. An older one does not have that change; a newer one may still
    /// be of another tree.
    pub fn newer_than_source(&self) -> Option<bool> {
        let BuiltFrom::WorkingCopy(WorkingCopy { newest: Some(newest), .. }) = &self.source else { return None };
        // Times of one form and time zone compare as text.
        Some(*self.built.as_ref()? > newest.at)
    }
}

/// The working copy that the target was built from, as far as the user names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuiltFrom {
    /// Nobody named one.
    #[default]
    NotNamed,
    /// The one that the user named.
    WorkingCopy(WorkingCopy),
    /// The user named one, and it could not be read.
    Missing(Missing),
}

/// The workload in short.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct WorkloadSummary {
    /// The statements, as given (bounded to 2,000 characters each).
    pub statements: Vec<String>,
    /// `simple` or `extended`.
    pub protocol: String,
    /// File it came from, if any.
    pub source: Option<String>,
    /// The load generator, as it names itself: `wireprof 0.1.0`, `dbbench`.
    pub driver: String,
}

/// One window: a level and its replicate (from 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WindowId {
    /// Number of clients.
    pub level: usize,
    /// From 1, within the level.
    pub replicate: usize,
}

impl WindowId {
    /// Name of the window's directory inside the run: `L0016-R1`.
    pub fn directory(&self) -> String {
        format!("L{:04}-R{}", self.level, self.replicate)
    }
}

/// Something that was wanted and not measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// The part that is missing.
    pub what: Part,
    /// Why it was not measured, in words.
    #[serde(serialize_with = "told::text")]
    pub why: String,
    /// What the user can do to have it measured, in words.
    pub remedy: String,
}

/// `window.json`: the window's own facts; its parts lie in files of their own in the same directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WindowFacts {
    /// Level and replicate.
    pub id: WindowId,
    /// Steady interval between the two scrapes' midpoints.
    pub span: Span,
    /// Longest scrape duration over the window: the bound on how far metrics and completions can be skewed, 0..1.
    pub skew: Option<f64>,
    /// The two scrapes of `metrics-before.prom` and `metrics-after.prom`.
    pub scrapes: Option<[Span; 2]>,
    /// When else the metrics were scraped, and what that takes. `None`: they were not read, or it was recorded before
    /// this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scraping: Option<Scraping>,
    /// How the clock of the load's host relates to that of the target's, by which every instant of the window is told.
    /// `None`: they are one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clocks: Option<ClocksOfHosts>,
    /// Wall clock at the window's start, RFC 3339, UTC.
    pub wall: String,
    /// Start time of the target process as read at the window's end, in the form of [`Target::started`]; another one
    /// than the manifest's means that it was restarted. `None`: not read.
    #[serde(default)]
    pub target_started: Option<String>,
    /// What was wanted of the window and not measured.
    pub missing: Vec<Missing>,
}

/// A machine that drove load for another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadHostFacts {
    /// As the user named it.
    pub address: String,
    /// What it is.
    pub host: Host,
}

/// A window across two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClocksOfHosts {
    /// The load's host is the one whose clock `at` is of, the target's is the other one.
    #[serde(flatten)]
    pub relation: ClockRelation,
    /// Bytes that came over the link for this window.
    pub bytes: u64,
}

/// The scrapes of a window besides those at its ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scraping {
    /// What one takes; `None`: not measured.
    pub cost: Option<ScrapeCost>,
    /// ns from one inside the window to the next, as planned; longer than the window where there was to be none.
    pub every: u64,
    /// Those inside the window.
    pub inside: Vec<Span>,
}

/// What a scrape of the metrics takes, without load: medians.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrapeCost {
    /// Bytes of the exposition.
    pub bytes: u64,
    /// ns from asking to the last byte.
    pub nanos: u64,
    /// ns of the target's CPU beyond what it used just before; `None`: the target is not known.
    pub cpu: Option<u64>,
}

impl WindowFacts {
    /// What is said of a part that is missing; `None` where nothing is.
    pub fn lacks(&self, part: &Part) -> Option<&Missing> {
        self.missing.iter().find(|missing| missing.what == *part)
    }

    /// Why a part that the window has not is missing.
    pub fn why_without(&self, part: &Part) -> String {
        self.lacks(part).map_or_else(|| format!("the window has no {part}"), |missing| missing.why.clone())
    }
}

/// How long the target's threads were off CPU, by stack.
#[derive(Clone, Debug)]
pub struct OffCpu {
    /// How the waits were recorded, and what was lost.
    pub report: OffCpuReport,
    /// Columns of [`crate::profile::off_cpu_columns`]; `None`: not read.
    pub profile: Option<Profile>,
}

/// What a companion did in the same window; nothing of it is in the target's profile.
#[derive(Clone, Debug)]
pub struct Companion {
    /// Its name; processes of one name count together, with their descendants.
    pub process: String,
    /// How its stacks were sampled.
    pub sampling: SamplingReport,
    /// CPU of its threads by the kernel's context switches; `None`: they were not recorded, or the run is of a version
    /// that did not keep this.
    pub account: Option<CpuAccount>,
    /// Where its profile comes from, if the server took it of itself; `None`: it was sampled here.
    pub server: Option<ServerProfile>,
    /// The host that it was sampled on, where that is neither the target's nor this one.
    pub host: Option<super::CompanionHost>,
    /// `None`: not read.
    pub profile: Option<Profile>,
}

/// One window of a run with all its parts.
#[derive(Clone, Debug)]
pub struct Window {
    /// When it was taken, and what it lacks.
    pub facts: WindowFacts,
    /// What the load generator counted.
    pub load: LoadTrace,
    /// How the target's stacks were sampled; `None`: they were not.
    pub sampling: Option<SamplingReport>,
    /// On-CPU stacks of the target; `None`: not sampled, or not read ([`super::Parts::profiles`]).
    pub profile: Option<Profile>,
    /// Off-CPU time of the target by stack; `None`: not followed.
    pub off_cpu: Option<OffCpu>,
    /// What carried the queries in the server's hands; `None`: it was not followed.
    pub hands: Option<super::Hands>,
    /// The companions' samples; empty where none was sampled.
    pub companions: Vec<Companion>,
    /// CPU of the threads of the companion that `profile` is of, see [`Run::seen_from`]; `None`: `profile` is the
    /// target's, or there is no such account.
    pub account: Option<CpuAccount>,
    /// What the server's metrics did between the two scrapes; `None`: not scraped, or not read
    /// ([`super::Parts::metrics`]).
    pub metrics: Option<MetricsDelta>,
    /// What the database's statement statistics did in the window; `None`: not read.
    pub statements: Option<StatementsDelta>,
    /// CPU of the threads and of the machine, by the kernel; `None`: not read.
    pub scheduler: Option<SchedulerDelta>,
    /// Where queries were, by the sockets; `None`: the sockets were not followed.
    pub wire: Option<WireDelta>,
    /// The checks of the window, as they were stored.
    pub checks: Vec<Check>,
}

impl Window {
    /// Level and replicate.
    pub fn id(&self) -> WindowId {
        self.facts.id
    }

    /// Whether the window's queries were counted; where not, `completed` is no number of queries.
    pub fn counted(&self) -> bool {
        self.load.completed > 0 || self.facts.lacks(&Part::Queries).is_none()
    }

    /// The window as if it were the seconds in which carriers were followed: the server's metrics and the queries of
    /// these, nothing else. `None`: there are none, or they were not scraped.
    pub fn followed(&self) -> Option<Window> {
        let hands = self.hands.as_ref()?;
        let mut load = self.load.clone();
        load.completed = hands.facts.carried.answered;
        Some(Window {
            facts: self.facts.clone(),
            load,
            metrics: Some(hands.metrics.clone()?),
            checks: Vec::new(),
            companions: Vec::new(),
            account: None,
            sampling: None,
            profile: None,
            off_cpu: None,
            hands: None,
            statements: None,
            scheduler: None,
            wire: None,
        })
    }

    /// The interval that the profile's samples come from: the window's own, unless the profile could not be cut
    /// to it.
    pub fn profile_span(&self) -> Span {
        let covers = self.sampling.as_ref().and_then(|s| s.covers);
        covers.unwrap_or(self.facts.span)
    }

    /// Queries completed while the profile's samples were taken: the divisor of the profile's costs. Exact where the
    /// profile was cut to the window; otherwise completed queries scaled to the profile's seconds, which assumes that
    /// the throughput was steady.
    pub fn queries_under_profile(&self) -> f64 {
        self.queries_within(self.profile_span())
    }

    /// The divisor of the waits, which have a span of their own within the window; `None` where none were followed.
    pub fn queries_under_off_cpu(&self) -> Option<f64> {
        Some(self.queries_within(self.off_cpu.as_ref()?.report.span))
    }

    fn queries_within(&self, span: Span) -> f64 {
        if span == self.facts.span {
            return self.load.completed as f64;
        }
        self.load.throughput() * span.seconds()
    }
}

/// A run in memory, windows sorted by level, then replicate.
#[derive(Clone, Debug)]
pub struct Run {
    /// What was measured, with what, on what.
    pub manifest: Manifest,
    /// The windows that are on disk.
    pub windows: Vec<Window>,
    /// What observing costs; `None`: nobody asked.
    pub observer: Option<super::ObserverWindows>,
    /// Windows that are on disk and cannot be read; nothing of them is in any figure.
    pub damaged: Vec<Damaged>,
}

/// A window that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Name of its directory.
    pub window: String,
    /// The file and what is wrong with it, in words.
    pub why: String,
}

impl Damaged {
    pub(super) fn of(directory: &Path, why: &anyhow::Error) -> Damaged {
        let window = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Damaged { window, why: format!("{why:#}") }
    }
}

impl Run {
    /// Names of the companions.
    pub fn companions(&self) -> BTreeSet<&str> {
        self.windows
            .iter()
            .flat_map(|window| &window.companions)
            .map(|companions| companions.process.as_str())
            .collect()
    }

    /// The run with the profile of a companion in the place of the target's; off-CPU time of companions is not
    /// recorded.
    pub fn seen_from(mut self, process: &str) -> Run {
        for window in &mut self.windows {
            let own =
                std::mem::take(&mut window.companions).into_iter().find(|companions| companions.process == process);
            (window.sampling, window.profile, window.account) =
                own.map_or((None, None, None), |own| (Some(own.sampling), own.profile, own.account));
            window.off_cpu = None;
            window.hands = None;
        }
        self
    }

    /// Windows by level, ascending.
    pub fn levels(&self) -> BTreeMap<usize, Vec<&Window>> {
        let mut levels: BTreeMap<usize, Vec<&Window>> = BTreeMap::new();
        for window in &self.windows {
            levels.entry(window.facts.id.level).or_default().push(window);
        }
        levels
    }
}
