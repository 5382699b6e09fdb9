//! The machine's CPUs: which are online, and whether they count their own cycles. Invariant: asking changes nothing.

use perf_event::Builder;
use perf_event::events::Hardware;

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
    fn ranges_and_single_cpus_are_listed() {
        assert_eq!(listed("0-2,5,7-8"), [0, 1, 2, 5, 7, 8]);
        assert_eq!(listed("0"), [0]);
        assert!(online_cpus().contains(&0) || !online_cpus().is_empty());
    }
}
