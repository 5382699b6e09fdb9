//! Where the recordings of a real server are. Invariant: tests are skipped with the reason where they are absent.

use std::path::{Path, PathBuf};

/// The recordings, beside the repository or where `WIREPROF_RECORDED` says.
pub fn recorded() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/recorded/environmentd");
    let path = std::env::var_os("WIREPROF_RECORDED").map_or_else(beside, PathBuf::from);
    if !path.is_dir() {
        eprintln!("skipped: no recordings at {} (set WIREPROF_RECORDED)", path.display());
        return None;
    }
    Some(path)
}
