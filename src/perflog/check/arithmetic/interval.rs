//! What a written number can have been before it was rounded. Invariant: `low <= high`.

/// The values that one written number stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// What floating-point arithmetic may be off by.
const ROUNDING: f64 = 1e-9;

impl Interval {
    pub fn new(one: f64, other: f64) -> Interval {
        Interval { low: one.min(other), high: one.max(other) }
    }

    pub fn exact(value: f64) -> Interval {
        Interval { low: value, high: value }
    }

    pub fn middle(self) -> f64 {
        0.5 * (self.low + self.high)
    }

    pub fn plus(self, other: Interval) -> Interval {
        Interval::new(self.low + other.low, self.high + other.high)
    }

    pub fn minus(self, other: Interval) -> Interval {
        Interval::new(self.low - other.high, self.high - other.low)
    }

    pub fn times(self, other: Interval) -> Interval {
        let products = [self.low * other.low, self.low * other.high, self.high * other.low, self.high * other.high];
        let low = products.iter().copied().fold(f64::INFINITY, f64::min);
        Interval::new(low, products.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }

    /// `None` where the divisor may be 0.
    pub fn over(self, other: Interval) -> Option<Interval> {
        let divisible = other.low > 0.0 || other.high < 0.0;
        divisible.then(|| self.times(Interval::new(1.0 / other.low, 1.0 / other.high)))
    }

    pub fn scaled(self, factor: f64) -> Interval {
        Interval::new(self.low * factor, self.high * factor)
    }

    pub fn shifted(self, by: f64) -> Interval {
        Interval { low: self.low + by, high: self.high + by }
    }

    /// Both ends farther out by a share of the size.
    pub fn widened(self, share: f64) -> Interval {
        Interval { low: self.low - share * self.low.abs(), high: self.high + share * self.high.abs() }
    }

    /// Without sign.
    pub fn size(self) -> Interval {
        match (self.low < 0.0, self.high < 0.0) {
            (true, true) => Interval::new(-self.high, -self.low),
            (true, false) => Interval::new(0.0, self.high.max(-self.low)),
            _ => self,
        }
    }

    /// Whether one value can be in both.
    pub fn meets(self, other: Interval) -> bool {
        let slack = ROUNDING * self.size().high.max(other.size().high);
        self.low <= other.high + slack && other.low <= self.high + slack
    }

    /// Whether all of it lies above all of the other.
    pub fn above(self, other: Interval) -> bool {
        self.low > other.high && !self.meets(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_those_that_any_values_inside_can_reach() {
        let (a, b) = (Interval::new(2.0, 3.0), Interval::new(-1.0, 4.0));
        assert_eq!(a.plus(b), Interval::new(1.0, 7.0));
        assert_eq!(a.minus(b), Interval::new(-2.0, 4.0));
        assert_eq!(a.times(b), Interval::new(-3.0, 12.0));
        assert_eq!((a.over(b), b.over(a)), (None, Some(Interval::new(-0.5, 2.0))));
        assert_eq!((b.size(), Interval::new(-3.0, -2.0).size()), (Interval::new(0.0, 4.0), a));
        assert!(a.meets(Interval::exact(3.0)) && !a.meets(Interval::exact(3.01)) && Interval::exact(4.5).above(a));
        assert!((a.widened(0.1).low - 1.8).abs() < 1e-9 && (a.shifted(1.0).middle() - 3.5).abs() < 1e-9);
    }
}
