//! The machine the measurement runs on.

use crate::run::Host;
use crate::sample::perf::{self, events};

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
        cpus: events::online_cpus().len(),
        pmu: perf::has_pmu(),
        governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        memory_bytes: total.map_or(0, |kib: u64| kib * 1024),
        awake: false,
    }
}
