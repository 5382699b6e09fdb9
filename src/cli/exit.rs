//! Exit codes and how errors are told. Invariant: an error is printed once, with its causes, on standard error.

use crate::load::LoadError;
use crate::target::Forbidden;
use crate::workload::WorkloadError;
use anyhow::{Error, Result};
use std::process::ExitCode;

/// Shown below the help.
pub const CODES: &str = "\
Exit codes: 0 done; 1 a check or guard failed; 2 usage (a wrong argument, no such run); 3 the environment does not permit it.

Examples:
  wireprof sweep --testbed
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

/// Work that was begun and could not be finished: a target that died, an interruption.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct Failed(pub Error);

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

/// 2 for what the user can say differently, 1 for work that broke off, 3 for all that the environment refuses.
fn code(error: &Error) -> u8 {
    if let Some(Failed(inner)) = error.downcast_ref::<Failed>() {
        let refused = inner.chain().any(|cause| cause.is::<Forbidden>() || cause.is::<LoadError>());
        return if refused { 3 } else { 1 };
    }
    if error.chain().any(|cause| cause.is::<Forbidden>()) {
        return 3;
    }
    let said = |cause: &(dyn std::error::Error + 'static)| {
        let of_load = cause.downcast_ref::<LoadError>().is_some_and(|error| !error.is_environment());
        of_load || cause.is::<Usage>() || cause.is::<WorkloadError>()
    };
    if error.chain().any(said) { 2 } else { 3 }
}

/// Help and version go to standard output with 0, everything else is usage.
pub fn of_parsing(error: &clap::Error) -> ExitCode {
    // A closed pipe while printing help is not worth a message.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
