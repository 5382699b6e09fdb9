//! What the verbs that measure have in common: the runtime, Ctrl-C, and what is printed when the windows are done.

use super::diagnose::keep_verdict;
use super::ending::Ending;
use super::names::Names;
use super::overview::{guards_failed, overview};
use super::progress::Progress;
use super::shown::Shown;
use super::{Common, Outcome, output};
use crate::analyze::cost::precision::precision;
use crate::child;
use crate::preset::Preset;
use crate::render::precision_notes;
use crate::run::{Run, Store};
use crate::runtime;
use crate::sweep::{self, Stop, interrupted};
use crate::workload::parse_duration;
use anyhow::{Context, Result, anyhow};
use clap::Args;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The threads on which the conductor waits.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    runtime::with_threads(2, "wireprof-sweep")
}

/// Measures, and tells programs of it where they ask for `json_lines`.
///
/// # Errors
/// What the verb ended with.
pub fn measure(
    json_lines: bool,
    common: &Common,
    verb: impl AsyncFnOnce(&Progress) -> Result<Outcome>,
) -> Result<Outcome> {
    let progress = Progress::for_programs(json_lines.then_some(common.verb.as_str()));
    let ended = runtime().and_then(|runtime| runtime.block_on(verb(&progress)));
    progress.ended(ended)
}

/// A length of time as an argument.
pub fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| format!("`{text}` is no length of time; write 5s, 500ms or 1m"))
}

/// As [`duration`], and a bare number means seconds: for what nobody measures in anything else.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let bare = || text.trim().parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    parse_duration(text)
        .or_else(bare)
        .ok_or_else(|| format!("`{text}` is no length of time; write 5s, 500ms or 1m; a bare number means seconds"))
}

/// An age as an argument: as [`duration`], and hours, days and weeks.
pub fn age(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .ok()
        .or_else(|| parse_duration(text))
        .ok_or_else(|| format!("`{text}` is no age; write 12h, 14d or 8w"))
}

/// The first Ctrl-C (or SIGTERM, or the end of the terminal) asks to end, keeping what is finished; a second one ends
/// the process.
///
/// # Errors
/// The signals cannot be received.
pub fn stop_on_interrupt() -> Result<Stop> {
    let unheard = "cannot receive signals";
    // From now on, not from when the task first runs: a signal between would leave a server changed.
    let mut interrupt = signal(SignalKind::interrupt()).context(unheard)?;
    let mut terminate = signal(SignalKind::terminate()).context(unheard)?;
    // Under nohup the end of the terminal is nobody's wish.
    let mut hang_up = match child::ignores(libc::SIGHUP) {
        true => None,
        false => Some(signal(SignalKind::hangup()).context(unheard)?),
    };
    let stop = Stop::default();
    let asked = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                Some(_) = async { hang_up.as_mut()?.recv().await } => {}
            }
            if asked.requested() {
                std::process::exit(130);
            }
            asked.request();
            output::say("\nending: finished windows are kept (once more to end at once, with the server as it is)");
        }
    });
    Ok(stop)
}

/// What cut `what` (the sweep, the recording) short, with the code that belongs to it. What was refused before any run
/// was begun is told as it is.
pub fn cut(what: &str, outcome: sweep::SweepEnd) -> anyhow::Error {
    let finished = outcome.finished();
    let error = outcome.cut.unwrap_or_else(|| anyhow!("no window was finished"));
    if outcome.runs.is_empty() && !interrupted(&error) {
        return error;
    }
    let kept = match finished {
        0 => "no window was finished".to_string(),
        1 => "the finished window is kept".to_string(),
        _ => format!("the {finished} finished windows are kept"),
    };
    let error = match interrupted(&error) {
        true => anyhow!("interrupted; {kept}"),
        false if outcome.whole => error.context(format!("the {what} is whole ({kept}); what followed it failed")),
        false => error.context(format!("the {what} was cut short; {kept}")),
    };
    anyhow!(super::Failed(error))
}

/// A number of clients, of a list of them.
pub fn level(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "levels are numbers, such as 1,16".into())
}

/// What is shown of a run at its end.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// For commands of earlier versions: none is drawn until `wireprof flamegraph` or `wireprof report` is asked
    #[arg(long, hide = true)]
    no_flamegraphs: bool,
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    pub shown: Shown,
}

/// How a measured run is shown.
pub struct Answer<'a> {
    /// `sweep` or `recording`.
    pub what: &'a str,
    pub common: &'a Common,
    pub preset: &'a Preset,
    pub output: &'a Output,
}

impl Answer<'_> {
    /// Tables, and where the run is; then the error that cut the measurement short, if any.
    pub fn print(&self, store: &Store, outcome: sweep::SweepEnd, progress: &Progress) -> Result<Outcome> {
        let Some(ended) = outcome.runs.first().filter(|ended| ended.finished > 0) else {
            return Err(cut(self.what, outcome));
        };
        let directory = ended.directory.clone();
        let reference = directory.display().to_string();
        progress.working("reading the run");
        let run = store.load(&reference)?;
        // For lists of runs only: what is printed is judged again.
        if let Err(error) = keep_verdict(&run, self.preset, &directory) {
            progress.note(&format!("no finding is kept with the run: {error:#}"));
        }
        // Whether it was reached is part of the answer to who asked.
        if let Some(goal) = run.manifest.precision {
            let reached = precision_notes(&precision(&run, Some(self.preset)), Some(goal)).pop();
            reached.iter().for_each(|told| progress.note(told));
        }
        progress.done();
        let ending = Ending {
            common: self.common,
            names: &self.output.names,
            shown: &self.output.shown,
            directory: &directory,
            events: progress.lines(),
        };
        let failed = guards_failed(&run);
        let whole = |run: &Run| overview(run, Some(self.preset), &reference, self.common.json);
        ending.tell(run, &Ok(self.preset.clone()), whole)?;
        match &outcome.cut {
            Some(_) => Err(cut(self.what, outcome)),
            None if failed => Ok(Outcome::CheckFailed),
            None => Ok(Outcome::Done),
        }
    }
}
