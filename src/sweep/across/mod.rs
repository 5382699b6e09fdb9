//! A measurement whose load and target are on two hosts: this host drives the load, and wireprof on the target's host
//! observes. Invariant: an instant of a stored window is of the target host's clock; what this host measured is brought
//! there by a relation of the clocks whose bound is stored with it, and is cut to the same window.

mod also;
mod also_serve;
mod capture;
mod elsewhere;
mod join;
mod order;
mod serve;
mod target_host;

pub use also::{AlsoHost, AlsoRequest, AlsoWindow, begin_all, cut_all, end_all, stop_all};
pub use capture::{capture, record};
pub use join::add_client_end;
pub use order::with_password;
pub use serve::serve;
pub use target_host::{TargetHost, prepare_across};

use crate::clock::Span;
use crate::remote::{LinkOptions, Refused};
use crate::run::{Target, WindowId};
use crate::target::Host;
use also::{AlsoAsk, AlsoTell};
use order::Order;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The other host, as the user asks for it.
#[derive(Clone, Debug)]
pub struct Across {
    /// How it is reached.
    pub link: LinkOptions,
    /// Take the copy of wireprof away from there at the end.
    pub clean: bool,
}

/// What the host of the load asks for.
#[derive(Serialize, Deserialize)]
enum Ask {
    /// Once, at first: open the instruments, set the server up.
    Prepare(Box<Order>),
    /// Of a host whose process is sampled besides, and nothing else asked.
    Also(AlsoAsk),
    /// A window, under a load that runs already.
    Window {
        id: WindowId,
        /// The client's ends of the load's connections; `None`: not known.
        ends: Option<BTreeSet<u32>>,
    },
    /// How many clients the server has now.
    Clients,
    /// The window under way is given up.
    Abandon,
    /// No further window; `restore`: put back what the preset set.
    End { restore: bool },
}

/// What the target's host tells.
#[derive(Serialize, Deserialize)]
enum Tell {
    /// Something that takes time.
    Preparing(String),
    /// The answers to [`Ask::Also`].
    Also(AlsoTell),
    /// Something worth keeping on the screen.
    Noted(String),
    /// The instruments are open, and the server is in its state.
    Prepared(Box<Found>),
    /// Clients of somebody else's load; `None`: not ours to tell, or none is there.
    Clients(Option<usize>),
    /// The window begins: the sockets are followed from now on.
    Begun,
    /// The sockets were followed until now.
    Followed,
    /// The window is over, and the load goes on while carriers are followed.
    Following,
    /// The load may end. The window, and the interval in which the sockets were followed, by the clock there.
    Released { window: Span, sockets: Option<Span> },
    /// A file of the window, which the payload holds.
    File(String),
    /// All files were sent; what is to be noted of the run by now.
    Window { notes: Vec<String> },
    /// All is put back that was to be.
    Ended,
    /// What was asked for could not be opened, or not be put back.
    Refused(Refused),
    /// The window was given up; another one may be asked for.
    GivenUp(Refused),
}

/// What was found there before the first window.
#[derive(Serialize, Deserialize)]
struct Found {
    target: Target,
    host: Host,
    changes: Vec<String>,
    notes: Vec<String>,
    /// As [`Tell::Clients`].
    clients: Option<usize>,
}
