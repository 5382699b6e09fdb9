//! A diagnosis as sentences: each figure with its unit, level and file.

use super::cause::{certain, without};
use super::model::{Report, Section};
use crate::analyze::judge::diagnose::{Confidence, Diagnosis, Effect, Evidence, Finding, LatencyBy, Named};
use crate::profile::short_name;
use crate::words::{counted, significant, time};

/// Verdicts that are told with all their evidence; the others take a line each.
const WHOLE: usize = 3;
/// Evidence of a verdict at most; the JSON has all of it.
const EVIDENCE: usize = 7;

/// The report of a diagnosis at one level; `others` are those of the run's other levels, told by their first verdict.
pub fn diagnosis_report(diagnosis: &Diagnosis, others: &[Diagnosis]) -> Report {
    let mut sections = Vec::new();
    let (whole, brief) = diagnosis.verdicts.split_at(WHOLE.min(diagnosis.verdicts.len()));
    sections.extend(whole.iter().enumerate().map(|(at, verdict)| verdict_section(at + 1, verdict)));
    let mut notes: Vec<String> = brief.iter().map(|verdict| format!("Also: {}", headline(verdict))).collect();
    notes.extend(explained(diagnosis));
    notes.extend(others.iter().map(diagnosis_line));
    notes.extend(reckoned(diagnosis));
    notes.extend(diagnosis.not_judged.iter().cloned());
    if !notes.is_empty() {
        sections.push(Section {
            title: "Other levels, and what the effects assume".into(),
            notes,
            ..Section::default()
        });
    }
    let by = match diagnosis.latency_by {
        LatencyBy::Client => "",
        LatencyBy::Sockets => " by the sockets (the load does not tell its own)",
        LatencyBy::ServerSockets => " at the server's sockets (the load is on other hosts and does not tell its own)",
    };
    let title = format!(
        "Run {} at level {}: {}, mean latency {}{by}, {} queries/s",
        diagnosis.run,
        diagnosis.level,
        counted(diagnosis.clients.round() as u64, "client"),
        time(diagnosis.latency),
        significant(diagnosis.throughput)
    );
    Report { title, runs: vec![diagnosis.run.clone()], sections }
}

/// How much of the latency goes with all that is named.
pub(super) fn explained(diagnosis: &Diagnosis) -> Option<String> {
    let confident = diagnosis.first().is_some_and(|verdict| verdict.effect.is_some());
    // Where nothing but the state of the CPUs is named, nothing is taken together.
    let left = diagnosis.left.filter(|left| confident && *left < 0.995)?;
    let (explained, left) = (100.0 * (1.0 - left), 100.0 * left);
    Some(format!(
        "The causes that are named explain {explained:.0} % of the latency, all taken together; {left:.0} % is left."
    ))
}

/// Of the time between two queries of a client, from which on it is said that clients pause.
const PAUSES: f64 = 0.1;

/// What effects take for granted: of the queries that queue, and of the CPU that is left. A single query queues for
/// nothing, so it makes no difference there.
pub(super) fn reckoned(diagnosis: &Diagnosis) -> Option<String> {
    let under_way = diagnosis.under_way;
    let queue = match diagnosis.think {
        None if under_way < (1.0 - PAUSES) * diagnosis.clients => {
            format!("Effects reckon with the queries under way, {} on average. ", significant(under_way))
        }
        Some(pause) if pause > PAUSES * (diagnosis.latency + pause) => {
            format!("Clients pause {} before their next query, and effects leave that as it is. ", time(pause))
        }
        _ => String::new(),
    };
    let said = match diagnosis.lower {
        _ if under_way < 2.0 => return None,
        Some(level) => format!(
            "{queue}Effects reckon that CPU per query falls as the throughput rises, as it did from level {level} to \
             this one (a + b / throughput)."
        ),
        None => format!(
            "{queue}Effects take what is left to cost as much at a higher throughput: the run's lowest level does not \
             tell how it falls."
        ),
    };
    diagnosis.verdicts.iter().any(|verdict| verdict.effect.is_some()).then_some(said)
}

/// One line: the first verdict of a level.
pub fn diagnosis_line(diagnosis: &Diagnosis) -> String {
    let first = diagnosis.verdicts.first().map_or("nothing could be judged".into(), headline);
    format!("Level {}: {first}", diagnosis.level)
}

/// The first verdict in as few words as tell it from others.
pub fn verdict_words(diagnosis: &Diagnosis) -> Option<String> {
    let first = diagnosis.verdicts.first()?;
    let effect = first.effect.map_or(String::new(), |effect| format!(", {:.0} %", 100.0 * effect.share));
    Some(format!("{}{}{effect}", certain(first.confidence), cause_words(first)))
}

/// Cause, effect and the first function.
fn headline(verdict: &Finding) -> String {
    let effect = verdict.effect.map_or(String::new(), |effect| format!(", {}", effect_words(&effect)));
    let named =
        verdict.named.first().map_or(String::new(), |named| format!("; largest function: {}", named_words(named)));
    format!("{}{}{effect}{named}", certain(verdict.confidence), cause_words(verdict))
}

/// The cause, and what is waited for where that says more.
pub(super) fn cause_words(verdict: &Finding) -> String {
    let cause = verdict.cause.to_string();
    let wait = verdict.wait.as_ref().filter(|wait| !cause.contains(wait.as_str()));
    wait.map_or(cause.clone(), |wait| format!("{cause}: {wait}"))
}

fn verdict_section(number: usize, verdict: &Finding) -> Section {
    let mut notes = vec![verdict.sentence.clone()];
    let effect = verdict.effect.as_ref().zip(without(verdict.cause));
    notes.extend(effect.map(|(effect, without)| format!("{without}: {}.", effect_words(effect))));
    if !verdict.named.is_empty() {
        let named: Vec<String> = verdict.named.iter().map(named_words).collect();
        notes.push(format!("Where: {}.", named.join("; ")));
    }
    notes.extend(verdict.evidence.iter().take(EVIDENCE).map(|evidence| format!("- {}", evidence_words(evidence))));
    if !verdict.because.is_empty() {
        let only =
            if verdict.confidence == Confidence::Possible { "Why it is only possible" } else { "Why it is said" };
        notes.push(format!("{only}: {}.", verdict.because));
    }
    notes.push(format!("Refuted if {}. Next: {}.", verdict.refuted_by, verdict.next));
    let title = format!("{number}. {}{}", certain(verdict.confidence), cause_words(verdict));
    Section { title, notes, ..Section::default() }
}

pub(super) fn effect_words(effect: &Effect) -> String {
    let faster = effect.throughput.map_or(String::new(), |more| format!(", {:.0} % more throughput", 100.0 * more));
    format!("{} less latency a query ({:.0} %){faster}", time(effect.latency), 100.0 * effect.share)
}

pub(super) fn named_words(named: &Named) -> String {
    let interval = named.interval.map_or(String::new(), |(low, high)| format!(" ({} to {})", time(low), time(high)));
    let cost = time(named.cost);
    let effect = named.effect.map_or(String::new(), |effect| format!(", {} of latency", time(effect)));
    let process = named.process.as_ref().map_or(String::new(), |process| format!("{process}: "));
    format!("{process}{}, {cost} a query{interval}{effect}", short_name(&named.name))
}

pub(super) fn evidence_words(evidence: &Evidence) -> String {
    let Evidence { what, value, unit, level, source } = evidence;
    let figure = match unit.strip_prefix("us ") {
        Some(per) => format!("{} {per}", time(value * 1e3)),
        None => format!("{} {unit}", significant(*value)),
    };
    format!("{what}: {figure} (level {level}; {source})")
}
