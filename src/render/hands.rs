//! What carried the queries while they were in the server's hands, as tables: the time by state and function at each
//! level, and what the longest waits were for. Invariant: rows of a level sum to its time in hand.

use super::model::{Cell, Column, Section, Table};
use crate::analyze::Identity;
use crate::analyze::time::hands::{LevelHands, Part, Step, in_words};
use crate::carriers::State;
use crate::profile::short_name;
use std::collections::BTreeMap;

/// Rows that have so much of a level's time are shown, at most so many.
const LEAST: f64 = 0.01;
const ROWS: usize = 16;
/// Steps of a chain that have so much of the time in hand are shown, so deep and so many of each step.
const LEAST_STEP: f64 = 0.02;
const DEPTH: usize = 6;
const SIDE_BY_SIDE: usize = 4;

/// The section; empty of tables where carriers were followed at no level.
pub fn hands_section(levels: &BTreeMap<usize, LevelHands>) -> Section {
    let title = "In the server's hands".to_string();
    let Some(highest) = levels.values().next_back() else {
        let notes = vec!["Not divided: what carries the queries was not followed in this run (--follow 2s).".into()];
        return Section { title, notes, ..Section::default() };
    };
    let mut tables = vec![parts_table(levels, highest)];
    tables.extend(chain_table(highest));
    Section { title, tables, notes: notes(levels), ..Section::default() }
}

/// What makes the parts of several levels one row.
type RowKey = (State, Option<Identity>, u32, Option<u16>);

fn key(part: &Part) -> RowKey {
    (part.state, part.function.clone(), part.wait_event, part.behind)
}

fn parts_table(levels: &BTreeMap<usize, LevelHands>, highest: &LevelHands) -> Table {
    let mut most: BTreeMap<RowKey, f64> = BTreeMap::new();
    for level in levels.values() {
        for part in &level.parts {
            let share = part.nanos / level.nanos.max(f64::MIN_POSITIVE);
            let known = most.entry(key(part)).or_default();
            *known = known.max(share);
        }
    }
    let mut shown: Vec<(RowKey, f64)> = most.iter().filter(|(_, share)| **share >= LEAST).map(own).collect();
    shown.sort_by(|a, b| b.1.total_cmp(&a.1));
    shown.truncate(ROWS);
    let shown: Vec<RowKey> = shown.into_iter().map(|(key, _)| key).collect();
    let mut columns = vec![Column::text("state", "what it does"), Column::text("function", "where")];
    columns.extend(levels.keys().map(|level| Column::number(&format!("L{level}"), &level.to_string(), "µs/query")));
    columns.push(Column::text("ended_by", &format!("ended by, at {}", highest.level)));
    let mut rows: Vec<Vec<Cell>> = shown.iter().map(|key| row(key, levels, highest)).collect();
    if shown.len() < most.len() {
        rows.push(others(&shown, most.len() - shown.len(), levels));
    }
    rows.push(total(levels));
    Table { title: String::new(), columns, rows, ..Table::default() }
}

fn own((key, share): (&RowKey, &f64)) -> (RowKey, f64) {
    (key.clone(), *share)
}

fn row(wanted: &RowKey, levels: &BTreeMap<usize, LevelHands>, highest: &LevelHands) -> Vec<Cell> {
    let (state, function, _, behind) = wanted;
    let part = |level: &LevelHands| level.parts.iter().find(|part| key(part) == *wanted).cloned();
    let mut cells = vec![Cell::Text(in_words(*state, *behind)), function.as_ref().map_or(Cell::Empty, name)];
    cells.extend(levels.values().map(|level| match part(level) {
        Some(part) => Cell::Figure(part.nanos / 1e3),
        None => Cell::Figure(0.0),
    }));
    let ender = part(highest).and_then(|part| {
        let (who, nanos) = part.ended_by.first()?.clone();
        let share = nanos / part.nanos.max(f64::MIN_POSITIVE);
        Some(if share > 0.95 { who } else { format!("{who} ({:.0} %)", 100.0 * share) })
    });
    cells.push(ender.map_or(Cell::Empty, Cell::Text));
    cells
}

fn name(function: &Identity) -> Cell {
    Cell::Name(function.name.clone())
}

fn others(shown: &[RowKey], number: usize, levels: &BTreeMap<usize, LevelHands>) -> Vec<Cell> {
    let rest = |level: &LevelHands| {
        level.parts.iter().filter(|part| !shown.contains(&key(part))).map(|part| part.nanos).sum::<f64>()
    };
    let mut cells = vec![Cell::Text(format!("{number} others")), Cell::Empty];
    cells.extend(levels.values().map(|level| Cell::Figure(rest(level) / 1e3)));
    cells.push(Cell::Empty);
    cells
}

fn total(levels: &BTreeMap<usize, LevelHands>) -> Vec<Cell> {
    let mut cells = vec![Cell::Text("in the server's hands".into()), Cell::Empty];
    cells.extend(levels.values().map(|level| Cell::Figure(level.nanos / 1e3)));
    cells.push(Cell::Empty);
    cells
}

/// The chain behind the waits of the highest level, indented by depth; `None` where nothing waits.
fn chain_table(level: &LevelHands) -> Option<Table> {
    let mut rows = Vec::new();
    push_steps(&level.chains, level.nanos, 0, &mut rows);
    (!rows.is_empty()).then(|| Table {
        title: format!("What the waits are for, at {} clients", level.level),
        columns: vec![
            Column::text("step", "step: who, in which state, in which function"),
            Column::number("time", "time", "µs/query"),
            Column::number("share", "of the time in hand", "%"),
        ],
        rows,
        notes: vec![
            "Below a wait stands what the one that ended it did meanwhile; its steps sum to the wait.".to_string(),
        ],
    })
}

fn push_steps(steps: &[Step], whole: f64, depth: usize, rows: &mut Vec<Vec<Cell>>) {
    let shown = steps.iter().filter(|step| step.nanos >= LEAST_STEP * whole).take(SIDE_BY_SIDE);
    for step in shown {
        let at = step.function.as_ref().map(|function| format!(" in {}", short_name(&function.name)));
        let text = format!(
            "{}{}: {}{}",
            "  ".repeat(depth),
            step.who,
            in_words(step.state, step.behind),
            at.unwrap_or_default()
        );
        rows.push(vec![Cell::Text(text), Cell::Figure(step.nanos / 1e3), Cell::Figure(100.0 * step.nanos / whole)]);
        if depth + 1 < DEPTH {
            push_steps(&step.children, whole, depth + 1, rows);
        }
    }
}

fn notes(levels: &BTreeMap<usize, LevelHands>) -> Vec<String> {
    let mut notes = vec![
        "A query is in the server's hands from the read of its last byte to the sending of its answer. What carries it \
         (a thread, or an async task) is in one state at a time, so that the rows sum to that time. From hands.json \
         and hands.pb.gz, of seconds of their own after the window."
            .to_string(),
    ];
    for level in levels.values() {
        notes.push(quality(level));
    }
    notes
}

fn quality(level: &LevelHands) -> String {
    let facts = &level.facts;
    let percent = |share: Option<f64>| share.map_or("none".into(), |share| format!("{:.1} %", 100.0 * share));
    let mut text = format!(
        "Level {}: {} queries in {:.1} s; {} of the waits have a complete stack, of {} it is known who ended them",
        level.level,
        level.queries,
        facts.carried.span.seconds(),
        percent(facts.complete),
        percent(facts.ended),
    );
    if let Some(sockets) = level.by_sockets {
        text += &format!("; {:.1} us a query, by the sockets {:.1}", level.nanos / 1e3, sockets / 1e3);
    }
    if let Some(cost) = facts.report.hit_cost.filter(|_| facts.report.hits > 0) {
        let seconds = facts.report.span.seconds().max(f64::MIN_POSITIVE);
        let queries = level.queries as f64 * seconds / facts.carried.span.seconds().max(f64::MIN_POSITIVE);
        text += &format!(
            "; following took {:.1} us a query of the server ({:.1} hits of probes, {:.1} us each)",
            facts.report.hits as f64 * cost as f64 / 1e3 / queries.max(1.0),
            facts.report.hits as f64 / queries.max(1.0),
            cost as f64 / 1e3,
        );
    }
    if let Some(why) = &facts.report.no_tasks {
        text += &format!("; async tasks were not followed: {why}");
    }
    if facts.report.lost > 0 {
        text += &format!("; {} events were lost", facts.report.lost);
    }
    text + "."
}
