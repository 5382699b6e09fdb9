//! Object files with their DWARF sections. Invariant: a compressed section is unpacked when the first reader asks for
//! it, and once, however many borrow it.

use super::map::Bytes;
use super::unpack::{key, unpack};
use crate::cachedir::CacheDir;
use crate::parallel;
use crate::profile::Miss;
use gimli::SectionId;
use object::read::elf::ElfFile64;
use object::{CompressedData, CompressionFormat, LittleEndian, Object, ObjectSection};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

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

/// Compressed sections that together are smaller than this (bytes) are unpacked one after the other: a thread costs
/// more.
const WORTH_THREADS: usize = 1 << 20;

/// Which names the sections have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// `.debug_info`
    Plain,
    /// `.debug_info.dwo`, in split debug information and packages of it.
    Split,
}

/// Where a section lies within the file's bytes.
struct Section {
    id: SectionId,
    location: Range<usize>,
    format: CompressionFormat,
    /// As the file claims.
    unpacked_bytes: u64,
}

/// A file and its DWARF sections.
pub(super) struct Source {
    bytes: Bytes,
    sections: Vec<Section>,
    /// Why the sections could not be found; there are none then.
    damage: Option<String>,
    /// Those that are compressed, or why one of them could not be unpacked; there are none at all then.
    unpacked: OnceLock<Result<Vec<(SectionId, Bytes)>, String>>,
    /// Where unpacked sections are kept, if they are.
    kept: Option<CacheDir>,
}

impl Source {
    /// A file whose DWARF is of no interest, or which has none.
    pub(super) fn without_sections(bytes: Bytes) -> Source {
        Source { bytes, sections: Vec::new(), damage: None, unpacked: OnceLock::new(), kept: None }
    }

    /// Finds the sections. Those that are compressed are kept in `kept`, if there is one, once they are unpacked.
    pub(super) fn load(bytes: Bytes, naming: Naming, kept: Option<&CacheDir>) -> Source {
        let found = sections(&bytes, naming);
        let (sections, damage) = found.map_or_else(|error| (Vec::new(), Some(error)), |sections| (sections, None));
        Source { sections, damage, kept: kept.cloned(), ..Source::without_sections(bytes) }
    }

    /// What is known of damage so far: compressed sections tell when they are first asked for.
    pub(super) fn damage(&self) -> Option<&str> {
        let unpacked = self.unpacked.get().and_then(|unpacked| unpacked.as_ref().err());
        self.damage.as_ref().or(unpacked).map(String::as_str)
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The contents of a section, empty where the file has none.
    pub(super) fn section(&self, id: SectionId) -> &[u8] {
        let Ok(unpacked) = self.unpacked.get_or_init(|| self.unpack_all()) else { return &[] };
        let Some(section) = self.sections.iter().find(|section| section.id == id) else { return &[] };
        match unpacked.iter().find(|(found, _)| *found == id) {
            // A kept section is followed by what it is verified with.
            Some((_, bytes)) => bytes.get(..section.unpacked_bytes as usize).unwrap_or_default(),
            None => &self.bytes[section.location.clone()],
        }
    }

    pub(super) fn has_debug_info(&self) -> bool {
        self.debug_info_bytes() > 0
    }

    /// Length of the units, unpacked, as the file claims.
    pub(super) fn debug_info_bytes(&self) -> u64 {
        let section = self.sections.iter().find(|section| section.id == SectionId::DebugInfo);
        section.map_or(0, |section| section.unpacked_bytes)
    }

    /// Gives back the pages that were looked at ([`Bytes::release`]).
    pub(super) fn release(&self) {
        self.bytes.release();
        if let Some(Ok(unpacked)) = self.unpacked.get() {
            unpacked.iter().for_each(|(_, bytes)| bytes.release());
        }
    }

    /// Unpacks the compressed sections, several at once, the largest first.
    fn unpack_all(&self) -> Result<Vec<(SectionId, Bytes)>, String> {
        let mut packed: Vec<&Section> =
            self.sections.iter().filter(|section| section.format != CompressionFormat::None).collect();
        packed.sort_by_key(|section| section.location.len());
        let together: usize = packed.iter().map(|section| section.location.len()).sum();
        if packed.len() < 2 || together < WORTH_THREADS {
            return packed.into_iter().map(|section| Ok((section.id, self.unpack(section)?))).collect();
        }
        let unpack = |section: &&Section| {
            let unpacked = catch_unwind(AssertUnwindSafe(|| self.unpack(section)));
            Ok((section.id, unpacked.unwrap_or_else(|_| Err("the decompressor panicked".into()))?))
        };
        parallel::each(&packed, unpack).into_iter().collect()
    }

    fn unpack(&self, section: &Section) -> Result<Bytes, String> {
        let data = CompressedData {
            format: section.format,
            data: &self.bytes[section.location.clone()],
            uncompressed_size: section.unpacked_bytes,
        };
        let build_id = self.kept.as_ref().and_then(|_| build_id(&self.bytes).ok().flatten());
        let kept = self.kept.as_ref().zip(build_id);
        let kept = kept.map(|(directory, build_id)| (directory, key(&build_id, section.id.name(), &data)));
        unpack(data, &self.bytes, kept).map_err(|error| format!("{}: {error}", section.id.name()))
    }
}

fn sections(bytes: &Bytes, naming: Naming) -> Result<Vec<Section>, String> {
    let elf = Elf::parse(&**bytes).map_err(|error| error.to_string())?;
    let mut sections = Vec::new();
    let also = if naming == Naming::Split { &INDEXED[..] } else { &[] };
    for &id in WANTED.iter().chain(also) {
        let name = if naming == Naming::Split { id.dwo_name() } else { Some(id.name()) };
        let Some(section) = name.and_then(|name| elf.section_by_name(name)) else { continue };
        let data = section.compressed_data().map_err(|error| format!("{}: {error}", id.name()))?;
        if data.format != CompressionFormat::None || !data.data.is_empty() {
            let start = data.data.as_ptr() as usize - bytes.as_ptr() as usize;
            let location = start..start + data.data.len();
            sections.push(Section { id, location, format: data.format, unpacked_bytes: data.uncompressed_size });
        }
    }
    Ok(sections)
}

/// Reads a file's build-id as lower-case hex.
pub(super) fn build_id(bytes: &[u8]) -> Result<Option<String>, Miss> {
    let elf = Elf::parse(bytes).map_err(|_| Miss::Malformed)?;
    Ok(elf.build_id().ok().flatten().map(hex))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
