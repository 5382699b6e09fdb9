//! The log keeps every byte a person wrote, numbers its entries on, and takes the same attachment twice without a
//! change.

use crate::build::*;
use std::path::Path;
use wireprof::perflog::*;

const LOG: &str = "# Log\r\n\r\nIntro  \n\n## Session 47: first\n\ntext\n```\n## Session 99: not an entry\n```\n\n### \
                   Session 48: second\n#### Sub\n\tx\n## Session 48: again\nlast\n# Appendix\nend without a line break";

#[test]
fn parsing_loses_no_byte_and_finds_the_entries_outside_of_code() {
    let log = Document::parse(LOG.into());
    assert_eq!(log.text(), LOG);
    let found: Vec<_> = log.entries().iter().map(|e| (e.number, e.title.as_str(), e.level)).collect();
    assert_eq!(found, [(47, "first", 2), (48, "second", 3), (48, "again", 2)]);
    let parts: String = log.entries().iter().map(|e| log.entry_text(e)).collect();
    assert!(LOG.contains(&parts));
    assert_eq!(log.entry_text(&log.entries()[2]), "## Session 48: again\nlast\n");
    assert_eq!((log.next_number(), log.heading_level()), (49, 2));
}

#[test]
fn a_new_entry_goes_after_the_last_one_and_changes_nothing_else() {
    let unix = LOG.replace("\r\n", "\n");
    let log = Document::parse(unix.clone()).with_entry("## Session 49: new\n\nbody\n");
    let expected = unix.replace("last\n# Appendix", "last\n\n## Session 49: new\n\nbody\n\n# Appendix");
    assert_eq!(log.text(), expected);
}

#[test]
fn a_log_with_the_newest_first_gets_its_new_entry_first() {
    let log = Document::parse("# Log\n\n## Session 3: c\n\n## Session 2: b\n".into()).with_entry("## Session 4: d\n");
    assert_eq!(log.text(), "# Log\n\n## Session 4: d\n\n## Session 3: c\n\n## Session 2: b\n");
}

#[test]
fn an_empty_log_and_one_without_a_last_line_break_take_an_entry() {
    assert_eq!(Document::parse(String::new()).with_entry("## Session 1: a\n").text(), "## Session 1: a\n");
    assert_eq!(Document::parse("# Log".into()).with_entry("## Session 1: a\n").text(), "# Log\n\n## Session 1: a\n");
}

fn block(key: &str, text: &str) -> Generated {
    Generated { key: key.into(), made: Made::now(), text: text.into() }
}

#[test]
fn line_endings_of_the_log_are_kept() {
    let log = Document::parse("# Log\r\n\r\n## Session 1: a\r\n".into());
    assert_eq!(
        log.with_entry("## Session 2: b\n\nx\n").text(),
        "# Log\r\n\r\n## Session 1: a\r\n\r\n## Session 2: b\r\n\r\nx\r\n"
    );
    let once = log.with_block(&block("R x", "a\nb\n"), None).unwrap();
    assert_eq!(once, once.with_block(&block("R x", "a\nb\n"), None).unwrap());
    assert_eq!(once.text().matches('\n').count(), once.text().matches("\r\n").count());
    // A CR alone at the end and the LF that is added become one line break; the log's others are LF.
    let mixed = Document::parse("# Log\n\n## Session 1: a\r".into());
    let once = mixed.with_block(&block("R x", "a\n"), None).unwrap();
    assert_eq!(once.with_block(&block("R x", "a\n"), None).unwrap(), once);
}

#[test]
fn a_block_is_replaced_where_it_stands_and_twice_is_once() {
    let log = Document::parse("## Session 1: a\n\ntext\n\n## Session 2: b\n\ntext\n".into());
    let once = log.with_block(&block("R attachments", "one"), Some(1)).unwrap();
    assert_eq!(
        once.text(),
        format!(
            "## Session 1: a\n\ntext\n\n<!-- wireprof:begin R attachments {{\"wireprof\":\"{}\",\"form\":{FORM}}} \
                -->\none\n\
             <!-- wireprof:end R attachments -->\n\n## Session 2: b\n\ntext\n",
            env!("CARGO_PKG_VERSION")
        )
    );
    assert_eq!(once.with_block(&block("R attachments", "one"), Some(1)).unwrap(), once);
    let changed = once.with_block(&block("R attachments", "two\nlines\n"), None).unwrap();
    assert_eq!(changed.text(), once.text().replace("one", "two\nlines"));
}

#[test]
fn a_marker_without_its_counterpart_is_named_with_its_line() {
    let log = Document::parse("## Session 1: a\n<!-- wireprof:begin R x -->\nhalf\n".into());
    let error = log.with_block(&block("R x", "new"), None).unwrap_err();
    assert_eq!(error, Unspliceable::HalfMarker { line: 2, marker: "<!-- wireprof:begin R x -->".into() });
    assert_eq!(log.with_block(&block("S y", ""), Some(7)).unwrap_err(), Unspliceable::NoSuchSession(7));
    let open = Document::parse("## Session 1: a\n\n```\nnever closed\n".into());
    assert_eq!(open.with_block(&block("R x", "new"), None).unwrap_err(), Unspliceable::Hidden);
    // A block that goes on beyond its entry stays one.
    let beyond = "## Session 2: a\n\n<!-- wireprof:begin R x -->\nb\n\n## Session 1: c\n<!-- wireprof:end R x -->\n";
    let added = Document::parse(beyond.into()).with_block(&block("S y", "new"), None).unwrap();
    assert_eq!(added.blocks().iter().map(|block| block.key.as_str()).collect::<Vec<_>>(), ["S y", "R x"]);
    // An entry that begins and ends within a block has no place of its own.
    let within = "a\n<!-- wireprof:begin R x -->\n## Session 1: b\n\n# C\n<!-- wireprof:end R x -->\n";
    let error = Document::parse(within.into()).with_block(&block("S y", "new"), None).unwrap_err();
    assert_eq!(error, Unspliceable::Disturbed { line: 2 });
    // Where code that begins in a block ends behind it, the end would begin another one without it.
    let closing = "## Session 1: a\n\n<!-- wireprof:begin R x -->\n```\n<!-- wireprof:end R x -->\nb\n```\n\n\
                   <!-- wireprof:begin S y -->\nc\n<!-- wireprof:end S y -->\n";
    let error = Document::parse(closing.into()).with_block(&block("R x", "new"), None).unwrap_err();
    assert_eq!(error, Unspliceable::Disturbed { line: 9 });
    // What an open code block within the earlier one hid is not there all at once.
    let earlier = "## Session 1: a\n\n<!-- wireprof:begin R x -->\n```\nb\n<!-- wireprof:end R x -->\n";
    let hiding = Document::parse(format!("{earlier}c\n<!-- wireprof:end R x -->\n"));
    let error = hiding.with_block(&block("R x", "new"), None).unwrap_err();
    assert_eq!(error, Unspliceable::HalfMarker { line: 8, marker: "<!-- wireprof:end R x -->".into() });
    assert_eq!(Document::parse("# Log\n".into()).with_block(&block("R x", ""), None).unwrap_err(), Unspliceable::Empty);
}

fn sample_entry(words: &NewEntry) -> String {
    let run = run(vec![
        window(1, 1, 5, 1_000_000, Some(profile(&spread("main;a", 2000, 5)))),
        window(16, 1, 5, 2_000_000, Some(profile(&spread("main;a", 3000, 5)))),
    ]);
    entry(49, 2, words, &[results(&run, &made(30, None)).unwrap()])
}

#[test]
fn an_entry_has_the_persons_words_the_results_and_placeholders_for_what_was_not_said() {
    let words = NewEntry {
        title: "cache\nthe plan".into(),
        problem: Some("# slow\n<!-- wireprof:begin x -->".into()),
        ..NewEntry::default()
    };
    let text = sample_entry(&words);
    let log = Document::parse("# Log\n".into()).with_entry(&text);
    assert_eq!(log.entries().len(), 1);
    assert_eq!(log.entries()[0].title, "cache the plan");
    for expected in [
        "**Problem.** \\# slow\n&lt;!-- wireprof:begin x -->\n",
        "**Change.** _To fill in: ",
        "**Conclusion.** _To fill in: ",
        "<!-- wireprof:begin 20261122-101530-testbed results {\"wireprof\":",
        "| 16 | 1 | 400,000 |",
        "| `a` | server | 2.000 ±0.090 | 1.500 ±0.055 | 0.750 |",
        "- target: postgres://127.0.0.1:6875/db, preset testbed, pid 42",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

fn attachment(folder: &Path, name: &str, level: usize) -> Attachment {
    let from = folder.join(name);
    std::fs::write(&from, format!("<svg>{name}</svg>")).unwrap();
    Attachment { level, what: "flamegraph, all".into(), from, name: format!("R-{name}") }
}

#[test]
fn attaching_twice_leaves_the_same_bytes_in_the_log_and_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, source) = (folder.path().join("log.md"), tempfile::tempdir().unwrap());
    std::fs::write(&path, "# Log\n\n## Session 1: a\n\ntext\n").unwrap();
    let files = [attachment(source.path(), "L0016.svg", 16), attachment(source.path(), "L0001.svg", 1)];
    let mut bytes = Vec::new();
    for _ in 0..2 {
        let log = attach(&path, &read(&path).unwrap(), "R", &files, None).unwrap();
        write(&path, &log).unwrap();
        bytes.push((
            std::fs::read(&path).unwrap(),
            std::fs::read(folder.path().join("flamegraphs/R-L0016.svg")).unwrap(),
        ));
    }
    assert_eq!(bytes[0], bytes[1]);
    let text = String::from_utf8(bytes[0].0.clone()).unwrap();
    let rows = "| 1 | flamegraph, all | [R-L0001.svg](flamegraphs/R-L0001.svg) |\n| 16 | flamegraph, all | \
                [R-L0016.svg](flamegraphs/R-L0016.svg) |\n";
    assert!(text.contains(rows), "{text}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "temporary files are left: {left:?}");
}

#[test]
fn writing_keeps_permissions_links_and_bytes_that_are_no_text() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real.md"), folder.path().join("link.md"));
    std::fs::write(&real, "# Log\n").unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    write(&link, &read(&link).unwrap().with_entry("## Session 1: a\n")).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_to_string(&real).unwrap(), "# Log\n\n## Session 1: a\n");
    std::fs::write(&real, b"# \xff\r\n## Session 1: \xc3\r\n").unwrap();
    write(&link, &read(&link).unwrap().with_entry("## Session 2: b\n")).unwrap();
    assert_eq!(std::fs::read(&real).unwrap(), b"# \xff\r\n## Session 1: \xc3\r\n\r\n## Session 2: b\r\n");
}
