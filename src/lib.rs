//! wireprof says why a server that speaks the PostgreSQL wire protocol gets slower as clients are added. Data flows one
//! way: stages (load, samples, metrics, statements) -> run -> analysis -> rendering; see ARCHITECTURE.md.

// `eprintln!` panics where nobody reads any more, and the server would stay changed.
#![cfg_attr(not(test), warn(clippy::print_stderr, clippy::print_stdout))]
// What crosses a room's border says what it is, in which unit.
#![warn(missing_docs)]

// Tests in the sources share builders with those beside them, which know the crate by its name.
#[cfg(test)]
extern crate self as wireprof;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!(
    "wireprof runs on Linux on x86-64 only: it follows stacks by that architecture's registers and call-frame tables, \
     and measures through Linux's perf events, eBPF and /proc; build it with --target x86_64-unknown-linux-gnu"
);

pub mod analyze;
pub mod bpf;
pub mod cachedir;
pub mod carriers;
pub mod check;
pub mod child;
pub mod cli;
pub mod clock;
pub mod connection;
pub mod debuginfod;
pub mod elf;
pub mod export;
pub mod http;
pub mod import;
pub mod load;
pub mod mapped;
pub mod metrics;
pub mod parallel;
pub mod perflog;
pub mod preset;
pub mod profile;
pub mod push;
pub mod remote;
pub mod render;
pub mod run;
pub mod runtime;
pub mod sample;
pub mod sql;
pub mod statements;
pub mod sweep;
pub mod symbol;
pub mod target;
pub mod testbed;
pub mod vcs;
pub mod wire;
pub mod words;
pub mod workload;
