//! The conductor: the only place where the stages meet in time. Invariant: a window that is finished is on disk
//! before the next one starts, so nothing that comes later can lose it.

mod assemble;
mod beside;
mod compare;
mod divisor;
mod freshness;
mod launch;
mod observer;
mod prepare;
mod setup;
mod statements;
mod turns;
mod window;

pub use compare::{Compared, End, Limits, compare};
pub use divisor::Divisor;
pub use freshness::FreshnessProbe;
pub use launch::{Launch, Launched};
pub use observer::{ObserverAsked, observer_windows};
pub use prepare::{DriverChoice, Prepared, Request, check, listens, prepare};
pub use setup::{Applied, Connections, apply, restore};
pub use statements::{open_reader, statements_address};
pub use turns::{Arm, Asked, Ended, Turn, Turns, letters, pairs, rounds};
pub use window::{Captured, Cut, interrupted};

use crate::load::Driver;
use crate::metrics::{Scraper, Selector};
use crate::preset::Preset;
use crate::run::{Manifest, RunWriter, Store, Window, WindowId};
use crate::sample::{Sampled, Sampler};
use crate::statements::StatementSource;
use crate::symbol::Symbolizer;
use crate::target::{Awake, Watched};
use crate::wire::WireSource;
use anyhow::Result;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes of `metrics-series.prom` at most.
const SERIES_BOUND: usize = 16 << 20;

/// A request to end, shared with the signal handler.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Lengths of one window's parts.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub warmup: Duration,
    pub window: Duration,
}

/// Everything outside that a window listens to.
pub struct Sources {
    pub driver: Box<dyn Driver>,
    pub sampler: Option<Box<dyn Sampler>>,
    pub scraper: Option<Arc<dyn Scraper>>,
    pub statements: Option<Box<dyn StatementSource>>,
    /// Have the database forget its statistics before each window.
    pub reset_statements: bool,
    pub wire: Option<Box<dyn WireSource>>,
    pub watched: Watched,
    /// `None`: it is not on this host, or not known.
    pub target: Option<Sampled>,
    /// Processes sampled in the same windows, by name; their samples are kept apart from the target's.
    pub beside: Vec<(String, Sampled)>,
    /// Start of the target, in clock ticks after boot.
    pub target_started: Option<u64>,
    /// Series to keep once a second.
    pub series: Vec<Selector>,
    /// Server counter of queries, where the driver cannot count inside the window.
    pub divisor: Option<Divisor>,
    /// Whether reads see acknowledged writes; asked after each window.
    pub freshness: Option<FreshnessProbe>,
    /// Held while they are open; `None`: idle CPUs sleep as they are set to.
    pub awake: Option<Awake>,
}

impl Sources {
    /// All processes to sample, the target first.
    fn sampled(&self) -> Vec<Sampled> {
        self.target.into_iter().chain(self.beside.iter().map(|(_, sampled)| *sampled)).collect()
    }
}

/// What the conductor tells while it works.
pub enum Event<'a> {
    /// Something that takes time before the first window.
    Preparing(&'a str),
    Started {
        id: WindowId,
        index: usize,
        of: usize,
        seconds: f64,
    },
    /// Samples are being symbolized and written.
    Processing(WindowId),
    Finished {
        window: &'a Window,
        index: usize,
        of: usize,
    },
}

/// The order in which windows are run: levels in random order, again for each replicate.
pub fn order(levels: &[usize], replicates: usize, seed: u64) -> Vec<WindowId> {
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut order = Vec::new();
    for replicate in 1..=replicates {
        let mut levels = levels.to_vec();
        levels.shuffle(&mut random);
        order.extend(levels.into_iter().map(|level| WindowId { level, replicate }));
    }
    order
}

/// Where a window belongs whose clients are not ours to choose: to the earlier level that they are within a tenth of, else to
/// a level of their own.
fn place(manifest: &mut Manifest, index: usize, clients: usize) -> WindowId {
    let earlier = &manifest.order[..index];
    let near = earlier.iter().map(|id| id.level).find(|level| level.abs_diff(clients) * 10 <= *level);
    let level = near.unwrap_or(clients);
    let taken = earlier.iter().filter(|id| id.level == level).map(|id| id.replicate);
    let id = WindowId { level, replicate: 1 + taken.max().unwrap_or(0) };
    manifest.order[index] = id;
    let done = &manifest.order[..=index];
    manifest.levels = done.iter().map(|id| id.level).collect::<BTreeSet<_>>().into_iter().collect();
    id
}

/// How a sweep ended.
pub struct Outcome {
    pub directory: PathBuf,
    pub manifest: Manifest,
    /// Windows on disk.
    pub finished: usize,
    /// Why it was cut short.
    pub cut: Option<anyhow::Error>,
}

/// Runs all windows of the manifest's order and stores each. An error of one window ends the sweep; what was finished
/// stays readable and the manifest says why it ended.
pub async fn run(
    store: &Store,
    manifest: Manifest,
    preset: &Preset,
    sources: &mut Sources,
    timing: Timing,
    stop: &Stop,
    tell: &mut (dyn FnMut(Event) + Send),
) -> Result<Outcome> {
    let mut writer = store.reserve(&manifest.id)?.begin(manifest)?;
    let mut symbolizer = Symbolizer::new(Default::default());
    let windows = writer.manifest.order.len();
    turns::warm(sources, tell);
    let (mut finished, mut cut) = (0, None);
    for index in 0..windows {
        let planned = writer.manifest.order[index];
        let id = sources.driver.level().map_or(planned, |seen| place(&mut writer.manifest, index, seen));
        let seconds = (timing.warmup + timing.window).as_secs_f64();
        tell(Event::Started { id, index, of: windows, seconds });
        statements::reset_before_window(sources, &mut writer.manifest.notes).await;
        let stored = one(&mut writer, preset, sources, timing, id, stop, &mut symbolizer, tell).await;
        match stored {
            Ok(window) => {
                finished += 1;
                tell(Event::Finished { window: &window, index, of: windows });
            }
            Err(error) => {
                cut = Some(error);
                break;
            }
        }
    }
    for note in symbolizer.notes() {
        if !writer.manifest.notes.contains(&note) {
            writer.manifest.notes.push(note);
        }
    }
    let ended = match &cut {
        None => "complete".to_string(),
        Some(error) => format!("cut short after {finished} of {windows} windows: {error:#}"),
    };
    // The windows are safe by now: a full disk here must not hide what cut the run short.
    if let Err(error) = writer.finish(&ended) {
        cut = cut.or(Some(error));
    }
    Ok(Outcome { directory: writer.directory().to_path_buf(), manifest: writer.manifest, finished, cut })
}

#[allow(clippy::too_many_arguments)]
async fn one(
    writer: &mut RunWriter,
    preset: &Preset,
    sources: &mut Sources,
    timing: Timing,
    id: WindowId,
    stop: &Stop,
    symbolizer: &mut Symbolizer,
    tell: &mut (dyn FnMut(Event) + Send),
) -> Result<Window> {
    let captured = window::capture(sources, &timing, id, stop).await?;
    tell(Event::Processing(id));
    tokio::task::block_in_place(|| {
        let (window, expositions) = assemble::assemble(captured, preset, &writer.manifest, sources, symbolizer)?;
        writer.write_window(&window, expositions.as_ref().map(assemble::Kept::borrow))?;
        Ok(window)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::build;

    #[test]
    fn clients_within_a_tenth_of_an_earlier_window_are_a_replicate_of_it() {
        let planned: Vec<WindowId> = order(&[16], 5, 0);
        let mut manifest = Manifest { order: planned, ..build::manifest("x", &[]) };
        let placed: Vec<_> =
            [16, 17, 40, 16, 39].into_iter().enumerate().map(|(at, n)| place(&mut manifest, at, n)).collect();
        let found: Vec<_> = placed.iter().map(|id| (id.level, id.replicate)).collect();
        assert_eq!(found, [(16, 1), (16, 2), (40, 1), (16, 3), (40, 2)]);
        assert_eq!((manifest.order, manifest.levels), (placed, vec![16, 40]));
    }

    #[test]
    fn every_replicate_runs_every_level_once_in_an_order_that_its_seed_repeats() {
        let levels = [1, 4, 16, 64];
        let first = order(&levels, 3, 7);
        assert_eq!(first, order(&levels, 3, 7));
        for replicate in 1..=3 {
            let mut found: Vec<_> = first.iter().filter(|id| id.replicate == replicate).map(|id| id.level).collect();
            found.sort_unstable();
            assert_eq!(found, levels);
        }
        assert!((0..20).any(|seed| order(&levels, 1, seed) != first[..4]));
    }
}
