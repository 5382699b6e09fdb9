//! Where the latency goes, as a tree with one row a node, and what of it is not explained.

use super::figure::significant;
use super::model::{Cell, Column, Section, Table};
use super::places::{short, words};
use crate::analyze::time::nodes::{Known, LevelNodes, Node, OwnWork, Phase, What};
use crate::wire::Place;
use crate::words::time;
use std::collections::BTreeMap;

/// The tree over all levels, and a sentence a level on what is known only by subtraction.
pub fn nodes_section(levels: &BTreeMap<usize, LevelNodes>) -> Section {
    let notes = levels.iter().flat_map(|(level, nodes)| remarks(*level, nodes)).collect();
    let tables = std::iter::once(nodes_table(levels)).chain(times_table(levels)).collect();
    Section { id: "tree", title: "Where the latency goes".into(), tables, notes, ..Section::default() }
}

fn nodes_table(levels: &BTreeMap<usize, LevelNodes>) -> Table {
    let mut columns = vec![Column::text("node", "node"), Column::text("per", "per")];
    for level in levels.keys() {
        columns.push(Column::at(*level, "time", &format!("time at {level}"), "µs"));
        columns.push(Column::at(*level, "share", &format!("share at {level}"), "%"));
    }
    let rows = rows(levels.values()).into_iter().map(|(depth, node)| {
        let last = node.iter().rev().find_map(|node| *node);
        let cells = node.iter().zip(levels.values()).flat_map(|(node, level)| time_and_share(*node, level));
        last.map(|last| heading(depth, last).into_iter().chain(cells).collect())
    });
    let notes = vec![
        "Shares are of the latency. Rows that begin with \"rest\" are known only by subtraction, and have no share \
         where the sockets measured the parts of what they lie in (\"by the sockets\"); those parts and \"compare\" \
         stand beside the server's metrics and are not summed with them. A batch that several queries share is a part \
         of each one's wait: it has no share, and is not subtracted. From load.json, wire.json, \
         metrics-before.prom.gz, metrics-after.prom.gz and statements.json of each window."
            .to_string(),
    ];
    Table { id: "tree", columns, rows: rows.flatten().collect(), notes, ..Table::default() }
}

/// How many of each node a query has, of those that are not once a query at every level.
fn times_table(levels: &BTreeMap<usize, LevelNodes>) -> Option<Table> {
    let mut columns = vec![Column::text("node", "node"), Column::text("per", "per")];
    columns.extend(levels.keys().map(|level| Column::at(*level, "times", &level.to_string(), "a query")));
    let once = |node: &Option<&Node>| node.and_then(|node| node.times).is_none_or(|times| (times - 1.0).abs() < 0.005);
    let counted = rows(levels.values()).into_iter().filter(|(_, node)| !node.iter().all(once));
    let rows = counted.filter_map(|(_, node)| {
        let last = node.iter().rev().find_map(|node| *node).filter(|node| node.known != Known::Subtraction)?;
        let times = node.iter().map(|node| match node.and_then(|node| node.times) {
            Some(times) => Cell::Figure(times),
            None => Cell::Missing("not measured at this level".into()),
        });
        Some(heading(0, last).into_iter().chain(times).collect())
    });
    let rows: Vec<Vec<Cell>> = rows.collect();
    (!rows.is_empty()).then(|| Table {
        id: "times",
        title: "How many a query has".into(),
        columns,
        rows,
        ..Table::default()
    })
}

fn heading(depth: usize, node: &Node) -> [Cell; 2] {
    let words = format!("{}{}", "  ".repeat(depth), name(node));
    [Cell::coded(&node.key, words), Cell::Text(node.per.clone())]
}

/// Every node that some level has, each whole before its parts: its depth, and what each level has of it.
pub(super) fn rows<'n>(levels: impl Iterator<Item = &'n LevelNodes>) -> Vec<(usize, Vec<Option<&'n Node>>)> {
    let mut rows = Vec::new();
    add_rows(levels.map(|level| Some(&level.latency)).collect(), 0, &mut rows);
    rows
}

fn add_rows<'n>(node: Vec<Option<&'n Node>>, depth: usize, rows: &mut Vec<(usize, Vec<Option<&'n Node>>)>) {
    let mut keys: Vec<&str> = Vec::new();
    for part in node.iter().flatten().flat_map(|node| &node.parts) {
        if !keys.contains(&part.key.as_str()) {
            keys.push(&part.key);
        }
    }
    let part =
        |node: &Option<&'n Node>, key: &str| node.and_then(|node| node.parts.iter().find(|part| part.key == key));
    let parts: Vec<Vec<Option<&Node>>> =
        keys.iter().map(|key| node.iter().map(|node| part(node, key)).collect()).collect();
    rows.push((depth, node));
    parts.into_iter().for_each(|part| add_rows(part, depth + 1, rows));
}

fn time_and_share(node: Option<&Node>, level: &LevelNodes) -> [Cell; 2] {
    let Some(node) = node else {
        let why = "none at this level: several queries share one, or the parts and their whole differ the other way";
        return [Cell::Undefined(why.into()), Cell::Undefined(why.into())];
    };
    let share = match (&node.known, node.share) {
        (Known::Subtraction, _) if matches!(node.what, What::Overlap(_)) => {
            Cell::Undefined("an overlap is no part of the latency".into())
        }
        (Known::Subtraction, Some(_)) if level.within_measured(node) => {
            Cell::Undefined("it lies within what the sockets measured".into())
        }
        (_, Some(share)) => Cell::Figure(share * 100.0),
        (Known::Not(why), None) => Cell::Missing(why.clone()),
        (_, None) => Cell::Undefined("several queries share one".into()),
    };
    let why = if let Known::Not(why) = &node.known { why } else { "no round trip" };
    [Cell::figure(node.mean.map(|nanos| nanos / 1e3), why), share]
}

fn name(node: &Node) -> String {
    described(&node.what, &node.key)
}

/// A node in words.
pub(super) fn described(what: &What, key: &str) -> String {
    match what {
        What::Latency => "the client's own mean latency".into(),
        What::Place { hop, place } => words(*place, hop.is_none()).into(),
        What::ClientCalls => "the client's own system calls".into(),
        What::Measured => key.into(),
        What::Compared => format!("compare: {key}, by the database's statistics"),
        What::Phase(Phase::Before) => "by the sockets: until it asks the database".into(),
        What::Phase(Phase::Behind) => "by the sockets: until it has read the database's answer".into(),
        What::Phase(Phase::After) => "by the sockets: until it sends its own answer".into(),
        What::Overlap(_) => "overlap: by so much the parts exceed their whole".into(),
        What::Residual(Some(words)) => format!("rest, such as {words}"),
        What::Residual(None) => "rest".into(),
    }
}

/// What is not explained, what does not fit, what is shared, and what is not measured.
fn remarks(level: usize, nodes: &LevelNodes) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(residual_share(level, nodes));
    notes.extend(nodes.own_work.as_ref().map(|own| own_work(level, nodes, own)));
    for node in nodes.latency.all() {
        if let (Some((why, nanos)), Some(mean)) = (node.overlap(), node.mean.filter(|mean| *mean > 0.0)) {
            let (percent, by) = (nanos / mean * 100.0, time(nanos));
            notes.push(format!(
                "Level {level}: the parts of {} overlap, and exceed it by {by} ({percent:.1} %): {why}.",
                node.key
            ));
        }
        let parts = node.shared();
        // Places of one hop are shared alike: one note for all of them.
        notes.extend(
            parts
                .chunk_by(|a, b| a.0.per == b.0.per && significant(a.1) == significant(b.1))
                .map(|alike| shared(level, node, alike)),
        );
    }
    notes
}

/// What no instrument saw itself, and where most of it lies.
pub(super) fn residual_share(level: usize, nodes: &LevelNodes) -> Option<String> {
    let percent = nodes.residual_share()? * 100.0;
    let mut named = largest(&nodes.residuals());
    if let Some(percent) = nodes.traced_residual().map(|share| share * 100.0).filter(|percent| *percent >= 0.05) {
        named.push(format!("by how much traced queries and all queries differ in the server's hands ({percent:.1} %)"));
    }
    let most = if named.is_empty() { String::new() } else { format!(", most of it {}", named.join(", ")) };
    let percent = if percent < 0.05 { "less than 0.1".to_string() } else { format!("{percent:.1}") };
    Some(format!("Level {level}: {percent} % of the latency is known only by subtraction, and so not explained{most}."))
}

/// What the sockets measured of the server's hands, and how far its own metrics divide that.
fn own_work(level: usize, nodes: &LevelNodes, own: &OwnWork) -> String {
    let [before, behind, after] = [own.before, own.behind, own.after].map(time);
    let rests = nodes.residuals_within_measured();
    let percent = rests.iter().map(|(_, share)| share.abs()).sum::<f64>() * 100.0;
    let further = match largest(&rests) {
        none if none.is_empty() => String::new(),
        largest => format!(
            " The server's own metrics divide that further, and leave {percent:.1} % of the latency within it: {}.",
            largest.join(", ")
        ),
    };
    format!(
        "Level {level}: in the server's hands the sockets measured {before} until it asks the database, {behind} \
         until it has the answer, and {after} until it sends its own (means of {} traced queries).{further}",
        own.queries
    )
}

/// The three largest, in words, as far as they are anything.
fn largest(rests: &[(&Node, f64)]) -> Vec<String> {
    let shown = rests.iter().filter(|(node, share)| node.mean.is_some() && share.abs() >= 0.0005);
    shown.take(3).map(|(node, share)| residual_words(node, *share)).collect()
}

fn residual_words(node: &Node, share: f64) -> String {
    let key = node.key.as_str();
    let place =
        key.strip_prefix("rest of ").and_then(|of| Place::EVERY.into_iter().find(|place| place.to_string() == of));
    let of = place.map_or(key.to_string(), |place| format!("rest of the time {}", short(place)));
    format!("{of} ({}, {:.1} %)", time(node.mean.unwrap_or(0.0)), share * 100.0)
}

/// `parts` are shared by as many, and of the same unit.
fn shared(level: usize, whole: &Node, parts: &[(&Node, f64)]) -> String {
    let mean = |node: &Node| time(node.mean.unwrap_or(0.0));
    let (part, queries) = parts[0];
    let all: Vec<String> = parts.iter().map(|(part, _)| format!("{} {}", part.key, mean(part))).collect();
    format!(
        "Level {level}: {} takes {} a {}, {} a {}; {} of the former share one of the latter, so the means are of \
            different \
         weights and are not subtracted.",
        whole.key,
        mean(whole),
        whole.per,
        all.join(", "),
        part.per,
        significant(queries)
    )
}
