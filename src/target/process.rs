//! Processes as `/proc` tells them (proc(5)). Invariant: a process is named by its number and its start time, so a
//! number that is used again is another process.

use crate::connection::shown_arguments;
use crate::elf::Image;
use procfs::FromRead;
use procfs::process::Stat;
use std::path::Path;

/// The parent of a process.
pub fn parent(pid: u32) -> Option<u32> {
    u32::try_from(stat(pid)?.ppid).ok()
}

fn stat(pid: u32) -> Option<Stat> {
    Stat::from_file(format!("/proc/{pid}/stat")).ok()
}

/// Whether a thread is off CPU and waits for something: neither running nor runnable (state R of proc(5)), nor gone.
pub fn is_blocked(pid: u32, tid: u32) -> bool {
    let thread = Stat::from_file(format!("/proc/{pid}/task/{tid}/stat"));
    thread.is_ok_and(|thread| !['R', 'Z', 'X'].contains(&thread.state))
}

/// Clock ticks after boot at which the process started (field 22 of stat).
pub fn start_ticks(pid: u32) -> Option<u64> {
    Some(stat(pid)?.starttime)
}

/// When the process started, RFC 3339 in UTC. The boot time is read once, so that the same process always gives the
/// same text even when the wall clock is set meanwhile.
pub fn started(pid: u32) -> Option<String> {
    static BOOT: std::sync::OnceLock<Option<u64>> = std::sync::OnceLock::new();
    let boot = (*BOOT.get_or_init(|| procfs::boot_time_secs().ok()))?;
    let hundredths = start_ticks(pid)?;
    let since = std::time::Duration::from_secs(boot) + std::time::Duration::from_millis(hundredths * 10);
    Some(humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since).to_string())
}

/// When the file that the process runs was modified, RFC 3339 in UTC, even where another now has its name.
pub fn built(pid: u32) -> Option<String> {
    let modified = std::fs::metadata(format!("/proc/{pid}/exe")).and_then(|file| file.modified()).ok()?;
    Some(humantime::format_rfc3339_millis(modified).to_string())
}

/// Thread numbers of a process; empty when it is gone.
pub fn tasks(pid: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// All processes of the machine.
pub fn processes() -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// `pid` and all its present descendants.
pub fn family(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = processes().into_iter().filter_map(|p| Some((p, parent(p)?))).collect();
    let mut family = vec![pid];
    let mut at = 0;
    while at < family.len() {
        let of = family[at];
        family.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(child, _)| *child));
        at += 1;
    }
    family
}

/// Name of a thread or, with `tid == pid`, of the process. The kernel cuts names to 15 bytes, in the midst of a
/// character too: what is no UTF-8 is replaced.
pub fn comm(pid: u32, tid: u32) -> Option<String> {
    let name = std::fs::read(format!("/proc/{pid}/task/{tid}/comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end().to_string())
}

/// File name of a process's executable; `None` where it may not be read.
pub fn executable_name(pid: u32) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = link.file_name()?.to_string_lossy();
    Some(name.trim_end_matches(" (deleted)").to_string())
}

/// What the running process is: its executable, arguments, start time and build-id.
pub fn identify(pid: u32) -> super::Identity {
    let link = std::fs::read_link(format!("/proc/{pid}/exe")).ok().map(|p| p.display().to_string());
    let deleted = link.as_ref().is_some_and(|l| l.ends_with(" (deleted)"));
    let image = Image::open_path(Path::new(&format!("/proc/{pid}/exe"))).ok();
    let argv = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    super::Identity {
        pid,
        start_ticks: start_ticks(pid),
        executable: link.map(|l| l.trim_end_matches(" (deleted)").to_string()),
        deleted,
        build_id: image.as_ref().and_then(Image::build_id),
        argv: shown_arguments(
            argv.split(|b| *b == 0).filter(|a| !a.is_empty()).map(|a| String::from_utf8_lossy(a).into_owned()),
        ),
        symbols: image.map(|i| ["symtab", "debug_line"].iter().any(|s| i.section(&format!(".{s}")).is_some())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_whose_name_was_cut_within_a_character_has_a_name_and_a_state() {
        let thread = std::thread::spawn(|| {
            // 16 bytes, of which the kernel keeps 15: seven characters and a half.
            std::fs::write("/proc/thread-self/comm", "\u{434}".repeat(8)).unwrap();
            // SAFETY: gettid has no preconditions.
            let tid = unsafe { libc::gettid() } as u32;
            (comm(std::process::id(), tid), Stat::from_file(format!("/proc/self/task/{tid}/stat")).is_ok())
        });
        assert_eq!(thread.join().unwrap(), (Some("\u{434}".repeat(7) + "\u{fffd}"), true));
    }

    #[test]
    fn our_own_process_is_identified_by_executable_start_and_build() {
        let own = identify(std::process::id());
        assert_eq!(own.executable.as_deref(), std::env::current_exe().unwrap().to_str());
        assert!(own.start_ticks.is_some() && !own.deleted && own.symbols == Some(true));
        assert!(family(parent(std::process::id()).unwrap()).contains(&std::process::id()));
    }
}
