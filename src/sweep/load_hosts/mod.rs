//! A load that other hosts drive: wireprof runs itself on each of them over ssh, and conducts here. Invariant: clients
//! are divided evenly and each query is counted on one host; the window is cut on each by its own clock, through a
//! relation whose bound is stored; and whatever ends a window ends its load on all of them.

mod driver;
mod ends;
mod hosts;
mod order;
mod serve;

pub use hosts::LoadHosts;
pub use serve::serve_load;

use crate::clock::Span;
use crate::load::{HostCpus, LoadTrace};
use crate::remote::{LinkOptions, Refused};
use crate::target::Host;
use crate::wire::WireDelta;
use order::LoadOrder;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The hosts, as the user asks for them.
#[derive(Clone, Debug)]
pub struct LoadHostsAsked {
    /// How each is reached, in the order in which clients are divided over them.
    pub links: Vec<LinkOptions>,
    /// Take the copies of wireprof away from there at the end.
    pub clean: bool,
}

/// What the conductor asks of a load host.
#[derive(Serialize, Deserialize)]
enum Ask {
    /// Once, at first.
    Prepare(Box<LoadOrder>),
    /// Open the connections of a window: `clients` of the `of` that all hosts have.
    Open { clients: usize, of: usize },
    /// Begin the load with its warm-up.
    Start,
    /// The sockets are followed from now on, or were followed until now.
    Followed { begins: bool },
    /// End the load. The window, and the interval in which the sockets were followed, by the clock there.
    Stop { window: Span, sockets: Option<Span> },
    /// The window under way is given up.
    Abandon,
}

/// What a load host tells.
#[derive(Serialize, Deserialize)]
enum Tell {
    /// What it is; why the client's end of connections is not followed there, if it is not.
    Prepared { host: Box<Host>, blind: Option<String> },
    /// The connections are open: their ends.
    Opened { ends: Option<BTreeSet<u32>> },
    /// The warm-up is over, and the number of load threads found.
    Warm,
    /// Queries completed and errors so far, and why the load cannot go on.
    Progress { completed: u64, errors: u64, failed: Option<String> },
    /// Its part of the window; the payload is the log of its latencies.
    Part(Box<Part>),
    /// What was asked for could not be done.
    Refused(Refused),
}

/// What a host did in a window.
#[derive(Serialize, Deserialize)]
struct Part {
    load: LoadTrace,
    /// The client's end of its connections; `None`: not followed, or the reading failed.
    ends: Option<WireDelta>,
    cpus: Option<HostCpus>,
}
