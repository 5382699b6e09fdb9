//! Exit codes and how errors are told. Invariant: an error is printed once, with its causes, on standard error.

use super::json_lines::JsonLines;
use super::{Common, output};
use crate::connection::{SettingError, without_secrets};
use crate::import::NoLevels;
use crate::load::LoadError;
use crate::remote::Refused;
use crate::render::json_error;
use crate::run::Unreadable;
use crate::target::Forbidden;
use crate::workload::WorkloadError;
use anyhow::{Error, Result};
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde_json::Value;
use std::process::ExitCode;

/// Shown below the help.
pub const CODES: &str = "\
Exit codes: 0 done; 1 a check failed, or the measurement was cut short; 2 usage (a wrong argument, no such \
run); 3 the environment does not permit it.

Examples, in the order of a first round (`latest` is the newest run):
  # what this machine permits
  wireprof doctor
  # measure, and say why it is slow
  wireprof sweep --testbed
  # where the time of a query goes
  wireprof explain latest
  # the evidence, and what would refute it
  wireprof diagnose latest
  # functions and what they call
  wireprof hot latest --focus peek --by total
  wireprof flamegraph latest --level 64 -o pictures
  # what got faster or slower, and through what
  wireprof diff BEFORE AFTER
  wireprof log new latest --title 'Read timestamps in batches'";

/// How a verb ended, when not in an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All that was asked for was done (exit code 0).
    Done,
    /// A check failed; the output says which.
    CheckFailed,
    /// The environment does not permit what was asked about; the output says why.
    NotPermitted,
}

/// An argument that cannot be followed; the message has the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct Usage(pub Error);

/// Work that was begun and could not be finished: a target that died, an interruption.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct Failed(pub Error);

/// The code of a finished verb; prints its error.
pub fn of(ended: Result<Outcome>, common: &Common) -> ExitCode {
    if let Err(error) = &ended {
        output::told(format_args!("{error:#}"));
        if common.json && !output::answered() {
            // Who reads is gone, perhaps: the exit code stays.
            let _ = output::json(&failure(Some(&common.verb), error));
        }
    }
    ExitCode::from(code_of(&ended))
}

/// The code of a finished verb.
pub fn code_of(ended: &Result<Outcome>) -> u8 {
    match ended {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::CheckFailed) => 1,
        Ok(Outcome::NotPermitted) => 3,
        Err(error) => code(error),
    }
}

/// The error as an object, for programs; standard error has it in words.
pub fn failure(verb: Option<&str>, error: &Error) -> Value {
    let causes: Vec<String> = error.chain().skip(1).map(|cause| without_secrets(&cause.to_string())).collect();
    object(verb, code(error), &without_secrets(&error.to_string()), &causes)
}

fn object(verb: Option<&str>, code: u8, message: &str, causes: &[String]) -> Value {
    let kind = match code {
        1 => "broken_off",
        2 => "usage",
        _ => "environment",
    };
    json_error(verb, code, kind, message, causes)
}

/// 2 for what the user can say differently, 1 for work that broke off, 3 for all that the environment refuses.
pub fn code(error: &Error) -> u8 {
    if let Some(Failed(inner)) = error.downcast_ref::<Failed>() {
        return inner.chain().find_map(refusal).unwrap_or(1);
    }
    if let Some(refused) = error.chain().find_map(|cause| cause.downcast_ref::<Refused>()) {
        return refused.code;
    }
    let asked = error.downcast_ref::<Usage>().map_or(error, |Usage(inner)| inner);
    if error.chain().chain(asked.chain()).any(|cause| cause.is::<Forbidden>() || cause.is::<Unreadable>()) {
        return 3;
    }
    let said = |cause: &(dyn std::error::Error + 'static)| {
        let of_load = cause.downcast_ref::<LoadError>().is_some_and(|error| !error.is_environment());
        of_load
            || cause.is::<SettingError>()
            || cause.is::<Usage>()
            || cause.is::<NoLevels>()
            || cause.is::<WorkloadError>()
    };
    if error.chain().any(said) { 2 } else { 3 }
}

/// The code of what kept begun work from going on, where it was the user's or the environment's: a server that went
/// away meanwhile is neither.
fn refusal(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    use LoadError::{Broken, Closed, Hangup, NotNow, Silent};
    match cause.downcast_ref::<LoadError>() {
        Some(Closed { .. } | Hangup { .. } | Broken { .. } | Silent { .. } | NotNow { .. }) => Some(1),
        Some(error) if error.is_servers_state() => Some(1),
        Some(error) => Some(if error.is_environment() { 3 } else { 2 }),
        None if cause.is::<Forbidden>() => Some(3),
        None => None,
    }
}

/// Which verbs have an option that this one does not.
fn of_another_verb(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return None };
    let long = option.strip_prefix("--").filter(|_| error.kind() == ErrorKind::UnknownArgument)?;
    let command = super::Arguments::command();
    let has = |verb: &&clap::Command| verb.get_arguments().any(|argument| argument.get_long() == Some(long));
    let verbs = command.get_subcommands().filter(has);
    let calls: Vec<String> = verbs.map(|verb| format!("`wireprof {} {option}`", verb.get_name())).collect();
    (!calls.is_empty()).then(|| format!("{option} is of another verb: {}", calls.join(", ")))
}

/// Help and version go to standard output with 0, everything else is usage. `asks` tells whether the command line has
/// an option.
pub fn of_parsing(error: &clap::Error, asks: impl Fn(&str) -> bool) -> ExitCode {
    let text = error.render().to_string();
    if error.use_stderr() {
        let masked = without_secrets(&text);
        let first = masked.lines().next().unwrap_or_default();
        let failure = object(None, 2, first.strip_prefix("error: ").unwrap_or(first), &[]);
        if asks("--json-lines") {
            // As above.
            let _ = JsonLines::new(None).last(2, failure);
        } else if asks("--json") {
            // As above.
            let _ = output::json(&failure);
        }
    }
    match output::harmless(&text) {
        // A URL in the wrong place is repeated by the message, as is anything else.
        masked if error.use_stderr() && masked != text => output::say(masked.trim_end()),
        // A closed pipe while printing help is not worth a message.
        _ => drop(error.print()),
    }
    if let Some(hint) = of_another_verb(error) {
        output::say(format_args!("\n{hint}"));
    }
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
