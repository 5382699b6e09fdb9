//! A log can be trusted: what wireprof wrote passes its check, one changed digit fails it with its line, and a long
//! log that people wrote survives byte for byte.

use crate::build::*;
use std::path::PathBuf;
use wireprof::perflog::*;
use wireprof::run::{Run, Store, WindowId};

struct Place {
    folder: tempfile::TempDir,
    run: Run,
}

impl Place {
    /// A directory with one stored run.
    fn new() -> Place {
        let mut made = run(vec![
            window(1, 1, 5, 1_000_000, Some(profile(&spread("main;a", 2000, 5)))),
            window(16, 1, 5, 2_000_000, Some(profile(&spread("main;serve;b", 3000, 5)))),
        ]);
        made.manifest.order = made.windows.iter().map(|w| w.id()).collect::<Vec<WindowId>>();
        let place = Place { folder: tempfile::tempdir().unwrap(), run: made };
        let mut writer = place.store().create(place.run.manifest.clone()).unwrap();
        place.run.windows.iter().for_each(|w| writer.write_window(w, None).unwrap());
        writer.finish("complete").unwrap();
        place
    }

    fn store(&self) -> Store {
        Store::new(self.folder.path().join("runs"))
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log.md")
    }

    /// As `wireprof log new` and `wireprof log attach`.
    fn add(&self, words: &NewEntry) {
        let log = read(&self.log()).unwrap();
        let stored = self.store().load(&self.run.manifest.id).unwrap();
        let measured = results(&stored, &made(12, None)).unwrap();
        keep(&self.log(), &measured).unwrap();
        let text = entry(log.next_number(), log.heading_level(), words, &[measured]);
        write(&self.log(), &log.with_entry(&text)).unwrap();
        let from = self.folder.path().join("picture.svg");
        std::fs::write(&from, "<svg/>").unwrap();
        let id = &self.run.manifest.id;
        let files =
            [Attachment { level: 16, what: "flamegraph, all".into(), from, name: format!("{id}-L0016-all.svg") }];
        write(&self.log(), &attach(&self.log(), &read(&self.log()).unwrap(), id, &files, None).unwrap()).unwrap();
    }

    fn check(&self) -> Checked {
        check(&self.log(), &read(&self.log()).unwrap(), &self.store(), None)
    }

    fn text(&self) -> String {
        String::from_utf8(std::fs::read(self.log()).unwrap()).unwrap()
    }

    fn without_run(&self) {
        std::fs::remove_dir_all(self.folder.path().join("runs")).unwrap();
    }

    fn without_copy(&self) {
        std::fs::remove_file(place_of_copies(&self.log(), &format!("{} results", self.run.manifest.id))).unwrap();
    }

    /// Checks with each digit of the generated parts changed, one at a time, every `step`-th.
    fn change_digits(&self, step: usize) -> usize {
        let text = self.text();
        let blocks: Vec<_> = Document::parse(text.clone()).blocks().iter().map(|b| b.inside.clone()).collect();
        let digits = text.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(at, _)| at);
        let inside: Vec<usize> = digits.filter(|at| blocks.iter().any(|b| b.contains(at))).collect();
        for at in inside.iter().step_by(step) {
            let other = if &text[*at..at + 1] == "9" { "8" } else { "9" };
            std::fs::write(self.log(), format!("{}{other}{}", &text[..*at], &text[at + 1..])).unwrap();
            let line = text[..*at].matches('\n').count() + 1;
            let checked = self.check();
            assert!(
                checked.wrong().any(|f| f.line == line && matches!(f.kind, Kind::Edited { .. })),
                "line {line} of the edited log: {:?}",
                checked.findings
            );
        }
        std::fs::write(self.log(), text).unwrap();
        inside.len().div_ceil(step)
    }
}

fn words() -> NewEntry {
    NewEntry { title: "one".into(), problem: Some("slow".into()), ..NewEntry::default() }
}

#[test]
fn what_was_written_passes_with_its_run_and_with_its_copy_alone() {
    let place = Place::new();
    place.add(&words());
    let checked = place.check();
    assert_eq!(checked.findings, []);
    assert_eq!((checked.entries, checked.blocks, checked.by_copy, checked.by_run), (1, 2, 2, 1));
    place.without_run();
    let checked = place.check();
    assert_eq!(checked.findings, []);
    assert_eq!((checked.by_copy, checked.by_run), (2, 0));
    // Line breaks are the log's own affair.
    std::fs::write(place.log(), place.text().replace('\n', "\r\n")).unwrap();
    assert_eq!(place.check().findings, []);
}

#[test]
fn one_changed_digit_fails_with_its_line_by_the_copy_alone_and_by_the_run_alone() {
    let place = Place::new();
    place.add(&words());
    assert!(place.change_digits(7) > 20);
    let kept = place_of_copies(&place.log(), &format!("{} results", place.run.manifest.id));
    let copies = std::fs::read(&kept).unwrap();
    // The attachments' table is drawn from files and has its copy only.
    let table = read(&place.log()).unwrap().blocks()[1].whole.clone();
    let text = place.text();
    std::fs::write(place.log(), format!("{}{}", &text[..table.start], &text[table.end..])).unwrap();
    place.without_copy();
    assert_eq!(place.check().findings, []);
    assert!(place.change_digits(7) > 20);
    std::fs::write(&kept, copies).unwrap();
    place.without_run();
    assert!(place.change_digits(1) > 100);
}

#[test]
fn what_changed_between_two_runs_is_made_again_from_both_and_a_changed_digit_fails() {
    let place = Place::new();
    let before = place.store().load(&place.run.manifest.id).unwrap();
    let mut after = before.clone();
    after.manifest.id = "20261122-111530-testbed".into();
    after.windows.iter_mut().for_each(|window| window.load.completed += 1_000);
    let mut writer = place.store().create(after.manifest.clone()).unwrap();
    after.windows.iter().for_each(|window| writer.write_window(window, None).unwrap());
    writer.finish("complete").unwrap();
    let (before, after) = (before, place.store().load(&after.manifest.id).unwrap());
    let changed = changes(&before, &after, &made(12, None));
    assert_eq!(changed.text.matches("**In one line.** 16 clients: 400,000 -> 400,").count(), 1, "{}", changed.text);
    let log = read(&place.log()).unwrap();
    write(&place.log(), &log.with_entry(&entry(1, 2, &words(), std::slice::from_ref(&changed)))).unwrap();
    let checked = place.check();
    assert_eq!((checked.by_copy, checked.by_run, checked.wrong().count()), (0, 1, 0), "{:?}", checked.findings);
    assert!(place.change_digits(7) > 10);
    keep(&place.log(), &changed).unwrap();
    place.without_run();
    assert_eq!(place.check().findings, []);
    assert!(place.change_digits(1) > 70);
}

#[test]
fn without_run_and_copy_nothing_is_judged_and_nothing_passes_as_checked() {
    let place = Place::new();
    place.add(&words());
    place.without_copy();
    place.without_run();
    let checked = place.check();
    assert_eq!((checked.wrong().count(), checked.by_copy, checked.by_run), (0, 0, 0));
    let told: Vec<_> = checked.findings.iter().map(|f| f.kind.to_string()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("is not stored here, and there is no "), "{told:?}");
}

#[test]
fn an_entry_of_another_version_is_compared_by_value_and_is_no_false_alarm() {
    let place = Place::new();
    place.add(&words());
    // The same run as an earlier version showed it: other columns, other rounding, a line that is gone by now.
    let text = place.text();
    let older = text.replace(&format!("\"form\":{FORM},"), "\"form\":0,").replace("| 400,000 |", "| 400,000.0 |");
    let older = older.replace("Measured with:", "Remarks: 7 of 9.\n\nMeasured with:");
    place.without_copy();
    std::fs::write(place.log(), &older).unwrap();
    let checked = place.check();
    assert_eq!(checked.wrong().count(), 0, "{:?}", checked.findings);
    assert!(
        matches!(&checked.findings[0].kind, Kind::Unchecked { numbers, .. } if *numbers > 2),
        "{:?}",
        checked.findings
    );
    std::fs::write(place.log(), older.replace("| 400,000.0 |", "| 400,001.0 |")).unwrap();
    let checked = place.check();
    let wrong: Vec<_> = checked.wrong().map(|f| f.kind.to_string()).collect();
    assert_eq!(wrong, ["throughput (q/s), row 16: `400,001.0` stands there, the run gives `400,000`"]);
}

#[test]
fn where_only_this_version_computes_otherwise_the_entry_is_not_wrong() {
    let place = Place::new();
    place.add(&words());
    let id = &place.run.manifest.id;
    let path = place_of_copies(&place.log(), &format!("{id} results"));
    for file in [&place.log(), &path] {
        let text = std::fs::read_to_string(file).unwrap();
        std::fs::write(file, text.replace("\"wireprof\":\"", "\"wireprof\":\"0.0.").replace("400,000", "300,000"))
            .unwrap();
    }
    let checked = place.check();
    assert_eq!(checked.wrong().count(), 0, "{:?}", checked.findings);
    assert!(checked.findings[0].kind.to_string().contains("this one computes `400,000`"), "{:?}", checked.findings);
}

/// Fifty sessions as people write them: both ranks, numbers used twice, units in cells, code, both line ends, bytes
/// that are no text.
fn by_hand() -> Vec<u8> {
    let mut log = b"# pgwire performance log\r\n\r\nIntro with trailing blanks  \t\n\n".to_vec();
    for session in 1..=50u32 {
        let rank = if session % 3 == 0 { "###" } else { "##" };
        let number = if session == 31 { 30 } else { session };
        log.extend(
            format!("{rank} Session {number}: try {session}\n\n| clients | before | after |\n|---|--:|---|\n").bytes(),
        );
        for clients in [1, 4, 16, 64, 128] {
            log.extend(
                format!("| {clients} | {},{:03} q/s | 1.{session:02} ms \\| p99 |\r\n", clients, session * 7).bytes(),
            );
        }
        log.extend(
            format!(
                "#### Notes\n```sh\n## Session {}: in code\n<!-- wireprof:begin X results -->\n```\n",
                session + 500
            )
            .bytes(),
        );
        log.extend(b"latin-1: \xe9\xff, tab\there, lone \r in a line\n* bullet\n  1. nested\n\n\n");
        log.extend(
            "> µs, ±, 中文, \u{10ff85}, \u{200b}\n---\n<b>html</b> [x](https://example.org) `| not | a table`\n"
                .bytes(),
        );
        log.extend(
            b"no break between these two\n##Session 7: no heading\n    ## Session 8: too far in\n\t\n~~~\nopen \
                     ```\n~~~\n\n",
        );
    }
    log.extend(b"last line without a break");
    log
}

#[test]
fn a_hand_written_log_of_1500_lines_survives_byte_for_byte_outside_the_spliced_part() {
    let place = Place::new();
    let hand = by_hand();
    assert!(hand.iter().filter(|b| **b == b'\n').count() >= 1500);
    std::fs::write(place.log(), &hand).unwrap();
    write(&place.log(), &read(&place.log()).unwrap()).unwrap();
    assert!(std::fs::read(place.log()).unwrap() == hand);
    let parsed = read(&place.log()).unwrap();
    assert_eq!((parsed.entries().len(), parsed.newest().unwrap().number, parsed.half_markers().len()), (50, 50, 0));

    let files = |log: &Document, session| {
        let from = place.folder.path().join("p.svg");
        std::fs::write(&from, "<svg/>").unwrap();
        let files = [Attachment { level: 16, what: "flamegraph, all".into(), from, name: "R-L0016-all.svg".into() }];
        attach(&place.log(), log, "R", &files, session).unwrap()
    };
    write(&place.log(), &files(&parsed, Some(20))).unwrap();
    let once = std::fs::read(place.log()).unwrap();
    // Taking the spliced part out again leaves what people wrote.
    let at = once.iter().zip(&hand).take_while(|(a, b)| a == b).count();
    let tail = hand.len() - at;
    assert!(once[once.len() - tail..] == hand[at..], "bytes after the spliced part are changed");
    let spliced = String::from_utf8(once[at..once.len() - tail].to_vec()).unwrap();
    assert!(spliced.contains("R attachments") && spliced.contains("R-L0016-all.svg"), "{spliced}");
    let entry = read(&place.log()).unwrap();
    assert_eq!(entry.entry_at(entry.blocks()[0].whole.start).unwrap().number, 20);
    write(&place.log(), &files(&read(&place.log()).unwrap(), Some(20))).unwrap();
    assert!(std::fs::read(place.log()).unwrap() == once);

    let checked = place.check();
    let wrong: Vec<_> = checked.wrong().map(|f| f.kind.to_string()).collect();
    assert_eq!(wrong.iter().filter(|w| w.contains("session 30 is already the entry in line")).count(), 1, "{wrong:?}");
    assert_eq!(wrong.iter().filter(|w| w.as_str() == "no entry is session 31").count(), 1, "{wrong:?}");
    assert!(checked.findings.iter().any(|f| matches!(f.kind, Kind::ByHand { .. })));
}

#[test]
fn the_generated_text_of_a_known_run_is_this_form() {
    let place = Place::new();
    let stored = place.store().load(&place.run.manifest.id).unwrap();
    let text = results(&stored, &made(12, None)).unwrap().text;
    let form = (FORM, crc32fast::hash(text.as_bytes()));
    assert_eq!(
        form,
        (8, 1_101_889_267),
        "results() writes another text than it did: raise perflog::FORM by one, and put both numbers here\n{text}"
    );
}

/// Lines and kinds of what people's figures contradict.
fn contradictions(path: &std::path::Path) -> Vec<(usize, Rule, String)> {
    let store = Store::new(tempfile::tempdir().unwrap().path().join("runs"));
    let checked = check(path, &read(path).unwrap(), &store, None);
    let found = checked.findings.into_iter().filter_map(|finding| match &finding.kind {
        Kind::Contradiction { rule, .. } => Some((finding.line, *rule, finding.kind.to_string())),
        _ => None,
    });
    found.collect()
}

fn in_repository(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn twelve_errors_of_a_log_that_a_person_wrote_are_found_and_nothing_else() {
    let found = contradictions(&in_repository("tests/fixtures/logs/errors.md"));
    let places: Vec<(usize, Rule)> = found.iter().map(|(line, rule, _)| (*line, *rule)).collect();
    let expected = [
        (14, Rule::Little),
        (15, Rule::Order),
        (18, Rule::Change),
        (30, Rule::Change),
        (40, Rule::Part),
        (43, Rule::Part),
        (47, Rule::Direction),
        (47, Rule::Unit),
        (53, Rule::Change),
        (56, Rule::Count),
        (56, Rule::Cpu),
        (58, Rule::Shares),
    ];
    assert_eq!(places, expected, "{found:#?}");
    assert!(found[0].2.contains("40.4 clients in flight"), "{found:#?}");
}

#[test]
fn errors_of_a_terse_log_are_found_and_what_rounding_explains_is_not_one() {
    let found = contradictions(&in_repository("tests/fixtures/logs/errors-terse.md"));
    let lines: Vec<usize> = found.iter().map(|(line, ..)| *line).collect();
    assert_eq!(lines, [8, 13, 15, 19, 22, 24, 26, 32, 39, 41, 43, 45, 47, 57], "{found:#?}");
}

#[test]
fn sound_logs_in_other_styles_and_our_own_give_no_finding() {
    for (log, least) in [("terse", 30), ("prose", 30), ("mixed", 30)] {
        let path = in_repository(&format!("tests/fixtures/logs/sound-{log}.md"));
        assert_eq!(contradictions(&path), [], "{log}");
        let held = check(&path, &read(&path).unwrap(), &Store::new("none"), None).held;
        assert!(held >= least, "{log}: only {held} relations were understood");
    }
    assert_eq!(contradictions(&in_repository("pgwire-server-perf-log.md")), []);
    // What wireprof wrote is sound also where nobody knows any more that it wrote it.
    let own = std::fs::read_to_string(in_repository("pgwire-server-perf-log.md")).unwrap();
    let lines = own.lines().filter(|line| !line.starts_with("<!-- wireprof:"));
    let bare: String = lines.map(|line| format!("{line}\n")).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.md");
    std::fs::write(&path, bare).unwrap();
    assert_eq!(contradictions(&path), []);
}
