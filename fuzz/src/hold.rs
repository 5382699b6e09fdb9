//! What must hold of every file and every table, as assertions. Invariant: the kernel program's search is repeated
//! here step by step (`find_rule` and `find_row` of `src/sample/ebpf/bpf/unwind.h`), so that what it would read is
//! seen.

use crate::elf::Image;
use crate::sample::unwind::{PAGE, Rule, Rules, Table, TableRule};
use gimli::UnwindContext;
use std::path::Path;
use std::sync::Arc;

/// Addresses compared in one file at most.
const MOST_COMPARED: usize = 96;

/// Reads an image in every way that sampling does; `false` where it is none.
pub fn image(bytes: &[u8]) -> bool {
    let Ok(image) = Image::from_bytes(Arc::new(bytes.to_vec()), Path::new("fuzzed")) else { return false };
    image.build_id();
    image.address_of(0x40);
    image.address_of_mapping(0..0x2000);
    let rules = Rules::new(image);
    let table = Table::build(&rules);
    assert!(table.bytes().len() <= (64 << 20), "a small file gives no large table: {}", table.bytes().len());
    let again = Table::from_bytes(Arc::new(table.bytes().to_vec())).expect("what was built is sound");
    assert_eq!(again.bytes(), table.bytes());
    agree(&rules, &table);
    true
}

/// The table, by its own search and by the kernel's, gives what a look-up gives.
fn agree(rules: &Rules, table: &Table) {
    let mut context = UnwindContext::new();
    let mut addresses = vec![0, 1, u64::MAX, table.base.wrapping_sub(1), table.base];
    let mut reading = rules.reading();
    for description in rules.descriptions() {
        addresses.extend([description.0.start.wrapping_sub(1), description.0.end.wrapping_sub(1), description.0.end]);
        rules.rows(&description, &mut reading, |at, _| addresses.extend([at.wrapping_sub(1), at, at.wrapping_add(1)]));
        if addresses.len() > 4096 {
            break;
        }
    }
    let step = addresses.len().div_ceil(MOST_COMPARED).max(1);
    for address in addresses.into_iter().step_by(step) {
        let looked_up = rules.at(address, &mut context);
        rules.jumps(address, &mut context);
        let found = table.at(address);
        assert_eq!(found, searched(table, address), "{address:x}: the kernel's search");
        if table.crowded == 0 {
            assert_eq!(
                found.map_or_else(|| stored(Rule::NoTable), <[u8]>::to_vec),
                stored(looked_up),
                "{address:x}: {looked_up:?}"
            );
        }
    }
}

fn stored(rule: Rule) -> Vec<u8> {
    let rule = TableRule::new(rule);
    let offsets = [rule.cfa_offset.to_le_bytes(), rule.saved_offset.to_le_bytes()].concat();
    [&offsets[..], &[rule.kind, rule.register, rule.saved, 0, 0, 0, 0, 0]].concat()
}

/// Everything that a table which was taken can lead to.
pub fn table(table: &Table) {
    let pages = table.pages() as u64;
    for page in (0..pages).take(64).chain(pages.saturating_sub(4)..pages.saturating_add(2)) {
        for offset in [0, 1, 2, 7, 64, 1000, 2048, 4094, 4095] {
            let address = table.base.wrapping_add(page.wrapping_mul(PAGE)).wrapping_add(offset);
            assert_eq!(table.at(address), searched(table, address), "{address:x}");
        }
    }
}

/// The kernel program's search, with its bounds asserted.
fn searched(table: &Table, address: u64) -> Option<&[u8]> {
    let relative = address.wrapping_sub(table.base);
    let number = relative / PAGE;
    if number >= table.pages() as u64 {
        return None;
    }
    let page = table.page_words().nth(number as usize).expect("as many pages as it says");
    let (mut low, mut length) = (page as u32, (page >> 32) as u32);
    let mut found = None;
    for _ in 0..13 {
        if length == 0 {
            break;
        }
        let half = length / 2;
        let index = low + half;
        let at = index as usize * 4;
        let row = table.row_bytes().get(at..at + 4).expect("a row of this table");
        let row = u32::from_le_bytes(row.try_into().unwrap());
        if u64::from(row & 0xffff) <= relative % PAGE {
            found = Some(row >> 16);
            low = index + 1;
            length -= half + 1;
        } else {
            length = half;
        }
    }
    assert_eq!(length, 0, "13 steps suffice");
    let at = found? as usize * TableRule::SIZE;
    let rule = table.rule_bytes().get(at..at + TableRule::SIZE).expect("a rule of this table");
    assert!(rule[8] <= 6 && rule[10] <= 2, "a kind that the kernel's program knows: {rule:?}");
    Some(rule)
}
