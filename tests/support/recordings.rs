//! Recordings of servers, in the form that `wireprof import` reads: where they are, and their parts. Invariant: the
//! small one, of the testbed, is in the repository, so that what rests on it runs everywhere; the large one is of a
//! real environmentd and not in it (16 MB), so that what rests on that alone is skipped, with the reason, where it is
//! absent.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use crate::skip::skip;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The recording of the testbed that `scripts/record-testbed` made: levels 1, 4 and 16.
pub fn testbed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/testbed")
}

/// The recordings of a real environmentd: `t/` and `bench/`, each with levels 1, 16 and 64. The variable
/// `WIREPROF_RECORDED` names their directory; else they are looked for beside the repository.
pub fn environmentd() -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/recorded/environmentd");
    let path = std::env::var_os("WIREPROF_RECORDED").map_or_else(default, PathBuf::from);
    if !path.is_dir() {
        skip(format!("no recordings of environmentd at {} (set WIREPROF_RECORDED)", path.display()));
        return None;
    }
    Some(path)
}

/// A stored run of a real environmentd, beside its recordings.
pub fn run_of_environmentd() -> Option<PathBuf> {
    let runs = environmentd()?.parent()?.join("run-of-environmentd");
    let mut entries = runs.read_dir().into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let run = entries.find(|path| path.join("manifest.json").exists());
    if run.is_none() {
        skip(format!("no recordings of environmentd at {} (set WIREPROF_RECORDED)", runs.display()));
    }
    run
}

/// The text of a gzipped part.
pub fn text(path: &Path) -> String {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}
