//! Names, statements and messages of others that would act where they are shown: on a terminal, in Markdown, in
//! pictures and on the page they come out as text. Invariant: every place of a run that quotes others has the hostile
//! name.

use crate::cli::Place;
use crate::report::named;
use pulldown_cmark::{Event, Options, Parser, Tag};
use std::path::Path;
use std::process::Output;
use wireprof::load::ErrorCount;
use wireprof::run::{Missing, Part, WindowId};
use wireprof::statements::{StatementDelta, StatementsDelta};

/// A terminal's title and colours, its screen cleared in two ways, letters in the other order; links, pictures, markup,
/// the end of code, a table's cell and a heading of Markdown's.
const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}2J\u{202e}\u{1b}[31mx [link](http://owned.example/) \
    ![picture](http://owned.example/p.png) <img src=x onerror=owned()> `<b>` **bold** <http://owned.example/> | \r\n\
    # owned";

/// A run in which everything that others can name is named so.
fn place() -> Place {
    let mut run = named(HOSTILE);
    let manifest = &mut run.manifest;
    (manifest.id, manifest.name) = ("20261122-101530-hostile".into(), None);
    (manifest.target.version, manifest.target.argv) = (Some(HOSTILE.into()), vec![HOSTILE.into()]);
    manifest.order = [16, 1].map(|level| WindowId { level, replicate: 1 }).to_vec();
    (manifest.ended, manifest.arguments) = (HOSTILE.into(), vec!["wireprof".into(), HOSTILE.into()]);
    for window in &mut run.windows {
        let error = ErrorCount { sqlstate: "XX000".into(), message: HOSTILE.into(), count: 3, accepted: false };
        window.load.errors.push(error);
        let missing = Missing { what: Part::Metrics, why: HOSTILE.into(), remedy: HOSTILE.into() };
        window.facts.missing.push(missing);
        let statement = StatementDelta {
            query: HOSTILE.into(),
            application: Some(HOSTILE.into()),
            calls: 5_000,
            exec: 5_000_000_000,
            ..StatementDelta::default()
        };
        let (span, source) = (window.facts.span, HOSTILE.into());
        let statements = vec![statement];
        let read = StatementsDelta { source, before: span, after: span, statements, vanished: 0, hidden: 0 };
        window.statements = Some(read);
    }
    Place::holding(run)
}

/// What acts on a terminal, but for ends of lines.
fn acts(text: &str) -> bool {
    let turns = |c: char| ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
    text.chars().any(|c| c.is_control() && c != '\n' || turns(c))
}

fn said(output: &Output) -> String {
    String::from_utf8([&output.stdout[..], &output.stderr].concat()).unwrap()
}

const VERBS: [&[&str]; 10] = [
    &["runs"],
    &["runs", "latest"],
    &["explain"],
    &["explain", "--full"],
    &["diagnose"],
    &["hot"],
    &["hot", "--by", "self", "--full-names"],
    &["metrics"],
    &["statements"],
    &["diff", "latest", "latest", "--full"],
];

#[test]
fn no_name_acts_on_a_terminal_as_text_or_as_json() {
    let place = place();
    let mut shown = 0;
    for verb in VERBS {
        let text = said(&place.run(verb));
        assert!(!acts(&text), "{verb:?}: {:?}", text.lines().find(|line| acts(line)));
        shown += text.matches("owned").count();
        let json = said(&place.run(&[verb, &["--json"]].concat()));
        assert!(!json.chars().any(|c| c.is_control() && c != '\n'), "{verb:?}: {json:?}");
        let coloured = said(&place.run(&[verb, &["--color", "always"]].concat()));
        let own = ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m"];
        assert!(!acts(&own.iter().fold(coloured, |text, own| text.replace(own, ""))), "{verb:?}");
    }
    assert!(shown > 20, "the name is shown {shown} times, as text");
    for wrong in
        [&["explain", HOSTILE][..], &["hot", "--focus", HOSTILE], &["diagnose", "--preset", HOSTILE], &[HOSTILE]]
    {
        let text = said(&place.run(wrong));
        assert!(text.contains("owned") && !acts(&text), "{wrong:?}: {text:?}");
    }
}

/// Links, pictures and markup of a Markdown text.
fn markup(text: &str) -> Vec<String> {
    let marked = |event: Event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.to_string()),
        Event::Html(html) | Event::InlineHtml(html) if !html.starts_with("<!-- ") => Some(html.to_string()),
        Event::Start(Tag::Strong | Tag::Emphasis) => Some("emphasis".into()),
        _ => None,
    };
    Parser::new_ext(text, Options::ENABLE_TABLES).filter_map(marked).collect()
}

#[test]
fn no_name_is_markup_in_the_log_or_in_an_exported_table() {
    let place = place();
    assert!(markup("a [x](http://owned.example/) <b>").len() == 2, "it is found where it is");
    place.done(&["log", "--log", "log.md", "new", "--title", "t"]);
    place.run(&["export", "--format", "markdown", "-o", "tables.md"]);
    for (file, ours) in [("log.md", "emphasis"), ("tables.md", "")] {
        let text = std::fs::read_to_string(place.path().join(file)).unwrap();
        assert!(text.contains("owned") && !acts(&text), "{file}: {text:?}");
        let found: Vec<String> = markup(&text).into_iter().filter(|found| found != ours).collect();
        assert!(found.is_empty(), "{file}: {found:?}");
        assert!(!text.lines().any(|line| line.starts_with("# owned")), "{file}: a heading of its own");
    }
    let shown = place.done(&["log", "--log", "log.md", "show"]);
    assert!(!acts(&shown), "{shown:?}");
}

fn files(directory: &Path, ending: &str) -> Vec<String> {
    let paths = directory.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let of = paths.filter(|path| path.extension().is_some_and(|found| found == ending));
    of.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn no_name_is_markup_in_a_picture_or_on_the_page() {
    let place = place();
    place.done(&["flamegraph", "-o", "."]);
    place.done(&["report", "-o", "page.html"]);
    let pictures = files(place.path(), "svg");
    assert!(pictures.len() >= 2, "{}", pictures.len());
    for text in pictures.iter().chain(&files(place.path(), "html")) {
        assert!(text.contains("owned"), "{}", text.len());
        assert!(!text.contains("<img") && !text.contains("<b>") && !text.contains("href=\"http://owned"));
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{9b}']), "a control character");
    }
}
