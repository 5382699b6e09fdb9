//! The stacks of every level as data for a script that draws the chosen picture. Invariant: no picture is in the page
//! until it is looked at; labels are stored once for all pictures.

use super::{level_switch, part as part_of};
use crate::analyze::cost::view::Source;
use crate::parallel;
use crate::render::flamegraph::{Compact, Job, Kind, Wanted, compact, jobs, view_of};
use crate::run::Run;
use maud::{Markup, html};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What those hear who use the keyboard.
const KEYS: &str = "Flamegraph: arrow keys move, Enter widens, Escape goes back";

/// A label as the page keeps it: short name, full name, module, kind.
type Label = (String, String, String, u8);

/// The pictures of a run.
#[derive(Default)]
pub struct Flames {
    labels: Vec<Label>,
    pictures: Vec<Picture>,
    left_out: Vec<String>,
}

struct Picture {
    level: usize,
    what: String,
    group: &'static str,
    drawn: Compact,
}

/// All pictures that are wanted of a run.
pub fn flames(run: &Run, wanted: &Wanted) -> Flames {
    let jobs = jobs(run, wanted);
    let found = parallel::each(&jobs, |job| -> Result<(Vec<Label>, Compact), String> {
        let view = view_of(run, wanted, job)?;
        let mut labels: Vec<Label> = Vec::new();
        let drawn = compact(&view, &job.caption(run, wanted), |shown, full, module, kind: Kind| {
            labels.push((shown.into(), full.into(), module.into(), kind as u8));
            labels.len() - 1
        });
        Ok((labels, drawn))
    });
    let mut flames = Flames::default();
    let mut known: HashMap<Label, usize> = HashMap::new();
    for (job, found) in jobs.iter().zip(found) {
        match found {
            Ok((labels, drawn)) => flames.add(job, labels, drawn, &mut known),
            Err(why) => flames.left_out.push(why),
        }
    }
    flames
}

impl Flames {
    fn add(&mut self, job: &Job, labels: Vec<Label>, mut drawn: Compact, known: &mut HashMap<Label, usize>) {
        let mut place = |label: Label| {
            *known.entry(label.clone()).or_insert_with(|| {
                self.labels.push(label);
                self.labels.len()
            }) as i64
        };
        let places: Vec<i64> = labels.into_iter().map(&mut place).collect();
        for label in drawn.boxes.iter_mut().skip(3).step_by(5).filter(|label| **label > 0) {
            *label = places[*label as usize - 1];
        }
        let picture = Picture { level: job.level, what: job.what.clone(), group: group(job.source), drawn };
        self.pictures.push(picture);
    }

    /// Whether a level has a picture of this kind.
    pub(super) fn has(&self, level: usize, what: &str) -> bool {
        self.pictures.iter().any(|picture| picture.level == level && picture.what == what)
    }

    /// Whether such a picture is drawn with a function of this name in it.
    pub(super) fn shows(&self, level: usize, what: &str, name: &str) -> bool {
        let drawn = |picture: &&Picture| picture.level == level && picture.what == what;
        let labels =
            self.pictures.iter().filter(drawn).flat_map(|picture| picture.drawn.boxes.iter().skip(3).step_by(5));
        labels.filter(|label| **label > 0).any(|label| {
            let (shown, full, ..) = &self.labels[*label as usize - 1];
            shown == name || full == name
        })
    }

    /// The fifth part.
    pub(super) fn part(&self) -> Markup {
        let lead = "Widths are what a query costs. Callers stand above what they call. Choose a frame to see it in all \
                    of the width.";
        let levels: BTreeSet<usize> = self.pictures.iter().map(|picture| picture.level).collect();
        let levels: Vec<usize> = levels.into_iter().collect();
        let body = html! {
            @if self.pictures.is_empty() {
                p class="muted" { "Not measured: no level of this run has stacks." }
            } @else {
                div class="controls" {
                    (level_switch(&levels))
                    label { "Kind " select id="flame-kind" { (self.kinds()) } }
                    label { "Search " input type="search" id="flame-search" autocomplete="off" spellcheck="false"; }
                    button type="button" id="flame-reset" { "Whole picture" }
                    output id="flame-found" aria-live="polite" {}
                }
                p id="flame-title" class="flame-title" {}
                div id="flame" class="flame" role="group" aria-label=(KEYS) {}
                p id="flame-notes" class="note" {}
                div id="flame-paper" class="on-paper" {}
                noscript { p class="note" { "Without scripts: wireprof flamegraph draws the same as SVG files." } }
            }
            @if !self.left_out.is_empty() {
                details {
                    summary { "Pictures with nothing in them" }
                    ul { @for why in &self.left_out { li { (why) } } }
                }
            }
        };
        part_of("flames", "Flamegraphs", lead, &body)
    }

    fn kinds(&self) -> Markup {
        let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
        for picture in &self.pictures {
            match groups.iter_mut().find(|(group, _)| *group == picture.group) {
                Some((_, whats)) if whats.contains(&picture.what.as_str()) => {}
                Some((_, whats)) => whats.push(&picture.what),
                None => groups.push((picture.group, vec![&picture.what])),
            }
        }
        html! {
            @for (group, whats) in groups {
                optgroup label=(group) { @for what in whats { option value=(what) { (what) } } }
            }
        }
    }

    /// What the script draws from.
    pub(super) fn data(&self) -> Value {
        let mut modules: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, _, module, _) in &self.labels {
            let next = modules.len();
            modules.entry(module).or_insert(next);
        }
        let mut names = vec![""; modules.len()];
        modules.iter().for_each(|(module, at)| names[*at] = module);
        let label = |(shown, full, module, kind): &Label| {
            json!([shown, if full == shown { "" } else { full }, modules[module.as_str()], kind])
        };
        let picture = |Picture { level, what, drawn, .. }: &Picture| {
            json!({"level": level, "what": what, "title": drawn.title, "notes": drawn.notes, "unit": drawn.unit,
                "factor": drawn.factor, "boxes": drawn.boxes})
        };
        json!({
            "labels": self.labels.iter().map(label).collect::<Vec<_>>(),
            "modules": names,
            "pictures": self.pictures.iter().map(picture).collect::<Vec<_>>(),
        })
    }
}

fn group(source: Source) -> &'static str {
    match source {
        Source::OnCpu => "CPU",
        Source::Blocked | Source::Runnable => "Off CPU, all threads",
        Source::Waits | Source::InHand => "In the server's hands",
    }
}
