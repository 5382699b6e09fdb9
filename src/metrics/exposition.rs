//! The text formats of Prometheus and OpenMetrics into readings by series. Invariant: a line that cannot be read is
//! counted, never guessed at, a part of a histogram that is not exposed is absent, and buckets leave here sorted by
//! their bound, the last one `+Inf`.
//!
//! The types and their suffixes are those of the OpenMetrics specification 1.0 ("Metric Types"). Lines are read here
//! and not by `prometheus-parse` 0.2.5, because the crate drops a label whose value holds `,` or `=`, drops a line
//! whose value holds `}` or whose braces are empty, leaves escapes in, does not know quoted names and skips what it
//! cannot read without a count (`tests/it/metrics_exposition.rs` shows it, and that on recorded expositions both agree
//! wherever the crate can read the line).

use super::Series;
use super::line::{Line, number, sample_line, type_line};
use std::collections::{BTreeMap, BTreeSet, HashMap, btree_map, hash_map};

/// The value of one series in one exposition.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// Declared `counter`.
    Counter(f64),
    /// Declared `unknown` or `untyped`, or not declared: it may be a counter or a gauge.
    Untyped(f64),
    /// Declared `gauge`; a state of a `stateset`, an `info`, a part of a `gaugehistogram`: all may fall.
    Gauge(f64),
    /// Cumulative buckets `(le, count)`, ascending, the last one `+Inf`; empty for a summary.
    Histogram {
        /// `_count`, or the `+Inf` bucket where there is none.
        count: f64,
        /// `None` where it is not exposed, or is not a number.
        sum: Option<f64>,
        /// `(le, count)`: upper bound in the metric's own unit, and observations up to it.
        buckets: Vec<(f64, f64)>,
    },
}

/// A parsed exposition.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    /// What each series is at.
    pub readings: BTreeMap<Series, Reading>,
    /// Series that are there without a number (NaN).
    pub unknown: BTreeSet<Series>,
    /// Lines that are neither comment nor readable sample, samples given twice, histograms whose count is not told.
    pub garbled: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
    Unknown,
}

/// What a sample is, by its name and the declared types.
enum Meaning<'a> {
    Plain(fn(f64) -> Reading),
    /// Of the histogram or summary `family`.
    Part(&'a str, Part),
    /// A time (`_created`), or a quantile over the server's own span instead of the window.
    Aside,
    /// A sample that its family's type does not have.
    Misplaced,
}

#[derive(Clone, Copy)]
enum Part {
    Bucket,
    Sum,
    Count,
}

/// A histogram or summary, as far as it was read.
#[derive(Default)]
struct Parts {
    count: Option<f64>,
    sum: Option<f64>,
    buckets: Vec<(f64, f64)>,
}

impl Exposition {
    /// Parses an exposition. Values that are not a number (NaN) are left out: such a series is not measured. Types hold
    /// for samples before them, too.
    pub fn parse(text: &str) -> Exposition {
        let mut exposition = Exposition::default();
        let text = text.trim_start_matches('\u{feff}');
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut types = HashMap::new();
        for (name, of) in lines().filter_map(type_line) {
            let declared = kind(of);
            match types.entry(name.into_owned()) {
                hash_map::Entry::Vacant(free) => drop(free.insert(declared)),
                hash_map::Entry::Occupied(earlier) => exposition.garbled += usize::from(*earlier.get() != declared),
            }
        }
        let mut histograms = BTreeMap::new();
        for line in exposition.samples(lines().filter(|line| !line.starts_with('#'))) {
            exposition.add(line, &types, &mut histograms);
        }
        for (series, parts) in histograms {
            exposition.close(series, parts);
        }
        exposition
    }

    /// The sample lines that can be read. Of a sample given at several times the newest.
    fn samples<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> Vec<Line<'a>> {
        let mut samples: Vec<Line<'a>> = Vec::new();
        let mut timed: HashMap<&str, usize> = HashMap::new();
        for line in lines {
            let Some(line) = sample_line(line) else {
                self.garbled += 1;
                continue;
            };
            if let Some(at) = line.timestamp {
                match timed.entry(line.head) {
                    hash_map::Entry::Vacant(free) => drop(free.insert(samples.len())),
                    hash_map::Entry::Occupied(earlier) => {
                        let earlier = &mut samples[*earlier.get()];
                        if earlier.timestamp < Some(at) {
                            *earlier = line;
                            continue;
                        } else if earlier.timestamp > Some(at) {
                            continue;
                        }
                    }
                }
            }
            samples.push(line);
        }
        samples
    }

    fn add(&mut self, line: Line<'_>, types: &HashMap<String, Type>, histograms: &mut BTreeMap<Series, Parts>) {
        let Line { name, mut labels, value, .. } = line;
        match meaning(&name, types) {
            Meaning::Aside => {}
            Meaning::Misplaced => self.garbled += 1,
            Meaning::Plain(_) if value.is_nan() => {
                self.unknown.insert(Series { name: name.into_owned(), labels });
            }
            Meaning::Part(..) if value.is_nan() => {}
            Meaning::Plain(reading) => match self.readings.entry(Series { name: name.into_owned(), labels }) {
                btree_map::Entry::Vacant(free) => drop(free.insert(reading(value))),
                btree_map::Entry::Occupied(_) => self.garbled += 1, // the same series twice
            },
            Meaning::Part(family, part) => {
                let bound = if matches!(part, Part::Bucket) { labels.remove("le") } else { None };
                let parts = histograms.entry(Series { name: family.to_string(), labels }).or_default();
                let given_before = match part {
                    Part::Sum => parts.sum.replace(value).is_some(),
                    Part::Count => parts.count.replace(value).is_some(),
                    Part::Bucket => match bound.as_deref().and_then(number).filter(|bound| !bound.is_nan()) {
                        // One of a bound that was given before is found once they are in order; -0 is 0.
                        Some(bound) => {
                            parts.buckets.push((bound + 0.0, value));
                            false
                        }
                        None => true,
                    },
                };
                self.garbled += usize::from(given_before);
            }
        }
    }

    /// Makes a reading of what was exposed of a histogram or summary.
    fn close(&mut self, series: Series, parts: Parts) {
        let Parts { count, sum, mut buckets } = parts;
        let given = buckets.len();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets.dedup_by(|later, first| later.0 == first.0);
        self.garbled += given - buckets.len();
        let all = buckets.last().filter(|last| last.0 == f64::INFINITY).map(|last| last.1);
        match (count.or(all), sum) {
            (Some(count), sum) => {
                if all.is_none() && !buckets.is_empty() {
                    buckets.push((f64::INFINITY, count));
                }
                self.readings.insert(series, Reading::Histogram { count, sum, buckets });
            }
            (None, Some(sum)) if buckets.is_empty() => {
                let name = format!("{}_sum", series.name);
                self.readings.insert(Series { name, ..series }, Reading::Counter(sum));
            }
            (None, _) => self.garbled += 1,
        }
    }
}

fn kind(word: &str) -> Type {
    match word.to_ascii_lowercase().as_str() {
        "counter" => Type::Counter,
        "gauge" => Type::Gauge,
        "histogram" => Type::Histogram,
        "gaugehistogram" => Type::GaugeHistogram,
        "summary" => Type::Summary,
        "info" => Type::Info,
        "stateset" => Type::StateSet,
        _ => Type::Unknown,
    }
}

/// A name that is declared itself is what it is declared as, whatever it ends in.
fn meaning<'a>(name: &'a str, types: &HashMap<String, Type>) -> Meaning<'a> {
    match types.get(name) {
        Some(Type::Counter) => return Meaning::Plain(Reading::Counter),
        Some(Type::Gauge | Type::GaugeHistogram | Type::Info | Type::StateSet) => {
            return Meaning::Plain(Reading::Gauge);
        }
        Some(Type::Summary) => return Meaning::Aside,
        Some(Type::Histogram) => return Meaning::Misplaced,
        Some(Type::Unknown) => return Meaning::Plain(Reading::Untyped),
        None => {}
    }
    let Some((family, suffix)) = name.rsplit_once('_') else { return Meaning::Plain(Reading::Untyped) };
    match (types.get(family), suffix) {
        (Some(Type::Histogram), "bucket") => Meaning::Part(family, Part::Bucket),
        (Some(Type::Histogram | Type::Summary), "sum") => Meaning::Part(family, Part::Sum),
        (Some(Type::Histogram | Type::Summary), "count") => Meaning::Part(family, Part::Count),
        (Some(Type::GaugeHistogram), "bucket" | "gsum" | "gcount" | "sum" | "count") => Meaning::Plain(Reading::Gauge),
        (Some(Type::Counter), "total") => Meaning::Plain(Reading::Counter),
        (Some(Type::Counter | Type::Histogram | Type::Summary), "created") => Meaning::Aside,
        (Some(Type::Info), "info") => Meaning::Plain(Reading::Gauge),
        (None, "created") if types.get(&format!("{family}_total")) == Some(&Type::Counter) => Meaning::Aside,
        _ => Meaning::Plain(Reading::Untyped),
    }
}
