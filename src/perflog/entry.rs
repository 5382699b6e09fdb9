//! A new entry's text. Invariant: measured parts come from the run; problem, change and conclusion are the user's words,
//! or a visible placeholder for them.

use super::document::{begin_marker, end_marker};
use crate::analyze::hot::HotTable;
use crate::analyze::places::places;
use crate::analyze::summary::{LevelSummary, sampling_notes};
use crate::render::{
    Picture, frames_table, guards_table, manifest_lines, markdown_table, places_section, summary_table,
};
use crate::run::Run;

/// What a person says about a session.
#[derive(Clone, Debug, Default)]
pub struct NewEntry {
    pub title: String,
    pub problem: Option<String>,
    pub change: Option<String>,
    pub conclusion: Option<String>,
    /// Links to what lies elsewhere.
    pub links: Vec<Picture>,
}

/// The entry, its heading `level` deep, with the run's results between markers.
pub fn entry(
    number: u64,
    level: usize,
    words: &NewEntry,
    run: &Run,
    levels: &[LevelSummary],
    hot: &HotTable,
) -> String {
    let heading = "#".repeat(level);
    let sub = "#".repeat(level + 1);
    let key = format!("{} results", run.manifest.id);
    let mut text = format!("{heading} Session {number}: {}\n\n", one_line(&words.title));
    text += &paragraph("Problem", &words.problem, "what was observed, and why it matters");
    text += &paragraph("Change", &words.change, "what was changed, and the revision of the change");
    text += &format!("{sub} Results\n\n{}\n", begin_marker(&key));
    text += &results(run, levels, hot);
    text += &format!("{}\n\n", end_marker(&key));
    text += &paragraph("Conclusion", &words.conclusion, "what follows from the results, and what to try next");
    if !words.links.is_empty() {
        text += &format!("{sub} Links\n\n");
        words.links.iter().for_each(|l| text += &format!("- [{}]({})\n", l.title, l.path));
    }
    text
}

/// The measured part: levels, hot frames, guards, set-up.
fn results(run: &Run, levels: &[LevelSummary], hot: &HotTable) -> String {
    let guards: Vec<_> = run.windows.iter().flat_map(|w| w.guards.iter().map(move |g| (w.id(), g))).collect();
    let by_focus = hot.focus.as_ref().map_or(String::new(), |f| format!(", focus {f}"));
    let mut text = format!("Run `{}`, per level:\n\n{}\n", run.manifest.id, markdown_table(&summary_table(levels)));
    if let Some(places) = places_section(&places(run)) {
        text += "Where a query is:\n\n";
        places.notes.iter().for_each(|line| text += &format!("- {}\n", one_line(line)));
        places.tables.iter().for_each(|table| text += &format!("\n{}", markdown_table(table)));
        text += "\n";
    }
    text += &format!("Hot frames ({}{by_focus}):\n\n{}\n", hot.column, markdown_table(&frames_table(hot)));
    text += &format!("Guards:\n\n{}\n", markdown_table(&guards_table(&guards)));
    text += "Measured with:\n\n";
    manifest_lines(&run.manifest)
        .iter()
        .chain(&sampling_notes(run))
        .for_each(|line| text += &format!("- {}\n", one_line(line)));
    text
}

fn paragraph(name: &str, words: &Option<String>, wanted: &str) -> String {
    match words.as_deref().map(str::trim).filter(|w| !w.is_empty()) {
        Some(words) => format!("**{name}.** {}\n\n", harmless(words)),
        None => format!("**{name}.** _To fill in: {wanted}._\n\n"),
    }
}

/// A person's words cannot open an entry or a marker of their own.
fn harmless(words: &str) -> String {
    let lines: Vec<String> =
        words.lines().map(|l| if l.starts_with('#') { format!("\\{l}") } else { l.to_string() }).collect();
    lines.join("\n").replace("<!-- wireprof:", "&lt;!-- wireprof:")
}

fn one_line(text: &str) -> String {
    harmless(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}
