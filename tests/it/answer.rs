//! The first screen: at most 25 lines at any width, with the cause in words, the function or wait, what grew, what not
//! to believe and what was not measured; and an explanation that fits a page.

use crate::build;
use crate::diagnose::{Made, one, one_as_cheap, sixteen};
use crate::diagnose_waits;
use crate::recordings;
use crate::rows::{having, rows};
use crate::sweeps::Place;
use std::path::Path;
use wireprof::analyze::compare::difference::{Options, difference};
use wireprof::analyze::compare::headline::{Outcome, headline};
use wireprof::analyze::judge::answer::{Answer, Most, answer};
use wireprof::check::Check;
use wireprof::preset::Preset;
use wireprof::render::{ANSWER_LINES, Framing, answer_lines, headline_lines};
use wireprof::run::{Part, Run, Store, Window};

const WIDTHS: [usize; 2] = [80, 140];

fn answered(run: &Run, preset: &str) -> Answer {
    answer(run, Ok(&Preset::built_in(preset).unwrap()), None)
}

fn framing(width: usize) -> Framing {
    let next = vec![
        ("wireprof diagnose 20261122-101530-testbed".to_string(), "the evidence".to_string()),
        ("wireprof explain 20261122-101530-testbed".to_string(), "where the time goes".to_string()),
    ];
    Framing { width, next, place: Some("runs/20261122-101530-testbed".into()), ..Framing::default() }
}

/// The text at 80 columns, in one line; at each width it keeps the bounds.
fn told(run: &Run, preset: &str) -> String {
    let found = answered(run, preset);
    for width in WIDTHS {
        let lines = answer_lines(&found, &framing(width));
        assert!(lines.len() <= ANSWER_LINES, "{} lines at {width}:\n{}", lines.len(), lines.join("\n"));
        let wide = lines.iter().find(|line| line.chars().count() > width);
        assert_eq!(wide, None, "at {width}");
    }
    let lines = answer_lines(&found, &framing(80));
    lines.iter().flat_map(|line| line.split_whitespace()).collect::<Vec<_>>().join(" ")
}

fn assert_told(text: &str, wanted: &[&str]) {
    for wanted in wanted {
        assert!(text.contains(wanted), "`{wanted}` is not in: {text}");
    }
}

fn made(made: &[Made]) -> Run {
    build::run(made.iter().map(Made::window).collect())
}

#[test]
fn each_kind_of_cause_is_told_in_words_with_its_function_or_wait_and_its_effect() {
    let mut function = sixteen();
    (function.latency, function.server[0]) = (480.0, ("serve;a", 42.0));
    let saturated_thread = Made {
        latency: 1_600.0,
        server: vec![("serve;coordinate", 100.0), ("serve;b", 2.0)],
        on_one_thread: 1.0,
        ..sixteen()
    };
    let pool = Made { latency: 2_000.0, call: 30.0, wait: 1_900.0, pool: 1_850.0, ..sixteen() };
    let slow = Made { latency: 300.0, call: 250.0, wait: 255.0, statement: 205.0, database: 220.0, ..one() };
    let others = Made { latency: 320.0, taken: 1.0, waiting: 30.0, ..sixteen() };
    let focus = Check::Focus { name: "peeks a query".into(), value: 0.2, at_least: 0.99, remedy: "r".into() };
    let cases: [(&[Made], &[&str]); 7] = [
        (&[one_as_cheap(), function], &["At 16 clients one function takes much of the CPU; look first at a, "]),
        (&[one(), sixteen()], &["At 16 clients the CPUs are saturated"]),
        (&[one(), saturated_thread], &["one thread of the server is busy all the time; look first at coordinate"]),
        (&[pool], &["calls wait for a connection of the pool", "Without it: 1.8"]),
        (&[slow], &["At 1 client the database behind the server takes long", "205 µs for its statement"]),
        (&[one_as_cheap(), others], &["other processes take the CPUs", "1.00 of the 2 CPUs"]),
        (&[Made { checks: vec![focus], ..sixteen() }], &["another code path was measured", "FAILED: peeks a query"]),
    ];
    for (levels, wanted) in cases {
        assert_told(&told(&made(levels), "testbed"), wanted);
    }
    let waiting = |stack, micros| diagnose_waits::Made { waits: vec![(stack, micros)], ..diagnose_waits::plain(16) };
    let lock = "serve;take;pthread_mutex_lock;k:do_futex;k:futex_wait";
    let sleep = "serve;fetch;usleep;clock_nanosleep;k:do_nanosleep";
    let flush = "serve;store;fdatasync;k:do_fsync;k:ext4_sync_file";
    for (stack, wanted) in [
        (lock, ["queries wait for a lock; look first at take, 2.00 ms a query", "less latency"]),
        (sleep, ["the server sleeps while it has queries in its hands; look first at fetch", "times the throughput"]),
        (flush, ["queries wait until their data is on the disk (flush to disk); look first at store", "Without it"]),
    ] {
        assert_told(&told(&build::run(vec![waiting(stack, 2_000.0).window()]), "generic"), &wanted);
    }
}

#[test]
fn where_the_clients_are_is_a_bar_with_a_legend_and_what_grew_is_told() {
    let text = told(&made(&[one(), sixteen()]), "testbed");
    assert_told(
        &text,
        &[
            "clients queries/s mean p50 p99 p99.9 where the clients are",
            "SSSSSSSSSSSSSSSSSS",
            "Of 16 clients, on average: ",
            "S 14.0 in the server's hands",
            "From 1 to 16 clients the mean latency grew by 60.0 µs: 100 % in the server's hands.",
            "Next wireprof diagnose 20261122-101530-testbed",
            "Run runs/20261122-101530-testbed",
        ],
    );
    let waits = |clients, micros| {
        let lock = "serve;take;pthread_mutex_lock;k:do_futex;k:futex_wait";
        diagnose_waits::Made { waits: vec![(lock, micros)], ..diagnose_waits::plain(clients) }.window()
    };
    let grown = answered(&build::run(vec![waits(1, 10.0), waits(16, 2_000.0)]), "generic").grown.unwrap();
    assert!(matches!(&grown.wait, Most::Grew { name, .. } if name == "for locks"), "{:?}", grown.wait);
}

#[test]
fn what_was_not_measured_is_named_and_no_figure_stands_for_it() {
    let mut window = one().window();
    (window.scheduler, window.metrics, window.wire, window.profile) = (None, None, None, None);
    window.load.latency_sum = None;
    window.load.latency.reset();
    let missing = |what, why: &str| wireprof::run::Missing { what, why: why.into(), remedy: "r".into() };
    window.facts.missing = vec![
        missing(Part::Profile, "perf events are forbidden"),
        missing(Part::Latency, "the load does not tell it"),
        missing(Part::Places, "BPF is forbidden"),
    ];
    let run = build::run(vec![window]);
    let text = told(&run, "testbed");
    assert_told(
        &text,
        &[
            "- - - - not measured",
            "Not diagnosed: the latency is not known",
            "Missing latency: the load does not tell it",
        ],
    );
    let answer = answered(&run, "testbed");
    for part in [Part::Profile, Part::Places, Part::Scheduler, Part::Carriers, Part::LatencyDistribution] {
        assert!(answer.missing.iter().any(|lacking| lacking.what == part), "{part}: {:?}", answer.missing);
    }
    let without = wireprof::analyze::judge::answer::answer(&run, Err("there is no preset x".into()), None);
    let gone = answer_lines(&without, &framing(80));
    assert!(gone.join(" ").contains("Not diagnosed: there is no preset x."), "{gone:?}");
}

#[test]
fn the_same_warning_of_six_windows_is_one_line_and_the_worst_comes_first() {
    let busy = Check::MachineBusy { busy: 99, capacity: 100 };
    let window = |level: usize, more: &[Check]| {
        let made = Made { clients: level, checks: [std::slice::from_ref(&busy), more].concat(), ..sixteen() };
        made.window()
    };
    let errors = Check::Errors { errors: 3, completed: 9, first: "x".into() };
    let levels = [1, 2, 4, 8, 16, 32];
    let windows: Vec<Window> = levels
        .iter()
        .map(|level| window(*level, if *level == 4 { std::slice::from_ref(&errors) } else { &[] }))
        .collect();
    let text = told(&build::run(windows), "testbed");
    assert_eq!(text.matches("CPU saturated").count(), 1, "{text}");
    assert_told(
        &text,
        &["Beware FAILED: 3 queries failed beside 9 completed, the most frequent: x (level 4)", "(all windows)"],
    );
    assert_told(&text, &["Not shown: levels 2, 4, 8 and 16 (--full)."]);
}

/// A run of so many levels in a place of its own.
fn stored(place: &Place, windows: Vec<Window>) {
    let mut run = build::run(windows);
    run.manifest.order = run.windows.iter().map(Window::id).collect();
    let mut writer = Store::new(place.runs()).create(run.manifest).unwrap();
    for window in &run.windows {
        writer.write_window(window, None).unwrap();
    }
    writer.finish("complete").unwrap();
}

fn assert_page(text: &str) {
    let lines = text.lines().count();
    assert!(lines <= 120, "{lines} lines:\n{text}");
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn an_explanation_of_six_levels_fits_a_page_and_begins_with_the_answer() {
    let place = Place::new();
    let level = |clients| Made { clients, latency: 160.0 * clients as f64 / 16.0 + 60.0, ..sixteen() }.window();
    stored(&place, [1, 4, 16, 64, 128, 256].map(level).into());
    let explained = place.run(&["explain", "--width", "80"]);
    explained.assert(0, &[]);
    assert_page(&explained.out);
    assert_told(
        &explained.out,
        &[
            "Run 20261122-101530-testbed (complete)\n\nclients",
            "Where the latency goes",
            "\nMore: --section NAME,.. of ",
        ],
    );
    let full = place.run(&["explain", "--width", "80", "--full"]);
    assert_told(&full.out, &["time at 128", "== Levels ==", "== What grew =="]);
    let chosen = place.run(&["explain", "--width", "80", "--section", "costs,checks"]);
    assert_told(&chosen.out, &["== What a query costs ==", "== Checks =="]);
    assert!(!chosen.out.contains("Where the latency goes"), "{}", chosen.out);
    place.run(&["explain", "--section", "nonsense"]).assert(2, &["there is no such section; there are levels, places"]);
    let json: serde_json::Value = serde_json::from_str(&place.run(&["explain", "--json"]).out).unwrap();
    let throughput = serde_json::json!({"measure": "throughput"});
    assert_eq!(having(rows(&json["answer"]), &throughput).len(), 6);
    assert_eq!(rows(&json)[0]["section"], "levels");
    assert_eq!(having(rows(&json), &throughput).len(), 6);
    let chosen: serde_json::Value =
        serde_json::from_str(&place.run(&["explain", "--json", "--section", "costs,levels"]).out).unwrap();
    let sections: std::collections::BTreeSet<_> = rows(&chosen).iter().map(|row| row["section"].as_str()).collect();
    assert_eq!(sections, [Some("costs"), Some("levels")].into());
    let run = place.run(&["runs", "latest", "--width", "80"]);
    assert!(run.out.lines().count() <= ANSWER_LINES, "{}", run.out);
}

#[test]
fn the_recording_of_the_testbed_ends_with_the_answer_and_its_explanation_fits_a_page() {
    let place = Place::new();
    let recorded = recordings::testbed();
    // Six levels of the three that were recorded.
    for (from, to) in [("c1", "c1"), ("c1", "c2"), ("c4", "c4"), ("c4", "c8"), ("c16", "c16"), ("c16", "c32")] {
        copy(&recorded.join(from), &place.path().join("recorded").join(to));
    }
    for width in WIDTHS.map(|width| width.to_string()) {
        let id = format!("at-{width}");
        let import =
            ["import", "recorded", "--preset", "testbed", "--profile-seconds", "2", "--id", &id, "--width", &width];
        let imported = place.run(&import);
        assert!(imported.code <= 1, "{}", imported.err);
        assert!(imported.out.lines().count() <= ANSWER_LINES, "{}", imported.out);
        assert_told(&imported.out, &["Missing ", "wireprof explain at-", "not measured\n"]);
    }
    assert_page(&place.run(&["explain", "--width", "80"]).out);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_headline_has_a_line_a_level_the_decided_ones_first() {
    let run = |latency: f64| {
        let windows = (1..=4).flat_map(|replicate| {
            let jitter = 1.0 + f64::from(replicate) / 1_000.0;
            let level = |clients, latency: f64| {
                let mut window = Made { clients, latency: latency * jitter, ..sixteen() }.window();
                window.facts.id.replicate = replicate as usize;
                window
            };
            [level(1, 100.0), level(16, latency)]
        });
        let mut windows: Vec<Window> = windows.collect();
        windows.sort_by_key(|window| window.facts.id);
        build::run(windows)
    };
    let found = headline(&difference(&run(160.0), &run(240.0), &Options::default()));
    let outcomes: Vec<(usize, Outcome)> = found.levels.iter().map(|level| (level.level, level.is)).collect();
    assert_eq!(outcomes, [(16, Outcome::Slower), (1, Outcome::Same)]);
    for width in WIDTHS {
        let lines = headline_lines(&found, None, &framing(width));
        assert!(lines.len() <= ANSWER_LINES && lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
        assert!(lines[3].contains("16  slower") && lines[4].contains("1  the same"), "{lines:#?}");
        assert_told(
            &lines.join("\n"),
            &["160 µs -> 241 µs +50.0 ±", "By       the scatter between windows", "Changed  At 16 clients"],
        );
    }
}
