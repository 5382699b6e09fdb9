//! Exit codes and how errors are told. Invariant: an error is printed once, with its causes, on standard error.

use crate::target::Forbidden;
use anyhow::{Error, Result};
use std::process::ExitCode;

/// Shown below the help.
pub const CODES: &str = "\
Exit codes: 0 done; 1 a check or guard failed; 2 usage (a wrong argument, no such run); 3 the environment does not permit it.

Examples:
  wireprof runs
  wireprof hot latest --focus peek --by total
  wireprof flamegraph latest --level 64 --fold-plumbing -o pictures
  wireprof metrics latest --match mz_ts_oracle
  wireprof log new latest --title 'Read timestamps in batches'";

/// How a verb ended, when not in an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// A check or guard failed; the output says which.
    CheckFailed,
}

/// An argument that cannot be followed; the message has the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct Usage(pub Error);

/// The code of a finished verb; prints its error.
pub fn of(ended: Result<Outcome>) -> ExitCode {
    match ended {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::CheckFailed) => ExitCode::from(1),
        Err(error) => {
            eprintln!("wireprof: {error:#}");
            ExitCode::from(code(&error))
        }
    }
}

/// 2 for what the user can say differently, 3 for all that the environment refuses.
fn code(error: &Error) -> u8 {
    let usage = error.chain().any(|cause| cause.is::<Usage>()) && !error.chain().any(|cause| cause.is::<Forbidden>());
    if usage { 2 } else { 3 }
}

/// Help and version go to standard output with 0, everything else is usage.
pub fn of_parsing(error: &clap::Error) -> ExitCode {
    // A closed pipe while printing help is not worth a message.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
