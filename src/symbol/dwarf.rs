//! Functions and inlined functions by address, from DWARF 4 and 5. Invariant: only units that hold an asked-for
//! address are parsed, once for each reader; a damaged unit costs its own addresses.

use super::debug_files::split_unit;
use super::image::Files;
use super::scopes::Scopes;
use super::source::Source;
use addr2line::{LookupContinuation, LookupResult, SplitDwarfLoad};
use gimli::{EndianSlice, LittleEndian, SectionId};
use self_cell::self_cell;
use std::collections::{BTreeSet, HashMap};
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

/// What tells a unit from others: its location, and its number where it is split, since each split one may lie at 0
/// of its file.
type UnitKey = (usize, Option<u64>);

/// One function at an address, as the debug information names it.
pub(super) struct Found<'a> {
    /// Still mangled; `None` where only a line is known.
    pub(super) name: Option<&'a [u8]>,
    pub(super) file: Option<&'a str>,
    /// Of the unit that has the address.
    pub(super) language: Option<gimli::DwLang>,
    /// Namespaces and types around a C++ function without a mangled name.
    pub(super) scope: Option<Arc<str>>,
}

/// Reads one module's debug information. Not shared between threads: each has its own.
pub(super) struct Reader {
    cell: Cell,
    /// Split units that were asked for and not found.
    pub(super) absent: BTreeSet<String>,
    /// Split units in files of their own were asked for, whether found or not.
    pub(super) looked_elsewhere: bool,
    /// Bytes of debug information of the units that were parsed.
    parsed: u64,
    /// The last of them.
    unit: Option<UnitKey>,
    /// By unit, of those that were asked for a scope.
    scopes: HashMap<UnitKey, Scopes>,
}

/// A file's sections.
pub(super) fn dwarf(source: &Source) -> gimli::Dwarf<Slice<'_>> {
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
        Ok(Some(Reader {
            cell,
            absent: BTreeSet::new(),
            looked_elsewhere: false,
            parsed: 0,
            unit: None,
            scopes: HashMap::new(),
        }))
    }

    /// Bytes of debug information of the units that were parsed. What is parsed is held as long as the reader lives.
    pub(super) fn parsed(&self) -> u64 {
        self.parsed
    }

    /// Hands the functions at an address to `take`, innermost first; all but the last are inlined into the next. Names
    /// and files stay where they are in memory as long as the reader lives.
    pub(super) fn frames<T>(&mut self, svma: u64, take: impl FnOnce(&[Found<'_>]) -> T) -> Result<T, gimli::Error> {
        let Reader { cell, absent, looked_elsewhere, parsed, unit, scopes } = self;
        cell.with_dependent(|store, units| {
            let mut lookup = units.context.find_frames(svma);
            let mut frames = loop {
                match lookup {
                    LookupResult::Output(frames) => break frames?,
                    LookupResult::Load { load, continuation } => {
                        lookup = continuation.resume(split(store, units, load, absent, looked_elsewhere)?);
                    }
                }
            };
            let (mut found, mut unscoped) = (Vec::new(), Vec::new());
            while let Some(frame) = frames.next()? {
                let language = frame.function.as_ref().and_then(|function| function.language);
                let name = frame.function.map(|function| function.name.slice());
                let file = frame.location.and_then(|location| location.file);
                if language.is_some_and(is_cpp) && name.is_some_and(|name| !name.starts_with(b"_Z")) {
                    unscoped.extend(frame.dw_die_offset.map(|offset| (found.len(), offset)));
                }
                found.push(Found { name, file, language, scope: None });
            }
            for (index, offset) in unscoped {
                found[index].scope = scope(&units.context, svma, offset, scopes);
            }
            if let Some((at, bytes)) = unit_of(&units.context, svma)
                && unit.replace(at) != Some(at)
            {
                *parsed += bytes;
            }
            Ok(take(&found))
        })
    }
}

fn is_cpp(language: gimli::DwLang) -> bool {
    use gimli::*;
    let known = [DW_LANG_C_plus_plus, DW_LANG_C_plus_plus_03, DW_LANG_C_plus_plus_11, DW_LANG_C_plus_plus_14];
    known.contains(&language) || [DW_LANG_C_plus_plus_17, DW_LANG_C_plus_plus_20].contains(&language)
}

/// What a function lies in.
fn scope(
    context: &addr2line::Context<Slice<'_>>,
    svma: u64,
    offset: gimli::UnitOffset,
    known: &mut HashMap<UnitKey, Scopes>,
) -> Option<Arc<str>> {
    let LookupResult::Output(Some(unit)) = context.find_dwarf_and_unit(svma) else { return None };
    // A split unit's functions are counted in another file.
    let key = unit.dwo_id.is_none().then(|| unit.header.debug_info_offset())??;
    known.entry((key.0, None)).or_insert_with(|| Scopes::read(unit)).of(unit, offset)
}

/// The unit that holds an address which was looked up before, and its length in bytes.
fn unit_of(context: &addr2line::Context<Slice<'_>>, svma: u64) -> Option<(UnitKey, u64)> {
    let LookupResult::Output(Some(unit)) = context.find_dwarf_and_unit(svma) else { return None };
    let offset = unit.header.debug_info_offset().map_or(0, |offset| offset.0);
    Some(((offset, unit.dwo_id.map(|id| id.0)), unit.header.length_including_self() as u64))
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
    absent: &mut BTreeSet<String>,
    looked_elsewhere: &mut bool,
) -> Result<Option<Arc<gimli::Dwarf<Slice<'a>>>>, gimli::Error> {
    if let Some(package) = &units.package
        && let Some(unit) = package.find_cu(load.dwo_id, &load.parent)?
    {
        return Ok(Some(Arc::new(unit)));
    }
    let Some(path) = load.path else { return Ok(None) };
    *looked_elsewhere = true;
    let loaded = split_unit(store.files.location(), load.comp_dir.map(|folder| folder.slice()), path.slice()).and_then(
        |source| {
            let mut unit = dwarf(store.split.alloc(source));
            let header = unit.units().next().ok()??;
            let belongs = unit.unit(header).ok()?.dwo_id == Some(load.dwo_id);
            unit.make_dwo(&load.parent);
            belongs.then(|| Arc::new(unit))
        },
    );
    if loaded.is_none() {
        absent.insert(path.to_string_lossy().into_owned());
    }
    Ok(loaded)
}
