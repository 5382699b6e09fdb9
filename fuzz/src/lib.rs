//! What the fuzz targets share: wireprof's rooms that read foreign files, compiled from the main package's sources,
//! and what must hold of any file. Invariant: nothing of the main package is changed or copied here.

#![allow(dead_code, unused_imports)]

#[path = "../../src/cachedir.rs"]
pub mod cachedir;
#[path = "../../src/clock.rs"]
pub mod clock;
#[path = "../../src/elf/mod.rs"]
pub mod elf;
pub mod feed;
pub mod hold;
#[path = "../../src/mapped.rs"]
pub mod mapped;
#[path = "../../src/profile/mod.rs"]
pub mod profile;
pub mod sample;
#[path = "../../src/symbol/mod.rs"]
pub mod symbol;
#[path = "../../src/sample/unwind/template.rs"]
pub mod template;
