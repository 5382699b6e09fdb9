//! Files mapped into memory. Invariant: a mapping is private and read-only, of a whole file that was not empty.

use memmap2::Mmap;
use std::fs::File;
use std::io;

/// Maps a whole file: one that runs, that belongs to one that runs, or that this program keeps.
///
/// # Errors
/// One that cannot be mapped; one that is no regular file, or empty, is of kind `InvalidInput`.
pub fn map(file: &File) -> io::Result<Mmap> {
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if facts.len() == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the file is empty"));
    }
    // SAFETY: the mapping is private and only read. Contents that another process changes under it can make a parser
    // see other bytes on a second look; all of them check bounds on every read, so that costs wrong names and not
    // soundness. A file cut short in place would raise SIGBUS: the kernel refuses to write to one that is being
    // executed (ETXTBSY), package managers and linkers replace files by renaming, and our own are replaced by renaming
    // or have no name at all.
    unsafe { Mmap::map(file) }
}
