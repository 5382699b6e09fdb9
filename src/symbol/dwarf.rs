//! Functions and inlined functions by address, from DWARF 4 and 5. Invariant: only units that hold an asked-for address are
//! parsed, once for each reader; a damaged unit costs its own addresses.

use super::debug_files::split_unit;
use super::image::Files;
use super::source::Source;
use addr2line::{LookupContinuation, LookupResult, SplitDwarfLoad};
use gimli::{EndianSlice, LittleEndian, SectionId};
use self_cell::self_cell;
use std::sync::Arc;
use typed_arena::Arena;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// What the parsed units borrow from.
struct Store {
    files: Arc<Files>,
    /// Split debug information, loaded as it is asked for.
    split: Arena<Source>,
}

struct Units<'a> {
    context: addr2line::Context<Slice<'a>>,
    package: Option<gimli::DwarfPackage<Slice<'a>>>,
}

self_cell!(
    struct Cell {
        owner: Store,
        #[not_covariant]
        dependent: Units,
    }
);

/// One function at an address, as the debug information names it.
pub(super) struct Found<'a> {
    /// Still mangled; `None` where only a line is known.
    pub(super) name: Option<&'a [u8]>,
    pub(super) file: Option<&'a str>,
}

/// Reads one module's debug information. Not shared between threads: each has its own.
pub(super) struct Reader {
    cell: Cell,
    /// The first split unit that could not be found, and how many.
    pub(super) absent: Option<(String, usize)>,
}

fn dwarf(source: &Source) -> gimli::Dwarf<Slice<'_>> {
    let section = |id: SectionId| Ok::<_, std::convert::Infallible>(Slice::new(source.section(id), LittleEndian));
    match gimli::Dwarf::load(section) {
        Ok(dwarf) => dwarf,
        Err(never) => match never {},
    }
}

impl Reader {
    /// Reads the list of units; `None` where the module has no debug information.
    pub(super) fn open(files: Arc<Files>) -> Result<Option<Reader>, gimli::Error> {
        if !files.debug().has_debug_info() {
            return Ok(None);
        }
        let cell = Cell::try_new(Store { files, split: Arena::new() }, |store| units(&store.files))?;
        Ok(Some(Reader { cell, absent: None }))
    }

    /// Hands the functions at an address to `take`, innermost first; all but the last are inlined into the next. Names
    /// and files stay where they are in memory as long as the reader lives.
    pub(super) fn frames<T>(&mut self, svma: u64, take: impl FnOnce(&[Found<'_>]) -> T) -> Result<T, gimli::Error> {
        let absent = &mut self.absent;
        self.cell.with_dependent(|store, units| {
            let mut lookup = units.context.find_frames(svma);
            let mut frames = loop {
                match lookup {
                    LookupResult::Output(frames) => break frames?,
                    LookupResult::Load { load, continuation } => {
                        lookup = continuation.resume(split(store, units, load, absent)?);
                    }
                }
            };
            let mut found = Vec::new();
            while let Some(frame) = frames.next()? {
                let name = frame.function.map(|function| function.name.slice());
                found.push(Found { name, file: frame.location.and_then(|location| location.file) });
            }
            Ok(take(&found))
        })
    }
}

fn units(files: &Files) -> Result<Units<'_>, gimli::Error> {
    let mut sections = dwarf(files.debug());
    if let Some(supplement) = &files.companions.supplement {
        sections.set_sup(dwarf(supplement));
    }
    sections.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::Duplicates);
    let package = files.companions.package.as_ref().and_then(|package| {
        let section = |id| Ok::<_, gimli::Error>(Slice::new(package.section(id), LittleEndian));
        gimli::DwarfPackage::load(section, Slice::new(&[], LittleEndian)).ok()
    });
    Ok(Units { context: addr2line::Context::from_dwarf(sections)?, package })
}

/// Finds a unit's split debug information: in the package, else in a file of its own.
fn split<'a>(
    store: &'a Store,
    units: &Units<'a>,
    load: SplitDwarfLoad<Slice<'a>>,
    absent: &mut Option<(String, usize)>,
) -> Result<Option<Arc<gimli::Dwarf<Slice<'a>>>>, gimli::Error> {
    if let Some(package) = &units.package
        && let Some(unit) = package.find_cu(load.dwo_id, &load.parent)?
    {
        return Ok(Some(Arc::new(unit)));
    }
    let Some(path) = load.path else { return Ok(None) };
    let loaded =
        split_unit(store.files.place(), load.comp_dir.map(|folder| folder.slice()), path.slice()).and_then(|source| {
            let mut unit = dwarf(store.split.alloc(source));
            let header = unit.units().next().ok()??;
            let belongs = unit.unit(header).ok()?.dwo_id == Some(load.dwo_id);
            unit.make_dwo(&load.parent);
            belongs.then(|| Arc::new(unit))
        });
    if loaded.is_none() {
        let (_, count) = absent.get_or_insert_with(|| (path.to_string_lossy().into_owned(), 0));
        *count += 1;
    }
    Ok(loaded)
}
