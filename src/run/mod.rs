//! The stored run: one directory of standard formats, written atomically, readable up to its last whole window.

mod beside;
mod model;
mod observer;
mod part;
pub mod pprof;
mod store;

pub use model::*;
pub use observer::{Instrument, InstrumentPairs, ObservedPair, ObservedWindow, ObserverWindows};
pub use part::Part;
pub use store::{Expositions, Parts, RUNNING, RunWriter, Store};
