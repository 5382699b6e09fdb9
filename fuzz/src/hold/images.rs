//! ELF files, their call-frame information and symbols, and kept tables of it. Invariant: the kernel program's search
//! is repeated here step by step (`find_rule` and `find_row` of `src/sample/ebpf/bpf/unwind.h`), so that what it would
//! read is seen.

use super::memory_file;
use crate::elf::Image;
use crate::feed::{Feed, frames};
use crate::sample::unwind::{Rule, Rules, Table, TableRule};
use crate::sample::{Address, Module, ModuleId, ModuleKind};
use crate::symbol::{Options, Symbolizer};
use crate::template::{GoDescribed, executable, go_executable, go_table};
use gimli::UnwindContext;
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// Addresses that a page of a table covers.
const PAGE: u64 = 4096;

/// Addresses compared in one file at most.
const MOST_COMPARED: usize = 96;

/// Arbitrary bytes as an ELF file: table and look-up agree.
pub fn elf(bytes: &[u8]) {
    image(bytes);
}

/// A sound ELF file with fuzzed call-frame information: raw bytes in both sections, or sound frames with fuzzed
/// programs, with or without a sound search table. It is always taken for a file.
pub fn call_frames(bytes: &[u8]) {
    let mut feed = Feed(bytes);
    let file = match feed.byte() & 7 {
        4 => with_go(&mut feed),
        0 => {
            let length = usize::from(feed.half());
            let header = feed.take(length);
            executable(header, feed.0)
        }
        1 | 5 => executable(&[], &frames(&mut feed).bytes),
        2 | 6 => {
            // A sound search table with a few bytes changed.
            let edits: Vec<_> = (0..feed.byte() & 7).map(|_| (usize::from(feed.half()), feed.byte())).collect();
            let made = frames(&mut feed);
            let mut header = made.header();
            for (at, byte) in edits {
                let length = header.len();
                header[at % length] = byte;
            }
            executable(&header, &made.bytes)
        }
        _ => {
            let made = frames(&mut feed);
            executable(&made.header(), &made.bytes)
        }
    };
    assert!(image(&file));
}

/// Arbitrary bytes as a file whose functions are looked up: every address has a frame, whatever the file says.
pub fn symbols(bytes: &[u8]) {
    let path = memory_file("binary", bytes);
    let (kind, at) = (ModuleKind::File, |at: u64| 0xff0 + at * 0x10);
    let module = Module { kind, path, pid: 0, mapping: (0, 0), inode: 0, deleted: false, build_id: None };
    let addresses: Vec<_> = (0..24).map(|number| Address { module: Some(ModuleId(0)), at: at(number) }).collect();
    let mut symbolizer = Symbolizer::new(Options { debug_roots: Vec::new(), threads: 1, ..Options::default() });
    let found = symbolizer.resolve(&[module], &addresses);
    assert!(found.len() == addresses.len() && found.iter().all(|symbols| !symbols.is_empty()));
}

/// A program of Go: its table has sound functions with fuzzed depths, and then some of its bytes changed.
fn with_go(feed: &mut Feed) -> Vec<u8> {
    let edits: Vec<_> = (0..feed.byte() & 3).map(|_| (usize::from(feed.half()), feed.byte())).collect();
    let code = feed.take(64);
    let mut start = 0;
    let described: Vec<(u32, u8, Vec<(i32, u32)>)> = (0..feed.byte() & 31)
        .map(|_| {
            let depths = (0..feed.byte() & 7).map(|_| (i32::from(feed.half().cast_signed()), feed.byte().into()));
            let (from, depths) = (start, depths.collect());
            start += u32::from(feed.byte());
            (from, feed.byte(), depths)
        })
        .collect();
    let functions: Vec<_> = described
        .iter()
        .map(|(start, flags, depths)| GoDescribed { start: *start, flags: *flags, name: "runtime.mcall", depths })
        .collect();
    let mut table = go_table(&functions, start);
    for (at, byte) in edits {
        let length = table.len();
        table[at % length] = byte;
    }
    let made = frames(feed);
    go_executable(&made.header(), &made.bytes, code, &table)
}

/// Reads an image in every way that sampling does; `false` where it is none.
fn image(bytes: &[u8]) -> bool {
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

const HEADER: usize = 64;

static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    // A common part without further instructions; then functions of 120 bytes with three rows each.
    let function = |at: u8| [1, 120, 8, 0x44, 0x0e, 16, 0x86, 2, 0x48, 0x0e, at];
    let input: Vec<u8> = [0, 0].into_iter().chain((8..96).flat_map(function)).collect();
    let made = frames(&mut Feed(&input));
    let image = Image::from_bytes(Arc::new(executable(&made.header(), &made.bytes)), Path::new("sound")).unwrap();
    let table = Table::build(&Rules::new(image));
    let sizes = (table.pages(), table.rows(), table.rules());
    assert!(sizes.0 > 1 && sizes.1 > 50 && sizes.2 > 5, "{sizes:?}");
    table.bytes().to_vec()
});

/// Kept tables: arbitrary bytes, and sound ones with changes, with a checksum that is right. What is taken leads
/// nowhere outside of itself, neither in our own search nor in the kernel program's.
pub fn table(bytes: &[u8]) {
    let mut feed = Feed(bytes);
    let what = feed.byte();
    let mut stored = if what & 1 == 0 { feed.0.to_vec() } else { changed(&mut feed) };
    if what & 2 != 0 && stored.len() >= HEADER {
        seal(&mut stored);
    }
    if let Some(table) = Table::from_bytes(Arc::new(stored)) {
        leads_within(&table);
    }
}

fn changed(feed: &mut Feed) -> Vec<u8> {
    let mut stored = SOUND.clone();
    while !feed.0.is_empty() {
        let at = usize::from(feed.half()) % stored.len();
        match feed.byte() & 3 {
            0 => stored[at] = feed.byte(),
            1 => stored[at] ^= 1 << (feed.byte() & 7),
            // The counts of the header.
            2 => stored[16 + at % 40] = feed.byte(),
            _ => stored.truncate(at.max(HEADER)),
        }
    }
    stored
}

/// Makes the first words those of a table of this version, and the checksum right.
fn seal(stored: &mut [u8]) {
    stored[..16].copy_from_slice(&SOUND[..16]);
    let mut hash = crc32fast::Hasher::new();
    hash.update(&stored[..HEADER - 8]);
    hash.update(&stored[HEADER..]);
    stored[HEADER - 8..HEADER].copy_from_slice(&u64::from(hash.finalize()).to_le_bytes());
}

/// Everything that a table which was taken can lead to.
fn leads_within(table: &Table) {
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
    assert!(rule[8] <= 7 && rule[10] <= 2, "a kind that the kernel's program knows: {rule:?}");
    Some(rule)
}
