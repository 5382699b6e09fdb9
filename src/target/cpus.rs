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
    online().unwrap_or_else(|| vec![0])
}

fn online() -> Option<Vec<usize>> {
    Some(listed(std::fs::read_to_string("/sys/devices/system/cpu/online").ok()?.trim()))
}

/// Numbers of the CPUs that are online and that this process may run on, ascending (`/proc/self/status`); all that are
/// online where that cannot be read.
pub fn allowed_cpus() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    allowed_of(&status, online()).unwrap_or_else(online_cpus)
}

/// The kernel lists CPUs that are offline, or were never there, among those that a process may use.
fn allowed_of(status: &str, online: Option<Vec<usize>>) -> Option<Vec<usize>> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let allowed = listed(list.trim()).into_iter();
    Some(allowed.filter(|cpu| online.as_ref().is_none_or(|online| online.contains(cpu))).collect())
}

/// ns that these CPUs were idle since boot, those that waited for a device included (`/proc/stat`, in ticks of 10 ms).
/// It has no line of a CPU that is offline; `None`: it has none of any of them.
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
    cpus.iter().filter_map(of_cpu).reduce(|sum, idle| sum + idle)
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
        assert_eq!(idle_of(stat, &[0, 2]), Some(51 * TICK), "CPU 2 is offline");
        assert_eq!(idle_of(stat, &[2, 3]), None, "what is not told is not 0");
        assert_eq!(idle_of(stat, &[]), None);
        assert!(idle(&allowed_cpus()).is_some());
    }

    #[test]
    fn a_cpu_that_is_offline_is_none_that_may_be_used() {
        let status = "Name:\twireprof\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\nMems_allowed_list:\t0\n";
        assert_eq!(allowed_of(status, Some(vec![0, 1, 5])), Some(vec![0, 1, 5]));
        assert_eq!(allowed_of(status, Some(vec![1, 9])), Some(vec![1]));
        assert_eq!(allowed_of(status, None), Some((0..8).collect()), "which are online is not told");
        assert_eq!(allowed_of("Name:\twireprof\n", Some(vec![0])), None);
        assert!(!allowed_cpus().is_empty());
    }

    #[test]
    fn ranges_and_single_cpus_are_listed() {
        assert_eq!(listed("0-2,5,7-8"), [0, 1, 2, 5, 7, 8]);
        assert_eq!(listed("0"), [0]);
        assert!(online_cpus().contains(&0) || !online_cpus().is_empty());
    }
}
