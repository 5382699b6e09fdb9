//! Which checks a window gets, and where their evidence comes from. Pure.

use crate::analyze::cost::accounted::SAME_SPAN;
use crate::analyze::cost::quantities::Inputs;
use crate::analyze::judge::summary::FEW;
use crate::analyze::time::places::latency_at_sockets;
use crate::check::{Check, Status, bound};
use crate::clock::{ClockRelation, Span};
use crate::load::{Generator, HostCpus, HostLoad, LoadTrace, LoopKind};
use crate::metrics::{Change, MetricsDelta};
use crate::preset::Preset;
use crate::profile::ColumnKind;
use crate::run::{Manifest, Part, Window};
use crate::target::{MachineDelta, Role, SchedulerDelta};
use crate::wire::Place;
use crate::words::time;

/// All checks of a window, those not checkable included. `window.checks` is not looked at.
pub fn check_window(preset: &Preset, manifest: &Manifest, window: &Window) -> Vec<Check> {
    let mut checks = load(window);
    checks.extend(places(window));
    checks.extend(other_clients(window));
    checks.extend(server(preset, window));
    checks.extend(sampling(manifest, window));
    checks.extend(seen(window));
    match &window.scheduler {
        Some(scheduler) => checks.extend(machine(scheduler, &window.load)),
        None => {
            checks.push(unchecked("the machine's and the threads' CPU", window.facts.why_without(&Part::Scheduler)));
        }
    }
    checks.extend(carriers(window));
    checks.push(restarted(manifest, window));
    // Where other hosts drive the load, their clocks count, not that of the one that conducts.
    checks.extend(window.facts.clocks.filter(|_| window.load.hosts.is_empty()).map(|clocks| Check::HostClocks {
        bound: clocks.relation.bound,
        offset: clocks.relation.offset,
        drift: clocks.relation.drift,
        round_trip: clocks.relation.round_trip,
        nanos: window.facts.span.nanos(),
    }));
    checks.extend(window.load.hosts.iter().flat_map(|host| of_load_host(window, host)));
    checks.push(match window.facts.skew {
        Some(skew) => Check::Skew { skew },
        None => unchecked("skew of the scrapes", window.facts.why_without(&Part::Metrics)),
    });
    checks
}

/// Where the sockets were followed: whether others asked the server.
fn other_clients(window: &Window) -> Option<Check> {
    let hop = window.wire.as_ref()?.load()?;
    Some(match hop.others {
        Some(others) => {
            Check::OtherClients { connections: others.connections, others: others.queries, own: hop.queries }
        }
        None => unchecked("other clients of the server", "which of the connections are the load's is not known"),
    })
}

/// Where the sockets were followed and the client tells its latency: whether the parts fit the whole.
fn places(window: &Window) -> Option<Check> {
    let hop = window.wire.as_ref()?.load()?;
    let latency = latency_at_sockets(window).filter(|_| window.load.rate.is_none())?;
    let places = Place::EVERY.into_iter().filter(|place| *place != Place::Client).map(|place| hop.mean(place));
    Some(Check::PlacesSum { places: places.sum::<Option<f64>>()?, latency, in_generator: in_generator(window) })
}

/// ns a query in the generator's own memory: through io_uring the kernel reads answers before they are handled, and
/// requests wait to be sent with others.
fn in_generator(window: &Window) -> Option<f64> {
    let generator = &window.load.generator;
    let through = generator.through.as_ref().filter(|through| through.through == LoopKind::IoUring);
    let delay = through.and(generator.dispatch_delay)?;
    (window.load.completed > 0).then(|| delay as f64 / window.load.completed as f64)
}

fn unchecked(what: &str, why: impl Into<String>) -> Check {
    Check::Unchecked { what: what.to_string(), why: why.into() }
}

/// The check, unless the window says that what it needs was not measured.
fn measured(window: &Window, part: &Part, what: &str, check: Check) -> Check {
    match window.facts.lacks(part) {
        Some(missing) => unchecked(what, missing.why.clone()),
        None => check,
    }
}

/// What the client saw.
fn load(window: &Window) -> Vec<Check> {
    let load = &window.load;
    let completed = load.completed;
    let gap = match (load.rate, load.mean_latency()) {
        (Some(_), _) => unchecked(GAP, "an open loop has none: its latencies count from the schedule"),
        (None, None) => unchecked(GAP, "the driver does not tell the latencies' sum"),
        (None, Some(mean_latency)) => gap(load, mean_latency),
    };
    // Of several hosts each has its own.
    let cpu = load.hosts.is_empty().then(|| generator_cpu(&load.generator, completed, load.span));
    let worst = load.errors.iter().filter(|e| !e.accepted).max_by_key(|e| e.count);
    let first = worst.map(|e| format!("{} {} ({} times)", e.sqlstate, e.message, e.count)).unwrap_or_default();
    let rows = Check::WrongRows { wrong: load.wrong_rows, completed };
    let rows = measured(window, &Part::RowCounts, "row counts", rows);
    let lost = Check::SessionsLost { lost: load.sessions.lost, opened: load.sessions.opened };
    let lost = measured(window, &Part::Sessions, "sessions that the client lost", lost);
    let errors = Check::Errors { errors: load.error_count(), completed, first: first.trim().to_string() };
    let errors = measured(window, &Part::Errors, "failed queries", errors);
    std::iter::once(gap).chain(cpu).chain([errors, rows, lost]).collect()
}

/// The time that clients had no query under way, as far as queries tell: the time of failed ones is not known, and of
/// those at the window's ends it is not known how much lies within.
fn gap(load: &LoadTrace, mean_latency: f64) -> Check {
    let (throughput, span) = (load.throughput(), load.span.nanos() as f64);
    let check = Check::GeneratorGap { connections: load.connections, throughput, mean_latency };
    // Errors that the workload accepts take time as well.
    let failed = load.errors.iter().map(|error| error.count).sum::<u64>() as f64;
    let all = failed + load.completed as f64;
    let gap = (1.0 - throughput * mean_latency / 1e9 / load.connections as f64).abs();
    if check.status() == Status::Pass {
        check
    } else if failed >= FEW * all {
        let share = 100.0 * failed / all;
        unchecked(GAP, format!("{share:.0} % of the queries failed, and how long those took is not known"))
    } else if gap <= bound::GENERATOR_GAP + mean_latency / span {
        // Each client may have one such query more, or less.
        let (latency, span) = (time(mean_latency), time(span));
        unchecked(GAP, format!("a query takes {latency} of the window's {span}: measure longer (--window)"))
    } else {
        check
    }
}

const GAP: &str = "the generator's gap";

/// Whether a load generator had CPU to spare.
fn generator_cpu(generator: &Generator, completed: u64, span: Span) -> Check {
    match generator.cpu.filter(|_| generator.threads > 0) {
        Some(cpu) => Check::GeneratorCpu {
            cpu,
            threads: generator.threads,
            busiest: generator.busiest,
            no_room: generator.choice.is_some_and(|choice| choice.no_room()),
            nanos: span.nanos(),
            delay_per_query: generator.dispatch_delay.filter(|_| completed > 0).map(|d| d as f64 / completed as f64),
        },
        None => unchecked("the generator's CPU", "the driver does not tell it"),
    }
}

/// The checks of one of several hosts that drive the load. The window is cut by the target's clock: what is known of
/// that and of the host's, each by the conductor's, is added.
fn of_load_host(window: &Window, host: &HostLoad) -> Vec<Check> {
    let span = window.load.span;
    let mut checks = vec![generator_cpu(&host.generator, host.completed, span)];
    checks.push(match host.cpus {
        Some(HostCpus { busy, capacity }) => Check::MachineBusy { busy, capacity },
        None => unchecked("CPU of the whole machine and steal", NO_STAT),
    });
    if let (None, Some(sum), true) = (window.load.rate, host.latency_sum, host.completed > 0) {
        checks.push(Check::GeneratorGap {
            connections: host.connections,
            throughput: host.completed as f64 / span.seconds(),
            mean_latency: sum as f64 / host.completed as f64,
        });
    }
    let target = window.facts.clocks.map(|clocks| clocks.relation);
    let of_target = |value: fn(&ClockRelation) -> u64| target.as_ref().map_or(0, value);
    checks.push(Check::HostClocks {
        bound: host.clocks.bound + of_target(|relation| relation.bound),
        offset: target.map_or(0, |relation| relation.offset) - host.clocks.offset,
        drift: target.map_or(0.0, |relation| relation.drift) - host.clocks.drift,
        round_trip: host.clocks.round_trip + of_target(|relation| relation.round_trip),
        nanos: window.facts.span.nanos(),
    });
    let named = |check| Check::OfLoadHost { host: host.host.clone(), check: Box::new(check) };
    checks.into_iter().map(named).collect()
}

/// What the preset expects of the server's own metrics.
fn server(preset: &Preset, window: &Window) -> Vec<Check> {
    let inputs = Inputs::of(window);
    let mut checks = Vec::new();
    if let Some(focus) = &preset.checks.focus {
        checks.push(match inputs.number(&focus.value) {
            Ok(value) => {
                Check::Focus { name: focus.name.clone(), value, at_least: focus.at_least, remedy: focus.remedy.clone() }
            }
            Err(why) => unchecked(&focus.name, why),
        });
    }
    for churn in &preset.checks.churn {
        let values = inputs.number(&churn.value).and_then(|value| Ok((value, inputs.number(&churn.at_most)?)));
        checks.push(match values {
            Ok((value, at_most)) => {
                Check::ServerChurn { name: churn.name.clone(), unit: churn.unit.clone(), value, at_most }
            }
            Err(why) => unchecked(&churn.name, why),
        });
    }
    checks
}

/// Whether the samples are all there, whole and named.
fn sampling(manifest: &Manifest, window: &Window) -> Vec<Check> {
    let Some(sampling) = &window.sampling else {
        return vec![unchecked("samples", window.facts.why_without(&Part::Profile))];
    };
    let lost = Check::LostSamples { lost: sampling.lost, throttled: sampling.throttled, recorded: sampling.recorded };
    let lost = measured(window, &Part::LostSamples, "lost samples", lost);
    let complete = match sampling.complete {
        Some(_) if sampling.samples == 0 => unchecked("share of complete stacks", "there is no sample"),
        Some(complete) => {
            Check::CompleteStacks { complete, samples: sampling.samples, reasons: sampling.incomplete.clone() }
        }
        None => unchecked("share of complete stacks", "the recording does not say where a stack ends"),
    };
    let symbols = Check::Symbols {
        symbolized: sampling.symbolized,
        executable: manifest.target.symbols,
        misses: sampling.misses.clone(),
    };
    vec![lost, complete, symbols, sampled_cpu(window)]
}

/// Whether anything of the target was seen, where anything watched it and queries were answered.
fn seen(window: &Window) -> Option<Check> {
    let seen = window.seen();
    let watched = seen.accounted.is_some() || seen.samples.is_some() || seen.waits.is_some();
    (watched && seen.completed > 0).then_some(Check::TargetSeen(seen))
}

/// Where carriers were followed: whether all of them were, by the sockets in the same seconds, and all events.
fn carriers(window: &Window) -> Vec<Check> {
    let Some(facts) = window.hands.as_ref().map(|hands| &hands.facts) else { return Vec::new() };
    let (carried, report) = (&facts.carried, &facts.report);
    let at_once = |nanos: u64, of: u64| nanos as f64 / of as f64;
    // The two spans differ by what the readings at their ends take.
    let time = match facts.at_sockets.filter(|sockets| sockets.nanos > 0 && carried.span.nanos() > 0) {
        Some(sockets) => Check::CarriedTime {
            carried: at_once(carried.nanos, carried.span.nanos()),
            at_sockets: at_once(sockets.nanos, sockets.span),
        },
        None => unchecked(
            "the carriers' time against the sockets'",
            "the sockets were not followed in the same seconds, or saw no query",
        ),
    };
    vec![time, Check::LostEvents { lost: report.lost, events: report.events }]
}

/// The CPU that samples stand for against the scheduler's, both per second of their own interval.
fn sampled_cpu(window: &Window) -> Check {
    const WHAT: &str = "sampled CPU against the kernel's accounting";
    let (Some(profile), Some(scheduler)) = (&window.profile, &window.scheduler) else {
        return unchecked(WHAT, "it needs a profile and the scheduler's statistics");
    };
    let (Some(cpu), Some(samples)) = (profile.column(&ColumnKind::Cpu), window.sampling.as_ref().map(|s| s.samples))
    else {
        return unchecked(WHAT, "the profile's weights are not CPU time");
    };
    let (sampled, accounted) = (window.profile_span(), scheduler.span);
    if (sampled.seconds() / accounted.seconds() - 1.0).abs() > SAME_SPAN {
        let why = format!(
            "the samples cover {:.1} s and the accounting {:.1} s: not the same load",
            sampled.seconds(),
            accounted.seconds()
        );
        return unchecked(WHAT, why);
    }
    // The switches are the more exact account where there is one; see `ThreadDelta::switched`.
    let Some(target) = scheduler.switched(Role::Target).or_else(|| scheduler.cpu(Role::Target)) else {
        return unchecked(WHAT, window.facts.why_without(&Part::TargetCpu));
    };
    if samples == 0 || target == 0 {
        return unchecked(WHAT, "nothing of the target was sampled, or accounted to it");
    }
    // How far samples and accounting may part depends on the steal.
    let Some(machine) = &scheduler.machine else { return unchecked(WHAT, NO_STAT) };
    Check::SampledCpu {
        sampled: profile.total(cpu) as f64 / sampled.nanos() as f64,
        accounted: target as f64 / accounted.nanos() as f64,
        stolen: machine.steal as f64 / accounted.nanos() as f64,
        samples,
        user_space_only: window.sampling.as_ref().is_some_and(|report| report.user_space_only()),
    }
}

/// Why nothing is known of the machine as a whole.
const NO_STAT: &str = "/proc/stat could not be read";

/// Whether the machine left the target alone.
fn machine(scheduler: &SchedulerDelta, load: &LoadTrace) -> Vec<Check> {
    let nanos = scheduler.span.nanos();
    let mut checks = match &scheduler.machine {
        Some(machine) => whole_machine(scheduler, machine),
        None => vec![unchecked("CPU of the whole machine and steal", NO_STAT)],
    };
    if let Some(thread) = scheduler.busiest(Role::Target) {
        let (name, tid) = (thread.thread.clone(), thread.tid);
        let one_each = scheduler.one_each(Role::Target, load.under_way(load.mean_latency()), load.connections);
        checks.push(Check::BusiestThread { thread: name, tid, cpu: thread.cpu, nanos, one_each });
    }
    checks
}

fn whole_machine(scheduler: &SchedulerDelta, machine: &MachineDelta) -> Vec<Check> {
    let nanos = scheduler.span.nanos();
    let capacity = machine.cpus as u64 * nanos;
    let known: u64 = scheduler.threads.iter().map(|t| t.cpu).sum();
    // Where the kernel accounts interrupts apart they are charged to no thread, so they are not held against others.
    let others = machine.busy.saturating_sub(known + machine.interrupts);
    // Where the generator is not accounted for, what is left is mostly the generator.
    let generator = scheduler.threads.iter().any(|t| t.role == Role::Generator);
    vec![
        match generator {
            true => Check::OtherProcesses { others, capacity },
            false => unchecked("CPU of other processes", "the generator's own CPU is not in the accounting"),
        },
        Check::Steal { stolen: machine.steal, capacity },
        Check::MachineBusy { busy: machine.busy + machine.steal, capacity },
    ]
}

fn restarted(manifest: &Manifest, window: &Window) -> Check {
    let resets = window.metrics.as_ref().map_or(0, |m| m.resets().len());
    let restarted = |started: &str, now: &str| Check::TargetRestarted {
        started: started.to_string(),
        now: now.to_string(),
        resets,
    };
    match (&manifest.target.started, &window.facts.target_started) {
        (Some(started), Some(now)) => restarted(started, now),
        // A single counter may be set back by the server itself; a process that starts anew sets back most that move.
        _ if 2 * resets > window.metrics.as_ref().map_or(0, moving) => {
            restarted("before the first scrape", "after it, by its metrics")
        }
        _ => unchecked("that the target is the same process", window.facts.why_without(&Part::TargetStartTime)),
    }
}

/// Declared counters and histograms that changed between the scrapes.
fn moving(metrics: &MetricsDelta) -> usize {
    let moved = |change: &&Change| match change {
        Change::Counter { delta, .. } => *delta != 0.0,
        Change::Histogram { count, .. } => *count != 0.0,
        Change::Untyped { .. } | Change::Gauge { .. } => false,
    };
    metrics.series.values().filter(moved).count()
}
