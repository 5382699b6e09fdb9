//! The CPU that the kernel accounts to each thread, divided by the thread's samples. Invariant: the weights of a
//! stratum sum to the CPU that is accounted to it, to the nanosecond; where there is no account, samples keep the
//! weights that they were taken with.
//!
//! How often a thread is sampled is chance, and late ticks shift it; how long it ran is in the records of its context
//! switches. So samples only tell where in a thread its CPU went: a function's cost is, summed over strata, the
//! stratum's accounted CPU times the function's share of its samples (post-stratification: Cochran 1977, 5A.9; Holt
//! and Smith 1979, J. R. Stat. Soc. A 142:33). A stratum is a thread with enough samples; else the threads of its name;
//! else all others.

use crate::analyze::statistics::interval::{BATCHES, InStratum};
use crate::profile::{ColumnKind, FrameId, Labels, LabelsId, Node, Profile, Sample, StackId, marker};
use crate::run::Window;
use crate::target::{Role, SchedulerDelta, ThreadDelta};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// Samples that make a stratum of their own: with fewer its share of the samples scatters so much that dividing by it
/// costs more than it saves (the variance grows by one part in as many, Cochran 1977, 5A.9).
const ENOUGH: i64 = 20;
/// How much of the window the profile may miss, as a share, before it is no longer held against the scheduler's
/// account: the scheduler's readings and the samples' cut lie within a scrape of each other.
pub(in crate::analyze) const SAME_SPAN: f64 = 0.02;
/// Where no context switch is recorded, schedstat is exact but for some 10 us a switch (see [`ThreadDelta::switched`]):
/// it is taken where that is at most this share.
const CHARGED_WRONGLY: f64 = 0.005;
const NANOS_A_SWITCH: f64 = 10_000.0;
/// Where CPU of threads is kept of which there is no sample.
const NO_SAMPLE: &str = "[CPU of threads without a sample]";

/// A window's profile whose CPU is the kernel's account of it.
pub(in crate::analyze) struct Accounted {
    pub profile: Profile,
    pub strata: Strata,
}

/// Which stratum each thread is in, and how many samples each has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Strata {
    of: FxHashMap<u32, usize>,
    samples: Vec<f64>,
    /// 1 less the target's share of the CPUs; 0 where that is not known.
    chance: f64,
}

impl Strata {
    /// A weight of a thread's samples, by the thread's stratum; `None`: it has no account.
    pub(super) fn part(&self, tid: u32, weight: f64) -> Option<InStratum> {
        let stratum = *self.of.get(&tid)?;
        Some(InStratum { stratum, weight, samples: self.samples[stratum], chance: self.chance })
    }
}

/// The target's profile by the kernel's account; `None` where there is none that the samples can be held to.
pub(in crate::analyze) fn accounted(window: &Window) -> Option<Accounted> {
    let profile = window.profile.as_ref()?;
    let scheduler = window.scheduler.as_ref()?;
    // Samples of user space alone say nothing of the kernel's part.
    let report = window.sampling.as_ref().filter(|report| !report.user_space_only())?;
    let (cpu, samples) = (profile.column(&ColumnKind::Cpu)?, profile.column(&ColumnKind::Samples)?);
    (profile.columns[cpu].unit == "nanoseconds" && report.samples > 0).then_some(())?;
    let scale = window.profile_span().seconds() / scheduler.span.seconds();
    ((scale - 1.0).abs() <= SAME_SPAN).then_some(())?;
    let mut divided = divided(profile, &accounts(scheduler, scale), cpu, samples)?;
    let capacity = scheduler.machine.as_ref().map(|machine| machine.cpus as f64 * window.profile_span().nanos() as f64);
    let busy = divided.profile.total(cpu) as f64;
    divided.strata.chance = capacity.map_or(0.0, |capacity| (1.0 - busy / capacity).max(0.0));
    Some(divided)
}

/// ns on CPU of each of the target's threads of which it is known exactly, with the thread.
fn accounts(scheduler: &SchedulerDelta, scale: f64) -> Vec<(&ThreadDelta, f64)> {
    let exact = |thread: &ThreadDelta| {
        let charged = NANOS_A_SWITCH * thread.slices as f64 <= CHARGED_WRONGLY * thread.cpu as f64;
        thread.switched.or(charged.then_some(thread.cpu)).map(|nanos| nanos as f64 * scale)
    };
    let target = scheduler.threads.iter().filter(|thread| thread.role == Role::Target);
    // Without a single record of switches nothing was recorded: schedstat then has every thread's error in it.
    let recorded = target.clone().any(|thread| thread.switched.is_some_and(|nanos| nanos > 0));
    target.filter(|_| recorded).filter_map(|thread| Some((thread, exact(thread)?))).collect()
}

/// What is known of some threads together.
#[derive(Clone, Debug, Default)]
struct Stratum {
    tids: Vec<u32>,
    accounted: f64,
    sampled: i64,
    samples: i64,
}

impl Stratum {
    fn add(&mut self, other: &Stratum) {
        self.tids.extend(&other.tids);
        self.accounted += other.accounted;
        self.sampled += other.sampled;
        self.samples += other.samples;
    }
}

fn divided(profile: &Profile, accounts: &[(&ThreadDelta, f64)], cpu: usize, samples: usize) -> Option<Accounted> {
    let mut threads: BTreeMap<u32, Stratum> = BTreeMap::new();
    let mut families: FxHashMap<u32, (&str, &str)> = FxHashMap::default();
    for (thread, nanos) in accounts {
        let stratum = threads.entry(thread.tid).or_default();
        stratum.tids = vec![thread.tid];
        stratum.accounted += nanos;
        families.insert(thread.tid, (&thread.process, family(&thread.thread)));
    }
    for sample in &profile.samples {
        let tid = profile.labels[sample.labels.index()].tid;
        if let Some(stratum) = threads.get_mut(&tid) {
            stratum.sampled += sample.values[cpu];
            stratum.samples += sample.values[samples];
        }
    }
    let (strata, unsampled) = strata(threads, &families);
    (!strata.is_empty()).then(|| weighted(profile, &strata, unsampled, cpu))
}

/// Threads with enough samples, then threads of one name together, then what is left; and the ns of what is left where
/// it has no sample.
fn strata(threads: BTreeMap<u32, Stratum>, families: &FxHashMap<u32, (&str, &str)>) -> (Vec<Stratum>, f64) {
    let (mut found, few): (Vec<_>, Vec<_>) = threads.into_values().partition(|thread| thread.samples >= ENOUGH);
    let mut by_name: BTreeMap<(&str, &str), Stratum> = BTreeMap::new();
    few.iter().for_each(|thread| by_name.entry(families[&thread.tids[0]]).or_default().add(thread));
    let mut rest = Stratum::default();
    for stratum in by_name.into_values() {
        match stratum.samples >= ENOUGH {
            true => found.push(stratum),
            false => rest.add(&stratum),
        }
    }
    if rest.sampled > 0 {
        found.push(rest);
        return (found, 0.0);
    }
    (found, rest.accounted)
}

/// The name that a pool's threads have in common: without the number at its end.
fn family(thread: &str) -> &str {
    let name = thread.trim_end_matches(|c: char| c.is_ascii_digit() || "-_:#./ ".contains(c));
    if name.is_empty() { thread } else { name }
}

/// The profile with each sample's part of its stratum's CPU: rounded so that the parts sum to the whole.
fn weighted(profile: &Profile, strata: &[Stratum], unsampled: f64, cpu: usize) -> Accounted {
    let of: FxHashMap<u32, usize> =
        strata.iter().enumerate().flat_map(|(at, stratum)| stratum.tids.iter().map(move |tid| (*tid, at))).collect();
    let mut given = vec![(0i64, 0i64); strata.len()];
    let mut profile = profile.clone();
    let in_stratum: Vec<Option<usize>> = profile.labels.iter().map(|labels| of.get(&labels.tid).copied()).collect();
    for sample in &mut profile.samples {
        let Some(at) = in_stratum[sample.labels.index()] else { continue };
        let (stratum, (sampled, spent)) = (&strata[at], &mut given[at]);
        *sampled += sample.values[cpu];
        let due = (*sampled as f64 / stratum.sampled as f64 * stratum.accounted).round() as i64;
        sample.values[cpu] = due - *spent;
        *spent = due;
    }
    if unsampled >= 1.0 {
        without_samples(&mut profile, unsampled.round() as i64, cpu);
    }
    let samples = strata.iter().map(|stratum| stratum.samples as f64).collect();
    Accounted { profile, strata: Strata { of, samples, chance: 0.0 } }
}

/// CPU that is known of, and not where in the program it went, nor when: it is spread evenly over the window's batches.
fn without_samples(profile: &mut Profile, nanos: i64, cpu: usize) {
    let frame = FrameId(profile.frames.len() as u32);
    profile.frames.push(marker(NO_SAMPLE));
    let stack = Some(StackId(profile.nodes.len() as u32));
    profile.nodes.push(Node { parent: None, frame });
    let labels = LabelsId(profile.labels.len() as u32);
    profile.labels.push(Labels { state: "on-cpu".into(), ..Labels::default() });
    let timed = profile.samples.iter().map(|sample| sample.at).collect::<Option<Vec<u64>>>();
    let last = timed.and_then(|times| times.into_iter().max());
    let (parts, mut spent) = (BATCHES as i64, 0);
    for part in 1..=parts {
        let due = nanos * part / parts;
        let mut values = vec![0; profile.columns.len()];
        values[cpu] = due - spent;
        spent = due;
        let at = last.map(|last| last * (2 * part as u64 - 1) / (2 * parts as u64));
        profile.samples.push(Sample { stack, labels, at, values });
    }
}
