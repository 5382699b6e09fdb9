//! The difference of two expositions. Invariant: a series of the first exposition only is left out, one of the second
//! only counts from 0 (it was registered inside the window), and a value that went down counts from its reset.

use super::{Change, Exposition, MetricsDelta, Reading, Scrape, Series};

impl MetricsDelta {
    /// What changed between two scrapes of the same endpoint.
    pub fn between(before: &Scrape, after: &Scrape) -> MetricsDelta {
        let (first, second) = (Exposition::parse(&before.text), Exposition::parse(&after.text));
        let series = second.readings.into_iter().map(|(series, reading)| {
            let change = change(first.readings.get(&series), reading);
            (series, change)
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

    /// Series that went down, which a server that restarted does with all of them.
    pub fn resets(&self) -> Vec<&Series> {
        self.series.iter().filter(|(_, change)| change.reset()).map(|(series, _)| series).collect()
    }
}

fn change(before: Option<&Reading>, after: Reading) -> Change {
    match (before, after) {
        (Some(Reading::Counter(before)), Reading::Counter(after)) => {
            let reset = after < *before;
            Change::Counter { delta: if reset { after } else { after - before }, reset }
        }
        (_, Reading::Counter(after)) => Change::Counter { delta: after, reset: false },
        (Some(Reading::Gauge(before)), Reading::Gauge(after)) => Change::Gauge { before: Some(*before), after },
        (_, Reading::Gauge(after)) => Change::Gauge { before: None, after },
        (
            Some(Reading::Histogram { count: count0, sum: sum0, buckets: buckets0 }),
            Reading::Histogram { count, sum, buckets },
        ) => {
            let same = buckets.iter().map(|b| b.0).eq(buckets0.iter().map(|b| b.0));
            let reset = count < *count0 || !same || buckets.iter().zip(buckets0).any(|(b, a)| b.1 < a.1);
            if reset {
                return Change::Histogram { count, sum, buckets, reset };
            }
            let buckets = buckets.iter().zip(buckets0).map(|(b, a)| (b.0, b.1 - a.1)).collect();
            Change::Histogram { count: count - count0, sum: sum - sum0, buckets, reset }
        }
        (_, Reading::Histogram { count, sum, buckets }) => Change::Histogram { count, sum, buckets, reset: false },
    }
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
        assert_eq!(only(&between("", "c 12\n")), &Change::Counter { delta: 12.0, reset: false });
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
                "# TYPE h histogram\nh_bucket{{le=\"0.5\"}} {a}\nh_bucket{{le=\"+Inf\"}} {b}\nh_sum {sum}\nh_count {b}\n"
            )
        };
        let delta = between(&text(3, 4, 2.0), &text(5, 10, 6.5));
        let buckets = vec![(0.5, 2.0), (f64::INFINITY, 6.0)];
        assert_eq!(only(&delta), &Change::Histogram { count: 6.0, sum: 4.5, buckets, reset: false });
        let reset = between(&text(5, 10, 6.5), &text(3, 4, 2.0));
        let buckets = vec![(0.5, 3.0), (f64::INFINITY, 4.0)];
        assert_eq!(only(&reset), &Change::Histogram { count: 4.0, sum: 2.0, buckets, reset: true });
    }

    #[test]
    fn a_summary_is_a_histogram_without_buckets() {
        let text = |n: u32| format!("# TYPE s summary\ns{{quantile=\"0.5\"}} 3\ns_sum {n}\ns_count {n}\n");
        assert_eq!(
            only(&between(&text(2), &text(9))),
            &Change::Histogram { count: 7.0, sum: 7.0, buckets: Vec::new(), reset: false }
        );
    }
}
