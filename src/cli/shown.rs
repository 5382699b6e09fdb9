//! What of a report is shown: the answer alone, sections by name, or everything. Invariant: JSON has everything of what
//! it has, whatever text leaves out.

use super::names::Names;
use super::screen::screen;
use super::{Common, Outcome, Usage, output};
use crate::analyze::judge::answer::Answer;
use crate::preset::Preset;
use crate::render::{Report, Section, brief, envelope, fitting, json_value, on_screen, on_terminal};
use crate::run::Run;
use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::Value;
use std::path::Path;

/// Lines of a page that begins with the answer, at most.
const PAGE: usize = 120;
/// The sections of a run, each with what it tells.
pub const OF_RUN: [&str; 17] = [
    "levels",
    "places",
    "tree",
    "slowest",
    "hands",
    "costs",
    "waits",
    "growth",
    "functions",
    "together",
    "checks",
    "metrics",
    "statements",
    "hot",
    "observer",
    "setup",
    "where",
];

#[derive(Args, Default)]
#[command(next_help_heading = "Output")]
pub struct Shown {
    /// Everything: all sections, levels and rows
    #[arg(id = "everything", long = "full")]
    pub full: bool,
    // What `diff` and `compare` have instead is said there.
    /// Only these sections: levels, places, tree, slowest, hands, costs, waits, functions, metrics, checks and others;
    /// a wrong name lists them
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', conflicts_with = "everything")]
    pub section: Vec<String>,
    /// The answer alone, as text or as JSON
    #[arg(long, conflicts_with_all = ["everything", "section"])]
    pub brief: bool,
}

impl Shown {
    /// Everything, where a report is short by itself.
    pub fn whole() -> Self {
        Shown { full: true, ..Shown::default() }
    }

    /// Refuses a section that there is not.
    ///
    /// # Errors
    /// [`Usage`], with the names that there are.
    pub fn check(&self, known: &[&str]) -> Result<()> {
        match self.section.iter().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(anyhow!(Usage(anyhow!(
                "--section {name}: there is no such section; there are {}",
                known.join(", ")
            )))),
            None => Ok(()),
        }
    }

    /// Whether tables may leave levels and rows out.
    pub fn in_short(&self, common: &Common) -> bool {
        !self.full && !common.json
    }

    /// Of these sections those that are asked for, in that order; what there is nothing for says why.
    fn chosen(&self, sections: Vec<Section>, lacking: Lacking) -> Vec<Section> {
        let of = |name: &String| {
            let found: Vec<Section> = sections.iter().filter(|section| section.id == name).cloned().collect();
            if found.is_empty() {
                let notes = vec![format!("Section {name}: {}.", lacking(name))];
                return vec![Section { notes, ..Section::default() }];
            }
            found.into_iter().map(brief).collect()
        };
        self.section.iter().flat_map(of).collect()
    }
}

/// Why there is nothing for a section that can be asked for.
pub type Lacking = fn(&str) -> &'static str;

/// Why a run has nothing for a section.
pub fn not_measured(_section: &str) -> &'static str {
    "there is nothing for it in this run; it was not measured"
}

/// Of the whole report the wanted sections; what it lacks is among those with names.
fn only(wanted: &[String], mut whole: Report, named: Vec<Section>) -> Report {
    let lacks: Vec<&String> = wanted.iter().filter(|name| whole.sections.iter().all(|s| s.id != *name)).collect();
    whole.sections.extend(named.into_iter().filter(|section| lacks.iter().any(|name| section.id == *name)));
    whole.sections.retain(|section| wanted.iter().any(|name| section.id == name));
    whole
}

/// An answer, and the report that it stands before or after.
pub struct Answered<'a> {
    pub common: &'a Common,
    pub names: &'a Names,
    pub shown: &'a Shown,
    /// The answer as text.
    pub lines: &'a [String],
    /// The answer for programs.
    pub value: &'a Value,
    /// Ids of the runs that it is of.
    pub runs: &'a [String],
    pub lacking: Lacking,
}

impl Answered<'_> {
    /// Ends with the answer; everything else on request.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn ending(&self, whole: impl FnOnce() -> Report, named: impl FnOnce() -> Vec<Section>) -> Result<Outcome> {
        let after = |report: String| format!("{report}\n{}", self.lines());
        self.on_request(whole, named, after).unwrap_or_else(|| output::text(&self.lines()))
    }

    /// Begins with the answer; the sections that tell most follow as far as a page has room.
    ///
    /// # Errors
    /// As [`Answered::ending`].
    pub fn beginning(
        &self,
        whole: impl FnOnce() -> Report,
        named: impl FnOnce() -> Vec<Section>,
        telling: impl FnOnce() -> Vec<Section>,
    ) -> Result<Outcome> {
        let before = |report: String| format!("{}\n{report}", self.lines());
        if let Some(outcome) = self.on_request(whole, named, before) {
            return outcome;
        }
        let lines = self.lines();
        // Two lines for what is left out, and one before them.
        let room = PAGE.saturating_sub(lines.lines().count() + 3);
        let (shown, left_out) = fitting(telling().into_iter().map(brief).collect(), self.common.width, room);
        let mut text = format!("{lines}\n{}", self.sections(shown));
        if !left_out.is_empty() {
            let notes = vec![format!("More: --section NAME,.. of {}; or --full.", left_out.join(", "))];
            text += &format!("\n{}", self.sections(vec![Section { notes, ..Section::default() }]));
        }
        output::text(&text)
    }

    /// The answer alone, an object, everything or sections, where one of these is asked for.
    fn on_request(
        &self,
        whole: impl FnOnce() -> Report,
        named: impl FnOnce() -> Vec<Section>,
        with_answer: impl FnOnce(String) -> String,
    ) -> Option<Result<Outcome>> {
        if self.shown.brief {
            return Some(self.brief());
        }
        if self.common.json {
            let whole = match self.shown.section.as_slice() {
                [] => whole(),
                wanted => only(wanted, whole(), named()),
            };
            return Some(self.json(&self.named_as_asked(whole)));
        }
        if self.shown.full {
            let report = on_terminal(&self.named_as_asked(whole()), &screen(self.common.width));
            return Some(output::text(&with_answer(report)));
        }
        let chosen = || output::text(&self.sections(self.shown.chosen(named(), self.lacking)));
        (!self.shown.section.is_empty()).then(chosen)
    }

    fn lines(&self) -> String {
        let screen = screen(self.common.width);
        let shown = |(at, line): (usize, &String)| match at {
            0 => format!("{}\n", screen.heading(&screen.spelt(line))),
            _ => format!("{}\n", screen.spelt(line)),
        };
        self.lines.iter().enumerate().map(shown).collect()
    }

    fn sections(&self, sections: Vec<Section>) -> String {
        let report = self.named_as_asked(Report { sections, ..Report::default() });
        // Without the line of the title.
        on_terminal(&report, &screen(self.common.width)).trim_start_matches('\n').to_string()
    }

    fn brief(&self) -> Result<Outcome> {
        if !self.common.json {
            return output::text(&self.lines());
        }
        self.with_answer(envelope(&self.common.verb, self.runs))
    }

    fn json(&self, report: &Report) -> Result<Outcome> {
        self.with_answer(json_value(&self.common.verb, report))
    }

    fn with_answer(&self, mut value: Value) -> Result<Outcome> {
        value["answer"] = self.value.clone();
        output::json(&value)
    }

    fn named_as_asked(&self, report: Report) -> Report {
        let report = if self.common.json { report } else { on_screen(report) };
        if self.names.full { report.with_full_names() } else { report }
    }
}

/// The answer of a run, by its preset or, where that is gone, without a diagnosis.
pub fn answer_of(run: &Run, preset: &Result<Preset>, level: Option<usize>) -> Answer {
    let preset = preset.as_ref().map_err(|why| format!("{why:#}"));
    crate::analyze::judge::answer::answer(run, preset, level)
}

/// What stands around a run in the longest command.
const COMMAND: usize = "Next     wireprof explain  --full".len();

/// What names the run in a command: its id, or its path where runs are not where they are by default.
pub fn reference(common: &Common, run: &Run, directory: &Path) -> String {
    let by_default = common.runs == Path::new("runs") || std::env::var_os("WIREPROF_RUNS").is_some();
    let path = directory.display().to_string();
    // A command that is wider than the page would be cut by it.
    if by_default || path.chars().count() + COMMAND > common.width { run.manifest.id.clone() } else { path }
}

/// The commands that lead on from a run that was just measured.
pub fn after_measuring(reference: &str) -> Vec<(String, String)> {
    vec![
        (format!("wireprof diagnose {reference}"), "the evidence for it".into()),
        (format!("wireprof explain {reference}"), "where the time goes".into()),
        (format!("wireprof report {reference}"), "a page with charts and flamegraphs".into()),
    ]
}
