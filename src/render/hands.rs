//! What carried the queries while they were in the server's hands, as tables: the time by state and function at each
//! level, and what the longest waits were for. Invariant: rows of a level sum to its time in hand.

use super::figure::{count, significant};
use super::json::code;
use super::model::{Cell, Column, Section, Table};
use crate::analyze::Identity;
use crate::analyze::time::hands::{LevelHands, Part, Step, in_words};
use crate::carriers::State;
use crate::profile::short_name;
use crate::words::{counted, time};
use std::collections::BTreeMap;

/// Rows that have so much of a level's time are shown, at most so many.
const LEAST: f64 = 0.01;
const ROWS: usize = 16;
/// Steps of a chain that have so much of the time in hand are shown, so deep and so many of each step.
const LEAST_STEP: f64 = 0.02;
const DEPTH: usize = 6;
const SIDE_BY_SIDE: usize = 4;

/// The section; empty of tables where carriers were followed at no level. `unknown`: of the other levels, why not.
pub fn hands_section(levels: &BTreeMap<usize, LevelHands>, unknown: &BTreeMap<usize, String>) -> Section {
    let title = "In the server's hands".to_string();
    let Some(highest) = levels.values().next_back() else {
        let why = unknown.values().next().map_or("the run has no window", String::as_str);
        let notes = vec![format!("Not divided: {why}.")];
        return Section { id: "hands", title, notes, ..Section::default() };
    };
    let mut tables = vec![parts_table(levels, highest)];
    tables.extend(chain_table(highest));
    let mut notes = notes(levels);
    notes.extend(unknown.iter().map(|(level, why)| format!("Level {level}: not divided: {why}.")));
    Section { id: "hands", title, tables, notes, ..Section::default() }
}

/// What makes the parts of several levels one row.
type RowKey = (State, Option<Identity>, Option<String>, Option<u16>);

fn key(part: &Part) -> RowKey {
    (part.state, part.function.clone(), part.wait_event.clone(), part.behind)
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
    columns.extend(levels.keys().map(|level| Column::at(*level, "time", &level.to_string(), "µs/query")));
    columns.push(Column::fact("ended_by", &format!("ended by, at {}", highest.level)));
    let mut rows: Vec<Vec<Cell>> = shown.iter().map(|key| row(key, levels, highest)).collect();
    if shown.len() < most.len() {
        rows.push(others(&shown, most.len() - shown.len(), levels));
    }
    rows.push(total(levels));
    Table { id: "states", columns, rows, ..Table::default() }
}

fn own((key, share): (&RowKey, &f64)) -> (RowKey, f64) {
    (key.clone(), *share)
}

fn row(wanted: &RowKey, levels: &BTreeMap<usize, LevelHands>, highest: &LevelHands) -> Vec<Cell> {
    let (state, function, event, behind) = wanted;
    let part = |level: &LevelHands| level.parts.iter().find(|part| key(part) == *wanted).cloned();
    let words = || in_words(*state, *behind, event.as_deref());
    let does = turn(*state, highest).unwrap_or_else(|| of_loop(*state, highest, words()));
    let mut cells = vec![Cell::coded(&code(state), does), function.as_ref().map_or(Cell::Empty, name)];
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
        level.parts.iter().filter(|part| !shown.contains(&key(part))).fold(0.0, |sum, part| sum + part.nanos)
    };
    let mut cells = vec![Cell::coded("others", counted(number as u64, "other")), Cell::Empty];
    cells.extend(levels.values().map(|level| Cell::Figure(rest(level) / 1e3)));
    cells.push(Cell::Empty);
    cells
}

fn total(levels: &BTreeMap<usize, LevelHands>) -> Vec<Cell> {
    let mut cells = vec![Cell::coded("in_hand", "in the server's hands"), Cell::Empty];
    cells.extend(levels.values().map(|level| Cell::Figure(level.nanos / 1e3)));
    cells.push(Cell::Empty);
    cells
}

/// Of an event loop that has not passed the queries on yet: whether that is for want of a connection.
fn turn(state: State, level: &LevelHands) -> Option<String> {
    let State::BeforeHop { port } = state else { return None };
    let turn = level.facts.carried.turns.get(&port).filter(|turn| turn.nanos > 0)?;
    let busy = 100.0 * turn.all_busy as f64 / turn.nanos as f64;
    Some(format!("{}: all connections to it are busy {busy:.0} % of that time", in_words(state, None, None)))
}

/// What a thread or a task does that has several queries in hand says nothing of one of them.
fn of_loop(state: State, level: &LevelHands, words: String) -> String {
    let carried = &level.facts.carried;
    if carried.loops == 0 || carried.loops < carried.threads + carried.tasks {
        return words;
    }
    match state {
        State::Running => "its event loop runs on a CPU, for it or for others".into(),
        State::Runnable => "its event loop is ready, without a CPU".into(),
        State::Blocked => words.replace("its thread", "its event loop"),
        _ => words,
    }
}

/// The chain behind the waits of the highest level, indented by depth; `None` where nothing waits.
fn chain_table(level: &LevelHands) -> Option<Table> {
    let mut rows = Vec::new();
    push_steps(&level.chains, level.nanos, "", &mut rows);
    (!rows.is_empty()).then(|| Table {
        id: "chain",
        about: vec![("level", Cell::Count(level.level as u64))],
        title: format!("What the waits are for, at {} clients", level.level),
        columns: vec![
            Column::text("step", "step: who, in which state, in which function"),
            Column::number("time", "time", "µs/query"),
            Column::number("share", "of the time in hand", "%"),
        ],
        rows,
        notes: chain_notes(level),
    })
}

fn chain_notes(level: &LevelHands) -> Vec<String> {
    let chains = &level.facts.carried.chains;
    let mut notes =
        vec!["Below a wait stands what the one that ended it did meanwhile; its steps sum to the wait.".to_string()];
    if chains.chained < chains.waits {
        notes.push(format!(
            "This was put together for {} of the {} waits, taken evenly; they have {:.0} % of the time, and nothing is \
             scaled.",
            chains.chained,
            chains.waits,
            100.0 * chains.chained_nanos as f64 / (chains.nanos as f64).max(1.0)
        ));
    }
    notes
}

/// `above` is the number of the step above: 1.2 is the second step below the first.
fn push_steps(steps: &[Step], whole: f64, above: &str, rows: &mut Vec<Vec<Cell>>) {
    let depth = above.matches('.').count();
    let shown = steps.iter().filter(|step| step.nanos >= LEAST_STEP * whole).take(SIDE_BY_SIDE);
    for (at, step) in shown.enumerate() {
        let number = format!("{above}{}", at + 1);
        let place = step.function.as_ref().map(|function| format!(" in {}", short_name(&function.name)));
        let text = format!(
            "{}{}: {}{}",
            "  ".repeat(depth),
            step.who,
            in_words(step.state, step.behind, step.wait_event.as_deref()),
            place.unwrap_or_default()
        );
        rows.push(vec![
            Cell::coded(&number, text),
            Cell::Figure(step.nanos / 1e3),
            Cell::Figure(100.0 * step.nanos / whole),
        ]);
        if depth + 1 < DEPTH {
            push_steps(&step.children, whole, &format!("{number}."), rows);
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
        notes.extend(locks(level));
    }
    notes
}

/// The locks that were waited for most, as the server told.
fn locks(level: &LevelHands) -> Option<String> {
    if let Some(why) = &level.facts.no_locks {
        return Some(format!("Level {}: the server did not tell who waits for which lock: {why}.", level.level));
    }
    let waits = level.facts.locks.as_ref().filter(|waits| !waits.locks.is_empty())?;
    let mut locks: Vec<_> = waits.locks.iter().filter_map(|lock| Some((waits.mean(lock)?, lock))).collect();
    locks.sort_by(|a, b| b.0.total_cmp(&a.0));
    let shown = locks.iter().take(3).map(|(mean, sum)| {
        let tables = match sum.lock.tables.is_empty() {
            true => String::new(),
            false => format!(" of {}", sum.lock.tables.join(" or ")),
        };
        format!("{mean:.1} sessions for {}{tables}", sum.lock.kind)
    });
    let shown: Vec<String> = shown.collect();
    Some(format!(
        "Level {}: on average of {} readings of the server's locks waited {}.",
        level.level,
        waits.readings,
        shown.join(", ")
    ))
}

fn quality(level: &LevelHands) -> String {
    let facts = &level.facts;
    let mut text =
        format!("Level {}: {} queries in {:.1} s; ", level.level, count(level.queries), facts.carried.span.seconds());
    text += &match facts.complete.zip(facts.ended) {
        Some((complete, ended)) => format!(
            "{:.1} % of the waits have a complete stack, of {:.1} % it is known who ended them",
            100.0 * complete,
            100.0 * ended,
        ),
        None if facts.carried.moved > 0 => "no wait is told".into(),
        None => "nothing waited".into(),
    };
    let moved = 100.0 * facts.carried.moved as f64 / (facts.carried.nanos as f64).max(1.0);
    if facts.carried.moved > 0 {
        text += &format!(
            "; {moved:.0} % of the time is not told: threads take over each other's queries, as a runtime does with \
             tasks of its own that are not followed, so that what a thread does says nothing of one query"
        );
    }
    if let Some(sockets) = level.by_sockets {
        text += &format!("; {} a query, by the sockets {}", time(level.nanos), time(sockets));
    }
    if let Some(cost) = facts.report.hit_cost.filter(|_| facts.report.hits > 0) {
        let seconds = facts.report.span.seconds().max(f64::MIN_POSITIVE);
        let queries = level.queries as f64 * seconds / facts.carried.span.seconds().max(f64::MIN_POSITIVE);
        text += &format!(
            "; following took {} a query of the server ({} hits of probes, {} each)",
            time(facts.report.hits as f64 * cost as f64 / queries.max(1.0)),
            significant(facts.report.hits as f64 / queries.max(1.0)),
            time(cost as f64),
        );
    }
    if !level.named {
        text += "; the stacks could not be read, so functions have no names";
    }
    if let Some(why) = &facts.report.no_tasks {
        text += &format!("; async tasks were not followed: {why}");
    }
    if facts.report.lost > 0 {
        text += &format!("; {} events were lost", facts.report.lost);
    }
    if facts.report.stacks_lost > 0 {
        text += &format!("; there was no room for {} stacks", facts.report.stacks_lost);
    }
    for note in &facts.report.notes {
        text += &format!("; {note}");
    }
    text + "."
}
