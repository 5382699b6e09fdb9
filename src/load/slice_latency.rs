//! The latencies of a slice, kept as the few values that were met. A window of ten minutes has 12,000 slices, and an
//! HdrHistogram of each, whose counts are an array from its lowest value to its highest, would take 25 to 75 KB: up to
//! 900 MB. Invariant: the histogram that is made of it has the counts of the one that it was made from.

use hdrhistogram::Histogram;

/// Latencies in ns, 3 significant digits; 12 bytes for each distinct value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SliceLatency {
    /// The highest value of each bucket that has a count, ascending.
    values: Vec<u64>,
    counts: Vec<u32>,
}

impl SliceLatency {
    /// What a histogram counted.
    pub fn of(histogram: &Histogram<u64>) -> SliceLatency {
        let mut own = SliceLatency::default();
        own.add(histogram);
        own
    }

    /// Adds what a histogram counted.
    pub fn add(&mut self, histogram: &Histogram<u64>) {
        let is_first = self.values.is_empty();
        for value in histogram.iter_recorded() {
            self.values.push(value.value_iterated_to());
            self.counts.push(u32::try_from(value.count_at_value()).unwrap_or(u32::MAX));
        }
        if !is_first {
            *self = std::mem::take(self).in_order();
        }
        self.values.shrink_to_fit();
        self.counts.shrink_to_fit();
    }

    /// In order, each value once.
    fn in_order(self) -> SliceLatency {
        let mut pairs: Vec<(u64, u32)> = self.values.into_iter().zip(self.counts).collect();
        pairs.sort_unstable_by_key(|(value, _)| *value);
        let mut own = SliceLatency::default();
        for (value, count) in pairs {
            match own.values.last() == Some(&value) {
                true => *own.counts.last_mut().expect("a count for each value") += count,
                false => {
                    own.values.push(value);
                    own.counts.push(count);
                }
            }
        }
        own
    }

    /// Whether no query ended in the slice.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Queries.
    pub fn len(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// All of it as a histogram, no larger than its values need.
    pub fn histogram(&self) -> Histogram<u64> {
        let mut histogram = empty_slice_histogram();
        for (value, count) in self.values.iter().zip(&self.counts) {
            histogram.record_n(*value, u64::from(*count)).expect("the histogram grows up to its values");
        }
        histogram
    }

    /// As HdrHistogram's `value_at_quantile`; 0 where it is empty.
    pub fn value_at_quantile(&self, quantile: f64) -> u64 {
        self.histogram().value_at_quantile(quantile)
    }

    /// Bytes that it holds, beside itself.
    pub fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<u64>() + self.counts.capacity() * size_of::<u32>()
    }
}

/// As [`super::empty_histogram`], but it grows with its values.
pub fn empty_slice_histogram() -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1_000, 2_000_000, 3).expect("constant bounds are valid");
    histogram.auto(true);
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_that_was_kept_as_its_values_is_the_same_one_and_takes_little() {
        let mut histogram = empty_slice_histogram();
        for query in 0..500u64 {
            histogram.record(1_000 + query * query * 400).unwrap();
        }
        let kept = SliceLatency::of(&histogram);
        let again = kept.histogram();
        let counts = |of: &Histogram<u64>| -> Vec<(u64, u64)> {
            of.iter_recorded().map(|value| (value.value_iterated_to(), value.count_at_value())).collect()
        };
        assert_eq!(counts(&again), counts(&histogram));
        for quantile in [0.0, 0.5, 0.99, 1.0] {
            assert_eq!(kept.value_at_quantile(quantile), histogram.value_at_quantile(quantile));
        }
        assert_eq!((kept.len(), SliceLatency::default().value_at_quantile(0.99)), (500, 0));
        assert!(kept.bytes() <= 500 * 12, "{} bytes", kept.bytes());
        assert!(histogram.distinct_values() * 8 > 10 * kept.bytes(), "{} counts", histogram.distinct_values());
    }

    #[test]
    fn what_is_added_in_parts_is_the_sum() {
        let of = |values: &[u64]| {
            let mut histogram = empty_slice_histogram();
            values.iter().for_each(|value| histogram.record(*value).unwrap());
            histogram
        };
        let mut parts = SliceLatency::of(&of(&[5_000, 900_000]));
        parts.add(&of(&[2_000, 900_000, 70_000_000]));
        assert_eq!(parts, SliceLatency::of(&of(&[2_000, 5_000, 900_000, 900_000, 70_000_000])));
    }
}
