//! Findings held against the preset's rules, and put in order. Invariant: a confident finding passes every bound of
//! its rule, and where there is none the answer is that there is no single cause.

use super::owners::{Within, owners};
use super::precise::{self, Judged};
use super::{Candidate, Case, Confidence, Effect, Finding};
use super::{behind, between_hosts, cpu, in_hand, machine, queries_wait, validity, waits};
use crate::analyze::time::places::LevelPlaces;
use crate::preset::{Cause, Rule};

/// Share of the latency below which a possible cause is not worth its lines.
const WORTH_SAYING: f64 = 0.01;

/// What is said of a level.
pub(super) struct Judgement {
    /// The findings in order.
    pub verdicts: Vec<Finding>,
    /// Share of the latency that all of them leave.
    pub left: Option<f64>,
    /// What could not be looked for.
    pub not_judged: Vec<String>,
}

/// The findings in order, and what could not be looked for.
pub(super) fn judge(case: &Case) -> Judgement {
    let mut findings = validity::findings(case);
    findings.extend(cpu::findings(case));
    findings.extend(waits::findings(case));
    findings.extend(queries_wait::findings(case));
    findings.extend(behind::findings(case));
    findings.extend(between_hosts::finding(case));
    findings.extend(in_hand::findings(case));
    let judged = findings.into_iter().filter_map(|finding| verdict(case, finding)).collect();
    let mut judged = precise::most_precise(judged);
    if !judged.iter().any(|judged| judged.finding.confidence == Confidence::Confident) {
        let all = owners(case.naming, &case.facts.windows, Within::Everything);
        judged.extend(verdict(case, machine::no_single_cause(case, &all)));
    }
    let left = precise::left(case, &judged);
    Judgement { verdicts: in_order(judged), left, not_judged: not_judged(case) }
}

fn in_order(judged: Vec<Judged>) -> Vec<Finding> {
    let sizes: Vec<f64> = judged.iter().map(|one| size(one, &judged)).collect();
    let mut ordered: Vec<(f64, Finding)> = sizes.into_iter().zip(judged.into_iter().map(|one| one.finding)).collect();
    ordered.sort_by(|(size_a, a), (size_b, b)| order(a).cmp(&order(b)).then(size_b.total_cmp(size_a)));
    ordered.into_iter().map(|(_, finding)| finding).collect()
}

/// Confident findings before possible ones, by what they say something of; masked causes before what masks them.
fn order(verdict: &Finding) -> (Confidence, u8) {
    match verdict.confidence {
        Confidence::Masked => (Confidence::Confident, class(Cause::CpuSaturated) - 1),
        confidence => (confidence, class(verdict.cause)),
    }
}

/// ns of latency by which findings of one kind are ordered.
fn size(one: &Judged, all: &[Judged]) -> f64 {
    match (one.finding.confidence, one.finding.there) {
        (Confidence::Masked, Some(there)) => there,
        _ => precise::order_by(one, all),
    }
}

/// What a finding says something of: the run, a cause, the machine's state.
fn class(cause: Cause) -> u8 {
    match cause {
        Cause::SlowPath | Cause::Churn => 0,
        // 2: what saturated CPUs mask.
        Cause::CpuSaturated => 3,
        Cause::NoSingleCause => 4,
        _ => 1,
    }
}

/// `None` where there is no rule, or the finding passes none of its bounds.
fn verdict(case: &Case, finding: Candidate) -> Option<Judged> {
    let rule = case.preset.rule.iter().find(|rule| rule.cause == finding.cause)?;
    let effect = finding.removal.as_ref().and_then(|removal| case.effect(removal));
    let effect = effect.map(|latency| of_latency(case, latency));
    let at_least = finding.at_least.as_ref().and_then(|removal| case.effect(removal));
    let certain = at_least.map(|latency| latency / case.facts.latency);
    let share = certain.or(effect.map(|effect| effect.share));
    let (bounds, mut because) = bounds(rule, share, certain.is_some(), &finding);
    let hidden = masked(case, rule, &finding).filter(|_| bounds == [false, true]);
    because.push_str(&hidden.map_or(String::new(), |share| {
        format!(
            "; queries spend {:.0} % of the latency at it, but the CPUs are saturated: without it they would wait for \
             one instead",
            100.0 * share
        )
    }));
    let confidence = match bounds {
        [true, true] => Confidence::Confident,
        _ if hidden.is_some() => Confidence::Masked,
        [large, recognised]
            if near(large, share, rule.share)
                && near(recognised, measured(&finding), rule.threshold)
                && share.is_none_or(|share| share >= WORTH_SAYING) =>
        {
            Confidence::Possible
        }
        _ => return None,
    };
    let Candidate { cause, wait, sentence, there, named, evidence, removal, ends, divided, tables, .. } = finding;
    let (refuted_by, next) = (rule.refuted_by.clone(), rule.next.clone());
    let finding = Finding {
        cause,
        wait,
        tables,
        sentence,
        confidence,
        because,
        there,
        effect,
        named,
        evidence,
        refuted_by,
        next,
    };
    Some(Judged { finding, removal, ends, divided })
}

/// Of the latency, from which on what would be left is no more than the error of what would go.
const NEARLY_ALL: f64 = 0.99;

/// The effect that takes so much latency away.
fn of_latency(case: &Case, latency: f64) -> Effect {
    let share = latency / case.facts.latency;
    let think = case.facts.think.filter(|_| share < NEARLY_ALL);
    Effect { latency, share, throughput: think.map(|think| latency / (case.facts.latency - latency + think)) }
}

/// The share of the latency that queries spend at it, 0..1, where that is much and saturated CPUs hide its effect. Half
/// of the bound is much there: most of the latency is the wait for a CPU. `None`: nothing hides it.
fn masked(case: &Case, rule: &Rule, finding: &Candidate) -> Option<f64> {
    let (cpu, _) = case.facts.cpu.zip(case.network.as_ref())?;
    let throughput = case.facts.throughput;
    let saturated = cpu.saturation(throughput) >= case.threshold(Cause::CpuSaturated)
        || cpu.saturation_for_server(throughput) >= Some(case.threshold(Cause::CpuLimit));
    let share = finding.there? / case.facts.latency;
    (saturated && near(false, Some(share), rule.share)).then_some(share)
}

/// A bound is passed, or missed by no more than half of it.
fn near(passed: bool, value: Option<f64>, bound: f64) -> bool {
    passed || value.is_some_and(|value| value >= bound / 2.0)
}

fn measured(finding: &Candidate) -> Option<f64> {
    finding.measure.map(|(value, _)| value)
}

/// Whether the effect and the measure reach the rule's bounds, and the comparison in words.
fn bounds(rule: &Rule, share: Option<f64>, certain: bool, finding: &Candidate) -> ([bool; 2], String) {
    let mut said = Vec::new();
    let mut large = true;
    if rule.share > 0.0 {
        large = share.is_some_and(|share| share >= rule.share);
        let at_least = if certain { "at least " } else { "" };
        said.push(match share {
            Some(share) => format!(
                "its effect is {at_least}{:.0} % of the latency (bound: {:.0} %)",
                100.0 * share,
                100.0 * rule.share
            ),
            None => "its effect cannot be told: the run has no scheduler statistics of the machine".into(),
        });
    }
    let mut recognised = true;
    if let Some((value, what)) = finding.measure.filter(|_| rule.threshold > 0.0) {
        recognised = value >= rule.threshold;
        said.push(format!("{what}: {value:.2} (bound: {:.2})", rule.threshold));
    }
    ([large, recognised], said.join("; "))
}

/// What the run lacks for some causes.
fn not_judged(case: &Case) -> Vec<String> {
    let facts = case.facts;
    let mut lacking = Vec::new();
    let mut unless = |there: bool, what: &str, why: &str| {
        if !there {
            lacking.push(format!("{what}: not measured: {why}"));
        }
    };
    unless(case.network.is_some(), "effects of causes", "the run has no scheduler statistics of the machine");
    let generator = facts.cpu.is_none_or(|cpu| cpu.generator.is_some());
    let why = "the generator's own CPU is not in the accounting, so that it cannot be told from theirs";
    unless(generator, "CPU of the generator and of other processes", why);
    let profiles = facts.windows.iter().all(|window| window.profile.is_some());
    unless(profiles, "functions that use the CPU", "the level has no profile");
    let followed = facts.blocked.is_some() || facts.workers.is_some();
    unless(followed, "what the server's threads wait for", "they were not followed off the CPU");
    unless(facts.hands.is_some(), "what queries wait for in the server's hands", "what carries them was not followed");
    if case.preset.diagnosis.behind.is_some() {
        let behind = facts.behind.as_ref();
        let of = |there: bool| behind.is_none() || there;
        unless(
            behind.is_some(),
            "the round trip behind the server",
            "the server has none of the preset's metrics of it",
        );
        unless(of(behind.is_some_and(|b| b.service.is_some())), "the statement's own time", "no statement statistics");
        let why = "the sockets of the hop were not followed at both ends, or did not tell its statement, so the \
                   database's own wait for a CPU counts for the path";
        unless(of(behind.is_some_and(|b| b.places.is_some())), "the database's side of the round trip", why);
        let together = |places: &LevelPlaces| case.preset.use_behind().is_some() && places.uses.is_none();
        let apart = !behind.is_some_and(|b| b.places.as_ref().is_some_and(together));
        let why = "what round trips are for was not told apart, so those for other statements count with it";
        unless(apart, "the database's side of that statement alone", why);
    }
    if case.preset.diagnosis.workers.is_some() {
        unless(facts.workers.is_some(), "blocked workers of the runtime", "no metrics of the runtime");
    }
    unless(case.levels.len() > 1, "growth", "the run has one level");
    lacking
}
