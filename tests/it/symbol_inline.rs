//! Names of inlined functions in Rust and C++ programs, at each level of debug information and with both manglings of
//! Rust: they have the path that the same function has where it is not inlined, as far as the compiler says it. The
//! programs are compiled here; without a compiler the tests say so and pass.

use crate::skip::skip_in_part;
use object::{Object, ObjectSection, ObjectSymbol};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use wireprof::profile::short_name;
use wireprof::sample::{Address, Module, ModuleId, ModuleKind};
use wireprof::symbol::{Options, Symbolizer};

const MAIN: &str = "mod deep;
use deep::er::*;
fn main() {
    let shape = Shape(std::env::args().count() as u32);
    println!(\"{}\", outline(&shape, 3));
}
";
const MODULE: &str = "use std::hint::black_box;
pub struct Shape<T>(pub T);
pub trait Area { fn area(&self, n: u64) -> u64; }
impl<T: Copy + Into<u64>> Area for Shape<T> {
    #[inline(always)]
    fn area(&self, n: u64) -> u64 { black_box(self.0.into() * n) }
}
impl<T: Copy + Into<u64>> Shape<T> {
    #[inline(always)]
    pub fn grown(&self, by: u64) -> u64 { black_box(self.0.into() + by) }
}
#[inline(always)]
pub fn free(n: u64) -> u64 { black_box(n + 1) }
#[inline(never)]
pub fn outline(shape: &Shape<u32>, n: u64) -> u64 { shape.area(free(n)) + shape.grown(n) }
";
const CPP: &str = "
namespace ns { namespace inner {
template<class T> struct Box {
  T v;
  __attribute__((always_inline)) inline T get(T add) const { volatile T x = v; return x + add; }
};
__attribute__((always_inline)) inline int helper(int n) { volatile int x = n; return x * 3; }
namespace { struct Hidden {
  static __attribute__((always_inline)) inline int method(int n) { volatile int x = n; return x * 5; }
}; }
namespace { __attribute__((always_inline)) inline int hidden(int n) { volatile int x = n; return x * 7; } }
__attribute__((noinline)) int outline(int n) {
  Box<int> b{n};
  return b.get(1) + helper(n) + Hidden::method(n) + hidden(n);
}
} }
int main(int count, char**) { return ns::inner::outline(count); }
";

/// Names of all functions at the instructions of the one whose symbol has `outline` in its name.
fn names(program: &Path) -> BTreeSet<String> {
    let bytes = std::fs::read(program).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let symbol = file.symbols().find(|symbol| symbol.name().is_ok_and(|name| name.contains("7outline"))).unwrap();
    let section = file.section_by_index(symbol.section_index().unwrap()).unwrap();
    let start = section.file_range().unwrap().0 + (symbol.address() - section.address());
    let path = program.to_owned();
    let module =
        Module { kind: ModuleKind::File, path, pid: 0, mapping: (0, 0), inode: 0, deleted: false, build_id: None };
    let mut symbolizer = Symbolizer::new(Options { cache: None, ..Options::default() });
    let addresses: Vec<_> =
        (start..start + symbol.size()).map(|at| Address { module: Some(ModuleId(0)), at }).collect();
    let found = symbolizer.resolve(&[module], &addresses);
    found.iter().flat_map(|symbols| symbols.iter()).map(|&symbol| symbolizer.frame(symbol).name.clone()).collect()
}

/// `None`, said, where the compiler is absent or does not know an option.
fn compiled(compiler: &str, arguments: &[&str], folder: &Path) -> Option<BTreeSet<String>> {
    // Both manglings of a stable compiler.
    let done = Command::new(compiler).args(arguments).env("RUSTC_BOOTSTRAP", "1").current_dir(folder).output();
    match done {
        Ok(output) if output.status.success() => Some(names(&folder.join("program"))),
        Ok(output) => {
            skip_in_part(format!("{compiler} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)));
            None
        }
        Err(error) => {
            skip_in_part(format!("{compiler}: {error}"));
            None
        }
    }
}

#[track_caller]
fn has(names: &BTreeSet<String>, expected: &[&str]) {
    for name in expected {
        assert!(names.contains(*name), "{name} is not among {names:#?}");
    }
}

#[test]
fn inlined_rust_functions_have_their_path_at_every_level_of_debug_information() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("deep")).unwrap();
    for (file, text) in [("program.rs", MAIN), ("deep/mod.rs", "pub mod er;"), ("deep/er.rs", MODULE)] {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    for level in ["line-tables-only", "1", "2"] {
        for mangling in ["legacy", "v0"] {
            let options = [format!("debuginfo={level}"), format!("symbol-mangling-version={mangling}")];
            let arguments = ["-O", "-Zunstable-options", "program.rs", "-C", &options[0], "-C", &options[1]];
            let Some(names) = compiled("rustc", &arguments, folder.path()) else { continue };
            has(&names, &["program::deep::er::free", "program::deep::er::outline"]);
            let (area, grown) = match (level, mangling) {
                // All that there is are the file and the bare name.
                ("line-tables-only", _) => ("program::deep::er::area::<u32>", "program::deep::er::grown::<u32>"),
                (_, "legacy") => (
                    "<program::deep::er::Shape<T> as program::deep::er::Area>::area",
                    "program::deep::er::Shape<T>::grown",
                ),
                _ => (
                    "<program::deep::er::Shape<u32> as program::deep::er::Area>::area",
                    "<program::deep::er::Shape<u32>>::grown",
                ),
            };
            has(&names, &[area, grown]);
            let own = |name: &String| name.starts_with("core::hint::black_box");
            assert!(names.iter().any(own), "the standard library's crates are known, too: {names:#?}");
            assert!(names.iter().all(|name| name.contains("::")), "{level}, {mangling}: {names:#?}");
        }
    }
}

#[test]
fn inlined_cpp_functions_lie_in_their_namespaces_and_types() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("program.cc"), CPP).unwrap();
    let base = ["-O2", "-o", "program", "program.cc"];
    for form in [&["-g"][..], &["-g", "-gdwarf-4"], &["-g", "-gz=zlib"]] {
        let Some(names) = compiled("g++", &[&base[..], form].concat(), folder.path()) else { continue };
        has(&names, &["ns::inner::outline(int)", "ns::inner::Box<int>::get(int) const", "ns::inner::helper(int)"]);
        let short: BTreeSet<String> = names.iter().map(|name| short_name(name)).collect();
        let hidden = "ns::inner::(anonymous namespace)";
        has(&short, &[&format!("{hidden}::hidden"), &format!("{hidden}::Hidden::method"), "ns::inner::Box::get"]);
    }
    // With line tables only g++ says nothing of a function that has no symbol.
    let Some(names) = compiled("g++", &[&base[..], &["-g1"]].concat(), folder.path()) else { return };
    has(&names, &["ns::inner::Box<int>::get(int) const", "ns::inner::helper(int)", "hidden"]);
}
