//! Measures how often a comparison finds a difference where there is none: `relabel RELABELLINGS REPLICATES SEED
//! RUN...`. The windows of one level of the stored runs, of one set-up, are dealt at random into two sides of
//! REPLICATES windows each, again and again; each time the sides are compared as `wireprof diff` does it. A verdict
//! that something differs is false. Prints the share of relabellings with any false one, by family, against the level
//! that the family promises, and exits with 1 where it is more than three standard errors of that level above it. All
//! sides are of the same windows: this judges the rules for such windows.

use anyhow::{Context, bail, ensure};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;
use wireprof::analyze::compare::difference::{Difference, FrameTable, Options, Row, Side, Subject, Verdict, compare};
use wireprof::preset::Preset;
use wireprof::run::{Parts, Store};

/// Windows below which relabelling says little.
const FEWEST: usize = 40;

/// Relabellings with a false verdict.
#[derive(Clone, Copy, Default)]
struct False {
    main: usize,
    throughput: usize,
    latency: usize,
    others: usize,
    frames: usize,
    owners: usize,
    /// Frames said to differ, over all relabellings.
    frame_rows: usize,
}

pub fn main(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let [relabellings, replicates, seed, runs @ ..] = arguments else {
        bail!("relabel RELABELLINGS REPLICATES SEED RUN...");
    };
    let (relabellings, replicates): (usize, usize) = (relabellings.parse()?, replicates.parse()?);
    let first = runs.first().context("no run")?;
    let run = Store::new(Path::new(".")).load_parts(first, Parts::NONE)?;
    let preset = Preset::load(&run.manifest.preset)?;
    let options = Options { top: usize::MAX, preset: Some(&preset), ..Options::default() };
    let side = load(runs, &options)?;
    let (level, windows) = side.windows().into_iter().max_by_key(|(_, windows)| *windows).context("no window")?;
    ensure!(windows >= FEWEST.max(2 * replicates), "{windows} windows at level {level}; {FEWEST} are needed");
    println!("level {level}: {windows} windows, two sides of {replicates}, {relabellings} relabellings, seed {seed}");

    let began = Instant::now();
    let mut seeds = StdRng::seed_from_u64(seed.parse()?);
    let threads = std::thread::available_parallelism()?.get();
    let shares: Vec<(usize, u64)> = (0..threads).map(|i| ((relabellings + i) / threads, seeds.random())).collect();
    let found: Vec<False> = std::thread::scope(|scope| {
        let work = |(count, seed): (usize, u64)| {
            let (side, options) = (&side, &options);
            scope.spawn(move || deal(side, (level, windows, replicates), count, seed, options))
        };
        let running: Vec<_> = shares.into_iter().map(work).collect();
        running.into_iter().map(|thread| thread.join().expect("a comparison panicked")).collect()
    });
    println!("{:.1} s", began.elapsed().as_secs_f64());

    let sum = |of: fn(&False) -> usize| found.iter().map(of).sum::<usize>();
    let judge = |what: &str, wrong: usize, level: f64| {
        let (share, error) = (wrong as f64 / relabellings as f64, (level * (1.0 - level) / relabellings as f64).sqrt());
        let held = share <= level + 3.0 * error;
        let word = if held { "held" } else { "EXCEEDED" };
        println!(
            "{what}: {wrong} false, {:.2} % against {} % (bound {:.2} %): {word}",
            100.0 * share,
            100.0 * level,
            100.0 * (level + 3.0 * error)
        );
        held
    };
    let held = [
        judge("throughput, mean latency and CPU together", sum(|f| f.main), options.familywise),
        judge("  throughput", sum(|f| f.throughput), options.familywise),
        judge("  mean latency", sum(|f| f.latency), options.familywise),
        judge("quantiles, places, demands: any", sum(|f| f.others), options.false_discovery),
        judge("frames: any", sum(|f| f.frames), options.false_discovery),
        judge("functions of the program: any", sum(|f| f.owners), options.false_discovery),
    ];
    println!("frames said to differ, of all relabellings: {}", sum(|f| f.frame_rows));
    Ok(ExitCode::from(u8::from(held.contains(&false))))
}

/// All runs as one side, each window summed up once.
fn load(runs: &[String], options: &Options) -> anyhow::Result<Side> {
    let mut side: Option<Side> = None;
    let parts = Parts { metrics: false, ..Parts::ALL };
    for run in runs {
        let directory = Store::new(Path::new(".")).find(run)?;
        let (_, damaged) = Store::load_each(&directory, parts, |manifest, window| {
            side.get_or_insert_with(|| Side::new(manifest)).add(&window, options);
        })?;
        anyhow::ensure!(damaged.is_empty(), "a window of {run} is damaged");
    }
    side.context("no window in these runs")
}

fn deal(side: &Side, of: (usize, usize, usize), count: usize, seed: u64, options: &Options) -> False {
    let (level, windows, replicates) = of;
    let mut random = StdRng::seed_from_u64(seed);
    let mut cards: Vec<usize> = (0..windows).collect();
    let mut found = False::default();
    for _ in 0..count {
        cards.shuffle(&mut random);
        let before = side.of_windows(level, &cards[..replicates]);
        let after = side.of_windows(level, &cards[replicates..2 * replicates]);
        found.add(&compare(&before, &after, options));
    }
    found
}

impl False {
    fn add(&mut self, difference: &Difference) {
        let rows = || difference.levels.iter().flat_map(|level| &level.rows).filter(|row| row.verdict.differs());
        let any = |wanted: &dyn Fn(&Row) -> bool| usize::from(rows().any(wanted));
        self.main += any(&|row| row.subject.is_main());
        self.throughput += any(&|row| row.subject == Subject::Throughput);
        self.latency += any(&|row| row.subject == Subject::MeanLatency);
        self.others += any(&|row| !row.subject.is_main());
        let differing =
            |table: &FrameTable| table.rows.iter().filter(|row| row.verdict.is_some_and(Verdict::differs)).count();
        let frames: usize = difference.levels.iter().filter_map(|level| level.frames.as_ref()).map(differing).sum();
        let owners: usize = difference.levels.iter().filter_map(|level| level.owners.as_ref()).map(differing).sum();
        self.frame_rows += frames;
        self.frames += usize::from(frames > 0);
        self.owners += usize::from(owners > 0);
    }
}
