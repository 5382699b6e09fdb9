//! The CPU that the kernel accounts to each thread, divided by the thread's samples. Invariant: the weights of a
//! stratum sum to the CPU that is accounted to it, to the nanosecond; where there is no account, samples keep the
//! weights that they were taken with.
//!
//! How often a thread is sampled is chance, and late ticks shift it; how long it ran is in the records of its context
//! switches. So samples only tell where in a thread its CPU went: a function's cost is, summed over strata, the
//! stratum's accounted CPU times the function's share of its samples (post-stratification: Cochran 1977, 5A.9; Holt
//! and Smith 1979, J. R. Stat. Soc. A 142:33). A stratum is a thread with enough samples; else the threads of its name;
//! else all others.

use super::tally::batch_at;
use crate::analyze::statistics::interval::{BATCHES, InStratum};
use crate::clock::Span;
use crate::profile::{ColumnKind, FrameId, Labels, LabelsId, Node, Profile, Sample, StackId, marker};
use crate::run::{Companion, CpuAccount, Window};
use crate::sample::SamplingReport;
use crate::target::{Role, SchedulerDelta, ThreadDelta};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Samples that make a stratum of their own: with fewer its share of the samples scatters so much that dividing by it
/// costs more than it saves (the variance grows by one part in as many, Cochran 1977, 5A.9).
const ENOUGH: i64 = 20;
/// How much of the window the profile may miss, as a share, before it is no longer held against the scheduler's
/// account: the scheduler's readings and the samples' cut lie within a scrape of each other.
pub(in crate::analyze) const SAME_SPAN: f64 = 0.02;
/// ns below which a thread's CPU is not noted by batch, and is no part of any.
const HARDLY: f64 = 1e6;
/// How often a thread must have been given a CPU in a batch for its account of that batch to be used: what lies across
/// the batch's ends is then at most some percent of it.
const SLICES_A_BATCH: f64 = 50.0;
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
    /// Of each stratum, without a weight.
    parts: Vec<InStratum>,
}

impl Strata {
    /// A weight of a thread's samples, by the thread's stratum; `None`: it has no account.
    pub(in crate::analyze) fn part(&self, tid: u32, weight: f64) -> Option<InStratum> {
        Some(InStratum { weight, ..self.parts[*self.of.get(&tid)?].clone() })
    }
}

/// The window's profile by the kernel's account: the target's or, where the run is seen from a companion, that one's.
/// `None` where there is none that the samples can be held to.
pub(in crate::analyze) fn accounted(window: &Window) -> Option<Accounted> {
    let account = match (&window.account, &window.scheduler) {
        (Some(account), _) => of_companion(account),
        (None, scheduler) => of_target(scheduler.as_ref()?, window.facts.span),
    };
    held(window, window.profile.as_ref()?, window.sampling.as_ref()?, &account)
}

/// A companion's profile by the kernel's account, likewise.
pub(in crate::analyze) fn accounted_companion(window: &Window, companion: &Companion) -> Option<Accounted> {
    let account = of_companion(companion.account.as_ref()?);
    held(window, companion.profile.as_ref()?, &companion.sampling, &account)
}

/// ns on CPU of the threads of which they are known, over some span.
struct Account<'a> {
    span: Span,
    threads: Vec<Thread<'a>>,
}

struct Thread<'a> {
    process: &'a str,
    thread: &'a str,
    tid: u32,
    nanos: f64,
    /// ns in each of the window's batches; empty where that is not known.
    by_batch: &'a [u64],
    /// Times it was given a CPU; `None`: not known, for it did not live long.
    slices: Option<u64>,
}

/// Of the window itself where the account is known by batch, else of the scheduler's readings, which are nearly that.
fn of_target(scheduler: &SchedulerDelta, window: Span) -> Account<'_> {
    let target = scheduler.threads.iter().filter(|thread| thread.role == Role::Target);
    // Without a single record of switches nothing was recorded: schedstat then has every thread's error in it.
    let recorded = target.clone().any(|thread| thread.switched.is_some_and(|nanos| nanos > 0));
    let by_batch = target.clone().any(|thread| !thread.switched_by_batch.is_empty());
    let span = if by_batch { window } else { scheduler.span };
    let scale = span.seconds() / scheduler.span.seconds();
    let nanos = |own: &ThreadDelta| match own.switched_by_batch.is_empty() {
        true => Some(own.accounted()? as f64 * scale),
        false => Some(own.switched_by_batch.iter().sum::<u64>() as f64),
    };
    let threads = target.filter(|_| recorded).filter_map(|own| {
        Some(Thread {
            process: &own.process,
            thread: &own.thread,
            tid: own.tid,
            nanos: nanos(own)?,
            by_batch: &own.switched_by_batch,
            slices: Some(own.slices),
        })
    });
    Account { span, threads: threads.collect() }
}

fn of_companion(account: &CpuAccount) -> Account<'_> {
    let threads = account.threads.iter().map(|own| Thread {
        process: &own.process,
        thread: &own.thread,
        tid: own.tid,
        nanos: own.cpu as f64,
        by_batch: &own.by_batch,
        slices: own.slices,
    });
    Account { span: account.span, threads: threads.collect() }
}

/// The profile held to the account.
fn held(window: &Window, profile: &Profile, report: &SamplingReport, account: &Account) -> Option<Accounted> {
    // Samples of user space alone say nothing of the kernel's part.
    let (cpu, samples) = (profile.column(&ColumnKind::Cpu)?, profile.column(&ColumnKind::Samples)?);
    let usable = profile.columns[cpu].unit == "nanoseconds" && report.samples > 0 && !report.user_space_only();
    let sampled = report.covers.unwrap_or(window.facts.span);
    let scale = sampled.seconds() / account.span.seconds();
    (usable && (scale - 1.0).abs() <= SAME_SPAN).then_some(())?;
    let batches = if sampled == window.facts.span { window.load.batches(BATCHES) } else { Vec::new() };
    let mut divided = divided(profile, account, scale, (cpu, samples), &batches)?;
    let machine = window.scheduler.as_ref().and_then(|scheduler| scheduler.machine.as_ref());
    let capacity = machine.map(|machine| machine.cpus as f64 * sampled.nanos() as f64);
    let busy = divided.profile.total(cpu) as f64;
    let chance = capacity.map_or(0.0, |capacity| (1.0 - busy / capacity).max(0.0));
    divided.strata.parts.iter_mut().filter(|part| part.excess.is_none()).for_each(|part| part.chance = chance);
    Some(divided)
}

/// What is known of some threads together.
#[derive(Clone, Debug, Default)]
struct Stratum {
    tids: Vec<u32>,
    accounted: f64,
    sampled: i64,
    samples: i64,
    /// ns in each batch; empty where that is not known of one of them.
    by_batch: Vec<f64>,
    /// Times that they were given a CPU, as far as that is known.
    slices: u64,
}

impl Stratum {
    fn add(&mut self, other: &Stratum) {
        self.by_batch = match self.tids.is_empty() {
            true => other.by_batch.clone(),
            false => self.by_batch.iter().zip(&other.by_batch).map(|(own, more)| own + more).collect(),
        };
        self.tids.extend(&other.tids);
        self.accounted += other.accounted;
        self.sampled += other.sampled;
        self.samples += other.samples;
        self.slices += other.slices;
    }
}

/// ns of a thread in each of so many batches; empty where they are not known. A thread that hardly ran has none noted.
fn by_batch(thread: &Thread, count: usize) -> Vec<f64> {
    match thread.by_batch.len() == count {
        true => thread.by_batch.iter().map(|nanos| *nanos as f64).collect(),
        false if thread.nanos < HARDLY => vec![0.0; count],
        false => Vec::new(),
    }
}

fn divided(
    profile: &Profile,
    account: &Account,
    scale: f64,
    (cpu, samples): (usize, usize),
    batches: &[(u64, f64)],
) -> Option<Accounted> {
    let mut threads: BTreeMap<u32, Stratum> = BTreeMap::new();
    let mut families: FxHashMap<u32, (&str, &str)> = FxHashMap::default();
    for thread in &account.threads {
        let stratum = threads.entry(thread.tid).or_default();
        stratum.tids = vec![thread.tid];
        stratum.accounted += thread.nanos * scale;
        stratum.by_batch = by_batch(thread, batches.len());
        stratum.slices = thread.slices.unwrap_or(0);
        families.insert(thread.tid, (thread.process, family(thread.thread)));
    }
    for sample in &profile.samples {
        let tid = profile.labels[sample.labels.index()].tid;
        if let Some(stratum) = threads.get_mut(&tid) {
            stratum.sampled += sample.values[cpu];
            stratum.samples += sample.values[samples];
        }
    }
    let (strata, unsampled) = strata(threads, &families);
    (!strata.is_empty()).then(|| {
        let mut divided = weighted(profile, &strata, unsampled, cpu);
        for (part, excess) in divided.strata.parts.iter_mut().zip(excess(profile, &strata, cpu, batches)) {
            part.excess = excess;
        }
        divided
    })
}

/// For each stratum what its samples show in each batch beyond its account, as a share of the whole; see [`InStratum`].
/// Times on CPU are known when they end: where they are so long that a good part of one may lie in another batch, the
/// samples, which are regular, are the better account of the batches, and there is no excess.
fn excess(profile: &Profile, strata: &[Stratum], cpu: usize, batches: &[(u64, f64)]) -> Vec<Option<Arc<[f64]>>> {
    let at = |sample: &Sample| batch_at(batches, sample.at?);
    let Some(times) = profile.samples.iter().map(at).collect::<Option<Vec<usize>>>() else {
        return vec![None; strata.len()];
    };
    let of = stratum_of(strata);
    let mut sampled = vec![vec![0.0; batches.len()]; strata.len()];
    for (sample, batch) in profile.samples.iter().zip(times) {
        if let Some(stratum) = of.get(&profile.labels[sample.labels.index()].tid) {
            sampled[*stratum][batch] += sample.values[cpu] as f64;
        }
    }
    let length = batches[batches.len() - 1].0 as f64 / batches.len() as f64;
    let share = |(own, sampled): (&Stratum, Vec<f64>)| -> Option<Arc<[f64]>> {
        let accounted: f64 = own.by_batch.iter().sum();
        (accounted > 0.0).then_some(())?;
        if accounted / own.slices.max(1) as f64 > length / SLICES_A_BATCH {
            return Some(vec![0.0; batches.len()].into());
        }
        let pairs = sampled.iter().zip(&own.by_batch);
        Some(pairs.map(|(sampled, nanos)| sampled / own.sampled as f64 - nanos / accounted).collect())
    };
    strata.iter().zip(sampled).map(share).collect()
}

/// The stratum of each thread.
fn stratum_of(strata: &[Stratum]) -> FxHashMap<u32, usize> {
    strata.iter().enumerate().flat_map(|(at, stratum)| stratum.tids.iter().map(move |tid| (*tid, at))).collect()
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
    let of = stratum_of(strata);
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
    let part = |(stratum, own): (usize, &Stratum)| {
        let samples = own.samples as f64;
        InStratum { stratum, weight: 0.0, samples, chance: 0.0, excess: None }
    };
    let parts = strata.iter().enumerate().map(part).collect();
    Accounted { profile, strata: Strata { of, parts } }
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
