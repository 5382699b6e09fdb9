//! The stored run: one directory of standard formats, written atomically, readable up to its last whole window.

#[cfg(test)]
#[path = "../../tests/it/build/mod.rs"]
#[allow(missing_docs, reason = "it is of the tests")]
pub mod build;
mod companions;
mod goal;
mod hands;
mod id;
mod model;
mod observer;
mod part;
pub mod pprof;
mod prune;
mod read;
mod reference;
mod scrapes;
mod store;
mod told;
mod unread;
mod unseen;
mod verdict;
mod window_file;

pub use companions::{CompanionHost, CpuAccount, ServerProfile, ThreadAccount};
pub use goal::PrecisionGoal;
pub use hands::{AtSockets, Hands, HandsFacts};
pub use id::{Reserved, run_id};
pub use model::*;
pub use observer::{Instrument, InstrumentPairs, ObservedPair, ObservedWindow, ObserverWindows};
pub use part::Part;
pub use prune::{Kept, Removed, Rest};
pub use reference::{Resolved, name, name_of_part};
pub use store::{COMPLETE, Expositions, Parts, RUNNING, RunWriter, Store};
pub use unread::{Unread, Unreadable, unread_told};
pub use verdict::StoredVerdict;
pub use window_file::{WindowFile, window_files};
