//! Addresses to frames, with inlines. Invariant: nothing here fails: an address without a name becomes a frame that
//! carries its module and its reason, and a damaged file costs its own frames only.
//!
//! ```text
//! locate   the file that runs, not the one that has its path    -> bytes
//! debug_files   what belongs to it: debug file, dwz, dwp, dwo   -> bytes
//! source   those bytes with their sections                      -> Source
//! unpack   compressed sections, unpacked once
//! table    ELF symbols and PLT stubs, sorted                    -> outermost names
//! extents  where functions without a symbol begin
//! units    which unit has which addresses                       -> the order of look-ups
//! dwarf    lazily parsed units                                  -> inlined names
//! crates   which folder of sources is which crate               -> paths of bare Rust names
//! scopes   namespaces and types around a C++ function
//! packages which package has the names of a stripped file      -> remedies
//! image    one file: table and DWARF joined, in parallel
//! answers  what was resolved of a file before, on disk
//! kernel   /proc/kallsyms
//! ```

mod answers;
mod convert;
mod crates;
mod debug_files;
mod dwarf;
mod extents;
mod followed;
mod generated;
mod image;
mod kernel;
mod locate;
mod map;
mod name;
mod off_cpu;
mod packages;
mod scopes;
mod source;
mod stubs;
mod symbolizer;
mod table;
mod texts;
mod units;
mod unpack;

pub use answers::Cache;
pub use convert::{Missed, SymbolReport, to_profile};
pub use followed::{CarriedStack, carried_stacks};
pub use kernel::hidden_kernel_names;
pub use name::demangle;
pub use off_cpu::off_cpu_profile;
pub use packages::remedy as symbols_remedy;
pub use symbolizer::{DebugFiles, Options, Symbol, Symbolizer, Symbols};
