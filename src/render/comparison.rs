//! A comparison's conclusion as a report: what is wrong first, then what is faster.

use super::difference::main_rows_table;
use super::model::{Report, Section};
use crate::analyze::difference::Difference;
use crate::run::{Look, Manifest};

/// What a comparison came to.
pub struct Conclusion<'a> {
    /// Manifests of the two runs, in their order.
    pub sides: &'a [&'a Manifest],
    /// What the last look found.
    pub found: Option<&'a (Look, Difference)>,
    /// How it ended, as a sentence.
    pub end: String,
    /// A side against itself: how many differences were found.
    pub against_itself: Option<usize>,
    /// Guards that failed, of each side.
    pub failing: &'a [usize],
}

/// The whole answer of a comparison.
pub fn comparison_report(conclusion: &Conclusion) -> Report {
    let sections = vec![verdicts(conclusion), sides(conclusion)];
    let names: Vec<String> = conclusion.sides.iter().map(|manifest| name(manifest)).collect();
    Report { title: format!("{} compared", names.join(" and ")), sections }
}

fn name(manifest: &Manifest) -> String {
    manifest.side.as_ref().map_or_else(|| manifest.id.clone(), |side| side.name.clone())
}

fn verdicts(conclusion: &Conclusion) -> Section {
    let mut section = Section { title: "Verdicts".into(), ..Section::default() };
    match conclusion.found {
        Some((look, difference)) => {
            section.tables.push(main_rows_table(difference));
            section.notes.push(format!(
                "Look {} of at most {}, after {} replicates of each side: intervals miss with a probability of {:.3} % together, so that \
                 all looks keep 1 % however the comparison ended (alpha spending).",
                look.number,
                look.of,
                look.replicates,
                100.0 * look.level
            ));
            section.notes.extend(difference.notes.iter().cloned());
        }
        None => section.notes.push("No look was taken: it takes two replicates of each side.".into()),
    }
    section.notes.push(conclusion.end.clone());
    section.notes.extend(conclusion.against_itself.map(against_itself));
    let failing: Vec<String> = conclusion.failing.iter().map(ToString::to_string).collect();
    if conclusion.failing.iter().any(|count| *count > 0) {
        section
            .notes
            .push(format!("Guards that FAILED, by side: {}; `wireprof runs RUN` names them.", failing.join(", ")));
    }
    section
}

fn against_itself(differences: usize) -> String {
    match differences {
        0 => "A side against itself: no difference was found, as it should be.".into(),
        some => format!(
            "A side against itself, and {some} figures differ: that is the measurement's own doing (a drift of the machine, another \
             process, a server whose starts differ), or one of the 1 % of such comparisons. A difference of this size between two \
             sides would not be theirs; mend the cause, or repeat."
        ),
    }
}

fn sides(conclusion: &Conclusion) -> Section {
    let line = |manifest: &&Manifest| {
        let Some(side) = &manifest.side else { return manifest.id.clone() };
        let setup = if side.setup.is_empty() { "as it is".to_string() } else { side.setup.join("; ") };
        format!("{}: run {} ({}); {setup}", side.name, manifest.id, manifest.ended)
    };
    let mut notes: Vec<String> = conclusion.sides.iter().map(line).collect();
    if let Some((first, side)) = conclusion.sides.first().and_then(|manifest| Some((manifest, manifest.side.as_ref()?)))
    {
        let anew =
            if first.restarted { "each turn with a server started anew" } else { "all turns on servers that run on" };
        notes.push(format!("Turns planned: {} (seed {}), {anew}.", side.turns, first.seed));
    }
    if let [a, b] = conclusion.sides {
        notes.push(format!(
            "More: `wireprof diff {} {}`, `wireprof explain {}`, `wireprof hot {}`",
            a.id, b.id, b.id, b.id
        ));
    }
    Section { title: "Sides".into(), notes, ..Section::default() }
}
