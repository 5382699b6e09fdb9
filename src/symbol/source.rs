//! Object files with their DWARF sections. Invariant: a compressed section is unpacked once, however many readers borrow
//! it; sizes that a file claims for itself are not believed.

use super::map::Bytes;
use crate::profile::Miss;
use gimli::SectionId;
use object::read::elf::ElfFile64;
use object::{CompressedData, CompressionFormat, LittleEndian, Object, ObjectSection};
use std::ops::Range;

/// Files of the one kind that wireprof reads: ELF, 64 bits, little-endian.
pub(super) type Elf<'a> = ElfFile64<'a, LittleEndian>;

/// The sections that finding functions and lines needs; macros, types and variables' locations stay packed.
const WANTED: [SectionId; 12] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugCuIndex,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
    SectionId::DebugTuIndex,
];

/// A package's index points into these too, and one that is absent would make it unreadable.
const INDEXED: [SectionId; 5] = [
    SectionId::DebugLoc,
    SectionId::DebugLocLists,
    SectionId::DebugMacinfo,
    SectionId::DebugMacro,
    SectionId::DebugTypes,
];

/// A section may claim to unpack to this many times its size, and no more: deflate's limit is 1,032.
const LARGEST_RATIO: u64 = 1_100;
/// Compressed sections that together are smaller than this (bytes) are unpacked one after the other: a thread costs more.
const WORTH_THREADS: usize = 1 << 20;

/// Which names the sections have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// `.debug_info`
    Plain,
    /// `.debug_info.dwo`, in split debug information and packages of it.
    Split,
}

enum Place {
    /// Within the file's bytes.
    Within(Range<usize>),
    Unpacked(Box<[u8]>),
}

/// A file and its DWARF sections.
pub(super) struct Source {
    bytes: Bytes,
    sections: Vec<(SectionId, Place)>,
    /// Why the sections could not be used; there are none then.
    damage: Option<String>,
}

impl Source {
    /// A file whose DWARF is of no interest, or which has none.
    pub(super) fn without_sections(bytes: Bytes) -> Source {
        Source { bytes, sections: Vec::new(), damage: None }
    }

    /// Finds the sections and unpacks those that are compressed, several at once.
    pub(super) fn load(bytes: Bytes, naming: Naming) -> Source {
        match sections(&bytes, naming) {
            Ok(sections) => Source { bytes, sections, damage: None },
            Err(error) => Source { bytes, sections: Vec::new(), damage: Some(error) },
        }
    }

    pub(super) fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The contents of a section, empty where the file has none.
    pub(super) fn section(&self, id: SectionId) -> &[u8] {
        match self.sections.iter().find(|(found, _)| *found == id) {
            Some((_, Place::Within(range))) => &self.bytes[range.clone()],
            Some((_, Place::Unpacked(bytes))) => bytes,
            None => &[],
        }
    }

    pub(super) fn has_debug_info(&self) -> bool {
        !self.section(SectionId::DebugInfo).is_empty()
    }
}

fn sections(bytes: &Bytes, naming: Naming) -> Result<Vec<(SectionId, Place)>, String> {
    let elf = Elf::parse(&**bytes).map_err(|error| error.to_string())?;
    let mut sections = Vec::new();
    let mut packed = Vec::new();
    let also = if naming == Naming::Split { &INDEXED[..] } else { &[] };
    for &id in WANTED.iter().chain(also) {
        let name = if naming == Naming::Split { id.dwo_name() } else { Some(id.name()) };
        let Some(section) = name.and_then(|name| elf.section_by_name(name)) else { continue };
        let data = section.compressed_data().map_err(|error| format!("{}: {error}", id.name()))?;
        if data.format != CompressionFormat::None {
            packed.push((id, data));
        } else if !data.data.is_empty() {
            let start = data.data.as_ptr() as usize - bytes.as_ptr() as usize;
            sections.push((id, Place::Within(start..start + data.data.len())));
        }
    }
    for (id, unpacked) in unpack_all(packed) {
        sections.push((id, Place::Unpacked(unpacked.map_err(|error| format!("{}: {error}", id.name()))?)));
    }
    Ok(sections)
}

type Unpacked = Result<Box<[u8]>, String>;

fn unpack_all(packed: Vec<(SectionId, CompressedData<'_>)>) -> Vec<(SectionId, Unpacked)> {
    if packed.len() < 2 || packed.iter().map(|(_, data)| data.data.len()).sum::<usize>() < WORTH_THREADS {
        return packed.into_iter().map(|(id, data)| (id, unpack(data))).collect();
    }
    std::thread::scope(|scope| {
        let running: Vec<_> = packed.into_iter().map(|(id, data)| (id, scope.spawn(move || unpack(data)))).collect();
        running
            .into_iter()
            .map(|(id, thread)| (id, thread.join().unwrap_or_else(|_| Err("the decompressor panicked".into()))))
            .collect()
    })
}

fn unpack(data: CompressedData<'_>) -> Unpacked {
    if data.uncompressed_size / LARGEST_RATIO > data.data.len() as u64 {
        return Err(format!("claims {} bytes in {} compressed ones", data.uncompressed_size, data.data.len()));
    }
    Ok(data.decompress().map_err(|error| error.to_string())?.into_owned().into_boxed_slice())
}

/// Reads a file's build-id as lower-case hex.
pub(super) fn build_id(bytes: &[u8]) -> Result<Option<String>, Miss> {
    let elf = Elf::parse(bytes).map_err(|_| Miss::Malformed)?;
    Ok(elf.build_id().ok().flatten().map(hex))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
