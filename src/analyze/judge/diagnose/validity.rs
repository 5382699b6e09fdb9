//! Findings that a run is not what it seems: another code path, sessions that come and go, a generator or a machine that sets the
//! limit. Invariant: they rest on the stored guards and on accounting, never on the server's own figures of itself.

use super::{Case, Finding, GUARDS, Removal, SCHEDULER};
use crate::analyze::judge::diagnose::{Evidence, Holding};
use crate::check::{Guard, Verdict};
use crate::preset::Cause;

pub(super) fn findings(case: &Case) -> Vec<Finding> {
    let guards = || case.facts.windows.iter().flat_map(|window| &window.guards);
    let failing = |wanted: fn(&Guard) -> bool| {
        let failed: Vec<&Guard> = guards().filter(|g| wanted(g) && g.verdict() == Verdict::Fail).collect();
        (!failed.is_empty()).then_some(failed)
    };
    let mut found = Vec::new();
    if let Some(failed) = failing(|guard| matches!(guard, Guard::Focus { .. })) {
        found.push(of_guards(case, Cause::SlowPath, "Another code path than the one in focus was measured", &failed));
    }
    if let Some(failed) = failing(|guard| matches!(guard, Guard::ServerChurn { .. } | Guard::SessionsLost { .. })) {
        found.push(of_guards(case, Cause::Churn, "Sessions came and went while it was measured", &failed));
    }
    found.extend(generator(case));
    found.extend(other_processes(case));
    found
}

fn of_guards(case: &Case, cause: Cause, sentence: &str, failed: &[&Guard]) -> Finding {
    let evidence = failed.iter().filter_map(|guard| {
        let (what, value, unit) = match guard {
            Guard::Focus { name, value, .. } => (name.clone(), *value, "a query".to_string()),
            Guard::ServerChurn { name, unit, value, .. } => (name.clone(), *value, unit.clone()),
            Guard::SessionsLost { lost, .. } => ("sessions lost".into(), *lost as f64, "sessions".into()),
            _ => return None,
        };
        Some(Evidence { what, value, unit, level: case.facts.level, source: GUARDS.into() })
    });
    let said: Vec<String> = failed.iter().take(3).map(|guard| guard.to_string()).collect();
    Finding { evidence: evidence.take(4).collect(), ..Finding::new(cause, format!("{sentence}: {}.", said.join("; "))) }
}

/// The load threads have no time left.
fn generator(case: &Case) -> Option<Finding> {
    let generator = case.facts.generator?;
    let used = generator.on_cpu + generator.runnable;
    let sentence = format!(
        "The generator cannot ask faster: its {} threads are on a CPU, or wait for one, {:.0} % of the time.",
        generator.threads,
        100.0 * used
    );
    Some(Finding {
        removal: case.facts.cpu.map(|cpu| Removal {
            cpu: cpu.generator,
            held: vec![(Holding::Generator, generator.demand)],
            ..Removal::default()
        }),
        measure: Some((used, "time that the load threads are busy")),
        evidence: vec![
            case.share("load threads on a CPU", generator.on_cpu, "their time", SCHEDULER),
            case.share("load threads waiting for one", generator.runnable, "their time", SCHEDULER),
        ],
        ..Finding::new(Cause::Generator, sentence)
    })
}

/// Processes that are no part of the measurement.
fn other_processes(case: &Case) -> Option<Finding> {
    let cpu = case.facts.cpu?;
    let share = cpu.taken / cpu.cpus;
    let sentence =
        format!("Processes that are no part of the measurement take {:.2} of the {} CPUs.", cpu.taken, cpu.cpus);
    Some(Finding {
        removal: case.network.as_ref().map(|own| Removal { cpus: cpu.cpus - own.cpus, ..Removal::default() }),
        measure: Some((share, "of the machine, taken by others")),
        evidence: vec![
            case.share("CPU of others, stolen time included", share, "the machine", SCHEDULER),
            case.share("CPU in use", cpu.used, "the machine", SCHEDULER),
        ],
        ..Finding::new(Cause::OtherProcesses, sentence)
    })
}
