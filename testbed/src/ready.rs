//! The line of JSON by which a testbed says that it accepts connections, and where. Invariant: it is printed once,
//! as one line on standard output, after every listener is bound and the oracle has been initialised.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// Always true: the key by which a reader recognises the line.
    pub ready: bool,
    /// Process id of the testbed.
    pub pid: u32,
    /// URL of the external SQL port.
    pub sql: String,
    /// URL of the internal SQL port (user `mz_system`).
    pub internal: String,
    /// URL of the Prometheus metrics.
    pub metrics: String,
    /// URL of the CPU profile in gzip pprof; takes `?seconds=N`.
    pub pprof: String,
    pub postgres: ReadyPostgres,
}

/// The PostgreSQL behind the timestamp oracle.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReadyPostgres {
    pub url: String,
    /// Process id of the postmaster.
    pub pid: u32,
    /// The private directory: `data/`, `socket/`, `postgres.log`.
    pub directory: String,
}
