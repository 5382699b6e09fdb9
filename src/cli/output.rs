//! How verbs answer. Invariant: a reader that goes away (`| head`) ends the output, not the program, and is no error.

use super::screen::{screen, size};
use super::{Common, Outcome, pager};
use crate::connection::without_secrets;
use crate::render::{Report, json_value, on_terminal};
use crate::words::printable;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Prints a report as text or JSON.
///
/// # Errors
/// Standard output cannot be written to.
pub fn report(common: &Common, report: &Report) -> Result<Outcome> {
    match common.json {
        true => json(&json_value(&common.verb, report)),
        false => text(&on_terminal(report, &screen(common.width))),
    }
}

/// Prints a value as JSON: in one line for programs, indented on a terminal.
///
/// # Errors
/// As [`report`].
pub fn json(value: &Value) -> Result<Outcome> {
    ANSWERED.store(true, Ordering::Relaxed);
    text(&inert(if size().is_some() { format!("{value:#}\n") } else { format!("{value}\n") }))
}

/// JSON as it is, but for the characters beyond ASCII by which a text acts on a terminal: these are escaped, as the
/// others are in any JSON.
fn inert(json: String) -> String {
    let acts = |c: char| c != '\n' && c.is_control();
    if !json.contains(acts) {
        return json;
    }
    json.chars().map(|c| if acts(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
}

/// A remark on standard error, of wireprof itself. What it quotes of others has no secret in it, and does not act on
/// the terminal.
pub fn told(remark: impl Display) {
    say(format_args!("wireprof: {}", harmless(&remark.to_string())));
}

/// A text that may quote others, without secrets and without what would act on a terminal.
pub fn harmless(text: &str) -> String {
    printable(&without_secrets(text)).into_owned()
}

/// Whether an answer in JSON was printed already.
pub fn answered() -> bool {
    ANSWERED.load(Ordering::Relaxed)
}

static ANSWERED: AtomicBool = AtomicBool::new(false);

/// Prints text as it is; what is longer than the terminal in a pager.
///
/// # Errors
/// As [`report`].
pub fn text(text: &str) -> Result<Outcome> {
    if pager::shown(text) {
        return Ok(Outcome::Done);
    }
    bytes(text.as_bytes())
}

/// Prints an event of work under way, in a line of its own.
///
/// # Errors
/// As [`report`].
pub fn line(value: &Value) -> Result<Outcome> {
    bytes(inert(format!("{value}\n")).as_bytes())
}

/// Says something to people, in a line of its own on standard error. Nobody may be there to read it any more, which is
/// no reason to end: `eprintln!` would panic.
pub fn say(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Writes a file's content to standard output.
///
/// # Errors
/// As [`report`].
pub fn bytes(content: &[u8]) -> Result<Outcome> {
    let mut out = std::io::stdout().lock();
    match out.write_all(content).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        _ => Ok(Outcome::Done),
    }
}
