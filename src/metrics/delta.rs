//! The difference of two expositions. Invariant: a series of the first exposition only is left out, one of the second
//! only counts from 0 (it was registered inside the window), and a declared counter that went down counts from its
//! reset. Of a histogram's buckets those stay whose bounds both expositions have.

use super::{Change, Exposition, MetricsDelta, Reading, Scrape, Series};

impl MetricsDelta {
    /// What changed between two scrapes of the same endpoint.
    pub fn between(before: &Scrape, after: &Scrape) -> MetricsDelta {
        let (first, second) = (Exposition::parse(&before.text), Exposition::parse(&after.text));
        let series = second.readings.into_iter().filter_map(|(series, reading)| {
            let before = first.readings.get(&series);
            // What the first scrape had without a number has no difference, and did not begin at 0.
            let counts = !matches!(reading, Reading::Gauge(_));
            if before.is_none() && counts && first.unknown.contains(&series) {
                return None;
            }
            let change = change(before, reading)?;
            Some((series, change))
        });
        MetricsDelta {
            before: before.span,
            after: after.span,
            series: series.collect(),
            garbled: first.garbled + second.garbled,
        }
    }

    /// Seconds between the two scrapes' midpoints: the divisor of rates and of shares of time.
    pub fn seconds(&self) -> f64 {
        self.after.midpoint().saturating_sub(self.before.midpoint()) as f64 / 1e9
    }

    /// Counters that went down, which a server that restarted does with all of them.
    pub fn resets(&self) -> Vec<&Series> {
        self.series.iter().filter(|(_, change)| change.reset()).map(|(series, _)| series).collect()
    }
}

/// `None` where both readings are infinite: they have no difference.
fn change(before: Option<&Reading>, after: Reading) -> Option<Change> {
    let plain = match before {
        Some(Reading::Counter(value) | Reading::Untyped(value) | Reading::Gauge(value)) => Some(*value),
        Some(Reading::Histogram { .. }) | None => None,
    };
    Some(match after {
        Reading::Counter(after) => {
            let reset = plain.is_some_and(|before| after < before);
            let delta = if reset { after } else { after - plain.unwrap_or(0.0) };
            (!delta.is_nan()).then_some(Change::Counter { delta, reset })?
        }
        Reading::Untyped(after) => Change::Untyped { before: plain, after },
        Reading::Gauge(after) => Change::Gauge { before: plain, after },
        Reading::Histogram { count, sum, buckets } => match before {
            Some(Reading::Histogram { count: count0, sum: sum0, buckets: buckets0 }) => {
                histogram((*count0, *sum0, buckets0), (count, sum, buckets))
            }
            _ => Change::Histogram { count, sum, buckets, reset: false },
        },
    })
}

/// Only bounds that both scrapes have can be differenced: a server may leave out buckets that are empty so far.
fn histogram(before: (f64, Option<f64>, &[(f64, f64)]), after: (f64, Option<f64>, Vec<(f64, f64)>)) -> Change {
    let ((count0, sum0, buckets0), (count, sum, buckets)) = (before, after);
    // Both ascend.
    let former =
        |bound: f64| buckets0.binary_search_by(|known| known.0.total_cmp(&bound)).map(|at| buckets0[at].1).ok();
    let differences = buckets.iter().filter_map(|&(bound, now)| Some((bound, now - former(bound)?)));
    let differences: Vec<(f64, f64)> = differences.collect();
    if count < count0 || differences.iter().any(|bucket| bucket.1 < 0.0) {
        return Change::Histogram { count, sum, buckets, reset: true };
    }
    let sum = sum.zip(sum0).map(|(now, before)| now - before);
    Change::Histogram { count: count - count0, sum, buckets: differences, reset: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Span;

    fn between(before: &str, after: &str) -> MetricsDelta {
        let scrape = |start, text: &str| Scrape { span: Span::new(start, start + 100), text: text.to_string() };
        MetricsDelta::between(&scrape(1_000, before), &scrape(2_000_001_000, after))
    }

    fn only(delta: &MetricsDelta) -> &Change {
        assert_eq!(delta.series.len(), 1);
        delta.series.values().next().unwrap()
    }

    #[test]
    fn a_counter_differs_and_a_reset_counts_from_zero() {
        let ty = "# TYPE c counter\n";
        let up = between(&format!("{ty}c 5\n"), &format!("{ty}c 12\n"));
        assert_eq!(only(&up), &Change::Counter { delta: 7.0, reset: false });
        assert_eq!(up.seconds(), 2.0);
        let down = between(&format!("{ty}c 12\n"), &format!("{ty}c 5\n"));
        assert_eq!(only(&down), &Change::Counter { delta: 5.0, reset: true });
        assert_eq!(down.resets().len(), 1);
    }

    #[test]
    fn a_series_of_the_second_scrape_only_counts_from_zero() {
        assert_eq!(only(&between("", "# TYPE c counter\nc 12\n")), &Change::Counter { delta: 12.0, reset: false });
        assert_eq!(only(&between("", "c 12\n")), &Change::Untyped { before: None, after: 12.0 });
        assert_eq!(
            only(&between("", "# TYPE g gauge\ng 3\n")),
            &Change::Gauge { before: None, after: 3.0 },
            "a gauge has no zero to count from"
        );
    }

    #[test]
    fn a_series_of_the_first_scrape_only_is_absent() {
        assert!(between("c 12\n", "").series.is_empty());
    }

    #[test]
    fn a_histogram_differs_bucket_by_bucket() {
        let text = |a: u32, b: u32, sum: f64| {
            format!(
                "# TYPE h histogram\nh_bucket{{le=\"0.5\"}} {a}\nh_bucket{{le=\"+Inf\"}} {b}\nh_sum {sum}\nh_count \
                    {b}\n"
            )
        };
        let delta = between(&text(3, 4, 2.0), &text(5, 10, 6.5));
        let buckets = vec![(0.5, 2.0), (f64::INFINITY, 6.0)];
        assert_eq!(only(&delta), &Change::Histogram { count: 6.0, sum: Some(4.5), buckets, reset: false });
        let reset = between(&text(5, 10, 6.5), &text(3, 4, 2.0));
        let buckets = vec![(0.5, 3.0), (f64::INFINITY, 4.0)];
        assert_eq!(only(&reset), &Change::Histogram { count: 4.0, sum: Some(2.0), buckets, reset: true });
    }

    #[test]
    fn a_summary_is_a_histogram_without_buckets() {
        let text = |n: u32| format!("# TYPE s summary\ns{{quantile=\"0.5\"}} 3\ns_sum {n}\ns_count {n}\n");
        assert_eq!(
            only(&between(&text(2), &text(9))),
            &Change::Histogram { count: 7.0, sum: Some(7.0), buckets: Vec::new(), reset: false }
        );
    }

    #[test]
    fn what_may_be_no_counter_was_not_reset_when_it_falls() {
        let text = |free, depth, bucket, mode| {
            format!(
                "free {free}\n# TYPE depth unknown\ndepth {depth}\n# TYPE q gaugehistogram\n\
                 q_bucket{{le=\"+Inf\"}} {bucket}\nq_gcount {bucket}\nq_gsum {bucket}\n\
                 # TYPE mode stateset\nmode{{mode=\"on\"}} {mode}\n\
                 # TYPE build info\nbuild_info{{v=\"1\"}} 1\n"
            )
        };
        let delta = between(&text(100, 50, 9, 1), &text(40, 20, 3, 0));
        assert!(delta.resets().is_empty());
        assert_eq!((delta.garbled, delta.series.len()), (0, 7));
        for (series, change) in &delta.series {
            match series.name.as_str() {
                "free" => assert_eq!(change, &Change::Untyped { before: Some(100.0), after: 40.0 }),
                "depth" => assert_eq!(change, &Change::Untyped { before: Some(50.0), after: 20.0 }),
                name => assert!(matches!(change, Change::Gauge { .. }), "{name}: {change:?}"),
            }
        }
    }

    #[test]
    fn a_sum_that_falls_resets_nothing_and_one_that_is_lacking_is_not_measured() {
        let text = |count: u32, sum: &str| {
            format!("# TYPE h histogram\nh_bucket{{le=\"1\"}} {count}\nh_bucket{{le=\"+Inf\"}} {count}\n{sum}")
        };
        let buckets = vec![(1.0, 2.0), (f64::INFINITY, 2.0)];
        let made = |sum| Change::Histogram { count: 2.0, sum, buckets: buckets.clone(), reset: false };
        assert_eq!(only(&between(&text(1, "h_sum -1\n"), &text(3, "h_sum -6\n"))), &made(Some(-5.0)));
        assert_eq!(only(&between(&text(1, ""), &text(3, ""))), &made(None));
        assert_eq!(only(&between(&text(1, ""), &text(3, "h_sum 4\n"))), &made(None));
        assert_eq!(only(&between(&text(1, "h_sum 4\n"), &text(3, "h_sum NaN\n"))), &made(None));
    }

    #[test]
    fn buckets_of_one_scrape_only_are_left_out_and_are_no_reset() {
        let before = "# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 2\n";
        let after = "# TYPE h histogram\nh_bucket{le=\"1\"} 4\nh_bucket{le=\"2\"} 7\nh_bucket{le=\"+Inf\"} 7\n";
        let buckets = vec![(1.0, 2.0), (f64::INFINITY, 5.0)];
        assert_eq!(only(&between(before, after)), &Change::Histogram { count: 5.0, sum: None, buckets, reset: false });
    }

    #[test]
    fn a_first_reading_that_is_no_number_is_no_zero() {
        for ty in ["counter", "unknown"] {
            let text = |value| format!("# TYPE c {ty}\nc {value}\n");
            assert!(between(&text("NaN"), &text("1e9")).series.is_empty());
        }
        let gauge = between("# TYPE g gauge\ng NaN\n", "# TYPE g gauge\ng 3\n");
        assert_eq!(only(&gauge), &Change::Gauge { before: None, after: 3.0 });
    }

    #[test]
    fn infinite_readings_have_no_difference() {
        let text = "# TYPE c counter\nc +Inf\n";
        assert!(between(text, text).series.is_empty());
    }
}
