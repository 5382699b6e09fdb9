//! What is seen of a window while it runs, once a second, for whoever looks on. Invariant: nothing of it goes into the
//! run, and where nobody looks on nothing is read.

use super::Sources;
use crate::clock::{self, Nanos, Span};
use crate::load::{Latencies, Load};
use crate::run::WindowId;
use crate::wire::{Place, WireDelta, WireSnapshot};

/// One second of a window under way.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// Level and replicate.
    pub id: WindowId,
    /// Seconds until the window's end.
    pub left: f64,
    /// Queries per second; `None`: neither the load nor the sockets tell.
    pub throughput: Option<f64>,
    /// About the 99th percentile of the latency in ns; `None`: the load does not tell.
    pub p99: Option<u64>,
    /// Where the clients are; `None`: the sockets are not followed.
    pub clients: Option<Whereabouts>,
}

/// Clients by the place of their queries, on average, in the order of [`Place::ALL`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Whereabouts(pub [f64; Place::ALL.len()]);

impl Whereabouts {
    /// Between the load and the server; `None`: no query was seen there.
    pub fn of(wire: &WireDelta) -> Option<Whereabouts> {
        let hop = wire.load().filter(|hop| hop.queries > 0)?;
        Some(Whereabouts(Place::ALL.map(|place| hop.population(place, wire.span))))
    }

    /// Number of clients in these places.
    pub fn within(&self, places: &[Place]) -> f64 {
        places.iter().map(|place| self.0[place.index()]).sum()
    }
}

/// The readings of a second ago.
pub struct Live {
    at: Nanos,
    completed: u64,
    latencies: Option<Latencies>,
    wire: Option<WireSnapshot>,
}

impl Live {
    /// The first readings; `None` where nobody looks on.
    pub fn new(sources: &Sources, load: &dyn Load) -> Option<Live> {
        sources.live.then(|| Live::read(sources, load))
    }

    fn read(sources: &Sources, load: &dyn Load) -> Live {
        let wire = sources.wire.as_ref().and_then(|wire| wire.snapshot().ok());
        Live { at: clock::now(), completed: load.progress().0, latencies: load.latencies(), wire }
    }

    /// What happened since the last look.
    pub fn look(&mut self, sources: &Sources, load: &dyn Load, id: WindowId, end: Nanos) -> Moment {
        let before = std::mem::replace(self, Live::read(sources, load));
        let seconds = Span::new(before.at, self.at.max(before.at + 1)).seconds();
        let both = sources.wire.as_ref().zip(before.wire.as_ref()).zip(self.wire.as_ref());
        let wire =
            both.map(|((wire, then), now)| then.until(now, wire.hops(), wire.sends_seen(), load.ends().as_ref()));
        let own = self.completed.saturating_sub(before.completed);
        let seen = wire.as_ref().and_then(|wire| Some(wire.load()?.queries));
        let queries = if own > 0 { Some(own) } else { seen };
        let p99 = before.latencies.zip(self.latencies.as_ref());
        Moment {
            id,
            left: end.saturating_sub(self.at) as f64 / 1e9,
            throughput: queries.map(|queries| queries as f64 / seconds),
            p99: p99.and_then(|(then, now)| now.quantile_since(&then, 0.99)),
            clients: wire.as_ref().and_then(Whereabouts::of),
        }
    }
}
