//! What a server does of a query itself, by the sockets alone: from reading it to asking the database, and from the
//! database's answer to its own. Invariant: told only where one query is under way at a time and makes one request,
//! so that there is no doubt whose request it is.

use crate::run::Window;
use crate::wire::Place;
use serde::Serialize;

/// Of the sampled queries, how many must have made exactly one request, and the fewest to tell a mean of.
const MOST_OF: f64 = 0.9;
const FEWEST: usize = 100;

/// A part of the time that a query is in the server's hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Until it sends its request to the database.
    Before,
    /// Until it has read the answer.
    Behind,
    /// Until it sends its own.
    After,
}

/// Means over the sampled queries, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OwnWork {
    /// From reading the query to sending the request.
    pub before: f64,
    /// From sending the request to reading its answer.
    pub behind: f64,
    /// From reading that answer to sending the query's.
    pub after: f64,
    /// How many queries these are the means of.
    pub queries: usize,
}

impl OwnWork {
    /// ns of each phase, in their order.
    pub fn phases(&self) -> [(Phase, f64); 3] {
        [(Phase::Before, self.before), (Phase::Behind, self.behind), (Phase::After, self.after)]
    }
}

/// Over a level's windows; `None` where queries overlap, make more or fewer requests, or were not sampled.
pub(super) fn own_work(windows: &[&Window]) -> Option<OwnWork> {
    let (mut before, mut behind, mut after, mut found, mut all) = (0.0, 0.0, 0.0, 0, 0);
    for window in windows {
        let hop = window.wire.as_ref()?.load()?;
        let sample = hop.sample.as_ref().filter(|_| hop.connections == 1)?;
        all += sample.queries.len();
        for query in &sample.queries {
            let Some((asked, server)) = query.behind.zip(query.spent_in(Place::Server)) else { continue };
            before += f64::from(asked.before);
            after += f64::from(asked.after);
            behind += f64::from(server) - f64::from(asked.before) - f64::from(asked.after);
            found += 1;
        }
    }
    let enough = found >= FEWEST && found as f64 >= MOST_OF * all as f64;
    let mean = |sum: f64| sum / found as f64;
    enough.then(|| OwnWork { before: mean(before), behind: mean(behind), after: mean(after), queries: found })
}
