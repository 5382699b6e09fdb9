//! Which series are meant: `name{key="value", key=~"regex", *="value"}`, with quoted names as in expositions:
//! `{"a name", "a key"="value"}`. A matcher on `*` holds where any label has
//! the value, for servers whose revisions disagree about a label's key. Invariant: a selection sums only alike things
//! (counters, gauges, histograms with the same buckets), otherwise it says why not.

use super::{Change, MetricsDelta, Series, quoted};
use regex::Regex;
use std::fmt;

/// A parsed selector. Matchers are all of them required; regular expressions match the whole value.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector {
    text: String,
    /// Empty: any name.
    name: String,
    matchers: Vec<Matcher>,
}

#[derive(Clone, Debug)]
struct Matcher {
    /// `*` stands for any key, `__name__` for the metric's name.
    key: String,
    test: Test,
    negated: bool,
}

#[derive(Clone, Debug)]
enum Test {
    Equals(String),
    Matches(Regex),
}

/// What is wrong with a selector's text, and where (bytes from its start).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("selector `{text}`, at byte {at}: {what}; write name{{key=\"value\", key=~\"regex\", *=\"value\"}}")]
pub struct BadSelector {
    /// The selector as it was given.
    pub text: String,
    /// Bytes from the text's start to the fault.
    pub at: usize,
    /// What is wrong, in words.
    pub what: String,
}

/// The sum over the series that a selector matched.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The sum of the changes.
    pub change: Change,
    /// How many series were summed.
    pub series: usize,
}

/// Why a selector gives no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unselected {
    /// No series matches; holds the selector's text.
    #[error("absent: the server exports no series {0}")]
    Absent(String),
    /// The series that match are of different kinds, or have different buckets.
    #[error("cannot be summed: the series of {selector} {why}")]
    Unlike {
        /// The selector's text.
        selector: String,
        /// In which way they differ, in words.
        why: &'static str,
    },
}

impl Selector {
    /// Parses a selector.
    ///
    /// # Errors
    /// The first fault of the text, with its byte.
    pub fn parse(text: &str) -> Result<Selector, BadSelector> {
        let bad = |at: usize, what: &str| BadSelector { text: text.to_string(), at, what: what.to_string() };
        let end = text.find('{').unwrap_or(text.len());
        let mut name = text[..end].trim().to_string();
        if let Some(at) = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')) {
            return Err(bad(at, "a metric's name holds letters, digits, `_` and `:` only"));
        }
        let mut matchers = Vec::new();
        if end < text.len() {
            let mut at = end + 1;
            loop {
                at += text[at..].len() - text[at..].trim_start().len();
                if text[at..].starts_with('}') {
                    break;
                }
                if let Some((quoted, next)) = quoted_name(text, at) {
                    if !name.is_empty() {
                        return Err(bad(at, "the name is given twice"));
                    }
                    (name, at) = (quoted, next);
                    continue;
                }
                at = matcher(text, at, &mut matchers)?;
            }
            if !text[at + 1..].trim().is_empty() {
                return Err(bad(at + 1, "nothing may follow the closing brace"));
            }
        }
        if name.is_empty() && matchers.is_empty() {
            return Err(bad(0, "a name or a matcher is needed"));
        }
        Ok(Selector { text: text.to_string(), name, matchers })
    }

    /// The name that every series meant has; `None` where the selector matches names by a pattern.
    pub fn name(&self) -> Option<&str> {
        (!self.name.is_empty()).then_some(self.name.as_str())
    }

    /// Whether a series is meant.
    pub fn matches(&self, series: &Series) -> bool {
        (self.name.is_empty() || self.name == series.name) && self.matchers.iter().all(|m| m.holds(series))
    }

    /// The series of a window that are meant, in order.
    pub fn find<'a>(&'a self, metrics: &'a MetricsDelta) -> impl Iterator<Item = (&'a Series, &'a Change)> {
        // Series are ordered by name first, so a named selector looks at its own name's series only.
        let from = Series { name: self.name.clone(), ..Series::default() };
        let named = move |series: &Series| self.name.is_empty() || series.name == self.name;
        metrics.series.range(from..).take_while(move |(s, _)| named(s)).filter(|(s, _)| self.matches(s))
    }

    /// The sum over the series that are meant.
    ///
    /// # Errors
    /// No series is meant, or those that are cannot be summed.
    pub fn select(&self, metrics: &MetricsDelta) -> Result<Selection, Unselected> {
        let mut sum: Option<Selection> = None;
        for (_, change) in self.find(metrics) {
            match &mut sum {
                None => sum = Some(Selection { change: change.clone(), series: 1 }),
                Some(sum) => {
                    add(&mut sum.change, change)
                        .map_err(|why| Unselected::Unlike { selector: self.text.clone(), why })?;
                    sum.series += 1;
                }
            }
        }
        sum.ok_or_else(|| Unselected::Absent(self.text.clone()))
    }
}

/// The metric's name where it stands in quotes at byte `at`, and where the next matcher starts.
fn quoted_name(text: &str, at: usize) -> Option<(String, usize)> {
    let (name, length) = quoted::read(&text[at..])?;
    let rest = text[at + length..].trim_start();
    let next = text.len() - rest.len();
    match rest.as_bytes().first()? {
        b',' => Some((name, next + 1)),
        b'}' => Some((name, next)),
        _ => None,
    }
}

/// Reads one `key=value` matcher at byte `at`; answers where the next one starts.
fn matcher(text: &str, at: usize, matchers: &mut Vec<Matcher>) -> Result<usize, BadSelector> {
    let bad = |at: usize, what: &str| BadSelector { text: text.to_string(), at, what: what.to_string() };
    let rest = &text[at..];
    let quoted = quoted::read(rest);
    let from = quoted.as_ref().map_or(0, |(_, length)| *length);
    let end = rest[from..].find(['=', '!']).ok_or_else(|| bad(at, "`=`, `!=`, `=~` or `!~` is missing"))? + from;
    let bare = rest[..end].trim();
    let key = match quoted {
        Some((key, length)) if rest[length..end].trim().is_empty() => key,
        _ if bare == "*" => bare.to_string(),
        _ if !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => bare.to_string(),
        _ => return Err(bad(at, "a label's key holds letters, digits and `_`, stands in quotes, or is `*`")),
    };
    let operators = [("=~", true, false), ("!~", true, true), ("!=", false, true), ("=", false, false)];
    let (operator, regex, negated) = operators
        .into_iter()
        .find(|(operator, ..)| rest[end..].starts_with(operator))
        .ok_or_else(|| bad(at + end, "`=`, `!=`, `=~` or `!~` expected"))?;
    let mut next = at + end + operator.len();
    next += text[next..].len() - text[next..].trim_start().len();
    let (value, length) = quoted::read(&text[next..]).ok_or_else(|| bad(next, "a value in double quotes expected"))?;
    let test = if regex {
        let pattern = Regex::new(&format!("^(?:{value})$"));
        Test::Matches(pattern.map_err(|e| bad(next, &format!("not a regular expression: {e}")))?)
    } else {
        Test::Equals(value)
    };
    matchers.push(Matcher { key, test, negated });
    next += length;
    next += text[next..].len() - text[next..].trim_start().len();
    match text.as_bytes().get(next) {
        Some(b',') => Ok(next + 1),
        Some(b'}') => Ok(next),
        _ => Err(bad(next, "`,` or `}` expected")),
    }
}

impl Matcher {
    fn holds(&self, series: &Series) -> bool {
        let test = |value: &str| match &self.test {
            Test::Equals(wanted) => value == wanted,
            Test::Matches(pattern) => pattern.is_match(value),
        };
        let found = match self.key.as_str() {
            "*" => series.labels.values().any(|v| test(v)),
            "__name__" => test(&series.name),
            // As in Prometheus, a label that is not there has the empty value.
            key => test(series.labels.get(key).map_or("", String::as_str)),
        };
        found != self.negated
    }
}

fn add(sum: &mut Change, more: &Change) -> Result<(), &'static str> {
    match (sum, more) {
        (Change::Counter { delta, reset }, Change::Counter { delta: delta1, reset: reset1 }) => {
            *delta += delta1;
            *reset |= reset1;
        }
        // What the first scrape lacks counts from 0.
        (Change::Untyped { before, after }, Change::Untyped { before: before1, after: after1 }) => {
            *before = Some(before.unwrap_or(0.0) + before1.unwrap_or(0.0));
            *after += after1;
        }
        (Change::Gauge { before, after }, Change::Gauge { before: before1, after: after1 }) => {
            *before = before.zip(*before1).map(|(a, b)| a + b);
            *after += after1;
        }
        (
            Change::Histogram { count, sum, buckets, reset },
            Change::Histogram { count: count1, sum: sum1, buckets: buckets1, reset: reset1 },
        ) => {
            if !buckets.iter().map(|b| b.0).eq(buckets1.iter().map(|b| b.0)) {
                return Err("have different buckets");
            }
            *count += count1;
            *sum = sum.zip(*sum1).map(|(a, b)| a + b);
            buckets.iter_mut().zip(buckets1).for_each(|(a, b)| a.1 += b.1);
            *reset |= reset1;
        }
        _ => return Err("are of different types"),
    }
    Ok(())
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl TryFrom<String> for Selector {
    type Error = BadSelector;
    fn try_from(text: String) -> Result<Selector, BadSelector> {
        Selector::parse(&text)
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> String {
        selector.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Span;
    use crate::metrics::Scrape;

    fn metrics(text: &str) -> MetricsDelta {
        let scrape = |text: &str| Scrape { span: Span::new(0, 0), text: text.to_string() };
        MetricsDelta::between(&scrape(""), &scrape(text))
    }

    fn delta(selector: &str, metrics: &MetricsDelta) -> Option<(f64, usize)> {
        match Selector::parse(selector).unwrap().select(metrics) {
            Ok(Selection { change: Change::Untyped { before, after }, series }) => {
                Some((after - before.unwrap_or(0.0), series))
            }
            Ok(other) => panic!("{other:?}"),
            Err(Unselected::Absent(_)) => None,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn matchers_select_by_key_by_any_key_and_by_regular_expression() {
        let m = metrics(
            "c{method=\"cached\",op=\"read\"} 1\nc{kind=\"cached\"} 2\nc{op=\"write\"} 4\nc 8\ncc{op=\"read\"} 16\n",
        );
        assert_eq!(delta("c", &m), Some((15.0, 4)));
        assert_eq!(delta(r#"c{*="cached"}"#, &m), Some((3.0, 2)));
        assert_eq!(delta(r#"c{op="read"}"#, &m), Some((1.0, 1)));
        assert_eq!(delta(r#"c{op=~"read|write"}"#, &m), Some((5.0, 2)));
        assert_eq!(delta(r#"c{op=~"rea"}"#, &m), None, "a regular expression matches the whole value");
        assert_eq!(delta(r#"c{op!="read"}"#, &m), Some((14.0, 3)));
        assert_eq!(delta(r#"c{op!~"r.*|w.*"}"#, &m), Some((10.0, 2)));
        assert_eq!(delta(r#"{__name__=~"c+", op="read"}"#, &m), Some((17.0, 2)));
        assert_eq!(delta("d", &m), None);
    }

    #[test]
    fn a_class_of_a_pattern_has_one_backslash_or_two() {
        let m = metrics("c{code=\"500\"} 1\nc{code=\"503\"} 2\nc{code=\"200\"} 4\nc{code=\"5dd\"} 8\n");
        assert_eq!(delta(r#"c{code=~"5\d\d"}"#, &m), Some((3.0, 2)));
        assert_eq!(delta(r#"c{code=~"5\\d\\d"}"#, &m), Some((3.0, 2)));
    }

    #[test]
    fn names_and_keys_in_quotes_select_too() {
        let m = metrics("{\"a.b\",\"c d\"=\"x\"} 1\n{\"a.b\",\"c d\"=\"y\"} 2\nplain{\"c d\"=\"x\"} 4\n");
        assert_eq!(delta(r#"{"a.b"}"#, &m), Some((3.0, 2)));
        assert_eq!(delta(r#"{"a.b", "c d"="y"}"#, &m), Some((2.0, 1)));
        assert_eq!(delta(r#"plain{"c d"!="y"}"#, &m), Some((4.0, 1)));
        let twice = Selector::parse(r#"a{"b"}"#).unwrap_err();
        assert_eq!((twice.at, twice.what.as_str()), (2, "the name is given twice"));
    }

    #[test]
    fn unlike_series_are_not_summed() {
        let m = metrics("# TYPE g gauge\ng{a=\"1\"} 1\nx{a=\"1\"} 1\n");
        let error = Selector::parse(r#"{a="1"}"#).unwrap().select(&m).unwrap_err();
        assert_eq!(error.to_string(), "cannot be summed: the series of {a=\"1\"} are of different types");
    }

    #[test]
    fn histograms_are_summed_only_with_the_same_buckets() {
        let m = metrics(concat!(
            "# TYPE h histogram\n",
            "h_bucket{op=\"a\",le=\"1\"} 1\nh_bucket{op=\"a\",le=\"+Inf\"} 2\nh_sum{op=\"a\"} 3\nh_count{op=\"a\"} 2\n",
            "h_bucket{op=\"b\",le=\"1\"} 5\nh_bucket{op=\"b\",le=\"+Inf\"} 5\nh_sum{op=\"b\"} 4\nh_count{op=\"b\"} 5\n",
            "h_bucket{op=\"c\",le=\"2\"} 5\nh_bucket{op=\"c\",le=\"+Inf\"} 5\nh_sum{op=\"c\"} 4\nh_count{op=\"c\"} 5\n",
        ));
        let buckets = vec![(1.0, 6.0), (f64::INFINITY, 7.0)];
        let sum = Selector::parse(r#"h{op=~"a|b"}"#).unwrap().select(&m).unwrap();
        assert_eq!(sum.change, Change::Histogram { count: 7.0, sum: Some(7.0), buckets, reset: false });
        let unlike = Selector::parse("h").unwrap().select(&m).unwrap_err();
        assert!(matches!(unlike, Unselected::Unlike { why: "have different buckets", .. }));
    }

    #[test]
    fn a_bad_selector_says_where() {
        let at = |text: &str| Selector::parse(text).unwrap_err().at;
        assert_eq!(at("a-b"), 1);
        assert_eq!(at("a{b}"), 2);
        assert_eq!(at("a{b=c}"), 4);
        assert_eq!(at(r#"a{b="c""#), 7);
        assert_eq!(at(r#"a{b="c"} x"#), 8);
        assert_eq!(at(r#"a{b=~"("}"#), 5);
        assert_eq!(at(""), 0);
    }
}
