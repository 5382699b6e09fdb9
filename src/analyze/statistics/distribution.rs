//! Student's t distribution, and the derivatives of the log gamma function. Invariant: both directions agree: the tail
//! beyond a quantile is the probability that the quantile was asked for.
//!
//! The incomplete beta function, ln gamma and its first derivative are statrs's. Its quantiles are not: see
//! docs/decisions/own-code.md.

use statrs::function::beta::checked_beta_reg;
use statrs::function::gamma::ln_gamma;

/// First derivative of ln gamma, x > 0.
pub use statrs::function::gamma::digamma;

/// Above this Student's t is the normal distribution, to four digits of any quantile that is asked for here.
const NORMAL: f64 = 1e4;

/// Probability that |T| exceeds |t|, with `freedom` degrees of freedom (whole or not).
pub fn two_sided_tail(t: f64, freedom: f64) -> f64 {
    if !t.is_finite() {
        return 0.0;
    }
    let freedom = freedom.min(NORMAL);
    incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5)
}

/// The t that |T| exceeds with this probability, 0 < `probability` < 1: Newton's method on the logarithm of the tail,
/// which is concave, kept within brackets.
pub fn two_sided_quantile(probability: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (0.0, 2.0);
    while two_sided_tail(high, freedom) > probability {
        low = high;
        high *= 2.0;
    }
    let mut t = 0.5 * (low + high);
    for _ in 0..100 {
        let tail = two_sided_tail(t, freedom);
        if tail > probability {
            low = t;
        } else {
            high = t;
        }
        let next = t + tail * (tail / probability).ln() / (2.0 * density(t, freedom.min(NORMAL)));
        let next = if next > low && next < high { next } else { 0.5 * (low + high) };
        if (next - t).abs() <= 1e-10 * next {
            return next;
        }
        t = next;
    }
    t
}

fn density(t: f64, freedom: f64) -> f64 {
    let log = ln_gamma((freedom + 1.0) / 2.0) - ln_gamma(freedom / 2.0) - 0.5 * (freedom * std::f64::consts::PI).ln();
    (log - (freedom + 1.0) / 2.0 * (t * t / freedom).ln_1p()).exp()
}

/// I_x(a, b), regularised.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    checked_beta_reg(a, b, x.clamp(0.0, 1.0)).unwrap_or(f64::NAN)
}

/// Second derivative of ln gamma, x > 0: recurrence to 6, then the asymptotic series (Abramowitz and Stegun 6.4.12).
pub fn trigamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < 6.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    sum + 1.0 / x + square / 2.0 + square / x * (1.0 / 6.0 - square * (1.0 / 30.0 - square / 42.0))
}

/// The x > 0 whose trigamma is `value` > 0 (Smyth 2004, appendix: Newton's method on 1 / trigamma).
pub fn inverse_trigamma(value: f64) -> f64 {
    let mut x = 0.5 + 1.0 / value;
    for _ in 0..50 {
        let found = trigamma(x);
        let slope = (trigamma(x * (1.0 + 1e-6)) - found) / (x * 1e-6);
        let step = found * (1.0 - found / value) / slope;
        x += step;
        if (step / x).abs() < 1e-9 {
            break;
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_agree_with_the_tables() {
        for (freedom, five, one_in_thousand) in [
            (1.0, 12.706, 636.619),
            (2.0, 4.303, 31.599),
            (10.0, 2.228, 4.587),
            (30.0, 2.042, 3.646),
            (120.0, 1.980, 3.373),
        ] {
            assert!((two_sided_quantile(0.05, freedom) - five).abs() < 1e-3, "{freedom}");
            assert!((two_sided_quantile(0.001, freedom) - one_in_thousand).abs() < 1e-3, "{freedom}");
        }
        assert!((two_sided_quantile(0.05, f64::INFINITY) - 1.960).abs() < 1e-3);
    }

    #[test]
    fn the_tail_beyond_a_quantile_is_its_probability() {
        for freedom in [1.0, 2.5, 10.0, 300.0] {
            for probability in [0.9, 0.05, 1e-4, 1e-7] {
                let back = two_sided_tail(two_sided_quantile(probability, freedom), freedom);
                assert!((back / probability - 1.0).abs() < 1e-6, "{freedom} {probability} {back}");
            }
        }
        assert_eq!(two_sided_tail(0.0, 3.0), 1.0);
    }

    #[test]
    fn the_derivatives_of_ln_gamma_have_their_known_values() {
        assert!((digamma(1.0) + 0.577_215_664_9).abs() < 1e-8);
        assert!((trigamma(1.0) - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-7);
        for x in [0.3, 1.0, 7.0, 400.0] {
            assert!((inverse_trigamma(trigamma(x)) / x - 1.0).abs() < 1e-5, "{x}");
        }
    }
}
