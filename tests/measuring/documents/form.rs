//! Whether two texts have the same form: the same words in the same order, whatever the figures are. Invariant: a word
//! that differs, is missing or too much is told; only `(...)` in what is expected stands for any words, none included.
//!
//! Not compared are figures with the unit of a time and what is said of their accuracy, the letters of a bar, the
//! length of a line under a table's heads, blanks and the ends of lines: texts are wrapped as wide as their figures
//! let them.

use regex::Regex;
use std::sync::LazyLock;

const ELISION: &str = "(...)";

/// What is made alike, in this order.
static ALIKE: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let rules = [
        // Where the clients are: a letter for each place.
        (r"(^|\s)[>qSc<.?]{16,}(\s|$)", "${1}BAR$2"),
        // Under the heads of a table.
        (r"-{2,}(\s+-{2,})*", "RULE"),
        // Ids of runs, dates, build-ids and revisions.
        (r"\b[0-9a-f]{12,40}\b", "#"),
        // A figure may have an interval, bounds, or be absent.
        (r"\s±[0-9][0-9,.]*", ""),
        (r"\bnot measured\b", "#"),
        (r"[-+<>~]?\b[0-9][0-9,.]*(e[-+]?[0-9]+)?", "#"),
        (r"# (ns|µs|us|ms|s|min)\b", "#"),
        (r"(^|\s)-(\s|$)", "${1}#$2"),
    ];
    rules.map(|(pattern, to)| (Regex::new(pattern).unwrap(), to)).into()
});

/// Words of a text, alike where only the figures differ.
pub fn words(text: &str) -> Vec<String> {
    let alike = ALIKE.iter().fold(text.to_string(), |text, (pattern, to)| pattern.replace_all(&text, *to).into());
    alike.split_whitespace().map(String::from).collect()
}

/// Where the printed text departs from the expected one; `None`: nowhere.
pub fn departure(expected: &str, printed: &str) -> Option<String> {
    let (expected, printed) = (words(expected), words(printed));
    let parts: Vec<&[String]> = expected.split(|word| word == ELISION).collect();
    let (mut from, last) = (0, parts.len() - 1);
    for (at, part) in parts.iter().enumerate() {
        let rest = &printed[from..];
        let found = match (at, at == last) {
            (0, true) => (rest == *part).then_some(0),
            (0, false) => rest.starts_with(part).then_some(0),
            (_, true) => rest.ends_with(part).then(|| rest.len() - part.len()),
            _ => (0..=rest.len().saturating_sub(part.len())).find(|&at| rest[at..].starts_with(part)),
        };
        let Some(found) = found else { return Some(told(part, rest, at > 0)) };
        from += found + part.len();
    }
    None
}

/// The place at which most of a part was found.
fn told(part: &[String], rest: &[String], anywhere: bool) -> String {
    let common = |at: usize| part.iter().zip(&rest[at..]).take_while(|(a, b)| a == b).count();
    let at = if anywhere { (0..rest.len()).max_by_key(|&at| (common(at), usize::MAX - at)).unwrap_or(0) } else { 0 };
    let common = common(at);
    let near = |words: &[String], from: usize| {
        let until = (from + 8).min(words.len());
        words[from.saturating_sub(4).min(until)..until].join(" ")
    };
    format!("expected: ... {} ...\n     printed: ... {} ...", near(part, common), near(rest, at + common))
}

#[test]
fn figures_may_differ_and_words_may_not() {
    let same = [
        ("p99 4.28 ms, 1,323 queries/s", "p99 900 µs, 46 queries/s"),
        ("284.6 ±30.7  +8 ±2", "<2.8 -0.3"),
        ("1  -  qSSSSSSSSSSSSSSSSSSSc", "64  47.9 ms  >SSSSSSSSSSSSSSSSSScc"),
        ("a  b\n---  --\n", "a\nb\n-----  ----\n"),
        ("Run 20261129-203045-testbed of 9c266512770648d0", "Run 20270101-000000-testbed of 0123456789abcdef"),
        ("[all sampled]  1,277 ±623", "[all sampled]  not measured"),
        ("a (...) d", "a b c d"),
        ("a (...) d (...)", "a d"),
        ("128..256 µs", "2,000..4,000 µs"),
    ];
    for (expected, printed) in same {
        assert_eq!(departure(expected, printed), None, "{expected}");
    }
    let unlike = [
        ("a b", "a c"),
        ("a", "a b"),
        ("a b", "a"),
        ("a (...) c d", "a b c e"),
        ("a (...) b (...) c", "a c b"),
        ("12 % less", "12 % more"),
        ("5 queries", "5 ms"),
        ("faster", ""),
    ];
    for (expected, printed) in unlike {
        assert!(departure(expected, printed).is_some(), "{expected}");
    }
    let told = departure("one two (...) three four", "one two x three five").unwrap();
    assert!(told.contains("three four") && told.contains("three five"), "{told}");
}
