//! What is mapped executable in a process, and the rule of every address met in it. Processes that were forked
//! without an exec have equal mappings and share one [`Space`], so each of their addresses is looked up once.

use super::rules::{Rule, Rules};
use crate::elf::{Image, MappedFile, vdso};
use crate::sample::{Address, Module, ModuleId, ModuleKind};
use rustc_hash::FxHashMap;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An executable mapping, as `/proc/PID/maps` (proc(5)) or a `PERF_RECORD_MMAP2` tells.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mapping {
    /// Virtual address of the first byte.
    pub start: u64,
    /// Virtual address behind the last byte.
    pub end: u64,
    /// Offset in the file at which it begins, in bytes.
    pub offset: u64,
    /// Device of the file: major, minor.
    pub device: (u32, u32),
    /// Inode number of the file on that device; 0: no file.
    pub inode: u64,
    /// As the kernel writes it, with ` (deleted)` where the name is gone; `[vdso]`, or empty without a file.
    pub path: String,
}

/// The executable mappings of a running process; empty when it is gone. A path that is no UTF-8 costs no more than
/// itself: such a file is still found through its mapping.
pub fn read_mappings(pid: u32) -> Vec<Mapping> {
    let bytes = std::fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().filter_map(parse_mapping).collect()
}

/// One line of `/proc/PID/maps`; `None` for mappings without execute permission. By hand: procfs takes 30 times as
/// long, and refuses all lines for one (docs/decisions/own-code.md).
fn parse_mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    fields.next()?.contains('x').then_some(())?;
    let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
    let (major, minor) = fields.next()?.split_once(':')?;
    let hex = |text| u32::from_str_radix(text, 16).ok();
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        offset,
        device: (hex(major)?, hex(minor)?),
        inode: fields.next()?.parse().ok()?,
        path: fields.next().unwrap_or("").trim_start().to_string(),
    })
}

/// All modules met so far, over all processes, with their rules.
pub struct Modules {
    /// The modules, the kernel first; [`ModuleId`] is an index into them.
    pub list: Vec<Module>,
    rules: Vec<Option<Arc<Rules>>>,
    by_identity: FxHashMap<(u64, (u32, u32), String, u32), ModuleId>,
    addresses: FxHashMap<Address, u32>,
    /// The interned addresses, each once; their index is their interned form.
    pub address_list: Vec<Address>,
    /// Files whose call-frame information could not be read, with the cause; each said once.
    pub notes: Vec<String>,
}

/// The kernel is the first module of every list.
pub const KERNEL: ModuleId = ModuleId(0);

impl Default for Modules {
    fn default() -> Self {
        let kernel = Module {
            kind: ModuleKind::Kernel,
            path: PathBuf::from("[kernel]"),
            pid: 0,
            mapping: (0, 0),
            inode: 0,
            deleted: false,
            build_id: None,
        };
        Modules {
            list: vec![kernel],
            rules: vec![None],
            by_identity: FxHashMap::default(),
            addresses: FxHashMap::default(),
            address_list: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl Modules {
    /// Index of an address in `address_list`, to which it is added when it is new.
    pub fn intern(&mut self, address: Address) -> u32 {
        *self.addresses.entry(address).or_insert_with(|| {
            self.address_list.push(address);
            self.address_list.len() as u32 - 1
        })
    }

    /// The call-frame information of a module; `None` where it has no file.
    pub fn rules(&self, module: ModuleId) -> Option<&Arc<Rules>> {
        self.rules[module.0 as usize].as_ref()
    }

    fn module(&mut self, pid: u32, mapping: &Mapping) -> ModuleId {
        let kind = match mapping.path.as_str() {
            "[vdso]" => ModuleKind::Vdso,
            path if path.starts_with('/') => ModuleKind::File,
            _ => ModuleKind::Anonymous,
        };
        // Each process generates code of its own.
        let of = if kind == ModuleKind::Anonymous { pid } else { 0 };
        let identity = (mapping.inode, mapping.device, mapping.path.clone(), of);
        if let Some(&id) = self.by_identity.get(&identity) {
            return id;
        }
        let (path, deleted) = match mapping.path.strip_suffix(" (deleted)") {
            Some(path) => (path, true),
            None => (mapping.path.as_str(), false),
        };
        let image = self.open(kind, pid, mapping, Path::new(path));
        let id = ModuleId(self.list.len() as u32);
        self.list.push(Module {
            kind,
            path: PathBuf::from(path),
            pid,
            mapping: (mapping.start, mapping.end),
            inode: mapping.inode,
            deleted,
            build_id: image.as_ref().and_then(Image::build_id),
        });
        self.rules.push(image.map(|image| Arc::new(Rules::new(image))));
        self.by_identity.insert(identity, id);
        id
    }

    fn open(&mut self, kind: ModuleKind, pid: u32, mapping: &Mapping, path: &Path) -> Option<Image> {
        match kind {
            ModuleKind::Vdso => vdso(),
            ModuleKind::File => {
                let file = MappedFile { pid, mapping: (mapping.start, mapping.end), path, inode: mapping.inode };
                Image::open(&file).map_err(|e| self.notes.push(format!("stacks through it are cut: {e}"))).ok()
            }
            ModuleKind::Anonymous | ModuleKind::Kernel => None,
        }
    }
}

/// What is known of one address: its interned form and the way to its caller.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Index into [`Modules::address_list`].
    pub address: u32,
    /// How its caller is found.
    pub rule: Rule,
}

struct Mapped {
    range: Range<u64>,
    offset: u64,
    module: ModuleId,
    kind: ModuleKind,
    rules: Option<Arc<Rules>>,
}

/// The bytes of one section, as framehop wants them.
pub struct SectionBytes(Image, Range<usize>);

impl Deref for SectionBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0.bytes()[self.1.clone()]
    }
}

/// framehop's unwinder over mapped sections.
pub type Framehop = framehop::x86_64::UnwinderX86_64<SectionBytes>;

/// An executable mapping of a [`Space`].
pub struct Placed {
    /// Virtual addresses in the process.
    pub range: Range<u64>,
    /// The module that is mapped there.
    pub module: ModuleId,
    /// The file's own address of the first byte; `None` where there is no file, or no segment of it lies there.
    pub file_address: Option<u64>,
}

/// One layout of executable mappings.
pub struct Space {
    mapped: Vec<Mapped>,
    steps: FxHashMap<u64, Step>,
    places: FxHashMap<u64, u32>,
    framehop: Option<Framehop>,
}

impl Space {
    /// Takes the executable mappings of a process; files that are met for the first time are opened.
    pub fn new(pid: u32, mappings: &[Mapping], modules: &mut Modules) -> Space {
        let mut mapped: Vec<Mapped> = mappings
            .iter()
            .map(|mapping| {
                let module = modules.module(pid, mapping);
                Mapped {
                    range: mapping.start..mapping.end,
                    offset: mapping.offset,
                    module,
                    kind: modules.list[module.0 as usize].kind,
                    rules: modules.rules[module.0 as usize].clone(),
                }
            })
            .collect();
        mapped.sort_by_key(|m| m.range.start);
        Space { mapped, steps: FxHashMap::default(), places: FxHashMap::default(), framehop: None }
    }

    fn find(&self, address: u64) -> Option<&Mapped> {
        let at = self.mapped.partition_point(|m| m.range.start <= address).checked_sub(1)?;
        Some(&self.mapped[at]).filter(|m| m.range.contains(&address))
    }

    /// The module of the lowest mapping: the program itself, which Linux maps below its libraries.
    pub fn program(&self) -> Option<ModuleId> {
        self.mapped.first().map(|mapped| mapped.module)
    }

    /// Whether any executable mapping holds the address.
    pub fn covers(&self, address: u64) -> bool {
        self.find(address).is_some()
    }

    /// The mappings, by ascending address.
    pub fn placed(&self) -> impl Iterator<Item = Placed> + '_ {
        self.mapped.iter().map(|mapped| Placed {
            range: mapped.range.clone(),
            module: mapped.module,
            file_address: mapped.file_address(),
        })
    }

    /// The interned form of an address (for a return address: one less, inside the call).
    pub fn address(&mut self, address: u64, modules: &mut Modules) -> u32 {
        if let Some(id) = self.places.get(&address) {
            return *id;
        }
        let locate = self.find(address).map_or(Address { module: None, at: address }, |mapped| mapped.locate(address));
        let id = modules.intern(locate);
        self.places.insert(address, id);
        id
    }

    /// The step for an address (for a return address: one less, inside the call).
    pub fn step(&mut self, address: u64, modules: &mut Modules, context: &mut gimli::UnwindContext<usize>) -> Step {
        if let Some(step) = self.steps.get(&address) {
            return *step;
        }
        let (locate, rule) = match self.find(address) {
            None => (Address { module: None, at: address }, Rule::NoTable),
            Some(mapped) => {
                let locate = mapped.locate(address);
                (locate, mapped.rule(locate.at, context))
            }
        };
        let step = Step { address: modules.intern(locate), rule };
        self.steps.insert(address, step);
        step
    }

    /// Whether framehop might never come back from a step at this address.
    pub fn jumps(&self, address: u64, context: &mut gimli::UnwindContext<usize>) -> bool {
        self.find(address).is_some_and(|mapped| {
            let rules = mapped.rules.as_ref();
            let at = mapped.locate(address).at;
            rules.is_some_and(|rules| rules.image().address_of(at).is_some_and(|at| rules.jumps(at, context)))
        })
    }

    /// framehop over the same mappings, for what compact rules do not hold.
    pub fn framehop(&mut self) -> &Framehop {
        let mapped = &self.mapped;
        self.framehop.get_or_insert_with(|| {
            use framehop::Unwinder;
            let mut unwinder = Framehop::new();
            for module in mapped.iter().filter_map(Mapped::framehop) {
                unwinder.add_module(module);
            }
            unwinder
        })
    }
}

impl Mapped {
    fn locate(&self, address: u64) -> Address {
        let at = match self.kind {
            ModuleKind::File => address - self.range.start + self.offset,
            ModuleKind::Vdso => address - self.range.start,
            ModuleKind::Anonymous | ModuleKind::Kernel => address,
        };
        Address { module: Some(self.module), at }
    }

    fn rule(&self, at: u64, context: &mut gimli::UnwindContext<usize>) -> Rule {
        let rule = self.rules.as_ref().and_then(|rules| Some(rules.at(rules.image().address_of(at)?, context)));
        rule.unwrap_or(Rule::NoTable)
    }

    /// The file's own address of the mapping's first byte.
    fn file_address(&self) -> Option<u64> {
        let at = if self.kind == ModuleKind::Vdso { 0 } else { self.offset };
        let length = self.range.end - self.range.start;
        self.rules.as_ref()?.image().address_of_mapping(at..at.checked_add(length)?)
    }

    fn framehop(&self) -> Option<framehop::Module<SectionBytes>> {
        let image = self.rules.as_ref()?.image();
        // It tells where the file's address 0 lies in the process.
        let base = self.range.start.wrapping_sub(self.file_address()?);
        let bytes = |name: &str| {
            let (address, range) = image.section(name)?;
            let size = range.len() as u64;
            Some((address..address + size, SectionBytes(image.clone(), range)))
        };
        let text = bytes(".text");
        let eh_frame = bytes(".eh_frame");
        // A search table that we cannot search would lead framehop to other descriptions than ours.
        let searchable = self.rules.as_ref()?.uses_search_table();
        let eh_frame_hdr = bytes(".eh_frame_hdr").filter(|_| searchable);
        let info = framehop::ExplicitModuleSectionInfo {
            base_svma: 0,
            text_svma: text.as_ref().map(|(range, _)| range.clone()),
            text: text.map(|(_, bytes)| bytes),
            got_svma: image.section(".got").map(|(address, range)| address..address + range.len() as u64),
            debug_frame: None,
            eh_frame_svma: eh_frame.as_ref().map(|(range, _)| range.clone()),
            eh_frame: eh_frame.map(|(_, bytes)| bytes),
            eh_frame_hdr_svma: eh_frame_hdr.as_ref().map(|(range, _)| range.clone()),
            eh_frame_hdr: eh_frame_hdr.map(|(_, bytes)| bytes),
            stubs_svma: None,
            stub_helper_svma: None,
            unwind_info: None,
            text_segment_svma: None,
            text_segment: None,
        };
        Some(framehop::Module::new(String::new(), self.range.clone(), base, info))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_read_with_its_spaces_and_only_if_executable() {
        let line = "55d0c0a00000-55d0c0b00000 r-xp 00042000 fd:01 1234   /opt/my server (deleted)";
        let mapping = parse_mapping(line).unwrap();
        assert_eq!((mapping.start, mapping.end, mapping.offset), (0x55d0c0a00000, 0x55d0c0b00000, 0x42000));
        assert_eq!((mapping.device, mapping.inode), ((0xfd, 1), 1234));
        assert_eq!(mapping.path, "/opt/my server (deleted)");
        assert_eq!(parse_mapping(&line.replace("r-xp", "r--p")), None);
    }
}
