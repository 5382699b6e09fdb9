//! Which process is measured, which threads it has, what binary it is and what the host permits.

mod clients;
mod cpu_latency;
mod cpus;
mod host;
mod locate;
mod process;
mod scheduler;
mod snapshot;

pub use clients::clients;
pub use cpu_latency::CpuLatencyLock;
pub use cpus::{has_pmu, online_cpus};
pub use host::{Host, host};
pub use locate::{bound_name, listener, named, related, socket_listener};
pub use process::{built, comm, family, identify, is_blocked, parent, processes, start_ticks, started, tasks};
pub use scheduler::{MachineDelta, Role, SchedulerDelta, ThreadDelta};
pub use snapshot::{Snapshot, Watched, WatchedProcess, difference};

/// What a file of wireprof needs to measure another user's process without root (capabilities(7)): to follow stacks and
/// sockets in the kernel, to sample, to read the process, to find it by the sockets among its files, and to see the
/// kernel's names.
pub const CAPABILITIES: &str = "cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search,cap_syslog";

/// Something this host or this target does not permit; the command line exits with 3.
#[derive(Debug, thiserror::Error)]
#[error("{what} is not possible: {cause}\n  remedy: {remedy}")]
pub struct Forbidden {
    pub what: String,
    pub cause: String,
    pub remedy: String,
}

/// A running process as it is, whatever now lies under the name of its executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub pid: u32,
    /// Clock ticks after boot.
    pub start_ticks: Option<u64>,
    pub executable: Option<String>,
    pub deleted: bool,
    pub build_id: Option<String>,
    /// Without secrets.
    pub argv: Vec<String>,
    /// The executable has a symbol table or line tables; `None` where it could not be read.
    pub symbols: Option<bool>,
}
