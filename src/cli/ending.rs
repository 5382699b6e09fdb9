//! How verbs end that measured or read a run: with the answer, and where everything else is.

use super::explain::of_run;
use super::flamegraph::FOLDER;
use super::json_lines::JsonLines;
use super::names::Names;
use super::screen::size;
use super::shown::{Answered, Shown, after_measuring, answer_of, reference};
use super::{Common, Outcome, input};
use crate::preset::Preset;
use crate::render::{Framing, Picture, Report, answer_lines, answer_value};
use crate::run::Run;
use crate::words::counted;
use anyhow::Result;
use std::path::Path;

/// A run and how it is shown.
pub struct Ending<'a> {
    pub common: &'a Common,
    pub names: &'a Names,
    pub shown: &'a Shown,
    /// Where the run is.
    pub directory: &'a Path,
    /// What was drawn of it; `None`: drawing is of another verb.
    pub pictures: Option<Vec<Picture>>,
    /// Where programs read the answer, which is then not printed.
    pub events: Option<&'a JsonLines>,
}

impl Ending<'_> {
    /// Prints the answer, or gives it to the events; with `--full` and as JSON the `whole` report before it.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn tell(
        self,
        mut run: Run,
        preset: &Result<Preset>,
        whole: impl FnOnce(&Run, Vec<Picture>) -> Report,
    ) -> Result<Outcome> {
        let Ending { common, names, shown, directory, pictures, events } = self;
        let answer = answer_of(&run, preset, None);
        let next = after_measuring(&reference(common, &run, directory));
        // Without the line of the prompt, so that all of it stays on the screen.
        let lines = size().map(|(_, lines)| lines.saturating_sub(1));
        let place = Some(place(directory, &pictures));
        let framing = Framing { width: common.width, lines, all_levels: shown.full, next, place };
        if shown.in_short(common) {
            input::keep_ends(&mut run);
        }
        let pictures = pictures.unwrap_or_default();
        let (lines, value) = (answer_lines(&answer, &framing), answer_value(&answer, &framing.next));
        if let Some(events) = events {
            events.answer(value);
            return Ok(Outcome::Done);
        }
        let page =
            Answered { common, names, shown, lines: &lines, value: &value, runs: std::slice::from_ref(&answer.run) };
        page.ending(
            || whole(&run, pictures.clone()),
            || of_run(&run, preset, &shown.section, &directory.display().to_string(), pictures.clone()),
        )
    }
}

/// Where the run is, and how many pictures of it there are.
fn place(directory: &Path, pictures: &Option<Vec<Picture>>) -> String {
    let drawn = match pictures.as_ref().map(Vec::len) {
        None => String::new(),
        Some(0) => " (no pictures)".into(),
        Some(some) => format!(" ({} in {FOLDER})", counted(some as u64, "picture")),
    };
    format!("{}{drawn}", directory.display())
}
