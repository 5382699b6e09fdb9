//! The stored run: one directory of standard formats, written atomically, readable up to its last whole window.

mod model;

pub use model::*;
