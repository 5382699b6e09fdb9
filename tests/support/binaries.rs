//! Where the programs are that tests start. Invariant: they are of this build.

use std::path::{Path, PathBuf};

/// The program under test.
pub const WIREPROF: &str = env!("CARGO_BIN_EXE_wireprof");

/// The testbed's program, which cargo puts beside wireprof's; a panic with the remedy where it has not been built.
#[allow(dead_code, reason = "the quiet tests start none")]
pub fn testbed_binary() -> PathBuf {
    let path = Path::new(WIREPROF).with_file_name("wireprof-testbed");
    assert!(path.is_file(), "no testbed at {}: build it with `cargo build --workspace`", path.display());
    path
}
