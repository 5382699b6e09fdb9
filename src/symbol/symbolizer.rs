//! The look-up that lives for a whole sweep. Invariant: each address of each file is resolved once, whatever process,
//! sample or window it comes from; only files that could not be opened are tried again.

use super::answers::Cache;
use super::generated::Generated;
use super::image::{Function, Functions, Image, Task};
use super::kernel::{KERNEL, Kernel};
use super::locate::{self, Unusable};
use crate::profile::{Frame, GENERATED, Miss, Space};
use crate::sample::{Address, Module, ModuleKind};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Stack of a look-up thread in bytes, reserved and not used: parsers recurse as deep as inlined functions nest,
/// which a damaged file can exaggerate.
const STACK: usize = 256 << 20;

/// Where to look, and how hard.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folders with separate debug files.
    pub debug_roots: Vec<PathBuf>,
    /// The kernel's symbol table.
    pub kallsyms: PathBuf,
    /// How many threads look addresses up at most.
    pub threads: usize,
    /// Bytes of debug information of one module that may lie parsed in memory at one time, where they take three to
    /// four times as much; at least one unit for each thread does.
    pub most_parsed: u64,
    /// Where what was resolved is kept for later runs; `None`: nowhere.
    pub cache: Option<Cache>,
    /// Where debug files are asked for that are not on this machine; `None`: nowhere.
    pub elsewhere: Option<Arc<dyn DebugFiles>>,
}

/// Finds debug files by build-id where the machine's own folders have none.
pub trait DebugFiles: Send + Sync + std::fmt::Debug {
    /// The file with debug information of the program with this build-id (lower-case hex). May take long.
    fn find(&self, build_id: &str) -> Option<std::fs::File>;
    /// What the user should know of failures so far.
    fn notes(&self) -> Vec<String>;
}

impl Default for Options {
    fn default() -> Self {
        Options {
            debug_roots: vec!["/usr/lib/debug".into()],
            kallsyms: "/proc/kallsyms".into(),
            threads: std::thread::available_parallelism().map_or(1, |n| n.get().min(8)),
            most_parsed: 48 << 20,
            cache: Cache::of_user(),
            elsewhere: None,
        }
    }
}

/// Index of a frame within its [`Symbolizer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(u32);

impl Symbol {
    /// The symbol as an index into [`Symbolizer::frames`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The frames of one address, innermost first; all but the last are inlined into the next.
pub type Symbols = Arc<[Symbol]>;

/// What makes two modules the same code.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Identity {
    Build(String),
    File(PathBuf, u64),
    Vdso,
    Kernel,
    /// Of this process: each generates code of its own.
    Anonymous(PathBuf, u32),
    /// Addresses in no mapping that was seen.
    Nowhere,
}

enum State {
    Unopened,
    Image(Box<Image>),
    Kernel(Box<Kernel>),
    Generated(Box<Generated>),
    /// Nothing can be found here.
    Missing(Miss),
}

struct Slot {
    /// Base name.
    name: String,
    space: Space,
    /// Else a runtime generated its code.
    is_file: bool,
    state: State,
    resolved: HashMap<u64, Symbols>,
    notes: Vec<String>,
}

/// Addresses to frames, for all windows of a sweep.
pub struct Symbolizer {
    options: Options,
    slots: Vec<Slot>,
    by_identity: HashMap<Identity, usize>,
    interner: Interner,
}

/// Frames, each once. Their source file is not part of what they are: the first seen stands for the function.
#[derive(Default)]
struct Interner {
    frames: Vec<Frame>,
    by_frame: HashMap<Frame, Symbol>,
}

impl Interner {
    fn symbol(&mut self, frame: Frame, file: &str) -> Symbol {
        if let Some(&symbol) = self.by_frame.get(&frame) {
            return symbol;
        }
        let symbol = Symbol(self.frames.len() as u32);
        self.frames.push(Frame { file: file.into(), ..frame.clone() });
        self.by_frame.insert(frame, symbol);
        symbol
    }
}

impl Symbolizer {
    /// Begins without any module; files are opened when their first address is looked up.
    pub fn new(options: Options) -> Self {
        Symbolizer { options, slots: Vec::new(), by_identity: HashMap::new(), interner: Interner::default() }
    }

    /// The frames of each address. Never fails: an address without a name has one frame, which carries the reason.
    pub fn resolve(&mut self, modules: &[Module], addresses: &[Address]) -> Vec<Symbols> {
        let of_module: Vec<usize> = modules.iter().map(|m| self.slot(Identity::of(m), m.kind, &m.path)).collect();
        let nowhere = self.slot(Identity::Nowhere, ModuleKind::Anonymous, Path::new("[unmapped]"));
        let slot_of = |a: &Address| a.module.and_then(|id| of_module.get(id.0 as usize).copied()).unwrap_or(nowhere);
        let mut wanted = vec![Vec::new(); self.slots.len()];
        for address in addresses {
            let slot = slot_of(address);
            if !self.slots[slot].knows(address.at) {
                wanted[slot].push(address.at);
            }
        }
        for list in &mut wanted {
            list.sort_unstable();
            list.dedup();
        }
        self.open(&wanted, modules, &of_module);
        for (slot, found) in self.look_up(wanted) {
            self.keep(slot, found);
        }
        addresses.iter().map(|address| self.slots[slot_of(address)].resolved[&address.at].clone()).collect()
    }

    /// The frame of a symbol that this symbolizer gave out.
    pub fn frame(&self, symbol: Symbol) -> &Frame {
        &self.interner.frames[symbol.index()]
    }

    /// All frames seen so far; a [`Symbol`] is an index into them.
    pub fn frames(&self) -> &[Frame] {
        &self.interner.frames
    }

    /// What the user should know: damaged and replaced files, absent debug information, hidden kernel symbols. Each
    /// once.
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.slots.iter().flat_map(Slot::notes).collect();
        notes.extend(self.options.elsewhere.iter().flat_map(|elsewhere| elsewhere.notes()));
        notes.sort();
        notes.dedup();
        notes
    }

    fn slot(&mut self, identity: Identity, kind: ModuleKind, path: &Path) -> usize {
        let slots = &mut self.slots;
        *self.by_identity.entry(identity).or_insert_with_key(|identity| {
            slots.push(Slot::new(identity, kind, path));
            slots.len() - 1
        })
    }

    /// Opens the modules that are wanted for the first time, several at once.
    fn open(&mut self, wanted: &[Vec<u64>], modules: &[Module], of_module: &[usize]) {
        let options = &self.options;
        let slots = self.slots.iter_mut().enumerate();
        let closed = slots.filter(|(index, slot)| !wanted[*index].is_empty() && slot.is_closed()).collect();
        in_parallel(closed, options.threads, |(index, slot): (usize, &mut Slot)| {
            let same = modules.iter().zip(of_module).filter(|&(_, &of)| of == index).map(|(module, _)| module);
            slot.open(&same.collect::<Vec<_>>(), options);
        });
    }

    /// Looks the wanted addresses up; results are in the order of slots and addresses, whichever thread was first and
    /// whatever was known before.
    fn look_up(&mut self, mut wanted: Vec<Vec<u64>>) -> Vec<(usize, Vec<(u64, Functions)>)> {
        let threads = self.options.threads;
        let mut tasks: Vec<(usize, Work<'_>)> = Vec::new();
        let mut found: Vec<Vec<(u64, Functions)>> = Vec::new();
        for (index, (slot, addresses)) in self.slots.iter_mut().zip(&mut wanted).enumerate() {
            found.push(Vec::new());
            match &mut slot.state {
                _ if addresses.is_empty() => {}
                State::Image(image) => {
                    found[index] = image.recall(addresses);
                    tasks.extend(image.plan(addresses, threads).into_iter().map(|task| (index, Work::Image(task))));
                }
                State::Kernel(kernel) => tasks.push((index, Work::Kernel(kernel, addresses))),
                State::Generated(found) => tasks.push((index, Work::Generated(found, addresses))),
                State::Missing(miss) => tasks.push((index, Work::Missing(*miss, addresses))),
                State::Unopened => {}
            }
        }
        let mut new = vec![Vec::new(); found.len()];
        for (index, part) in in_parallel(tasks, threads, |(index, work)| (index, work.run())) {
            new[index].extend(part);
        }
        for ((slot, found), new) in self.slots.iter_mut().zip(&mut found).zip(new) {
            if let State::Image(image) = &mut slot.state
                && !new.is_empty()
            {
                image.remember(&new);
            }
            found.extend(new);
            found.sort_by_key(|(at, _)| *at);
        }
        found.into_iter().enumerate().filter(|(_, found)| !found.is_empty()).collect()
    }

    /// Turns functions into frames and remembers them.
    fn keep(&mut self, slot: usize, found: Vec<(u64, Functions)>) {
        let slot = &mut self.slots[slot];
        // Interning compares whole names; most repeat, and those that repeat are the same text in memory.
        let mut seen: HashMap<(usize, bool), Symbol> = HashMap::new();
        for (at, functions) in found {
            let symbols: Symbols = match functions {
                Ok(functions) => functions
                    .iter()
                    .map(|function| {
                        let key = (function.name.as_ptr() as usize, function.inlined);
                        *seen.entry(key).or_insert_with(|| {
                            self.interner.symbol(slot.frame(function), function.file.as_deref().unwrap_or(""))
                        })
                    })
                    .collect(),
                Err(miss) => Arc::new([self.interner.symbol(slot.missed(at, miss), "")]),
            };
            slot.resolved.insert(at, symbols);
        }
    }
}

/// Addresses to be looked up on any thread.
enum Work<'a> {
    Image(Task<'a>),
    Kernel(&'a Kernel, &'a [u64]),
    Generated(&'a Generated, &'a [u64]),
    Missing(Miss, &'a [u64]),
}

impl Work<'_> {
    fn run(self) -> Vec<(u64, Functions)> {
        match self {
            Work::Image(task) => task.run(),
            Work::Kernel(kernel, addresses) => addresses.iter().map(|&at| (at, kernel.find(at))).collect(),
            Work::Generated(found, addresses) => addresses.iter().map(|&at| (at, found.find(at))).collect(),
            Work::Missing(miss, addresses) => addresses.iter().map(|&at| (at, Err(miss))).collect(),
        }
    }
}

impl State {
    fn is_generated(&self) -> bool {
        matches!(self, State::Generated(_) | State::Missing(Miss::Anonymous))
    }
}

impl Identity {
    fn of(module: &Module) -> Identity {
        match (module.kind, &module.build_id) {
            (ModuleKind::File, Some(id)) => Identity::Build(id.clone()),
            (ModuleKind::File, None) => Identity::File(module.path.clone(), module.inode),
            (ModuleKind::Vdso, _) => Identity::Vdso,
            (ModuleKind::Kernel, _) => Identity::Kernel,
            (ModuleKind::Anonymous, _) => Identity::Anonymous(module.path.clone(), module.pid),
        }
    }
}

impl Slot {
    fn new(identity: &Identity, kind: ModuleKind, path: &Path) -> Slot {
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let (name, space) = match kind {
            ModuleKind::File => (file.unwrap_or_else(|| "[file]".into()), Space::User),
            ModuleKind::Anonymous => (file.unwrap_or_else(|| GENERATED.into()), Space::User),
            ModuleKind::Vdso => ("[vdso]".into(), Space::Vdso),
            ModuleKind::Kernel => (KERNEL.into(), Space::Kernel),
        };
        let state = match (kind, identity) {
            (_, Identity::Nowhere) => State::Missing(Miss::NoModule),
            _ => State::Unopened,
        };
        let is_file = kind != ModuleKind::Anonymous;
        Slot { name, space, is_file, state, resolved: HashMap::new(), notes: Vec::new() }
    }

    /// Not opened yet, or not openable when it was last tried: another process may still have it mapped. What a runtime
    /// generates is new each time, and so is the kernel's table once programs were loaded into it.
    fn is_closed(&self) -> bool {
        match &self.state {
            State::Unopened | State::Missing(Miss::FileUnreadable) => true,
            State::Kernel(kernel) => kernel.is_outdated(),
            state => state.is_generated(),
        }
    }

    fn knows(&self, at: u64) -> bool {
        !self.is_closed() && self.resolved.contains_key(&at)
    }

    /// Opens the file that these modules are.
    fn open(&mut self, modules: &[&Module], options: &Options) {
        self.notes.clear();
        // Misses from when the file could not be opened.
        self.resolved.clear();
        if !self.is_file {
            let found = modules.iter().find_map(|module| Generated::of(module));
            self.state = found.map_or(State::Missing(Miss::Anonymous), |found| State::Generated(Box::new(found)));
            return;
        }
        let located = match self.space {
            Space::Kernel => {
                self.state = State::Kernel(Box::new(Kernel::read(&options.kallsyms)));
                return;
            }
            Space::Vdso => locate::vdso().ok_or(Unusable { miss: Miss::FileUnreadable, note: None }),
            Space::User | Space::Marker => locate::open(modules),
        };
        let image = located.and_then(|located| {
            let opened = catch_unwind(AssertUnwindSafe(|| Image::open(located, options)));
            let opened = opened.unwrap_or_else(|_| Err(format!("{}: damaged: a parser panicked", self.name)));
            opened.map_err(|note| Unusable { miss: Miss::Malformed, note: Some(note) })
        });
        self.state = match image {
            Ok(image) => State::Image(Box::new(image)),
            Err(Unusable { miss, note }) => {
                self.notes.extend(note);
                State::Missing(miss)
            }
        };
    }

    fn frame(&self, function: &Function) -> Frame {
        Frame {
            name: function.name.to_string(),
            module: function.module.as_deref().unwrap_or(&self.name).into(),
            space: self.space,
            inlined: function.inlined,
            file: String::new(),
            miss: None,
        }
    }

    /// The frame of an address without a name: `module+0xaddress`. The address is that of the function, as the linker
    /// placed it, where there is a file that tells.
    fn missed(&self, at: u64, miss: Miss) -> Frame {
        let start = || catch_unwind(AssertUnwindSafe(|| image_of(&self.state)?.start(at))).ok().flatten();
        let at = start().unwrap_or(at);
        let name = format!("{}+{at:#x}", self.name);
        Frame {
            name,
            module: self.name.clone(),
            space: self.space,
            inlined: false,
            file: String::new(),
            miss: Some(miss),
        }
    }

    fn notes(&self) -> Vec<String> {
        match &self.state {
            State::Image(image) => image.notes(),
            State::Kernel(kernel) => kernel.hidden().map(String::from).into_iter().collect(),
            State::Missing(Miss::FileUnreadable) => {
                vec![format!(
                    "{}: the mapped file cannot be opened; its frames have no names. Run as the target's user or as \
                        root",
                    self.name
                )]
            }
            State::Missing(_) | State::Generated(_) | State::Unopened => self.notes.clone(),
        }
    }
}

fn image_of(state: &State) -> Option<&Image> {
    match state {
        State::Image(image) => Some(image),
        State::Unopened | State::Kernel(_) | State::Generated(_) | State::Missing(_) => None,
    }
}

/// Runs `work` on each task with at most `threads` threads; results are in the order of the tasks.
fn in_parallel<T: Send, R: Send>(tasks: Vec<T>, threads: usize, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let count = tasks.len();
    let queue = Mutex::new(tasks.into_iter().enumerate());
    let done = Mutex::new(Vec::with_capacity(count));
    let take = || queue.lock().next();
    let run = || {
        while let Some((index, task)) = take() {
            let result = work(task);
            done.lock().push((index, result));
        }
    };
    std::thread::scope(|scope| {
        let spawn = |_| std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run);
        let spawned =
            (0..threads.clamp(1, count.max(1))).filter(|_| count > 0).map(spawn).filter(Result::is_ok).count();
        if spawned == 0 {
            run();
        }
    });
    let mut done = done.into_inner();
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbolizer_can_be_handed_to_another_thread() {
        fn is_send<T: Send>() {}
        is_send::<Symbolizer>();
    }

    #[test]
    fn results_come_in_the_order_of_the_tasks_whatever_the_number_of_threads() {
        for threads in [0, 1, 2, 9] {
            let slow_first = |n: u64| {
                std::thread::sleep(std::time::Duration::from_millis(5 - n));
                n * n
            };
            assert_eq!(in_parallel((0..5).collect(), threads, slow_first), [0, 1, 4, 9, 16], "{threads} threads");
        }
        assert_eq!(in_parallel(Vec::<u8>::new(), 2, |n| n), Vec::<u8>::new());
    }
}
