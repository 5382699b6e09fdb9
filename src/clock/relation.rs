//! How the clock of another host relates to this one's. Invariant: a relation holds within its bound for every instant
//! between the readings that it rests on, as long as the two clocks run apart steadily: what the other clock read lies
//! between asking and answer, so half a round trip bounds the error of each reading (Cristian, Probabilistic clock
//! synchronization, 1989; RFC 5905 section 8 uses the same quantities).

use super::{Nanos, Span};
use serde::{Deserialize, Serialize};

/// Readings that are kept: at five a second the last half hour.
const KEPT: usize = 9_000;
/// Two clocks of computers run apart by less than this share of the time (RFC 5905: 500 ppm).
const MOST_DRIFT: f64 = 500e-6;
/// Readings so long before and after an interval count for it, in ns.
const AROUND: u64 = 3_000_000_000;

/// The other clock, read once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// When it was asked for, by this host's clock.
    pub asked: Nanos,
    /// What the other clock read.
    pub there: Nanos,
    /// When the answer was here, by this host's clock.
    pub answered: Nanos,
}

impl ClockReading {
    fn round_trip(&self) -> u64 {
        self.answered.saturating_sub(self.asked)
    }

    fn here(&self) -> Nanos {
        self.asked + self.round_trip() / 2
    }

    fn offset(&self) -> i64 {
        self.there.wrapping_sub(self.here()) as i64
    }
}

/// The readings so far, in the order of time.
#[derive(Clone, Debug, Default)]
pub struct Clocks(std::collections::VecDeque<ClockReading>);

/// How two clocks relate around an instant. Stored with each window that it was needed for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClockRelation {
    /// The instant, by this host's clock.
    pub at: Nanos,
    /// ns that the other clock is ahead at that instant.
    pub offset: i64,
    /// ns a ns by which it gains.
    pub drift: f64,
    /// ns that `offset` can be wrong by.
    pub bound: u64,
    /// The shortest round trip of a reading, in ns.
    pub round_trip: u64,
    /// Readings that it was found among.
    pub readings: usize,
}

impl Clocks {
    /// Adds a reading; one whose answer comes before its question is none.
    pub fn add(&mut self, reading: ClockReading) {
        if reading.answered < reading.asked {
            return;
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(reading);
    }

    /// The relation within an interval of this host's clock; `None`: the other clock was not read around it.
    pub fn within(&self, span: Span) -> Option<ClockRelation> {
        let near = span.start.saturating_sub(AROUND)..span.end.saturating_add(AROUND);
        let readings: Vec<&ClockReading> = self.0.iter().filter(|reading| near.contains(&reading.here())).collect();
        let quickest = |from: usize, to: usize| readings[from..to].iter().min_by_key(|reading| reading.round_trip());
        let third = readings.len().div_ceil(3);
        let best = quickest(0, readings.len())?;
        let (at, count) = (span.midpoint(), readings.len());
        let farthest = best.here().abs_diff(span.start).max(best.here().abs_diff(span.end));
        let level = ClockRelation {
            at,
            offset: best.offset(),
            drift: 0.0,
            bound: best.round_trip().div_ceil(2) + (farthest as f64 * MOST_DRIFT).ceil() as u64,
            round_trip: best.round_trip(),
            readings: count,
        };
        let (first, last) = (quickest(0, third)?, quickest(count - third, count)?);
        let apart = last.here().saturating_sub(first.here());
        if apart == 0 {
            return Some(level);
        }
        let drift = (last.offset() - first.offset()) as f64 / apart as f64;
        let offset = first.offset() + ((at as f64 - first.here() as f64) * drift).round() as i64;
        // Of a line through two points each has its weight in what lies between and beyond them.
        let error = |instant: Nanos| {
            let weight = (instant as f64 - first.here() as f64) / apart as f64;
            (1.0 - weight).abs() * first.round_trip() as f64 / 2.0 + weight.abs() * last.round_trip() as f64 / 2.0
        };
        let bound = error(span.start).max(error(span.end)).ceil() as u64;
        let sloped = ClockRelation { offset, drift, bound, ..level };
        Some(if sloped.bound < level.bound { sloped } else { level })
    }
}

impl ClockRelation {
    fn offset_at(&self, here: Nanos) -> i64 {
        self.offset + ((here as f64 - self.at as f64) * self.drift).round() as i64
    }

    /// An instant of this host's clock by the other one.
    pub fn there(&self, here: Nanos) -> Nanos {
        here.wrapping_add_signed(self.offset_at(here))
    }

    /// An instant of the other clock by this host's.
    pub fn here(&self, there: Nanos) -> Nanos {
        let since = there.wrapping_add_signed(-self.offset).wrapping_sub(self.at) as i64;
        self.at.wrapping_add_signed((since as f64 / (1.0 + self.drift)).round() as i64)
    }

    /// An interval of the other clock by this host's.
    pub fn span_here(&self, there: Span) -> Span {
        Span::new(self.here(there.start), self.here(there.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const HOUR: u64 = 3_600 * SECOND;

    /// Five readings a second for 20 s of a clock that is ahead and gains: each way takes 100 us at least, and more by
    /// chance, mostly on the way back.
    fn read(ahead: i64, gain: f64) -> (Clocks, impl Fn(Nanos) -> Nanos) {
        let there = move |here: Nanos| here.wrapping_add_signed(ahead + (here as f64 * gain) as i64);
        let (mut clocks, mut random) = (Clocks::default(), 12_345_u64);
        let mut delay = |most: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            100_000 + (random >> 33) % most
        };
        for at in (0..100).map(|n| HOUR + n * SECOND / 5) {
            let (way, back) = (delay(100_000), delay(900_000));
            clocks.add(ClockReading { asked: at, there: there(at + way), answered: at + way + back });
        }
        (clocks, there)
    }

    #[test]
    fn a_clock_that_is_an_hour_off_and_gains_200_ppm_is_known_within_the_bound() {
        for (ahead, gain) in [(0, 0.0), (HOUR as i64, 200e-6), (-(HOUR as i64) / 2, -200e-6), (-17, 400e-6)] {
            let (clocks, there) = read(ahead, gain);
            let window = Span::new(HOUR + 5 * SECOND, HOUR + 15 * SECOND);
            let relation = clocks.within(window).unwrap();
            assert!(relation.bound < 700_000, "half a round trip and a little: {relation:?}");
            for here in [window.start, window.midpoint(), window.end] {
                let found = relation.there(here);
                assert!(found.abs_diff(there(here)) <= relation.bound, "{relation:?} at {here}");
                assert!(relation.here(found).abs_diff(here) <= 2, "there and back");
            }
            let span = relation.span_here(Span::new(there(window.start), there(window.end)));
            let apart = span.nanos().abs_diff(window.nanos());
            assert!(apart <= 2 * relation.bound, "{apart} ns longer or shorter");
        }
    }

    #[test]
    fn without_readings_around_an_interval_there_is_no_relation_and_one_reading_has_a_wide_bound() {
        let mut clocks = Clocks::default();
        assert_eq!(clocks.within(Span::new(0, SECOND)), None);
        clocks.add(ClockReading { asked: 10 * SECOND, there: 5, answered: 10 * SECOND + 1_000 });
        clocks.add(ClockReading { asked: 10 * SECOND, there: 5, answered: 9 * SECOND });
        assert_eq!(clocks.within(Span::new(0, SECOND)), None, "too long ago");
        let relation = clocks.within(Span::new(8 * SECOND, 12 * SECOND)).unwrap();
        assert_eq!(relation.readings, 1);
        assert!((1_000_000..1_100_000).contains(&relation.bound), "two seconds of unknown drift: {relation:?}");
    }
}
