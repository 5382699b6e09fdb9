//! wireprof on another host: the user's own ssh starts it there, and the two talk over its standard input and output,
//! as rsync does. Invariant: ssh never asks anybody anything (it fails instead), nothing is left running there when the
//! link is gone, and no instant of one host is compared with one of the other but through a
//! [`ClockRelation`](crate::clock::ClockRelation), which has a bound.

mod frame;
mod host;
mod link;
mod program;
mod served;

pub use frame::{Frame, read_frame, write_frame};
pub use host::{BadHost, Host};
pub use link::{Link, LinkOptions};
pub use program::{LOAD_VERB, VERB, own_name};
pub use served::Served;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::thread;

/// Why the link cannot be served.
const NO_THREAD: &str = "the system gives no thread for the link to the other host";

/// A thread that lives as long as what it reads.
fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<()> {
    thread::Builder::new().spawn(work).map(drop).context(NO_THREAD)
}

/// What goes over the link in either direction: readings of the clock, which the link itself asks for and answers, and
/// what it is there for.
#[derive(Serialize, Deserialize)]
enum Envelope<M> {
    /// Asked at this instant of the asker's clock.
    Clock(u64),
    /// The answer: when it was asked, and what the answerer's clock read.
    Told(u64, u64),
    /// A message; what belongs to it may follow as the frame's payload.
    Message(M),
}

/// What the other side could not do. Its exit code is the one that this side ends with.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// In words, with the remedy.
    pub message: String,
    /// As the process there would have ended with.
    pub code: u8,
}
