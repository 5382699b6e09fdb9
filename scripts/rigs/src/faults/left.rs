//! What is there of a round: its processes, by a mark in their environment and the directory they work in, and its
//! files. Invariant: nothing of another round, or of anybody else, is taken for the round's.

use super::ground::{MARK, Place};
use super::plan::Damage;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

pub struct Process {
    pub pid: u32,
    pub parent: u32,
    /// As the kernel has it: 15 bytes at most.
    pub name: String,
}

/// Name, state and parent of a process (proc(5)).
fn stat(pid: u32) -> Option<(String, char, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, rest) = text.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    let state = words.next()?.chars().next()?;
    Some((head.split_once('(')?.1.to_string(), state, words.next()?.parse().ok()?))
}

fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The processes that wireprof started in this round, and itself; those that are dead do not count.
pub fn processes(place: &Place) -> Vec<Process> {
    let mark = format!("{MARK}={}\0", place.mark());
    let belongs = |pid: u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        // PostgreSQL writes over its environment, and works in its directory.
        let works_in = || std::fs::read_link(format!("/proc/{pid}/cwd")).ok();
        environment.windows(mark.len()).any(|part| part == mark.as_bytes())
            || works_in().is_some_and(|path| path.starts_with(place.temporary()))
    };
    let known = |pid: u32| {
        let (name, state, parent) = stat(pid).filter(|(_, state, _)| *state != 'Z' && *state != 'X')?;
        let _ = state;
        belongs(pid).then_some(Process { pid, parent, name })
    };
    all().filter_map(known).collect()
}

/// Its children.
pub fn children(parent: u32) -> Vec<u32> {
    all().filter(|pid| stat(*pid).is_some_and(|(_, _, of)| of == parent)).collect()
}

/// Files below a directory with what stands for their contents.
pub fn digest(directory: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    for path in files(directory) {
        let mut hasher = DefaultHasher::new();
        if let Ok(content) = std::fs::read(&path) {
            hasher.write(&content);
            found.insert(path, hasher.finish());
        }
    }
    found
}

/// All files below.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_path_buf()];
    while let Some(next) = left.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if folder { left.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort();
    found
}

/// Damages one file of the stored run.
pub fn damage(runs: &Path, how: Damage, dice: u64) -> std::io::Result<()> {
    let all = files(runs);
    let Some(path) = all.get(dice as usize % all.len().max(1)) else { return Ok(()) };
    let mut content = std::fs::read(path)?;
    match how {
        Damage::Removed => return std::fs::remove_file(path),
        Damage::Truncated => content.truncate(content.len() / 2),
        Damage::Flipped => {
            let length = content.len().max(1) as u64;
            if let Some(byte) = content.get_mut((dice / 7 % length) as usize) {
                *byte ^= 0x55;
            }
        }
    }
    std::fs::write(path, content)
}
