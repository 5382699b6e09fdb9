//! The part of the main package's `sample::unwind` that reads files. Invariant: the same paths as there.

#[path = "../../src/sample/unwind/index.rs"]
mod index;
#[path = "../../src/sample/unwind/rules.rs"]
mod rules;
#[path = "../../src/sample/unwind/table.rs"]
mod table;

pub use rules::{Reading, Rule, Rules, Saved};
pub use table::{PAGE, Table, TableRule};
