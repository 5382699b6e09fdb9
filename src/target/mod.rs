//! Which process is measured, which threads it has, what binary it is and what the host permits.

mod affinity;
mod clients;
mod cpu_latency;
mod cpus;
mod holders;
mod host;
mod locate;
mod process;
mod rights;
mod scheduler;
mod snapshot;

pub use affinity::affinity;
pub use clients::{clients, listening_ports};
pub use cpu_latency::CpuLatencyLock;
pub use cpus::{allowed_cpus, has_pmu, idle, online_cpus};
pub use holders::holders;
pub use host::{Host, host, virtual_machine};
pub use locate::{bound_name, listener, listens_at, listens_here, listens_on, named, related, socket_listener};
pub use process::{
    built, comm, executable_name, family, identify, is_blocked, parent, processes, start_ticks, started, tasks,
};
pub use rights::{
    CAPABILITIES, following_remedy, numbers_are_the_kernels, programs_remedy, sampling_remedy, setcap_command,
};
pub use scheduler::{MachineDelta, Role, SchedulerDelta, ThreadDelta};
pub use snapshot::{Snapshot, Watched, WatchedProcess, difference};

/// Something this host or this target does not permit; the command line exits with 3.
#[derive(Debug, thiserror::Error)]
#[error("{what} is not possible: {cause}\n  remedy: {remedy}")]
pub struct Forbidden {
    /// What was to be done.
    pub what: String,
    /// Why it is not possible.
    pub cause: String,
    /// What the user can do about it.
    pub remedy: String,
}

/// A running process as it is, whatever now lies under the name of its executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Process number, in our pid namespace.
    pub pid: u32,
    /// Start in clock ticks after boot (field 22 of `/proc/PID/stat`); `None` where the process is gone.
    pub start_ticks: Option<u64>,
    /// Path of the executable as the process sees it, without ` (deleted)`; `None` where the link is not
    /// readable.
    pub executable: Option<String>,
    /// The executable no longer has that name: the kernel marks the link ` (deleted)`.
    pub deleted: bool,
    /// GNU build-id in lower-case hex; `None` where the executable has none or cannot be read.
    pub build_id: Option<String>,
    /// Arguments of the command line, without secrets; empty where they cannot be read.
    pub argv: Vec<String>,
    /// The executable has a symbol table or line tables; `None` where it could not be read.
    pub symbols: Option<bool>,
}
