//! One module: its symbol table and its debug information joined, looked up in parallel. Invariant: an address is always
//! given to the same lane, so that no unit is parsed twice but at a border between lanes.

use super::debug_files::{self, Companions};
use super::dwarf::{Found, Reader};
use super::extents::Extents;
use super::locate::{Located, Place};
use super::name::demangle;
use super::source::{Elf, Naming, Source};
use super::table::{Segments, Table};
use crate::profile::Miss;
use object::Object;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

/// Fewer new addresses than this are looked up in one lane: opening another costs more.
const WORTH_A_LANE: usize = 256;

/// A module's files.
pub(super) struct Files {
    own: Source,
    pub(super) companions: Companions,
    place: Place,
}

impl Files {
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
        let has_table =
            |source: &&Source| Elf::parse(source.bytes()).is_ok_and(|elf| elf.section_by_name(".symtab").is_some());
        self.companions.mini.is_none() && !self.debug().has_debug_info() && !self.with_symbols().iter().any(has_table)
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
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
    table: Table,
    extents: Option<Extents>,
}

/// A module that can be looked into.
pub(super) struct Image {
    facts: Facts,
    lanes: Vec<Lane>,
    /// Lane `i` has the addresses below `borders[i]` that lower lanes have not.
    borders: Vec<u64>,
}

/// One thread's share of a module, and what it has parsed and demangled.
#[derive(Default)]
struct Lane {
    reader: Opened,
    texts: Texts,
    damage: Option<String>,
    /// Addresses that no symbol covers.
    unnamed: usize,
}

/// Names and source files by place in memory: the bytes do not move while the lane's reader and its files live, and
/// compilers store each text once.
#[derive(Default)]
struct Texts {
    names: HashMap<(usize, usize), Arc<str>>,
    files: HashMap<(usize, usize), Arc<str>>,
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
    offsets: Vec<u64>,
}

impl Image {
    /// Finds the module's companions and reads its symbol table.
    pub(super) fn open(located: Located, debug_roots: &[PathBuf]) -> Result<Image, String> {
        let Located { bytes, place } = located;
        let segments = Elf::parse(&*bytes)
            .map(|elf| Segments::read(&elf))
            .map_err(|error| format!("{}: not a readable ELF file ({error})", place.path.display()))?;
        let own = Source::load(bytes, Naming::Plain);
        let companions = debug_files::find(&place, &own, debug_roots);
        let files = Arc::new(Files { own, companions, place });
        let table = Table::build(&files.with_symbols());
        let extents = Extents::read(&files.own);
        Ok(Image { facts: Facts { files, segments, table, extents }, lanes: Vec::new(), borders: Vec::new() })
    }

    /// Where the linker placed the function that has the byte at this offset in the file, for addresses without a name; the
    /// byte itself where it is in no function, `None` where it is not loaded at all.
    pub(super) fn start(&self, offset: u64) -> Option<u64> {
        let Facts { files, segments, extents, .. } = &self.facts;
        let svma = segments.svma(offset)?;
        Some(extents.as_ref().and_then(|extents| extents.start(&files.own, svma)).unwrap_or(svma))
    }

    /// Splits new addresses (ascending offsets in the file) into tasks, at most `threads`.
    pub(super) fn plan(&mut self, offsets: &[u64], threads: usize) -> Vec<Task<'_>> {
        let wanted = threads.min(offsets.len() / WORTH_A_LANE).max(1);
        // Once split, it stays split: what a lane has parsed is worth more than balance.
        if self.lanes.len() < 2 && wanted > self.lanes.len() {
            self.lanes.resize_with(wanted, Lane::default);
            self.borders = (1..wanted).map(|lane| offsets[lane * offsets.len() / wanted]).collect();
            self.borders.push(u64::MAX);
        }
        let mut rest = offsets;
        let mut tasks = Vec::new();
        for (lane, &border) in self.lanes.iter_mut().zip(&self.borders) {
            let (mine, others) = rest.split_at(rest.partition_point(|&offset| offset < border || border == u64::MAX));
            rest = others;
            if !mine.is_empty() {
                tasks.push(Task { facts: &self.facts, lane, offsets: mine.to_vec() });
            }
        }
        tasks
    }

    /// What was found damaged or absent, so far.
    pub(super) fn notes(&self) -> Vec<String> {
        let files = &self.facts.files;
        let path = files.place.path.display();
        let mut notes = Vec::new();
        if let Some(damage) =
            files.debug().damage().or_else(|| self.lanes.iter().find_map(|lane| lane.damage.as_deref()))
        {
            notes.push(format!(
                "{path}: damaged debug information ({damage}); functions are named from its symbol table there"
            ));
        } else if self.lanes.iter().any(|lane| lane.unnamed > 0) && files.are_stripped() {
            notes.push(format!(
                "{path}: stripped, so that only exported functions have names; install its debug package or build it with symbols"
            ));
        }
        let absent: Vec<_> = self.lanes.iter().filter_map(Lane::absent).collect();
        if let Some((first, _)) = absent.first() {
            let count: usize = absent.iter().map(|(_, count)| count).sum();
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
        let Task { facts, lane, offsets } = self;
        let look_up = |offset| {
            let functions = catch_unwind(AssertUnwindSafe(|| lane.find(facts, offset))).unwrap_or_else(|_| {
                let damage = Some("a parser panicked".into());
                *lane = Lane { reader: Opened::None, damage, ..Lane::default() };
                Err(Miss::Malformed)
            });
            lane.unnamed += usize::from(functions == Err(Miss::NoSymbol));
            (offset, functions)
        };
        offsets.into_iter().map(look_up).collect()
    }
}

impl Lane {
    fn find(&mut self, facts: &Facts, offset: u64) -> Functions {
        let svma = facts.segments.svma(offset).ok_or(Miss::NoSymbol)?;
        self.open(facts);
        let files = facts.files.with_symbols();
        let hit = facts.table.find(svma, &files);
        let Lane { reader, texts, damage, unnamed: _ } = self;
        let mut functions = Vec::new();
        if let Opened::Reader(reader) = reader {
            let result = reader.frames(svma, |found| texts.inlined(found, &mut functions));
            if let Err(error) = result {
                damage.get_or_insert_with(|| error.to_string());
            }
        }
        match (functions.last_mut(), hit) {
            // The linker's word on which function this is, clones and outlined parts apart, is better than the compiler's.
            (Some(outermost), Some(hit)) if hit.sized || outermost.name.is_empty() => {
                outermost.name = texts.name(hit.name)
            }
            (None, Some(hit)) => {
                functions.push(Function { name: texts.name(hit.name), file: None, inlined: false, module: None })
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

    fn absent(&self) -> Option<(&str, usize)> {
        match &self.reader {
            Opened::Reader(reader) => reader.absent.as_ref().map(|(first, count)| (first.as_str(), *count)),
            _ => None,
        }
    }
}

impl Texts {
    fn inlined(&mut self, found: &[Found<'_>], functions: &mut Vec<Function>) {
        let last = found.len().saturating_sub(1);
        functions.extend(found.iter().enumerate().map(|(index, found)| Function {
            name: self.name(found.name.unwrap_or_default()),
            file: found.file.map(|file| self.file(file)),
            inlined: index < last,
            module: None,
        }));
    }

    fn name(&mut self, raw: &[u8]) -> Arc<str> {
        let text = || demangle(&String::from_utf8_lossy(raw)).into();
        self.names.entry((raw.as_ptr() as usize, raw.len())).or_insert_with(text).clone()
    }

    fn file(&mut self, file: &str) -> Arc<str> {
        self.files.entry((file.as_ptr() as usize, file.len())).or_insert_with(|| file.into()).clone()
    }
}
