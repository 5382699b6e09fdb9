//! The conductor: the only place where the stages meet in time. Invariant: a window that is finished is on disk
//! before the next one starts, so nothing that comes later can lose it.

mod across;
mod activity;
mod addresses;
mod assemble;
mod companions;
mod compare;
mod driver;
mod follow;
mod freshness;
mod hands;
mod instruments;
mod interrupts;
mod launch;
mod live;
mod load_hosts;
mod load_threads;
mod manifest;
mod observer;
mod plan;
mod precision;
mod prepare;
mod processes;
mod query_counter;
mod recognise;
mod request;
mod sampling_rate;
mod scrapes;
mod server_profiles;
mod setup;
mod sources;
mod state;
mod statements;
mod turns;
mod window;
mod window_loop;

pub use across::{Across, AlsoRequest, serve};
pub use addresses::{leave_out_other_hosts, needs_administrator};
pub use compare::{Compared, End, Limits, compare};
pub use freshness::FreshnessProbe;
pub use launch::{Launch, Launched};
pub use live::{Moment, Whereabouts};
pub use load_hosts::{LoadHosts, LoadHostsAsked, serve_load};
pub use observer::ObserverSpec;
pub use plan::{Turn, letters, order, pairs, rounds};
pub use prepare::{Prepared, prepare};
pub use processes::listens;
pub use query_counter::QueryCounter;
pub use recognise::{Chosen, ask, look};
pub use request::{DriverChoice, LoadRequest, LoadThreads, ObserveRequest, Plan, Request, TargetRequest, check};
pub use server_profiles::{ServerProfiler, answers, profilers};
pub use sources::{Processes, Sources, TargetProcess};
pub use state::{PresetState, ServerState};
pub use statements::{open_reader, statements_address};
pub use turns::{Arm, Ended, SideSpec, SweepEnd, Turns};
pub use window::{Captured, Cut, interrupted};

use crate::remote::LinkOptions;
use crate::run::{Manifest, Window, WindowId};
use anyhow::{Result, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes of `metrics-series.prom` at most.
const SERIES_BOUND: usize = 16 << 20;

/// A request to end, shared with the signal handler.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for the end; there is no way back.
    pub fn request(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the end was asked for.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// # Errors
    /// [`Cut::Interrupted`] once an end is requested.
    pub fn check(&self) -> Result<()> {
        if self.requested() {
            bail!(Cut::Interrupted);
        }
        Ok(())
    }
}

/// Lengths of one window's parts.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Load before the window.
    pub warmup: Duration,
    /// The window, from the midpoint of its first scrape to when its last scrape begins.
    pub window: Duration,
}

/// What the conductor tells while it works.
pub enum Event<'a> {
    /// Something that takes time before the first window.
    Preparing(&'a str),
    /// Something done that is worth keeping on the screen.
    Noted(&'a str),
    /// So many windows are still to come, which were not planned (a count).
    Further(usize),
    /// A window begins with its warm-up.
    Started {
        /// The run that the window is of.
        run: &'a Manifest,
        /// Level and replicate.
        id: WindowId,
        /// The window's position in the run's order, from 0.
        index: usize,
        /// Windows of the run (a count).
        of: usize,
        /// Length of warm-up and window together, in seconds.
        seconds: f64,
    },
    /// A second of a window has passed; only where the request says that somebody looks on.
    Running(Moment),
    /// The window is over, and what carries the queries is followed.
    Following(WindowId),
    /// Samples are being symbolized and written.
    Processing(WindowId),
    /// A window is on disk.
    Finished {
        /// The run that the window is of.
        run: &'a Manifest,
        /// The window with all that was measured.
        window: &'a Window,
        /// Its position in the run's order, from 0.
        index: usize,
        /// Windows of the run (a count).
        of: usize,
    },
}

/// An error, with what could not be ended or put back after it.
fn with_ends(error: anyhow::Error, ended: impl IntoIterator<Item = anyhow::Result<()>>) -> anyhow::Error {
    ended.into_iter().filter_map(Result::err).fold(error, |error, more| error.context(format!("{more:#}")))
}

/// An error of another host whose link is closed by now, after the copies of wireprof were taken away from there where
/// that is wanted.
fn without_copies(error: anyhow::Error, host: &LinkOptions, clean: bool) -> anyhow::Error {
    if !clean {
        return error;
    }
    match host.remove_copies() {
        // A host that cannot be reached for it either has been told of.
        Err(more) if format!("{error:#}").contains(&more.to_string()) => error,
        removed => with_ends(error, [removed]),
    }
}

/// Adds a note to a run's, once.
fn note(notes: &mut Vec<String>, text: String) {
    if !notes.contains(&text) {
        notes.push(text);
    }
}
