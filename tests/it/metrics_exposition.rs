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
        assert_eq!(ours.readings, BTreeMap::from([(series("a", labels), Reading::Untyped(3.0))]), "{line}");
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
    let histogram = Reading::Histogram { count: 4.0, sum: Some(1.5), buckets: vec![(0.5, 3.0), (f64::INFINITY, 4.0)] };
    assert_eq!(
        parsed.readings,
        BTreeMap::from([
            (series("h", &[]), histogram),
            (series("g", &[("a", "b"), ("c", "d")]), Reading::Gauge(-1.0)),
            (series("untyped_total", &[]), Reading::Untyped(5.0)),
        ])
    );
}

fn read(text: &str) -> Vec<(String, Reading)> {
    let parsed = Exposition::parse(text);
    assert_eq!(parsed.garbled, 0, "{text}");
    parsed.readings.into_iter().map(|(series, reading)| (series.to_string(), reading)).collect()
}

fn histogram(count: f64, sum: Option<f64>, buckets: &[(f64, f64)]) -> Reading {
    Reading::Histogram { count, sum, buckets: buckets.to_vec() }
}

/// OpenMetrics 1.0: `_sum` and `_count` are optional, the count is the `+Inf` bucket.
#[test]
fn a_histogram_is_as_much_as_is_exposed_of_it() {
    let buckets = [(0.1, 5.0), (f64::INFINITY, 7.0)];
    let of = |rest: &str| format!("# TYPE h histogram\nh_bucket{{le=\"0.1\"}} 5\n{rest}");
    let last = "h_bucket{le=\"+Inf\"} 7\n";
    let one = |reading| vec![("h".to_string(), reading)];
    assert_eq!(read(&of(last)), one(histogram(7.0, None, &buckets)));
    assert_eq!(read(&of(&format!("{last}h_sum 3\n"))), one(histogram(7.0, Some(3.0), &buckets)));
    assert_eq!(read(&of(&format!("{last}h_sum NaN\nh_count 7\n"))), one(histogram(7.0, None, &buckets)));
    assert_eq!(read(&of("h_count 7\n")), one(histogram(7.0, None, &buckets)), "the last bucket is lacking");
    let summary = "# TYPE s summary\ns{quantile=\"0.5\"} 3\n";
    assert_eq!(read(&format!("{summary}s_count 2\n")), [("s".to_string(), histogram(2.0, None, &[]))]);
    assert_eq!(read(&format!("{summary}s_sum 2\n")), [("s_sum".to_string(), Reading::Counter(2.0))]);
    assert_eq!(Exposition::parse(&of("")).garbled, 1, "neither a count nor the last bucket");
    assert_eq!(Exposition::parse(&of("h_bucket{le=\"0.10\"} 6\nh_count 7\n")).garbled, 1, "one bound twice");
}

#[test]
fn a_time_of_creation_is_no_counter_unless_it_is_declared_as_something() {
    for of in ["jobs counter", "jobs_total counter", "jobs histogram", "jobs summary"] {
        assert_eq!(read(&format!("# TYPE {of}\njobs_created 1.7e9\n")), [], "{of}");
    }
    let declared = "# TYPE jobs counter\njobs_total 1\n# TYPE jobs_created gauge\njobs_created 5\n";
    let names = [("jobs_created".to_string(), Reading::Gauge(5.0)), ("jobs_total".to_string(), Reading::Counter(1.0))];
    assert_eq!(read(declared), names);
    assert_eq!(read("jobs_created 5\n"), [("jobs_created".to_string(), Reading::Untyped(5.0))]);
}

#[test]
fn only_a_declared_counter_is_one() {
    let text = "# TYPE q gaugehistogram\nq_bucket{le=\"+Inf\"} 3\nq_gcount 3\nq_gsum 7\n# TYPE mode stateset\n\
                mode{mode=\"on\"} 1\n# TYPE build info\nbuild_info{v=\"2\"} 1\n";
    let readings = read(text);
    assert_eq!(readings.len(), 5);
    assert!(readings.iter().all(|(_, reading)| matches!(reading, Reading::Gauge(_))), "{readings:?}");
    for of in ["unknown", "untyped", "something"] {
        assert_eq!(read(&format!("# TYPE x {of}\nx 1\n")), [("x".to_string(), Reading::Untyped(1.0))]);
    }
}

#[test]
fn families_with_quoted_names_are_read_whatever_their_type() {
    let text = concat!(
        "# TYPE \"http.requests\" counter\n{\"http.requests\",\"service.name\"=\"a\"} 8\n",
        "# TYPE \"a \\\"b\" gauge\n{\"a \\\"b\"} 1\n",
        "# TYPE \"d.s\" histogram\n{\"d.s_bucket\",\"le\"=\"+Inf\",x=\"y\"} 3\n{\"d.s_sum\",x=\"y\"} 4\n",
        "# TYPE \"up.time\" counter\n{\"up.time_total\"} 6\n{\"up.time_created\"} 1\n",
        "plain{\"service.name\"=\"a\"} 9\n",
    );
    let expected = [
        (r#"{"a \"b"}"#, Reading::Gauge(1.0)),
        (r#"{"d.s",x="y"}"#, histogram(3.0, Some(4.0), &[(f64::INFINITY, 3.0)])),
        (r#"{"http.requests","service.name"="a"}"#, Reading::Counter(8.0)),
        (r#"plain{"service.name"="a"}"#, Reading::Untyped(9.0)),
        (r#"{"up.time_total"}"#, Reading::Counter(6.0)),
    ];
    assert_eq!(read(text), expected.map(|(series, reading)| (series.to_string(), reading)));
}

#[test]
fn line_endings_marks_types_that_follow_and_times_change_nothing() {
    let expected = [("c".to_string(), Reading::Counter(2.0)), ("g".to_string(), Reading::Gauge(f64::NEG_INFINITY))];
    let text = "c 2\n# TYPE c counter\n# TYPE g gauge\ng -Inf";
    assert_eq!(read(text), expected);
    assert_eq!(read(&format!("\u{feff}{}\r\n", text.replace('\n', "\r\n"))), expected);
    assert_eq!(read("# TYPE c counter\nc 1 10\nc 2 30\nc 9 20\n# TYPE g gauge\ng -Inf 1.5\n# EOF\n"), expected);
    let twice = Exposition::parse("# TYPE c counter\n# TYPE c counter\n# TYPE c gauge\nc 1 10\nc 2 10\n");
    assert_eq!((twice.garbled, twice.readings.into_values().collect::<Vec<_>>()), (2, vec![Reading::Counter(1.0)]));
}

#[test]
fn garbled_lines_are_counted_one_by_one() {
    let text = "a 1\nb{x=\"1} 2\nc{x=1} 2\nd two\n<html>\n9lives 1\nf 1 2 3\na 2\ng{x=\"1\" y=\"2\"} \
                1\nh{x=\"1\",x=\"2\"} 1\nok 1\n";
    let parsed = Exposition::parse(text);
    assert_eq!(parsed.garbled, 9);
    assert_eq!(parsed.readings.len(), 2);
}

/// The crate gets the recorded series with a comma in a label's value wrong: `format="t,d,k_s,v_s"` becomes
/// `format="t"`.
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
                assert_eq!(ours.readings.get(&key(&sample.metric)), Some(&Reading::Counter(wanted)), "{sample:?}");
            }
            Value::Gauge(wanted) if wanted.is_nan() => {}
            Value::Gauge(wanted) => {
                assert_eq!(ours.readings.get(&key(&sample.metric)), Some(&Reading::Gauge(wanted)), "{sample:?}");
            }
            Value::Untyped(wanted) => {
                let found = match (family("_sum"), family("_count"), ours.readings.get(&key(&sample.metric))) {
                    (Some(Reading::Histogram { sum, .. }), ..) => sum.unwrap(),
                    (_, Some(Reading::Histogram { count, .. }), _) => *count,
                    (.., Some(Reading::Untyped(value))) => *value,
                    other => panic!("{} became {other:?}", sample.metric),
                };
                assert_eq!(found, wanted, "{}", sample.metric);
            }
            Value::Summary(_) => {}
        }
    }
    (cut, seen)
}
