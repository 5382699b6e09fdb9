//! Damaged object files cost their own frames and nothing else: no panic, no hang, no wrong module.

use crate::skip::skip;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::path::Path;
use std::process::Command;
use wireprof::profile::Miss;
use wireprof::sample::{Address, Module, ModuleId, ModuleKind};
use wireprof::symbol::{Options, Symbolizer};

const PROGRAM: &str = "volatile long sink; static inline __attribute__((always_inline)) void hot(long n) { sink += n; \
                       }\n\
    __attribute__((noinline)) void outer(long n) { hot(n); sink++; } int main(int c, char **v) { outer(c); return 0; \
    }\n";

/// A small program with debug information; `None`, said, without gcc.
fn program(folder: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    std::fs::write(folder.join("program.c"), PROGRAM).unwrap();
    let base = ["-g", "-O2", "-nostartfiles", "-Wl,-e,main", "-o", "program", "program.c"];
    match Command::new("gcc").args(base).args(arguments).current_dir(folder).status() {
        Ok(status) if status.success() => Some(std::fs::read(folder.join("program")).unwrap()),
        other => {
            skip(format!("gcc: {other:?}"));
            None
        }
    }
}

/// Every 16th byte of the file as a code address.
fn look_up(path: &Path, bytes: &[u8]) -> (Vec<Option<Miss>>, Vec<String>) {
    std::fs::write(path, bytes).unwrap();
    let kind = ModuleKind::File;
    let module = Module { kind, path: path.into(), pid: 0, mapping: (0, 0), inode: 0, deleted: false, build_id: None };
    let addresses: Vec<_> = (0x200..0x1400).step_by(16).map(|at| Address { module: Some(ModuleId(0)), at }).collect();
    let mut symbolizer =
        Symbolizer::new(Options { debug_roots: Vec::new(), threads: 1, cache: None, ..Options::default() });
    let found = symbolizer.resolve(&[module], &addresses);
    assert!(found.iter().all(|symbols| !symbols.is_empty()));
    let misses = found.iter().map(|symbols| symbolizer.frame(*symbols.last().unwrap()).miss).collect();
    (misses, symbolizer.notes())
}

fn assert_no_panic(notes: &[String], what: &str) {
    assert!(!notes.iter().any(|note| note.contains("panicked")), "{what}: {notes:?}");
}

#[test]
fn a_program_cut_at_any_length_panics_nowhere_and_a_whole_one_has_names() {
    let folder = tempfile::tempdir().unwrap();
    let Some(whole) = program(folder.path(), &[]) else { return };
    let path = folder.path().join("cut");
    let (misses, notes) = look_up(&path, &whole);
    assert!(misses.contains(&None) && notes.is_empty(), "{notes:?}");
    for length in (0..whole.len()).step_by(37) {
        let (_, notes) = look_up(&path, &whole[..length]);
        assert_no_panic(&notes, &format!("cut at {length}"));
    }
    let (misses, notes) = look_up(&path, &whole[..40]);
    assert!(misses.iter().all(|miss| *miss == Some(Miss::Malformed)));
    assert!(notes.len() == 1 && notes[0].contains("cut"), "{notes:?}");
}

#[test]
fn two_thousand_damaged_programs_panic_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    let mut random = StdRng::seed_from_u64(20_261_122);
    for form in [&["-gdwarf-5"][..], &["-gdwarf-4"], &["-gz=zlib"], &["-gdwarf-5", "-gsplit-dwarf"]] {
        let Some(whole) = program(folder.path(), form) else { return };
        for case in 0..500 {
            let mut bytes = whole.clone();
            // Headers and debug sections are where damage leads astray; code and padding are most of the file.
            let (from, to) = if case % 2 == 0 { (0, bytes.len()) } else { (bytes.len() * 3 / 5, bytes.len()) };
            for _ in 0..random.random_range(1..40) {
                let at = random.random_range(from..to);
                bytes[at] = match random.random_range(0..4) {
                    0 => 0xff,
                    1 => 0,
                    2 => bytes[at] ^ (1 << random.random_range(0..8)),
                    _ => random.random(),
                };
            }
            let (_, notes) = look_up(&path, &bytes);
            assert_no_panic(&notes, &format!("{form:?}, case {case}"));
        }
    }
}

#[test]
fn sections_that_claim_absurd_sizes_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut bytes) = program(folder.path(), &["-gz=zlib"]) else { return };
    use object::{Object, ObjectSection};
    let file = object::File::parse(&*bytes).unwrap();
    let (start, size) = file.sections().find(|s| s.name() == Ok(".debug_info")).unwrap().file_range().unwrap();
    assert!(size > 24, "the linker did not compress .debug_info");
    // Elf64_Chdr: type, reserved, then the unpacked size.
    bytes[start as usize + 8..start as usize + 16].copy_from_slice(&(1u64 << 50).to_le_bytes());
    let (misses, notes) = look_up(&folder.path().join("absurd"), &bytes);
    assert!(misses.contains(&None), "the symbol table still names functions");
    assert!(notes.len() == 1 && notes[0].contains("claims 1125899906842624 bytes"), "{notes:?}");
}

#[test]
fn deeply_nested_inlined_functions_do_not_overflow_the_stack() {
    let folder = tempfile::tempdir().unwrap();
    let depth = 100_000;
    // One unit: a subprogram that covers `main`, and `depth` inlined functions one within the other.
    let source = format!(
        ".globl main\n.text\nmain: ret\n.type main,@function\n.Lend: .size main,.Lend-main\n\
        .section .debug_abbrev,\"\",@progbits\n.uleb128 1,0x11\n.byte 1\n.uleb128 0x11,0x01,0x12,0x01,0,0\n\
        .uleb128 2,0x2e\n.byte 1\n.uleb128 0x11,0x01,0x12,0x01,0,0\n.uleb128 3,0x1d\n.byte 1\n.uleb128 0,0\n.byte 0\n\
        .section .debug_info,\"\",@progbits\n.long .Le-.Ls\n.Ls: .short 4\n.long .debug_abbrev\n.byte 8\n\
        .uleb128 1\n.quad main,.Lend\n.uleb128 2\n.quad main,.Lend\n.fill {depth},1,3\n.fill {},1,0\n.Le:\n",
        depth + 2
    );
    std::fs::write(folder.path().join("deep.s"), source).unwrap();
    let built = Command::new("gcc")
        .args(["-nostdlib", "-Wl,-e,main", "-o", "deep", "deep.s"])
        .current_dir(folder.path())
        .status();
    if !built.is_ok_and(|status| status.success()) {
        return skip("gcc cannot build deep.s");
    }
    let bytes = std::fs::read(folder.path().join("deep")).unwrap();
    let (misses, notes) = look_up(&folder.path().join("nested"), &bytes);
    assert!(misses.contains(&None), "{notes:?}");
}
