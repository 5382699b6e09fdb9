//! How verbs end that measured or read a run: with the answer, and where everything else is.

use super::explain::of_run;
use super::json_lines::JsonLines;
use super::names::Names;
use super::screen::size;
use super::shown::{Answered, Shown, after_measuring, answer_of, not_measured, reference};
use super::{Common, Outcome, input};
use crate::preset::Preset;
use crate::render::{Framing, Report, answer_lines, answer_value};
use crate::run::Run;
use anyhow::Result;
use std::path::Path;

/// A run and how it is shown.
pub struct Ending<'a> {
    pub common: &'a Common,
    pub names: &'a Names,
    pub shown: &'a Shown,
    /// Where the run is.
    pub directory: &'a Path,
    /// Where programs read the answer, which is then not printed.
    pub events: Option<&'a JsonLines>,
}

impl Ending<'_> {
    /// Prints the answer, or gives it to the events; with `--full` and as JSON the `whole` report before it.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub fn tell(self, mut run: Run, preset: &Result<Preset>, whole: impl FnOnce(&Run) -> Report) -> Result<Outcome> {
        let Ending { common, names, shown, directory, events } = self;
        let answer = answer_of(&run, preset, None);
        let next = after_measuring(&reference(common, &run, directory));
        // Without the line of the prompt, so that all of it stays on the screen.
        let lines = size().map(|(_, lines)| lines.saturating_sub(1));
        let place = Some(directory.display().to_string());
        let framing = Framing { width: common.width, lines, all_levels: shown.full, next, place };
        if shown.in_short(common) {
            input::keep_ends(&mut run);
        }
        let (lines, value) = (answer_lines(&answer, &framing), answer_value(&answer, &framing.next));
        if let Some(events) = events {
            events.answer(value);
            return Ok(Outcome::Done);
        }
        let page = Answered {
            common,
            names,
            shown,
            lines: &lines,
            value: &value,
            runs: std::slice::from_ref(&answer.run),
            lacking: not_measured,
        };
        page.ending(|| whole(&run), || of_run(&run, preset, &shown.section, &directory.display().to_string()))
    }
}
