//! Findings that a run is not what it seems: another code path, sessions that come and go, a generator or a machine
//! that sets the limit. Invariant: they rest on the stored checks and on accounting, never on the server's own
//! figures of itself.

use super::{CHECKS, Candidate, Case, Removal, SCHEDULER};
use crate::analyze::judge::diagnose::{Evidence, ResourceKind};
use crate::check::{Check, Status};
use crate::preset::Cause;

pub(super) fn findings(case: &Case) -> Vec<Candidate> {
    let checks = || case.facts.windows.iter().flat_map(|window| &window.checks);
    let failing = |wanted: fn(&Check) -> bool| {
        let failed: Vec<&Check> = checks().filter(|g| wanted(g) && g.status() == Status::Fail).collect();
        (!failed.is_empty()).then_some(failed)
    };
    let mut found = Vec::new();
    if let Some(failed) = failing(|check| matches!(check, Check::Focus { .. })) {
        found.push(of_checks(case, Cause::SlowPath, &failed));
    }
    if let Some(failed) = failing(|check| matches!(check, Check::ServerChurn { .. } | Check::SessionsLost { .. })) {
        found.push(of_checks(case, Cause::Churn, &failed));
    }
    found.extend(generator(case));
    found.extend(other_processes(case));
    found
}

fn of_checks(case: &Case, cause: Cause, failed: &[&Check]) -> Candidate {
    let evidence = failed.iter().filter_map(|check| {
        let (what, value, unit) = match check {
            Check::Focus { name, value, .. } => (name.clone(), *value, "a query".to_string()),
            Check::ServerChurn { name, unit, value, .. } => (name.clone(), *value, unit.clone()),
            Check::SessionsLost { lost, .. } => ("sessions lost".into(), *lost as f64, "sessions".into()),
            _ => return None,
        };
        Some(Evidence { what, value, unit, level: case.facts.level, source: CHECKS.into() })
    });
    let said: Vec<String> = failed.iter().take(3).map(|check| check.to_string()).collect();
    Candidate {
        evidence: evidence.take(4).collect(),
        ..Candidate::new(cause, format!("By the checks: {}.", said.join("; ")))
    }
}

/// The load threads have no time left.
fn generator(case: &Case) -> Option<Candidate> {
    let generator = case.facts.generator?;
    let used = generator.on_cpu + generator.runnable;
    let threads = match generator.threads as u64 {
        1 => "its one thread is".to_string(),
        more => format!("its {more} threads are"),
    };
    let room = if generator.no_room { " No CPU was idle for more load threads." } else { "" };
    let sentence = format!(
        "The generator cannot ask faster: {threads} on a CPU, or waiting for one, {:.0} % of the time.{room}",
        100.0 * used
    );
    let more_threads = Removal { held: vec![(ResourceKind::Generator, generator.demand)], ..Removal::default() };
    Some(Candidate {
        removal: case.facts.cpu.map(|cpu| Removal { cpu: cpu.generator.unwrap_or(0.0), ..more_threads.clone() }),
        // On saturated CPUs all threads are awake: those of the generator are the limit only where more of them gain.
        at_least: Some(more_threads),
        measure: Some((used, "time that the load threads are busy")),
        evidence: vec![
            case.share("load threads on a CPU", generator.on_cpu, "their time", SCHEDULER),
            case.share("load threads waiting for one", generator.runnable, "their time", SCHEDULER),
        ],
        ..Candidate::new(Cause::Generator, sentence)
    })
}

/// Processes that are no part of the measurement.
fn other_processes(case: &Case) -> Option<Candidate> {
    let cpu = case.facts.cpu?;
    let taken = cpu.taken?;
    let share = taken / cpu.cpus;
    let sentence = format!("Processes that are no part of the measurement take {taken:.2} of the {} CPUs.", cpu.cpus);
    Some(Candidate {
        removal: case.network.as_ref().map(|own| Removal { cpus: cpu.cpus - own.cpus, ..Removal::default() }),
        measure: Some((share, "of the machine, taken by others")),
        evidence: vec![
            case.share("CPU of others, stolen time included", share, "the machine", SCHEDULER),
            case.share("CPU in use", cpu.used, "the machine", SCHEDULER),
        ],
        ..Candidate::new(Cause::OtherProcesses, sentence)
    })
}
