//! Where the latency goes, in short: the parts of the latency that have a share of it, at the first and the last level.
//! Invariant: a row is shown where its share is 1 % at either level; the others are counted and named.

use super::model::{Align, Cell, Column, Section, Table};
use super::nodes::{described, residual_share, rows};
use crate::analyze::time::nodes::{Known, LevelNodes, Node};
use crate::words::{counted, list, percent, time};
use std::collections::BTreeMap;

/// Of the latency: parts below it are named together.
const LEAST: f64 = 0.01;
/// Names of parts that are not shown, at most.
const NAMES: usize = 6;

/// The section; of more than two levels the first and the last.
pub fn tree_section(levels: &BTreeMap<usize, LevelNodes>) -> Section {
    let ends: BTreeMap<usize, &LevelNodes> =
        levels.iter().take(1).chain(levels.iter().next_back()).map(|(level, nodes)| (*level, nodes)).collect();
    let title = "Where the latency goes".into();
    let mut columns = vec![Column::text("node", "part of the latency")];
    for level in ends.keys() {
        columns.push(figure(&format!("L{level}"), &format!("at {level}")));
        columns.push(figure(&format!("L{level}_share"), "share"));
    }
    let (mut shown, mut small, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for (depth, nodes) in rows(ends.values().copied()) {
        let Some(last) = nodes.iter().rev().find_map(|node| *node) else { continue };
        let name = described(&last.what, &last.key);
        let share = nodes
            .iter()
            .flatten()
            .filter_map(|node| node.share)
            .fold(None, |most: Option<f64>, share| Some(most.map_or(share, |most| most.max(share))));
        match share.filter(|_| last.what.is_part()) {
            Some(share) if share >= LEAST => shown.push(row(depth, &name, &nodes)),
            Some(_) => small.push(name),
            None if nodes.iter().flatten().all(|node| matches!(node.known, Known::Not(_))) => unknown.push(name),
            // Shared by several queries, or set beside the parts: no part of one query's latency.
            None => {}
        }
    }
    let mut notes = Vec::new();
    if !small.is_empty() {
        notes.push(format!("{} below 1 %: {}.", counted(small.len() as u64, "more part"), named(small)));
    }
    if !unknown.is_empty() {
        notes.push(format!("{} not measured: {}.", counted(unknown.len() as u64, "part"), named(unknown)));
    }
    notes.extend(ends.iter().filter_map(|(level, nodes)| residual_share(*level, nodes)));
    Section {
        id: "tree",
        title,
        tables: vec![Table { columns, rows: shown, ..Table::default() }],
        notes,
        ..Section::default()
    }
}

fn figure(key: &str, header: &str) -> Column {
    Column { align: Align::Right, ..Column::text(key, header) }
}

fn row(depth: usize, name: &str, nodes: &[Option<&Node>]) -> Vec<Cell> {
    let cells = nodes.iter().flat_map(|node| {
        let mean = node.and_then(|node| node.mean).map_or("-".into(), time);
        let share = node.and_then(|node| node.share).map_or("-".into(), percent);
        [Cell::Text(mean), Cell::Text(share)]
    });
    std::iter::once(Cell::Text(format!("{}{name}", "  ".repeat(depth)))).chain(cells).collect()
}

fn named(mut names: Vec<String>) -> String {
    names.dedup();
    let more = names.len().saturating_sub(NAMES);
    names.truncate(NAMES);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    list(&names)
}
