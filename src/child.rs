//! Starting and signalling child processes that must not outlive their parent. Invariant: a child started here is
//! signalled by the kernel when the thread that started it ends, so the caller must start it from a thread that lives
//! as long as the process (the death signal is tied to the thread, not to the process).

use std::os::unix::process::CommandExt;
use std::process::Command;

/// A user as `/etc/passwd` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Numeric user id (passwd(5)).
    pub uid: u32,
    /// Numeric id of the user's primary group.
    pub gid: u32,
}

/// True if this process runs as root.
pub fn is_root() -> bool {
    // SAFETY: geteuid has no arguments, touches no memory and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Sends `signal` to `pid`; false if there is no such process (or it is not ours).
pub fn signal(pid: u32, signal: i32) -> bool {
    // SAFETY: kill takes two integers and touches no memory.
    unsafe { libc::kill(pid as libc::pid_t, signal) == 0 }
}

/// Sends `signal` to a child and all that it started in its process group (see [`die_with_parent`]); false if there
/// is none.
pub fn signal_group(pid: u32, signal: i32) -> bool {
    // SAFETY: kill takes two integers and touches no memory.
    unsafe { libc::kill(-(pid as libc::pid_t), signal) == 0 }
}

/// Whether this process ignores a signal.
pub fn ignores(signal: i32) -> bool {
    action(signal).is_some_and(|action| action.sa_sigaction == libc::SIG_IGN)
}

/// How this process handles a signal; `None`: the kernel has no such signal.
fn action(signal: i32) -> Option<libc::sigaction> {
    // SAFETY: a `sigaction` of zeroes is a valid one, which the call fills; a null pointer changes nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0).then_some(action)
    }
}

/// Has a write beyond the size that a file may have (RLIMIT_FSIZE) fail, as one on a full disk does: the signal's
/// default would end this process, with a server left changed. Children begin with the default, as a handler is not
/// inherited.
pub fn survive_file_size_limit() {
    extern "C" fn nothing(_: i32) {}
    let Some(mut action) = action(libc::SIGXFSZ).filter(|action| action.sa_sigaction == libc::SIG_DFL) else { return };
    action.sa_sigaction = nothing as extern "C" fn(i32) as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the action is a whole one; its handler does nothing, which is async-signal-safe.
    unsafe { libc::sigaction(libc::SIGXFSZ, &raw const action, std::ptr::null_mut()) };
}

/// Whether a child has ended; it is not waited for, so its number, and its group's, stay its own.
pub fn has_ended(pid: u32) -> bool {
    // SAFETY: all zeroes is a valid siginfo_t, which waitid fills; WNOWAIT leaves the child to be waited for.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_PID, pid, &mut info, options) == 0 && info.si_pid() != 0
    }
}

/// Environment variables that hold secrets of wireprof's own.
const SECRETS: [&str; 2] = ["PGPASSWORD", "WIREPROF_PROFILER_TOKEN"];

/// Keeps what the environment has of secrets from a child that has no use for them.
pub fn without_secrets(command: &mut Command) {
    SECRETS.iter().for_each(|name| _ = command.env_remove(name));
}

/// Has the kernel send `death_signal` to the child when the starting thread ends. Also puts the child into a process
/// group of its own, so that a Ctrl-C at the terminal reaches only the parent, which then ends the child in order.
pub fn die_with_parent(command: &mut Command, death_signal: i32) {
    command.process_group(0);
    let parent = std::process::id() as libc::pid_t;
    // SAFETY: the closure runs between fork and exec and calls only prctl and getppid, which are async-signal-safe
    // and touch no memory of the parent; std runs it after setuid, which would have cleared the death signal.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, death_signal as libc::c_ulong) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            if libc::getppid() != parent {
                return Err(std::io::Error::other("the parent ended while starting this process"));
            }
            Ok(())
        });
    }
}
