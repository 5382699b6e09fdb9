//! Measures how often the 95 % interval of a function's cost holds where it must: `coverage DESIGN RELABELLINGS SEED
//! TOP RUN...`. Two halves of the same measurement have the same truth, so the interval of their difference (by the
//! intervals of both, as a table's) must contain 0 in 95 % of relabellings. DESIGN is
//!
//! - `windows=N`: windows of the level with the most of them are dealt at random into two halves of N windows each. All
//!   that makes windows differ is in it;
//! - `labels`: each sample of a window gets one of two labels by a coin; queries and accounts are divided by two. What
//!   varies over the window is then the same in both halves, and intervals, which allow for it, hold more often.
//!
//! The TOP functions with the most CPU, and all CPU together, are judged by samples that divide the kernel's account
//! and by samples as taken. Prints for both how many intervals held, of how many, with the binomial interval of
//! relabellings, and how wide the one's are to the other's. Exits with 1 where fewer than 93 % held with accounts, or
//! of `windows=N` more than 97 %; relabellings of the same windows are not independent, so the binomial interval is too
//! narrow.

use anyhow::{Context, bail, ensure};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use wireprof::analyze::Identity;
use wireprof::analyze::cost::hot::By;
use wireprof::analyze::cost::tally::{Tally, tally};
use wireprof::analyze::cost::view::{ViewOptions, Weights, window_view};
use wireprof::analyze::statistics::interval::{Estimate, WindowCost, difference, estimate};
use wireprof::run::{Parts, Store, Window};

/// Accounted, as sampled.
const WAYS: [Weights; 2] = [Weights::Accounted, Weights::Sampled];
/// What must hold, as shares.
const BOUNDS: (f64, f64) = (0.93, 0.97);

/// What was found of one function, for each way.
#[derive(Clone, Copy, Default)]
struct Found {
    held: [usize; 2],
    tried: usize,
    widths: [f64; 2],
}

impl Found {
    fn add(&mut self, other: &Found) {
        self.tried += other.tried;
        for way in 0..2 {
            self.held[way] += other.held[way];
            self.widths[way] += other.widths[way];
        }
    }
}

pub fn main(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let [design, relabellings, seed, top, runs @ ..] = arguments else {
        bail!("coverage windows=N|labels RELABELLINGS SEED TOP RUN...");
    };
    let (relabellings, top): (usize, usize) = (relabellings.parse()?, top.parse()?);
    let windows = load(runs)?;
    let mut random = StdRng::seed_from_u64(seed.parse()?);
    let found = match design.strip_prefix("windows=") {
        Some(count) => by_windows(&windows, count.parse()?, relabellings, top, &mut random)?,
        None if design == "labels" => by_labels(&windows, relabellings, top, &mut random)?,
        None => bail!("the design is windows=N or labels"),
    };
    let most = if design == "labels" { 1.0 } else { BOUNDS.1 };
    Ok(ExitCode::from(u8::from(!told(&found, relabellings, most))))
}

/// The windows of the level with the most of them.
fn load(runs: &[String]) -> anyhow::Result<Vec<Window>> {
    let mut levels: BTreeMap<usize, Vec<Window>> = BTreeMap::new();
    for run in runs {
        let store = Store::new(Path::new("."));
        let found = store.load_parts(run, Parts { metrics: false, timelines: false, ..Parts::ALL })?;
        for window in found.windows {
            levels.entry(window.id().level).or_default().push(window);
        }
    }
    let (level, windows) = levels.into_iter().max_by_key(|(_, windows)| windows.len()).context("no window")?;
    let seconds: f64 = windows.iter().map(|window| window.facts.span.seconds()).sum();
    println!("level {level}: {} windows of {seconds:.1} s together", windows.len());
    Ok(windows)
}

/// A window's costs, accounted and as sampled; `None`: it has no profile, no queries or no account.
fn costs(window: &Window) -> Option<[Tally; 2]> {
    let of = |weights| {
        let options = ViewOptions { weights, ..ViewOptions::default() };
        let view = window_view(window, &options)?;
        (weights == Weights::Sampled || view.strata.is_some()).then(|| tally(&view, By::SelfCost, None))
    };
    Some([of(WAYS[0])?, of(WAYS[1])?])
}

/// The functions with the most CPU; `None`: all CPU together.
fn functions(windows: &[[Tally; 2]], top: usize) -> Vec<Option<Identity>> {
    let mut weights: BTreeMap<&Identity, f64> = BTreeMap::new();
    for (frame, cost) in windows.iter().flat_map(|window| &window[1].frames) {
        *weights.entry(frame).or_default() += cost.weight;
    }
    let mut sorted: Vec<_> = weights.into_iter().collect();
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
    std::iter::once(None).chain(sorted.into_iter().take(top).map(|(frame, _)| Some(frame.clone()))).collect()
}

/// What a function costs in these windows.
fn cost(windows: &[&[Tally; 2]], way: usize, function: Option<&Identity>) -> Option<Estimate> {
    let of = |window: &&[Tally; 2]| -> WindowCost {
        let own = &window[way];
        function.map_or(&own.total, |frame| own.frames.get(frame).unwrap_or(&own.blank)).clone()
    };
    estimate(&windows.iter().map(of).collect::<Vec<_>>())
}

/// One relabelling: whether the interval of each function's difference holds 0, and its width.
fn compare(halves: [&[&[Tally; 2]]; 2], functions: &[Option<Identity>], found: &mut [Found]) {
    for (function, found) in functions.iter().zip(found) {
        let mut each = [None; 2];
        for (way, each) in each.iter_mut().enumerate() {
            let of = |half| cost(half, way, function.as_ref());
            *each = of(halves[0]).zip(of(halves[1])).and_then(|(first, last)| difference(&first, &last));
        }
        let [Some(accounted), Some(sampled)] = each else { continue };
        found.tried += 1;
        for (way, (low, high)) in [accounted, sampled].into_iter().enumerate() {
            found.held[way] += usize::from(low <= 0.0 && 0.0 <= high);
            found.widths[way] += high - low;
        }
    }
}

type Named = Vec<(Option<Identity>, Found)>;

fn by_windows(
    windows: &[Window],
    count: usize,
    times: usize,
    top: usize,
    random: &mut StdRng,
) -> anyhow::Result<Named> {
    let all: Vec<[Tally; 2]> = windows.iter().filter_map(costs).collect();
    println!("{} of {} windows have an account of their threads", all.len(), windows.len());
    ensure!(all.len() >= 2 * count.max(1), "two halves of {count} windows need more");
    let functions = functions(&all, top);
    let mut found = vec![Found::default(); functions.len()];
    let mut cards: Vec<&[Tally; 2]> = all.iter().collect();
    for _ in 0..times {
        cards.shuffle(random);
        compare([&cards[..count], &cards[count..2 * count]], &functions, &mut found);
    }
    Ok(functions.into_iter().zip(found).collect())
}

fn by_labels(windows: &[Window], times: usize, top: usize, random: &mut StdRng) -> anyhow::Result<Named> {
    let (windows, whole): (Vec<&Window>, Vec<_>) = windows.iter().filter_map(|own| Some((own, costs(own)?))).unzip();
    ensure!(!windows.is_empty(), "no window has an account of its threads");
    let functions = functions(&whole, top);
    let seeds: Vec<u64> = (0..times).map(|_| random.random()).collect();
    let threads = std::thread::available_parallelism()?.get();
    let parts: Vec<Vec<Found>> = std::thread::scope(|scope| {
        let work = |seeds: Vec<u64>| {
            let (functions, windows) = (&functions, &windows);
            scope.spawn(move || {
                let mut found = vec![Found::default(); functions.len()];
                for (turn, seed) in seeds.into_iter().enumerate() {
                    let halves = halves(windows[turn % windows.len()], &mut StdRng::seed_from_u64(seed));
                    let (Some(first), Some(last)) = (costs(&halves[0]), costs(&halves[1])) else { continue };
                    compare([&[&first], &[&last]], functions, &mut found);
                }
                found
            })
        };
        let dealt = (0..threads).map(|at| seeds.iter().copied().skip(at).step_by(threads).collect());
        let running: Vec<_> = dealt.map(work).collect();
        running.into_iter().map(|thread| thread.join().expect("a relabelling panicked")).collect()
    });
    let mut sum = vec![Found::default(); functions.len()];
    parts.iter().for_each(|part| sum.iter_mut().zip(part).for_each(|(sum, part)| sum.add(part)));
    Ok(functions.into_iter().zip(sum).collect())
}

/// Two windows with half of the samples each, and half of everything that is counted.
fn halves(window: &Window, random: &mut StdRng) -> [Window; 2] {
    let mut half = window.clone();
    half.load.completed /= 2;
    half.load.slices.iter_mut().for_each(|slice| slice.completed /= 2);
    for thread in half.scheduler.iter_mut().flat_map(|scheduler| &mut scheduler.threads) {
        (thread.cpu, thread.slices) = (thread.cpu / 2, thread.slices / 2);
        thread.switched = thread.switched.map(|nanos| nanos / 2);
        thread.switched_by_batch.iter_mut().for_each(|nanos| *nanos /= 2);
    }
    let mut halves = [half.clone(), half];
    let labels: Vec<bool> = match &window.profile {
        Some(profile) => profile.samples.iter().map(|_| random.random()).collect(),
        None => Vec::new(),
    };
    for (half, wanted) in halves.iter_mut().zip([false, true]) {
        let mut labels = labels.iter();
        if let Some(profile) = &mut half.profile {
            profile.samples.retain(|_| labels.next() == Some(&wanted));
        }
    }
    halves
}

/// Prints what was found; whether as many intervals held as must, and not more than `most`.
fn told(found: &Named, relabellings: usize, most: f64) -> bool {
    let percent = |part: usize, of: usize| 100.0 * part as f64 / of.max(1) as f64;
    let mut all = Found::default();
    for (function, found) in found {
        all.add(found);
        println!(
            "{:>5} tried, held accounted {:5.1} %, as sampled {:5.1} %, width accounted to as sampled {:.3}  {}",
            found.tried,
            percent(found.held[0], found.tried),
            percent(found.held[1], found.tried),
            found.widths[0] / found.widths[1],
            function.as_ref().map_or("(all CPU)", |frame| &frame.name)
        );
    }
    println!("\n{relabellings} relabellings x {} functions = {} intervals", found.len(), all.tried);
    for (way, name) in ["accounted", "as sampled"].into_iter().enumerate() {
        let share = all.held[way] as f64 / all.tried.max(1) as f64;
        // Functions of one relabelling depend on each other: no more is known than from as many relabellings.
        let error = 1.96 * (share * (1.0 - share) / relabellings as f64).sqrt();
        println!(
            "{name}: {} held, {:.2} % (95 % interval of {relabellings} independent relabellings {:.1} to {:.1} %)",
            all.held[way],
            100.0 * share,
            100.0 * (share - error).max(0.0),
            100.0 * (share + error).min(1.0)
        );
    }
    let widths: Vec<f64> = found.iter().map(|(_, own)| own.widths[0] / own.widths[1]).collect();
    let tried = widths.iter().filter(|width| width.is_finite()).count();
    let mean =
        widths.iter().filter(|width| width.is_finite()).map(|width| width.ln()).sum::<f64>() / tried.max(1) as f64;
    println!("width accounted to as sampled: {:.3} (geometric mean over {tried} functions)", mean.exp());
    let share = all.held[0] as f64 / all.tried.max(1) as f64;
    let passed = (BOUNDS.0..=most).contains(&share);
    let verdict = if passed { "PASS" } else { "FAIL" };
    println!("{verdict}: {:.2} % held, of {:.0} to {:.0} %", 100.0 * share, 100.0 * BOUNDS.0, 100.0 * most);
    passed
}
