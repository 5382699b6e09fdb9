//! One module: its symbol table and its debug information joined, looked up in parallel. Invariant: what an address
//! is depends on the files alone, whatever was looked up before and wherever it was kept; an address is always given
//! to the same lane, so that no unit is parsed twice but at a border between lanes, or after a lane had to forget.

use super::answers::{Answers, Cache};
use super::crates::Crates;
use super::debug_files::{self, Companions};
use super::dwarf::Reader;
use super::extents::Extents;
use super::locate::{FileLocation, Located};
use super::packages;
use super::source::{Elf, Naming, Source, build_id};
use super::symbolizer::Options;
use super::table::{Segments, Table, has_symbol_table};
use super::texts::Texts;
use super::units::Units;
use crate::elf::GoLayout;
use crate::profile::Miss;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Fewer new addresses than this are looked up in one lane: opening another costs more.
const WORTH_A_LANE: usize = 256;

/// A module's files.
pub(super) struct Files {
    own: Source,
    pub(super) companions: Companions,
    location: FileLocation,
}

impl Files {
    /// The module's own file.
    pub(super) fn own(&self) -> &Source {
        &self.own
    }

    /// The file that holds the debug information.
    pub(super) fn debug(&self) -> &Source {
        self.companions.debug.as_ref().unwrap_or(&self.own)
    }

    /// Those with symbol tables.
    fn with_symbols(&self) -> Vec<&Source> {
        [Some(&self.own), self.companions.debug.as_ref(), self.companions.mini.as_ref()].into_iter().flatten().collect()
    }

    /// No file has the full table of functions.
    fn are_stripped(&self) -> bool {
        let is_named = self.with_symbols().iter().any(|source| has_symbol_table(source));
        self.companions.mini.is_none()
            && !self.debug().has_debug_info()
            && !is_named
            && GoLayout::of(self.own.bytes()).is_none()
    }

    pub(super) fn location(&self) -> &FileLocation {
        &self.location
    }

    /// Gives back the pages that were looked at.
    fn release(&self) {
        [Some(&self.own)].into_iter().chain(self.companions.files()).flatten().for_each(Source::release);
    }
}

/// A function at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// Demangled.
    pub(super) name: Arc<str>,
    pub(super) file: Option<Arc<str>>,
    pub(super) inlined: bool,
    /// Where it is not the file itself: `[ext4]` within the kernel.
    pub(super) module: Option<Arc<str>>,
}

/// Functions at an address, innermost first.
pub(super) type Functions = Result<Vec<Function>, Miss>;

struct Facts {
    files: Arc<Files>,
    segments: Segments,
    /// Read when the first address is looked up.
    table: OnceLock<Table>,
    extents: Option<Extents>,
    /// Read when the first addresses are looked up; none where all units may be held.
    units: OnceLock<Units>,
    /// Read when the first function is looked up in the debug information.
    crates: OnceLock<Crates>,
    remedy: OnceLock<String>,
    /// Bytes of debug information that all lanes together may have parsed at one time.
    most_parsed: u64,
}

impl Facts {
    /// Where an address comes among others to be looked up. Functions of one unit can lie anywhere in the file, but
    /// it should be parsed once.
    fn order(&self, offset: u64) -> Order {
        let is_large = || self.files.debug().debug_info_bytes() > self.most_parsed;
        let read = || if is_large() { Units::read(&self.files) } else { Units::default() };
        let units = self.units.get_or_init(|| catch_unwind(AssertUnwindSafe(read)).unwrap_or_default());
        (self.segments.svma(offset).map_or(u32::MAX, |svma| units.of(svma)), offset)
    }

    /// How the module's functions get names.
    fn remedy(&self) -> &str {
        let location = self.files.location();
        let root = location.roots.first().map_or(Path::new("/"), |root| root);
        self.remedy.get_or_init(|| packages::remedy(root, &location.path))
    }

    fn crates(&self) -> &Crates {
        let read = || catch_unwind(AssertUnwindSafe(|| Crates::read(&self.files))).unwrap_or_default();
        self.crates.get_or_init(read)
    }

    fn table(&self) -> &Table {
        self.table.get_or_init(|| Table::build(&self.files.with_symbols()))
    }
}

/// A unit's number, and an offset in the file.
type Order = (u32, u64);

/// A module that can be looked into.
pub(super) struct Image {
    facts: Facts,
    lanes: Vec<Lane>,
    /// Lane `i` has the addresses before `borders[i]` that earlier lanes have not.
    borders: Vec<Order>,
    /// What was resolved in earlier runs.
    answers: Option<Answers>,
    /// Earlier runs found addresses that no symbol covers.
    unnamed: bool,
}

/// One thread's share of a module, and what it has parsed and demangled.
#[derive(Default)]
struct Lane {
    reader: Opened,
    texts: Texts,
    damage: Option<String>,
    /// Addresses that no symbol covers.
    unnamed: usize,
    /// Split units that were not found.
    absent: BTreeSet<String>,
    /// Files were asked for that the kept answers do not know of.
    looked_elsewhere: bool,
}

#[derive(Default)]
enum Opened {
    #[default]
    NotYet,
    None,
    Reader(Box<Reader>),
}

/// Addresses of one lane, to be looked up on any thread.
pub(super) struct Task<'a> {
    facts: &'a Facts,
    lane: &'a mut Lane,
    /// In their order.
    offsets: Vec<Order>,
    /// This lane's share of [`Facts::most_parsed`].
    most_parsed: u64,
}

impl Image {
    /// Finds the module's companions, and what the cache has of earlier runs. No section or symbol is read yet.
    pub(super) fn open(located: Located, options: &Options) -> Result<Image, String> {
        let cache = options.cache.as_ref();
        let Located { bytes, location } = located;
        let segments = Elf::parse(&*bytes)
            .map(|elf| Segments::read(&elf))
            .map_err(|error| format!("{}: not a readable ELF file ({error})", location.path.display()))?;
        let build_id = build_id(&bytes).ok().flatten();
        let sections = cache.map(Cache::sections);
        let own = Source::load(bytes, Naming::Plain, sections.as_ref());
        let companions = debug_files::find(&location, &own, options, sections.as_ref());
        let files = Arc::new(Files { own, companions, location });
        let answers = cache.and_then(|cache| Answers::open(cache, build_id, &files));
        let extents = Extents::read(&files.own);
        let (table, units) = (OnceLock::new(), OnceLock::new());
        let (crates, remedy, most_parsed) = (OnceLock::new(), OnceLock::new(), options.most_parsed);
        let facts = Facts { files, segments, table, extents, units, crates, remedy, most_parsed };
        Ok(Image { facts, lanes: Vec::new(), borders: Vec::new(), answers, unnamed: false })
    }

    /// Takes from `offsets` those that were resolved in an earlier run.
    pub(super) fn recall(&mut self, offsets: &mut Vec<u64>) -> Vec<(u64, Functions)> {
        let Some(answers) = &mut self.answers else { return Vec::new() };
        let mut known = Vec::new();
        offsets.retain(|&offset| match answers.find(offset) {
            Some(functions) => {
                self.unnamed |= functions.is_err();
                known.push((offset, functions));
                false
            }
            None => true,
        });
        known
    }

    /// Keeps new answers for later runs, unless something was damaged, or depends on more than the kept answers know
    /// of.
    pub(super) fn remember(&mut self, found: &[(u64, Functions)]) {
        let is_damaged = self.facts.files.debug().damage().is_some();
        let doubtful = |lane: &Lane| lane.damage.is_some() || lane.looked_elsewhere;
        if let Some(answers) = &mut self.answers
            && !is_damaged
            && !self.lanes.iter().any(doubtful)
        {
            answers.add(found);
        }
    }

    /// Where the linker placed the function that has the byte at this offset in the file, for addresses without a
    /// name; the byte itself where it is in no function, `None` where it is not loaded at all.
    pub(super) fn start(&self, offset: u64) -> Option<u64> {
        let Facts { files, segments, extents, .. } = &self.facts;
        let svma = segments.svma(offset)?;
        Some(extents.as_ref().and_then(|extents| extents.start(&files.own, svma)).unwrap_or(svma))
    }

    /// Splits new addresses (offsets in the file) into tasks, at most `threads`.
    pub(super) fn plan(&mut self, offsets: &[u64], threads: usize) -> Vec<Task<'_>> {
        let mut offsets: Vec<Order> = offsets.iter().map(|&offset| self.facts.order(offset)).collect();
        offsets.sort_unstable();
        let wanted = threads.min(offsets.len() / WORTH_A_LANE).max(1);
        // Once split, it stays split: what a lane has parsed is worth more than balance.
        if self.lanes.len() < 2 && wanted > self.lanes.len() {
            self.lanes.resize_with(wanted, Lane::default);
            self.borders = (1..wanted).map(|lane| offsets[lane * offsets.len() / wanted]).collect();
            self.borders.push((u32::MAX, u64::MAX));
        }
        let most_parsed = self.facts.most_parsed / self.lanes.len() as u64;
        let last = self.lanes.len() - 1;
        let mut rest = &offsets[..];
        let mut tasks = Vec::new();
        for (index, (lane, &border)) in self.lanes.iter_mut().zip(&self.borders).enumerate() {
            let mine = if index == last { rest.len() } else { rest.partition_point(|&order| order < border) };
            let (mine, others) = rest.split_at(mine);
            rest = others;
            if !mine.is_empty() {
                tasks.push(Task { facts: &self.facts, lane, offsets: mine.to_vec(), most_parsed });
            }
        }
        tasks
    }

    /// What was found damaged or absent, so far.
    pub(super) fn notes(&self) -> Vec<String> {
        let files = &self.facts.files;
        let path = files.location.path.display();
        let mut notes = Vec::new();
        if let Some(damage) =
            files.debug().damage().or_else(|| self.lanes.iter().find_map(|lane| lane.damage.as_deref()))
        {
            notes.push(format!(
                "{path}: damaged debug information ({damage}); functions are named from its symbol table there"
            ));
        } else if (self.unnamed || self.lanes.iter().any(|lane| lane.unnamed > 0)) && files.are_stripped() {
            notes
                .push(format!("{path}: stripped, so that only exported functions have names; {}", self.facts.remedy()));
        }
        let absent: BTreeSet<&str> =
            self.lanes.iter().flat_map(|lane| lane.absent.iter().map(String::as_str)).collect();
        if let Some(first) = absent.first() {
            let count = absent.len();
            notes.push(format!(
                "{path}: split debug information of {count} units not found (first {first}); no inlined functions there"
            ));
        }
        notes
    }
}

impl Task<'_> {
    /// Looks up each address. A panic in a parser costs its address and the lane's debug information, nothing else.
    pub(super) fn run(self) -> Vec<(u64, Functions)> {
        let Task { facts, lane, offsets, most_parsed } = self;
        let mut in_unit = None;
        let look_up = |(unit, offset)| {
            if in_unit.replace(unit) != Some(unit) {
                lane.forget(facts, most_parsed);
            }
            let functions = catch_unwind(AssertUnwindSafe(|| lane.find(facts, offset))).unwrap_or_else(|_| {
                let damage = Some("a parser panicked".into());
                *lane = Lane { reader: Opened::None, damage, ..Lane::default() };
                Err(Miss::Malformed)
            });
            lane.unnamed += usize::from(functions == Err(Miss::NoSymbol));
            (offset, functions)
        };
        let found = offsets.into_iter().map(look_up).collect();
        facts.files.release();
        found
    }
}

impl Lane {
    fn find(&mut self, facts: &Facts, offset: u64) -> Functions {
        let svma = facts.segments.svma(offset).ok_or(Miss::NoSymbol)?;
        self.open(facts);
        let files = facts.files.with_symbols();
        let hit = facts.table().find(svma, &files);
        let crates = facts.crates();
        let Lane { reader, texts, damage, absent, looked_elsewhere, unnamed: _ } = self;
        let mut functions = Vec::new();
        if let Opened::Reader(reader) = reader {
            let result = reader.frames(svma, |found| texts.inlined(found, crates, &mut functions));
            if let Err(error) = result {
                damage.get_or_insert_with(|| error.to_string());
            }
            absent.append(&mut reader.absent);
            *looked_elsewhere |= reader.looked_elsewhere;
        }
        match (functions.last_mut(), hit) {
            // The linker's word on which function this is, clones and outlined parts apart, is better than the
            // compiler's.
            (Some(outermost), Some(hit)) if hit.sized || outermost.name.is_empty() => {
                outermost.name = texts.name(hit.name);
            }
            (None, Some(hit)) => {
                functions.push(Function { name: texts.name(hit.name), file: None, inlined: false, module: None });
            }
            _ => {}
        }
        let named = functions.iter().all(|function| !function.name.is_empty()) && !functions.is_empty();
        if named { Ok(functions) } else { Err(if damage.is_some() { Miss::Malformed } else { Miss::NoSymbol }) }
    }

    fn open(&mut self, facts: &Facts) {
        if matches!(self.reader, Opened::NotYet) {
            self.reader = match Reader::open(facts.files.clone()) {
                Ok(Some(reader)) => Opened::Reader(Box::new(reader)),
                Ok(None) => Opened::None,
                Err(error) => {
                    self.damage = Some(error.to_string());
                    Opened::None
                }
            };
        }
    }

    /// Drops what was parsed once it is much, with the pages that it was parsed from: a program can have more debug
    /// information than there is memory.
    fn forget(&mut self, facts: &Facts, most_parsed: u64) {
        if matches!(&self.reader, Opened::Reader(reader) if reader.parsed() >= most_parsed) {
            self.reader = Opened::NotYet;
            // Texts are known by their location in memory, and some lay in the reader's.
            self.texts = Texts::default();
            facts.files.release();
        }
    }
}
