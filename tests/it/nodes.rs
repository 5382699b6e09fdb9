//! The tree of a latency whose parts are constructed: what is subtracted, what is not, and how much is left
//! unexplained.

use crate::build;
use std::collections::BTreeMap;
use wireprof::analyze::time::nodes::{Known, LevelNodes, Node, misplaced, nodes};
use wireprof::analyze::time::places::places;
use wireprof::clock::Span;
use wireprof::metrics::{MetricsDelta, Scrape};
use wireprof::preset::{BUILT_IN, Preset};
use wireprof::render::{Cell, nodes_section};
use wireprof::run::{Run, Window};
use wireprof::statements::{StatementDelta, StatementsDelta};
use wireprof::wire::{Behind, HopDelta, Purpose, QueryTimeline, Sample, Untold, UseDelta, WireDelta};

const SECOND: u64 = 1_000_000_000;
const QUERIES: u64 = 1_000;

const PRESET: &str = r#"
description = "a server whose calls wait for batches"
[[node]]
name = "call"
inside = "server"
per = "call"
expression = "mean(call) * 1e6"
[[node]]
name = "wait"
inside = "call"
per = "call"
expression = "mean(wait) * 1e6"
[[node]]
name = "batch"
inside = "wait"
per = "batch"
expression = "mean(batch) * 1e6"
hop = "database"
[[node]]
name = "statement"
inside = "database/server"
per = "batch"
statements = ["select 2", "select 1"]
[rest]
call = "encoding"
"#;

/// Mean us in each place, in the order of the path.
fn hop(name: &str, queries: u64, micros: [u64; 6]) -> HopDelta {
    build::hop(name, queries, 1, micros.map(|micros| micros as f64))
}

/// Histograms by name, count and mean us.
fn metrics(histograms: &[(&str, u64, u64)]) -> MetricsDelta {
    let text = |of: fn(u64) -> u64| {
        let one = |(name, count, micros): &(&str, u64, u64)| {
            let seconds = (of(*count) * micros) as f64 / 1e6;
            format!(
                "# TYPE {name} histogram\n{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {seconds}\n{name}_count \
                    {count}\n",
                count = of(*count)
            )
        };
        histograms.iter().map(one).collect::<String>()
    };
    let scrape = |at, text| Scrape { span: Span::new(at, at), text };
    MetricsDelta::between(&scrape(0, text(|_| 0)), &scrape(SECOND, text(|count| count)))
}

/// 1,000 queries of 110 us: 4 + 6 us on the way, 90 us in the server's hands, 5 + 3 us back, of each 2 us with nobody.
fn window(level: usize, histograms: &[(&str, u64, u64)], round_trips: u64) -> Window {
    let mut window = build::window(level, 1, 1, QUERIES, None);
    let span = Span::new(0, SECOND);
    (window.facts.span, window.load.span) = (span, span);
    window.load.latency_sum = Some(QUERIES * 110_000);
    let behind = hop("database", round_trips, [0, 2, 3, 20, 2, 3]);
    let hops = vec![hop("target", QUERIES, [1, 4, 6, 90, 5, 3]), behind];
    window.wire = Some(WireDelta { span, hops, sends_seen: true });
    window.metrics = Some(metrics(histograms));
    let called = |query: &str| StatementDelta {
        query: query.into(),
        calls: round_trips,
        rows: round_trips,
        exec: 15_000 * round_trips,
        plan: Some(1_000 * round_trips),
        ..StatementDelta::default()
    };
    let statements = vec![called("select 1")];
    window.statements =
        Some(StatementsDelta { source: "test".into(), before: span, after: span, statements, vanished: 0, hidden: 0 });
    window
}

fn tree(window: Window) -> LevelNodes {
    let run: Run = build::run(vec![window]);
    let preset = Preset::parse("test", PRESET).unwrap();
    nodes(&run, &places(&run), Some(&preset)).into_values().next().unwrap()
}

fn micros(tree: &LevelNodes, key: &str) -> Option<f64> {
    Some((tree.get(key)?.mean? / 10.0).round() / 100.0)
}

#[test]
fn each_whole_less_its_parts_is_a_rest_and_all_rests_are_what_is_unexplained() {
    let tree = tree(window(1, &[("call", QUERIES, 80), ("wait", QUERIES, 50), ("batch", QUERIES, 40)], QUERIES));
    assert_eq!(micros(&tree, "rest of latency"), Some(2.0));
    assert_eq!(micros(&tree, "rest of server"), Some(10.0));
    assert_eq!(micros(&tree, "rest of call"), Some(30.0));
    assert_eq!(micros(&tree, "rest of wait"), Some(10.0));
    assert_eq!(micros(&tree, "rest of batch"), Some(10.0), "40 us less a round trip of 30");
    assert!((tree.residual_share().unwrap() - 62.0 / 110.0).abs() < 1e-9);
    assert_eq!(tree.residuals()[0].0.key, "rest of call");
    // Leaves sum to the latency: nothing is counted twice.
    let leaves = tree.latency.all().into_iter().filter(|node| node.parts.iter().all(|part| part.key == "statement"));
    let sum: f64 = leaves.filter(|node| node.key != "statement").map(|node| node.share.unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
}

#[test]
fn a_statement_is_set_against_the_databases_hands_and_takes_nothing_from_them() {
    let tree = tree(window(1, &[("call", QUERIES, 80), ("wait", QUERIES, 50), ("batch", QUERIES, 40)], QUERIES));
    assert_eq!(micros(&tree, "database/server"), Some(20.0));
    assert_eq!(micros(&tree, "statement"), Some(16.0), "execution and planning");
    assert_eq!(tree.get("statement").unwrap().known, Known::Measured { count: Some(1_000.0) });
    assert!(tree.get("rest of database/server").is_none());
}

#[test]
fn a_node_consists_of_the_round_trips_of_its_own_use_alone_where_they_are_told_apart() {
    let preset = PRESET.replace("hop = \"database\"", "hop = \"database\"\nuse = '^select 1$'");
    let preset = Preset::parse("test", &preset).unwrap();
    let with = |uses: Option<Vec<UseDelta>>| {
        let mut window = window(1, &[("call", QUERIES, 80), ("wait", QUERIES, 50), ("batch", QUERIES, 40)], 1_100);
        window.wire.as_mut().unwrap().hops[1].uses = uses;
        let run: Run = build::run(vec![window]);
        nodes(&run, &places(&run), Some(&preset)).into_values().next().unwrap()
    };
    let found = |purpose, round_trips: u64, server: u64| UseDelta {
        purpose,
        round_trips,
        by_database: 0,
        nanos: [0, 2, 3, server, 2, 3].map(|micros| micros * 1_000 * round_trips),
    };
    let select = |text: &str| Purpose::Statement(text.into());
    let tree = with(Some(vec![found(select("select 1"), QUERIES, 15), found(select("insert"), 100, 70)]));
    assert_eq!((micros(&tree, "database/server"), tree.get("database/server").unwrap().times), (Some(15.0), Some(1.0)));
    assert_eq!(micros(&tree, "rest of batch"), Some(15.0), "40 us less a round trip of 25");
    let untold = with(Some(vec![found(Purpose::NotTold(Untold::Encrypted), 1_100, 20)]));
    let known = &untold.get("database/server").unwrap().known;
    assert!(matches!(known, Known::Not(why) if why.contains("of 100.0 % the statement is not told")), "{known:?}");
    let together = with(None);
    assert_eq!(micros(&together, "database/server"), Some(20.0));
    assert!(together.get("database/server").unwrap().source.contains("not told apart"), "which is said");
}

#[test]
fn a_batch_that_ten_calls_share_is_not_subtracted_from_their_wait_and_has_no_share() {
    let tree = tree(window(64, &[("call", QUERIES, 80), ("wait", QUERIES, 50), ("batch", 100, 40)], 100));
    assert!(tree.get("rest of wait").is_none());
    let (wait, batch) = (tree.get("wait").unwrap(), tree.get("batch").unwrap());
    assert_eq!((batch.share, batch.per_query(), batch.times), (None, None, Some(0.1)));
    assert_eq!(wait.shared(), [(batch, 10.0)]);
    // Within the batch the means are of one weight again, but no query has it to itself.
    assert_eq!(micros(&tree, "rest of batch"), Some(10.0));
    assert_eq!(tree.get("rest of batch").unwrap().share, None);
    assert!((tree.residual_share().unwrap() - (2.0 + 10.0 + 30.0) / 110.0).abs() < 1e-9);
    let said = nodes_section(&BTreeMap::from([(64, tree)])).notes;
    assert!(
        said[0].starts_with(
            "Level 64: 38.2 % of the latency is known only by subtraction, and so not explained, \
        most of it rest of call"
        ),
        "{said:?}"
    );
    assert!(said[1].contains("10.0 of the former share one of the latter"), "{said:?}");
}

#[test]
fn calls_that_only_some_queries_make_weigh_as_many_as_there_are() {
    let tree = tree(window(1, &[("call", QUERIES / 2, 80)], 0));
    assert_eq!(tree.get("call").unwrap().per_query(), Some(40_000.0));
    assert_eq!(micros(&tree, "rest of server"), Some(50.0));
}

#[test]
fn what_was_never_observed_is_not_measured_and_its_parts_are_taken_from_the_whole_above() {
    let tree = tree(window(1, &[("call", QUERIES, 80), ("wait", 0, 0), ("batch", QUERIES, 40)], QUERIES));
    let wait = tree.get("wait").unwrap();
    assert!(matches!(&wait.known, Known::Not(why) if why.contains("never observed")), "{wait:?}");
    assert_eq!((wait.mean, wait.share), (None, None));
    assert_eq!(micros(&tree, "rest of call"), Some(40.0));
    assert_eq!(tree.get("batch").unwrap().per_query(), Some(40_000.0));
    let table = &nodes_section(&BTreeMap::from([(1, tree)])).tables[0];
    let named = |row: &&Vec<Cell>| row[0].words().unwrap().trim() == "wait";
    let row = table.rows.iter().find(named).unwrap();
    assert!(matches!(&row[2], Cell::Missing(why) if why.contains("never observed")), "{row:?}");
}

#[test]
fn parts_that_exceed_their_whole_are_told() {
    let tree = tree(window(1, &[("call", QUERIES, 99)], 0));
    assert!((tree.get("server").unwrap().excess().unwrap() - 0.1).abs() < 1e-9);
    assert_eq!(tree.get("call").unwrap().excess(), None);
    assert_eq!((micros(&tree, "rest of server"), micros(&tree, "overlap in server")), (None, Some(9.0)));
    assert!(tree.latency.all().iter().all(|node| node.mean.is_none_or(|nanos| nanos >= 0.0)), "no time is negative");
    assert!(tree.get("overlap in server").unwrap().share.is_none(), "it is no part of the latency");
    let said = nodes_section(&BTreeMap::from([(1, tree)])).notes;
    let note = "the parts of server overlap, and exceed it by 9.00 µs (10.0 %): two instruments put their borders";
    assert!(said.iter().any(|said| said.contains(note)), "{said:?}");
}

#[test]
fn without_metrics_the_places_stand_alone_and_without_sockets_the_metrics_do() {
    let mut bare = window(1, &[], QUERIES);
    bare.metrics = None;
    let only_places = tree(bare);
    assert_eq!(micros(&only_places, "server"), Some(90.0));
    assert!(matches!(&only_places.get("call").unwrap().known, Known::Not(why) if why.contains("no metrics")));
    assert_eq!(micros(&only_places, "rest of server"), Some(60.0), "the round trip lies within");
    assert!((only_places.residual_share().unwrap() - 62.0 / 110.0).abs() < 1e-9);
    let mut unfollowed = window(1, &[("call", QUERIES, 80)], 0);
    unfollowed.wire = None;
    let only_metrics = tree(unfollowed);
    assert_eq!(micros(&only_metrics, "rest of latency"), Some(30.0));
    assert!(only_metrics.get("rest of server").is_none());
}

#[test]
fn every_node_of_the_presets_has_its_place_and_one_inside_nothing_is_named() {
    let run = build::run(vec![window(1, &[], 0)]);
    let left_out = |preset: &Preset| {
        let levels = nodes(&run, &places(&run), Some(preset));
        misplaced(&levels, preset).into_iter().map(|nested| nested.name.clone()).collect::<Vec<_>>()
    };
    for (name, _) in BUILT_IN {
        assert_eq!(left_out(&Preset::built_in(name).unwrap()), Vec::<String>::new(), "{name}");
    }
    let typo = PRESET.replace("inside = \"call\"", "inside = \"cal\"");
    assert_eq!(left_out(&Preset::parse("typo", &typo).unwrap()), ["wait", "batch", "statement"]);
}

/// 200 sampled queries at one client: 40 us until the database is asked, 32 us for it, 18 us until the answer.
fn sampled(mut window: Window, behind: Option<Behind>) -> Window {
    let query = |at| QueryTimeline { sent: at, client: 1, spent: [4_000, 6_000, 90_000, 5_000, 3_000], behind };
    let sample = Sample { hop: "target".into(), every: 5, lost: 0, queries: (0..200).map(query).collect() };
    window.wire.as_mut().unwrap().hops[0].sample = Some(sample);
    window
}

#[test]
fn what_the_sockets_see_before_and_after_the_database_is_not_unexplained() {
    let one = || window(1, &[("call", QUERIES, 80), ("wait", QUERIES, 50), ("batch", QUERIES, 40)], QUERIES);
    let found = tree(sampled(one(), Some(Behind { before: 40_000, after: 18_000 })));
    let own = found.own_work.unwrap();
    assert_eq!((own.before, own.behind, own.after, own.queries), (40_000.0, 32_000.0, 18_000.0, 200));
    assert!(
        (found.residual_share().unwrap() - 2.0 / 110.0).abs() < 1e-9,
        "only what is left outside the server's hands"
    );
    let sum = |rests: Vec<(&Node, f64)>| rests.iter().map(|(_, share)| share.abs()).sum::<f64>();
    assert!((sum(found.residuals()) - 2.0 / 110.0).abs() < 1e-9, "only the rest of the latency");
    assert!(
        (sum(found.residuals_within_measured()) - 60.0 / 110.0).abs() < 1e-9,
        "the others lie in the server's hands"
    );
    let phases = ["before", "behind", "after"].map(|key| micros(&found, key));
    assert_eq!(phases, [Some(40.0), Some(32.0), Some(18.0)], "beside the parts, and not subtracted with them");
    assert_eq!(micros(&found, "rest of server"), Some(10.0));
    let section =
        nodes_section(&BTreeMap::from([(1, tree(sampled(one(), Some(Behind { before: 40_000, after: 18_000 }))))]));
    let row = |name: &str| section.tables[0].rows.iter().find(|row| row[0].words().unwrap().trim() == name);
    assert!(
        matches!(row("by the sockets: until it asks the database").unwrap()[3], Cell::Figure(share) if share > 36.0)
    );
    let rests = section.tables[0].rows.iter().filter(|row| row[0].words().unwrap().trim() == "rest");
    let shares: Vec<bool> = rests.map(|row| matches!(row[3], Cell::Figure(_))).collect();
    assert_eq!(
        shares.iter().filter(|shown| **shown).count(),
        1,
        "what is measured has no rest, but for the latency's own: {shares:?}"
    );
    assert!(
        section.notes[1].contains("and leave 54.5 % of the latency within it: rest of call"),
        "{:?}",
        section.notes
    );
    // The sample's mean may differ from that of all: what it leaves is not explained, as far as the metrics do not
    // either.
    let mut differing = sampled(one(), Some(Behind { before: 40_000, after: 18_000 }));
    let sample = differing.wire.as_mut().unwrap().hops[0].sample.as_mut().unwrap();
    sample.queries.iter_mut().for_each(|query| query.spent[2] = 85_000);
    assert!((tree(differing).residual_share().unwrap() - 7.0 / 110.0).abs() < 1e-9);
    assert_eq!(tree(sampled(one(), None)).own_work, None, "queries that ask nothing, or several things");
    let mut two = sampled(one(), Some(Behind { before: 40_000, after: 18_000 }));
    two.wire.as_mut().unwrap().hops[0].connections = 2;
    assert_eq!(tree(two).own_work, None, "with two clients a request may be the other's");
}
