//! The answer of a run, in an entry's first lines: why it is slow at each level, what grew, what was looked for and not
//! found. Invariant: it says nothing that the diagnosis, the places and the levels do not say.

use crate::analyze::judge::diagnose::Diagnosis;
use crate::analyze::judge::summary::{LevelSummary, summary};
use crate::analyze::time::growth::growth;
use crate::analyze::time::places::{HopPlaces, load_places, places};
use crate::perflog::block::{Generated, Made};
use crate::perflog::entry::one_line;
use crate::preset::{Cause, Preset};
use crate::render::{diagnosis_line, growth_section, markdown_text, significant};
use crate::run::Run;
use crate::wire::Place;
use std::collections::BTreeSet;

/// Kind of the block in its key.
const ANSWER: &str = "answer";

/// The answer; `diagnoses` are those of all levels, ascending.
pub fn answer(run: &Run, preset: &Preset, diagnoses: &[Diagnosis]) -> Generated {
    let hops = places(run);
    let mut lines = vec![one_line_summary(run, None)];
    if diagnoses.is_empty() {
        lines.push("Why: not judged: no level has a latency, or the preset has no rules.".into());
    }
    lines.extend(diagnoses.iter().rev().map(diagnosis_line));
    if let Some(section) = growth_section(growth(run, &hops).as_ref()) {
        lines.push(section.notes.join(" "));
    }
    if let Some(last) = diagnoses.last() {
        lines.extend(behind(&hops, last));
        lines.extend(ruled_out(preset, last));
    }
    let text = lines
        .iter()
        .fold("The answer:\n\n".to_string(), |text, line| text + &format!("- {}\n", one_line(&markdown_text(line))));
    Generated { key: format!("{} {ANSWER}", run.manifest.id), made: Made::now(), text }
}

/// How much of a query's latency lies in the hands of what is behind the server, so that one sees whether that can be
/// the cause.
fn behind(hops: &[HopPlaces], at: &Diagnosis) -> Vec<String> {
    let line = |hop: &HopPlaces| {
        let level = hop.levels.get(&at.level)?;
        let round_trip = level.places[Place::Server.index()].mean?;
        let query = round_trip * level.round_trips;
        let share = 100.0 * query / at.latency;
        let verdict = if share < 10.0 { ": ruled out as the cause" } else { "" };
        Some(format!(
            "{} at {} clients{verdict}: {} of {} us a query ({} %) are in its hands, {} us in each of {} round trips.",
            hop.hop,
            at.level,
            significant(query / 1e3),
            significant(at.latency / 1e3),
            significant(share),
            significant(round_trip / 1e3),
            significant(level.round_trips),
        ))
    };
    hops.iter().filter(|hop| !hop.of_load).filter_map(line).collect()
}

/// Causes that the preset's rules look for, and that are no verdict.
fn ruled_out(preset: &Preset, at: &Diagnosis) -> Vec<String> {
    let found: BTreeSet<Cause> = at.verdicts.iter().map(|verdict| verdict.cause).collect();
    let mut others: Vec<String> = preset
        .rule
        .iter()
        .filter(|rule| !found.contains(&rule.cause) && rule.cause != Cause::NoSingleCause)
        .map(|rule| rule.cause.to_string())
        .collect();
    others.sort();
    others.dedup();
    let mut lines = Vec::new();
    if !others.is_empty() {
        lines.push(format!("Looked for at {} clients and below its bound: {}.", at.level, others.join("; ")));
    }
    if !at.not_judged.is_empty() {
        lines.push(format!("Could not be looked for: {}.", at.not_judged.join("; ")));
    }
    lines
}

/// One line for the change's description: the last level that both runs have, before and after; the state of one run.
pub fn one_line_summary(after: &Run, before: Option<&Run>) -> String {
    let now = summary(after);
    let then = before.map(summary).unwrap_or_default();
    let both = |level: &&LevelSummary| before.is_none() || then.iter().any(|other| other.level == level.level);
    let Some(level) = now.iter().rev().find(both) else {
        return "No level is in both runs, so there is nothing to compare.".into();
    };
    let former = then.iter().find(|other| other.level == level.level);
    let micros = |nanos: Option<f64>| nanos.map(|nanos| nanos / 1e3);
    let hands = |run: &Run| -> Option<f64> {
        let hops = places(run);
        micros(load_places(&hops)?.levels.get(&level.level)?.places[Place::Server.index()].mean)
    };
    let clients = if level.level == 1 { "1 client".into() } else { format!("{} clients", level.level) };
    let rate = step(former.map(|former| former.throughput), level.throughput, "q/s");
    let mean = step(former.map(|former| micros(former.mean_latency)), micros(level.mean_latency), "us");
    let there = step(before.map(hands), hands(after), "us");
    format!("{clients}: {rate}, mean {mean}; in the server's hands {there}")
}

/// `12,300 -> 14,100 q/s (+15 %)`, `14,100 q/s`; a figure that was not measured says so.
fn step(before: Option<Option<f64>>, after: Option<f64>, unit: &str) -> String {
    let figure = |value: Option<f64>| value.map_or("not measured".to_string(), significant);
    match (before, after) {
        (None, None) | (Some(None), None) => "not measured".into(),
        (None, Some(after)) => format!("{} {unit}", significant(after)),
        (Some(before), after) => {
            let percent = before.zip(after).filter(|(before, _)| *before > 0.0).map(|(before, after)| {
                let change = 100.0 * (after / before - 1.0);
                format!(" ({change:+.1} %)")
            });
            format!("{} -> {} {unit}{}", figure(before), figure(after), percent.unwrap_or_default())
        }
    }
}
