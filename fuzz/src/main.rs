//! All fuzz targets in one program: wireprof's rooms, compiled from the main package's sources, and what must hold of
//! whatever their readers are given. `WIREPROF_FUZZ` names the target; `scripts/fuzz` runs all of them. Invariant:
//! nothing of the main package is changed or copied here.
#![no_main]
#![allow(dead_code, unused_imports, reason = "of the rooms only the readers are called")]

// Builders of runs know the crate by its name.
extern crate self as wireprof;

mod bounds;
#[path = "../../tests/it/build/mod.rs"]
mod build;
mod feed;
mod hold;
#[path = "../../src/sample/unwind/template.rs"]
mod template;

#[path = "../../src/analyze/mod.rs"]
mod analyze;
#[path = "../../src/bpf/mod.rs"]
mod bpf;
#[path = "../../src/cachedir.rs"]
mod cachedir;
#[path = "../../src/carriers/mod.rs"]
mod carriers;
#[path = "../../src/check/mod.rs"]
mod check;
#[path = "../../src/child.rs"]
mod child;
#[path = "../../src/clock/mod.rs"]
mod clock;
#[path = "../../src/connection/mod.rs"]
mod connection;
#[path = "../../src/elf/mod.rs"]
mod elf;
#[path = "../../src/remote/frame.rs"]
mod frame;
#[path = "../../src/http.rs"]
mod http;
#[path = "../../src/import/mod.rs"]
mod import;
#[path = "../../src/load/mod.rs"]
mod load;
#[path = "../../src/mapped.rs"]
mod mapped;
#[path = "../../src/metrics/mod.rs"]
mod metrics;
#[path = "../../src/parallel.rs"]
mod parallel;
#[path = "../../src/perflog/mod.rs"]
mod perflog;
#[path = "../../src/preset/mod.rs"]
mod preset;
#[path = "../../src/profile/mod.rs"]
mod profile;
#[path = "../../src/render/mod.rs"]
mod render;
#[path = "../../src/run/mod.rs"]
mod run;
#[path = "../../src/sample/mod.rs"]
mod sample;
#[path = "../../src/sql/mod.rs"]
mod sql;
#[path = "../../src/statements/mod.rs"]
mod statements;
#[path = "../../src/symbol/mod.rs"]
mod symbol;
#[path = "../../src/target/mod.rs"]
mod target;
#[path = "../../src/vcs/mod.rs"]
mod vcs;
#[path = "../../src/wire/mod.rs"]
mod wire;
#[path = "../../src/words.rs"]
mod words;
#[path = "../../src/workload/mod.rs"]
mod workload;

use std::sync::LazyLock;

/// Every target by its name; those that read a text are run on grown texts, too.
const TARGETS: &[(&str, hold::Target)] = &[
    ("elf", hold::images::elf),
    ("frames", hold::images::call_frames),
    ("symbols", hold::images::symbols),
    ("table", hold::images::table),
    ("folded", hold::profiles::folded),
    ("profile", hold::profiles::file),
    ("script", hold::profiles::script),
    ("pprof", hold::profiles::pprof),
    ("exposition", hold::metrics::exposition),
    ("selector", hold::metrics::selector),
    ("answer", hold::server::answer),
    ("frame", hold::link::frame),
    ("ini", hold::workloads::ini),
    ("pgbench", hold::workloads::pgbench),
    ("sql", hold::workloads::sql),
    ("dbbench", hold::workloads::dbbench),
    ("address", hold::settings::address),
    ("passfile", hold::settings::passfile),
    ("preset", hold::presets::preset),
    ("csv", hold::statements::csv),
    ("latency", hold::latencies::log),
    ("run", hold::stored::run),
    ("recording", hold::stored::recording),
    ("log", hold::logs::log),
    ("prompt", hold::logs::prompt),
    ("grown", hold::grown::grown),
];

static CHOSEN: LazyLock<hold::Target> = LazyLock::new(|| {
    let name = std::env::var("WIREPROF_FUZZ").unwrap_or_default();
    let names = TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => *target,
        None => {
            eprintln!("fuzz: WIREPROF_FUZZ={name:?} is no target; they are {names}");
            std::process::exit(2)
        }
    }
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| CHOSEN(bytes));
