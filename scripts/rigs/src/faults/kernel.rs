//! What the rig asks of the kernel: limits of a child, and whether a program or map of eBPF is still there. Invariant:
//! only things by the number that a child of the rig was seen to hold are asked for, never all of the machine.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::Command;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Program,
    Map,
}

/// Commands of bpf(2), as `linux/bpf.h` numbers them.
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const MAP_GET_FD_BY_ID: libc::c_long = 14;

/// Has the child run in a session of its own, under this limit.
pub fn under(command: &mut Command, limit: Option<(u32, u64)>) {
    // SAFETY: the closure runs between fork and exec and calls only setsid, signal and setrlimit, which are
    // async-signal-safe and touch no memory of the parent.
    unsafe {
        command.pre_exec(move || {
            libc::setsid();
            // As a shell starts its commands: whatever this process ignores, they do not.
            libc::signal(libc::SIGXFSZ, libc::SIG_DFL);
            if let Some((resource, value)) = limit {
                let bound = libc::rlimit { rlim_cur: value, rlim_max: value };
                if libc::setrlimit(resource, &raw const bound) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
}

/// The programs and maps that a process holds now (proc(5), `fdinfo`).
pub fn held(pid: u32, seen: &mut BTreeSet<(Kind, u32)>) {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return };
    for entry in entries.flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        for line in text.lines() {
            let kind = match line.split_once(':') {
                Some(("prog_id", number)) => Some((Kind::Program, number)),
                Some(("map_id", number)) => Some((Kind::Map, number)),
                _ => None,
            };
            seen.extend(kind.and_then(|(kind, number)| Some((kind, number.trim().parse().ok()?))));
        }
    }
}

/// Whether it is still loaded.
pub fn is_there(kind: Kind, id: u32) -> bool {
    let command = if kind == Kind::Program { PROG_GET_FD_BY_ID } else { MAP_GET_FD_BY_ID };
    // `union bpf_attr`: the number, the next number, flags.
    let attributes = [id, 0, 0, 0];
    // SAFETY: bpf(2) reads as many bytes of the attributes as it is told, and writes none for these commands; the
    // descriptor it may answer is closed at once.
    unsafe {
        let fd = libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(&attributes));
        fd >= 0 && libc::close(fd as i32) == 0
    }
}
