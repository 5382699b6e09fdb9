//! The once-a-second series of a window (`metrics-series.prom`): for the wanted metrics only, one line a reading in
//! OpenMetrics' form `name{labels} value timestamp`, buckets left out. Invariant: the file never grows beyond its
//! bound, and readings that did not fit are counted; a line is written whole or not at all.
//!
//! OpenMetrics' timestamps are Unix seconds. The first line keeps which reading of `CLOCK_MONOTONIC` that origin
//! was, so that a reader gets back the one clock all else is cut by.

use super::line::{number, sample_line};
use super::{Exposition, Reading, Scrape, Selector, Series};
use crate::clock::Nanos;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;

const HEAD: &str = "# wireprof series: monotonic_ns=";

/// One instant in both clocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeriesOrigin {
    /// `CLOCK_MONOTONIC` in ns.
    pub monotonic: Nanos,
    /// Unix time in seconds at the same instant.
    pub unix: f64,
}

/// Appends the wanted series of each scrape to a writer.
pub struct SeriesLog<W: Write> {
    writer: W,
    origin: SeriesOrigin,
    wanted: Vec<Selector>,
    /// Bytes that may still be written.
    room: usize,
    /// Readings that did not fit any more.
    dropped: u64,
}

/// One reading of a series; the values of a histogram are those of `NAME_sum` and `NAME_count`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The scrape's midpoint, to the microsecond.
    pub at: Nanos,
    /// The value read, in the metric's own unit.
    pub value: f64,
}

impl<W: Write> SeriesLog<W> {
    /// Starts a log of at most `bound` bytes.
    ///
    /// # Errors
    /// The writer fails.
    pub fn new(mut writer: W, origin: SeriesOrigin, wanted: Vec<Selector>, bound: usize) -> Result<SeriesLog<W>> {
        let head = format!("{HEAD}{} unix={}\n", origin.monotonic, origin.unix);
        writer.write_all(head.as_bytes()).context("cannot write the once-a-second metrics")?;
        Ok(SeriesLog { writer, origin, wanted, room: bound.saturating_sub(head.len()), dropped: 0 })
    }

    /// Appends the wanted series of one scrape; each scrape is one write.
    ///
    /// # Errors
    /// The writer fails.
    pub fn append(&mut self, scrape: &Scrape) -> Result<()> {
        let midpoint = i128::from(scrape.span.midpoint()) - i128::from(self.origin.monotonic);
        let at = self.origin.unix + midpoint as f64 / 1e9;
        let mut text = String::new();
        for (series, reading) in Exposition::parse(&self.candidates(&scrape.text)).readings {
            if !self.wanted.iter().any(|selector| selector.matches(&series)) {
                continue;
            }
            for (suffix, value) in values(&reading) {
                let named = Series { name: format!("{}{suffix}", series.name), labels: series.labels.clone() };
                let start = text.len();
                writeln!(text, "{named} {value} {at:.6}").expect("writing to a string cannot fail");
                if text.len() > self.room {
                    text.truncate(start);
                    self.dropped += 1;
                }
            }
        }
        self.room -= text.len();
        self.writer.write_all(text.as_bytes()).context("cannot write the once-a-second metrics")
    }

    /// The lines that can be of a wanted series. Parsing all of a megabyte every second would take 10 ms of the machine
    /// that is being measured; this takes 1 ms.
    fn candidates(&self, text: &str) -> String {
        let names: Option<Vec<&str>> = self.wanted.iter().map(Selector::name).collect();
        let Some(names) = names else { return text.to_string() };
        // Names in quotes are rare; the count of a histogram may be told by its last bucket alone.
        let ends = |value: &str| number(value).is_some_and(f64::is_infinite);
        let counts = |rest: &str| !rest.starts_with("_bucket") || rest.split('"').any(ends);
        let wanted = |line: &&str| {
            let line = line.trim_start();
            let of = line.strip_prefix('#').and_then(|comment| comment.trim_start().strip_prefix("TYPE"));
            let line = of.map_or(line, str::trim_start);
            line.starts_with(['"', '{']) || names.iter().any(|name| line.strip_prefix(name).is_some_and(counts))
        };
        text.trim_start_matches('\u{feff}').split_inclusive('\n').filter(wanted).collect()
    }

    /// Flushes; answers how many readings did not fit into the bound.
    ///
    /// # Errors
    /// The writer fails.
    pub fn finish(mut self) -> Result<u64> {
        self.writer.flush().context("cannot write the once-a-second metrics")?;
        Ok(self.dropped)
    }
}

fn values(reading: &Reading) -> Vec<(&'static str, f64)> {
    match reading {
        Reading::Counter(value) | Reading::Untyped(value) | Reading::Gauge(value) => vec![("", *value)],
        Reading::Histogram { count, sum, .. } => {
            std::iter::once(("_count", *count)).chain(sum.map(|sum| ("_sum", sum))).collect()
        }
    }
}

/// Reads a series log back, each series in the order of time. A last line that was cut short is left out.
///
/// # Errors
/// The first line names no origin, or a whole line is no reading with a timestamp.
pub fn read_series_log(text: &str) -> Result<BTreeMap<Series, Vec<Point>>> {
    let mut lines = text.split_inclusive('\n');
    let origin = lines.next().and_then(origin).context("not a series log: its first line names no origin")?;
    let mut series: BTreeMap<Series, Vec<Point>> = BTreeMap::new();
    for (number, line) in lines.enumerate().filter(|(_, line)| line.ends_with('\n')) {
        let Some((line, timestamp)) = sample_line(line.trim()).and_then(|l| l.timestamp.map(|t| (l, t))) else {
            bail!("line {} of the series log is no reading with a timestamp: {}", number + 2, line.trim());
        };
        let at =
            (i128::from(origin.monotonic) + ((timestamp - origin.unix) * 1e6).round() as i128 * 1000).max(0) as Nanos;
        let key = Series { name: line.name.into_owned(), labels: line.labels };
        series.entry(key).or_default().push(Point { at, value: line.value });
    }
    Ok(series)
}

fn origin(line: &str) -> Option<SeriesOrigin> {
    let (monotonic, unix) = line.trim().strip_prefix(HEAD)?.split_once(" unix=")?;
    Some(SeriesOrigin { monotonic: monotonic.parse().ok()?, unix: unix.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Span;

    const ORIGIN: SeriesOrigin = SeriesOrigin { monotonic: 5_000_000_000, unix: 1_795_339_200.25 };

    fn scrape(at: Nanos, text: &str) -> Scrape {
        Scrape { span: Span::new(at - 1_000, at + 1_000), text: text.to_string() }
    }

    #[test]
    fn no_series_is_missed_that_the_parser_reads() {
        let bucket = "# TYPE busy histogram\nbusy_bucket{le=\"+INF\"} 1\n";
        for (text, line) in [("\u{feff}busy 1\n", "\nbusy 1 "), (bucket, "\nbusy_count 1 ")] {
            let mut file = Vec::new();
            let mut log = SeriesLog::new(&mut file, ORIGIN, vec![Selector::parse("busy").unwrap()], 1_000).unwrap();
            log.append(&scrape(6_000_000_000, text)).unwrap();
            assert_eq!(log.finish().unwrap(), 0);
            let file = String::from_utf8(file).unwrap();
            assert!(file.contains(line), "{text:?}: {file}");
        }
    }

    fn write(bound: usize) -> (String, u64) {
        let wanted = vec![Selector::parse("busy").unwrap(), Selector::parse("h").unwrap()];
        let mut file = Vec::new();
        let mut log = SeriesLog::new(&mut file, ORIGIN, wanted, bound).unwrap();
        let text = |n: u32| {
            format!(
                "# TYPE h histogram\nh_bucket{{a=\"x,\\\"y\",le=\"+Inf\"}} {n}\nh_sum{{a=\"x,\\\"y\"}} 0.5\n\
                 h_count{{a=\"x,\\\"y\"}} {n}\n# TYPE busy gauge\nbusy {n}.5\nunwanted 1\n"
            )
        };
        log.append(&scrape(6_000_000_000, &text(1))).unwrap();
        log.append(&scrape(7_000_250_000, &text(2))).unwrap();
        let dropped = log.finish().unwrap();
        (String::from_utf8(file).unwrap(), dropped)
    }

    #[test]
    fn what_was_written_is_read_back_on_the_one_clock() {
        let (text, dropped) = write(10_000);
        assert_eq!(dropped, 0);
        assert!(text.contains("busy 1.5 1795339201.250000\n"), "{text}");
        let series = read_series_log(&text).unwrap();
        let names: Vec<_> = series.keys().map(Series::to_string).collect();
        assert_eq!(names, ["busy", r#"h_count{a="x,\"y"}"#, r#"h_sum{a="x,\"y"}"#]);
        let points = |at: [Nanos; 2], values: [f64; 2]| [0, 1].map(|i| Point { at: at[i], value: values[i] }).to_vec();
        assert_eq!(series.values().next().unwrap(), &points([6_000_000_000, 7_000_250_000], [1.5, 2.5]));
    }

    #[test]
    fn a_pattern_of_names_is_logged_too() {
        let mut file = Vec::new();
        let wanted = vec![Selector::parse("{__name__=~\"bu.*|h\"}").unwrap()];
        let mut log = SeriesLog::new(&mut file, ORIGIN, wanted, 10_000).unwrap();
        log.append(&scrape(6_000_000_000, "busy 1\n# TYPE h histogram\nh_sum 1\nh_count 2\nother 3\n")).unwrap();
        log.finish().unwrap();
        let series = read_series_log(&String::from_utf8(file).unwrap()).unwrap();
        let names: Vec<_> = series.keys().map(Series::to_string).collect();
        assert_eq!(names, ["busy", "h_count", "h_sum"]);
    }

    #[test]
    fn quoted_names_and_histograms_without_count_are_logged_too() {
        let mut file = Vec::new();
        let wanted = ["{\"a.b\"}", "h"].map(|text| Selector::parse(text).unwrap()).to_vec();
        let mut log = SeriesLog::new(&mut file, ORIGIN, wanted, 10_000).unwrap();
        let text = "# TYPE \"a.b\" gauge\n{\"a.b\",\"c d\"=\"x\"} 1\n#\tTYPE h histogram\n\
                    h_bucket{le=\"1\"} 1\n h_bucket{le=\"+Inf\"} 2\n";
        log.append(&scrape(6_000_000_000, text)).unwrap();
        log.finish().unwrap();
        let series = read_series_log(&String::from_utf8(file).unwrap()).unwrap();
        let names: Vec<_> = series.keys().map(Series::to_string).collect();
        assert_eq!(names, [r#"{"a.b","c d"="x"}"#, "h_count"]);
    }

    #[test]
    fn the_bound_is_held_and_the_dropped_readings_are_counted() {
        let (text, dropped) = write(160);
        assert!(text.len() <= 160, "{}", text.len());
        assert!(text.ends_with('\n'));
        let kept: usize = read_series_log(&text).unwrap().values().map(Vec::len).sum();
        assert_eq!(kept as u64 + dropped, 6);
        assert!(dropped > 0);
    }

    #[test]
    fn a_log_cut_short_reads_up_to_its_last_whole_line() {
        let (text, _) = write(10_000);
        let cut = &text[..text.len() - 5];
        let points: usize = read_series_log(cut).unwrap().values().map(Vec::len).sum();
        assert_eq!(points, 5);
        assert!(read_series_log("busy 1 2\n").is_err());
    }
}
