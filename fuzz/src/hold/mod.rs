//! What must hold of whatever the readers are given, as assertions: one function for each reader, one file for each
//! kind of reader. Invariant: an input that a reader refuses is no fault; a panic, a hang, an allocation by a length
//! that it claims, or a reading that contradicts the input is one.

pub mod grown;
pub mod images;
pub mod latencies;
pub mod link;
pub mod logs;
pub mod metrics;
pub mod presets;
pub mod profiles;
pub mod server;
pub mod settings;
pub mod statements;
pub mod stored;
pub mod workloads;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Takes any input.
pub type Target = fn(&[u8]);

/// A directory in memory, where there is one.
static MEMORY: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a directory for inputs")
});

/// Where files of this process's may lie.
fn memory() -> &'static Path {
    MEMORY.path()
}

/// A file with these bytes, in place of the one of this name before.
fn memory_file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = memory().join(name);
    std::fs::write(&path, bytes).expect("room for the input");
    path
}

/// A text of any bytes.
fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// A reader that gives few bytes at a time, so that every place is a place where a read ends.
fn in_pieces(bytes: &[u8], size: usize) -> impl std::io::BufRead + '_ {
    std::io::BufReader::with_capacity(size.max(1), bytes)
}
