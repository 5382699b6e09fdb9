//! The part of the main package's `sample` that needs no kernel. Invariant: the same paths as there.

#[path = "../../src/sample/off_cpu.rs"]
mod off_cpu;
#[path = "../../src/sample/raw.rs"]
mod raw;
#[path = "unwind.rs"]
pub mod unwind;

pub use off_cpu::*;
pub use raw::*;
