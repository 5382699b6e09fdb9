//! The machine the measurement runs on. Invariant: what cannot be read is empty or `None`, never an error.

use super::cpus::{has_pmu, online_cpus};
use serde::{Deserialize, Serialize};

/// What the machine is. A stored run keeps it, and runs of unlike hosts are not compared silently.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Host {
    /// Host name; empty where it cannot be read.
    pub name: String,
    /// Release of the kernel, as `uname -r` prints it; empty where it cannot be read.
    pub kernel: String,
    /// The CPU's model name; the architecture where `/proc/cpuinfo` names none.
    pub cpu: String,
    /// CPUs that are online.
    pub cpus: usize,
    /// The CPU's own counters are usable.
    pub pmu: bool,
    /// Frequency governor of CPU 0 (`scaling_governor`); `None` where the host has none, as most virtual
    /// machines.
    pub governor: Option<String>,
    /// Bytes of memory (`MemTotal`); 0 where it cannot be read.
    pub memory_bytes: u64,
    /// Idle CPUs were kept from sleeping for this run.
    #[serde(default)]
    pub awake: bool,
}

/// Reads host name, kernel, CPU and memory from `/proc` and `/sys`.
pub fn host() -> Host {
    let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_string());
    let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_string())
    };
    let memory = read("/proc/meminfo").unwrap_or_default();
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    Host {
        name: read("/proc/sys/kernel/hostname").unwrap_or_default(),
        kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
        cpu: field("model name").unwrap_or_else(|| std::env::consts::ARCH.into()),
        cpus: online_cpus().len(),
        pmu: has_pmu(),
        governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        memory_bytes: total.map_or(0, |kib: u64| kib * 1024),
        awake: false,
    }
}

/// Whether this kernel runs under a hypervisor, by the CPU's own word (CPUID leaf 1, ECX bit 31); `None`: the
/// architecture does not tell.
pub fn virtual_machine() -> Option<bool> {
    flagged_virtual(&std::fs::read_to_string("/proc/cpuinfo").ok()?)
}

fn flagged_virtual(cpuinfo: &str) -> Option<bool> {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    Some(flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_tells_that_it_is_virtual_and_one_without_flags_tells_nothing() {
        assert_eq!(flagged_virtual("model name : x\nflags\t\t: fpu hypervisor lm\n"), Some(true));
        assert_eq!(flagged_virtual("flags\t\t: fpu lm\nbugs : hypervisor\n"), Some(false));
        assert_eq!(flagged_virtual("processor : 0\nFeatures : fp asimd\n"), None);
    }
}
