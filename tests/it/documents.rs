//! The documents: links and paths lead somewhere, every decision is in the index and has its sections, and lines fit
//! into 120 columns; the README is short; the files of a run and the messages that documents name are those of the
//! code. Whether commands print what documents quote, `tests/measuring/documents` asks. Invariant: the tests read the
//! repository and change nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Columns of a line, tables and listings aside.
const COLUMNS: usize = 120;
/// Columns and lines of the README: a screen and a half, also where it is read beside something else.
const README: (usize, usize) = (100, 150);
/// What a decision is made of, in this order.
const SECTIONS: [&str; 5] = ["Question", "Answer", "Measurement", "Alternatives", "Code"];
/// Written by `wireprof log`, or by others.
const NOT_OURS: [&str; 1] = ["pgwire-server-perf-log.md"];

/// Folders whose files documents name.
const FOLDERS: [&str; 9] =
    ["src/", "tests/", "scripts/", "presets/", "fuzz/", "docs/", "testbed/", "examples/", "benches/"];

struct Document {
    /// From the repository's root.
    path: PathBuf,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn in_directory(directory: &str) -> Vec<Document> {
    let entries = std::fs::read_dir(root().join(directory)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    paths.sort();
    let read = |path: PathBuf| Document {
        text: std::fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(root()).unwrap().into(),
    };
    paths.into_iter().map(read).filter(|document| !NOT_OURS.iter().any(|name| document.path.ends_with(name))).collect()
}

fn documents() -> Vec<Document> {
    ["", "docs", "docs/decisions"].into_iter().flat_map(in_directory).collect()
}

/// Lines outside listings, with their numbers from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut listing = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let border = line.starts_with("```");
        listing ^= border;
        (!listing && !border && !line.starts_with("    ")).then_some((at + 1, line))
    })
}

/// Targets of `[text](target)` within the repository.
fn links(text: &str) -> Vec<String> {
    let parts = text.split("](").skip(1).filter_map(|part| part.split(')').next());
    let own = parts.filter(|target| !target.contains("://") && !target.starts_with('#'));
    own.map(|target| target.split('#').next().unwrap().into()).collect()
}

/// Paths that begin an expression in backticks, without those in which NAME stands for a name.
fn paths(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.split_whitespace().next());
    let in_folder = |path: &&str| FOLDERS.iter().any(|folder| path.trim_start_matches("./").starts_with(folder));
    let plain = |path: &&str| path.chars().all(|c| c.is_ascii_alphanumeric() || "/_.-".contains(c));
    quoted.filter(in_folder).filter(plain).filter(|path| !path.contains("NAME")).collect()
}

#[test]
fn links_and_paths_are_found_in_a_text() {
    let text = "see [a](b.md#c), [d](https://e/f) and `src/g.rs`, `src/NAME.rs`, `./scripts/h i`, `j/src/k.rs`";
    assert_eq!(links(text), ["b.md"]);
    assert_eq!(paths(text), ["src/g.rs", "./scripts/h"]);
    let lines: Vec<_> = prose("one\n```\ntwo\n```\n    three\nfour").collect();
    assert_eq!(lines, [(1, "one"), (6, "four")]);
}

/// Commands of wireprof in listings, with their continued lines, and in backticks.
fn commands(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut continued = false;
    for line in text.lines().map(|line| line.split(" # ").next().unwrap().trim_end()) {
        let listed = line.strip_prefix("    ").unwrap_or_default();
        let begins = listed.strip_prefix("target/release/").unwrap_or(listed);
        let part = |line: &str| line.strip_suffix('\\').unwrap_or(line).to_string();
        match found.last_mut().filter(|_| continued) {
            Some(begun) => begun.push_str(&part(listed)),
            None if begins.starts_with("wireprof ") => found.push(part(begins)),
            None => continue,
        }
        continued = listed.ends_with('\\');
    }
    let quoted = text.split('`').skip(1).step_by(2).filter(|quoted| quoted.starts_with("wireprof "));
    found.extend(quoted.map(String::from));
    let alone = |command: String| command.split(" | ").next().unwrap().split(" > ").next().unwrap().to_string();
    found.into_iter().map(alone).collect()
}

/// A command's words; quotes keep blanks.
fn shell_words(command: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for letter in command.chars() {
        match letter {
            '\'' => quoted = !quoted,
            blank if blank.is_whitespace() && !quoted => words.push(String::new()),
            letter => words.last_mut().unwrap().push(letter),
        }
    }
    words.into_iter().filter(|word| !word.is_empty()).collect()
}

#[test]
fn commands_are_found_in_listings_and_in_backticks() {
    let listing = "    target/release/wireprof sweep --query 'select 1' \\\n        --no-wire";
    let text = &format!("see `wireprof hot RUN | less`:\n\n{listing}\n");
    let found: Vec<Vec<String>> = commands(text).iter().map(|command| shell_words(command)).collect();
    assert_eq!(found, [&["wireprof", "sweep", "--query", "select 1", "--no-wire"][..], &["wireprof", "hot", "RUN"]]);
}

/// A verb is named in the text without what it needs.
const MISSING: clap::error::ErrorKind = clap::error::ErrorKind::MissingRequiredArgument;

#[test]
fn every_command_in_a_document_is_one_that_wireprof_understands() {
    use clap::CommandFactory;
    let (mut read, mut wrong) = (0, Vec::new());
    // What changed once and why things are so tell of their time.
    let documents = ["", "docs"].into_iter().flat_map(in_directory);
    for Document { path, text } in documents.filter(|document| !document.path.ends_with("CHANGELOG.md")) {
        for command in commands(&text) {
            // `N` stands for a number, `VERB` for a verb, `...` for what is left to the reader.
            let words = shell_words(&command.replace(" N", " 1"));
            if words.iter().any(|word| word.contains("...") || word.contains('…') || word == "VERB") {
                continue;
            }
            read += 1;
            let parsed = wireprof::cli::Arguments::command().try_get_matches_from(&words);
            let refused = parsed.err().filter(|error| error.use_stderr() && error.kind() != MISSING);
            wrong.extend(refused.map(|error| format!("{}: {command}: {error}", path.display())));
        }
    }
    assert!(read > 60, "{read} commands");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn lines_fit_tables_aside() {
    let mut wide = Vec::new();
    for Document { path, text } in documents() {
        let fits = |line: &str| line.chars().count() <= COLUMNS || line.starts_with('|') || line.starts_with("![");
        wide.extend(prose(&text).filter(|(_, line)| !fits(line)).map(|(at, _)| format!("{}:{at}", path.display())));
    }
    assert!(wide.is_empty(), "more than {COLUMNS} columns: {}", wide.join(", "));
}

#[test]
fn links_and_paths_lead_somewhere() {
    let mut lost = Vec::new();
    let mut seen = 0;
    for Document { path, text } in documents() {
        let folder = root().join(path.parent().unwrap());
        let files = paths(&text).into_iter().map(|path| root().join(path));
        for target in links(&text).iter().map(|target| folder.join(target)).chain(files) {
            seen += 1;
            if !target.exists() {
                lost.push(format!("{} names {}", path.display(), target.display()));
            }
        }
    }
    assert!(seen > 100, "only {seen} links and paths were found");
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

#[test]
fn every_decision_is_in_the_index_and_has_its_sections() {
    let (index, decisions): (Vec<_>, Vec<_>) =
        in_directory("docs/decisions").into_iter().partition(|document| document.path.ends_with("README.md"));
    let index = &index[0].text;
    let listed: BTreeSet<String> = links(index).into_iter().filter(|target| !target.starts_with("..")).collect();
    let files: BTreeSet<String> =
        decisions.iter().map(|document| document.path.file_name().unwrap().to_str().unwrap().into()).collect();
    assert_eq!(listed, files);
    for Document { path, text } in &decisions {
        let title = text.lines().next().unwrap().strip_prefix("# ").unwrap_or_else(|| panic!("{}", path.display()));
        assert!(index.contains(&format!("[{title}](")), "{}: the index has another title", path.display());
        let sections: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(sections, SECTIONS, "{}", path.display());
    }
}

#[test]
fn the_readme_is_a_screen_and_a_half() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (columns, lines) = README;
    assert!(text.lines().count() <= lines, "{} lines", text.lines().count());
    let fits = |line: &&str| line.chars().count() <= columns || line.starts_with('|') || line.starts_with("![");
    let wide: Vec<&str> = text.lines().filter(|line| !fits(line)).collect();
    assert!(wide.is_empty(), "more than {columns} columns: {wide:#?}");
}

/// Sources below a folder, without their tests.
fn sources(folder: &str) -> Vec<String> {
    let (mut left, mut found) = (vec![root().join(folder)], Vec::new());
    while let Some(path) = left.pop() {
        match path.is_dir() {
            true => left.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path())),
            false if path.extension().is_some_and(|e| e == "rs") => found.push(std::fs::read_to_string(&path).unwrap()),
            false => (),
        }
    }
    found.iter().map(|text| text.split("\n#[cfg(test)]\nmod ").next().unwrap().to_string()).collect()
}

#[test]
fn every_file_that_a_run_is_made_of_is_in_the_document_of_formats_and_on_the_map() {
    let names = regex::Regex::new(r#""([a-z-]+\.(?:json\.gz|json|prom|hdr|pb\.gz))""#).unwrap();
    let sources = sources("src/run");
    let named: BTreeSet<&str> =
        sources.iter().flat_map(|text| names.captures_iter(text)).map(|found| found.get(1).unwrap().as_str()).collect();
    assert!(named.len() >= 20 && named.contains("latency.hdr"), "{named:?}");
    for document in ["docs/formats.md", "ARCHITECTURE.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        // A scrape is stored packed, under this name with `.gz`.
        let absent: Vec<_> = named.iter().filter(|name| !text.contains(&format!("`{name}"))).collect();
        // The map shortens a window's directory.
        let absent: Vec<_> = absent.iter().filter(|name| !text.contains(&format!("/{name}"))).collect();
        assert!(absent.is_empty(), "{document} lacks {absent:?}");
    }
}

/// What the first cells of a table quote as printed: in backticks, or between asterisks.
fn messages(text: &str) -> Vec<String> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let quoted = |cell: &str| {
        let backticks = cell.split('`').skip(1).step_by(2).map(String::from).collect::<Vec<_>>();
        let stressed = cell.split('*').skip(1).step_by(2).map(String::from);
        backticks.into_iter().chain(stressed).collect::<Vec<_>>()
    };
    cells.flat_map(quoted).collect()
}

#[test]
fn every_message_of_the_troubleshooting_is_one_that_the_code_prints() {
    let text = std::fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let messages = messages(&text);
    assert!(messages.len() >= 10, "{messages:?}");
    // Texts are continued on the next line in the code, and pieces of verbs are words of other files.
    let joined = regex::Regex::new(r"\\\n\s*").unwrap();
    let code: String = sources("src").iter().map(|text| joined.replace_all(text, "").into_owned()).collect();
    let strange: Vec<&String> =
        messages.iter().filter(|message| !fixed_parts(message).iter().all(|part| code.contains(part))).collect();
    assert!(strange.is_empty(), "no code prints {strange:?}");
}

/// A message without what differs from case to case: figures, addresses in modules, and names in capitals.
fn fixed_parts(message: &str) -> Vec<String> {
    let variable = regex::Regex::new(r"(\w+\+)?0x[0-9a-f]+|[0-9][0-9.,]*|\b[A-Z]{2,}\b").unwrap();
    let parts = variable.split(message).map(str::trim).filter(|part| part.len() > 2);
    parts.map(String::from).collect()
}

#[test]
fn messages_are_found_in_a_table_and_have_fixed_parts() {
    let text = "| what you see | x |\n|---|---|\n| `one 3 two`, or a check *three* that fails | `four` |\n";
    assert_eq!(messages(text), ["one 3 two", "three"]);
    assert_eq!(fixed_parts("cannot read FILE, byte 0x1f: damaged"), ["cannot read", ", byte", ": damaged"]);
}
