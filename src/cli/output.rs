//! How verbs answer. Invariant: a reader that goes away (`| head`) ends the output, not the program, and is no error.

use super::screen::screen;
use super::{Common, Outcome, pager};
use crate::render::{Report, json, on_screen};
use anyhow::{Context, Result};
use std::io::{ErrorKind, Write};

/// Prints a report as text or JSON.
///
/// # Errors
/// Standard output cannot be written to.
pub fn report(common: &Common, report: &Report) -> Result<Outcome> {
    text(&if common.json { json(report) } else { on_screen(report, &screen(common.width)) })
}

/// Prints text as it is; what is longer than the terminal in a pager.
///
/// # Errors
/// As [`report`].
pub fn text(text: &str) -> Result<Outcome> {
    if pager::shown(text) {
        return Ok(Outcome::Done);
    }
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        _ => Ok(Outcome::Done),
    }
}
