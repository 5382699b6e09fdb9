//! The page of a run: complete, closed to the world, and plain text whatever names a run has in it.

use crate::build::*;
use crate::cli::Place;
use crate::recordings;
use base64::Engine as _;
use sha2::{Digest, Sha256};
use std::path::Path;
use wireprof::analyze::cost::carrier_names::Naming;
use wireprof::analyze::judge::answer::answer;
use wireprof::analyze::judge::diagnose::diagnose_all;
use wireprof::analyze::page::Page;
use wireprof::clock::Span;
use wireprof::preset::Preset;
use wireprof::profile::Focus;
use wireprof::render::flamegraph::Wanted;
use wireprof::render::page::{Material, flames, page};
use wireprof::render::{Framing, Section, answer_lines, checks_report, manifest_lines};
use wireprof::run::{Run, WindowId};

/// What would run, be fetched or break the page where a name were taken for markup.
pub const HOSTILE: &str =
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">&'\"";

/// The page of a run by the testbed's preset.
pub fn page_of(run: &Run) -> String {
    page_by(run, "testbed")
}

/// The page of a run by a preset.
pub fn page_by(run: &Run, preset: &str) -> String {
    let preset = Preset::built_in(preset).unwrap();
    let figures = Page::of(run, Ok(&preset), diagnose_all(run, &preset));
    let wanted = Wanted {
        everything: true,
        folding: preset.folding(),
        naming: Some(Naming::of(&preset, &run.manifest)),
        ..Wanted::default()
    };
    let setup = Section { id: "setup", notes: manifest_lines(&run.manifest), ..Section::default() };
    let sections = [checks_report(run, true).sections, vec![setup]].concat();
    page(&Material { page: &figures, sections: &sections, flames: flames(run, &wanted), compared: None })
}

/// Two levels in which a function, the run, a statement, a path and a note have this name.
pub fn named(name: &str) -> Run {
    let name = name.replace(';', ",");
    let (low, high) = (format!("main;serve;{name}"), format!("main;serve;{name};{name}2"));
    let low = profile(&spread(&low, 2_000, 5));
    let high = profile(&spread(&high, 2_000, 5));
    let mut made = run(vec![window(1, 1, 5, 1_000_000, Some(low)), window(16, 1, 5, 2_000_000, Some(high))]);
    let manifest = &mut made.manifest;
    (manifest.id, manifest.name) = (format!("run {name}"), Some(name.clone()));
    (manifest.workload.statements, manifest.notes) = (vec![name.clone()], vec![name.clone()]);
    (manifest.target.executable, manifest.changes) = (Some(format!("/{name}")), vec![name]);
    made
}

/// Bytes of the page that an answer in JSON tells of.
fn size(told: &serde_json::Value) -> u64 {
    let size = &told["rows"][0];
    assert_eq!((&size["measure"], &size["unit"]), (&"size".into(), &"B".into()));
    size["value"].as_u64().unwrap()
}

/// Values of an attribute.
fn attributes<'p>(page: &'p str, name: &str) -> Vec<&'p str> {
    let start = format!(" {name}=\"");
    page.split(start.as_str()).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// The page without its data, its script and its style: what a browser takes for markup.
fn markup(page: &str) -> String {
    let (before, rest) = page.split_once("<style>").unwrap();
    let (_, rest) = rest.split_once("</style>").unwrap();
    let (body, _) = rest.split_once("<script type=\"application/json\"").unwrap();
    format!("{before}{body}")
}

#[test]
fn the_page_has_all_its_parts_and_begins_with_the_answer_of_the_first_screen() {
    let run = named("work");
    let page = page_of(&run);
    let parts = ["answer", "speed", "where", "functions", "flames", "time", "verdicts", "measured"];
    let places: Vec<usize> = parts.iter().map(|id| page.find(&format!("<section id=\"{id}\"")).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
    let preset = Preset::built_in("testbed").unwrap();
    let lines = answer_lines(&answer(&run, Ok(&preset), None), &Framing { width: 10_000, ..Framing::default() });
    let why = lines.iter().find_map(|line| line.strip_prefix("Why      ")).unwrap();
    assert!(page.contains(&format!("<h1 id=\"answer-title\">{why}</h1>")), "{why}");
}

#[test]
fn nothing_leaves_the_page_and_its_policy_knows_its_own_script_and_style_only() {
    let page = page_of(&named("work"));
    let between = |start: &str, end: &str| page.split(start).nth(1).unwrap().split(end).next().unwrap();
    let hash =
        |text: &str| format!("'sha256-{}'", base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text)));
    let policy = between("Content-Security-Policy\" content=\"", "\"").replace("&#39;", "'");
    let wanted = format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(between("<style>", "</style>")),
        hash(between("<script>", "</script>"))
    );
    assert_eq!(policy, wanted);
    let markup = markup(&page);
    for name in ["src", "style", "onclick", "action", "srcset", "data"] {
        assert_eq!(attributes(&markup, name), Vec::<&str>::new(), "{name}");
    }
    let links = attributes(&markup, "href");
    assert!(links.len() > 8 && links.iter().all(|link| link.starts_with('#')), "{links:?}");
    for word in ["@import", "url(", "fetch(", "XMLHttpRequest", "innerHTML", "eval(", "document.write", "http"] {
        assert!(!between("<style>", "</style>").contains(word), "{word}");
        assert!(!between("<script>", "</script>").contains(word), "{word}");
    }
}

#[test]
fn markup_in_the_names_of_a_run_is_text() {
    let page = page_of(&named(HOSTILE));
    assert_eq!(page.matches("<script").count(), 2, "the data and the script");
    assert_eq!(page.matches("</script").count(), 2);
    assert!(!page.contains("<img") && !page.contains(" onerror=\""), "no element and no attribute of a name");
    let text = markup(&page);
    assert!(text.matches("&lt;/script&gt;&lt;script&gt;").count() > 5, "it is shown as text");
}

#[test]
fn six_levels_of_thousands_of_functions_with_long_names_stay_small() {
    let long = |at: u64| format!("app::module_{at}::{}call", "part_of_a_long_name::".repeat(50));
    let stacks: Vec<String> = (0..4_000).map(|at| format!("main;serve;caller_{};{}", at % 50, long(at))).collect();
    let profiles = || {
        let samples: Vec<Stack> = stacks.iter().enumerate().map(|(at, stack)| Stack(stack, at as u64)).collect();
        profile(&samples)
    };
    let windows = [1, 2, 4, 8, 16, 32].map(|level| window(level, 1, 5, 10_000, Some(profiles())));
    let page = page_of(&run(windows.to_vec()));
    assert!(page.len() < 6_000_000, "{} bytes", page.len());
    assert!(page.contains("app::module_3999::part"), "all functions are there, each by what tells it apart");
    // Rows and frames are made when they are looked at.
    let markup = markup(&page);
    assert!(markup.matches("<td").count() < 2_000 && !markup.contains("data-at="), "{}", markup.matches("<td").count());
}

#[test]
fn a_run_of_which_little_was_measured_says_what_is_missing_and_shows_no_zero_for_it() {
    let bare =
        |level| bare(WindowId { level, replicate: 1 }, Span::new(1_000_000_000, 6_000_000_000), 5_000, 1_000_000);
    let page = page_of(&run(vec![bare(1), bare(16)]));
    for words in [
        "Latency by place: not measured, for the sockets were not followed in this run.",
        "Not measured: no level of this run has a profile.",
        "Not measured: no level of this run has stacks.",
        "Not measured: the load tells sums only, no slices.",
        "What bounds the throughput: not measured, for the run does not tell what a query costs.",
        "Not measured: no check is stored with these windows.",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(page.contains("p99: not measured at 1, not measured at 16"), "what is heard of the chart");
}

#[test]
fn a_focus_has_all_of_the_width_and_what_lies_outside_is_a_note() {
    let stacks: Vec<Stack> = spread("main;serve;peek", 40, 5).into_iter().chain(spread("main;other", 960, 5)).collect();
    let run = run(vec![window(16, 1, 5, 1_000, Some(profile(&stacks)))]);
    let focus = Focus::new("peek", &["^peek$"]).unwrap();
    let found = flames(&run, &Wanted { foci: vec![focus], ..Wanted::default() });
    let preset = Preset::built_in("testbed").unwrap();
    let figures = Page::of(&run, Ok(&preset), Vec::new());
    let page = page(&Material { page: &figures, sections: &[], flames: found, compared: None });
    let data = page.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let picture = &data["flames"]["pictures"][0];
    assert_eq!(picture["title"], "Level 16: 40.0 µs CPU per query in peek, 960 outside (20261122-101530-testbed)");
    // Of all and of peek: depth, start, width, label, samples.
    let numbers: Vec<i64> =
        picture["boxes"].as_array().unwrap().iter().map(|number| number.as_i64().unwrap()).collect();
    assert_eq!(numbers, [0, 0, 40_000_000, 0, 40, 1, 0, 40_000_000, 1, 40]);
    assert_eq!(data["flames"]["labels"][0][0], "peek");
}

#[test]
fn the_verb_writes_the_page_into_the_runs_directory_or_where_it_is_asked_to() {
    let place = Place::new();
    let path = place.done(&["report"]);
    let run = place.runs().join("20261122-101530-testbed");
    assert_eq!(Path::new(path.trim_end()), Path::new("runs/20261122-101530-testbed/report.html"));
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
    let told = place.json(&["report", "-o", "page.html"]);
    assert_eq!((&told["pictures"][0]["path"], size(&told)), (&"page.html".into(), page.len() as u64));
    assert_eq!(std::fs::read_to_string(place.path().join("page.html")).unwrap(), page, "the same run, the same page");
    assert!(std::fs::read_dir(&run).unwrap().all(|entry| entry.unwrap().path().extension().is_none_or(|e| e != "tmp")));
    let (code, error) = place.failed(&["report", "-o", "none/page.html"]);
    assert!(code != 0 && error.contains("cannot write none/page.html"), "{code} {error}");
    assert_eq!(place.failed(&["report", "no-such-run"]).0, 2);
}

#[test]
fn the_page_of_a_real_environmentd_is_small_and_has_its_foci() {
    let Some(run) = recordings::run_of_environmentd() else { return };
    let place = Place::new();
    let told = place.json(&["report", run.to_str().unwrap(), "-o", "page.html"]);
    assert!(size(&told) < 4_000_000, "{told}");
    let page = std::fs::read_to_string(place.path().join("page.html")).unwrap();
    for kind in ["all", "peek", "oracle", "pgwire", "all blocked", "all runnable"] {
        assert!(page.contains(&format!("<option value=\"{kind}\">")), "{kind}");
    }
    assert!(page.contains("At 64 clients the CPUs are saturated"), "the words of the first screen");
}

#[test]
fn of_two_runs_the_page_begins_with_what_changed() {
    let place = Place::new();
    let path = place.done(&["report", "latest", "latest", "-o", "change.html"]);
    let page = std::fs::read_to_string(place.path().join(path.trim_end())).unwrap();
    let at = |id: &str| page.find(&format!("<section id=\"{id}\"")).unwrap();
    assert!(at("comparison") < at("answer"));
    assert!(page.contains("(before) against") && page.contains("after is"), "the words of diff");
}
