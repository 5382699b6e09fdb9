//! The text format of Prometheus into readings by series. Invariant: a line that cannot be read is counted, never
//! guessed at, and buckets leave here sorted by their bound.
//!
//! `prometheus-parse` 0.2.5 reads the comment lines (`# TYPE`). Sample lines are read here, because the crate
//! drops a label whose value holds `,` or `=`, drops a line whose value holds `}` or whose braces are empty, leaves
//! escapes in, and skips what it cannot read without a count (`tests/it/metrics_exposition.rs` shows each, one of them in a
//! real exposition, and that on recorded expositions both agree wherever the crate can read the line).

use super::{Series, quoted};
use prometheus_parse::{LineInfo, SampleType};
use std::collections::{BTreeMap, HashMap};

/// The value of one series in one exposition.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// Declared `counter`, or untyped.
    Counter(f64),
    Gauge(f64),
    /// Cumulative buckets `(le, count)`, ascending; empty for a summary.
    Histogram {
        count: f64,
        sum: f64,
        buckets: Vec<(f64, f64)>,
    },
}

/// A parsed exposition.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    pub readings: BTreeMap<Series, Reading>,
    /// Lines that are neither comment nor readable sample.
    pub garbled: usize,
}

/// One sample line, taken apart.
pub(super) struct Line<'a> {
    pub name: &'a str,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
    /// As written: milliseconds in Prometheus' format, seconds in OpenMetrics'.
    pub timestamp: Option<f64>,
}

impl Exposition {
    /// Parses an exposition. Values that are not a number (NaN) are left out: such a series is not measured.
    pub fn parse(text: &str) -> Exposition {
        let mut exposition = Exposition::default();
        let mut types = HashMap::new();
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
            if line.starts_with('#') {
                if let LineInfo::Type { metric_name, metric_alias, sample_type } = LineInfo::parse(line) {
                    types.insert(metric_alias.unwrap_or(metric_name), sample_type);
                }
                continue;
            }
            match sample_line(line) {
                Some(line) if line.value.is_nan() => {}
                Some(line) => exposition.add(line, &types),
                None => exposition.garbled += 1,
            }
        }
        for reading in exposition.readings.values_mut() {
            if let Reading::Histogram { buckets, .. } = reading {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            }
        }
        exposition
    }

    fn add(&mut self, line: Line<'_>, types: &HashMap<String, SampleType>) {
        let Line { name, mut labels, value, .. } = line;
        for (suffix, part) in [("_bucket", Part::Bucket), ("_sum", Part::Sum), ("_count", Part::Count)] {
            let Some(family) = name.strip_suffix(suffix) else { continue };
            match types.get(family) {
                Some(SampleType::Histogram) => {}
                Some(SampleType::Summary) if !matches!(part, Part::Bucket) => {}
                _ => continue,
            }
            let bound = labels.remove("le").map(|le| number(&le));
            let series = Series { name: family.to_string(), labels };
            let empty = || Reading::Histogram { count: 0.0, sum: 0.0, buckets: Vec::new() };
            let Reading::Histogram { count, sum, buckets } = self.readings.entry(series).or_insert_with(empty) else {
                self.garbled += 1;
                return;
            };
            match (part, bound) {
                (Part::Sum, _) => *sum = value,
                (Part::Count, _) => *count = value,
                (Part::Bucket, Some(Some(bound))) => buckets.push((bound, value)),
                (Part::Bucket, _) => self.garbled += 1,
            }
            return;
        }
        let reading = match types.get(name) {
            Some(SampleType::Gauge) => Reading::Gauge(value),
            Some(SampleType::Summary) => return, // a quantile over the server's own span, not over the window
            _ => Reading::Counter(value),
        };
        if self.readings.insert(Series { name: name.to_string(), labels }, reading).is_some() {
            self.garbled += 1; // the same series twice
        }
    }
}

#[derive(Clone, Copy)]
enum Part {
    Bucket,
    Sum,
    Count,
}

/// Takes `name{key="value",...} value [timestamp] [# exemplar]` apart; `None` where the line is something else.
pub(super) fn sample_line(line: &str) -> Option<Line<'_>> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(line.len());
    let (name, mut rest) = line.split_at(end);
    if name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
        return None;
    }
    let mut labels = BTreeMap::new();
    rest = rest.trim_start();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = label_list(inside, &mut labels)?;
    } else if end == line.len() || !line[end..].starts_with(char::is_whitespace) {
        return None;
    }
    let mut words = rest.split_whitespace().take_while(|word| !word.starts_with('#'));
    let value = number(words.next()?)?;
    let timestamp = match words.next() {
        Some(word) => Some(word.parse::<f64>().ok()?),
        None => None,
    };
    words.next().is_none().then_some(Line { name, labels, value, timestamp })
}

/// Reads labels up to the closing brace; answers what follows it.
fn label_list<'a>(mut rest: &'a str, labels: &mut BTreeMap<String, String>) -> Option<&'a str> {
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Some(after);
        }
        let (key, after) = rest.split_once('=')?;
        let key = key.trim();
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return None;
        }
        let after = after.trim_start();
        let (value, length) = quoted::read(after)?;
        if labels.insert(key.to_string(), value).is_some() {
            return None;
        }
        rest = after[length..].trim_start();
        if let Some(after) = rest.strip_prefix(',') {
            rest = after;
        } else if !rest.starts_with('}') {
            return None;
        }
    }
}

/// A float as Go writes it (`+Inf`, `NaN`, `1e-05`).
fn number(word: &str) -> Option<f64> {
    word.parse().ok()
}
