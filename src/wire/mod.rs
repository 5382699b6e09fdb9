//! Where each query is, from the kernel's side: programs at the sockets follow every connection from client to server
//! and from server to the database behind, without touching either. Invariant: an instrument that cannot be had costs
//! its own numbers only; nothing is pinned, and what was attached goes with its owner.

mod object;
mod program;
mod sample;
mod shapes;
#[cfg(test)]
mod tests;
mod timeline;
mod uses;

pub use object::{name_words, own_functions};
pub use program::SocketProgram;
pub use sample::{Behind, MOST_A_SECOND, QueryTimeline, Sample};
pub use shapes::{Connection, PLACES, Place, Side, UseTime};
pub use timeline::{Hop, HopDelta, HopSnapshot, Listens, Others, Stay, WireDelta, WireSnapshot};
pub use uses::{Met, Purpose, Untold, UseDelta, UseSoFar};

use anyhow::Result;

/// A source of socket timelines: the kernel's program, or a recording that is replayed in tests.
pub trait WireSource: Send {
    /// The hops that are followed, that of the load first; snapshots have them in the same order.
    fn hops(&self) -> &[Hop];
    /// Sending is seen too.
    fn sends_seen(&self) -> bool;
    /// Begins to follow connections; until this nothing costs anything.
    fn start(&mut self) -> Result<()>;
    /// Where every connection has been until now.
    fn snapshot(&self) -> Result<WireSnapshot>;
    /// Takes whole timelines of some queries from now on, for about so many seconds; how many of them follows from the
    /// rate seen since the start.
    fn take_timelines(&self, seconds: f64) -> Result<()>;
    /// The timelines taken since, by hop, in no order.
    fn timelines(&mut self) -> Vec<Sample>;
    /// Ends it; what was seen is forgotten.
    fn stop(&mut self);
}
