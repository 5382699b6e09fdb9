//! Which unit of the debug information has an address, so that all addresses of a unit are looked up one after the
//! other and it need not be held any longer. Invariant: only the order of look-ups depends on it, never what is
//! found; where nothing is known, addresses come last, in their own order.

use super::dwarf::dwarf;
use super::image::Files;

/// Ranges of addresses by unit.
#[derive(Default)]
pub(super) struct Units {
    /// First address, first address after it and the unit's number, ascending.
    ranges: Vec<(u64, u64, u32)>,
}

/// The number of what is in no unit.
const NO_UNIT: u32 = u32::MAX;

impl Units {
    /// Reads each unit's header and ranges; a unit that cannot be read has none.
    pub(super) fn read(files: &Files) -> Units {
        let sections = dwarf(files.debug());
        let mut headers = sections.units();
        let mut ranges = Vec::new();
        let mut number = 0;
        while let Ok(Some(header)) = headers.next() {
            number += 1;
            let Ok(unit) = sections.unit(header) else { continue };
            let Ok(mut of_unit) = sections.unit_ranges(&unit) else { continue };
            while let Ok(Some(range)) = of_unit.next() {
                if range.begin < range.end {
                    ranges.push((range.begin, range.end, number));
                }
            }
        }
        ranges.sort_unstable();
        Units { ranges }
    }

    /// The number of the unit that has this address.
    pub(super) fn of(&self, svma: u64) -> u32 {
        let next = self.ranges.partition_point(|&(begin, ..)| begin <= svma);
        let range = next.checked_sub(1).map(|index| self.ranges[index]);
        range.filter(|&(_, end, _)| svma < end).map_or(NO_UNIT, |(.., unit)| unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_unit_whose_range_has_it() {
        let units = Units { ranges: vec![(0x10, 0x20, 2), (0x20, 0x30, 1), (0x40, 0x50, 2)] };
        let found = [0x0f, 0x10, 0x1f, 0x20, 0x30, 0x4f, 0x50].map(|svma| units.of(svma));
        assert_eq!(found, [NO_UNIT, 2, 2, 1, NO_UNIT, 2, NO_UNIT]);
        assert_eq!(Units::default().of(0), NO_UNIT);
    }
}
