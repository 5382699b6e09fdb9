//! Answers, diagnoses and comparisons for programs. Invariant: as of reports, each figure is an object with its unit in
//! SI units, and what is one of a few is a name out of an enumeration.

use super::{code, si};
use crate::analyze::compare::difference::Row;
use crate::analyze::compare::headline::{Headline, LevelHeadline};
use crate::analyze::judge::answer::{Answer, AnswerLevel, Doubt, First, Grown, Lacking, Most};
use crate::analyze::judge::diagnose::{Diagnosis, Effect, Evidence, Finding, Named};
use crate::render::checks::check_name;
use crate::render::difference::{name_of, scale_of};
use crate::wire::Place;
use serde_json::{Value, json as value};

/// A figure of this measure, whose `shown` unit tells the unit and the factor.
fn figure(measure: &str, number: impl Into<Option<f64>>, shown: &str) -> Value {
    let si::Unit { name, factor } = si::unit(Some(shown), None);
    value!({"measure": measure, "value": number.into().map(|number| number * factor), "unit": name})
}

/// The figure with what it is about besides.
fn about(mut figure: Value, facts: &[(&str, Value)]) -> Value {
    facts.iter().for_each(|(key, fact)| figure[*key] = fact.clone());
    figure
}

/// The figure with its interval, in the unit of `shown`.
fn within(figure: Value, interval: Option<(f64, f64)>, shown: &str) -> Value {
    let Some((low, high)) = interval else { return figure };
    let factor = si::unit(Some(shown), None).factor;
    about(figure, &[("low", (low * factor).into()), ("high", (high * factor).into())])
}

/// The answer of a run; `next` are the commands that lead on.
pub fn answer_value(answer: &Answer, next: &[(String, String)]) -> Value {
    value!({
        "run": answer.run,
        "ended": answer.ended,
        "windows": answer.windows,
        "rows": answer.levels.iter().flat_map(level_rows).collect::<Vec<_>>(),
        "verdict": answer.first.as_ref().map(first),
        "not_diagnosed": answer.not_diagnosed,
        "grew": answer.grown.as_ref().map(grown),
        "checks": answer.doubts.iter().map(doubt).collect::<Vec<_>>(),
        "missing": answer.missing.iter().map(lacking).collect::<Vec<_>>(),
        "left_out": answer.left_out,
        "changes": answer.changes,
        "next": commands(next),
    })
}

fn commands(next: &[(String, String)]) -> Vec<&str> {
    next.iter().map(|(command, _)| command.as_str()).collect()
}

fn level_rows(level: &AnswerLevel) -> Vec<Value> {
    let quantile = |nanos: Option<u64>| nanos.map(|nanos| nanos as f64);
    let by = if level.by_sockets { "sockets" } else { "client" };
    let mean = about(figure("mean_latency", level.mean, "ns"), &[("by", by.into())]);
    let mut rows = vec![
        figure("throughput", level.throughput, "q/s"),
        mean,
        figure("p50", quantile(level.p50), "ns"),
        figure("p99", quantile(level.p99), "ns"),
        figure("p999", quantile(level.p999), "ns"),
    ];
    if let Some(why) = &level.why {
        rows.iter_mut().filter(|row| row["value"].is_null()).for_each(|row| row["missing"] = why.as_str().into());
    }
    let there = |(place, clients): &(Place, f64)| {
        about(figure("population", *clients, "connections"), &[("place", code(place).into())])
    };
    rows.extend(level.places.iter().flatten().map(there));
    rows.into_iter().map(|row| about(row, &[("level", level.level.into())])).collect()
}

fn first(first: &First) -> Value {
    about(finding_value(&first.finding), &[("level", first.level.into())])
}

/// A verdict of a diagnosis.
fn finding_value(finding: &Finding) -> Value {
    let there = finding.there.map(|nanos| figure("time_there", nanos, "ns per query"));
    value!({
        "cause": code(&finding.cause),
        "confidence": code(&finding.confidence),
        "wait": finding.wait,
        "tables": finding.tables,
        "sentence": finding.sentence,
        "because": finding.because,
        "next": finding.next,
        "refuted_by": finding.refuted_by,
        "effect": finding.effect.iter().flat_map(effect).chain(there).collect::<Vec<_>>(),
        "functions": finding.named.iter().flat_map(named).collect::<Vec<_>>(),
        "evidence": finding.evidence.iter().map(evidence).collect::<Vec<_>>(),
    })
}

/// What would go with the cause; without the throughput where nothing can be said of it.
fn effect(effect: &Effect) -> Vec<Value> {
    let always = [figure("latency_saved", effect.latency, "ns"), figure("share_of_latency", effect.share, "ratio")];
    let gained = effect.throughput.map(|gained| figure("throughput_gained", gained, "ratio"));
    always.into_iter().chain(gained).collect()
}

fn named(named: &Named) -> Vec<Value> {
    let mut facts = vec![("function", Value::from(named.name.as_str()))];
    facts.extend(named.process.as_ref().map(|process| ("process", process.as_str().into())));
    let cost = within(figure("cost", named.cost, "ns per query"), named.interval, "ns per query");
    let saved = named.effect.map(|nanos| figure("latency_saved", nanos, "ns"));
    std::iter::once(cost).chain(saved).map(|row| about(row, &facts)).collect()
}

fn evidence(evidence: &Evidence) -> Value {
    let Evidence { what, value, unit, level, source } = evidence;
    let facts = [("what", what.as_str().into()), ("level", (*level).into()), ("source", source.as_str().into())];
    about(figure("evidence", *value, unit), &facts)
}

fn grown(grown: &Grown) -> Value {
    let mut rows = Vec::new();
    if let Some(growth) = &grown.latency {
        rows.push(figure("mean_latency", growth.latency, "ns"));
        let place =
            |(place, nanos): &(Place, f64)| about(figure("time", *nanos, "ns"), &[("place", code(place).into())]);
        rows.extend(growth.places.iter().map(place));
        rows.push(figure("in_no_place", growth.rest, "ns"));
        rows.push(figure("cpu", growth.work, "ns per query"));
    }
    rows.extend(most("wait", "time", &grown.wait));
    rows.extend(most("function", "cpu", &grown.function));
    value!({"from": grown.from, "to": grown.to, "rows": rows})
}

fn most(what: &str, measure: &str, most: &Most) -> Option<Value> {
    match most {
        Most::Grew { name, nanos } => {
            Some(about(figure(measure, *nanos, "ns per query"), &[(what, name.as_str().into())]))
        }
        Most::None => None,
        Most::NotMeasured => {
            let facts = [(what, Value::Null), ("missing", "not measured at both levels".into())];
            Some(about(figure(measure, None, "ns per query"), &facts))
        }
    }
}

fn doubt(doubt: &Doubt) -> Value {
    value!({
        "check": check_name(&doubt.check),
        "status": code(&doubt.status),
        "windows": doubt.windows,
        "levels": doubt.levels,
        "text": doubt.check.to_string(),
        "remedy": doubt.check.remedy(),
    })
}

fn lacking(lacking: &Lacking) -> Value {
    value!({"part": code(&lacking.what), "why": lacking.why, "windows": lacking.windows})
}

/// The diagnosis of a level.
pub fn diagnosis_value(diagnosis: &Diagnosis) -> Value {
    let latency = figure("mean_latency", diagnosis.latency, "ns");
    value!({
        "level": diagnosis.level,
        "rows": [
            figure("clients", diagnosis.clients, "clients"),
            figure("queries_under_way", diagnosis.under_way, "queries"),
            figure("throughput", diagnosis.throughput, "q/s"),
            about(latency, &[("by", code(&diagnosis.latency_by).into())]),
            figure("share_of_latency_not_named", diagnosis.left, "ratio"),
        ],
        "verdicts": diagnosis.verdicts.iter().map(finding_value).collect::<Vec<_>>(),
        "cpu_as_at_level": diagnosis.lower,
        "not_judged": diagnosis.not_judged,
    })
}

/// A comparison in short; `next` are the commands that lead on.
pub fn headline_value(headline: &Headline, next: &[(String, String)]) -> Value {
    value!({
        "before": headline.before,
        "after": headline.after,
        "levels": headline.levels.iter().map(headline_level).collect::<Vec<_>>(),
        "unlike": headline.unlike,
        "notes": headline.notes,
        "next": commands(next),
    })
}

fn headline_level(level: &LevelHeadline) -> Value {
    let rows = [&level.throughput, &level.latency, &level.most].into_iter().flatten().flat_map(compared);
    let function = level.function.as_ref().map(|(name, nanos)| {
        about(figure("difference", *nanos, "ns per query"), &[("function", name.as_str().into())])
    });
    value!({
        "level": level.level,
        "verdict": code(&level.is),
        "basis": level.basis.map(|basis| code(&basis)),
        "windows_before": level.windows.0,
        "windows_after": level.windows.1,
        "figures_differing": level.differing.0,
        "figures_compared": level.differing.1,
        "windows_marked": level.marked,
        "rows": rows.chain(function).collect::<Vec<_>>(),
    })
}

/// The figures of one row of a comparison.
fn compared(row: &Row) -> Vec<Value> {
    let (unit, factor) = scale_of(&row.subject);
    let scaled = |number: Option<f64>| number.map(|number| number * factor);
    let ends = |ends: Option<(f64, f64)>| ends.map(|(low, high)| (low * factor, high * factor));
    let mut rows = vec![
        figure("before", scaled(row.before), &unit),
        figure("after", scaled(row.after), &unit),
        within(figure("difference", scaled(row.difference), &unit), ends(row.difference_interval), &unit),
        within(figure("ratio", row.ratio, "ratio"), row.ratio_interval, "ratio"),
    ];
    if let Some(why) = &row.missing {
        rows.iter_mut().filter(|row| row["value"].is_null()).for_each(|row| row["missing"] = why.as_str().into());
    }
    let facts = [("figure", name_of(&row.subject).into()), ("verdict", code(&row.verdict).into())];
    rows.into_iter().map(|figure| about(figure, &facts)).collect()
}
