//! Verdicts and checks, with the way to what they rest on. Invariant: the sentences are those of `diagnose` and of the
//! checks; each evidence leads to the part of the page that shows its file.

use super::answer::{status, word};
use super::flames::Flames;
use super::tables::{NAME, head, scrolled};
use super::{level_switch, part as part_of, tables};
use crate::analyze::judge::diagnose::{Diagnosis, Evidence, Finding};
use crate::analyze::page::Page;
use crate::check::{Check, Status};
use crate::profile::middle;
use crate::render::cause::{certain, without};
use crate::render::diagnosis::{cause_words, effect_words, evidence_words, explained, named_words, reckoned};
use crate::render::model::Section;
use crate::run::WindowId;
use crate::words::counted;
use maud::{Markup, html};

/// The seventh part.
pub(super) fn part(page: &Page, flames: &Flames, sections: &[Section]) -> Markup {
    let levels: Vec<usize> = page.diagnoses.iter().map(|diagnosis| diagnosis.level).collect();
    let highest = levels.last().copied();
    let body = html! {
        @if let Some(why) = &page.answer.not_diagnosed { p class="muted" { "Not diagnosed: " (why) "." } }
        @if !levels.is_empty() { (level_switch(&levels)) }
        @for diagnosis in &page.diagnoses {
            div data-level-panel=(diagnosis.level) { (of_level(flames, diagnosis, highest)) }
        }
        h3 id="checks" { "Checks" }
        (checks(&page.checks))
        (tables::behind(sections, &["checks"]))
    };
    part_of("verdicts", "Findings and checks", "Why it is slow, by which evidence, and what would refute it.", &body)
}

fn of_level(flames: &Flames, diagnosis: &Diagnosis, highest: Option<usize>) -> Markup {
    let remarks =
        explained(diagnosis).into_iter().chain(reckoned(diagnosis)).chain(diagnosis.not_judged.iter().cloned());
    html! {
        h3 { "At " (counted(diagnosis.level as u64, "client")) }
        @for (at, finding) in diagnosis.verdicts.iter().enumerate() {
            @let anchor = (Some(diagnosis.level) == highest).then(|| format!("verdict-{}", at + 1));
            article class="verdict" id=[anchor] { (verdict(flames, (diagnosis.level, at + 1), finding)) }
        }
        @for remark in remarks { p class="note" { (remark) } }
    }
}

fn verdict(flames: &Flames, (level, number): (usize, usize), finding: &Finding) -> Markup {
    // Where what is named is drawn: by the kinds of its evidence first.
    let kinds = || finding.evidence.iter().filter_map(kind).chain(["all"]);
    let drawn = |name: &str| kinds().find(|kind| flames.shows(level, kind, name));
    html! {
        h4 { (number) ". " (certain(finding.confidence)) (cause_words(finding)) }
        p { (finding.sentence) }
        @if let Some((effect, without)) = finding.effect.as_ref().zip(without(finding.cause)) {
            p { (without) ": " (effect_words(effect)) "." }
        }
        @if !finding.named.is_empty() {
            p { "Where:" }
            ul { @for named in &finding.named { li {
                (named_words(named)) " "
                @if let Some(kind) = drawn(&named.name) {
                    a href="#flames" data-go-level=(level) data-kind=(kind) data-find=(middle(&named.name, NAME)) {
                        "in the flamegraph"
                    }
                }
            } } }
        }
        @if !finding.evidence.is_empty() {
            p { "Evidence:" }
            ul class="evidence" { @for evidence in &finding.evidence { li {
                (evidence_words(evidence)) " " (shown(evidence)) (pictured(flames, evidence, finding))
            } } }
        }
        @if !finding.because.is_empty() { p { "Why it is said: " (finding.because) "." } }
        p { "Refuted if " (finding.refuted_by) ". Next: " (finding.next) "." }
    }
}

/// The way to what an evidence rests on.
fn shown(evidence: &Evidence) -> Markup {
    let (anchor, words) = behind(&evidence.source);
    html! { a href={ "#" (anchor) } data-go-level=(evidence.level) { (words) } }
}

/// The way to the flamegraph that shows an evidence: of its level and kind, with the function that is named marked.
fn pictured(flames: &Flames, evidence: &Evidence, finding: &Finding) -> Markup {
    let found = kind(evidence).filter(|kind| flames.has(evidence.level, kind));
    let named = |kind: &str| {
        let drawn = finding.named.iter().find(|named| flames.shows(evidence.level, kind, &named.name));
        drawn.map_or(String::new(), |named| middle(&named.name, NAME))
    };
    html! {
        @if evidence.source.starts_with("scheduler.json") { ", " a href="#speed" { "the bound by it" } }
        @if let Some(kind) = found {
            ", "
            a href="#flames" data-go-level=(evidence.level) data-kind=(kind) data-find=(named(kind)) {
                "the flamegraph" @if kind != "all" { " (" (kind) ")" }
            }
        }
    }
}

/// The kind of flamegraph that shows a file of a window.
fn kind(evidence: &Evidence) -> Option<&'static str> {
    match evidence.source.split([',', ' ']).next().unwrap_or_default() {
        "profile.pb.gz" => Some("all"),
        "offcpu.pb.gz" | "offcpu.json" => Some("all blocked"),
        "hands.json" | "hands.pb.gz" => Some("all in hand"),
        _ => None,
    }
}

/// The part of the page that shows a file of a window.
fn behind(source: &str) -> (&'static str, &'static str) {
    let first = source.split([',', ' ']).next().unwrap_or(source);
    match first {
        "scheduler.json" => ("table-costs", "what a query costs"),
        "wire.json" | "timelines.json.gz" => ("where", "where a query is"),
        "statements.json" => ("table-statements", "the statements"),
        "offcpu.pb.gz" | "offcpu.json" => ("table-waits", "what threads wait for"),
        "profile.pb.gz" => ("functions", "the functions"),
        "guards.json" => ("checks", "the checks"),
        "hands.json" | "hands.pb.gz" => ("hands", "in the server's hands"),
        name if name.starts_with("metrics") => ("table-metrics", "the metrics"),
        _ => ("speed", "throughput and latency"),
    }
}

/// The part of the page that shows what a check is about.
fn about(check: &Check) -> &'static str {
    match check {
        Check::GeneratorGap { .. }
        | Check::GeneratorCpu { .. }
        | Check::Errors { .. }
        | Check::WrongRows { .. }
        | Check::StaleReads { .. }
        | Check::SessionsLost { .. } => "speed",
        Check::PlacesSum { .. } | Check::OtherClients { .. } | Check::TargetSeen(_) => "where",
        Check::CarriedTime { .. } | Check::LostEvents { .. } => "hands",
        Check::ServerChurn { .. } | Check::Focus { .. } => "table-metrics",
        Check::LostSamples { .. } | Check::CompleteStacks { .. } | Check::Symbols { .. } => "flames",
        Check::SampledCpu { .. }
        | Check::OtherProcesses { .. }
        | Check::Steal { .. }
        | Check::MachineBusy { .. }
        | Check::BusiestThread { .. } => "table-costs",
        Check::Skew { .. } | Check::HostClocks { .. } => "time",
        Check::OfLoadHost { check, .. } => about(check),
        Check::TargetRestarted { .. } | Check::Unchecked { .. } => "measured",
    }
}

/// Every check, the worst first; those that hold are closed.
fn checks(checks: &[(WindowId, Check)]) -> Markup {
    let mut found: Vec<&(WindowId, Check)> = checks.iter().collect();
    found.sort_by_key(|(window, check)| (std::cmp::Reverse(check.status()), *window));
    let (held, not): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, check)| check.status() == Status::Pass);
    html! {
        p { @if checks.is_empty() { "Not measured: no check is stored with these windows." }
            @else { (held.len()) " of " (checks.len()) " checks passed." } }
        @if !not.is_empty() { (rows(&not)) }
        @if !held.is_empty() { details { summary { "The checks that passed" } (rows(&held)) } }
    }
}

fn rows(checks: &[&(WindowId, Check)]) -> Markup {
    let head = head([("words", "status"), ("words", "window"), ("words", "evidence"), ("words", "remedy")]);
    let rows = html! {
        table class="stack" {
            (head)
            tbody { @for (window, check) in checks { tr {
                td class="words" { span class={ "status " (status(check.status())) } { (word(check.status())) } }
                td class="words" { (window.directory()) }
                td class="words" { (check.to_string()) " " a href={ "#" (about(check)) } { "shown" } }
                td class="words" { (check.remedy().unwrap_or_default()) }
            } } }
        }
    };
    scrolled("Checks", &rows)
}
