//! All call-frame rows of a file as one table that a program in the kernel can search: the code in pages of 4 KiB, of each
//! page its rows, of each row its rule. Built once for a file, by all CPUs, and kept by build-id (`cache.rs`).
//! Invariant: for every address the table gives the rule that [`Rules::at`] gives, but for what it has no room for
//! (65,536 different rules), which is [`Rule::Unsupported`] and counted.
//!
//! Layout, little-endian: a header of 64 bytes, `pages` words of 8 bytes (low half: number of the page's first row, high half:
//! how many), `rows` words of 4 bytes (low half: offset within the page, high half: number of the rule), `rules` of 16
//! bytes ([`TableRule`]).

use super::rules::{Rule, Rules, Saved};
use gimli::UnwindContext;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Bytes of code that a page of a table covers.
pub const PAGE: u64 = 4096;
const HEADER: usize = 64;
const MAGIC: &[u8; 8] = b"wireprof";
/// Changes with the layout and with what a rule means, so that kept tables of another version are built anew.
const VERSION: u32 = 1;
/// A file whose code spans more is not followed: 16 GiB.
const MOST_PAGES: u64 = 1 << 22;
const MOST_RULES: usize = 1 << 16;

/// A [`Rule`] in the form that the kernel's program reads: `struct rule` of `src/sample/ebpf/bpf/unwind.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TableRule {
    pub cfa_offset: i32,
    pub saved_offset: i32,
    pub kind: u8,
    pub register: u8,
    pub saved: u8,
}

impl TableRule {
    pub const SIZE: usize = 16;

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
        }
    }

    fn bytes(&self) -> [u8; Self::SIZE] {
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
    /// Rows that found no room and stand as unsupported.
    pub crowded: u64,
}

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
        let base = descriptions.first().map_or(0, |(start, _)| start & !(PAGE - 1));
        let parts: Vec<Part> = std::thread::scope(|scope| {
            let read = |part| scope.spawn(move || Part::read(rules, part, base));
            let workers: Vec<_> = descriptions.chunks(share).map(read).collect();
            workers.into_iter().map(|worker| worker.join().unwrap_or_default()).collect()
        });
        Assembly::new(base).whole(&parts)
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
        let (base, crowded, checksum) = (word(16)?, word(48)?, word(56)?);
        (counts.length()? == all.len() && checksum == u64::from(crc32fast::hash(&all[HEADER..]))).then_some(())?;
        Some(Table { bytes, base, counts, crowded })
    }

    pub fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    pub fn pages(&self) -> usize {
        self.counts.pages
    }

    pub fn rows(&self) -> usize {
        self.counts.rows
    }

    pub fn rules(&self) -> usize {
        self.counts.rules
    }

    /// The pages' words.
    pub fn page_words(&self) -> impl Iterator<Item = u64> + '_ {
        let bytes = &self.bytes()[HEADER..HEADER + self.counts.pages * 8];
        bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("8 bytes")))
    }

    pub fn row_bytes(&self) -> &[u8] {
        let at = HEADER + self.counts.pages * 8;
        &self.bytes()[at..at + self.counts.rows * 4]
    }

    pub fn rule_bytes(&self) -> &[u8] {
        &self.bytes()[HEADER + self.counts.pages * 8 + self.counts.rows * 4..]
    }

    /// The stored form of the rule for an address as the file counts it; `None`: no row. The search is the kernel program's.
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

/// Rows of a run of frame descriptions: where each begins, relative to the table's first page, and its rule's number in `rules`.
#[derive(Default)]
struct Part {
    rows: Vec<(u32, u32)>,
    rules: Numbered,
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
    fn read(rules: &Rules, descriptions: &[(u64, usize)], base: u64) -> Part {
        let mut part = Part::default();
        let mut context = UnwindContext::new();
        // Descriptions that overlap, as damaged files have them: what comes later holds from its start on.
        let mut end = None;
        for (start, offset) in descriptions {
            if let Some(end) = end.filter(|end| end < start) {
                part.push(end, Rule::NoTable, base);
            }
            let reached = rules.rows(*offset, &mut context, |at, rule| part.push(at, rule, base));
            end = reached.or(Some(*start));
        }
        if let Some(end) = end {
            part.push(end, Rule::NoTable, base);
        }
        part
    }

    fn push(&mut self, at: u64, rule: Rule, base: u64) {
        let Some(at) = at.checked_sub(base).filter(|at| *at < MOST_PAGES * PAGE).and_then(|at| u32::try_from(at).ok())
        else {
            return;
        };
        let number = self.rules.number(rule);
        match self.rows.last_mut() {
            // Of two rows at one address the later holds; a row like the one before says nothing new.
            Some(last) if last.0 == at => last.1 = number,
            Some(last) if last.0 < at && last.1 == number => {}
            Some(last) if last.0 > at => {}
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
        // A row that begins with the page replaces what reaches into it.
        let first = (self.pages[page] & 0xffff_ffff) as usize;
        if offset == 0 && self.rows.len() / 4 > first {
            self.rows.truncate(first * 4);
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
        let checksum = u64::from(crc32fast::hash(&bytes[HEADER..]));
        bytes[HEADER - 8..HEADER].copy_from_slice(&checksum.to_le_bytes());
        Table { bytes: Arc::new(bytes), base: self.base, counts, crowded: self.crowded }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Image;

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
        for (start, _) in descriptions.iter().step_by(descriptions.len() / 300) {
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
        for at in [9, 30, HEADER + 5, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert!(Table::from_bytes(Arc::new(damaged)).is_none(), "byte {at}");
        }
        assert!(Table::from_bytes(Arc::new(bytes[..bytes.len() - 16].to_vec())).is_none());
        assert!(Table::from_bytes(Arc::new(Vec::new())).is_none());
    }
}
