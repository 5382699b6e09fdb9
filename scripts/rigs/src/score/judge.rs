//! One case's runs judged: the first verdict against the plant, its effect against the true one. Invariant: an effect
//! within its own interval of 0 is not held against anything; one that is known to an interval only is held against
//! that, and the table says so.

use super::cases::Case;
use super::clock::{self, Clock};
use super::last_lines::{self, LastLines};
use anyhow::{Context, Result, ensure};
use std::fmt;
use std::path::Path;
use wireprof::analyze::compare::difference::{Contrast, Mean};
use wireprof::analyze::judge::diagnose::{Confidence, Diagnosis, Finding, diagnose};
use wireprof::preset::{Cause, Preset};
use wireprof::profile::short_name;
use wireprof::run::{Parts, Run, Store, Window};

/// Attributed over true effect may differ from 1 by so much.
const TOLERANCE: f64 = 0.25;
/// CPUs that others must have taken for a verdict on them to be a true one beside the plant.
const DISTURBED: f64 = 0.1;
/// Of a case whose sweeps' last lines leave the plant out.
const UNTOLD: &str = "not in the last lines";

pub struct Score {
    planted: String,
    found: String,
    named: String,
    /// us of mean latency, with a 95 % interval.
    effect: (f64, f64, f64),
    /// us by the diagnosis; `None`: the cause has no effect of its own.
    attributed: Option<f64>,
    /// Share of the machine that others took, 0..1; they are then found besides.
    others: Option<f64>,
    last_lines: LastLines,
    /// What else is to be said of a case that passes.
    note: String,
    failures: Vec<String>,
}

impl Score {
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

pub fn heading() -> String {
    format!(
        "{:<23} {:<41} {:<25} {:>22} {:>10} {:>6} {:>6} {:>10}  result",
        "planted (level)", "found", "first named", "true effect, us", "attributed", "ratio", "others", "last lines"
    )
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (effect, low, high) = self.effect;
        let attributed = self.attributed.map_or("-".into(), |micros| format!("{micros:.0}"));
        let ratio = self.attributed.map_or("-".into(), |micros| format!("{:.2}", micros / effect));
        let others = self.others.map_or("-".into(), |share| format!("{:.0} %", 100.0 * share));
        let last_lines = format!("{} of {}", self.last_lines.told, self.last_lines.of);
        let result = match self.passed() {
            true => format!("pass{}", self.note),
            false => format!("FAIL: {}{}", self.failures.join("; "), self.note),
        };
        write!(
            f,
            "{:<23} {:<41} {:<25} {:>22} {attributed:>10} {ratio:>6} {others:>6} {last_lines:>10}  {result}",
            self.planted,
            self.found,
            self.named,
            format!("{effect:.0} ({low:.0} to {high:.0})")
        )
    }
}

pub fn score(case: &Case, directory: &Path) -> Result<Score> {
    let planted = runs(&directory.join("with"))?;
    let (with, without) = (together(&planted)?, together(&runs(&directory.join("without"))?)?);
    let means = |run: &Run| Mean::of(&latencies(run, case.level)).context("fewer than two replicates have a latency");
    let contrast = Contrast::welch(means(&without)?, means(&with)?);
    let (low, high) = contrast.interval(0.05);
    let preset = Preset::built_in("testbed")?;
    let diagnosis = diagnose(&with, &preset, case.level).context("the level has no latency")?;
    let others = others(&diagnosis);
    let disturbed = case.beside.is_none() && others.is_some_and(|share| share >= DISTURBED);
    let about_it = |verdict: &&Finding| {
        let others = disturbed && verdict.cause == Cause::OtherProcesses;
        !others && !case.of_base.contains(&verdict.cause)
    };
    let first = diagnosis.verdicts.iter().find(about_it).context("nothing was judged")?;
    let mut score = Score {
        planted: format!("{} ({})", case.plant.unwrap_or(case.name), case.level),
        found: format!("{}{}", certainty(first.confidence), first.cause),
        named: first.named.first().map_or(String::new(), |named| last_part(&named.name)),
        effect: (contrast.estimate / 1e3, low / 1e3, high / 1e3),
        attributed: first.effect.map(|effect| effect.latency / 1e3),
        others,
        last_lines: last_lines::read(case, directory, disturbed)?,
        note: String::new(),
        failures: Vec::new(),
    };
    score.note = note(case, &score).to_string();
    match case.waited {
        None => score.failures = failures(case, first, &score),
        Some(waited) => {
            let clock = Clock::of(waited, first, &planted, case.level)?;
            score.failures = failures_of_wait(case, first, &clock);
            score.failures.extend((!score.last_lines.tell()).then(|| UNTOLD.to_string()));
            let Clock { found, planted } = clock;
            score.note = format!("; {found:.0} us, by the plant's clock {planted:.0}, {:.2} of it", clock.ratio());
        }
    }
    Ok(score)
}

fn certainty(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Confident => "",
        Confidence::Masked => "masked ",
        Confidence::Possible => "possibly ",
    }
}

fn near(attributed: f64, low: f64, high: f64) -> bool {
    (low * (1.0 - TOLERANCE)..=high * (1.0 + TOLERANCE)).contains(&attributed)
}

fn note(case: &Case, score: &Score) -> &'static str {
    let (effect, low, high) = score.effect;
    if case.control() {
        ""
    } else if low <= 0.0 && high >= 0.0 {
        ": no effect to find"
    } else if score.attributed.is_some_and(|attributed| !near(attributed, effect, effect)) {
        ", as closely as the true effect is known"
    } else {
        ""
    }
}

fn failures(case: &Case, first: &Finding, score: &Score) -> Vec<String> {
    let (_, low, high) = score.effect;
    let mut failures = Vec::new();
    let mut unless = |right: bool, what: &str| {
        if !right {
            failures.push(what.to_string());
        }
    };
    let control = case.control();
    let nothing_to_find = low <= 0.0 && high >= 0.0 && !control;
    if nothing_to_find {
        return failures;
    }
    let named = first.named.first().map_or("", |named| &named.name);
    unless(case.causes.contains(&first.cause), "another cause");
    unless(control || first.confidence == Confidence::Confident, "not confident");
    unless(named.contains(case.function), "another function");
    let near = |attributed: f64| near(attributed, low, high);
    unless(control || score.attributed.is_none_or(near), "another effect");
    unless(score.last_lines.tell(), UNTOLD);
    failures
}

/// Of a wait that was planted: its effect is not held against the true one.
fn failures_of_wait(case: &Case, first: &Finding, clock: &Clock) -> Vec<String> {
    let mut failures: Vec<&str> = Vec::new();
    failures.extend((!case.causes.contains(&first.cause)).then_some("another cause"));
    failures.extend((first.confidence != Confidence::Confident).then_some("not confident"));
    failures.extend(case.waited.iter().flat_map(|waited| clock::failures(*waited, first, clock)));
    failures.into_iter().map(String::from).collect()
}

/// The runs of a side, the first one first.
fn runs(directory: &Path) -> Result<Vec<Run>> {
    let store = Store::new(directory);
    let mut ids: Vec<String> = store.list()?.into_iter().map(|manifest| manifest.id).collect();
    ids.sort();
    let runs = ids.iter().map(|id| store.load_parts(id, Parts::ALL)).collect::<Result<Vec<Run>>>()?;
    ensure!(!runs.is_empty(), "there is no run in {}", directory.display());
    Ok(runs)
}

/// The windows of all runs of a side, as replicates of one.
fn together(runs: &[Run]) -> Result<Run> {
    let mut windows = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        windows.extend(run.windows.iter().cloned().map(|mut window| {
            window.facts.id.replicate = at + 1;
            window
        }));
    }
    windows.sort_by_key(Window::id);
    let manifest = runs.first().context("a side without runs")?.manifest.clone();
    Ok(Run { manifest, windows, observer: None, damaged: Vec::new() })
}

/// Mean latencies of a level's windows, ns.
fn latencies(run: &Run, level: usize) -> Vec<f64> {
    run.levels().remove(&level).unwrap_or_default().iter().filter_map(|window| window.load.mean_latency()).collect()
}

/// Share of the machine that others took, where there is a verdict on it.
fn others(diagnosis: &Diagnosis) -> Option<f64> {
    let verdict = diagnosis.verdicts.iter().find(|verdict| verdict.cause == Cause::OtherProcesses)?;
    verdict.evidence.first().map(|evidence| evidence.value / 100.0)
}

fn last_part(name: &str) -> String {
    let short = short_name(name);
    short.rsplit("::").next().unwrap_or_default().to_string()
}
