//! Commands of a document with what it says that they print. Invariant: each line of a listing is a part of a command,
//! of what one printed, or of a file in a named language; nothing of a listing is passed over.
//!
//! A listing is indented by four blanks, or fenced as `text`. Where its first line begins with `$ `, so does each
//! command in it, and the lines up to the next one are what it printed. Else every line is a command, of which nothing
//! is quoted. A line that ends in a backslash is continued. Commands of wireprof in backticks count too;
//! two words alone name a verb.

use std::ops::Range;

#[derive(Debug, PartialEq)]
pub struct Step {
    /// From 1.
    pub line: usize,
    pub command: String,
    /// Without the indent; `None` where the document quotes nothing.
    pub printed: Option<String>,
    /// Its lines in the document, from 0.
    pub quoted: Range<usize>,
}

/// Lines of one listing with their numbers from 0, without the indent.
type Listing<'a> = Vec<(usize, &'a str)>;

/// Commands in the order of the document: those of listings, then those in backticks.
pub fn steps(text: &str) -> Vec<Step> {
    let listings = listings(text);
    let listed = listings.iter().flat_map(|listing| match listing[0].1.starts_with("$ ") {
        true => with_output(listing),
        false => without_output(listing),
    });
    listed.chain(in_backticks(text)).collect()
}

fn listings(text: &str) -> Vec<Listing<'_>> {
    let mut found: Vec<Listing> = Vec::new();
    let (mut fence, mut open): (Option<&str>, bool) = (None, false);
    for (at, line) in text.lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            (fence, open) = (if fence.is_some() { None } else { Some(language) }, false);
            continue;
        }
        let listed = match fence {
            Some("text") => Some(line),
            Some(_) => None,
            // Blank lines within a listing belong to it.
            None => line.strip_prefix("    ").or((open && line.is_empty()).then_some("")),
        };
        match (listed, open) {
            (Some(listed), true) => found.last_mut().unwrap().push((at, listed)),
            (Some(listed), false) => found.push(vec![(at, listed)]),
            (None, _) => (),
        }
        open = listed.is_some();
    }
    for listing in &mut found {
        while listing.last().is_some_and(|(_, line)| line.is_empty()) {
            listing.pop();
        }
    }
    found
}

fn with_output(listing: &Listing) -> Vec<Step> {
    let mut found: Vec<Step> = Vec::new();
    let mut continued = false;
    for &(at, line) in listing {
        if let Some(command) = line.strip_prefix("$ ") {
            let step =
                Step { line: at + 1, command: command.into(), printed: Some(String::new()), quoted: at + 1..at + 1 };
            found.push(step);
            continued = line.ends_with('\\');
            continue;
        }
        let step = found.last_mut().expect("a listing with output begins with a command");
        if continued {
            step.command += &format!("\n{line}");
            step.quoted = at + 1..at + 1;
            continued = line.ends_with('\\');
        } else {
            step.printed.as_mut().unwrap().push_str(&format!("{line}\n"));
            step.quoted.end = at + 1;
        }
    }
    found
}

fn without_output(listing: &Listing) -> Vec<Step> {
    let mut found: Vec<Step> = Vec::new();
    let mut continued = false;
    for &(at, line) in listing.iter().filter(|(_, line)| !line.is_empty()) {
        match found.last_mut().filter(|_| continued) {
            Some(step) => step.command += &format!("\n{line}"),
            None => found.push(Step { line: at + 1, command: line.into(), printed: None, quoted: at..at }),
        }
        continued = line.ends_with('\\');
    }
    found
}

fn in_backticks(text: &str) -> Vec<Step> {
    let prose = text.lines().enumerate().filter(|(_, line)| !line.starts_with("    "));
    let quoted = prose.flat_map(|(at, line)| line.split('`').skip(1).step_by(2).map(move |quoted| (at, quoted)));
    let commands = quoted.filter(|(_, quoted)| quoted.starts_with("wireprof ") && quoted.split(' ').count() > 2);
    commands
        .map(|(at, command)| Step { line: at + 1, command: command.into(), printed: None, quoted: at..at })
        .collect()
}

#[test]
fn every_line_of_a_listing_is_of_a_command_or_of_its_output() {
    let listing = "    $ a \\\n      b\n    one\n\n    two\n    $ c\n\n    d # first\n    e \\\n        f\n\n";
    let fenced = "```python\nimport g\n```\n\n```text\n$ h\nthree\n```\n";
    let text = &format!("See `wireprof hot RUN` of `wireprof hot`:\n\n{listing}{fenced}");
    let found = steps(text);
    let told: Vec<_> = found.iter().map(|step| (step.command.as_str(), step.printed.as_deref())).collect();
    let expected = [
        ("a \\\n  b", Some("one\n\ntwo\n")),
        // Of blank lines alone no listing is divided: here the paragraph goes on.
        ("c", Some("\nd # first\ne \\\n    f\n")),
        ("h", Some("three\n")),
        ("wireprof hot RUN", None),
    ];
    assert_eq!(told, expected);
    let commands: Vec<String> = steps("    a\n    b \\\n      c\n").into_iter().map(|step| step.command).collect();
    assert_eq!(commands, ["a", "b \\\n  c"]);
}
