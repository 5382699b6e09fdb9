//! CPU a query by process: the server, the database behind it, the generator. Invariant: a process that was not seen at
//! a level has no value there; one that was seen and idle has 0.

use crate::analyze::judge::summary::per_query;
use crate::run::Run;
use crate::target::{Role, SchedulerDelta};
use std::collections::{BTreeMap, BTreeSet};

/// All processes of one role and name, by level.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessCost {
    /// The part that the processes have in the measurement.
    pub role: Role,
    /// Name that the processes share.
    pub process: String,
    /// ns of CPU a query, and ns a query that its threads were runnable and waited for a CPU.
    pub levels: BTreeMap<usize, (f64, f64)>,
}

/// Processes by role, those with the most CPU at the last level first; empty without scheduler statistics.
pub fn processes(run: &Run) -> Vec<ProcessCost> {
    let threads = run.windows.iter().filter_map(|w| w.scheduler.as_ref()).flat_map(|s| &s.threads);
    let names: BTreeSet<(Role, &str)> = threads.map(|t| (t.role, t.process.as_str())).collect();
    let mut found: Vec<ProcessCost> = names.into_iter().map(|(role, process)| cost(run, role, process)).collect();
    let last = |cost: &ProcessCost| cost.levels.last_key_value().map_or(0.0, |(_, (cpu, _))| *cpu);
    found.sort_by(|a, b| a.role.cmp(&b.role).then(last(b).total_cmp(&last(a))));
    found
}

fn cost(run: &Run, role: Role, process: &str) -> ProcessCost {
    let sum = |scheduler: &SchedulerDelta, nanos: fn(&crate::target::ThreadDelta) -> u64| {
        Some(scheduler.threads.iter().filter(|t| t.role == role && t.process == process).map(nanos).sum())
    };
    let mut levels = BTreeMap::new();
    for (level, windows) in run.levels() {
        let scheduled = windows.iter().filter_map(|w| w.scheduler.as_ref());
        let seen = scheduled.flat_map(|s| &s.threads).any(|t| t.role == role && t.process == process);
        let both = (per_query(&windows, |s| sum(s, |t| t.cpu)), per_query(&windows, |s| sum(s, |t| t.runnable)));
        if let ((Some(cpu), Some(runnable)), true) = (both, seen) {
            levels.insert(level, (cpu, runnable));
        }
    }
    ProcessCost { role, process: process.to_string(), levels }
}
