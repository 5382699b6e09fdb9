//! Where the latency goes, as a tree with one row a node, and what of it is not explained.

use super::figure::significant;
use super::model::{Cell, Column, Section, Table};
use super::places::words;
use crate::analyze::nodes::{Known, LevelNodes, Node, OwnWork, What};
use std::collections::BTreeMap;

/// The tree over all levels, and a sentence a level on what is known only by subtraction.
pub fn nodes_section(levels: &BTreeMap<usize, LevelNodes>) -> Section {
    let notes = levels.iter().flat_map(|(level, nodes)| remarks(*level, nodes)).collect();
    let tables = vec![nodes_table(levels)];
    Section { title: "Where the latency goes".into(), tables, notes, ..Section::default() }
}

fn nodes_table(levels: &BTreeMap<usize, LevelNodes>) -> Table {
    let mut columns = vec![Column::text("node", "node"), Column::text("per", "of one")];
    for level in levels.keys() {
        columns.push(Column::number(&format!("L{level}"), &format!("time {level}"), "µs"));
        columns.push(Column::number(&format!("L{level}_times"), "a query", ""));
        columns.push(Column::number(&format!("L{level}_share"), "of latency", "%"));
    }
    columns.push(Column::text("known", "known"));
    columns.push(Column::text("key", "key"));
    let mut rows = Vec::new();
    let roots: Vec<Option<&Node>> = levels.values().map(|level| Some(&level.latency)).collect();
    add_rows(&roots, 0, &mut rows);
    let notes = vec![
        "A batch that several queries share is part of each one's wait: it has no share of the latency, and is not subtracted. From load.json, wire.json, \
         metrics-before.prom, metrics-after.prom and statements.json of each window."
            .to_string(),
    ];
    Table { title: String::new(), columns, rows, notes }
}

/// The rows of one node, given as each level has it, and of all below it: those that only some levels have too.
fn add_rows(node: &[Option<&Node>], depth: usize, rows: &mut Vec<Vec<Cell>>) {
    let Some(last) = node.iter().rev().find_map(|node| *node) else { return };
    let mut row = vec![Cell::Text(format!("{}{}", "  ".repeat(depth), name(last))), Cell::Text(last.per.clone())];
    node.iter().for_each(|node| row.extend(cells(*node)));
    row.push(Cell::Text(known(last)));
    row.push(Cell::Text(last.key.clone()));
    rows.push(row);
    let mut keys: Vec<&str> = Vec::new();
    for part in node.iter().flatten().flat_map(|node| &node.parts) {
        if !keys.contains(&part.key.as_str()) {
            keys.push(&part.key);
        }
    }
    for key in keys {
        let parts = node.iter().map(|node| node.and_then(|node| node.parts.iter().find(|part| part.key == key)));
        add_rows(&parts.collect::<Vec<_>>(), depth + 1, rows);
    }
}

/// Time, multiplicity, share.
fn cells(node: Option<&Node>) -> [Cell; 3] {
    let Some(node) = node else {
        let why = || Cell::Missing("not to be subtracted at this level: several queries share one".into());
        return [why(), why(), why()];
    };
    let why = match &node.known {
        Known::Not(why) => why,
        _ => "several queries share one",
    };
    [
        Cell::figure(node.mean.map(|nanos| nanos / 1e3), why),
        node.times.map_or(Cell::Missing(why.to_string()), Cell::Figure),
        Cell::figure(node.share.map(|share| share * 100.0), why),
    ]
}

fn name(node: &Node) -> String {
    match &node.what {
        What::Latency => "the client's own mean latency".into(),
        What::Place { hop, place } => words(*place, hop.is_none()).into(),
        What::Measured => node.key.clone(),
        What::Compared => format!("compare: {}, by the database's statistics", node.key),
        What::Rest(Some(words)) => format!("rest: {words}"),
        What::Rest(None) => "rest".into(),
    }
}

fn known(node: &Node) -> String {
    match &node.known {
        Known::Measured { .. } => "measured".into(),
        Known::Subtraction => "by subtraction".into(),
        Known::Not(_) => "not measured".into(),
    }
}

/// What is not explained, what does not fit, what is shared, and what is not measured.
fn remarks(level: usize, nodes: &LevelNodes) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(unexplained) = nodes.unexplained() {
        let largest = nodes.by_subtraction();
        let named: Vec<String> = largest.iter().take(3).map(|(node, share)| rest_words(node, *share)).collect();
        notes.push(format!(
            "Level {level}: {:.1} % of the latency is not explained; by subtraction alone {:.1} % are known{}{}.",
            unexplained * 100.0,
            largest.iter().map(|(_, share)| share.abs()).sum::<f64>() * 100.0,
            if named.is_empty() { "" } else { ", most of it " },
            named.join(", ")
        ));
    }
    if let Some(OwnWork { before, behind, after, queries }) = &nodes.own_work {
        let micros = |nanos: &f64| significant(nanos / 1e3);
        notes.push(format!(
            "Level {level}: by the sockets alone the server works {} µs on a query before it asks the database, waits {} µs, and works {} µs \
             until it answers (means of {queries} sampled queries): the rests within its hands lie there, and are not counted as \
             unexplained.",
            micros(before),
            micros(behind),
            micros(after)
        ));
    }
    for node in nodes.latency.all() {
        if let Some(excess) = node.excess() {
            let percent = excess * 100.0;
            notes.push(format!(
                "Level {level}: the parts of {} exceed it by {percent:.1} %: they are not all of the same calls.",
                node.key
            ));
        }
        notes.extend(node.shared().into_iter().map(|(part, queries)| shared(level, node, part, queries)));
    }
    notes
}

fn rest_words(node: &Node, share: f64) -> String {
    let of = node.key.as_str();
    let micros = significant(node.mean.unwrap_or(0.0) / 1e3);
    format!("{of} ({micros} µs, {:.1} %)", share * 100.0)
}

fn shared(level: usize, whole: &Node, part: &Node, queries: f64) -> String {
    let micros = |node: &Node| significant(node.mean.unwrap_or(0.0) / 1e3);
    format!(
        "Level {level}: {} takes {} µs a {}, {} {} µs a {}; {} of the former share one of the latter, so the means are of different \
         weights and are not subtracted.",
        whole.key,
        micros(whole),
        whole.per,
        part.key,
        micros(part),
        part.per,
        significant(queries)
    )
}
