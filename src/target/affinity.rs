//! How many CPUs the server may use, where those are fewer than the machine has: by the affinity of its threads, and by
//! the quotas of its cgroups. Invariant: what cannot be read limits nothing, and asking changes nothing.

use std::fs::read_to_string;
use std::path::Path;

/// The CPUs that a thread may run on, of those that are online; 0 is the calling thread. `None`: there is no such
/// thread, or the machine has more CPUs than the set holds (1,024).
pub fn affinity(tid: u32) -> Option<libc::cpu_set_t> {
    let tid = libc::pid_t::try_from(tid).ok()?;
    // SAFETY: cpu_set_t is an array of integers, for which all zeroes are valid; the call fills at most its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        (libc::sched_getaffinity(tid, size_of::<libc::cpu_set_t>(), &mut set) == 0).then_some(set)
    }
}

/// The CPUs that a process with these threads may use at once, of `online`; `None`: all of them.
pub(super) fn cpus_for(pid: u32, tids: impl Iterator<Item = u32>, online: usize) -> Option<f64> {
    let groups = read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let quota = quota(Path::new("/sys/fs/cgroup"), &groups).unwrap_or(f64::INFINITY);
    let least = quota.min(allowed(tids, online) as f64);
    (least < online as f64).then_some(least)
}

/// The number of CPUs that at least one of the threads may run on. Of a server that is not bound, one thread is asked.
fn allowed(tids: impl Iterator<Item = u32>, online: usize) -> usize {
    let mut allowed = vec![false; libc::CPU_SETSIZE as usize];
    let mut number = 0;
    for set in tids.filter_map(affinity) {
        for (cpu, allowed) in allowed.iter_mut().enumerate().filter(|(_, allowed)| !**allowed) {
            // SAFETY: `cpu` is within the set's size.
            if unsafe { libc::CPU_ISSET(cpu, &set) } {
                *allowed = true;
                number += 1;
            }
        }
        if number >= online {
            return online;
        }
    }
    if number == 0 { online } else { number }
}

/// The least quota of a process's cgroups and of those around them, in CPUs, by the text of its `/proc/PID/cgroup`;
/// `None`: there is none (Documentation/admin-guide/cgroup-v2.rst, `cpu.max`; scheduler/sched-bwc.rst for version 1).
fn quota(mounted: &Path, groups: &str) -> Option<f64> {
    let of_line = |line: &str| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        // What lies outside of this cgroup namespace cannot be read from within.
        let path = Path::new(path.strip_prefix('/')?);
        let inside = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        let mount = match controllers {
            "" => mounted.join("unified"),
            some if some.split(',').any(|controller| controller == "cpu") => mounted.join(some),
            _ => return None,
        };
        let mount = if mount.is_dir() { mount } else { mounted.join(if controllers.is_empty() { "" } else { "cpu" }) };
        let around = path.ancestors().filter(|_| inside).map(|path| mount.join(path));
        around.filter_map(|group| of_group(&group)).reduce(f64::min)
    };
    groups.lines().filter_map(of_line).reduce(f64::min)
}

/// The quota of one cgroup.
fn of_group(group: &Path) -> Option<f64> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| *number > 0.0);
    let read = |name: &str| read_to_string(group.join(name)).ok();
    match read("cpu.max") {
        Some(text) => {
            let (quota, period) = text.trim().split_once(' ')?;
            Some(number(quota)? / number(period)?)
        }
        None => Some(number(&read("cpu.cfs_quota_us")?)? / number(&read("cpu.cfs_period_us")?)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};

    #[test]
    fn a_thread_that_is_bound_limits_its_process_unless_another_is_not() {
        let own = || {
            let (tell, told) = std::sync::mpsc::channel();
            let (end, ended) = std::sync::mpsc::channel::<()>();
            let thread = std::thread::spawn(move || {
                // SAFETY: gettid has no preconditions.
                tell.send(unsafe { libc::gettid() } as u32).unwrap();
                let _ = ended.recv();
            });
            (told.recv().unwrap(), end, thread)
        };
        let ((bound, _bound, _), (free, _free, _)) = (own(), own());
        let cpus = allowed([free].into_iter(), 4_096);
        let set = affinity(free).unwrap();
        let first = (0..libc::CPU_SETSIZE as usize).find(|cpu| {
            // SAFETY: within the set's size.
            unsafe { libc::CPU_ISSET(*cpu, &set) }
        });
        // SAFETY: all zeroes are a set, the CPU is within its size, and the thread lives.
        let refused = unsafe {
            let mut one: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(first.unwrap(), &mut one);
            libc::sched_setaffinity(bound as libc::pid_t, size_of::<libc::cpu_set_t>(), &one)
        };
        assert_eq!(refused, 0);
        assert_eq!(allowed([bound].into_iter(), 4_096), 1);
        assert_eq!(allowed([bound, free].into_iter(), 4_096), cpus);
        assert_eq!(allowed([u32::MAX, 0x7fff_fff0].into_iter(), 7), 7, "who cannot be asked limits nothing");
    }

    #[test]
    fn the_least_quota_of_all_cgroups_around_counts_in_both_versions() {
        let root = tempfile::tempdir().unwrap();
        let group = |path: &str, files: &[(&str, &str)]| {
            create_dir_all(root.path().join(path)).unwrap();
            files.iter().for_each(|(name, text)| write(root.path().join(path).join(name), text).unwrap());
        };
        group("pods/one/server", &[("cpu.max", "max 100000\n")]);
        group("pods/one", &[("cpu.max", "150000 100000\n")]);
        group("pods", &[("cpu.max", "400000 100000\n")]);
        assert_eq!(quota(root.path(), "0::/pods/one/server\n"), Some(1.5));
        assert_eq!(quota(root.path(), "0::/pods\n"), Some(4.0));
        assert_eq!(quota(root.path(), "0::/\n"), None);
        assert_eq!(quota(root.path(), "0::/../pods/one\n"), None);
        group("cpu,cpuacct/docker", &[("cpu.cfs_quota_us", "50000\n"), ("cpu.cfs_period_us", "100000\n")]);
        group("cpu,cpuacct", &[("cpu.cfs_quota_us", "-1\n"), ("cpu.cfs_period_us", "100000\n")]);
        assert_eq!(quota(root.path(), "5:memory:/docker\n4:cpu,cpuacct:/docker\n0::/docker\n"), Some(0.5));
        assert_eq!(quota(root.path(), "nonsense\n4:cpu\n"), None);
    }
}
