//! Costs that were sampled, set against each other. Invariant: an interval is never narrower than the noise of the
//! samples it was counted from, and it rests on the scatter between windows where there is more than one a side.
//!
//! A row's cost a query is its share of all samples times the cost a query of all of them, r = p R, and the two
//! scatter for different reasons, so each has its own variance (delta method):
//! - *R* varies from window to window as a whole; its variance is that between windows, with their few degrees of
//!   freedom;
//! - *p* varies by the luck of sampling, and by more where the frame's own work comes and goes. Within a window the
//!   row's weight y_w of T_w has the variance f c y_w (1 - p) for samples of weight c, and where samples divide the CPU
//!   that is accounted to threads the smaller one of shares of these ([`Cost::known`]); the dispersion f is estimated
//!   for each row by Pearson's statistic over the windows (quasi-likelihood: McCullagh and Nelder 1989, 9.2), and
//!   drawn towards a trend over the rows' counts, f = a + b count, as negative binomial counts have it (Smyth 2004,
//!   Stat. Appl. Genet. Mol. Biol. 3:3; Lund et al. 2012, ibid. 11(5):8). It is never taken as less than 1, and a row
//!   that scatters more than what is so found by a standard deviation of its own estimate stands by itself: drawn to
//!   the trend, such rows gave 7 % of false verdicts for 5 %.

use super::contrast::{Contrast, Mean};
use crate::analyze::statistics::autocorrelation::sum_variance;
use crate::analyze::statistics::distribution::{digamma, inverse_trigamma, trigamma};
use serde::Serialize;

/// Samples of both sides together below which a row is not judged: fewer are too skew for Student's t.
pub const FEWEST: f64 = 20.0;
/// Dispersion assumed where there is one window a side and nothing to estimate it from: twice the noise of sampling.
pub const ASSUMED_DISPERSION: f64 = 2.0;
/// Of a share's luck so much stays at least, whatever the accounts take away: a share also varies with how much each
/// thread runs, which the scatter between windows tells of, and is measured in units of this.
const LEAST_LUCK: f64 = 0.25;
/// Standard deviation, relative, from start to start of a server that is assumed of the cost of all samples there.
pub const ASSUMED_SCATTER: f64 = 0.02;

/// A row's weight over the windows of one side, in the column's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    pub weight: f64,
    /// Sum over samples of the squared weight.
    pub squares: f64,
    /// How much of that is the variance of how many samples fall into the strata whose CPU the kernel accounts: it
    /// plays no part. 0 where weights are as sampled.
    pub known: f64,
    /// Sum over windows of the squared weight over the window's whole weight.
    pub scaled: f64,
}

impl Cost {
    /// Adds a window of the whole weight `total`.
    pub fn add_window(&mut self, weight: f64, (squares, known): (f64, f64), total: f64) {
        self.weight += weight;
        self.squares += squares;
        self.known += known;
        self.scaled += weight * weight / total;
    }

    /// The part of the squares that is luck: that of a share of a known whole is 1 - p of it.
    fn luck(&self, share: f64) -> f64 {
        let free = if self.squares > 0.0 { 1.0 - self.known / self.squares } else { 1.0 };
        free.min(1.0 - share).max(LEAST_LUCK * (1.0 - share))
    }

    /// Samples that the weight is worth.
    pub fn samples(&self) -> f64 {
        if self.squares > 0.0 { self.weight * self.weight / self.squares } else { 0.0 }
    }
}

/// All samples of one side at a level.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    pub queries: f64,
    pub cost: Cost,
    /// (weight, queries) of each window.
    pub windows: Vec<(f64, f64)>,
    /// (weight, queries) by slice of the single window, where samples have times.
    pub slices: Vec<(f64, f64)>,
    /// A window's samples were not counted.
    pub uncounted: bool,
}

impl Totals {
    /// Mean weight of a sample.
    fn quantum(&self) -> f64 {
        self.cost.squares / self.cost.weight.max(f64::MIN_POSITIVE)
    }

    /// R: cost a query of all samples, with the scatter that all rows share.
    fn rate(&self) -> Mean {
        let value = self.cost.weight / self.queries;
        let sampling = (self.cost.squares - self.cost.known).max(0.0) / (self.queries * self.queries);
        let each: Vec<f64> = self.windows.iter().map(|(weight, queries)| weight / queries).collect();
        match Mean::of(&each) {
            Some(mean) => Mean { value, variance: mean.variance.max(sampling), freedom: mean.freedom },
            None => self.rate_of_one(value, sampling),
        }
    }

    fn rate_of_one(&self, value: f64, sampling: f64) -> Mean {
        let residuals: Vec<f64> = self.slices.iter().map(|(weight, queries)| weight - value * queries).collect();
        let (variance, freedom) = match sum_variance(&residuals) {
            Some(sum) => (sum.variance / (self.queries * self.queries), (sum.effective - 1.0).max(1.0)),
            None => (ASSUMED_DISPERSION * sampling, f64::INFINITY),
        };
        Mean { value, variance: variance.max(sampling) + (ASSUMED_SCATTER * value).powi(2), freedom }
    }
}

/// Both sides of a level.
#[derive(Clone, Debug)]
pub struct Sides {
    totals: [Totals; 2],
    rates: [Mean; 2],
}

/// How much more than the luck of sampling the shares scatter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Dispersion {
    /// f of a row with few samples: variance over that of the luck of sampling, without a unit.
    pub base: f64,
    /// By how much f rises with each sample that a row has in a window.
    pub rise: f64,
    /// Degrees of freedom that the trend is worth next to a row's own.
    pub prior: f64,
    /// There was one window a side and nothing to estimate it from.
    pub assumed: bool,
}

impl Sides {
    /// `None` where a side has no samples, or did not count them.
    pub fn of(before: &Totals, after: &Totals) -> Option<Self> {
        let usable = |totals: &Totals| !totals.uncounted && totals.queries > 0.0 && totals.cost.squares > 0.0;
        (usable(before) && usable(after)).then_some(())?;
        Some(Sides { rates: [before.rate(), after.rate()], totals: [before.clone(), after.clone()] })
    }

    /// The difference of all samples together.
    pub fn total(&self) -> Contrast {
        Contrast::welch(self.rates[0], self.rates[1])
    }

    /// The difference of a row; `None` where it has too few samples.
    pub fn contrast(&self, costs: [&Cost; 2], dispersion: &Dispersion) -> Option<Contrast> {
        (costs[0].samples() + costs[1].samples() >= FEWEST).then_some(())?;
        let (factor, freedom) = self.dispersion(costs, dispersion);
        let rate = |side: usize| costs[side].weight / self.totals[side].queries;
        // As if there were no difference, and as it is: the larger one, since a side with few samples or none seems
        // too certain.
        let pooled = (costs[0].weight + costs[1].weight) / (self.totals[0].queries + self.totals[1].queries);
        let all = self.totals[0].cost.weight + self.totals[1].cost.weight;
        let both = Cost {
            weight: costs[0].weight + costs[1].weight,
            squares: costs[0].squares + costs[1].squares,
            known: costs[0].known + costs[1].known,
            scaled: 0.0,
        };
        let (mut equal, mut own, mut shared) = (0.0, 0.0, [0.0; 2]);
        for (side, totals) in self.totals.iter().enumerate() {
            let share = costs[side].weight / totals.cost.weight;
            let queries = totals.queries;
            equal += totals.quantum() * pooled * both.luck(both.weight / all) / queries;
            own += costs[side].squares.max(totals.quantum().powi(2)) * costs[side].luck(share) / (queries * queries);
            shared[side] = share * share * self.rates[side].variance;
        }
        let luck = factor * own.max(equal);
        let variance = luck + shared[0] + shared[1];
        let parts = luck * luck / freedom
            + shared[0] * shared[0] / self.rates[0].freedom
            + shared[1] * shared[1] / self.rates[1].freedom;
        Some(Contrast {
            estimate: rate(1) - rate(0),
            error: variance.sqrt(),
            freedom: (variance * variance / parts).max(1.0),
        })
    }

    /// The row's f and its degrees of freedom.
    fn dispersion(&self, costs: [&Cost; 2], trend: &Dispersion) -> (f64, f64) {
        if trend.assumed {
            return (ASSUMED_DISPERSION, f64::INFINITY);
        }
        let expected = trend.base + trend.rise * self.count(costs);
        let (own, freedom) = self.scatter(costs);
        let both = (trend.prior * expected + freedom * own) / (trend.prior + freedom);
        // A row that scatters more than the trend says does so for a reason of its own (a thread that waits now here,
        // now there).
        let more = own > both.max(1.0) * (1.0 + (2.0 / freedom).sqrt());
        if more { (own, freedom) } else { (both.max(1.0), trend.prior + freedom) }
    }

    /// Samples a window.
    fn count(&self, costs: [&Cost; 2]) -> f64 {
        let windows = self.totals[0].windows.len() + self.totals[1].windows.len();
        (costs[0].samples() + costs[1].samples()) / windows as f64
    }

    /// Pearson's statistic over its degrees of freedom, and those.
    fn scatter(&self, costs: [&Cost; 2]) -> (f64, f64) {
        let (mut sum, mut freedom) = (0.0, 0.0);
        for (cost, totals) in costs.iter().zip(&self.totals) {
            let share = cost.weight / totals.cost.weight;
            if cost.weight > 0.0 && share < 1.0 && totals.windows.len() > 1 {
                let quantum = cost.squares / cost.weight;
                sum += (cost.scaled - share * cost.weight).max(0.0) / (quantum * share * cost.luck(share));
                freedom += totals.windows.len() as f64 - 1.0;
            }
        }
        (if freedom > 0.0 { sum / freedom } else { 1.0 }, freedom)
    }

    /// The trend over rows that have samples enough.
    pub fn fit<'a>(&self, rows: impl Iterator<Item = [&'a Cost; 2]>) -> Dispersion {
        let judged = rows.filter(|costs| costs[0].samples() + costs[1].samples() >= FEWEST);
        let points: Vec<Point> = judged
            .map(|costs| {
                let (scatter, freedom) = self.scatter(costs);
                Point { count: self.count(costs), scatter, freedom }
            })
            .filter(|point| point.freedom > 0.0)
            .collect();
        if points.is_empty() {
            return Dispersion { base: ASSUMED_DISPERSION, rise: 0.0, prior: 0.0, assumed: true };
        }
        let (base, rise) = trend(&points);
        let (prior, level) = prior(&points, base, rise);
        Dispersion { base: base * level, rise: rise * level, prior, assumed: false }
    }
}

/// A row's scatter at its count.
struct Point {
    count: f64,
    scatter: f64,
    freedom: f64,
}

/// Least squares of scatter over count, weighted by the inverse of its variance (2 f^2 / freedom), repeated with the
/// f so found.
fn trend(points: &[Point]) -> (f64, f64) {
    let (mut base, mut rise) = (1.0, 0.0);
    for _ in 0..20 {
        let mut sums = [0.0f64; 5];
        for point in points {
            let weight = point.freedom / (base + rise * point.count).powi(2);
            let terms = [1.0, point.count, point.count * point.count, point.scatter, point.count * point.scatter];
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += weight * term);
        }
        let [one, x, xx, y, xy] = sums;
        let spread = one * xx - x * x;
        rise = if spread > 1e-9 * one * xx { ((one * xy - x * y) / spread).max(0.0) } else { 0.0 };
        base = (y - rise * x) / one;
        if base < 1.0 {
            base = 1.0;
            rise = if xx > 0.0 { ((xy - x) / xx).max(0.0) } else { 0.0 };
        }
    }
    (base, rise)
}

/// Degrees of freedom that the trend is worth, and the factor that it is off by: moments of the logarithms (Smyth
/// 2004, 6.2).
fn prior(points: &[Point], base: f64, rise: f64) -> (f64, f64) {
    let count = points.len() as f64;
    let all: f64 = points.iter().map(|point| point.freedom).sum();
    let logs: Vec<f64> = points
        .iter()
        .map(|point| {
            let ratio = (point.scatter / (base + rise * point.count)).max(1e-3);
            ratio.ln() - digamma(point.freedom / 2.0) + (point.freedom / 2.0).ln()
        })
        .collect();
    let mean = logs.iter().sum::<f64>() / count;
    let luck = points.iter().map(|point| trigamma(point.freedom / 2.0)).sum::<f64>() / count;
    let spread = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0) - luck;
    if spread <= 0.0 || points.len() < 3 {
        return (all, 1.0);
    }
    let half = inverse_trigamma(spread).min(all / 2.0);
    (2.0 * half, (mean + digamma(half) - half.ln()).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    const ROWS: usize = 150;
    const QUERIES: f64 = 30_000.0;

    fn normal(random: &mut StdRng) -> f64 {
        (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
    }

    /// Negative binomial counts (gamma by its normal approximation, Poisson by multiplication or normal): mean and
    /// shape.
    fn count(random: &mut StdRng, mean: f64, overdispersion: f64) -> f64 {
        let mean = (mean * (1.0 + overdispersion.sqrt() * normal(random))).max(0.0);
        if mean > 50.0 {
            return (mean + mean.sqrt() * normal(random)).round().max(0.0);
        }
        let (mut count, mut product, floor) = (0.0, random.random::<f64>(), (-mean).exp());
        while product > floor {
            count += 1.0;
            product *= random.random::<f64>();
        }
        count
    }

    /// `windows` windows of rows between 2 and 600 samples, which share a factor of 2 % a window; row 5 is `grown`
    /// times.
    fn side(random: &mut StdRng, windows: usize, grown: f64) -> (Totals, Vec<Cost>) {
        let (mut totals, mut rows) = (Totals::default(), vec![Cost::default(); ROWS]);
        for _ in 0..windows {
            let shared = 1.0 + 0.02 * normal(random);
            let mean = |row: usize| 2.0 * 1.04f64.powi(row as i32) * if row == 130 { grown } else { 1.0 } * shared;
            let counts: Vec<f64> = (0..ROWS).map(|row| count(random, mean(row), 0.001)).collect();
            let total: f64 = counts.iter().sum();
            rows.iter_mut().zip(&counts).for_each(|(row, count)| row.add_window(*count, (*count, 0.0), total));
            totals.cost.add_window(total, (total, 0.0), total);
            totals.queries += QUERIES;
            totals.windows.push((total, QUERIES));
        }
        (totals, rows)
    }

    /// Rows judged to differ at a false discovery rate of 5 %.
    fn found(random: &mut StdRng, windows: usize, grown: f64) -> Vec<usize> {
        let (before, first) = side(random, windows, 1.0);
        let (after, second) = side(random, windows, grown);
        let sides = Sides::of(&before, &after).unwrap();
        let pairs = || first.iter().zip(&second).map(|(a, b)| [a, b]);
        let dispersion = sides.fit(pairs());
        let p: Vec<Option<f64>> = pairs().map(|costs| Some(sides.contrast(costs, &dispersion)?.p())).collect();
        let cut = crate::analyze::compare::difference::family::false_discovery(0.05, p.iter().flatten().copied());
        (0..ROWS).filter(|&row| p[row].is_some_and(|p| p <= cut)).collect()
    }

    #[test]
    fn equal_overdispersed_windows_hold_the_false_discovery_rate() {
        let mut random = StdRng::seed_from_u64(5);
        for windows in [2, 6] {
            let rounds = 300;
            let wrong = (0..rounds).filter(|_| !found(&mut random, windows, 1.0).is_empty()).count();
            // 5 % of 300 are 15; four standard errors more are 30.
            assert!(wrong <= 30, "{windows} windows a side: {wrong} of {rounds}");
        }
    }

    #[test]
    fn a_row_that_grew_by_a_quarter_is_found_and_seldom_another() {
        let mut random = StdRng::seed_from_u64(6);
        let rounds = 60;
        let all: Vec<Vec<usize>> = (0..rounds).map(|_| found(&mut random, 6, 1.25)).collect();
        let hits = all.iter().filter(|rows| rows.contains(&130)).count();
        let others: usize = all.iter().flatten().filter(|row| **row != 130).count();
        assert!(hits > rounds * 9 / 10, "{hits} of {rounds}");
        assert!(others <= rounds / 5, "{others} false ones in {rounds}");
    }

    #[test]
    fn a_row_of_few_samples_is_not_judged_and_a_vanished_one_is() {
        let mut random = StdRng::seed_from_u64(7);
        let (totals, _) = side(&mut random, 4, 1.0);
        let sides = Sides::of(&totals, &totals).unwrap();
        let of = |samples: f64| Cost { weight: samples, squares: samples, known: 0.0, scaled: 0.0 };
        let none = Dispersion { base: 1.0, rise: 0.0, prior: 1000.0, assumed: false };
        assert_eq!(sides.contrast([&of(15.0), &of(4.0)], &none), None);
        let gone = sides.contrast([&of(200.0), &of(0.0)], &none).unwrap();
        assert!(gone.estimate < 0.0 && gone.p() < 1e-9, "{gone:?} {}", gone.p());
    }

    #[test]
    fn what_accounts_take_away_narrows_a_row_and_never_to_nothing() {
        let (totals, _) = side(&mut StdRng::seed_from_u64(7), 4, 1.0);
        let sides = Sides::of(&totals, &totals).unwrap();
        let steady = Dispersion { base: 1.0, rise: 0.0, prior: 1000.0, assumed: false };
        let error = |known: f64| {
            let cost = Cost { weight: 400.0, squares: 400.0, known, scaled: 0.0 };
            sides.contrast([&cost, &cost], &steady).unwrap().error
        };
        assert!(error(200.0) < 0.8 * error(0.0) && error(400.0) > 0.4 * error(0.0), "{} {}", error(0.0), error(200.0));
        assert_eq!(error(400.0), error(390.0));
    }

    #[test]
    fn one_window_a_side_assumes_its_dispersion_and_is_wider() {
        let mut random = StdRng::seed_from_u64(8);
        let (one, rows) = side(&mut random, 1, 1.0);
        let sides = Sides::of(&one, &one).unwrap();
        let dispersion = sides.fit(rows.iter().map(|row| [row, row]));
        assert!(dispersion.assumed);
        let error = sides.contrast([&rows[140], &rows[140]], &dispersion).unwrap().error;
        let poisson = (2.0 * rows[140].weight).sqrt() / QUERIES;
        assert!(error > 1.4 * poisson, "{error} {poisson}");
    }
}
