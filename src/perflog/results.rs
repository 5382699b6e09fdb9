//! The measured part of an entry, made from a stored run. Invariant: the same run and the same [`Made`] give the same
//! bytes, so that an entry can be held against its run later.

use super::block::{Generated, Made, MadeFocus};
use super::entry::one_line;
use crate::analyze::cost::hot::{HotOptions, HotTable, hot};
use crate::analyze::judge::machine::{load_thread_notes, machine_notes};
use crate::analyze::judge::sampling::sampling_notes;
use crate::analyze::judge::summary::summary;
use crate::analyze::time::places::places;
use crate::profile::Focus;
use crate::render::{
    checks_table, frames_table, manifest_lines, markdown_table, markdown_text, places_section, summary_table,
};
use crate::run::Run;
use crate::words::printable;
use anyhow::{Context, Result};

/// Kind of the block in its key.
pub const RESULTS: &str = "results";
/// Likewise.
const DIAGNOSIS: &str = "diagnosis";

/// How the results of a run are to be made, by this wireprof.
pub fn made(top: usize, focus: Option<&Focus>) -> Made {
    let focus = focus.map(|focus| MadeFocus {
        name: focus.name.clone(),
        patterns: focus.patterns.iter().map(|pattern| pattern.as_str().to_string()).collect(),
    });
    Made { top: Some(top), focus, ..Made::now() }
}

/// The results of a run.
///
/// # Errors
/// A pattern of the focus that this wireprof cannot read.
pub fn results(run: &Run, made: &Made) -> Result<Generated> {
    let focus = made.focus.as_ref().map(|focus| {
        let patterns: Vec<&str> = focus.patterns.iter().map(String::as_str).collect();
        Focus::new(&focus.name, &patterns).with_context(|| format!("the focus {}", focus.name))
    });
    let defaults = HotOptions::default();
    let table = hot(run, &HotOptions { focus: focus.transpose()?, top: made.top.unwrap_or(defaults.top), ..defaults });
    let text = [levels(run), where_queries_are(run), hot_frames(&table), checks(run), measured_with(run)].concat();
    Ok(Generated { key: format!("{} {RESULTS}", run.manifest.id), made: made.clone(), text })
}

/// A diagnosis as it was printed. It rests on a preset's rules, which change without the run, so it is held against
/// its copy only.
pub fn diagnosis(run: &Run, printed: &str) -> Generated {
    let printed = printable(printed.trim_end()).replace("```", "'''");
    let text = format!("Diagnosis:\n\n```text\n{printed}\n```\n");
    Generated { key: format!("{} {DIAGNOSIS}", run.manifest.id), made: Made::now(), text }
}

fn levels(run: &Run) -> String {
    format!("Run `{}`, per level:\n\n{}\n", run.manifest.id, markdown_table(&summary_table(&summary(run))))
}

/// Empty where the sockets were not followed.
fn where_queries_are(run: &Run) -> String {
    let Some(places) = places_section(&places(run)) else { return String::new() };
    let mut text = String::from("Where a query is:\n\n");
    places.notes.iter().for_each(|line| text += &format!("- {}\n", one_line(&markdown_text(line))));
    places.tables.iter().for_each(|table| text += &format!("\n{}", markdown_table(table)));
    text + "\n"
}

fn hot_frames(table: &HotTable) -> String {
    let by_focus =
        table.focus.as_ref().map_or(String::new(), |focus| format!(", focus {}", one_line(&markdown_text(focus))));
    format!("Hot frames ({}{by_focus}):\n\n{}\n", table.column, markdown_table(&frames_table(table)))
}

fn checks(run: &Run) -> String {
    let checks: Vec<_> = run.windows.iter().flat_map(|w| w.checks.iter().map(move |g| (w.id(), g))).collect();
    let table = checks_table(&checks, false);
    match table.rows.is_empty() {
        true => format!("Checks: {}\n\n", markdown_text(&table.notes.join(" "))),
        false => format!("Checks:\n\n{}\n", markdown_table(&table)),
    }
}

fn measured_with(run: &Run) -> String {
    let lines =
        [manifest_lines(&run.manifest), load_thread_notes(run), machine_notes(run), sampling_notes(run)].concat();
    lines
        .iter()
        .fold("Measured with:\n\n".to_string(), |text, line| text + &format!("- {}\n", one_line(&markdown_text(line))))
}
