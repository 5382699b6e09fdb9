//! The exposition reader against `prometheus-parse`: where the crate is wrong, and that both agree elsewhere.

use crate::recordings;
use std::collections::{BTreeMap, BTreeSet};
use wireprof::metrics::{Exposition, Reading, Series};

fn series(name: &str, labels: &[(&str, &str)]) -> Series {
    let labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Series { name: name.to_string(), labels }
}

fn crate_parse(text: &str) -> prometheus_parse::Scrape {
    prometheus_parse::Scrape::parse(text.lines().map(|l| Ok(l.to_string()))).unwrap()
}

/// If one of these fails after an update of the crate, the reader of sample lines may go.
#[test]
fn the_crate_loses_what_the_reader_keeps() {
    for (line, labels) in [
        (r#"a{x="1,2"} 3"#, [("x", "1,2")].as_slice()),
        (r#"a{x="k=v"} 3"#, &[("x", "k=v")]),
        (r#"a{x="}"} 3"#, &[("x", "}")]),
        (r#"a{x="\"q\\"} 3"#, &[("x", "\"q\\")]),
        ("a{} 3", &[]),
    ] {
        let ours = Exposition::parse(line);
        assert_eq!(ours.readings, BTreeMap::from([(series("a", labels), Reading::Counter(3.0))]), "{line}");
        assert_eq!(ours.garbled, 0);
        let theirs = crate_parse(line);
        let wanted = series("a", labels).labels;
        let right = theirs.samples.iter().any(|s| s.labels.clone().into_iter_sorted() == wanted);
        assert!(!right, "the crate reads {line} now");
    }
}

trait Sorted {
    fn into_iter_sorted(self) -> BTreeMap<String, String>;
}

impl Sorted for prometheus_parse::Labels {
    fn into_iter_sorted(self) -> BTreeMap<String, String> {
        self.iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

#[test]
fn every_part_of_the_format_is_read() {
    let text = concat!(
        "# HELP h help with { and \"\n# TYPE h histogram\n",
        "h_bucket{le=\"+Inf\"} 4\nh_bucket{le=\"0.5\"} 3 1395066363000\nh_sum 1.5e+00\nh_count 4\n",
        "# TYPE g gauge\ng{a=\"b\", c=\"d\",} -1\n",
        "# TYPE n gauge\nn NaN\n",
        "untyped_total 5 # {trace_id=\"x\"} 1.0\n",
        "# EOF\n",
    );
    let parsed = Exposition::parse(text);
    assert_eq!(parsed.garbled, 0);
    let histogram = Reading::Histogram { count: 4.0, sum: 1.5, buckets: vec![(0.5, 3.0), (f64::INFINITY, 4.0)] };
    assert_eq!(
        parsed.readings,
        BTreeMap::from([
            (series("h", &[]), histogram),
            (series("g", &[("a", "b"), ("c", "d")]), Reading::Gauge(-1.0)),
            (series("untyped_total", &[]), Reading::Counter(5.0)),
        ])
    );
}

#[test]
fn garbled_lines_are_counted_one_by_one() {
    let text = "a 1\nb{x=\"1} 2\nc{x=1} 2\nd two\n<html>\n9lives 1\nf 1 2 3\na 2\ng{x=\"1\" y=\"2\"} 1\nh{x=\"1\",x=\"2\"} 1\nok 1\n";
    let parsed = Exposition::parse(text);
    assert_eq!(parsed.garbled, 9);
    assert_eq!(parsed.readings.len(), 2);
}

/// The crate gets the recorded series with a comma in a label's value wrong: `format="t,d,k_s,v_s"` becomes `format="t"`.
#[test]
fn on_expositions_of_a_real_server_the_reader_and_the_crate_agree() {
    let Some(recorded) = recordings::environmentd() else { return };
    for path in ["t/c16/metrics-after.prom.gz", "bench/c64/metrics-before.prom.gz"] {
        let (cut, histograms) = compare(&recordings::text(&recorded.join(path)));
        assert!(cut.contains("mz_persist_parquet_encoded_size") && cut.len() < 10, "{cut:?}");
        assert!(histograms > 100, "only {histograms} histograms were compared");
    }
}

#[test]
fn on_expositions_of_the_testbed_the_reader_and_the_crate_agree() {
    for path in ["c1/metrics-before.prom.gz", "c16/metrics-after.prom.gz"] {
        let (cut, histograms) = compare(&recordings::text(&recordings::testbed().join(path)));
        assert_eq!((cut.len(), histograms), (0, 15), "{path}");
    }
}

/// Names of the series that the crate cuts, which are left out, and the number of histograms compared.
fn compare(text: &str) -> (BTreeSet<String>, usize) {
    let (ours, theirs) = (Exposition::parse(text), crate_parse(text));
    assert_eq!(ours.garbled, 0);
    use prometheus_parse::Value;
    let mut seen = 0;
    let cut = |series: &&Series| series.labels.values().any(|v| v.contains(','));
    let cut: BTreeSet<String> = ours.readings.keys().filter(cut).map(|s| s.name.clone()).collect();
    for sample in theirs.samples.into_iter().filter(|s| !cut.contains(&s.metric)) {
        let key = |name: &str| Series { name: name.to_string(), labels: sample.labels.clone().into_iter_sorted() };
        let family = |suffix: &str| sample.metric.strip_suffix(suffix).and_then(|f| ours.readings.get(&key(f)));
        match sample.value {
            Value::Histogram(ref wanted) => {
                let Some(Reading::Histogram { buckets, .. }) = ours.readings.get(&key(&sample.metric)) else {
                    panic!("no histogram {}", sample.metric);
                };
                let mut wanted: Vec<_> = wanted.iter().map(|b| (b.less_than, b.count)).collect();
                wanted.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert_eq!(buckets, &wanted, "{}", sample.metric);
                seen += 1;
            }
            Value::Counter(wanted) => {
                assert_eq!(ours.readings.get(&key(&sample.metric)), Some(&Reading::Counter(wanted)), "{sample:?}")
            }
            Value::Gauge(wanted) if wanted.is_nan() => {}
            Value::Gauge(wanted) => {
                assert_eq!(ours.readings.get(&key(&sample.metric)), Some(&Reading::Gauge(wanted)), "{sample:?}")
            }
            Value::Untyped(wanted) => {
                let found = match (family("_sum"), family("_count"), ours.readings.get(&key(&sample.metric))) {
                    (Some(Reading::Histogram { sum, .. }), ..) => *sum,
                    (_, Some(Reading::Histogram { count, .. }), _) => *count,
                    (.., Some(Reading::Counter(value))) => *value,
                    other => panic!("{} became {other:?}", sample.metric),
                };
                assert_eq!(found, wanted, "{}", sample.metric);
            }
            Value::Summary(_) => {}
        }
    }
    (cut, seen)
}
