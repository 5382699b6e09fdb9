//! wireprof says why a server that speaks the PostgreSQL wire protocol gets slower as clients are added.
//! Data flows one way: stages (load, samples, metrics, statements) -> run -> analysis -> rendering; see ARCHITECTURE.md.

pub mod analyze;
pub mod cachedir;
pub mod cli;
pub mod clock;
pub mod connection;
pub mod elf;
pub mod import;
pub mod load;
pub mod metrics;
pub mod perflog;
pub mod preset;
pub mod profile;
pub mod render;
pub mod run;
pub mod sample;
pub mod statements;
pub mod sweep;
pub mod symbol;
pub mod target;
pub mod testbed;
pub mod vcs;
pub mod wire;
pub mod workload;
