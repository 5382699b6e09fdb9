//! What bounds the throughput at each level, by the operational laws. Invariant: both bounds are from measured times;
//! a level without them has none.

use crate::analyze::cost::demands::{Bound, bounds, demands, unqueued};
use crate::run::Run;

/// The asymptotic bounds of a closed loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Ceiling {
    /// Of each level: m / D of the scarcest resource, by what a query costs there.
    pub bounds: Vec<Bound>,
    /// N / (R + Z): what the clients would reach without any queue, R being the latency at the lowest level and Z the
    /// clients' think time there. `None`: that is not known, or the load is no closed loop.
    pub unqueued: Option<Unqueued>,
}

/// The time between two queries of a client that is taken to be without queues.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unqueued {
    /// The lowest level: number of clients.
    pub level: usize,
    /// Mean latency and think time there, ns.
    pub between: f64,
}

impl Unqueued {
    /// Queries a second that so many clients make at that.
    pub fn throughput(self, clients: usize) -> f64 {
        clients as f64 / self.between * 1e9
    }
}

impl Ceiling {
    /// The bound at a level by its costs.
    pub fn at(&self, level: usize) -> Option<&Bound> {
        self.bounds.iter().find(|bound| bound.level == level)
    }
}

/// The bounds of a run; `None` where no level has one.
pub fn ceiling(run: &Run) -> Option<Ceiling> {
    let bounds = bounds(run, &demands(run));
    let levels = run.levels();
    let lowest = levels.first_key_value().map(|(level, _)| *level);
    let unqueued = lowest.zip(unqueued(run)).map(|(level, between)| Unqueued { level, between });
    (!bounds.is_empty()).then_some(Ceiling { bounds, unqueued })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::build::{run, window};

    #[test]
    fn a_run_without_costs_has_no_ceiling_and_clients_without_queues_scale() {
        assert_eq!(ceiling(&run(vec![window(1, 1, 5, 5_000, None)])), None);
        let unqueued = Unqueued { level: 1, between: 2e6 };
        assert_eq!(unqueued.throughput(4), 2_000.0);
    }
}
