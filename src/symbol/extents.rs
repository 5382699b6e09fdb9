//! Where functions without a name begin, from call-frame information, so that all addresses of a stripped function
//! are one frame and not as many as were sampled.

use super::source::{Elf, Source};
use gimli::{BaseAddresses, EhFrame, EhFrameHdr, LittleEndian, UnwindSection};
use object::{Object, ObjectSection};
use std::ops::Range;

/// Size of an address in the files that wireprof reads.
const ADDRESS_SIZE: u8 = 8;

/// Places of `.eh_frame_hdr` and `.eh_frame`, in the file and in memory.
pub(super) struct Extents {
    index: (Range<usize>, u64),
    frames: (Range<usize>, u64),
}

impl Extents {
    /// `None` where the file has no call-frame information, or no index of it.
    pub(super) fn read(own: &Source) -> Option<Extents> {
        let elf = Elf::parse(own.bytes()).ok()?;
        let location = |name| {
            let section = elf.section_by_name(name)?;
            let (start, size) = section.file_range()?;
            let range = usize::try_from(start).ok()?..usize::try_from(start.checked_add(size)?).ok()?;
            own.bytes().get(range.clone())?;
            Some((range, section.address()))
        };
        Some(Extents { index: location(".eh_frame_hdr")?, frames: location(".eh_frame")? })
    }

    /// The first address of the function that covers `svma`.
    pub(super) fn start(&self, own: &Source, svma: u64) -> Option<u64> {
        let ((index, index_at), (frames, frames_at)) = (&self.index, &self.frames);
        let bases = BaseAddresses::default().set_eh_frame_hdr(*index_at).set_eh_frame(*frames_at);
        let index = EhFrameHdr::new(&own.bytes()[index.clone()], LittleEndian).parse(&bases, ADDRESS_SIZE).ok()?;
        let mut frames = EhFrame::new(&own.bytes()[frames.clone()], LittleEndian);
        frames.set_address_size(ADDRESS_SIZE);
        let found = index.table()?.fde_for_address(&frames, &bases, svma, EhFrame::cie_from_offset).ok()?;
        Some(found.initial_address())
    }
}
