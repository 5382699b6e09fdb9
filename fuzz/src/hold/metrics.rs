//! Expositions and selectors. Invariant: what is read is read again from how it is shown, buckets ascend, and
//! `prometheus-parse` sees the same values wherever it can read a line at all.

use super::text;
use crate::clock::Span;
use crate::feed::Feed;
use crate::metrics::{
    Change, Exposition, MetricsDelta, Reading, Scrape, Selector, Series, SeriesLog, SeriesOrigin, read_series_log,
};
use std::collections::BTreeMap;

/// An exposition of any bytes, or of sound families where the first byte says so.
pub fn exposition(bytes: &[u8]) {
    if let Some((0xff, rest)) = bytes.split_first() {
        return sound(&mut Feed(rest));
    }
    let text = text(bytes);
    let read = Exposition::parse(&text);
    for (series, reading) in &read.readings {
        if let Reading::Histogram { buckets, .. } = reading {
            assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0), "buckets ascend: {buckets:?}");
            assert!(buckets.last().is_none_or(|last| last.0 == f64::INFINITY), "the last one is +Inf: {buckets:?}");
        }
        let shown = Exposition::parse(&format!("{series} 1\n"));
        assert_eq!(shown.readings.keys().collect::<Vec<_>>(), [series], "what is shown is read again: {series}");
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(read.readings.len() + read.unknown.len() <= lines, "nothing is made up");
    if read.garbled == 0 && !text.contains('\u{feff}') {
        let mut turned: Vec<&str> = text.lines().collect();
        turned.reverse();
        let turned = Exposition::parse(&turned.join("\n"));
        assert_eq!(turned.unknown, read.unknown);
        assert_eq!(format!("{:?}", turned.readings), format!("{:?}", read.readings), "in whichever order");
    }
    differences(&text);
}

/// The scrape against itself, against nothing, and once a second.
fn differences(text: &str) {
    let scrape = |at: u64, text: &str| Scrape { span: Span::new(at, at + 10), text: text.to_string() };
    let (before, after) = (scrape(0, text), scrape(1_000_000_000, text));
    let same = MetricsDelta::between(&before, &after);
    assert!(same.resets().is_empty(), "{:?}", same.resets());
    for (series, change) in &same.series {
        let none = match change {
            Change::Counter { delta, .. } => *delta == 0.0,
            Change::Histogram { count, .. } => *count == 0.0 || count.is_nan(),
            Change::Untyped { before, after } | Change::Gauge { before, after } => *before == Some(*after),
        };
        assert!(none, "{series} changed: {change:?}");
    }
    MetricsDelta::between(&scrape(0, ""), &after);
    let wanted: Vec<Selector> =
        same.series.keys().filter_map(|series| Selector::parse(&series.to_string()).ok()).collect();
    let (mut file, bound) = (Vec::new(), 4096);
    let mut log = SeriesLog::new(&mut file, SeriesOrigin { monotonic: 0, unix: 1e9 }, wanted, bound).expect("a vector");
    log.append(&before).and_then(|()| log.append(&after)).expect("a vector");
    let dropped = log.finish().expect("a vector");
    assert!(file.len() <= bound, "{} bytes", file.len());
    let points: usize = read_series_log(&super::text(&file)).expect("what was written").values().map(Vec::len).sum();
    assert!(dropped > 0 || points >= same.series.len(), "{points} of {} series", same.series.len());
}

/// Families that both readers can read: names and labels that need no quotes or escapes.
fn sound(feed: &mut Feed) {
    let mut written = String::new();
    let mut expected: BTreeMap<Series, f64> = BTreeMap::new();
    for family in 0..1 + feed.byte() % 8 {
        let kind = ["counter", "gauge", "untyped"][usize::from(feed.byte() % 3)];
        written += &format!("# HELP m{family} help\n# TYPE m{family} {kind}\n");
        for label in 0..1 + feed.byte() % 4 {
            let value = f64::from(feed.word()) / (1.0 + f64::from(feed.half()));
            let series = Series { name: format!("m{family}"), labels: [("k".into(), format!("v{label}"))].into() };
            written += &format!("{series} {value}\n");
            expected.insert(series, value);
        }
    }
    let read = Exposition::parse(&written);
    assert_eq!(read.garbled, 0);
    let own: BTreeMap<&Series, f64> = read.readings.iter().map(|(series, reading)| (series, plain(reading))).collect();
    assert_eq!(own, expected.iter().map(|(series, value)| (series, *value)).collect());
    let lines = written.lines().map(|line| Ok(line.to_string()));
    let other = prometheus_parse::Scrape::parse(lines).expect("sound lines");
    for sample in &other.samples {
        let labels = sample.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let series = Series { name: sample.metric.clone(), labels };
        let value = match sample.value {
            prometheus_parse::Value::Counter(value)
            | prometheus_parse::Value::Gauge(value)
            | prometheus_parse::Value::Untyped(value) => value,
            ref other => panic!("{other:?}"),
        };
        assert_eq!(own.get(&series), Some(&value), "both readers: {series}");
    }
    assert_eq!(other.samples.len(), own.len());
}

fn plain(reading: &Reading) -> f64 {
    match reading {
        Reading::Counter(value) | Reading::Untyped(value) | Reading::Gauge(value) => *value,
        Reading::Histogram { count, .. } => *count,
    }
}

/// A selector, and what it means among a few series.
pub fn selector(bytes: &[u8]) {
    let text = text(bytes);
    let Ok(selector) = Selector::parse(&text) else { return };
    let written: String = selector.clone().into();
    assert_eq!(written, text);
    let exposition = "# TYPE a counter\na 1\na{b=\"c\"} 2\n{\"a.b\",\"c d\"=\"x\"} 3\n# TYPE h histogram\n\
                      h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\n";
    let scrape = |at: u64| Scrape { span: Span::new(at, at + 10), text: exposition.to_string() };
    let delta = MetricsDelta::between(&scrape(0), &scrape(1_000));
    let found = selector.find(&delta).count();
    assert_eq!(found, delta.series.keys().filter(|series| selector.matches(series)).count(), "found by name or not");
    assert!(selector.select(&delta).map_or(true, |selection| selection.series == found));
}
