//! What the conductor asks of whatever drives the load. Invariant: connections are opened and authenticated before
//! `start`, and held until `stop`.

use super::{Latencies, LoadTrace, ThreadChoice};
use crate::clock::Span;
use anyhow::Result;
use std::collections::BTreeSet;

/// A source of load: our own loop, the user's dbbench, somebody else's load, or a replayed trace in tests.
pub trait Driver: Send {
    /// `wireprof 0.1.0`, `dbbench ...`
    fn name(&self) -> String;
    /// Clients of the next window where they are not ours to plan; `None`: as planned.
    fn level(&self) -> Option<usize> {
        None
    }
    /// Opens and authenticates `level` connections and runs each statement once to learn its row count.
    fn open(&mut self, level: usize) -> Result<Box<dyn Load>>;
}

/// Load on open connections. Blocking calls; the load itself runs on threads of the driver's own.
pub trait Load: Send {
    /// Lets the connections go; returns at once.
    fn start(&mut self) -> Result<()>;
    /// Thread ids of the threads (or the process id of the child) that drive the load, for CPU accounting.
    fn thread_ids(&self) -> Vec<u32>;
    /// How many load threads there are, where more or fewer may be used; `None`: their number is given, or the load is
    /// not driven by threads of ours.
    fn adjustable(&self) -> Option<usize> {
        None
    }
    /// Goes on with so many load threads, over the same sessions; before `start`, or under load. Their ids are new.
    /// Only where [`Load::adjustable`] tells a number.
    fn use_threads(&mut self, _threads: usize) -> Result<()> {
        Ok(())
    }
    /// Whether the warm-up has found all that it is to find where the load is; asked until it has.
    fn settled(&self) -> bool {
        true
    }
    /// How the number of load threads came about, for [`super::Generator::choice`].
    fn chosen(&mut self, _choice: ThreadChoice) {}
    /// The client's ends of its connections: ports, or inodes of Unix sockets; `None`: it is not known which are its
    /// own.
    fn ends(&self) -> Option<BTreeSet<u32>> {
        None
    }
    /// Queries completed and errors since `start`, for progress; cheap.
    fn progress(&self) -> (u64, u64);
    /// Latencies since `start`, coarsely, for progress; cheap. `None`: the load does not tell.
    fn latencies(&self) -> Option<Latencies> {
        None
    }
    /// Why the load cannot go on (server gone, every connection lost); `None` while it runs.
    fn failed(&self) -> Option<String>;
    /// What this load cannot tell of the window that ends now, and why.
    fn unmeasured(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }
    /// Asks for the sums of a further interval, which goes into [`LoadTrace::at_sockets`] where the load can tell.
    fn count_within(&mut self, _span: Span) {}
    /// The sockets are followed from now on, or (`begins` is false) were followed until now.
    fn sockets_followed(&self, _begins: bool) {}
    /// Stops, closes the connections and reports what fell into `window`.
    fn stop(self: Box<Self>, window: Span) -> Result<LoadTrace>;
}
