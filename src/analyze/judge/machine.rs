//! What the machine itself took from the measurement, and what the load generator had of it. Invariant: shares are of
//! the time of all its CPUs in the windows where that was read.

use crate::run::Run;
use crate::words::{counted, thousands, time};
use std::collections::BTreeMap;

/// How many threads drove the load at each level and through what, and why; none where another program drove it. And
/// what each host did, where several did.
pub fn load_thread_notes(run: &Run) -> Vec<String> {
    // Levels that are told in the same words are told together.
    let mut told: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (level, windows) in run.levels() {
        for generator in windows.iter().map(|window| &window.load.generator).filter(|of| of.threads > 0) {
            let reason = generator.choice.map(|choice| choice.reason(generator.threads)).unwrap_or_default();
            let through = generator.through.iter().map(|through| format!("; {}", through.told())).collect::<String>();
            let levels = told.entry(format!("{}{reason}{through}", generator.threads)).or_default();
            if levels.last() != Some(&level) {
                levels.push(level);
            }
        }
    }
    let mut told: Vec<(String, Vec<usize>)> = told.into_iter().collect();
    told.sort_by_key(|(_, levels)| levels.first().copied());
    let line = |(words, levels): (String, Vec<usize>)| {
        let numbers: Vec<String> = levels.iter().map(usize::to_string).collect();
        format!("load threads: {words} (level {})", numbers.join(", "))
    };
    told.into_iter().map(line).chain(load_host_notes(run)).collect()
}

/// What each host did where several drove the load, over all windows.
fn load_host_notes(run: &Run) -> Vec<String> {
    let mut hosts: BTreeMap<&str, (usize, u64, u64)> = BTreeMap::new();
    for host in run.windows.iter().flat_map(|window| &window.load.hosts) {
        let (clients, completed, bound) = hosts.entry(&host.host).or_default();
        *clients = (*clients).max(host.connections);
        *completed += host.completed;
        *bound = (*bound).max(host.clocks.bound);
    }
    let line = |(host, (clients, completed, bound)): (&str, (usize, u64, u64))| {
        let (clients, queries) = (counted(clients as u64, "client"), thousands(&completed.to_string()));
        let bound = time(bound as f64);
        format!("load host {host}: {clients} at most, {queries} queries; its clock known to {bound} at worst")
    };
    hosts.into_iter().map(line).collect()
}

/// How well the clocks of two hosts are known to relate, in the window where they are known worst.
fn clocks_of_hosts(run: &Run) -> Option<String> {
    let known = || run.windows.iter().filter_map(|window| Some((window.facts.clocks?.relation, window)));
    let (relation, worst) = known().max_by_key(|(relation, _)| relation.bound)?;
    Some(format!(
        "clocks of the two hosts: known to {} at worst ({}, shortest round trip {}) in {} of {} windows",
        time(relation.bound as f64),
        worst.id().directory(),
        time(relation.round_trip as f64),
        known().count(),
        run.windows.len()
    ))
}

/// The time that the hypervisor gave to others, over all windows and in the worst one; and where the load came from
/// another host, how well the two clocks are known.
pub fn machine_notes(run: &Run) -> Vec<String> {
    let mut windows = Vec::new();
    for window in &run.windows {
        let machine = window.scheduler.as_ref().and_then(|scheduler| scheduler.machine.as_ref());
        windows.extend(machine.map(|m| (m.steal, m.busy + m.idle + m.steal, window.id())));
    }
    let percent = |steal: u64, all: u64| 100.0 * steal as f64 / all as f64;
    windows.retain(|(_, all, _)| *all > 0);
    let (steal, all) = windows.iter().fold((0, 0), |sum, window| (sum.0 + window.0, sum.1 + window.1));
    let worst = windows.iter().max_by(|a, b| percent(a.0, a.1).total_cmp(&percent(b.0, b.1)));
    let note = match worst {
        Some((most, of, id)) => format!(
            "steal: {:.2} % of the CPUs' time in {} of {} windows, at most {:.2} % ({})",
            percent(steal, all),
            windows.len(),
            run.windows.len(),
            percent(*most, *of),
            id.directory()
        ),
        None => "steal: not measured: /proc/stat was not read".into(),
    };
    std::iter::once(note).chain(clocks_of_hosts(run)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{LoopChoice, ThreadChoice, WhyThreads};
    use crate::run::build;

    #[test]
    fn levels_with_the_same_number_for_the_same_reason_are_told_together() {
        let window = |level: usize, threads: usize, choice: Option<ThreadChoice>, through: bool| {
            let mut window = build::window(level, 1, 1, 1000, None);
            (window.load.generator.threads, window.load.generator.choice) = (threads, choice);
            let epoll = || LoopChoice::epoll(Some("connections are encrypted".into()));
            window.load.generator.through = through.then(epoll);
            window
        };
        let full = ThreadChoice { why: WhyThreads::CpusFull, busiest: Some(0.931), idle_cpus: Some(0.01) };
        let windows = vec![
            window(1, 1, Some(ThreadChoice::given()), true),
            window(16, 1, None, false),
            window(32, 1, None, false),
            window(64, 3, Some(full), false),
            window(128, 0, None, false),
        ];
        let run = build::run(windows);
        assert_eq!(
            load_thread_notes(&run),
            [
                "load threads: 1 as given; through epoll, as connections are encrypted (level 1)",
                "load threads: 1 (level 16, 32)",
                "load threads: 3, the busiest 93 % busy; no CPU was idle for another (level 64)",
            ]
        );
    }
}
