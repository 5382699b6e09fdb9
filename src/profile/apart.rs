//! Different functions that have one short name are told apart. Invariant: two names that are shown alike stand for
//! the same function, or for two whose modules are shown beside them.

use std::collections::{BTreeMap, BTreeSet};

/// Longest part of a full name that is shown to tell it from others, in characters.
const LONGEST: usize = 48;

/// A function and what it is to be called.
pub struct Named<'a> {
    /// The short name.
    pub shown: String,
    /// The full name.
    pub full: &'a str,
    /// Base name of the file that holds the function.
    pub module: &'a str,
}

/// What each function is shown as: where several share a name, with the part of the full name in which they differ
/// (`push (u8)` and `push (u64)`), else with their module, else with a number. With `module_beside` the reader sees
/// the module in another place, so that the same name in two modules is no doubt.
pub fn tell_apart(names: &[Named], module_beside: bool) -> Vec<String> {
    let mut shown: Vec<String> = names.iter().map(|name| name.shown.clone()).collect();
    for alike in in_doubt(names, &shown, module_beside) {
        let full: Vec<&str> = alike.iter().map(|&i| names[i].full).collect();
        let parts = differences(&full);
        let short: Vec<String> = parts.iter().map(|part| leaves(part)).collect();
        let long = parts.iter().any(|part| part.chars().count() > LONGEST);
        let told = short.iter().collect::<BTreeSet<_>>().len() == parts.iter().collect::<BTreeSet<_>>().len();
        match long && told {
            true => append(&mut shown, &alike, &short.iter().map(String::as_str).collect::<Vec<_>>()),
            false => append(&mut shown, &alike, &parts),
        }
    }
    for alike in in_doubt(names, &shown, module_beside) {
        let modules: Vec<&str> = alike.iter().map(|&i| names[i].module).collect();
        if modules.iter().any(|module| *module != modules[0]) {
            append(&mut shown, &alike, &modules);
        }
    }
    for alike in in_doubt(names, &shown, module_beside) {
        number(&mut shown, &alike, names);
    }
    shown
}

/// Indices of names that are shown alike and stand for different functions, by what they are shown as.
fn in_doubt(names: &[Named], shown: &[String], module_beside: bool) -> Vec<Vec<usize>> {
    let mut alike: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (i, name) in names.iter().enumerate() {
        alike.entry((&shown[i], if module_beside { name.module } else { "" })).or_default().push(i);
    }
    let doubtful = |group: &Vec<usize>| {
        let first = &names[group[0]];
        group.iter().any(|&i| (names[i].full, names[i].module) != (first.full, first.module))
    };
    alike.into_values().filter(doubtful).collect()
}

fn append(shown: &mut [String], alike: &[usize], parts: &[&str]) {
    for (&i, part) in alike.iter().zip(parts).filter(|(_, part)| !part.is_empty()) {
        shown[i] += &format!(" ({})", super::middle(part, LONGEST));
    }
}

/// `f`, `f #2`, `f #3` in the order of the full names, leaving out what is taken.
fn number(shown: &mut [String], alike: &[usize], names: &[Named]) {
    let functions: BTreeSet<(&str, &str)> = alike.iter().map(|&i| (names[i].full, names[i].module)).collect();
    let mut taken: BTreeSet<String> = shown.iter().cloned().collect();
    let mut next = 2;
    for function in functions.into_iter().skip(1) {
        let own = alike.iter().copied().filter(|&i| (names[i].full, names[i].module) == function);
        let stem = shown[alike[0]].split(" #").next().unwrap_or_default();
        let fresh = loop {
            let candidate = format!("{stem} #{next}");
            next += 1;
            if taken.insert(candidate.clone()) {
                break candidate;
            }
        };
        own.for_each(|i| shown[i].clone_from(&fresh));
    }
}

/// Each text without what all of them begin and end with, in whole words: different texts leave different parts.
fn differences<'a>(texts: &[&'a str]) -> Vec<&'a str> {
    let first = texts[0];
    let mut head = first.len();
    let mut tail = first.len();
    for text in texts {
        head = head.min(first.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count());
        tail = tail.min(first.bytes().rev().zip(text.bytes().rev()).take_while(|(a, b)| a == b).count());
    }
    head = floor(first, head);
    if texts.iter().any(|text| text[head..].starts_with(is_of_word)) {
        head = first[..head].trim_end_matches(is_of_word).len();
    }
    // Beginning and end may not overlap in the shortest one.
    tail = tail.min(texts.iter().map(|text| text.len() - head).min().unwrap_or(0));
    tail = first.len() - ceiling(first, first.len() - tail);
    if texts.iter().any(|text| text[..text.len() - tail].ends_with(is_of_word)) {
        tail = first[first.len() - tail..].trim_start_matches(is_of_word).len();
    }
    let (head, tail) = balanced(texts, head, tail);
    texts.iter().map(|text| text[head..text.len() - tail].trim_matches([':', ' ', ','])).collect()
}

/// Widens the parts until no bracket is opened or closed in one of them alone: with the arguments' name before it, and
/// up to their end.
fn balanced(texts: &[&str], mut head: usize, mut tail: usize) -> (usize, usize) {
    let first = texts[0];
    let unmatched = |head: usize, tail: usize| {
        let parts = texts.iter().map(|text| unmatched(&text[head..text.len() - tail]));
        parts.fold((0, 0), |(closed, open), part| (closed.max(part.0), open.max(part.1)))
    };
    for _ in 0..texts.iter().map(|text| text.len()).max().unwrap_or(0) {
        let (closed, open) = unmatched(head, tail);
        if closed > 0 && head > 0 {
            // Back over the bracket that is closed, and over the word that it follows.
            head = floor(first, first[..head].rfind(['<', '(', '[', '{']).unwrap_or(0));
            head = first[..head].trim_end_matches(|c: char| is_of_word(c) || c == ':').len();
        } else if open > 0 && tail > 0 {
            let from = first.len() - tail;
            tail = first[from..].find(['>', ')', ']', '}']).map_or(0, |at| first.len() - (from + at + 1));
        } else {
            break;
        }
    }
    (head, tail)
}

/// Brackets that a text closes without having opened them, and opens without closing them. An arrow is none.
fn unmatched(text: &str) -> (usize, usize) {
    let (mut closed, mut open, mut before) = (0, 0, ' ');
    for c in text.chars() {
        match c {
            '<' | '(' | '[' | '{' => open += 1,
            '>' if before == '-' => {}
            '>' | ')' | ']' | '}' if open > 0 => open -= 1,
            '>' | ')' | ']' | '}' => closed += 1,
            _ => {}
        }
        before = c;
    }
    (closed, open)
}

/// A part that is too long, with the paths in it cut to their last names.
fn leaves(part: &str) -> String {
    let mut out = String::new();
    for (at, piece) in part.split("::").enumerate() {
        let follows = piece.starts_with(is_of_word) || piece.starts_with('{');
        if at > 0 && follows {
            out.truncate(out.trim_end_matches(is_of_word).len());
        } else if at > 0 {
            out.push_str("::");
        }
        out.push_str(piece);
    }
    out
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn ceiling(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(names: &[(&str, &str, &str)], module_beside: bool) -> Vec<String> {
        let mut named = Vec::new();
        for &(shown, full, module) in names {
            named.push(Named { shown: shown.into(), full, module });
        }
        tell_apart(&named, module_beside)
    }

    #[test]
    fn functions_of_one_short_name_are_shown_with_the_words_in_which_they_differ() {
        let names = [
            ("Vec::push", "alloc::vec::Vec<u8>::push", "a"),
            ("Vec::push", "alloc::vec::Vec<u64>::push", "a"),
            ("Vec::pop", "alloc::vec::Vec<u8>::pop", "a"),
            ("serve", "m::serve", "a"),
            ("serve", "m::serve::{closure#0}", "a"),
        ];
        assert_eq!(
            shown(&names, true),
            ["Vec::push (u8)", "Vec::push (u64)", "Vec::pop", "serve", "serve ({closure#0})"]
        );
    }

    #[test]
    fn the_words_that_differ_are_whole_arguments() {
        let told = |full: &[&str]| {
            let names: Vec<_> = full.iter().map(|full| ("f", *full, "")).collect();
            shown(&names, true)
        };
        assert_eq!(told(&["send<()>", "send<(), m::Semaphore>"]), ["f", "f (m::Semaphore)"]);
        assert_eq!(told(&["f<A<u8>, B<u16>>", "f<A<i8>, B<i16>>"]), ["f (A<u8>, B<u16>)", "f (A<i8>, B<i16>)"]);
        assert_eq!(told(&["f<m::A, u8>", "f<m::A, u64, u8>"]), ["f", "f (u64)"]);
        assert_eq!(told(&["f<fn(u8) -> u8>", "f<fn(u8) -> i8>"]), ["f (u8)", "f (i8)"]);
        let long =
            |name: &str| format!("run<{{async_block#0}}, some::long::module::of::a::crate::connection::{name}<T>>");
        let (a, b) = (long("Connection"), long("Other"));
        assert_eq!(told(&[&a, &b]), ["f (Connection)", "f (Other)"]);
        let (a, b) = (format!("{a}, {a}"), format!("{b}, {b}"));
        let found = told(&[&a, &b]);
        for name in &found {
            assert!(name.contains('…') || unmatched(name) == (0, 0), "{name}");
            assert!(!name.contains(",)") && !name.contains("(,"), "{name}");
        }
        assert_ne!(found[0], found[1]);
    }

    #[test]
    fn the_same_function_twice_and_one_name_in_two_modules_beside_are_no_doubt() {
        let names = [("f", "m::f", "a"), ("f", "m::f", "a"), ("f", "m::f", "b")];
        assert_eq!(shown(&names, true), ["f", "f", "f"]);
        assert_eq!(shown(&names, false), ["f (a)", "f (a)", "f (b)"]);
    }

    #[test]
    fn what_differs_only_in_the_midst_of_a_long_part_is_numbered() {
        let full = |letter: &str| format!("m::f<{}{letter}{}>", "x".repeat(500), "y".repeat(500));
        let (a, b) = (full("A"), full("B"));
        let found = shown(&[("f", &b, ""), ("f", &a, ""), ("f #2", "other", "")], false);
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 3, "{found:?}");
        assert!(found.iter().all(|name| name.chars().count() < 70), "{found:?}");
    }

    #[test]
    fn any_two_functions_are_told_apart_whatever_their_names() {
        let texts = ["", ":", "::", "ü", "üü", "a", "aa", "aaa", "a::a", "ä<ö>", "ä<ü>", "ä<ö> ", "(", "x #2"];
        let names: Vec<(&str, &str, &str)> =
            texts.iter().flat_map(|full| [("x", *full, "m"), ("x", *full, "n")]).collect();
        let found = shown(&names, false);
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), names.len(), "{found:?}");
    }
}
