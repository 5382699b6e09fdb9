//! What observing costs, from pairs of windows. Invariant: a cost is the mean of the differences within pairs, never
//! a difference of means over windows that the machine's drift has come between; its interval is Student's over the
//! pairs (Student 1908, the paired test), and there is none for fewer than two.

use crate::analyze::statistics::interval::mean;
use crate::run::{Instrument, ObservedPair, ObservedWindow, ObserverWindows};

/// What one instrument costs.
#[derive(Clone, Debug, PartialEq)]
pub struct ObserverCost {
    /// What was switched on in one window of each pair.
    pub instrument: Instrument,
    /// Number of pairs of windows.
    pub pairs: usize,
    /// Number of scrapes in all windows with the instrument.
    pub scrapes: u64,
    /// CPU of the target; `None` without a pair.
    pub target: Option<PairedCost>,
    /// CPU of all processes watched (the target, what stands behind it, the generator, wireprof itself);
    /// `None` without a pair.
    pub watched: Option<PairedCost>,
    /// Why there are no pairs, or no more.
    pub missing: Option<String>,
}

/// CPU per query without an instrument, and what comes with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedCost {
    /// ns per query: mean over the windows without.
    pub without: f64,
    /// ns per query: mean of the differences within pairs.
    pub difference: f64,
    /// 95 % interval of `difference`; `None` for fewer than two pairs.
    pub interval: Option<(f64, f64)>,
}

impl PairedCost {
    /// A part of `without`, in percent; the interval is the difference's own, since `without` is known much better.
    pub fn percent(&self, nanos: f64) -> f64 {
        100.0 * nanos / self.without
    }
}

/// The costs in the order that the instruments were measured.
pub fn observer_costs(windows: &ObserverWindows) -> Vec<ObserverCost> {
    let cost = |found: &crate::run::InstrumentPairs| ObserverCost {
        instrument: found.instrument,
        pairs: found.pairs.len(),
        scrapes: found.pairs.iter().map(|pair| pair.with.scrapes).sum(),
        target: paired(&found.pairs, |window| window.target_cpu),
        watched: paired(&found.pairs, |window| window.watched_cpu),
        missing: found.missing.as_ref().map(|missing| missing.why.clone()),
    };
    windows.instruments.iter().map(cost).collect()
}

fn paired(pairs: &[ObservedPair], cpu: fn(&ObservedWindow) -> u64) -> Option<PairedCost> {
    let each = |window: &ObservedWindow| cpu(window) as f64 / window.queries as f64;
    let without: Vec<f64> = pairs.iter().map(|pair| each(&pair.without)).collect();
    let differences: Vec<f64> = pairs.iter().map(|pair| each(&pair.with) - each(&pair.without)).collect();
    let (difference, interval) = mean(&differences)?;
    Some(PairedCost { without: mean(&without)?.0, difference, interval })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::InstrumentPairs;

    fn window(queries: u64, each: u64) -> ObservedWindow {
        ObservedWindow { queries, target_cpu: queries * each, watched_cpu: queries * (each + 50), scrapes: 0 }
    }

    fn costs(pairs: &[(u64, u64)]) -> ObserverCost {
        let pair = |(at, (without, with)): (usize, &(u64, u64))| ObservedPair {
            // The machine gets slower and slower, and answers other numbers of queries.
            without: window(100 + at as u64, *without),
            with: window(90 + at as u64, *with),
        };
        let pairs = pairs.iter().enumerate().map(pair).collect();
        let instruments = vec![InstrumentPairs { instrument: Instrument::Wire, pairs, missing: None }];
        let all = ObserverWindows { level: 4, window_seconds: 0.4, frequency: None, scrape_seconds: None, instruments };
        observer_costs(&all).remove(0)
    }

    #[test]
    fn what_drifts_between_pairs_is_in_no_interval() {
        let found = costs(&[(1000, 1009), (2000, 2010), (3000, 3011)]);
        let target = found.target.unwrap();
        assert_eq!((found.pairs, target.without, target.difference), (3, 2000.0, 10.0));
        let (low, high) = target.interval.unwrap();
        // t(2) = 4.3027, standard deviation 1, three pairs.
        let half = 4.302_652_73 / 3f64.sqrt();
        assert!((low - (10.0 - half)).abs() < 1e-6 && (high - (10.0 + half)).abs() < 1e-6, "{low} {high}");
        assert_eq!(target.percent(target.difference), 0.5);
        assert_eq!(found.watched.unwrap().without, 2050.0);
    }

    #[test]
    fn one_pair_has_no_interval_and_none_no_cost() {
        assert_eq!(costs(&[(1000, 1010)]).target.unwrap().interval, None);
        assert_eq!(costs(&[]).target, None);
    }
}
