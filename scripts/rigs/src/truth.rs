//! Holds stored runs of the testbed against what is known to be true: planted CPU against what the profile finds, and
//! sampled CPU against the kernel's accounting (its records of context switches) by thread group; the planted lock's
//! own wait against what was found spinning, blocked and runnable in it. Usage: truth RUN_DIRECTORY... Prints a line
//! per figure with its standard error; a deviation beyond the tolerance is marked `!`. At the end it says PASS or FAIL,
//! with counts, of
//!
//! - each cell (planted function x level x window): within 5 % or two standard errors;
//! - each mean over the windows of a function and level: within 1.5 %;
//! - the total of the target, and of each companion, in each window: equal to the kernel's account within 0.1 %.
//!
//! Exits with 1 where one of them fails or there is nothing to judge it by.

use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use wireprof::analyze::cost::view::{ViewOptions, window_view};
use wireprof::analyze::time::WaitKinds;
use wireprof::analyze::time::off_cpu::waits;
use wireprof::metrics::{Change, Series};
use wireprof::preset::Preset;
use wireprof::profile::{ColumnKind, Space};
use wireprof::run::{Run, Store, Window};
use wireprof::target::{Role, ThreadDelta};

/// A cell may be off by this much, or by two standard errors where that is more.
const CELL: f64 = 0.05;
/// A mean over windows may be off by this much.
const MEAN: f64 = 0.015;
/// A total may differ from the account by this much.
const TOTAL: f64 = 0.001;

/// A planted function in a window.
struct Cell {
    function: &'static str,
    level: usize,
    /// Found over planted, less 1.
    deviation: f64,
    bound: f64,
}

/// All CPU of the target or a companion in a window.
struct Total {
    what: String,
    /// Shown over accounted, less 1; `None`: it has no account.
    deviation: Option<f64>,
}

pub fn main(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (mut cells, mut totals) = (Vec::new(), Vec::new());
    let mut ratios: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for directory in arguments {
        let run = Store::new(".").load(directory)?;
        for window in &run.windows {
            plants(&run, window, &mut cells);
            groups(window, &mut ratios);
        }
        lock(&run)?;
        totals.extend(totals_of(&run));
    }
    println!("\nsampled over accounted CPU, all windows together");
    for (group, values) in ratios {
        let (sampled, accounted) = values.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
        println!("{group:<24} {:.4} over {} windows ({:.2} s accounted)", sampled / accounted, values.len(), accounted);
    }
    println!();
    let passed = [cells_hold(&cells), means_hold(&cells), totals_hold(&totals)];
    Ok(ExitCode::from(u8::from(passed.contains(&false))))
}

/// PASS or FAIL, and of what.
fn verdict(what: &str, held: usize, of: usize, worst: &str) -> bool {
    let passed = of > 0 && held == of;
    println!("{}: {what}: {held} of {of}; {worst}", if passed { "PASS" } else { "FAIL" });
    passed
}

fn cells_hold(cells: &[Cell]) -> bool {
    let held = cells.iter().filter(|cell| cell.deviation.abs() <= cell.bound).count();
    let worst = cells.iter().max_by(|a, b| (a.deviation.abs() / a.bound).total_cmp(&(b.deviation.abs() / b.bound)));
    let worst = worst.map_or("no cell".into(), |cell| {
        let (off, bound) = (cell.deviation * 100.0, cell.bound * 100.0);
        format!("the worst, {} at level {}, is off by {off:+.2} % of {bound:.2} %", cell.function, cell.level)
    });
    verdict("cells within 5 % or two standard errors", held, cells.len(), &worst)
}

/// Over the windows of each function and level.
fn means_hold(cells: &[Cell]) -> bool {
    let mut groups: BTreeMap<(&str, usize), Vec<f64>> = BTreeMap::new();
    cells.iter().for_each(|cell| groups.entry((cell.function, cell.level)).or_default().push(cell.deviation));
    let (mut held, mut worst) = (0, (0.0, String::from("no mean")));
    for ((function, level), deviations) in &groups {
        let mean = deviations.iter().sum::<f64>() / deviations.len() as f64;
        held += usize::from(mean.abs() <= MEAN);
        let off = mean * 100.0;
        println!("mean of {function} at level {level}: {off:+.2} % over {} windows", deviations.len());
        if mean.abs() >= worst.0 {
            worst = (mean.abs(), format!("the worst, {function} at level {level}, is off by {off:+.2} %"));
        }
    }
    verdict("means over windows within 1.5 %", held, groups.len(), &worst.1)
}

fn totals_hold(totals: &[Total]) -> bool {
    let held = totals.iter().filter(|total| total.deviation.is_some_and(|off| off.abs() <= TOTAL)).count();
    let known = totals.iter().filter_map(|total| Some((total.deviation?, &total.what)));
    let worst = known.max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
    let worst = worst.map_or("none has an account".into(), |(off, what)| {
        format!("the largest deviation, of {what}, is {:+.5} %", off * 100.0)
    });
    verdict("totals equal to the kernel's account within 0.1 %", held, totals.len(), &worst)
}

/// The total of the target in each window, and of each companion, against the account of its threads.
fn totals_of(run: &Run) -> Vec<Total> {
    let mut found: Vec<Total> = run.windows.iter().filter_map(|window| of_target(run, window)).collect();
    for companion in run.companions() {
        let seen = run.clone().seen_from(companion);
        for window in &seen.windows {
            let Some(shown) = shown(window) else { continue };
            let account = window.account.as_ref().map(|account| account.cpu() as f64);
            let what = format!("{companion} in {}", window.id().directory());
            beside(run, window, companion, account);
            found.push(Total { what, deviation: account.map(|account| shown / account - 1.0) });
        }
    }
    found
}

/// ns of all that a table shows; `None`: nothing was sampled.
fn shown(window: &Window) -> Option<f64> {
    let view = window_view(window, &ViewOptions::default())?;
    Some(view.profile.total(view.column) as f64)
}

fn of_target(run: &Run, window: &Window) -> Option<Total> {
    let (shown, scheduler) = (shown(window)?, window.scheduler.as_ref()?);
    // By batch the account is of the window itself; else readings and samples cover nearly the same seconds.
    let scale = window.profile_span().seconds() / scheduler.span.seconds();
    let target = scheduler.threads.iter().filter(|thread| thread.role == Role::Target);
    let account = |thread: &ThreadDelta| match thread.switched_by_batch.is_empty() {
        true => thread.accounted().map(|nanos| nanos as f64 * scale),
        false => Some(thread.switched_by_batch.iter().sum::<u64>() as f64),
    };
    let account: f64 = target.filter_map(account).sum();
    let what = format!("the target in {} of {}", window.id().directory(), run.manifest.id);
    Some(Total { what, deviation: (account > 0.0).then(|| shown / account - 1.0) })
}

/// The two accounts that the kernel has of a companion, of which the one is by its context switches.
fn beside(run: &Run, window: &Window, companion: &str, account: Option<f64>) {
    let (Some(scheduler), Some(account), Some(own)) = (&window.scheduler, account, &window.account) else { return };
    let pids: BTreeSet<u32> = own.threads.iter().map(|thread| thread.pid).collect();
    let read = scheduler.threads.iter().filter(|thread| thread.role == Role::Other && pids.contains(&thread.pid));
    let read = read.map(|thread| thread.cpu as f64).sum::<f64>() * own.span.seconds() / scheduler.span.seconds();
    println!(
        "{} {} {companion}: {:.4} s by its context switches, {:.4} s by schedstat: {:+.2} % ({} threads)",
        run.manifest.id,
        window.id().directory(),
        account / 1e9,
        read / 1e9,
        (read / account - 1.0) * 100.0,
        own.threads.len()
    );
}

/// Calls and CPU of a plant in the window, by its own count.
fn published(window: &Window, name: &str, plant: &str) -> Option<f64> {
    let labels = BTreeMap::from([("plant".to_string(), plant.to_string())]);
    match window.metrics.as_ref()?.series.get(&Series { name: name.into(), labels })? {
        Change::Counter { delta, .. } => Some(*delta),
        _ => None,
    }
}

fn plants(run: &Run, window: &Window, cells: &mut Vec<Cell>) {
    let Some(view) = window_view(window, &ViewOptions::default()) else { return };
    let (profile, cpu_column) = (view.profile.as_ref(), view.column);
    for (plant, function) in [
        ("cpu:peek", "planted_peek_work"),
        ("cpu:outside", "planted_outside_work"),
        ("cpu:oracle", "planted_oracle_work"),
    ] {
        let (Some(calls), Some(cpu)) = (
            published(window, "wireprof_plant_calls_total", plant),
            published(window, "wireprof_plant_cpu_seconds_total", plant),
        ) else {
            continue;
        };
        let inside = |s: &&wireprof::profile::Sample| {
            profile.walk(s.stack).any(|f| profile.frames[f.index()].name.contains(function))
        };
        let all = profile.samples.iter().filter(inside).count() as f64;
        // What interrupted the function while it spun lies on its stack too, but is not what was planted.
        let interrupted = |s: &&wireprof::profile::Sample| {
            // Entries of interrupts, arch/x86/include/asm/idtentry.h; system calls of the function's own stay with it.
            profile.walk(s.stack).map(|f| &profile.frames[f.index()]).any(|f| {
                f.space == Space::Kernel && (f.name.starts_with("asm_sysvec_") || f.name.starts_with("irqentry_"))
            })
        };
        let samples = all - profile.samples.iter().filter(inside).filter(interrupted).count() as f64;
        let weight = |samples: &mut dyn Iterator<Item = &wireprof::profile::Sample>| {
            samples.map(|sample| sample.values[cpu_column] as f64).sum::<f64>() / 1e3 / calls
        };
        let whole = weight(&mut profile.samples.iter().filter(inside));
        let found = whole - weight(&mut profile.samples.iter().filter(inside).filter(interrupted));
        let (planted, error) = (cpu / calls * 1e6, 1.0 / samples.max(1.0).sqrt());
        let deviation = found / planted - 1.0;
        let bound = CELL.max(2.0 * error);
        cells.push(Cell { function, level: window.id().level, deviation, bound });
        println!(
            "{} {:<9} {plant:<12} planted {planted:.2} us a call, found {found:.2}: {:+.1} % ({samples:.0} samples, \
                one standard error {:.1} %; {whole:.2} with what interrupted it) {}",
            run.manifest.id,
            window.id().directory(),
            deviation * 100.0,
            error * 100.0,
            if deviation.abs() <= bound { "" } else { "!" }
        );
    }
}

/// A level's planted lock: its own measured wait a query against spinning, blocked and runnable time under it. Under
/// 10 % is asked for.
fn lock(run: &Run) -> anyhow::Result<()> {
    // ResourceKind it and waking the next one are no waiting.
    let (within, except) = ([Regex::new("planted_lock$")?], [Regex::new(r"planted_lock_hold|futex_wake$")?]);
    let kinds = WaitKinds::of(&Preset::built_in("testbed")?);
    for (level, windows) in run.levels() {
        let Some(found) = waits(run, level, &kinds, &within, &except) else { continue };
        let wait: Option<f64> = windows.iter().map(|w| published(w, "wireprof_plant_wait_seconds_total", "lock")).sum();
        let calls: Option<f64> = windows.iter().map(|w| published(w, "wireprof_plant_calls_total", "lock")).sum();
        let (Some(wait), Some(calls)) = (wait, calls.filter(|calls| *calls > 0.0)) else { continue };
        let planted = wait / calls * 1e6;
        let [spin, blocked, runnable] =
            [found.on_cpu.unwrap_or(f64::NAN), found.blocked(), found.runnable].map(|ns| ns / 1e3);
        let deviation = (spin + blocked + runnable) / planted - 1.0;
        println!(
            "{} level {level:<4} lock: waited {planted:.3} us a query by its own clock; found {:.3}: on CPU \
                {spin:.3}, blocked {blocked:.3}, \
             runnable {runnable:.3}: {:+.1} % {}",
            run.manifest.id,
            spin + blocked + runnable,
            deviation * 100.0,
            if deviation.abs() <= 0.10 { "" } else { "!" }
        );
    }
    Ok(())
}

/// Threads of one role: `tokio:work-1` and `tokio:work-0` are one group.
fn group(process: &str, thread: &str) -> String {
    format!("{process}/{}", thread.trim_end_matches(|c: char| c.is_ascii_digit()))
}

fn groups(window: &Window, ratios: &mut BTreeMap<String, Vec<(f64, f64)>>) {
    let (Some(profile), Some(scheduler)) = (&window.profile, &window.scheduler) else { return };
    let Some(cpu) = profile.column(&ColumnKind::Cpu) else { return };
    let mut sampled: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for sample in &profile.samples {
        let labels = &profile.labels[sample.labels.index()];
        let entry = sampled.entry(group(&labels.process, &labels.thread)).or_default();
        entry.0 += sample.values[cpu] as f64;
        entry.1 += 1.0;
    }
    let mut accounted: BTreeMap<String, f64> = BTreeMap::new();
    for thread in scheduler.threads.iter().filter(|t| t.role == Role::Target) {
        *accounted.entry(group(&thread.process, &thread.thread)).or_default() +=
            thread.switched.unwrap_or(thread.cpu) as f64;
    }
    let (rate, seconds) = (window.profile_span().seconds(), scheduler.span.seconds());
    for (group, cpu) in accounted.into_iter().filter(|(_, cpu)| *cpu > 0.02 * scheduler.span.nanos() as f64) {
        let (nanos, samples) = sampled.get(&group).copied().unwrap_or_default();
        let (sampled, accounted) = (nanos / 1e9 / rate * seconds, cpu / 1e9);
        let (deviation, bound) = (sampled / accounted - 1.0, 0.02 + 2.0 / samples.max(1.0).sqrt());
        println!(
            "{:<9} {group:<24} sampled {sampled:.3} s, accounted {accounted:.3} s in {seconds:.1} s: {:+.2} % (bound \
                {:.2} %), stolen {:.3} s {}",
            window.id().directory(),
            deviation * 100.0,
            bound * 100.0,
            scheduler.machine.as_ref().map_or(f64::NAN, |machine| machine.steal as f64 / 1e9),
            if deviation.abs() <= bound { "" } else { "!" }
        );
        ratios.entry(group).or_default().push((sampled, accounted));
    }
}
