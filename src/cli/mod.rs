//! The command line: one file a verb; parse, call the library, print.

mod cache;
mod compare;
mod completions;
mod conduct;
mod connect;
mod diagnose;
mod diff;
mod doctor;
mod ending;
mod exit;
mod explain;
mod flamegraph;
mod hot;
mod import;
mod input;
mod ladder;
mod load;
mod log;
mod metrics;
mod names;
mod observe;
mod output;
mod overview;
mod own_load;
mod progress;
mod record;
mod runs;
mod sampling;
mod shown;
mod source;
mod statements;
mod sweep;

pub use exit::{Failed, Outcome, Usage};

use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Says why a server that speaks the PostgreSQL wire protocol gets slower as clients are added.
#[derive(Parser)]
#[command(name = "wireprof", version, propagate_version = true, after_help = exit::CODES)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    common: Common,
}

/// What every verb understands.
#[derive(Args, Clone)]
pub struct Common {
    /// Directory of stored runs
    #[arg(long, global = true, value_name = "DIR", default_value = "runs", env = "WIREPROF_RUNS")]
    pub runs: PathBuf,
    /// Answer in JSON (stable schema) instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Width of tables in characters
    #[arg(long, global = true, value_name = "N", default_value_t = 140, env = "COLUMNS")]
    pub width: usize,
}

#[derive(Subcommand)]
enum Verb {
    Sweep(Box<sweep::Sweep>),
    Compare(Box<compare::Compare>),
    Ladder(Box<ladder::Ladder>),
    Record(Box<record::Record>),
    Explain(explain::Explain),
    Diagnose(diagnose::Diagnose),
    Hot(hot::Hot),
    Diff(Box<diff::Diff>),
    Runs(runs::Runs),
    Metrics(metrics::Metrics),
    Statements(statements::Statements),
    Flamegraph(flamegraph::Flamegraph),
    Log(log::Log),
    Import(import::Import),
    Doctor(Box<doctor::Doctor>),
    Cache(cache::Cache),
    Completions(completions::Completions),
}

/// Runs the command line and answers with the process's exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Arguments { verb, common } = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return exit::of_parsing(&error),
    };
    exit::of(match verb {
        Verb::Sweep(verb) => verb.run(&common),
        Verb::Compare(verb) => verb.run(&common),
        Verb::Ladder(verb) => verb.run(&common),
        Verb::Record(verb) => verb.run(&common),
        Verb::Explain(verb) => verb.run(&common),
        Verb::Diagnose(verb) => verb.run(&common),
        Verb::Hot(verb) => verb.run(&common),
        Verb::Diff(verb) => verb.run(&common),
        Verb::Runs(verb) => verb.run(&common),
        Verb::Metrics(verb) => verb.run(&common),
        Verb::Statements(verb) => verb.run(&common),
        Verb::Flamegraph(verb) => verb.run(&common),
        Verb::Log(verb) => verb.run(&common),
        Verb::Import(verb) => verb.run(&common),
        Verb::Doctor(verb) => verb.run(&common),
        Verb::Cache(verb) => verb.run(&common),
        Verb::Completions(verb) => verb.run(),
    })
}
