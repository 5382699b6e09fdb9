//! The machine's CPUs: which are online, and whether they count their own cycles. Invariant: asking changes nothing.

use perf_event::Builder;
use perf_event::events::Hardware;

/// Length of a clock tick of `/proc/stat` in ns (USER_HZ is 100 on Linux).
pub(super) const TICK: u64 = 10_000_000;

/// Whether this host has hardware cycle counters that can be used; asked by opening one on this process.
pub fn has_pmu() -> bool {
    let mut builder = Builder::new(Hardware::CPU_CYCLES);
    builder.observe_self().any_cpu().build().is_ok()
}

/// Numbers of the CPUs that are online, ascending (`/sys/devices/system/cpu/online`); CPU 0 where that cannot be read.
pub fn online_cpus() -> Vec<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_else(|_| "0".into());
    listed(text.trim())
}

/// Numbers of the CPUs that this process may run on, ascending (`/proc/self/status`); those that are online where that
/// cannot be read.
pub fn allowed_cpus() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.map_or_else(online_cpus, |list| listed(list.trim()))
}

/// ns that these CPUs were idle since boot, those that waited for a device included (`/proc/stat`, in ticks of 10 ms);
/// `None`: not told of one of them.
pub fn idle(cpus: &[usize]) -> Option<u64> {
    idle_of(&std::fs::read_to_string("/proc/stat").ok()?, cpus)
}

fn idle_of(stat: &str, cpus: &[usize]) -> Option<u64> {
    let of_cpu = |cpu: &usize| {
        let name = format!("cpu{cpu}");
        let mut fields = stat
            .lines()
            .map(str::split_whitespace)
            .find_map(|mut line| (line.next() == Some(&name)).then_some(line))?;
        // user, nice, system, idle, iowait (proc_stat(5)).
        let idle: u64 = fields.nth(3)?.parse().ok()?;
        Some((idle + fields.next()?.parse::<u64>().ok()?) * TICK)
    };
    cpus.iter().map(of_cpu).sum()
}

/// The numbers of a list such as `0-3,8` (Documentation/admin-guide/cputopology.rst).
fn listed(text: &str) -> Vec<usize> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(from), Ok(to)) = (from.parse::<usize>(), to.parse::<usize>()) {
            cpus.extend(from..=to);
        }
    }
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_that_of_the_cpus_that_are_asked_for() {
        let stat = "cpu  10 1 5 100 3 2 4 7 0 0\ncpu0 5 0 2 50 1 1 2 3 0 0\ncpu1 5 1 3 60 2 1 2 4 0 0\n\
                    cpu10 5 1 3 70 0 1 2 4 0 0\nintr 5\n";
        assert_eq!(idle_of(stat, &[0]), Some(51 * TICK));
        assert_eq!(idle_of(stat, &[1, 10]), Some(132 * TICK));
        assert_eq!(idle_of(stat, &[0, 2]), None, "what is not told is not 0");
        assert!(idle(&allowed_cpus()).is_some());
    }

    #[test]
    fn ranges_and_single_cpus_are_listed() {
        assert_eq!(listed("0-2,5,7-8"), [0, 1, 2, 5, 7, 8]);
        assert_eq!(listed("0"), [0]);
        assert!(online_cpus().contains(&0) || !online_cpus().is_empty());
    }
}
