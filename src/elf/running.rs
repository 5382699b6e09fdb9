//! Opens the file that a process has mapped. Invariant: each way to it says whether it leads to the mapped inode
//! itself; of a file that was found by its name, that is for the caller to see.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A mapped file of a running process, as its line in `/proc/PID/maps` tells.
#[derive(Clone, Debug)]
pub struct MappedFile<'a> {
    /// The process that has it mapped.
    pub pid: u32,
    /// Addresses of the mapping in the process: from, to.
    pub mapping: (u64, u64),
    /// As its own process sees it.
    pub path: &'a Path,
    /// 0: not known.
    pub inode: u64,
}

/// One file that may be the mapped one.
#[derive(Debug)]
pub struct Opened {
    /// Open for reading.
    pub file: File,
    /// It was reached through the mapping, which outlives the file's name: it is the mapped one.
    pub through_mapping: bool,
}

impl MappedFile<'_> {
    /// Ways to the file, in the order in which they deserve trust: the mapping itself (`/proc/PID/map_files`), its path
    /// in the process's mount namespace, its path in ours. Each is opened as it is asked for.
    pub fn opened(&self) -> impl Iterator<Item = io::Result<Opened>> + '_ {
        let (start, end) = self.mapping;
        let ways = [
            PathBuf::from(format!("/proc/{}/map_files/{start:x}-{end:x}", self.pid)),
            below(&root_of(self.pid), self.path),
            self.path.to_path_buf(),
        ];
        let open = |(way, path)| Ok(Opened { file: File::open(path)?, through_mapping: way == 0 });
        ways.into_iter().enumerate().map(open)
    }
}

impl Opened {
    /// Whether this is the inode that the mapping has, as far as anybody knows.
    pub fn is_inode_of(&self, mapped: &MappedFile) -> bool {
        let same = || self.file.metadata().is_ok_and(|facts| facts.ino() == mapped.inode);
        self.through_mapping || mapped.inode == 0 || same()
    }
}

/// Where a process's own root directory is seen from ours.
pub fn root_of(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/root"))
}

/// An absolute path as seen from another root.
pub fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
