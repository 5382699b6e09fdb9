//! Reports read well in a bounded width, in Markdown and in JSON; flamegraphs carry exact widths and per-query figures.

use crate::build::*;
use crate::rows::{self, figure, having, row};
use crate::{golden, recordings};
use regex::Regex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use wireprof::analyze::cost::hot::{HotOptions, hot};
use wireprof::analyze::cost::quantities::Quantity;
use wireprof::analyze::cost::view::{LevelView, ViewOptions, level_view};
use wireprof::analyze::judge::summary::summary;
use wireprof::preset::Per;
use wireprof::profile::Focus;
use wireprof::render::flamegraph::{Caption, draw};
use wireprof::render::*;
use wireprof::run::Run;

fn small_run() -> Run {
    let low = spread("main;a", 2000, 5);
    let high: Vec<Stack> = spread("main;a", 2000, 5).into_iter().chain(spread("main;b", 1000, 5)).collect();
    run(vec![window(1, 1, 5, 1_000_000, Some(profile(&low))), window(16, 1, 5, 2_000_000, Some(profile(&high)))])
}

#[test]
fn the_hot_table_reads_as_expected_in_a_terminal() {
    let text = terminal(&hot_report(&hot(&small_run(), &HotOptions::default())), 120);
    golden::assert("hot-table.txt", &text);
}

fn wide_table() -> Table {
    let name = format!("<core::future::Future as {}>::poll", "very::long::Name<with::Generics>::".repeat(100));
    let mut columns = vec![Column::text("frame", "frame")];
    let mut row = vec![Cell::Name(format!("x{name}"))];
    for level in 0..20 {
        columns.push(Column::at(level, "cost", &format!("level {level}"), "µs/query"));
        row.push(Cell::Number(level as f64 * 1234.5));
    }
    columns.push(Column::text("note", "note"));
    row.push(Cell::Text("no blank ".repeat(100)));
    Table { columns, rows: vec![row], ..Table::default() }
}

#[test]
fn no_line_of_a_table_is_wider_than_asked_for_and_no_column_is_lost() {
    let report = |table| Report {
        title: "t".into(),
        sections: vec![Section { tables: vec![table], ..Section::default() }],
        ..Report::default()
    };
    for width in [40, 60, 80, 120, 200] {
        let text = terminal(&report(wide_table()), width);
        assert!(text.lines().all(|l| l.chars().count() <= width), "{width}:\n{text}");
        for level in 0..20 {
            assert!(text.contains(&format!("level {level}")), "{width} {level}");
        }
        assert!(text.contains("23,456"), "{text}");
    }
}

#[test]
fn names_are_cut_in_the_middle() {
    assert_eq!(middle("abcdefghij", 10), "abcdefghij");
    assert_eq!(middle("abcdefghij", 5), "ab…ij");
    assert_eq!(middle("äöüßäöüß", 4), "ä…üß");
    assert_eq!(middle("abc", 0), "");
}

const PUSH: [&str; 3] = ["<alloc::vec::Vec<u8>>::push", "<alloc::vec::Vec<u64>>::push", "m::run"];

/// Samples of functions two of which have one short name.
fn pushing() -> Run {
    let stacks: Vec<Stack> = PUSH.iter().flat_map(|name| spread(name, 10, 1)).collect();
    run(vec![window(1, 1, 1, 10, Some(profile(&stacks)))])
}

#[test]
fn different_functions_of_one_short_name_are_different_rows_and_boxes() {
    let report = || hot_report(&hot(&pushing(), &HotOptions::default()));
    for text in [terminal(&report(), 120), markdown(&report(), 1)] {
        for shown in ["alloc::vec::Vec::push (u8)", "alloc::vec::Vec::push (u64)", "m::run"] {
            assert_eq!(text.matches(shown).count(), 1, "{shown} in\n{text}");
        }
    }
    let view = view(&pushing(), 1, &ViewOptions::default());
    let svg = draw(&view, &Caption::default()).unwrap().svg;
    let mut first: Vec<String> =
        boxes(&svg).iter().map(|b| b.0.split(" (1,000 µs").next().unwrap().to_string()).collect();
    first.retain(|shown| !shown.starts_with("all"));
    first.sort();
    assert_eq!(first, ["Vec::push (u64)", "Vec::push (u8)", "m::run"]);
}

#[test]
fn full_names_are_shown_whole_in_tables_and_bounded_in_pictures() {
    let long = format!("<alloc::vec::Vec<{}>>::push", "very::long::Name<with::Generics>,".repeat(40));
    let stacks: Vec<Stack> = spread(&long, 10, 1).into_iter().chain(spread("m::run::<u8>", 5, 1)).collect();
    let run = run(vec![window(1, 1, 1, 10, Some(profile(&stacks)))]);
    let table = hot(&run, &HotOptions::default());
    for width in [60, 120, 200] {
        let text = terminal(&hot_report(&table).with_full_names(), width);
        assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
        // Tables wider than that go on below, the names repeated: the first of them is looked at.
        let rows = text.lines().skip_while(|line| !line.starts_with("<alloc"));
        let rows = rows.take_while(|line| !line.starts_with("m::run"));
        let column: String = rows.map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(column, long, "{width}:\n{text}");
    }
    assert!(terminal(&hot_report(&table), 120).contains("alloc::vec::Vec::push "));
    let caption = Caption { full_names: true, ..Caption::default() };
    let svg = draw(&view(&run, 1, &ViewOptions::default()), &caption).unwrap().svg;
    assert!(svg.contains("<title>m::run::&lt;u8&gt; ("), "{svg}");
    let read = |title: &str| title.replace("&lt;", "<").replace("&gt;", ">");
    assert!(boxes(&svg).iter().all(|b| read(&b.0).chars().count() < 400));
    let as_json = |report| json_value("hot", &report);
    assert_eq!(as_json(hot_report(&table)), as_json(hot_report(&table).with_full_names()));
}

#[test]
fn markdown_cells_cannot_break_their_table() {
    let columns = vec![Column::text("frame", "a|b"), Column::number("n", "", "µs"), Column::text("t", "t")];
    let rows = vec![vec![Cell::Name("a|`b`\nc".into()), Cell::Missing("why".into()), Cell::Text("x|y\nz".into())]];
    let text = markdown_table(&Table { columns, rows, ..Table::default() });
    assert_eq!(
        text,
        "| a\\|b | (µs) | t |\n| --- | ---: | --- |\n| `a\\| b  c` | not measured | x\\|y z |\n\n\
         Not measured (n): why.\n"
    );
}

#[test]
fn json_has_full_names_unrounded_numbers_and_reasons() {
    let table = hot(&small_run(), &HotOptions::default());
    let value = json_value("hot", &hot_report(&table));
    assert_eq!((&value["schema"], &value["verb"], &value["runs"]), (&2.into(), &"hot".into(), &json!([table.run])));
    let rows = rows::rows(&value);
    let of_a = row(rows, &json!({"frame": "a", "measure": "cost", "level": 16}));
    assert_eq!((&of_a["value"], &of_a["unit"], &of_a["samples"]), (&1e-6.into(), &"s/query".into(), &2000.into()));
    assert_eq!((&of_a["section"], &of_a["table"], &of_a["row"]), (&"hot".into(), &"functions".into(), &1.into()));
    assert_eq!(figure(rows, &json!({"frame": "a", "measure": "difference"})), -1e-6);
    let none = rows.iter().find(|row| row["measure"] == "ratio" && row["row"] == 2).unwrap();
    assert_eq!((&none["value"], &none["missing"]), (&Value::Null, &"no sample at the first level".into()));
    let of_first: Vec<&str> = having(rows, &json!({"table": "functions", "row": 1}))
        .iter()
        .map(|row| row["measure"].as_str().unwrap())
        .collect();
    assert_eq!(of_first, ["cost", "cost", "ratio", "difference", "samples"]);
}

#[test]
fn what_was_not_measured_is_never_a_number() {
    let mut run = run(vec![window(1, 1, 1, 0, None)]);
    run.windows[0].load.latency_sum = None;
    let text = markdown_table(&summary_table(&summary(&run)));
    let cells: Vec<&str> = text.lines().nth(2).unwrap().split('|').map(str::trim).collect();
    assert_eq!(cells[5], "not measured", "{text}");
    assert_eq!(text.lines().nth(2).unwrap().matches("not measured").count(), 12, "{text}");
    assert!(text.contains("Not measured (mean): the driver does not tell it exactly."), "{text}");
}

#[test]
fn quantities_have_a_row_each_with_unit_and_reason() {
    let quantity = |value: Option<f64>, missing: Option<&str>| Quantity {
        name: "read_ts".into(),
        unit: "µs".into(),
        per: Per::Query,
        value,
        count: value.map(|_| 10.0),
        source: "mz_x".into(),
        missing: missing.map(Into::into),
        bounds: None,
    };
    let levels = BTreeMap::from([
        (1, vec![quantity(Some(243.21), None)]),
        (16, vec![quantity(None, Some("count did not move"))]),
    ]);
    let table = quantities_table(&levels);
    assert_eq!(table.rows.len(), 1);
    assert_eq!(table.rows[0][1..3], [Cell::Text("µs".into()), Cell::Text("query".into())]);
    assert_eq!(table.rows[0][3], Cell::Figure(243.21));
    assert_eq!(table.rows[0][4], Cell::Missing("count did not move".into()));
}

/// (title, x, width, y) of every box of a picture.
fn boxes(svg: &str) -> Vec<(String, u64, u64, u64)> {
    let pattern = r#"(?s)<title>(.*?)</title><rect [^>]*? y="(\d+)"[^>]*fg:x="(\d+)" fg:w="(\d+)"/>"#;
    let number = |text: &str| text.parse().unwrap();
    Regex::new(pattern)
        .unwrap()
        .captures_iter(svg)
        .map(|c| (c[1].to_string(), number(&c[3]), number(&c[4]), number(&c[2])))
        .collect()
}

fn view(run: &Run, level: usize, options: &ViewOptions) -> LevelView {
    level_view(level, &run.levels()[&level], options).unwrap()
}

#[test]
fn a_flamegraphs_widths_are_the_weights_and_its_tooltips_are_per_query() {
    let stacks: Vec<Stack> = [spread("main;f", 100, 5), spread("main;f;g", 50, 5), spread("main;f::h;k:read", 30, 5)]
        .into_iter()
        .flatten()
        .collect();
    let run = run(vec![window(16, 1, 5, 20_000, Some(profile(&stacks)))]);
    let drawing =
        draw(&view(&run, 16, &ViewOptions::default()), &Caption { run: "R".into(), ..Caption::default() }).unwrap();
    let mut found: Vec<_> = boxes(&drawing.svg).into_iter().map(|(title, x, w, _)| (title, x, w)).collect();
    found.sort_by_key(|(title, ..)| title.clone());
    let ms = 1_000_000;
    let expected = [
        ("all (9.00 µs CPU per query, 100 % of all CPU, 180 samples)", 0, 180 * ms),
        ("f (7.50 µs CPU per query, 83.3 % of all CPU, 150 samples)\nserver", 0, 150 * ms),
        ("f::h (1.50 µs CPU per query, 16.7 % of all CPU, 30 samples)\nserver", 150 * ms, 30 * ms),
        ("g (2.50 µs CPU per query, 27.8 % of all CPU, 50 samples)\nserver", 100 * ms, 50 * ms),
        ("main (9.00 µs CPU per query, 100 % of all CPU, 180 samples)\nserver", 0, 180 * ms),
        ("read (1.50 µs CPU per query, 16.7 % of all CPU, 30 samples)\n[kernel]", 150 * ms, 30 * ms),
    ];
    assert_eq!(found, expected.map(|(t, x, w)| (t.to_string(), x, w)));
    assert!(drawing.svg.contains("Level 16: 9.00 µs CPU per query (R)"));
    assert!(drawing.svg.contains("4,000 q/s, 20,000 queries in 5.00 s, 1 window"));
    assert!(drawing.svg.contains("180 samples, cpu-clock, 100.0 % of weight on complete stacks, 0 lost, 0 throttled"));
    assert_eq!((drawing.drawn, drawing.pruned), (6, 0));
}

#[test]
fn a_focus_has_all_of_the_width_and_its_title_says_what_lies_outside() {
    let options = ViewOptions { focus: Some(Focus::new("b only", &["^b$"]).unwrap()), ..ViewOptions::default() };
    let caption = Caption { run: "R".into(), focus: Some("b only".into()), ..Caption::default() };
    let drawing = draw(&view(&small_run(), 16, &options), &caption).unwrap();
    assert!(drawing.svg.contains("Level 16: 0.500 µs CPU per query in b only, 1.00 outside (R)"));
    let mut found: Vec<(String, u64, u64)> =
        boxes(&drawing.svg).into_iter().map(|(title, x, w, _)| (title, x, w)).collect();
    found.sort();
    let figures = "(0.500 µs CPU per query, 100 % of b only, 33.3 % of all CPU, 1,000 samples)";
    let expected = [format!("all of b only {figures}"), format!("b {figures}\nserver")];
    assert_eq!(found, expected.map(|title| (title, 0, 1_000_000_000)));
}

#[test]
fn a_picture_is_the_same_bytes_each_time_and_has_no_control_characters() {
    let view = view(&small_run(), 16, &ViewOptions::default());
    let (one, two) = (draw(&view, &Caption::default()).unwrap().svg, draw(&view, &Caption::default()).unwrap().svg);
    assert!(one == two);
    assert!(!one.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
}

#[test]
fn hostile_names_neither_break_the_picture_nor_change_its_weights() {
    let names = ["[u8; 8]", "a b 12", "x\u{7}\ty", "<&>\"'", "# comment", "", "n(1) (2)", "a_[k]"];
    let mut builder = wireprof::profile::Builder::new(wireprof::profile::on_cpu_columns());
    let labels = builder.labels(Default::default());
    for (i, name) in names.iter().enumerate() {
        let frame = builder.frame(frame(name));
        let stack = builder.stack([frame]);
        builder.sample(stack, labels, Some(i as u64), vec![1, 1000 << i]);
    }
    let run = run(vec![window(1, 1, 1, 1, Some(builder.finish()))]);
    let svg = draw(&view(&run, 1, &ViewOptions::default()), &Caption::default()).unwrap().svg;
    let found = boxes(&svg);
    assert_eq!(found.len(), 9);
    let mut widths: Vec<u64> = found.iter().map(|b| b.2).collect();
    widths.sort_unstable();
    assert_eq!(widths, [1000, 2000, 4000, 8000, 16000, 32000, 64000, 128_000, 255_000]);
    assert!(found.iter().any(|b| b.0.contains("\n&lt;&amp;&gt;")), "{found:?}");
}

#[test]
fn a_real_servers_names_of_kilobytes_give_a_picture_below_3_megabytes() {
    let Some(recorded) = recordings::environmentd() else { return };
    let drawn = pictures_are_small(&recorded.join("t/c16"), "try_frontend_peek_cached");
    assert!(drawn > 100, "{drawn} boxes");
}

#[test]
fn the_testbeds_picture_has_a_box_for_each_path() {
    assert_eq!(pictures_are_small(&recordings::testbed().join("c16"), "pgwire::"), 245);
}

/// Draws everything and one focus; boxes of the former.
fn pictures_are_small(level: &Path, focus: &str) -> usize {
    let profile = folded(&recordings::text(&level.join("folded.txt.gz")));
    let total = profile.total(0);
    let mut drawn = Vec::new();
    let run = run(vec![window(16, 1, 20, 84_700, Some(profile))]);
    let focus = Some(Focus::new("focus", &[focus]).unwrap());
    for (name, options) in [("all", ViewOptions::default()), ("focus", ViewOptions { focus, ..ViewOptions::default() })]
    {
        let view = view(&run, 16, &options);
        let focus = options.focus.as_ref().map(|f| f.name.clone());
        let caption = Caption { run: "recorded".into(), focus, ..Caption::default() };
        let drawing = draw(&view, &caption).unwrap();
        let full = draw(&view, &Caption { full_names: true, ..caption }).unwrap();
        assert!(full.svg.len() < 3_000_000, "{} bytes with full names", full.svg.len());
        let found = boxes(&drawing.svg);
        assert!(drawing.svg.len() < 3_000_000, "{}", drawing.svg.len());
        assert_eq!(found.len(), drawing.drawn);
        let outside = view.outside.unwrap_or(0);
        assert!(found.iter().any(|b| b.0.starts_with("all ") && b.2 as i64 == total - outside));
        assert!(found.iter().all(|b| b.0.lines().all(|l| l.chars().count() <= 400)));
        if let Ok(directory) = std::env::var("WIREPROF_KEEP_PICTURES") {
            std::fs::write(format!("{directory}/{name}.svg"), &drawing.svg).unwrap();
        }
        drawn.push(drawing.drawn);
    }
    let table = hot(&run, &HotOptions { top: 10, ..HotOptions::default() });
    let text = terminal(&hot_report(&table), 100);
    assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
    drawn[0]
}

#[test]
fn guards_that_do_not_pass_are_told_whole_with_their_remedies_the_worst_first() {
    use wireprof::check::Check;
    let mut run = small_run();
    run.windows[0].checks = vec![
        Check::Unchecked { what: "steal".into(), why: "the machine does not tell".into() },
        Check::Errors { errors: 5, completed: 10, first: "40001 restart transaction".into() },
        Check::WrongRows { wrong: 0, completed: 10 },
    ];
    let text = terminal(&checks_report(&run, false), 60);
    assert!(text.lines().all(|l| l.chars().count() <= 60), "{text}");
    assert!(text.contains("1 of 3 checks passed."), "{text}");
    let value = json_value("runs", &checks_report(&run, true));
    let rows = rows::rows(&value);
    let told: Vec<_> = rows.iter().map(|r| (r["check"].as_str().unwrap(), r["verdict"].as_str().unwrap())).collect();
    assert_eq!(told, [("errors", "fail"), ("unchecked", "not_measured"), ("wrong_rows", "pass")]);
    let words = |key: &str| rows[0][key].as_str().unwrap().split(' ');
    for word in words("check_text").chain(words("remedy")) {
        assert!(text.contains(word), "`{word}` was cut:\n{text}");
    }
}
