//! Which frame description holds for an address: the file's own search table (`.eh_frame_hdr`, Linux Standard Base
//! Core 5.0, chapter 10.6.2) where it is in order, else one made by reading all of `.eh_frame`. Invariant: starts
//! ascend, so that a binary search and a walk along the list agree, whatever the file says.

use std::ops::Range;

/// Version 1; count as 4 bytes (`DW_EH_PE_udata4`); entries as pairs of 4 bytes relative to the header
/// (`DW_EH_PE_datarel | DW_EH_PE_sdata4`): what every linker writes.
const VERSION: u8 = 1;
const COUNT: u8 = 0x03;
const TABLE: u8 = 0x3b;
const ENTRY: usize = 8;

/// A frame description: the first address that it is listed for, and its offset in `.eh_frame`.
pub(super) type Listed = (u64, usize);

pub(super) enum Index {
    /// Entries within the file's bytes, and the addresses that they are relative to.
    Linker {
        entries: Range<usize>,
        header: u64,
        eh_frame: u64,
    },
    Made(Vec<Listed>),
}

impl Index {
    /// The linker's search table; `None` where there is none that can be searched.
    pub(super) fn of_linker(image: &[u8], header: &(u64, Range<usize>), eh_frame: u64) -> Option<Index> {
        let (address, range) = header;
        let bytes = image.get(range.clone())?;
        let [VERSION, pointer, COUNT, TABLE, ..] = *bytes else { return None };
        // The pointer to .eh_frame must take four bytes (udata4, sdata4); what it says is known from the section
        // headers.
        matches!(pointer & 0x0f, 0x03 | 0x0b).then_some(())?;
        let count = u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?) as usize;
        let length = count.checked_mul(ENTRY).filter(|length| *length <= bytes.len() - 12)?;
        let entries = range.start + 12..range.start + 12 + length;
        let index = Index::Linker { entries, header: *address, eh_frame };
        let mut before = 0;
        let in_order = (0..count).all(|at| {
            let start = index.at(image, at).0;
            std::mem::replace(&mut before, start) <= start
        });
        in_order.then_some(index)
    }

    pub(super) fn made(mut listed: Vec<Listed>) -> Index {
        listed.sort_unstable();
        Index::Made(listed)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Index::Linker { entries, .. } => entries.len() / ENTRY,
            Index::Made(listed) => listed.len(),
        }
    }

    /// An offset that lies outside of everything stands for one that the file cannot mean.
    pub(super) fn at(&self, image: &[u8], number: usize) -> Listed {
        match self {
            Index::Made(listed) => listed[number],
            Index::Linker { entries, header, eh_frame } => {
                let at = entries.start + number * ENTRY;
                let address = |at: usize| {
                    let relative = i32::from_le_bytes(image[at..at + 4].try_into().expect("4 bytes"));
                    header.wrapping_add_signed(relative.into())
                };
                let offset = address(at + 4).checked_sub(*eh_frame).and_then(|offset| usize::try_from(offset).ok());
                (address(at), offset.unwrap_or(usize::MAX))
            }
        }
    }

    /// The last description that is listed for an address not above this one.
    pub(super) fn find(&self, image: &[u8], address: u64) -> Option<Listed> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.at(image, middle).0 <= address { low = middle + 1 } else { high = middle }
        }
        Some(self.at(image, low.checked_sub(1)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(entries: &[(i32, i32)]) -> Vec<u8> {
        let mut bytes = vec![VERSION, 0x1b, COUNT, TABLE, 0, 0, 0, 0];
        bytes.extend((entries.len() as u32).to_le_bytes());
        entries.iter().for_each(|(start, at)| bytes.extend([start.to_le_bytes(), at.to_le_bytes()].concat()));
        bytes
    }

    fn linker(bytes: &[u8]) -> Option<Index> {
        Index::of_linker(bytes, &(0x2000, 0..bytes.len()), 0x2100)
    }

    #[test]
    fn a_search_table_in_order_is_searched_where_it_lies() {
        let bytes = header(&[(-0x1000, 0x118), (-0xf00, 0x140), (-0xf00, 0x0)]);
        let index = linker(&bytes).unwrap();
        assert_eq!(index.find(&bytes, 0xfff), None);
        assert_eq!(index.find(&bytes, 0x1000), Some((0x1000, 0x18)));
        assert_eq!(index.find(&bytes, 0x10ff), Some((0x1000, 0x18)));
        assert_eq!(index.find(&bytes, 0x1100), Some((0x1100, usize::MAX)), "it names a place before .eh_frame");
    }

    #[test]
    fn a_search_table_out_of_order_or_longer_than_its_section_is_not_used() {
        assert!(linker(&header(&[(-0xf00, 0x118), (-0x1000, 0x140)])).is_none());
        let mut bytes = header(&[(-0x1000, 0x118)]);
        bytes[8] = 2;
        assert!(linker(&bytes).is_none());
        assert!(linker(&bytes[..11]).is_none() && linker(&[]).is_none());
    }
}
