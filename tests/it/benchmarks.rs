//! The history of benchmarks and what is made of it: lines parse, `docs/benchmarks.md` and its picture are what the rig
//! makes of `benches/history.jsonl`, figures that documents quote are the newest ones, and every row of `docs/scale.md`
//! has a command that exists. Invariant: the tests read the repository and change nothing.

#[path = "../../scripts/rigs/src/history/mod.rs"]
mod history;

use history::{Line, draw, names, newest, page, parse, quoted};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// How the rigs are told to make them anew.
const REMEDY: &str = "`scripts/bench page` makes it anew";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn recorded() -> Vec<Line> {
    parse(&read("benches/history.jsonl")).unwrap_or_else(|why| panic!("benches/history.jsonl, {why}"))
}

fn constructed() -> Vec<Line> {
    parse(&read("tests/fixtures/history.jsonl")).unwrap()
}

#[test]
fn the_page_and_the_picture_are_what_the_history_makes() {
    let lines = recorded();
    assert!(read("docs/benchmarks.md") == page::page(&lines), "docs/benchmarks.md is of another history: {REMEDY}");
    assert!(read("docs/benchmarks.svg") == draw::draw(&lines), "docs/benchmarks.svg is of another history: {REMEDY}");
}

#[test]
fn figures_that_documents_quote_are_the_newest_ones_of_the_history() {
    let lines = recorded();
    let documents = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let documents = documents.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut found = 0;
    for path in documents.chain([root().join("README.md")]) {
        let text = std::fs::read_to_string(&path).unwrap();
        let (renewed, names) = quoted::renewed(&text, &lines).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        assert!(renewed == text, "{} quotes older figures of {names:?}: {REMEDY}", path.display());
        found += names.len();
    }
    assert!(found > 0, "no document quotes a figure: are markers still written as <!-- bench:FIGURE -->?");
}

#[test]
fn a_line_without_what_makes_it_a_figure_is_refused() {
    let good = read("tests/fixtures/history.jsonl").lines().next().unwrap().to_string();
    assert!(parse(&good).is_ok());
    let bad = |from: &str, to: &str| {
        assert!(good.contains(from), "{good}");
        parse(&good.replace(from, to)).unwrap_err()
    };
    assert!(bad("\"unit\":\"us\",", "").contains("unit"));
    assert!(bad("\"pairs\":5", "\"pairs\":1").contains("pairs"));
    assert!(bad("\"ratio\":0.9,", "\"ratio\":1.9,").contains("outside of its interval"));
    assert!(bad("\"ours\":9.0", "\"ours\":0.0").contains("no figure"));
    assert!(bad("driver-64x1", "Driver 64").contains("no name"));
    assert!(bad("\"host\":{", "\"name\":\"h\",\"host\":{").contains("name"));
}

#[test]
fn the_page_has_the_newest_line_of_each_figure_with_unit_pairs_revision_and_host() {
    let lines = constructed();
    assert_eq!(names(&lines), ["driver-64x1", "flamegraph-10000", "tables-100000-cold"]);
    assert_eq!(newest(&lines, "driver-64x1").unwrap().revision, "bbbbbbbbbbbb+");
    let page = page::page(&lines);
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(
        rows,
        [
            "| `driver-64x1` | client CPU a query at 64 clients | 8.00 us | pgbench: 10.0 us \
             | 0.800 (0.750 to 0.853) | 5 | bbbbbbbbbbbb+ | 2026-02-02 | 1 |",
            "| `flamegraph-10000` | window's end to flamegraphs | 2.00 s | perf and inferno: more than 30.0 s | below \
             0.067 | 1 | aaaaaaaaaaaa | 2026-01-01 | 2 |",
            "| `tables-100000-cold` | call-frame table, cold | 0.500 s (0.450 to 0.556) | none | - | 3 | aaaaaaaaaaaa \
             | 2026-01-01 | 2 |",
        ]
    );
    assert!(page.contains("- Host 1: CPU Y, 4 cores, Linux 6.9, a virtual machine."), "{page}");
    assert!(page.contains("- Host 2: CPU X, 2 cores, Linux 6.8, no virtual machine."), "{page}");
    assert!(page::page(&[]).contains("No figure has been recorded yet."));
}

#[test]
fn the_picture_has_a_panel_for_each_figure_and_the_peers_line_where_there_is_a_peer() {
    let svg = draw::draw(&constructed());
    let count = |text: &str| svg.matches(text).count();
    assert_eq!((count("<g "), count("class=\"p\""), count("<circle")), (3, 2, 4));
    // Of one pair there is no interval; what is of another host than the newest is open.
    assert_eq!((count("class=\"i\""), count("class=\"o\""), count("class=\"v\"")), (3, 1, 3));
    assert!(svg.contains(">0.800 of pgbench<") && svg.contains(">0.500 s<"), "{svg}");
    assert_eq!(svg, draw::draw(&constructed()), "the same bytes each time");
}

#[test]
fn a_quoted_figure_is_renewed_with_its_decimals_and_one_without_a_number_is_an_error() {
    let lines = constructed();
    let renewed = |text: &str| quoted::renewed(text, &lines).map(|(text, _)| text);
    let text = "takes 0.9<!-- bench:driver-64x1 --> of pgbench's, 1.00<!-- bench:driver-64x1.ours --> us";
    let right = "takes 0.8<!-- bench:driver-64x1 --> of pgbench's, 8.00<!-- bench:driver-64x1.ours --> us";
    assert_eq!(renewed(text).unwrap(), right);
    let peer = "not measured<!-- bench:driver-64x1.peer -->";
    assert_eq!(renewed(peer).unwrap(), "10.00<!-- bench:driver-64x1.peer -->");
    assert_eq!(renewed("7<!-- bench:gone -->").unwrap(), "not measured<!-- bench:gone -->");
    assert!(renewed("a ratio<!-- bench:driver-64x1 -->").is_err());
    assert!(renewed("0.9<!-- bench:driver-64x1").is_err());
}

/// Files of a folder by name.
fn names_in(folder: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_string()).collect()
}

#[test]
fn every_benchmark_is_run_by_all_and_every_one_but_scale_records_figures() {
    let command = read("scripts/bench");
    let all = command.lines().find_map(|line| line.strip_prefix("names=(")).unwrap().trim_end_matches(')');
    let all: BTreeSet<String> = all.split(' ').map(String::from).collect();
    let mut scripts = names_in("scripts/benches");
    // These two are read by others.
    assert!(scripts.remove("loaded") && scripts.remove("cluster") && scripts.remove("scale"));
    assert_eq!(all, scripts);
    for name in &all {
        let text = read(&format!("scripts/benches/{name}"));
        assert!(text.contains("rigs\" figure "), "scripts/benches/{name} has no figure");
    }
}

#[test]
fn every_row_of_the_scale_table_has_a_command_that_exists() {
    let document = read("docs/scale.md");
    let table =
        document.split("<!-- scale: begin -->").nth(1).and_then(|rest| rest.split("<!-- scale: end -->").next());
    let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| what");
    let rows: Vec<&str> = table.unwrap().lines().filter(is_row).collect();
    assert!(rows.len() >= 20, "{} rows", rows.len());
    let name = regex::Regex::new(r#"Part = Part \{\s+name: "([a-z-]+)""#).unwrap();
    let sources =
        names_in("scripts/rigs/src/scale").into_iter().map(|file| read(&format!("scripts/rigs/src/scale/{file}.rs")));
    let parts: BTreeSet<String> = sources
        .flat_map(|text| name.captures_iter(&text).map(|found| found[1].to_string()).collect::<Vec<_>>())
        .collect();
    let script = read("scripts/benches/scale");
    let default = script.split("PARTS:-").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
    let default: BTreeSet<&str> = default.split(' ').collect();
    let command = regex::Regex::new(r"^`PARTS=([a-z-]+) scripts/bench scale`$").unwrap();
    let mut met = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [what, sizes, costs, slope, most, run, measured] = cells[..] else { panic!("{row}") };
        let part = command.captures(run).unwrap_or_else(|| panic!("no command: {row}"))[1].to_string();
        assert!(parts.contains(&part) && default.contains(part.as_str()), "there is no part {part}: {row}");
        assert_eq!(sizes.split(", ").count(), costs.split(", ").count(), "{row}");
        let number = |text: &str| text.trim_matches('*').parse::<f64>().is_ok();
        assert!(!what.is_empty() && (slope == "-" || number(slope)) && number(most), "{row}");
        assert!(measured.contains(", 20"), "of no revision and day: {row}");
        met.insert(part);
    }
    assert_eq!(met.len(), default.len(), "parts without a row");
}
