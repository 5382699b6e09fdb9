//! A comparison's conclusion as a report: what is wrong first, then what is faster.

use super::difference::main_rows_table;
use super::figure::significant;
use super::model::{Cell, Column, Report, Section, Table};
use super::places;
use crate::analyze::compare::difference::Difference;
use crate::analyze::compare::freshness::Freshness;
use crate::analyze::compare::prediction::{Predicted, Prediction};
use crate::run::{Look, Manifest};
use crate::wire::Place;

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
    /// Checks that failed, of each side.
    pub failing: &'a [usize],
    /// Whether reads saw acknowledged writes, of each side; `None`: not asked.
    pub freshness: &'a [Option<Freshness>],
    /// What the sides' parts predict, and why not more.
    pub predictions: &'a (Vec<Prediction>, Vec<String>),
}

/// The whole answer of a comparison.
pub fn comparison_report(conclusion: &Conclusion) -> Report {
    let mut sections: Vec<Section> = correctness(conclusion).into_iter().collect();
    sections.push(verdicts(conclusion));
    sections.extend(predicted(conclusion));
    sections.push(sides(conclusion));
    let names: Vec<String> = conclusion.sides.iter().map(|manifest| name(manifest)).collect();
    let wrong = |(name, found): (&String, &Option<Freshness>)| found.as_ref()?.wrong().then(|| name.clone());
    let wrong: Vec<String> = names.iter().zip(conclusion.freshness).filter_map(wrong).collect();
    let warning = if wrong.is_empty() { String::new() } else { format!(": {} IS WRONG", wrong.join(" and ")) };
    let runs = conclusion.sides.iter().map(|manifest| manifest.id.clone()).collect();
    Report { title: format!("{} compared{warning}", names.join(" and ")), runs, sections }
}

fn name(manifest: &Manifest) -> String {
    manifest.side.as_ref().map_or_else(|| manifest.id.clone(), |side| side.name.clone())
}

/// What the probe found, before any speed.
fn correctness(conclusion: &Conclusion) -> Option<Section> {
    conclusion.freshness.iter().any(Option::is_some).then_some(())?;
    let columns = vec![
        Column::text("side", "side"),
        Column::text("isolation", "isolation of the reads"),
        Column::number("writes", "writes", "acknowledged"),
        Column::number("reads", "reads", "right after one"),
        Column::number("stale", "stale", "reads"),
        Column::text("verdict", "verdict"),
    ];
    let row = |(manifest, found): (&&Manifest, &Option<Freshness>)| {
        let why = "not measured";
        let Some(found) = found else {
            let missing = || Cell::Missing(why.into());
            return vec![Cell::Text(name(manifest)), missing(), missing(), missing(), missing(), missing()];
        };
        vec![
            Cell::Text(name(manifest)),
            found.isolation.clone().map_or_else(|| Cell::Missing("the server does not tell it".into()), Cell::Text),
            Cell::Count(found.writes),
            Cell::Count(found.reads),
            Cell::Count(found.stale),
            correctness_cell(found),
        ]
    };
    let rows = conclusion.sides.iter().zip(conclusion.freshness).map(row).collect();
    let wrong = conclusion.freshness.iter().flatten().filter(|found| found.wrong());
    let mut notes: Vec<String> = wrong.filter_map(|found| found.first.clone()).collect();
    if !notes.is_empty() {
        notes.push("A side that serves stale reads is wrong, whatever its speed: what follows is no gain.".into());
    }
    Some(Section {
        id: "freshness",
        title: "Read after write".into(),
        tables: vec![Table { id: "freshness", columns, rows, ..Table::default() }],
        notes,
        ..Section::default()
    })
}

fn correctness_cell(found: &Freshness) -> Cell {
    let (name, words) = match (found.reads, found.stale, found.permitted) {
        (0, _, _) => ("not_measured", "not measured: no read followed a write"),
        (_, 0, true) => ("right", "none was stale; this isolation level would permit it"),
        (_, 0, false) => ("right", "right: none was stale"),
        (_, _, true) => ("stale_as_permitted", "stale, as this isolation level permits"),
        (_, _, false) => ("wrong", "WRONG"),
    };
    Cell::coded(name, words)
}

fn verdicts(conclusion: &Conclusion) -> Section {
    let mut section = Section { id: "verdicts", title: "Verdicts".into(), ..Section::default() };
    match conclusion.found {
        Some((look, difference)) => {
            section.tables.push(main_rows_table(difference));
            section.notes.push(format!(
                "Look {} of at most {}, after {} replicates of each side: intervals miss with a probability of {:.3} \
                    % together, so that \
                 all looks keep 1 % however the comparison ended (alpha spending).",
                look.number,
                look.of,
                look.replicates,
                100.0 * look.alpha
            ));
            section.notes.extend(difference.notes.iter().cloned());
        }
        None => section.notes.push("No look was taken: it takes two replicates of each side.".into()),
    }
    section.notes.extend(ended(conclusion));
    section
}

/// How a comparison ended, and what that means for it.
pub fn comparison_end(conclusion: &Conclusion) -> String {
    ended(conclusion).join(" ")
}

fn ended(conclusion: &Conclusion) -> Vec<String> {
    let mut notes = vec![conclusion.end.clone()];
    notes.extend(conclusion.against_itself.map(against_itself));
    if conclusion.failing.iter().any(|count| *count > 0) {
        let failing: Vec<String> = conclusion.failing.iter().map(ToString::to_string).collect();
        notes.push(format!("Checks that FAILED, by side: {}; `wireprof runs RUN` names them.", failing.join(", ")));
    }
    notes
}

/// What the sides' parts predict of the second, against what was measured.
fn predicted(conclusion: &Conclusion) -> Option<Section> {
    let (predictions, notes) = conclusion.predictions;
    (!predictions.is_empty() || !notes.is_empty()).then_some(())?;
    let columns = vec![
        Column::level(),
        Column::text("figure", "figure"),
        Column::text("unit", "unit"),
        Column::number("before", "before", ""),
        Column::number("predicted", "predicted", ""),
        Column::number("measured", "measured", ""),
        Column::number("change", "change", "%"),
        Column::number("beyond", "beyond prediction", "% of before"),
        Column::number("pairs", "pairs", ""),
        Column::text("holds", "holds"),
        Column::text("by", "by"),
    ];
    let rows: Vec<_> = predictions.iter().map(prediction_row).collect();
    let holds = "It holds where the predicted change lies within the 95 % interval of the one that was measured. What \
                 lies beyond the \
                 prediction has an interval of its own, over pairs of replicates, which is narrower: side effects \
                 that it shows are real.";
    let table = Table { id: "predicted", columns, rows, notes: vec![holds.into()], ..Table::default() };
    let tables = if predictions.is_empty() { Vec::new() } else { vec![table] };
    let mut notes = notes.clone();
    let asleep = conclusion.sides.iter().all(|manifest| !manifest.host.awake);
    if asleep && predictions.iter().any(waits_otherwise) {
        notes.push(
            "In a socket's buffer a message waits until a thread is awake that reads it. Idle CPUs sleep, and the \
                idler the machine the \
             longer they take to wake: what that adds is the machine's and not the sides'. With --awake they do not \
             sleep."
                .into(),
        );
    }
    let title = "Predicted by the parts".into();
    Some(Section { id: "predicted", title, tables, notes, ..Section::default() })
}

/// Whether messages wait in sockets' buffers for longer than before.
fn waits_otherwise(prediction: &Prediction) -> bool {
    let Predicted::Places { places, .. } = &prediction.of else { return false };
    places.contains(&Place::ServerBuffer) && prediction.beyond.is_some_and(|(low, _)| low > 0.0)
}

fn prediction_row(prediction: &Prediction) -> Vec<Cell> {
    let (figure, by) = predicted_words(&prediction.of);
    let (unit, factor) = match prediction.of {
        Predicted::Throughput { .. } => ("q/s", 1.0),
        Predicted::Latency { .. } | Predicted::Places { .. } => ("µs", 1e-3),
    };
    let holds = match prediction.holds() {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "unknown",
    };
    let percent = |value: f64| 100.0 * value / prediction.before;
    let difference = |from: f64, interval: Option<(f64, f64)>| match prediction.before == 0.0 {
        true => Cell::Undefined("it was 0 before".into()),
        false => Cell::Difference {
            value: percent(prediction.measured - from),
            interval: interval.map(|(low, high)| (percent(low), percent(high))),
        },
    };
    vec![
        Cell::Count(prediction.level as u64),
        Cell::Text(figure),
        Cell::Text(unit.into()),
        Cell::Figure(prediction.before * factor),
        Cell::Figure(prediction.predicted * factor),
        Cell::Figure(prediction.measured * factor),
        difference(prediction.before, prediction.change),
        difference(prediction.predicted, prediction.beyond),
        Cell::Count(prediction.pairs as u64),
        Cell::coded(&holds.to_lowercase(), holds),
        Cell::Text(by),
    ]
}

/// What is predicted, and from what.
fn predicted_words(of: &Predicted) -> (String, String) {
    let gone = |without: &[String]| match without {
        [] => "as before".to_string(),
        nodes => format!("without {}", nodes.join(", ")),
    };
    let micros = |nanos: f64| format!("{} µs/query", significant(nanos / 1e3));
    match of {
        Predicted::Latency { without } => ("mean latency".into(), gone(without)),
        Predicted::Places { places, without } => {
            let places: Vec<&str> = places.iter().map(|place| places::words(*place, true)).collect();
            (format!("  {}", places.join(", ")), gone(without))
        }
        Predicted::Throughput { server, others } => {
            let by = format!("CPU: server {}, others that are watched {}", micros(*server), micros(*others));
            ("throughput".into(), by)
        }
    }
}

fn against_itself(differences: usize) -> String {
    match differences {
        0 => "A side against itself: no difference was found, as it should be.".into(),
        some => format!(
            "A side against itself, and {some} figures differ: that is the measurement's own doing (a drift of the \
                machine, another \
             process, a server whose starts differ), or one of the 1 % of such comparisons. A difference of this size \
             between two \
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
    Section { id: "sides", title: "Sides".into(), notes, ..Section::default() }
}
