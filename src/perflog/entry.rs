//! A new entry's text. Invariant: measured parts come from the run; problem, change and conclusion are the user's
//! words, or a visible placeholder for them.

use super::block::Generated;
use crate::analyze::judge::summary::summary;
use crate::render::{Picture, significant};
use crate::run::Run;

/// How a placeholder begins, for those who look for what is open.
pub(super) const TO_FILL_IN: &str = "_To fill in: ";

/// What a person says about a session.
#[derive(Clone, Debug, Default)]
pub struct NewEntry {
    /// Title of the entry; line breaks in it become blanks.
    pub title: String,
    /// What was observed; `None`: a placeholder stands for it.
    pub problem: Option<String>,
    /// What was changed; `None`: a placeholder stands for it.
    pub change: Option<String>,
    /// What follows from the results; `None`: a placeholder stands for it.
    pub conclusion: Option<String>,
    /// Links to what lies elsewhere.
    pub links: Vec<Picture>,
}

/// The entry, its heading `level` deep, with what was made from its runs.
pub fn entry(number: u64, level: usize, words: &NewEntry, generated: &[Generated]) -> String {
    let heading = "#".repeat(level);
    let sub = "#".repeat(level + 1);
    let mut text = format!("{heading} Session {number}: {}\n\n", one_line(&words.title));
    text += &paragraph("Problem", &words.problem, "what was observed, and why it matters");
    text += &paragraph("Change", &words.change, "what was changed, and the revision of the change");
    text += &format!("{sub} Results\n\n");
    generated.iter().for_each(|block| text += &format!("{}\n\n", block.whole()));
    text += &paragraph("Conclusion", &words.conclusion, "what follows from the results, and what to try next");
    if !words.links.is_empty() {
        text += &format!("{sub} Links\n\n");
        words.links.iter().for_each(|l| text += &format!("- [{}]({})\n", l.title, l.path));
    }
    text
}

/// Text for the change that an entry is about, as a version control system keeps it: the title, what was changed, the
/// levels.
pub fn description(number: u64, words: &NewEntry, run: &Run) -> String {
    let mut text = format!("{}\n\n", one_line(&words.title));
    if let Some(change) = words.change.as_deref().map(str::trim).filter(|change| !change.is_empty()) {
        text += &format!("{change}\n\n");
    }
    for level in summary(run) {
        let figure = |value: Option<f64>| value.map_or("not measured".to_string(), significant);
        text += &format!(
            "{} clients: {} queries/s, mean latency {} us, {} us of the server's CPU a query ({} windows)\n",
            level.level,
            figure(level.throughput),
            figure(level.mean_latency.map(|nanos| nanos / 1e3)),
            figure(level.target_cpu.map(|nanos| nanos / 1e3)),
            level.replicates
        );
    }
    text + &format!("Session {number} of the performance log, run {}.\n", run.manifest.id)
}

fn paragraph(name: &str, words: &Option<String>, wanted: &str) -> String {
    match words.as_deref().map(str::trim).filter(|w| !w.is_empty()) {
        Some(words) => format!("**{name}.** {}\n\n", harmless(words)),
        None => format!("**{name}.** {TO_FILL_IN}{wanted}._\n\n"),
    }
}

/// A person's words cannot open an entry or a marker of their own.
fn harmless(words: &str) -> String {
    let lines: Vec<String> = words
        .lines()
        .map(|l| if l.trim_start().starts_with('#') { l.replacen('#', "\\#", 1) } else { l.into() })
        .collect();
    lines.join("\n").replace("<!-- wireprof:", "&lt;!-- wireprof:")
}

pub(super) fn one_line(text: &str) -> String {
    harmless(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}
