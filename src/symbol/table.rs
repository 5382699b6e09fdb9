//! A file's functions by address, from its symbol tables; of a Go program without any, from Go's own table.
//! Invariant: a symbol names only what it covers: by its size, or, where it has none (hand-written assembly), up to the
//! next symbol.

use super::source::{Elf, Source};
use super::stubs;
use crate::elf::GoLayout;
use object::LittleEndian;
use object::Object;
use object::elf::{SHF_EXECINSTR, SHN_UNDEF, STB_LOCAL, STT_FUNC, STT_GNU_IFUNC, STT_NOTYPE};
use object::read::elf::{FileHeader, SectionHeader, Sym, SymbolTable};

const ENDIAN: LittleEndian = LittleEndian;
/// How many symbols before an address are looked at for one that covers it: functions can lie inside others' ranges.
const LOOK_BACK: usize = 8;

/// Where a name's bytes are.
#[derive(Clone, Copy)]
enum Name {
    /// In the file with this index, at this offset, this long.
    In {
        file: u8,
        at: usize,
        length: u32,
    },
    Stub(u32),
}

struct Entry {
    start: u64,
    end: u64,
    name: Name,
    /// The file tells its size, so that the linker's word is better than anyone's.
    sized: bool,
}

/// What covers an address.
pub(super) struct Hit<'a> {
    pub(super) name: &'a [u8],
    pub(super) sized: bool,
}

/// The sorted table of one module, from all its files.
pub(super) struct Table {
    entries: Vec<Entry>,
    stubs: Vec<String>,
}

impl Table {
    /// Reads `.symtab` and `.dynsym` of each file, and of the first (which is the module itself) the PLT and, where no
    /// file has a `.symtab`, Go's own table.
    pub(super) fn build(files: &[&Source]) -> Table {
        let mut found = Vec::new();
        for (index, source) in files.iter().enumerate() {
            if let Ok(elf) = Elf::parse(source.bytes()) {
                for table in [elf.elf_symbol_table(), elf.elf_dynamic_symbol_table()] {
                    collect(&elf, table, index as u8, source.bytes(), &mut found);
                }
            }
        }
        if let Some(own) = files.first().filter(|_| !files.iter().any(|source| has_symbol_table(source))) {
            collect_go(own.bytes(), &mut found);
        }
        let mut names = Vec::new();
        for stub in
            files.first().and_then(|own| Elf::parse(own.bytes()).ok()).map(|elf| stubs::find(&elf)).unwrap_or_default()
        {
            let name = Name::Stub(names.len() as u32);
            let entry = Entry { start: stub.start, end: stub.end, name, sized: true };
            found.push((entry, rank(stub.name.as_bytes(), true, false)));
            names.push(stub.name);
        }
        let text = |name: &Name| text(name, files, &names);
        found.sort_unstable_by(|(a, x), (b, y)| {
            (a.start, x).cmp(&(b.start, y)).then_with(|| text(&a.name).cmp(text(&b.name)))
        });
        found.dedup_by_key(|(entry, _)| entry.start);
        Table { entries: bound(found.into_iter().map(|(entry, _)| entry)), stubs: names }
    }

    /// The symbol that covers an address, `files` being those that the table was built from.
    pub(super) fn find<'a>(&'a self, svma: u64, files: &[&'a Source]) -> Option<Hit<'a>> {
        let next = self.entries.partition_point(|entry| entry.start <= svma);
        let entry = self.entries[..next].iter().rev().take(LOOK_BACK).find(|entry| svma < entry.end)?;
        Some(Hit { name: text(&entry.name, files, &self.stubs), sized: entry.sized })
    }
}

fn text<'a>(name: &Name, files: &[&'a Source], stubs: &'a [String]) -> &'a [u8] {
    match *name {
        Name::In { file, at, length } => &files[file as usize].bytes()[at..at + length as usize],
        Name::Stub(index) => stubs[index as usize].as_bytes(),
    }
}

/// Which of several names for one address people know: sized, the vdso's own, not local, fewest leading underscores,
/// shortest.
type Rank = (bool, bool, bool, u32, u32);

fn rank(name: &[u8], sized: bool, local: bool) -> Rank {
    let underscores = name.iter().take_while(|&&byte| byte == b'_').count();
    (!sized, !name.starts_with(b"__vdso_"), local, underscores as u32, name.len() as u32)
}

fn collect<'a>(
    elf: &Elf<'a>,
    table: &SymbolTable<'a, object::elf::FileHeader64<LittleEndian>>,
    file: u8,
    bytes: &'a [u8],
    found: &mut Vec<(Entry, Rank)>,
) {
    for symbol in table.iter() {
        let start = symbol.st_value(ENDIAN);
        if symbol.st_shndx(ENDIAN) == SHN_UNDEF || !is_code(elf, symbol) {
            continue;
        }
        let Ok(name) = table.symbol_name(ENDIAN, symbol) else { continue };
        // `$x` and the like mark stretches of code and data for disassemblers, `.L` are compilers' own labels.
        if name.is_empty() || name.starts_with(b"$") || name.starts_with(b".L") {
            continue;
        }
        let size = symbol.st_size(ENDIAN);
        let name_at = name.as_ptr() as usize - bytes.as_ptr() as usize;
        let location = Name::In { file, at: name_at, length: name.len() as u32 };
        let entry = Entry { start, end: start.saturating_add(size), name: location, sized: size > 0 };
        found.push((entry, rank(name, size > 0, symbol.st_bind() == STB_LOCAL)));
    }
}

/// Whether the file has the full table of symbols.
pub(super) fn has_symbol_table(source: &Source) -> bool {
    Elf::parse(source.bytes()).is_ok_and(|elf| elf.section_by_name(".symtab").is_some())
}

fn collect_go(file: &[u8], found: &mut Vec<(Entry, Rank)>) {
    let Some(layout) = GoLayout::of(file) else { return };
    let functions = layout.over(file);
    for function in (0..functions.count()).filter_map(|number| functions.function(number)) {
        let Some(name) = functions.name(&function).filter(|name| !name.is_empty()) else { continue };
        let at = name.as_ptr() as usize - file.as_ptr() as usize;
        let name_at = Name::In { file: 0, at, length: name.len() as u32 };
        let (start, end) = (function.addresses.start, function.addresses.end);
        found.push((Entry { start, end, name: name_at, sized: true }, rank(name.as_bytes(), true, false)));
    }
}

/// Functions, and labels without a type in executable sections.
fn is_code(elf: &Elf<'_>, symbol: &impl Sym<Endian = LittleEndian>) -> bool {
    match symbol.st_type() {
        STT_FUNC | STT_GNU_IFUNC => true,
        STT_NOTYPE => {
            let section = elf.elf_section_table().section(object::SectionIndex(symbol.st_shndx(ENDIAN).0.into()));
            section.is_ok_and(|section| section.sh_flags(ENDIAN).contains(SHF_EXECINSTR))
        }
        _ => false,
    }
}

/// Drops labels inside sized functions, and lets symbols without a size reach to the next one.
fn bound(sorted: impl Iterator<Item = Entry>) -> Vec<Entry> {
    let mut reached = 0;
    let mut entries: Vec<Entry> = sorted
        .filter(|entry| {
            let keep = entry.sized || entry.start >= reached;
            reached = reached.max(entry.end);
            keep
        })
        .collect();
    for index in 0..entries.len() {
        if !entries[index].sized {
            entries[index].end = entries.get(index + 1).map_or(u64::MAX, |next| next.start);
        }
    }
    entries
}

/// Where a file's loadable segments lie, in the file and in memory.
pub(super) struct Segments(Vec<Segment>);

struct Segment {
    offset: u64,
    size: u64,
    svma: u64,
    executable: bool,
}

impl Segments {
    pub(super) fn read(elf: &Elf<'_>) -> Segments {
        use object::elf::{PF_X, PT_LOAD};
        use object::read::elf::ProgramHeader;
        let headers = elf.elf_header().program_headers(ENDIAN, elf.data()).unwrap_or_default();
        let mut segments: Vec<_> = headers
            .iter()
            .filter(|header| header.p_type(ENDIAN) == PT_LOAD)
            .map(|header| Segment {
                offset: header.p_offset(ENDIAN),
                size: header.p_filesz(ENDIAN),
                svma: header.p_vaddr(ENDIAN),
                executable: header.p_flags(ENDIAN).contains(PF_X),
            })
            .collect();
        // Segments share pages of the file at their borders; code lies in the executable one.
        segments.sort_by_key(|segment| !segment.executable);
        Segments(segments)
    }

    /// The address that the linker gave to the byte at this offset in the file.
    pub(super) fn svma(&self, offset: u64) -> Option<u64> {
        let segment =
            self.0.iter().find(|segment| offset.checked_sub(segment.offset).is_some_and(|into| into < segment.size))?;
        Some(segment.svma.wrapping_add(offset - segment.offset))
    }
}
