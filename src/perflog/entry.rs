//! A new entry's text. Invariant: measured parts come from the run; problem, change and conclusion are the user's
//! words, or a visible placeholder for them.

use super::block::Generated;
use super::figures::one_line_summary;
use crate::analyze::judge::summary::summary;
use crate::render::{Picture, markdown_text, significant};
use crate::run::{BuiltFrom, Manifest, Run};
use crate::words::counted;

/// How a placeholder begins, for those who look for what is open.
pub(super) const TO_FILL_IN: &str = "_To fill in: ";

/// What a person says about a session.
#[derive(Clone, Debug, Default)]
pub struct NewEntry {
    /// Title of the entry; line breaks in it become blanks.
    pub title: String,
    /// Day of the measurement, and what was measured; `None`: no such line.
    pub date: Option<String>,
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
    text += &words.date.as_ref().map_or(String::new(), |date| format!("**Date:** {}\n\n", one_line(date)));
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

/// The day of a run, its id, and the revision that was measured, where it is known.
pub fn date(manifest: &Manifest) -> String {
    let day = manifest.created.split('T').next().unwrap_or(&manifest.created);
    let revision = match &manifest.target.source {
        BuiltFrom::WorkingCopy(copy) => {
            let commit: String = copy.commit.chars().take(12).collect();
            let of = copy.change.as_ref().map_or(commit.clone(), |change| format!("{change} ({commit})"));
            let changed = if copy.changed { ", with changes" } else { "" };
            let title =
                if copy.title.is_empty() { String::new() } else { format!(" \"{}\"", markdown_text(&copy.title)) };
            format!("{} {of}{title}{changed}", copy.tool)
        }
        _ => "a revision that was not said (--source DIR)".into(),
    };
    format!("{day}, run `{}` of {revision}", manifest.id)
}

/// Text for the change that an entry is about, as a version control system keeps it: the title, what was changed, what
/// it gave against the run before, else the levels.
pub fn description(number: u64, words: &NewEntry, run: &Run, before: Option<&Run>) -> String {
    let mut text = format!("{}\n\n", one_line(&words.title));
    if let Some(change) = words.change.as_deref().map(str::trim).filter(|change| !change.is_empty()) {
        text += &format!("{change}\n\n");
    }
    text += &before.map_or(String::new(), |before| format!("{}\n\n", one_line_summary(run, Some(before))));
    for level in summary(run).into_iter().filter(|_| before.is_none()) {
        let figure = |value: Option<f64>| value.map_or("not measured".to_string(), significant);
        text += &format!(
            "{}: {} queries/s, mean latency {} us, {} us of the server's CPU a query ({})\n",
            counted(level.level as u64, "client"),
            figure(level.throughput),
            figure(level.mean_latency.map(|nanos| nanos / 1e3)),
            figure(level.target_cpu.map(|nanos| nanos / 1e3)),
            counted(level.replicates as u64, "window")
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
