//! Symbols of C programs in every form they are shipped in: with debug information of several versions and places,
//! without, deleted, replaced and damaged. The programs are compiled here with gcc; without gcc the tests say so and
//! pass.

use crate::skip::{skip, skip_in_part};
use object::{Object, ObjectSymbol};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use wireprof::profile::{Frame, Miss};
use wireprof::sample::{Address, Module, ModuleId, ModuleKind};
use wireprof::symbol::{Options, Symbolizer};

/// `hot` is inlined into `outer`, which is called by main; the program then waits to be killed.
const PROGRAM: &str = r#"
#include <unistd.h>
volatile long sink;
static inline __attribute__((always_inline)) void hot(long n) {
    for (long i = 0; i < n; i++) sink += i * n;
}
static __attribute__((noinline)) void outer(long n) { hot(n); sink++; }
__attribute__((noinline)) long exported(long n) { sink += n; return sink; }
int main(int argc, char **argv) {
    outer(argc);
    exported(argc);
    if (argc > 1) { write(1, "ready\n", 6); pause(); }
    return 0;
}
"#;

/// A folder with the program compiled in it, as its debug information must be found after nothing but a copy.
struct Built {
    folder: tempfile::TempDir,
}

impl Built {
    /// `None`, said, where gcc is absent or does not know an option.
    fn with(arguments: &[&str]) -> Option<Built> {
        Built::made(arguments).map_err(skip).ok()
    }

    /// Why not, where gcc is absent or does not know an option.
    fn made(arguments: &[&str]) -> Result<Built, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("program.c"), PROGRAM).unwrap();
        let base = ["-O2", "-Wl,--build-id=sha1", "-o", "program", "program.c"];
        ran(folder.path(), "gcc", &[&base[..], arguments].concat())?;
        Ok(Built { folder })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("program")
    }

    fn run(&self, tool: &str, arguments: &[&str]) -> bool {
        run(self.folder.path(), tool, arguments)
    }

    /// File offsets of the function's instructions as the (unstripped) program's symbol table has them.
    fn offsets(&self, function: &str) -> std::ops::Range<u64> {
        offsets(&self.path(), function)
    }

    fn symbolizer(&self) -> Symbolizer {
        Symbolizer::new(Options {
            debug_roots: vec![self.folder.path().join("debug")],
            cache: None,
            ..Options::default()
        })
    }
}

fn run(folder: &Path, tool: &str, arguments: &[&str]) -> bool {
    ran(folder, tool, arguments).map_err(skip).is_ok()
}

/// Why not, where the tool is absent or fails.
fn ran(folder: &Path, tool: &str, arguments: &[&str]) -> Result<(), String> {
    match Command::new(tool).args(arguments).current_dir(folder).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{tool} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("{tool}: {error}")),
    }
}

fn offsets(program: &Path, function: &str) -> std::ops::Range<u64> {
    let bytes = std::fs::read(program).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok(function)).unwrap();
    let section = file.section_by_index(symbol.section_index().unwrap()).unwrap();
    use object::ObjectSection;
    let start = section.file_range().unwrap().0 + (symbol.address() - section.address());
    start..start + symbol.size()
}

fn module(path: &Path) -> Module {
    use std::os::unix::fs::MetadataExt;
    let bytes = std::fs::read(path).unwrap();
    let id = object::File::parse(&*bytes).unwrap().build_id().unwrap().map(hex);
    let inode = std::fs::metadata(path).unwrap().ino();
    let path = path.to_owned();
    Module { kind: ModuleKind::File, path, pid: 0, mapping: (0, 0), inode, deleted: false, build_id: id }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Frames at an offset of a module, innermost first.
fn frames(symbolizer: &mut Symbolizer, module: &Module, at: u64) -> Vec<Frame> {
    let address = Address { module: Some(ModuleId(0)), at };
    let found = symbolizer.resolve(std::slice::from_ref(module), &[address]);
    found[0].iter().map(|&symbol| symbolizer.frame(symbol).clone()).collect()
}

/// All instructions of a function, as `innermost<..<outermost`, with `~` before inlined ones. Each kind once, sorted.
fn chains(symbolizer: &mut Symbolizer, module: &Module, offsets: std::ops::Range<u64>) -> Vec<String> {
    let mut chains: Vec<String> = offsets
        .map(|at| {
            let frames = frames(symbolizer, module, at);
            let names: Vec<_> =
                frames.iter().map(|f| format!("{}{}", if f.inlined { "~" } else { "" }, f.name)).collect();
            names.join("<")
        })
        .collect();
    chains.sort();
    chains.dedup();
    chains
}

#[track_caller]
fn finds_inlines(symbolizer: &mut Symbolizer, module: &Module, offsets: std::ops::Range<u64>) {
    assert_eq!(chains(symbolizer, module, offsets), ["outer", "~hot<outer"], "{:?}", symbolizer.notes());
    assert_eq!(symbolizer.notes(), Vec::<String>::new());
}

#[test]
fn inlined_functions_are_found_in_every_form_of_debug_information() {
    for form in [
        &["-g", "-gdwarf-4"][..],
        &["-g", "-gdwarf-5"],
        &["-g", "-gz=zlib"],
        &["-g", "-gz=zlib-gnu"],
        &["-g", "-gz=zstd"],
        &["-g", "-gdwarf-4", "-gsplit-dwarf"],
        &["-g", "-gdwarf-5", "-gsplit-dwarf"],
        &["-g", "-gdwarf-5", "-gsplit-dwarf", "-gz=zlib"],
        &["-g", "-no-pie"],
        &["-g", "-static"],
        &["-g", "-Wl,-z,separate-code"],
        &["-g", "-Wl,-z,noseparate-code"],
    ] {
        match Built::made(form) {
            Ok(built) => finds_inlines(&mut built.symbolizer(), &module(&built.path()), built.offsets("outer")),
            Err(why) => skip_in_part(why),
        }
    }
}

#[test]
fn the_frame_has_module_and_source_file() {
    let Some(built) = Built::with(&["-g"]) else { return };
    let frames = frames(&mut built.symbolizer(), &module(&built.path()), built.offsets("exported").start);
    assert_eq!((frames.len(), frames[0].name.as_str(), frames[0].module.as_str()), (1, "exported", "program"));
    assert!(frames[0].file.ends_with("program.c"), "{}", frames[0].file);
    assert!(!frames[0].inlined && frames[0].miss.is_none());
}

#[test]
fn sections_compressed_with_zstd_are_read() {
    let Some(built) = Built::with(&["-g"]) else { return };
    let offsets = built.offsets("outer");
    if built.run("objcopy", &["--compress-debug-sections=zstd", "program"]) {
        let module = module(&built.path());
        finds_inlines(&mut built.symbolizer(), &module, offsets);
    }
}

#[test]
fn split_debug_information_is_found_in_a_package_beside_the_module() {
    // GNU dwp reads DWARF 4 only.
    let Some(built) = Built::with(&["-g", "-gdwarf-4", "-gsplit-dwarf"]) else { return };
    let offsets = built.offsets("outer");
    if !built.run("dwp", &["-e", "program", "-o", "program.dwp"]) {
        return;
    }
    for entry in std::fs::read_dir(built.folder.path()).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "dwo") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    finds_inlines(&mut built.symbolizer(), &module(&built.path()), offsets);
}

#[test]
fn absent_split_debug_information_is_said_and_costs_the_inlined_functions_only() {
    let Some(built) = Built::with(&["-g", "-gsplit-dwarf"]) else { return };
    for entry in std::fs::read_dir(built.folder.path()).unwrap().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "dwo") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    let mut symbolizer = built.symbolizer();
    assert_eq!(chains(&mut symbolizer, &module(&built.path()), built.offsets("outer")), ["outer"]);
    assert!(symbolizer.notes()[0].contains("split debug information of 1 units not found"), "{:?}", symbolizer.notes());
}

#[test]
fn a_stripped_program_keeps_its_exported_functions_and_each_of_the_others_is_one_frame() {
    let Some(built) = Built::with(&["-rdynamic"]) else { return };
    let (outer, exported) = (built.offsets("outer"), built.offsets("exported"));
    assert!(built.run("strip", &["program"]));
    let (mut symbolizer, module) = (built.symbolizer(), module(&built.path()));
    assert_eq!(chains(&mut symbolizer, &module, exported), ["exported"]);
    let missed = frames(&mut symbolizer, &module, outer.start);
    assert_eq!(missed.len(), 1);
    assert_eq!(missed[0].miss, Some(Miss::NoSymbol));
    // All of the function is one frame, named after where it begins, as call-frame information tells.
    assert_eq!(chains(&mut symbolizer, &module, outer.clone()), [missed[0].name.clone()]);
    assert_eq!(missed[0].name, format!("program+{:#x}", outer.start));
    let notes = symbolizer.notes();
    assert!(notes.len() == 1 && notes[0].contains("stripped") && notes[0].contains("build it with"), "{notes:?}");
}

#[test]
fn a_debug_file_is_found_by_debuglink_beside_the_module_in_dot_debug_and_below_the_debug_root() {
    for place in ["", ".debug/", "root"] {
        let Some(built) = Built::with(&["-g"]) else { return };
        let offsets = built.offsets("outer");
        assert!(built.run("objcopy", &["--only-keep-debug", "program", "program.debug"]));
        assert!(built.run("objcopy", &["--strip-all", "--add-gnu-debuglink=program.debug", "program"]));
        let folder = built.folder.path();
        let to = match place {
            "root" => folder.join("debug").join(folder.strip_prefix("/").unwrap()).join("program.debug"),
            place => folder.join(place).join("program.debug"),
        };
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::rename(folder.join("program.debug"), &to).unwrap();
        finds_inlines(&mut built.symbolizer(), &module(&built.path()), offsets);
    }
}

#[test]
fn a_debug_file_is_found_by_build_id() {
    let Some(built) = Built::with(&["-g"]) else { return };
    let offsets = built.offsets("outer");
    let id = module(&built.path()).build_id.unwrap();
    let folder = built.folder.path().join("debug/.build-id").join(&id[..2]);
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{}.debug", &id[2..]));
    assert!(built.run("objcopy", &["--only-keep-debug", "program", file.to_str().unwrap()]));
    assert!(built.run("strip", &["program"]));
    finds_inlines(&mut built.symbolizer(), &module(&built.path()), offsets);
}

#[test]
fn without_build_ids_the_debuglink_checksum_decides() {
    for tampered in [false, true] {
        let Some(built) = Built::with(&["-g", "-Wl,--build-id=none"]) else { return };
        let offsets = built.offsets("outer");
        assert!(built.run("objcopy", &["--only-keep-debug", "program", "program.debug"]));
        assert!(built.run("objcopy", &["--strip-all", "--add-gnu-debuglink=program.debug", "program"]));
        if tampered {
            let path = built.folder.path().join("program.debug");
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.push(0);
            std::fs::write(&path, bytes).unwrap();
        }
        let frames = frames(&mut built.symbolizer(), &module(&built.path()), offsets.start);
        assert_eq!(frames.last().unwrap().miss, tampered.then_some(Miss::NoSymbol));
    }
}

#[test]
fn symbols_packed_into_a_stripped_binary_are_read() {
    let Some(built) = Built::with(&[]) else { return };
    let offsets = built.offsets("outer");
    if built.run("cp", &["program", "mini"])
        && built.run("xz", &["-k", "mini"])
        && built.run("strip", &["program"])
        && built.run("objcopy", &["--add-section", ".gnu_debugdata=mini.xz", "program"])
    {
        assert_eq!(chains(&mut built.symbolizer(), &module(&built.path()), offsets), ["outer"]);
    }
}

/// What dwz makes, by hand: a unit whose inlined function has its name in another file.
const SHARED_NAME: &str = r#"
.globl main
.text
.type main,@function
main: nop
ret
.Lend: .size main,.Lend-main
.section .gnu_debugaltlink,"",@progbits
.asciz "shared.debug"
.byte 0xab,0xcd,0xef,0x01
.section .debug_abbrev,"",@progbits
.uleb128 1,0x11
.byte 1
.uleb128 0x11,0x01,0x12,0x01,0,0
.uleb128 2,0x2e
.byte 1
.uleb128 0x11,0x01,0x12,0x01,0,0
.uleb128 3,0x1d
.byte 0
.uleb128 0x03,0x1f21,0x11,0x01,0x12,0x01,0,0
.byte 0
.section .debug_info,"",@progbits
.long .Lstop-.Lstart
.Lstart: .short 4
.long .debug_abbrev
.byte 8
.uleb128 1
.quad main,.Lend
.uleb128 2
.quad main,.Lend
.uleb128 3
.long 1
.quad main,.Lend
.byte 0,0
.Lstop:
"#;

#[test]
fn names_that_several_debug_files_share_are_read_from_the_file_that_holds_them() {
    for place in ["shared.debug", "debug/.build-id/ab/cdef01.debug"] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(place);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(folder.path().join("main.s"), SHARED_NAME).unwrap();
        let shared = ".section .debug_str,\"\",@progbits\n.byte 0\n.asciz \"shared_name\"\n";
        std::fs::write(folder.path().join("shared.s"), shared).unwrap();
        let link = ["-nostdlib", "-Wl,-e,0"];
        let main = ["-o", "program", "main.s"];
        let other = ["-Wl,--build-id=0xabcdef01", "-shared", "-o", place, "shared.s"];
        if !run(folder.path(), "gcc", &[&link[..], &main].concat())
            || !run(folder.path(), "gcc", &[&link[..], &other].concat())
        {
            return;
        }
        let built = Built { folder };
        let module = module(&built.path());
        let found = chains(&mut built.symbolizer(), &module, built.offsets("main"));
        assert_eq!(found, ["~shared_name<main"], "{place}");
    }
}

#[test]
fn stubs_are_named_after_the_function_they_call() {
    for flags in [&["-g", "-fcf-protection=full", "-Wl,-z,ibtplt"][..], &["-g", "-fcf-protection=none"]] {
        let Ok(built) = Built::made(flags).map_err(skip_in_part) else { continue };
        let bytes = std::fs::read(built.path()).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        use object::ObjectSection;
        let section = file.section_by_name(".plt.sec").or_else(|| file.section_by_name(".plt")).unwrap();
        let (start, size) = section.file_range().unwrap();
        let found = chains(&mut built.symbolizer(), &module(&built.path()), start..start + size);
        assert!(found.contains(&"write@plt".into()) && found.contains(&"pause@plt".into()), "{found:?}");
    }
}

#[test]
fn a_replaced_file_gives_no_names_and_the_note_says_which() {
    let Some(built) = Built::with(&["-g"]) else { return };
    let offsets = built.offsets("outer");
    let mut module = module(&built.path());
    module.build_id = Some("00112233".into());
    let mut symbolizer = built.symbolizer();
    assert_eq!(frames(&mut symbolizer, &module, offsets.start)[0].miss, Some(Miss::FileReplaced));
    let notes = symbolizer.notes();
    assert!(
        notes.len() == 1 && notes[0].contains("running 00112233") && notes[0].contains("Restart the target"),
        "{notes:?}"
    );
}

#[test]
fn without_build_ids_another_inode_or_a_deleted_one_is_another_file() {
    let Some(built) = Built::with(&["-g", "-Wl,--build-id=none"]) else { return };
    let offsets = built.offsets("outer");
    let same = module(&built.path());
    let other = Module { inode: same.inode + 1, ..same.clone() };
    let deleted = Module { deleted: true, ..other.clone() };
    for (module, miss) in [(same, None), (other, Some(Miss::FileReplaced)), (deleted, Some(Miss::FileReplaced))] {
        assert_eq!(frames(&mut built.symbolizer(), &module, offsets.start)[0].miss, miss);
    }
}

/// Kills the program when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program and waits until it has passed its work; its executable mapping is `(start, end)`.
fn start(program: &Path) -> (Running, (u64, u64)) {
    use std::io::Read;
    let mut child = Command::new(program).arg("wait").stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.id())).unwrap();
    let line = maps.lines().find(|line| line.contains("r-xp") && line.contains("/program")).unwrap();
    let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
    let mapping = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
    (Running(child), mapping)
}

#[test]
fn a_program_deleted_or_replaced_while_it_runs_is_read_through_its_mapping() {
    for replaced in [false, true] {
        let Some(built) = Built::with(&["-g"]) else { return };
        let offsets = built.offsets("outer");
        let (child, mapping) = start(&built.path());
        let running = Module { pid: child.0.id(), mapping, deleted: true, ..module(&built.path()) };
        std::fs::remove_file(built.path()).unwrap();
        if replaced {
            std::fs::write(built.folder.path().join("program.c"), "int main(void) { return 7; }").unwrap();
            assert!(built.run("gcc", &["-O2", "-o", "program", "program.c"]));
        }
        let entry = format!("/proc/{}/map_files/{:x}-{:x}", child.0.id(), mapping.0, mapping.1);
        if let Err(error) = std::fs::File::open(&entry) {
            return skip(format!("a mapped file cannot be opened below /proc/PID/map_files: {error}"));
        }
        finds_inlines(&mut built.symbolizer(), &running, offsets.clone());
        // Without a build-id the mapping itself is proof enough.
        let unnamed = Module { build_id: None, ..running };
        finds_inlines(&mut built.symbolizer(), &unnamed, offsets);
    }
}

#[test]
fn a_deleted_program_that_ended_is_unreadable_until_another_process_has_it_mapped() {
    let Some(built) = Built::with(&["-g"]) else { return };
    let offsets = built.offsets("outer");
    let (child, mapping) = start(&built.path());
    let gone = Module { mapping, deleted: true, pid: u32::MAX, ..module(&built.path()) };
    std::fs::remove_file(built.path()).unwrap();
    let mut symbolizer = built.symbolizer();
    assert_eq!(frames(&mut symbolizer, &gone, offsets.start)[0].miss, Some(Miss::FileUnreadable));
    assert!(symbolizer.notes()[0].contains("cannot be opened"), "{:?}", symbolizer.notes());
    if std::fs::File::open(format!("/proc/{}/map_files/{:x}-{:x}", child.0.id(), mapping.0, mapping.1)).is_ok() {
        let alive = Module { pid: child.0.id(), ..gone };
        finds_inlines(&mut symbolizer, &alive, offsets);
    }
}

#[test]
fn a_file_is_found_below_the_root_of_its_process() {
    let Some(built) = Built::with(&["-g", "-static"]) else { return };
    let offsets = built.offsets("outer");
    let known = module(&built.path());
    let chroot = Command::new("chroot")
        .args([built.folder.path(), Path::new("/program")])
        .arg("wait")
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Running(chroot.unwrap());
    let mut ready = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(child.0.stdout.take().unwrap(), 6), &mut ready).unwrap();
    if ready.is_empty() {
        return skip("chroot is not permitted");
    }
    let inside = Module { pid: child.0.id(), path: "/program".into(), ..known };
    finds_inlines(&mut built.symbolizer(), &inside, offsets);
}

#[test]
fn a_later_window_asks_nothing_of_the_disk_even_for_new_addresses_and_other_processes() {
    let Some(built) = Built::with(&["-g"]) else { return };
    let (outer, exported) = (built.offsets("outer"), built.offsets("exported"));
    let (mut symbolizer, first) = (built.symbolizer(), module(&built.path()));
    finds_inlines(&mut symbolizer, &first, outer.clone());
    std::fs::remove_file(built.path()).unwrap();
    let other = Module { pid: u32::MAX, path: "/elsewhere/program".into(), ..first };
    finds_inlines(&mut symbolizer, &other, outer);
    assert_eq!(chains(&mut symbolizer, &other, exported), ["exported"]);
}

#[test]
fn one_address_in_many_modules_and_many_addresses_at_once_give_the_same_frames() {
    let Some(built) = Built::with(&["-g", "-static"]) else { return };
    let module = module(&built.path());
    let bytes = std::fs::read(built.path()).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    use object::ObjectSection;
    let (start, size) = file.section_by_name(".text").unwrap().file_range().unwrap();
    let addresses: Vec<Address> =
        (start..start + size).step_by(7).map(|at| Address { module: Some(ModuleId((at % 2) as u32)), at }).collect();
    let names = |threads| {
        let mut symbolizer = Symbolizer::new(Options { threads, cache: None, ..Options::default() });
        let found = symbolizer.resolve(&[module.clone(), module.clone()], &addresses);
        let names = |symbols: &wireprof::symbol::Symbols| {
            symbols.iter().map(|&s| symbolizer.frame(s).clone()).collect::<Vec<_>>()
        };
        found.iter().map(names).collect::<Vec<_>>()
    };
    let one = names(1);
    assert!(one.iter().filter(|frames| frames[0].miss.is_none()).count() > addresses.len() / 2);
    assert_eq!(one, names(2));
    assert_eq!(one, names(7));
}
