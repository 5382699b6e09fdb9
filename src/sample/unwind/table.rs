//! All call-frame rows of a file as one table that a program in the kernel can search: the code in pages of 4 KiB, of
//! each page its rows, of each row its rule. Built once for a file, by all CPUs, and kept by build-id (`cache.rs`).
//! Invariant: for every address the table gives the rule that [`Rules::at`] gives, but for what it has no room for
//! (65,536 different rules, 4 GiB of code, and of a damaged file what would take too long to read), which is counted.
//!
//! Layout, little-endian: a header of 64 bytes, `pages` words of 8 bytes (low half: number of the page's first row,
//! high half: how many), `rows` words of 4 bytes (low half: offset within the page, high half: number of the rule),
//! `rules` of 16 bytes ([`TableRule`]).

use super::rules::{Described, Rule, Rules, Saved};
use crate::parallel;
use rustc_hash::FxHashMap;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of code that a page of a table covers.
pub const PAGE: u64 = 4096;
const HEADER: usize = 64;
/// Where in the header the checksum stands.
const CHECKSUM: usize = HEADER - 8;
const MAGIC: &[u8; 8] = b"wireprof";
/// Changes with the layout and with what a rule means, so that kept tables of another version are built anew.
const VERSION: u32 = 3;
const MOST_RULES: usize = 1 << 16;

/// A [`Rule`] in the form that the kernel's program reads: `struct rule` of `src/sample/ebpf/bpf/unwind.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TableRule {
    /// Bytes from the register to the CFA, or to the word that holds it.
    pub cfa_offset: i32,
    /// Bytes from the CFA or rbp to the caller's rbp; of a stub the byte from which on it has pushed.
    pub saved_offset: i32,
    /// Number of the [`Rule`], 0..=7 (`enum rule_kind`).
    pub kind: u8,
    /// DWARF number of the register.
    pub register: u8,
    /// Number of the [`Saved`] in the order of its variants, 0..=2 (`enum saved_kind`).
    pub saved: u8,
}

impl TableRule {
    /// Bytes of a stored rule, its padding included.
    pub const SIZE: usize = 16;

    /// The stored form of a rule.
    pub fn new(rule: Rule) -> TableRule {
        let of = |kind, register, cfa_offset, saved| {
            let (saved, saved_offset) = match saved {
                Saved::Same => (0, 0),
                Saved::AtCfa(offset) => (1, offset),
                Saved::AtFramePointer(offset) => (2, offset),
            };
            TableRule { cfa_offset, saved_offset, kind, register, saved }
        };
        match rule {
            Rule::NoTable => of(0, 0, 0, Saved::Same),
            Rule::Frame { register, offset, saved } => of(1, register, offset, saved),
            Rule::Dereference { register, offset, saved } => of(2, register, offset, saved),
            Rule::Stub { offset, from } => TableRule { saved_offset: from.into(), ..of(3, 7, offset, Saved::Same) },
            Rule::Signal => of(4, 0, 0, Saved::Same),
            Rule::Root => of(5, 0, 0, Saved::Same),
            Rule::Unsupported => of(6, 0, 0, Saved::Same),
            Rule::OtherStack { offset, saved } => of(7, 6, offset, saved),
        }
    }

    pub(super) fn bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.cfa_offset.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.saved_offset.to_le_bytes());
        bytes[8..11].copy_from_slice(&[self.kind, self.register, self.saved]);
        bytes
    }
}

/// The table of one file, in its stored layout.
#[derive(Clone)]
pub struct Table {
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    /// The file's own address of the first page.
    pub base: u64,
    counts: Counts,
    /// Rows that found no room: they stand as unsupported, or (beyond 4 GiB of code) are left out.
    pub crowded: u64,
}

/// The numbers of kinds of [`TableRule`] and of ways to save the frame pointer that there are.
const KINDS: u8 = 8;
const WAYS: u8 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    pages: usize,
    rows: usize,
    rules: usize,
}

impl Counts {
    fn length(&self) -> Option<usize> {
        let parts =
            [HEADER, self.pages.checked_mul(8)?, self.rows.checked_mul(4)?, self.rules.checked_mul(TableRule::SIZE)?];
        parts.iter().try_fold(0_usize, |sum, part| sum.checked_add(*part))
    }
}

impl Table {
    /// Makes the table of a file by all CPUs; empty where it has no call-frame information.
    pub fn build(rules: &Rules) -> Table {
        let descriptions = rules.descriptions();
        let workers = std::thread::available_parallelism().map_or(1, |n| n.get()).min(descriptions.len() / 2_000 + 1);
        let share = descriptions.len().div_ceil(workers).max(1);
        let base = descriptions.first().map_or(0, |(listed, _)| listed.start & !(PAGE - 1));
        let chunks: Vec<_> = descriptions.chunks(share).collect();
        Assembly::new(base).whole(&parallel::each(&chunks, |part| Part::read(rules, part, base)))
    }

    /// Takes stored bytes; `None` where they are not a table of this version, whole and unchanged.
    pub fn from_bytes(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Option<Table> {
        let all = (*bytes).as_ref();
        let word = |at: usize| Some(u64::from_le_bytes(all.get(at..at + 8)?.try_into().ok()?));
        if all.get(..8)? != MAGIC || word(8)? != u64::from(VERSION) {
            return None;
        }
        let count = |at| usize::try_from(word(at)?).ok();
        let counts = Counts { pages: count(24)?, rows: count(32)?, rules: count(40)? };
        let (base, crowded) = (word(16)?, word(48)?);
        (counts.length()? == all.len() && word(CHECKSUM)? == checksum(all)).then_some(())?;
        let table = Table { bytes, base, counts, crowded };
        table.is_sound().then_some(table)
    }

    /// Whether all numbers lead to what they name. A checksum keeps out accidents; what the kernel's program follows
    /// among the tables of other files must not depend on one.
    fn is_sound(&self) -> bool {
        let words = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let rows = self.row_bytes();
        let page = |word: u64| {
            let (first, count) = ((word & 0xffff_ffff) as usize, (word >> 32) as usize);
            let Some(rows) = rows.get(first * 4..(first + count) * 4) else { return false };
            let mut least = 0;
            rows.chunks_exact(4).all(|row| {
                let row = words(row, 0);
                let offset = row & 0xffff;
                let in_order = offset >= least && u64::from(offset) < PAGE;
                least = offset + 1;
                in_order && ((row >> 16) as usize) < self.counts.rules
            })
        };
        let rule = |rule: &[u8]| rule[8] < KINDS && rule[10] < WAYS;
        self.base.is_multiple_of(PAGE)
            && self.page_words().all(page)
            && self.rule_bytes().chunks_exact(TableRule::SIZE).all(rule)
    }

    /// The whole table in its stored layout.
    pub fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// How many pages of code there are, each of 4 KiB.
    pub fn pages(&self) -> usize {
        self.counts.pages
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.counts.rows
    }

    /// How many different rules there are.
    pub fn rules(&self) -> usize {
        self.counts.rules
    }

    /// The pages' words: number of the first row in the low half, number of rows in the high half.
    pub fn page_words(&self) -> impl Iterator<Item = u64> + '_ {
        let bytes = &self.bytes()[HEADER..HEADER + self.counts.pages * 8];
        bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")))
    }

    /// The rows, each a little-endian word of 4 bytes.
    pub fn row_bytes(&self) -> &[u8] {
        let at = HEADER + self.counts.pages * 8;
        &self.bytes()[at..at + self.counts.rows * 4]
    }

    /// The rules, each of [`TableRule::SIZE`] bytes.
    pub fn rule_bytes(&self) -> &[u8] {
        &self.bytes()[HEADER + self.counts.pages * 8 + self.counts.rows * 4..]
    }

    /// The stored form of the rule for an address as the file counts it; `None`: no row. The search is the kernel
    /// program's.
    pub fn at(&self, address: u64) -> Option<&[u8]> {
        let relative = address.checked_sub(self.base)?;
        let page = self.page_words().nth(usize::try_from(relative / PAGE).ok()?)?;
        let (first, count) = ((page & 0xffff_ffff) as usize, (page >> 32) as usize);
        let rows = self.row_bytes()[first * 4..(first + count) * 4].chunks_exact(4);
        let rows = rows.map(|row| u32::from_le_bytes(row.try_into().expect("4 bytes")));
        let row = rows.take_while(|row| u64::from(row & 0xffff) <= relative % PAGE).last()?;
        self.rule_bytes().chunks_exact(TableRule::SIZE).nth((row >> 16) as usize)
    }
}

/// Of everything but itself.
fn checksum(all: &[u8]) -> u64 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(&all[..CHECKSUM]);
    hash.update(&all[HEADER..]);
    hash.finalize().into()
}

/// Rows of a run of frame descriptions: where each begins, relative to the table's first page, and its rule's number
/// in `rules`.
#[derive(Default)]
struct Part {
    rows: Vec<(u32, u32)>,
    rules: Numbered,
    crowded: u64,
}

#[derive(Default)]
struct Numbered {
    list: Vec<Rule>,
    numbers: FxHashMap<Rule, u32>,
}

impl Numbered {
    fn number(&mut self, rule: Rule) -> u32 {
        *self.numbers.entry(rule).or_insert_with(|| {
            self.list.push(rule);
            self.list.len() as u32 - 1
        })
    }
}

impl Part {
    fn read(rules: &Rules, descriptions: &[(Range<u64>, Described)], base: u64) -> Part {
        let mut part = Part::default();
        let mut reading = rules.reading();
        let mut end = None;
        for description in descriptions {
            if let Some(end) = end.filter(|end| *end < description.0.start) {
                part.push(end, Rule::NoTable, base);
            }
            let whole = rules.rows(description, &mut reading, |at, rule| part.push(at, rule, base));
            part.crowded += u64::from(!whole);
            end = Some(description.0.end);
        }
        if let Some(end) = end {
            part.push(end, Rule::NoTable, base);
        }
        part
    }

    /// Rows come in ascending order: descriptions are listed so, and each gives rows only where it is listed.
    fn push(&mut self, at: u64, rule: Rule, base: u64) {
        let Ok(at) = u32::try_from(at - base) else {
            self.crowded += 1;
            return;
        };
        let number = self.rules.number(rule);
        match self.rows.last_mut() {
            // Of two rows at one address the later holds; a row like the one before says nothing new.
            Some(last) if last.0 == at => last.1 = number,
            Some(last) if last.1 == number => {}
            _ => self.rows.push((at, number)),
        }
    }
}

/// The table under construction, page by page.
struct Assembly {
    base: u64,
    pages: Vec<u64>,
    rows: Vec<u8>,
    rules: Numbered,
    /// The rule in force where the next page begins.
    force: Option<u16>,
    crowded: u64,
}

impl Assembly {
    fn new(base: u64) -> Assembly {
        let mut rules = Numbered::default();
        // The number of what finds no room.
        rules.number(Rule::Unsupported);
        Assembly { base, pages: Vec::new(), rows: Vec::new(), rules, force: None, crowded: 0 }
    }

    fn whole(mut self, parts: &[Part]) -> Table {
        self.rows.reserve_exact(parts.iter().map(|part| part.rows.len() * 4).sum::<usize>() * 9 / 8);
        for part in parts {
            self.crowded += part.crowded;
            let numbers: Vec<Option<u16>> = part.rules.list.iter().map(|rule| self.rule(*rule)).collect();
            for (at, number) in &part.rows {
                let number = numbers[*number as usize].unwrap_or_else(|| {
                    self.crowded += 1;
                    0
                });
                self.row(*at, number);
            }
        }
        self.finish()
    }

    fn rule(&mut self, rule: Rule) -> Option<u16> {
        if self.rules.list.len() >= MOST_RULES && !self.rules.numbers.contains_key(&rule) {
            return None;
        }
        Some(self.rules.number(rule) as u16)
    }

    fn row(&mut self, at: u32, rule: u16) {
        let (page, offset) = ((u64::from(at) / PAGE) as usize, (u64::from(at) % PAGE) as u16);
        while self.pages.len() <= page {
            self.open_page();
        }
        // Of two rows at one address the later holds: what reached into the page, or the end of another worker's last.
        let first = (self.pages[page] & 0xffff_ffff) as usize;
        let length = self.rows.len();
        if length / 4 > first && self.rows[length - 4..length - 2] == offset.to_le_bytes() {
            self.rows.truncate(length - 4);
        }
        self.push(offset, rule);
        self.force = Some(rule);
    }

    fn open_page(&mut self) {
        self.close_page();
        self.pages.push((self.rows.len() / 4) as u64);
        if let Some(rule) = self.force {
            self.push(0, rule);
        }
    }

    /// Writes down how many rows the last page got.
    fn close_page(&mut self) {
        let rows = (self.rows.len() / 4) as u64;
        if let Some(page) = self.pages.last_mut() {
            let first = *page & 0xffff_ffff;
            *page = first | (rows - first) << 32;
        }
    }

    fn push(&mut self, offset: u16, rule: u16) {
        self.rows.extend((u32::from(offset) | u32::from(rule) << 16).to_le_bytes());
    }

    fn finish(mut self) -> Table {
        self.close_page();
        let counts = Counts { pages: self.pages.len(), rows: self.rows.len() / 4, rules: self.rules.list.len() };
        let mut bytes = Vec::with_capacity(counts.length().unwrap_or(0));
        bytes.extend(MAGIC);
        let words = [
            u64::from(VERSION),
            self.base,
            counts.pages as u64,
            counts.rows as u64,
            counts.rules as u64,
            self.crowded,
            0,
        ];
        words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        self.pages.iter().for_each(|page| bytes.extend(page.to_le_bytes()));
        bytes.extend(&self.rows);
        self.rules.list.iter().for_each(|rule| bytes.extend(TableRule::new(*rule).bytes()));
        let checksum = checksum(&bytes);
        bytes[CHECKSUM..HEADER].copy_from_slice(&checksum.to_le_bytes());
        Table { bytes: Arc::new(bytes), base: self.base, counts, crowded: self.crowded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Image;
    use gimli::UnwindContext;

    /// Our own test program: Rust code, libc's start files, PLT stubs.
    fn own() -> Rules {
        Rules::new(Image::open_path(&std::env::current_exe().unwrap()).unwrap())
    }

    #[test]
    fn the_table_of_a_real_program_gives_for_every_address_what_a_look_up_gives() {
        let rules = own();
        let table = Table::build(&rules);
        let mut context = UnwindContext::new();
        let descriptions = rules.descriptions();
        assert!(descriptions.len() > 1_000 && table.rows() > 4_000, "{} {}", descriptions.len(), table.rows());
        let mut compared = 0;
        for (Range { start, .. }, _) in descriptions.iter().step_by(descriptions.len() / 300) {
            for address in (start.saturating_sub(3)..start + 150).step_by(3) {
                let expected = TableRule::new(rules.at(address, &mut context)).bytes();
                let none = TableRule::new(Rule::NoTable).bytes();
                assert_eq!(table.at(address).unwrap_or(&none), expected, "{address:x}");
                compared += 1;
            }
        }
        assert!(compared > 10_000);
    }

    #[test]
    fn stored_bytes_come_back_and_a_changed_bit_or_a_missing_end_does_not() {
        let table = Table::build(&own());
        let bytes = table.bytes().to_vec();
        let again = Table::from_bytes(Arc::new(bytes.clone())).unwrap();
        assert_eq!((again.base, again.counts), (table.base, table.counts));
        for at in [9, 17, 30, 49, HEADER + 5, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert!(Table::from_bytes(Arc::new(damaged)).is_none(), "byte {at}");
        }
        assert!(Table::from_bytes(Arc::new(bytes[..bytes.len() - 16].to_vec())).is_none());
        assert!(Table::from_bytes(Arc::new(Vec::new())).is_none());
    }
    use crate::sample::unwind::template::{Frames, TEXT, executable};

    fn damaged(header: &[u8], frames: &Frames) -> Rules {
        Rules::new(Image::from_bytes(Arc::new(executable(header, &frames.bytes)), "damaged".as_ref()).unwrap())
    }

    /// Compares every address of the code, both with the linker's search table and without one.
    fn assert_agreement(frames: &Frames, header: &[u8], what: &str) {
        for header in [header, &[]] {
            let rules = damaged(header, frames);
            let table = Table::build(&rules);
            let mut context = UnwindContext::new();
            for address in TEXT - 8..TEXT + 0x5000 {
                let expected = TableRule::new(rules.at(address, &mut context)).bytes();
                let none = TableRule::new(Rule::NoTable).bytes();
                assert_eq!(table.at(address).unwrap_or(&none), expected, "{what}, {} bytes: {address:x}", header.len());
            }
            assert!(Table::from_bytes(Arc::new(table.bytes().to_vec())).is_some(), "{what}");
        }
    }

    /// Two rows: CFA = rsp + 8, and from byte 4 on rsp + this.
    fn two_rows(offset: u8) -> [u8; 3] {
        [0x44, 0x0e, offset]
    }

    #[test]
    fn descriptions_that_overlap_hold_from_their_starts_on_in_the_table_as_in_a_look_up() {
        let mut frames = Frames::default();
        frames.common(false, (1, 0x78), &[]);
        frames.function(TEXT, 0x100, &[0x7f, 0x0e, 16, 0x7f, 0x0e, 24, 0x7f, 0x0e, 32]);
        frames.function(TEXT + 0x10, 0x20, &two_rows(40));
        frames.function(TEXT + 0x10, 0x8, &two_rows(48));
        frames.function(TEXT + 0xf00, 0x3000, &two_rows(56));
        frames.function(TEXT + 0x2000, 0, &[]);
        assert_agreement(&frames, &frames.header(), "overlapping");
        let mut crowd = Frames::default();
        crowd.common(false, (1, 0x78), &[]);
        // So many that several workers share them, each reaching into what follows.
        (0..5_000).for_each(|at| crowd.function(TEXT + at * 4, 0x900, &two_rows((at % 100) as u8)));
        assert_agreement(&crowd, &[], "crowd");
    }

    #[test]
    fn a_search_table_out_of_order_costs_no_rule_and_a_program_that_breaks_off_is_unsupported_from_there() {
        let mut frames = Frames::default();
        frames.common(false, (1, 0x78), &[]);
        (0..9).for_each(|at| frames.function(TEXT + at * 16, 16, &two_rows(16)));
        // Remember, then an instruction that does not exist.
        frames.function(TEXT + 0x200, 0x40, &[0x44, 0x0e, 16, 0x44, 0x3f, 0x44]);
        frames.listed.swap(1, 8);
        let rules = damaged(&frames.header(), &frames);
        let mut context = UnwindContext::new();
        let rules_at = |at: u64, context: &mut _| rules.at(TEXT + at, context);
        assert!((0..0x90).all(|at| matches!(rules_at(at, &mut context), Rule::Frame { register: 7, .. })));
        assert!(matches!(rules_at(0x204, &mut context), Rule::Frame { offset: 16, .. }));
        assert_eq!(rules_at(0x208, &mut context), Rule::Unsupported);
        assert_agreement(&frames, &frames.header(), "out of order");
    }

    #[test]
    fn a_register_that_samples_do_not_have_and_an_expression_that_jumps_are_not_followed() {
        let mut frames = Frames::default();
        frames.common(false, (1, 0x78), &[]);
        // CFA = xmm3 + 8; CFA = the word at register 20 + 8; an expression that is one jump to itself.
        frames.function(TEXT, 16, &[0x0c, 20, 8]);
        frames.function(TEXT + 16, 16, &[0x0f, 3, 0x70 + 20, 8, 0x06]);
        frames.function(TEXT + 32, 16, &[0x0f, 3, 0x2f, 0xfd, 0xff]);
        let rules = damaged(&frames.header(), &frames);
        let mut context = UnwindContext::new();
        for (at, jumps) in [(0, false), (16, false), (32, true), (48, false)] {
            let expected = if at == 48 { Rule::NoTable } else { Rule::Unsupported };
            assert_eq!((rules.at(TEXT + at, &mut context), rules.jumps(TEXT + at, &mut context)), (expected, jumps));
        }
    }

    #[test]
    fn a_long_program_that_many_descriptions_share_is_not_read_for_each() {
        let mut frames = Frames::default();
        frames.common(false, (1, 0x78), &[]);
        frames.function(TEXT, 0x4000, &vec![0; 1 << 20]);
        let (_, locate) = frames.listed[0];
        frames.listed = (0..500).map(|at| (frames.listed[0].0 + at * 4, locate)).collect();
        let table = Table::build(&damaged(&frames.header(), &frames));
        assert!(table.crowded > 400, "{}", table.crowded);
    }

    #[test]
    fn stored_numbers_that_lead_out_of_the_table_are_refused_though_the_checksum_is_right() {
        let mut frames = Frames::default();
        frames.common(false, (1, 0x78), &[]);
        frames.function(TEXT, 0x1800, &two_rows(16));
        let table = Table::build(&damaged(&frames.header(), &frames));
        let sealed = |at: usize, byte: u8| {
            let mut bytes = table.bytes().to_vec();
            bytes[at] = byte;
            let sum = checksum(&bytes);
            bytes[CHECKSUM..HEADER].copy_from_slice(&sum.to_le_bytes());
            Table::from_bytes(Arc::new(bytes)).is_some()
        };
        let (rows, rules) = (HEADER + table.pages() * 8, HEADER + table.pages() * 8 + table.rows() * 4);
        assert!(sealed(48, 1), "another count of crowded rows is as good");
        for (at, byte, what) in [
            (16, 1, "pages that begin within one"),
            (HEADER, 200, "a page whose rows lie behind the last"),
            (HEADER + 4, 200, "a page of too many rows"),
            (rows + 4, 0, "rows out of order"),
            (rows + 1, 0xff, "a row outside of its page"),
            (rows + 2, 99, "a row with a rule that is not there"),
            (rules + 8, 8, "a rule of no known kind"),
            (rules + 10, 3, "a frame pointer saved in no known way"),
        ] {
            assert!(!sealed(at, byte), "{what}");
        }
    }
}
