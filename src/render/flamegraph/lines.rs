//! The two lines under a picture's title: what load it is of, and how its stacks came to be. Invariant: what is not
//! drawn is said.

use super::{Caption, Drawing};
use crate::analyze::cost::view::{FoldedFrames, LevelView, Per, Source};
use crate::profile::ColumnKind;
use crate::render::figure::{count, significant};
use crate::words::counted;

/// How much load the level had, and what is folded.
pub(super) fn load_line(view: &LevelView) -> String {
    if view.source.is_of_hands() {
        return hands_line(view);
    }
    let windows = counted(view.windows as u64, "window");
    let load = match view.per {
        Per::Hundredth => format!("queries not counted, {windows}"),
        Per::Query if view.seconds <= 0.0 => {
            format!("{} queries, seconds not known, {windows}", count(view.queries as u64))
        }
        Per::Query => format!(
            "{} q/s, {} queries in {} s, {windows}",
            significant(view.throughput),
            count(view.queries as u64),
            significant(view.seconds)
        ),
    };
    load + &folded_away(view)
}

/// How the stacks came to be, and what is not drawn.
pub(super) fn sampling_line(view: &LevelView, drawing: &Drawing) -> String {
    if view.source.is_of_hands() {
        return waits_line(view, drawing);
    }
    let from = &view.provenance;
    let joined = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" and ");
    let complete = from.complete.map_or("completeness of stacks not known".into(), |share| {
        format!("{:.1} % of weight on complete stacks", share * 100.0)
    });
    let samples = match (from.samples, from.switches) {
        (Some(samples), _) => format!("{} samples", count(samples)),
        (None, Some(switches)) => format!("{} waits", count(switches)),
        (None, None) => "samples not counted".into(),
    };
    let event = if from.events.is_empty() { "event not known".into() } else { joined(&from.events) };
    let lost = from.lost.map_or("losses not known".into(), |lost| format!("{lost} lost"));
    let mut line = format!("{samples}, {event}, {complete}, {lost}");
    line += &from.throttled.map_or(String::new(), |times| format!(", {times} throttled"));
    if from.accounted.is_some() {
        line += "; samples divide the CPU that the kernel accounts to their threads";
    }
    line += &not_drawn(drawing);
    line
}

/// `, 12.3 % of peek, 4.56 % of all CPU`: what part a width is, and of what; where costs are shares themselves, they
/// are not said twice.
pub(super) fn share(view: &LevelView, caption: &Caption, width: u64, drawn: u64) -> String {
    let column = &view.profile.columns[view.column];
    let whole = view.profile.total(view.column).max(0) as u64;
    let percent = |of: u64| significant(100.0 * width as f64 / (of as f64).max(1.0));
    let of_focus = caption.focus.as_ref().map_or(String::new(), |focus| format!(", {} % of {focus}", percent(drawn)));
    match view.per {
        Per::Hundredth => of_focus,
        Per::Query => format!("{of_focus}, {} % of all {}", percent(whole), weighed(view.source, &column.kind)),
    }
}

/// What the widths are, in words.
fn weighed(source: Source, kind: &ColumnKind) -> &str {
    match (source, kind) {
        (Source::InHand, _) => "time in hand",
        (_, ColumnKind::Cpu) => "CPU",
        (_, ColumnKind::Blocked) => "blocked time",
        (_, ColumnKind::Runnable) => "runnable time",
        (_, ColumnKind::Waited) => "time waited",
        (_, kind) => kind.as_str(),
    }
}

/// What is not drawn since it says nothing of the program.
fn folded_away(view: &LevelView) -> String {
    let folded = view.folded.filter(|folded| folded.functions > 0);
    folded.map_or_else(String::new, |FoldedFrames { functions, own }| {
        let own = significant(100.0 * own);
        let functions = counted(functions as u64, "runtime function");
        format!("; {functions} folded, whose own cost is {own} % (--unfolded)")
    })
}

/// Of the time in hand: queries, and what widths are.
fn hands_line(view: &LevelView) -> String {
    format!(
        "{} queries, {} q/s, in {} s of their own after the window; widths are wall time in the server's hands{}",
        count(view.queries as u64),
        significant(view.throughput),
        significant(view.seconds),
        folded_away(view)
    )
}

/// Of the time in hand: what is known of the waits.
fn waits_line(view: &LevelView, drawing: &Drawing) -> String {
    let from = &view.provenance;
    let percent = |share: Option<f64>| share.map_or("none".into(), |share| format!("{:.1} %", share * 100.0));
    format!(
        "{} of the waits on complete stacks, of {} it is known who ended them, {} events lost{}",
        percent(from.complete),
        percent(from.ended),
        from.lost.map_or("no count of".into(), count),
        not_drawn(drawing)
    )
}

pub(super) fn not_drawn(drawing: &Drawing) -> String {
    if drawing.pruned == 0 {
        return String::new();
    }
    format!(
        "; {} narrow frames not drawn, with {:.1} % of the picture's weight",
        count(drawing.pruned as u64),
        drawing.pruned_share * 100.0
    )
}
