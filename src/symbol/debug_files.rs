//! Files with a module's debug information that lie apart from it. Invariant: a file is taken only where its build-id
//! (or, without one, the checksum or unit id that the module records) says that it belongs to the module.

use super::locate::FileLocation;
use super::map::Bytes;
use super::source::{Elf, Naming, Source, hex};
use super::symbolizer::{DebugFiles, Options};
use crate::cachedir::CacheDir;
use crate::elf::below;
use object::Object;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What belongs to a module besides its own file.
#[derive(Default)]
pub(super) struct Companions {
    /// The file with the DWARF sections and the full symbol table, where the module itself has none.
    pub(super) debug: Option<Source>,
    /// What several debug files have in common (dwz, `.gnu_debugaltlink`).
    pub(super) supplement: Option<Source>,
    /// All units' split debug information in one file (`.dwp`).
    pub(super) package: Option<Source>,
    /// Symbols unpacked from `.gnu_debugdata`.
    pub(super) mini: Option<Source>,
}

impl Companions {
    /// Those that lie in files of their own, present or not.
    pub(super) fn files(&self) -> [Option<&Source>; 3] {
        [self.debug.as_ref(), self.supplement.as_ref(), self.package.as_ref()]
    }
}

/// Finds a module's companions below the debug roots (`/usr/lib/debug`), beside the module, and else where the options
/// say; `kept` is for their sections.
pub(super) fn find(location: &FileLocation, own: &Source, options: &Options, kept: Option<&CacheDir>) -> Companions {
    let Options { debug_roots, elsewhere, .. } = options;
    let mut found = Companions::default();
    let Ok(elf) = Elf::parse(own.bytes()) else { return found };
    let mut holder = location.path.clone();
    if !own.has_debug_info()
        && let Some((path, bytes)) = debug_file(location, &elf, debug_roots)
            .or_else(|| Some((location.path.clone(), fetched(elsewhere.as_deref()?, elf.build_id().ok()??)?)))
    {
        (found.debug, holder) = (Some(Source::load(bytes, Naming::Plain, kept)), path);
    }
    let debug = found.debug.as_ref().unwrap_or(own);
    found.supplement = supplement(location, debug.bytes(), &holder, options, kept);
    found.package = [&location.path, &holder].into_iter().find_map(|path| package(location, path, kept));
    if found.debug.is_none() && elf.section_by_name(".symtab").is_none() {
        found.mini = mini(&elf);
    }
    found
}

fn map(path: &Path) -> Option<Bytes> {
    Bytes::map(&File::open(path).ok()?).ok()
}

fn build_id_path(root: &Path, id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = id.split_first().filter(|(_, rest)| !rest.is_empty())?;
    Some(root.join(".build-id").join(hex(&[*first])).join(format!("{}.debug", hex(rest))))
}

/// The debug file by build-id, else by the name and checksum of `.gnu_debuglink`.
fn debug_file(location: &FileLocation, elf: &Elf<'_>, debug_roots: &[PathBuf]) -> Option<(PathBuf, Bytes)> {
    let id = elf.build_id().ok().flatten();
    let by_id = id.into_iter().flat_map(|id| debug_roots.iter().filter_map(move |root| build_id_path(root, id)));
    let link = elf.gnu_debuglink().ok().flatten();
    let by_link = link.into_iter().flat_map(|(name, _)| linked(&location.path, name, debug_roots));
    by_id.chain(by_link).flat_map(|path| location.in_roots(&path)).find_map(|path| {
        let bytes = map(&path)?;
        let candidate = Elf::parse(&*bytes).ok()?;
        let belongs = match (id, candidate.build_id().ok().flatten()) {
            (Some(id), Some(other)) => id == other,
            _ => link.is_some_and(|(_, sum)| checksum(&bytes) == sum),
        };
        belongs.then_some((path, bytes))
    })
}

fn linked(module: &Path, name: &[u8], debug_roots: &[PathBuf]) -> Vec<PathBuf> {
    let name = OsStr::from_bytes(name);
    let Some(folder) = module.parent() else { return Vec::new() };
    let beside = [folder.join(name), folder.join(".debug").join(name)];
    beside
        .into_iter()
        .chain(debug_roots.iter().map(|root| below(root, folder).join(name)))
        .filter(|p| p != module)
        .collect()
}

/// CRC-32 of the whole file, as `.gnu_debuglink` records it. Only files without build-id need it.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn supplement(
    location: &FileLocation,
    debug: &[u8],
    holder: &Path,
    options: &Options,
    kept: Option<&CacheDir>,
) -> Option<Source> {
    let elf = Elf::parse(debug).ok()?;
    let (name, id) = elf.gnu_debugaltlink().ok().flatten()?;
    let named = holder.parent().map(|folder| folder.join(OsStr::from_bytes(name)));
    let by_id = options.debug_roots.iter().filter_map(|root| build_id_path(root, id));
    // `holder` may already lie below a root; then the first candidate is found as it is, below `/`.
    let mut paths =
        named.into_iter().chain(by_id).flat_map(|path| [vec![path.clone()], location.in_roots(&path)].concat());
    let here = paths.find_map(|path| map(&path).filter(|bytes| has_build_id(bytes, id)));
    let bytes = here.or_else(|| fetched(options.elsewhere.as_deref()?, id))?;
    Some(Source::load(bytes, Naming::Plain, kept))
}

/// A file that is found elsewhere, and is what it was asked for as.
fn fetched(elsewhere: &dyn DebugFiles, id: &[u8]) -> Option<Bytes> {
    let bytes = Bytes::map(&elsewhere.find(&hex(id))?).ok()?;
    has_build_id(&bytes, id).then_some(bytes)
}

fn has_build_id(bytes: &[u8], id: &[u8]) -> bool {
    Elf::parse(bytes).is_ok_and(|elf| elf.build_id().ok().flatten() == Some(id))
}

/// `NAME.dwp` beside the module or its debug file.
fn package(location: &FileLocation, of: &Path, kept: Option<&CacheDir>) -> Option<Source> {
    let mut name = of.as_os_str().to_owned();
    name.push(".dwp");
    let path = PathBuf::from(name);
    let bytes = location.in_roots(&path).into_iter().chain([path]).find_map(|path| map(&path))?;
    Some(Source::load(bytes, Naming::Split, kept))
}

/// One unit's split debug information: `path` below `folder` as the compiler wrote them, else beside the module.
pub(super) fn split_unit(location: &FileLocation, folder: Option<&[u8]>, path: &[u8]) -> Option<Source> {
    let path = Path::new(OsStr::from_bytes(path));
    let recorded = folder.map_or(path.to_owned(), |folder| Path::new(OsStr::from_bytes(folder)).join(path));
    let beside = location.path.parent().zip(path.file_name()).map(|(folder, name)| folder.join(name));
    let mut locations = [Some(recorded), beside].into_iter().flatten().flat_map(|path| location.in_roots(&path));
    Some(Source::load(locations.find_map(|path| map(&path))?, Naming::Split, None))
}

/// Largest size (bytes) that `.gnu_debugdata` may unpack to; it holds a symbol table only.
const LARGEST_MINI: usize = 256 << 20;

/// The small ELF file with function symbols that some distributions pack (xz) into stripped binaries.
fn mini(elf: &Elf<'_>) -> Option<Source> {
    use object::ObjectSection;
    let packed = elf.section_by_name(".gnu_debugdata")?.data().ok()?;
    let mut unpacked = Bounded { bytes: Vec::new() };
    lzma_rs::xz_decompress(&mut std::io::Cursor::new(packed), &mut unpacked).ok()?;
    Some(Source::without_sections(Bytes::Owned(unpacked.bytes.into_boxed_slice())))
}

/// Refuses to grow beyond [`LARGEST_MINI`].
struct Bounded {
    bytes: Vec<u8>,
}

impl std::io::Write for Bounded {
    fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + part.len() > LARGEST_MINI {
            return Err(std::io::Error::other("larger than a symbol table can be"));
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
