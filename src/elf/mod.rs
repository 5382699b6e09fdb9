//! ELF images as they run: the mapped file itself, not whatever now lies under its name. Invariant: bytes are
//! memory-mapped read-only and never copied whole; a damaged file gives an error, never a panic.

mod go;
mod running;
mod symbol;
mod vdso;

pub use go::{GoFunction, GoFunctions, GoLayout};
pub use running::{MappedFile, Opened, below, root_of};
pub use symbol::symbol_address;
pub use vdso::vdso;

use crate::mapped;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection};
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A parsed view of an image's bytes.
pub type Elf<'a> = ElfFile64<'a, Endianness, &'a [u8]>;

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file could not be opened or mapped into memory.
    #[error("{path}: {cause}")]
    Unreadable {
        /// The file, as its own process names it.
        path: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A file was found under the name, but its inode is not the mapped one.
    #[error("{path}: the file on disk is not the one that is mapped")]
    Replaced {
        /// The file, as its own process names it.
        path: String,
    },
    /// The bytes are no 64-bit ELF file, or its headers lead outside of it.
    #[error("{path}: not a usable 64-bit ELF file: {cause}")]
    Malformed {
        /// The file, as its own process names it.
        path: String,
        /// What the parser said.
        cause: String,
    },
}

/// The bytes of an ELF file, kept mapped for as long as anything refers to them.
#[derive(Clone)]
pub struct Image {
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    segments: Arc<[Segment]>,
}

/// A loadable segment: where its bytes lie in the file and at which address the file itself puts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Offsets into the file in bytes, cut at its end (`p_offset`, `p_filesz` in elf(5)).
    pub file: Range<u64>,
    /// The file's own virtual address of the segment's first byte (`p_vaddr` in elf(5)).
    pub address: u64,
}

impl Image {
    /// Opens the file behind a mapping: through `/proc/PID/map_files`, which leads to the mapped inode even when the
    /// name is gone; else by its name in the mount namespace of the process, or in ours, where the inode must agree.
    ///
    /// # Errors
    /// [`ImageError::Replaced`] where only other inodes are found under the name, else [`ImageError::Unreadable`] with
    /// the cause of the last way that failed, or [`ImageError::Malformed`].
    pub fn open(file: &MappedFile) -> Result<Image, ImageError> {
        let path = || file.path.display().to_string();
        let mut worst = None;
        for opened in file.opened() {
            match opened {
                Ok(opened) if opened.is_inode_of(file) => return Image::map(&opened.file, file.path),
                Ok(_) => worst = Some(ImageError::Replaced { path: path() }),
                Err(_) if matches!(worst, Some(ImageError::Replaced { .. })) => {}
                Err(cause) => worst = Some(ImageError::Unreadable { path: path(), cause }),
            }
        }
        Err(worst.unwrap_or_else(|| ImageError::Replaced { path: path() }))
    }

    /// Maps a file by name, for images that nobody runs.
    pub fn open_path(path: &Path) -> Result<Image, ImageError> {
        let opened =
            File::open(path).map_err(|cause| ImageError::Unreadable { path: path.display().to_string(), cause })?;
        Image::map(&opened, path)
    }

    fn map(file: &File, path: &Path) -> Result<Image, ImageError> {
        let unreadable = |cause| ImageError::Unreadable { path: path.display().to_string(), cause };
        let bytes = mapped::map(file).map_err(unreadable)?;
        Image::from_bytes(Arc::new(bytes), path)
    }

    /// An image over bytes that are already in memory.
    ///
    /// # Errors
    /// [`ImageError::Malformed`], which names `path`.
    pub fn from_bytes(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>, path: &Path) -> Result<Image, ImageError> {
        let segments = segments((*bytes).as_ref())
            .map_err(|cause| ImageError::Malformed { path: path.display().to_string(), cause: cause.to_string() })?;
        Ok(Image { bytes, segments: segments.into() })
    }

    /// The whole file, memory-mapped.
    pub fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// The parsed headers; cheap, tables are read where they lie.
    pub fn elf(&self) -> Option<Elf<'_>> {
        Elf::parse(self.bytes()).ok()
    }

    /// The loadable segments that hold bytes of the file (`PT_LOAD`), in the file's order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The address that the file gives to the byte at `offset`.
    pub fn address_of(&self, offset: u64) -> Option<u64> {
        let segment = self.segments.iter().find(|s| s.file.contains(&offset))?;
        segment.address.checked_add(offset - segment.file.start)
    }

    /// The address that the file gives to the first byte of a mapping of these bytes of it. A mapping starts at a page,
    /// and that page can begin with another segment's bytes (lld lays segments out so): what counts is the segment that
    /// fills most of it.
    pub fn address_of_mapping(&self, mapped: Range<u64>) -> Option<u64> {
        let common = |s: &&Segment| mapped.end.min(s.file.end).saturating_sub(mapped.start.max(s.file.start));
        let segment = self.segments.iter().max_by_key(common).filter(|segment| common(segment) > 0)?;
        segment.address.checked_add(mapped.start)?.checked_sub(segment.file.start)
    }

    /// Address and file range of a section that is stored as it is (not compressed).
    pub fn section(&self, name: &str) -> Option<(u64, Range<usize>)> {
        let elf = self.elf()?;
        let section = elf.section_by_name(name)?;
        let (offset, size) = section.file_range()?;
        let range = usize::try_from(offset).ok()?..usize::try_from(offset.checked_add(size)?).ok()?;
        (range.end <= self.bytes().len()).then_some((section.address(), range))
    }

    /// GNU build-id in lower-case hex.
    pub fn build_id(&self) -> Option<String> {
        let elf = self.elf()?;
        let id = elf.build_id().ok().flatten()?;
        Some(id.iter().map(|b| format!("{b:02x}")).collect())
    }
}

fn segments(bytes: &[u8]) -> Result<Vec<Segment>, object::Error> {
    let header = object::elf::FileHeader64::<Endianness>::parse(bytes)?;
    let endian = header.endian()?;
    let mut segments = Vec::new();
    for program in header.program_headers(endian, bytes)? {
        if program.p_type(endian) != object::elf::PT_LOAD {
            continue;
        }
        let (start, size) = program.file_range(endian);
        let end = start.saturating_add(size).min(bytes.len() as u64);
        if start < end {
            segments.push(Segment { file: start..end, address: program.p_vaddr(endian) });
        }
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_executable_gives_its_segments_and_the_address_of_its_text() {
        let image = Image::open_path(&std::env::current_exe().unwrap()).unwrap();
        let (address, range) = image.section(".text").unwrap();
        assert_eq!(image.address_of(range.start as u64), Some(address));
    }

    #[test]
    fn a_mapping_that_begins_with_the_end_of_another_segment_has_the_address_of_its_own() {
        let whole = std::fs::read("/bin/true").unwrap();
        let bytes: Arc<dyn AsRef<[u8]> + Send + Sync> = Arc::new(whole);
        let mut image = Image::from_bytes(bytes, Path::new("lld")).unwrap();
        image.segments =
            vec![Segment { file: 0..0x1d80, address: 0 }, Segment { file: 0x1d80..0x5000, address: 0x2d80 }].into();
        assert_eq!(image.address_of(0x1000), Some(0x1000), "the first segment's byte");
        assert_eq!(image.address_of_mapping(0x1000..0x5000), Some(0x2000));
        assert_eq!(image.address_of_mapping(0x9000..0xa000), None);
    }

    #[test]
    fn truncated_files_give_errors_and_never_panic() {
        let whole = std::fs::read("/bin/true").unwrap();
        for length in (0..whole.len()).step_by(97) {
            let bytes: Arc<dyn AsRef<[u8]> + Send + Sync> = Arc::new(whole[..length].to_vec());
            if let Ok(image) = Image::from_bytes(bytes, Path::new("truncated")) {
                image.section(".eh_frame");
                image.build_id();
            }
        }
    }
}
