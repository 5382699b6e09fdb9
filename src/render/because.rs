//! The sentences of an answer: why the server is slow, and what grew. Invariant: they say what the finding says, with
//! each function by a name that a screen has room for.

use super::cause::{phrase, without};
use super::places::short;
use crate::analyze::judge::answer::{Answer, First, Grown, LEAST_GROWTH, Most};
use crate::analyze::judge::diagnose::{Confidence, Finding, Named};
use crate::preset::Cause;
use crate::profile::{name_within, short_name, without_closures};
use crate::words::{counted, list, percent, significant, time};

/// A function's name at most.
const NAME: usize = 48;

/// The first verdict: cause with function or wait, and its effect.
pub(super) fn why(answer: &Answer) -> (String, String) {
    match (&answer.first, &answer.not_diagnosed) {
        (Some(first), _) => (verdict(first), effect(&first.finding)),
        (None, Some(why)) => (format!("Not diagnosed: {why}."), String::new()),
        (None, None) => ("Not diagnosed.".into(), String::new()),
    }
}

fn verdict(first: &First) -> String {
    let First { level, finding, .. } = first;
    let cause = phrase(finding.cause);
    let wait = finding.wait.as_ref().filter(|wait| !cause.contains(wait.as_str()));
    let wait = wait.map_or(String::new(), |wait| format!(" ({wait})"));
    let possibly = if finding.confidence == Confidence::Possible { "possibly " } else { "" };
    let named = finding.named.first().map_or(String::new(), |named| {
        let process = named.process.as_ref().map_or(String::new(), |process| format!(" in process {process}"));
        let called = format!("{}{process}, {} a query", name(&named.name), time(named.cost));
        match share_of(named, finding).filter(|share| *share < STANDS_OUT) {
            Some(share) => {
                format!("; no function stands out, the first is {called}, {} of the latency", percent(share))
            }
            None => format!("; look first at {called}"),
        }
    });
    let on = match finding.tables.is_empty() {
        true => String::new(),
        false => format!("; the locks are of {}", list(&finding.tables)),
    };
    let mut text = match finding.cause {
        // It tells who ended the wait, and what that one did meanwhile.
        Cause::Wait if finding.confidence == Confidence::Confident => finding.sentence.clone(),
        _ => format!("At {} {possibly}{cause}{wait}{named}{on}.", counted(*level as u64, "client")),
    };
    if finding.named.is_empty() && finding.wait.is_none() {
        text += &format!(" {}", finding.sentence);
    }
    if finding.confidence == Confidence::Masked {
        text += " The CPUs are saturated, which hides its effect.";
    }
    text
}

/// Of the mean latency, from which on a function alone is worth a look.
const STANDS_OUT: f64 = 0.1;

/// The share of the mean latency that would go with a function; `None`: it cannot be told.
fn share_of(named: &Named, finding: &Finding) -> Option<f64> {
    let whole = finding.effect.filter(|effect| effect.share > 0.0)?;
    Some(named.effect? / whole.latency * whole.share)
}

/// What would go with the cause.
fn effect(finding: &Finding) -> String {
    let Some(without) = without(finding.cause) else { return String::new() };
    let Some(effect) = &finding.effect else { return format!(" {without}: it cannot be told what would change.") };
    let faster =
        effect.throughput.map_or(String::new(), |more| format!(", {} times the throughput", significant(1.0 + more)));
    format!(" {without}: {} ({:.0} %) less latency{faster}.", time(effect.latency), 100.0 * effect.share)
}

/// A function as it is called here: its short name without closures, of a long one the end.
pub(super) fn name(full: &str) -> String {
    name_within(&without_closures(&short_name(full)), NAME)
}

/// What grew: place, wait, function.
pub(super) fn grew(grown: &Grown) -> String {
    let Grown { from, to, latency, wait, function } = grown;
    let mut text = match latency {
        Some(growth) => {
            let word = if growth.latency < 0.0 { "fell" } else { "grew" };
            let by = time(growth.latency.abs());
            let mut text = format!("From {from} to {} the mean latency {word} by {by}", counted(*to as u64, "client"));
            let most =
                growth.places.iter().filter(|(_, nanos)| *nanos >= 0.05 * growth.latency && growth.latency > 0.0);
            let most =
                most.take(2).map(|(place, nanos)| format!("{:.0} % {}", 100.0 * nanos / growth.latency, short(*place)));
            let most: Vec<String> = most.collect();
            if !most.is_empty() {
                text += &format!(": {}", list(&most));
            }
            text + "."
        }
        None => format!("From {from} to {to} clients: the latency is not known at both."),
    };
    text += &match wait {
        Most::Grew { name: what, nanos } => {
            let what =
                what.strip_prefix("at ").map_or_else(|| what.clone(), |function| format!("at {}", name(function)));
            format!(" Wait that grew most: {what}, by {} a query.", time(*nanos))
        }
        Most::None => " No wait grew.".into(),
        Most::NotMeasured => " Waits: not measured at both levels.".into(),
    };
    text += &match function {
        Most::Grew { name: function, nanos } => {
            format!(" Function that grew most: {}, by {} of CPU per query.", name(function), time(*nanos))
        }
        Most::None => format!(
            " No function's CPU per query grew beyond chance by more than {} of all CPU per query.",
            percent(LEAST_GROWTH)
        ),
        Most::NotMeasured => " CPU by function: not measured at both levels.".into(),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_called_by_the_end_of_its_name() {
        let cases = [
            ("app::serve", "app::serve"),
            ("mz_pgwire::StateMachine::advance_ready::{closure#0}", "mz_pgwire::StateMachine::advance_ready"),
            (
                "adapter::coord::timestamp_oracle::BatchingTimestampOracle::read_ts",
                "…::BatchingTimestampOracle::read_ts",
            ),
            ("main", "main"),
        ];
        for (full, called) in cases {
            assert_eq!(name(full), called);
        }
    }
}
