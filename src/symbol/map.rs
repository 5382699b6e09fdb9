//! Bytes of a file, mapped or unpacked. Invariant: a file is mapped, never read whole; the address of the bytes does
//! not change while their [`Bytes`] lives, even when it is moved.

use crate::mapped;
use memmap2::{Mmap, UncheckedAdvice};
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;

/// The contents of a file.
pub(super) enum Bytes {
    Mapped(Mmap, Option<Stamp>),
    /// Unpacked from another file, or copied from memory.
    Owned(Box<[u8]>),
}

/// What tells a file from another, or from itself after a change. Contents that change without any of these are not
/// noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) bytes: u64,
    /// Last modification, in nanoseconds of the time of day.
    pub(super) modified: i128,
}

impl Bytes {
    /// Maps the whole file; errors as of [`mapped::map`].
    pub(super) fn map(file: &File) -> io::Result<Bytes> {
        let facts = file.metadata()?;
        let modified = i128::from(facts.mtime()) * 1_000_000_000 + i128::from(facts.mtime_nsec());
        let stamp = Stamp { device: facts.dev(), inode: facts.ino(), bytes: facts.len(), modified };
        Ok(Bytes::Mapped(mapped::map(file)?, Some(stamp)))
    }

    /// Which state of which file these bytes are; `None` where they are no file of their own.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        match self {
            Bytes::Mapped(_, stamp) => *stamp,
            Bytes::Owned(_) => None,
        }
    }

    /// Gives the pages that were looked at back to the kernel, which keeps them in its cache of files: they count as
    /// this process's no longer, and come back when they are looked at again. Others may be reading at the same time.
    pub(super) fn release(&self) {
        if let Bytes::Mapped(map, _) = self {
            // SAFETY: every `Mmap` here is a private mapping of a file that was made read-only, so no page of it was
            // ever written to, and one that is dropped reads as the file's again.
            let advised = unsafe { map.unchecked_advise(UncheckedAdvice::DontNeed) };
            // A kernel that refuses leaves the pages with us: memory, not an answer.
            let _ = advised;
        }
    }
}

impl From<Mmap> for Bytes {
    fn from(map: Mmap) -> Bytes {
        Bytes::Mapped(map, None)
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map, _) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}
