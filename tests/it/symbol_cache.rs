//! What the symbolizer keeps on disk: a later look-up has the same frames, from the cache alone where nothing
//! changed, and from the files where anything did.

use crate::skip::skip;
use object::{Object, ObjectSection, ObjectSymbol};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use wireprof::profile::{Frame, Miss};
use wireprof::sample::{Address, Module, ModuleId, ModuleKind};
use wireprof::symbol::{Cache, Options, Symbolizer};

const PROGRAM: &str = "volatile long sink; static inline __attribute__((always_inline)) void hot(long n) { sink += n; \
                       }\n\
    __attribute__((noinline)) void outer(long n) { hot(n); sink++; } int main(int c, char **v) { outer(c); return 0; \
    }\n";

/// A folder with a program, a debug root and a cache in it.
struct Built {
    folder: tempfile::TempDir,
    /// Every address of the code, as offsets in the file.
    code: std::ops::Range<u64>,
    /// Those of `outer`.
    outer: std::ops::Range<u64>,
}

impl Built {
    /// `None`, said, where gcc or objcopy is absent or does not know an option.
    fn with(arguments: &[&str]) -> Option<Built> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("program.c"), PROGRAM).unwrap();
        let base = ["-g", "-O2", "-Wl,--build-id=sha1", "-o", "program", "program.c"];
        let mut built = Built { folder, code: 0..0, outer: 0..0 };
        built.run("gcc", &[&base[..], arguments].concat()).then_some(())?;
        let bytes = std::fs::read(built.path("program")).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let text = file.section_by_name(".text").unwrap();
        let (start, size) = text.file_range().unwrap();
        let outer = file.symbols().find(|symbol| symbol.name() == Ok("outer")).unwrap();
        let at = start + (outer.address() - text.address());
        (built.code, built.outer) = (start..start + size, at..at + outer.size());
        Some(built)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, tool: &str, arguments: &[&str]) -> bool {
        let output = Command::new(tool).args(arguments).current_dir(self.folder.path()).output();
        let ran = output.as_ref().is_ok_and(|output| output.status.success());
        if !ran {
            skip(format!("{tool} {arguments:?}: {output:?}"));
        }
        ran
    }

    fn module(&self) -> Module {
        let path = self.path("program");
        let bytes = std::fs::read(&path).unwrap();
        let id = object::File::parse(&*bytes).unwrap().build_id().unwrap().unwrap().to_vec();
        let build_id = Some(id.iter().map(|byte| format!("{byte:02x}")).collect());
        let inode = std::fs::metadata(&path).unwrap().ino();
        Module { kind: ModuleKind::File, path, pid: 0, mapping: (0, 0), inode, deleted: false, build_id }
    }

    /// Frames of all these offsets by a symbolizer of its own, and its notes.
    fn resolve(&self, cache: Option<Cache>, at: std::ops::Range<u64>) -> (Vec<Vec<Frame>>, Vec<String>) {
        let options = Options { debug_roots: vec![self.path("debug")], cache, ..Options::default() };
        let mut symbolizer = Symbolizer::new(options);
        let addresses: Vec<Address> = at.map(|at| Address { module: Some(ModuleId(0)), at }).collect();
        let found = symbolizer.resolve(&[self.module()], &addresses);
        let frames = found.iter().map(|s| s.iter().map(|&symbol| symbolizer.frame(symbol).clone()).collect());
        (frames.collect(), symbolizer.notes())
    }

    /// With a cache that keeps small files' answers too.
    fn cached(&self) -> (Vec<Vec<Frame>>, Vec<String>) {
        self.resolve(Some(Cache { least_bytes: 0, ..Cache::at(&self.path("cache")) }), self.code.clone())
    }

    fn uncached(&self) -> (Vec<Vec<Frame>>, Vec<String>) {
        self.resolve(None, self.code.clone())
    }

    /// The only file of answers.
    fn kept(&self) -> PathBuf {
        let mut files = std::fs::read_dir(self.path("cache/symbols")).unwrap().map(|entry| entry.unwrap().path());
        let file = files.next().unwrap();
        assert_eq!(file.file_name().unwrap().to_str(), self.module().build_id.as_deref());
        assert!(files.next().is_none());
        file
    }

    /// Overwrites the debug information such that the file looks the same from outside.
    fn wipe(&self) {
        let path = self.path("program");
        let bytes = std::fs::read(&path).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let before = std::fs::metadata(&path).unwrap().modified().unwrap();
        let written = File::options().write(true).open(&path).unwrap();
        for name in [".debug_info", ".strtab", ".dynstr"] {
            let (start, size) = file.section_by_name(name).unwrap().file_range().unwrap();
            written.write_all_at(&vec![0; size as usize], start).unwrap();
        }
        written.set_modified(before).unwrap();
    }

    fn chain_of_outer(&self) -> Vec<String> {
        let cache = Cache { least_bytes: 0, ..Cache::at(&self.path("cache")) };
        let (found, _) = self.resolve(Some(cache), self.outer.clone());
        let name = |frame: &Frame| format!("{}{}", if frame.inlined { "~" } else { "" }, frame.name);
        let mut chains: Vec<String> =
            found.iter().map(|frames| frames.iter().map(name).collect::<Vec<_>>().join("<")).collect();
        chains.sort();
        chains.dedup();
        chains
    }
}

fn inodes(directory: &Path) -> Vec<u64> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().ino()).collect()
}

#[test]
fn what_was_resolved_before_is_not_read_again_and_is_the_same() {
    let Some(built) = Built::with(&[]) else { return };
    let first = built.uncached();
    assert_eq!(built.cached(), first);
    let kept = inodes(&built.path("cache/symbols"));
    assert_eq!(built.cached(), first);
    assert_eq!(inodes(&built.path("cache/symbols")), kept, "written once");
    built.wipe();
    assert_ne!(built.uncached(), first);
    assert_eq!(built.cached(), first);
}

#[test]
fn new_addresses_are_kept_beside_the_old_ones() {
    let Some(built) = Built::with(&[]) else { return };
    let first = built.uncached();
    let cache = || Some(Cache { least_bytes: 0, ..Cache::at(&built.path("cache")) });
    let middle = (built.code.start + built.code.end) / 2;
    for part in [built.code.start..middle, middle - 8..built.code.end] {
        built.resolve(cache(), part);
    }
    built.wipe();
    assert_eq!(built.cached(), first);
}

#[test]
fn a_damaged_file_is_ignored_and_replaced() {
    let Some(built) = Built::with(&[]) else { return };
    let first = built.cached();
    let whole = std::fs::read(built.kept()).unwrap();
    for at in (0..whole.len()).step_by(97) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        std::fs::write(built.kept(), damaged).unwrap();
        assert_eq!(built.cached(), first, "byte {at}");
        assert!(std::fs::read(built.kept()).unwrap() == whole, "byte {at}");
    }
    std::fs::write(built.kept(), "").unwrap();
    assert_eq!(built.cached(), first);
}

#[test]
fn a_debug_file_that_comes_changes_or_goes_takes_effect() {
    let Some(built) = Built::with(&[]) else { return };
    let id = built.module().build_id.unwrap();
    let folder = built.path("debug/.build-id").join(&id[..2]);
    std::fs::create_dir_all(&folder).unwrap();
    let debug = folder.join(format!("{}.debug", &id[2..]));
    if !built.run("objcopy", &["--only-keep-debug", "program", debug.to_str().unwrap()]) {
        return;
    }
    let aside = built.path("aside");
    std::fs::rename(&debug, &aside).unwrap();
    built.run("strip", &["program"]);
    let stripped = built.chain_of_outer();
    assert!(stripped.len() == 1 && stripped[0].starts_with("program+0x"), "{stripped:?}");
    assert_eq!(built.cached().1, built.uncached().1, "what is said of a stripped program is said again");
    assert_eq!(built.uncached().1.len(), 1);

    std::fs::rename(&aside, &debug).unwrap();
    assert_eq!(built.chain_of_outer(), ["outer", "~hot<outer"]);
    assert_eq!(built.chain_of_outer(), ["outer", "~hot<outer"]);
    built.run("objcopy", &["--strip-debug", debug.to_str().unwrap()]);
    assert_eq!(built.chain_of_outer(), ["outer"], "a debug file of symbols only");
    std::fs::remove_file(&debug).unwrap();
    assert_eq!(built.chain_of_outer(), stripped);
}

#[test]
fn split_debug_information_that_was_absent_takes_effect_when_it_is_there() {
    let Some(built) = Built::with(&["-gsplit-dwarf"]) else { return };
    let split = std::fs::read_dir(built.folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let split = split.into_iter().find(|path| path.extension().is_some_and(|e| e == "dwo")).unwrap();
    std::fs::rename(&split, built.path("aside")).unwrap();
    assert_eq!(built.chain_of_outer(), ["outer"]);
    std::fs::rename(built.path("aside"), &split).unwrap();
    assert_eq!(built.chain_of_outer(), ["outer", "~hot<outer"]);
}

#[test]
fn damage_is_not_kept() {
    let Some(built) = Built::with(&[]) else { return };
    let whole = std::fs::read(built.path("program")).unwrap();
    let file = object::File::parse(&*whole).unwrap();
    let (start, _) = file.section_by_name(".debug_info").unwrap().file_range().unwrap();
    let mut damaged = whole.clone();
    // The first unit's version.
    damaged[start as usize + 4] = 99;
    std::fs::write(built.path("program"), damaged).unwrap();
    let (frames, notes) = built.cached();
    assert!(notes.len() == 1 && notes[0].contains("damaged"), "{notes:?}");
    assert!(frames.iter().flatten().any(|frame| frame.miss == Some(Miss::Malformed)));
    assert_eq!(built.cached(), (frames, notes));
    assert!(!built.path("cache/symbols").exists());
}

#[test]
fn of_small_files_nothing_is_kept() {
    let Some(built) = Built::with(&[]) else { return };
    built.resolve(Some(Cache::at(&built.path("cache"))), built.code.clone());
    assert!(!built.path("cache").exists());
}

#[test]
fn a_cache_that_cannot_be_written_costs_nothing() {
    let Some(built) = Built::with(&[]) else { return };
    std::fs::write(built.path("cache"), "not a directory").unwrap();
    assert_eq!(built.cached(), built.uncached());
}
