//! The command line: one file a verb; parse, call the library, print.

mod cache;
mod compare;
mod complete;
mod completions;
mod conduct;
mod connect;
mod diagnose;
mod diff;
mod doctor;
mod ending;
mod exit;
mod explain;
mod export;
mod export_file;
mod flamegraph;
mod folding;
mod hot;
mod import;
mod import_pyroscope;
mod input;
mod json_lines;
mod ladder;
mod load;
mod load_hosts;
mod log;
mod man;
mod metrics;
mod names;
mod observe;
mod open;
mod output;
mod overview;
mod own_load;
mod pager;
mod progress;
mod push;
mod record;
mod report;
mod run_name;
mod runs;
mod sampling;
mod screen;
mod serve;
mod shown;
mod source;
mod statements;
mod sweep;
mod target_host;

pub use exit::{Failed, Outcome, Usage};

use crate::child;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
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

/// Heading of the options that every verb has.
const EVERYWHERE: &str = "Output";

/// Heading of what has no name: clap's own, whatever that of the options is.
const ARGUMENTS: Option<&'static str> = None;

/// What every verb understands.
#[derive(Args, Clone)]
pub struct Common {
    /// Directory of stored runs
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "runs",
        env = "WIREPROF_RUNS",
        help_heading = EVERYWHERE,
        display_order = 1000
    )]
    pub runs: PathBuf,
    /// Answer in JSON (stable schema) instead of text
    #[arg(long, global = true, help_heading = EVERYWHERE, display_order = 1001)]
    pub json: bool,
    /// Width of the text in characters [default: $COLUMNS, else that of the terminal, else 140]
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = screen::width(),
        hide_default_value = true,
        help_heading = EVERYWHERE,
        display_order = 1002
    )]
    pub width: usize,
    /// Bold heads and coloured outcomes
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        help_heading = EVERYWHERE,
        display_order = 1003
    )]
    color: screen::Colour,
    /// Print what is longer than the terminal without $WIREPROF_PAGER, $PAGER or less
    #[arg(long, global = true, help_heading = EVERYWHERE, display_order = 1004)]
    no_pager: bool,
    /// What was asked, as in `log check`.
    #[arg(skip)]
    pub verb: String,
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
    Report(report::Report),
    Export(export::Export),
    Open(open::Open),
    Push(push::Push),
    Log(log::Log),
    Import(import::Import),
    Doctor(Box<doctor::Doctor>),
    Cache(cache::Cache),
    Completions(completions::Completions),
    Man(man::Man),
}

/// Runs the command line and answers with the process's exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    child::survive_file_size_limit();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // Before all else: its standard output belongs to the link.
    match &arguments[..] {
        [_, verb] if verb == crate::remote::VERB => return target_host::observe(),
        [_, verb] if verb == crate::remote::LOAD_VERB => return load_hosts::drive(),
        _ => {}
    }
    match complete::answered(&arguments) {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => {}
        Err(error) => return exit::of_parsing(&error, |_| false),
    }
    let parsed = Arguments::command().try_get_matches_from(&arguments).and_then(|matches| {
        let asked = asked(&matches);
        Arguments::from_arg_matches(&matches).map(|arguments| (arguments, asked))
    });
    let (Arguments { verb, mut common }, asked) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return exit::of_parsing(&error, |option| arguments.iter().any(|argument| argument == option)),
    };
    common.verb = asked;
    screen::settle(screen::Settings { colour: common.color, pager: !common.no_pager });
    let ended = match verb {
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
        Verb::Report(verb) => verb.run(&common),
        Verb::Export(verb) => verb.run(&common),
        Verb::Open(verb) => verb.run(&common),
        Verb::Push(verb) => verb.run(&common),
        Verb::Log(verb) => verb.run(&common),
        Verb::Import(verb) => verb.run(&common),
        Verb::Doctor(verb) => verb.run(&common),
        Verb::Cache(verb) => verb.run(&common),
        Verb::Completions(verb) => verb.run(),
        Verb::Man(verb) => verb.run(),
    };
    exit::of(ended, &common)
}

/// The verb with its own verb, as in `log check`.
fn asked(matches: &ArgMatches) -> String {
    let Some((verb, below)) = matches.subcommand() else { return String::new() };
    format!("{verb} {}", asked(below)).trim_end().to_string()
}
