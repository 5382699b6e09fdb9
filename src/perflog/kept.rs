//! Copies of what wireprof wrote into the log, beside the pictures: runs are large and stay where they were measured,
//! so most readers of a log have only these to hold it against. Invariant: a copy is the block's bytes as they were
//! written (line breaks apart), under the same marker; writing the same block twice leaves the same bytes.

use super::attach::FOLDER;
use super::block::{Block, Generated};
use super::bytes::encode;
use super::document::Document;
use super::file::{read, write_bytes};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

const TITLE: &str = "# What wireprof wrote into the log of this run

`wireprof log check` holds the log against these copies, also where the run itself is gone. Not to be edited.
";

/// Where the copies of a block lie: by the last of its runs.
pub fn path_of(log: &Path, key: &str) -> PathBuf {
    let run = key.rsplit(' ').nth(1).unwrap_or(key);
    log.parent().unwrap_or(Path::new("")).join(FOLDER).join(format!("{run}-figures.md"))
}

/// Keeps a copy of a block that goes into the log.
///
/// # Errors
/// A file that cannot be read or written, by name.
pub fn keep(log: &Path, block: &Generated) -> Result<()> {
    let path = path_of(log, &block.key);
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let copies = if path.exists() { read(&path)? } else { Document::parse(TITLE.into()) };
    let same = |copy: &&Block| copy.key == block.key && copy.made.as_ref() == Some(&block.made);
    let text = match copies.blocks().iter().find(same) {
        Some(copy) => {
            let (before, after) = (&copies.text()[..copy.whole.start], &copies.text()[copy.whole.end..]);
            format!("{before}{}{after}", block.whole())
        }
        None => format!("{}\n{}\n", copies.text(), block.whole()),
    };
    write_bytes(&path, &encode(&text))
}

/// The copy of what stood in this block when it was written; why there is none.
///
/// # Errors
/// In words: there is no file of copies, it cannot be read, or it has no copy under this marker.
pub fn kept(log: &Path, block: &Block) -> Result<String, String> {
    let path = path_of(log, &block.key);
    if !path.exists() {
        return Err(format!("there is no {}", path.display()));
    }
    let copies = read(&path).map_err(|error| format!("{error:#}"))?;
    let same = |copy: &&Block| copy.key == block.key && copy.made == block.made;
    let copy = copies.blocks().iter().find(same);
    copy.map(|copy| copies.text()[copy.inside.clone()].to_string())
        .ok_or_else(|| format!("{} has no copy under this marker", path.display()))
}
