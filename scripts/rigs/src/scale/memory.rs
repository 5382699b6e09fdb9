//! Memory of this process, and of the kernel's programs on its behalf. Invariant: bytes, as the kernel accounts them.

use anyhow::{Context, Result, ensure};

/// Bytes of a field of `/proc/self/status` (proc_pid_status(5)): `RssAnon`, `VmHWM`.
pub fn status(field: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()).with_context(|| format!("no {field}"))?;
    Ok(kilobytes.parse::<f64>()? * 1024.0)
}

/// Bytes of the maps that this process holds open: those that are the same on every machine, and those of which each
/// CPU has one, for one CPU (`memlock` of proc_pid_fdinfo(5)).
pub fn maps() -> Result<(f64, f64)> {
    /// Numbers of `enum bpf_map_type` of which each possible CPU has its own values.
    const EACH_CPU: [u32; 2] = [5, 6];
    let cpus = possible_cpus()?;
    let (mut common, mut each) = (0.0, 0.0);
    for entry in std::fs::read_dir("/proc/self/fdinfo")? {
        let Ok(text) = std::fs::read_to_string(entry?.path()) else { continue };
        let field = |name: &str| -> Option<f64> {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
        };
        let (Some(kind), Some(bytes)) = (field("map_type"), field("memlock")) else { continue };
        match EACH_CPU.contains(&(kind as u32)) {
            true => each += bytes / cpus as f64,
            false => common += bytes,
        }
    }
    Ok((common, each))
}

/// CPU seconds of the children that have ended, and the peak memory of the largest of them in MB (getrusage(2)).
pub fn children() -> Result<(f64, f64)> {
    // SAFETY: plain numbers, of which all zeros are some.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes the one structure that it is given.
    ensure!(unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) } == 0, "getrusage");
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok((seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_maxrss as f64 / 1e3))
}

/// CPUs that the machine can have.
pub fn possible_cpus() -> Result<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = text.trim().rsplit(['-', ',']).next().context("no CPU")?;
    Ok(last.parse::<usize>()? + 1)
}
