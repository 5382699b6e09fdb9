//! Bytes of a file, mapped or unpacked. Invariant: a file is mapped, never read whole; the address of the bytes does not
//! change while their [`Bytes`] lives, even when it is moved.

use memmap2::Mmap;
use std::fs::File;
use std::io;
use std::ops::Deref;

/// The contents of a file.
pub(super) enum Bytes {
    Mapped(Mmap),
    /// Unpacked from another file, or copied from memory.
    Owned(Box<[u8]>),
}

impl Bytes {
    /// Maps the whole file. An empty file is an error of kind `InvalidInput`.
    pub(super) fn map(file: &File) -> io::Result<Bytes> {
        if file.metadata()?.len() == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the file is empty"));
        }
        // SAFETY: the map is private and only read. Contents that another process changes under it can make the parsers
        // see other bytes on a second look; all of them check bounds on every read, so that costs wrong names and not
        // soundness. The kernel refuses to write to a file that is being executed (ETXTBSY), and package managers and
        // linkers replace debug files by renaming, so that truncation in place (SIGBUS) does not happen in practice.
        let map = unsafe { Mmap::map(file)? };
        Ok(Bytes::Mapped(map))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }
}
