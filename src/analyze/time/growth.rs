//! What grew from the first level to the last: the latency by places, and within it the same work in longer queues
//! apart from more work a query. Invariant: the growths of the places and of the residual sum to the growth of the
//! latency.

use super::places::{HopPlaces, load_places};
use crate::analyze::judge::summary::{mean_latency, per_query};
use crate::run::Run;
use crate::target::{Role, SchedulerDelta};
use crate::wire::Place;
use serde::Serialize;

/// Growth between two levels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Growth {
    /// The first level: number of clients.
    pub from: usize,
    /// The last level: number of clients.
    pub to: usize,
    /// Of the client's mean latency, in ns.
    pub latency: f64,
    /// By place in ns, largest first; empty where the sockets were not followed.
    pub places: Vec<(Place, f64)>,
    /// What the places leave of it, in ns; `None`: not measured at both levels.
    pub rest: Option<f64>,
    /// Of the CPU that all watched processes took for a query, in ns: more work (or less) a query. `None`: not
    /// measured.
    pub work: Option<f64>,
}

impl Growth {
    /// Longer queues: what of the latency's growth is not more work a query. A query waits for other queries' work,
    /// so all growth beyond its own work is waiting.
    pub fn waiting(&self) -> Option<f64> {
        Some(self.latency - self.work?)
    }
}

/// `None` where there are not two levels, or the latency is not known at both.
pub fn growth(run: &Run, hops: &[HopPlaces]) -> Option<Growth> {
    let levels = run.levels();
    let ((from, first), (to, last)) = (levels.first_key_value()?, levels.last_key_value()?);
    (from != to).then_some(())?;
    let total = mean_latency(last)? - mean_latency(first)?;
    let ends = load_places(hops).and_then(|hop| Some((hop.levels.get(from)?, hop.levels.get(to)?)));
    let mut places: Vec<(Place, f64)> = Vec::new();
    for place in Place::EVERY.into_iter().filter(|place| *place != Place::Client) {
        let mean = |level: &super::places::LevelPlaces| level.share(place)?.mean;
        places.extend(ends.and_then(|(first, last)| Some((place, mean(last)? - mean(first)?))));
    }
    places.sort_by(|a, b| b.1.total_cmp(&a.1));
    let rest = ends.and_then(|(first, last)| Some(last.rest()? - first.rest()?));
    let watched = [Role::Target, Role::Generator, Role::Other];
    // Of those that were read: what nobody watches is no part of it.
    let all = |s: &SchedulerDelta| s.cpu(Role::Target).map(|_| watched.iter().filter_map(|role| s.cpu(*role)).sum());
    let work = |windows| per_query(windows, all);
    Some(Growth {
        from: *from,
        to: *to,
        latency: total,
        places,
        rest,
        work: work(last).zip(work(first)).map(|(last, first)| last - first),
    })
}
