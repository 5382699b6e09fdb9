//! Links of a log: files beside it and headings in it. Invariant: addresses of other machines are not asked for.

use super::finding::{Finding, Kind};
use crate::perflog::bytes::encode;
use crate::perflog::document::{Document, lines};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// Links that lead nowhere; `folder` is the log's.
pub fn check(log: &Document, folder: &Path) -> Vec<Finding> {
    let anchors = anchors(log);
    let mut found = Vec::new();
    for (line, range) in lines(log.text()) {
        let text = &log.text()[range.clone()];
        if log.markdown().is_code(range.start) {
            continue;
        }
        for (at, target) in targets(text) {
            let Some(why) = dead(target, folder, &anchors) else { continue };
            let column = Some(text[..at].chars().count() + 1);
            let session = log.entry_at(range.start).map(|entry| entry.number);
            found.push(Finding { line, column, session, kind: Kind::DeadLink { target: target.into(), why } });
        }
    }
    found
}

/// What `[text](target)` and `[name]: target` lead to; code in back-quotes is passed over.
fn targets(line: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let code: Vec<usize> = line.match_indices('`').map(|(at, _)| at).collect();
    let in_code =
        |at: usize| code.iter().filter(|tick| **tick < at).count() % 2 == 1 && code.iter().any(|tick| *tick > at);
    for (at, open) in line.match_indices("](") {
        let rest = &line[at + open.len()..];
        let Some(end) = closing(rest) else { continue };
        if !in_code(at) {
            found.push((at + open.len(), bare(&rest[..end])));
        }
    }
    if let Some((name, target)) = line.split_once("]: ")
        && name.starts_with('[')
        && !name.starts_with("[^")
    {
        found.push((name.len() + 3, bare(target)));
    }
    found
}

/// The parenthesis that ends a target which may hold pairs of its own.
fn closing(rest: &str) -> Option<usize> {
    let mut depth = 0;
    rest.char_indices().find_map(|(at, character)| {
        depth += i32::from(character == '(') - i32::from(character == ')');
        (depth < 0).then_some(at)
    })
}

/// Without a title (`file.svg "the title"`) and angle brackets.
fn bare(target: &str) -> &str {
    let target = target.trim();
    match target.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((inside, _)) => inside,
        None => target.split_whitespace().next().unwrap_or(""),
    }
}

/// Why a target does not exist.
fn dead(target: &str, folder: &Path, anchors: &BTreeSet<String>) -> Option<String> {
    let elsewhere = target
        .split_once(':')
        .is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)));
    if elsewhere || target.starts_with("//") {
        return None;
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    if file.is_empty() {
        let anchor = anchor.unwrap_or_default();
        let there = anchor.is_empty() || anchors.contains(&anchor.to_lowercase());
        return (!there).then(|| "no heading of this log has that name".into());
    }
    let path = folder.join(OsString::from_vec(unescaped(&encode(file))));
    (!path.exists()).then(|| format!("there is no {}", path.display()))
}

/// `%20` and the like as bytes.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let (mut bytes, mut at) = (Vec::with_capacity(text.len()), 0);
    while at < text.len() {
        let digits = text.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.filter(|_| text[at] == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(text[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    bytes
}

/// Names of the headings as GitHub makes them: lower case, no punctuation, `-` for a space, `-1` for the second of a
/// name.
fn anchors(log: &Document) -> BTreeSet<String> {
    let (mut seen, mut all) = (BTreeMap::<String, usize>::new(), BTreeSet::new());
    for heading in log.markdown().headings() {
        let kept = heading.words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let name: String = kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect();
        let times = seen.entry(name.clone()).or_default();
        all.insert(if *times == 0 { name } else { format!("{name}-{times}") });
        *times += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_files_and_headings_are_followed_and_others_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a b (1).svg"), "").unwrap();
        let text = "# Log\n## Session 1: a `b`, c\n[x](a%20b%20(1).svg) ![y](<a b (1).svg>) [z](gone.svg \"t\")\n\
                    [h](#session-1-a-b-c) [i](#session-2) [w](https://x.y/z) [m](mailto:a@b) \
                    `[code](no)`\n```\n[f](no)\n```\n[ref]: nowhere.md#x\n";
        let found = check(&Document::parse(text.into()), folder.path());
        let places: Vec<_> = found
            .iter()
            .map(|f| match &f.kind {
                Kind::DeadLink { target, .. } => (f.line, f.column.unwrap(), target.as_str()),
                other => panic!("{other}"),
            })
            .collect();
        assert_eq!(places, [(3, 46, "gone.svg"), (4, 27, "#session-2"), (8, 8, "nowhere.md#x")]);
        assert_eq!(found[0].session, Some(1));
    }
}
