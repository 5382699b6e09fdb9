//! Names of code that a runtime generates, from the map that it writes for profilers (`/tmp/perf-PID.map`: Node
//! `--perf-basic-prof`, .NET `DOTNET_PerfMapEnabled`, Java's `Compiler.perfmap`, Python `-X perf`). Invariant: of two
//! lines for an address the later one names it, since code gives way to other code; a file of another user than the
//! process's names nothing.
//! Source of the format: Linux, tools/perf/Documentation/jit-interface.txt: start and size in hex, and a name.

use super::image::{Function, Functions};
use crate::elf::{below, root_of};
use crate::profile::Miss;
use crate::sample::Module;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Of a larger map the rest is not read, in bytes.
const MOST: u64 = 256 << 20;

/// The generated functions of one process.
pub(super) struct Generated {
    text: Vec<u8>,
    /// By start: the end, and where in `text` the name is.
    functions: BTreeMap<u64, (u64, Range<usize>)>,
}

impl Generated {
    /// Of the process that has this module mapped; `None`: it writes no map, or one that is not to be trusted.
    pub(super) fn of(module: &Module) -> Option<Generated> {
        let file = open(&path_of(module.pid)?, module.pid)?;
        let mut text = Vec::new();
        file.take(MOST).read_to_end(&mut text).ok()?;
        Some(Generated::read(text))
    }

    fn read(text: Vec<u8>) -> Generated {
        let mut functions: BTreeMap<u64, (u64, Range<usize>)> = BTreeMap::new();
        let mut at = 0;
        // A line without an end is still being written.
        while let Some(length) = text[at..].iter().position(|byte| *byte == b'\n') {
            if let Some((addresses, name)) = line(&text[at..at + length]) {
                let name = at + name..at + length;
                let before = functions.range(..addresses.end).rev();
                let covered: Vec<u64> =
                    before.take_while(|(_, (end, _))| *end > addresses.start).map(|(start, _)| *start).collect();
                for start in covered {
                    functions.remove(&start);
                }
                functions.insert(addresses.start, (addresses.end, name));
            }
            at += length + 1;
        }
        Generated { text, functions }
    }

    pub(super) fn find(&self, at: u64) -> Functions {
        let found = self.functions.range(..=at).next_back().filter(|(_, (end, _))| at < *end);
        let (_, (_, name)) = found.ok_or(Miss::Anonymous)?;
        let text = String::from_utf8_lossy(&self.text[name.clone()]);
        let (name, file) = named(&text);
        Ok(vec![Function { name: name.into(), file: file.map(Arc::from), inlined: false, module: None }])
    }
}

/// Addresses, and where the name begins.
fn line(line: &[u8]) -> Option<(Range<u64>, usize)> {
    let mut fields = line.splitn(3, |byte| *byte == b' ');
    let mut number = || {
        let digits = std::str::from_utf8(fields.next()?).ok()?;
        u64::from_str_radix(digits.trim_start_matches("0x"), 16).ok()
    };
    let (start, size) = (number()?, number()?);
    let name = fields.next().filter(|name| !name.is_empty())?;
    (size > 0).then_some((start..start.checked_add(size)?, line.len() - name.len()))
}

/// The function's name, and its source file. V8 tells how well it is optimized (`JS:*price /shop/server.js:3:20`) and
/// where it stands: neither is part of the name, which would be another in each version.
fn named(text: &str) -> (String, Option<&str>) {
    let Some((kind, rest)) =
        text.split_once(':').filter(|(kind, _)| matches!(*kind, "JS" | "LazyCompile" | "Function"))
    else {
        return (text.trim_end().to_string(), None);
    };
    let rest = rest.trim_start_matches(['*', '~', '^', '+', '\'']);
    let Some((name, place)) = rest.rsplit_once(' ') else { return (format!("{kind}:{rest}"), None) };
    let file = place.rsplitn(3, ':').last().unwrap_or(place);
    let base = file.rsplit('/').next().unwrap_or(file);
    let name = if name.is_empty() { format!("(anonymous in {base})") } else { name.to_string() };
    (format!("{kind}:{name}"), Some(file))
}

/// Named by the process's number as the process itself knows it, where the process finds `/tmp`.
fn path_of(pid: u32) -> Option<PathBuf> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let own = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.split_whitespace().next_back()?;
    Some(below(&root_of(pid), Path::new(&format!("/tmp/perf-{own}.map"))))
}

/// Anybody may write to `/tmp`: it must be a file, and of the process's user or root.
fn open(path: &Path, pid: u32) -> Option<File> {
    let owner = std::fs::metadata(format!("/proc/{pid}")).ok()?.uid();
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path).ok()?;
    let facts = file.metadata().ok()?;
    (facts.is_file() && (facts.uid() == owner || facts.uid() == 0)).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::ModuleKind;

    fn name_at(map: &str, at: u64) -> Option<String> {
        Generated::read(map.into()).find(at).ok().map(|functions| functions[0].name.to_string())
    }

    #[test]
    fn the_last_line_for_an_address_names_it() {
        let map = "1000 100 old\n1080 20 price\n0x10a0 0x10 sell twice\n\nnonsense\n2000 0 empty\n3000 10 cut";
        assert_eq!(name_at(map, 0x1090).as_deref(), Some("price"));
        assert_eq!(name_at(map, 0x10a8).as_deref(), Some("sell twice"));
        for nothing in [0x1000, 0x10b0, 0x2000, 0x3000, 0, u64::MAX] {
            assert_eq!(name_at(map, nothing), None, "{nothing:x}");
        }
    }

    #[test]
    fn a_function_has_one_name_however_well_it_is_optimized_and_wherever_it_stands() {
        for (text, name, file) in [
            ("JS:*price /shop/server.js:3:20", "JS:price", Some("/shop/server.js")),
            ("LazyCompile:~price file:///shop/book.mjs:3:20", "LazyCompile:price", Some("file:///shop/book.mjs")),
            ("JS:^ /shop/server.js:8:1", "JS:(anonymous in server.js)", Some("/shop/server.js")),
            ("Builtin:ArrayMap", "Builtin:ArrayMap", None),
            ("int com.shop.Book.price(int)", "int com.shop.Book.price(int)", None),
            ("py::price:/shop/server.py", "py::price:/shop/server.py", None),
        ] {
            assert_eq!(named(text), (name.to_string(), file), "{text}");
        }
    }

    #[test]
    fn a_map_is_taken_from_a_plain_file_of_this_user_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (own, link, missing) = ["own", "link", "missing"].map(|name| directory.path().join(name)).into();
        std::fs::write(&own, "1000 10 price\n").unwrap();
        std::os::unix::fs::symlink(&own, &link).unwrap();
        let pid = std::process::id();
        assert!(open(&own, pid).is_some());
        assert!(open(&link, pid).is_none() && open(&missing, pid).is_none() && open(directory.path(), pid).is_none());
        assert!(path_of(pid).unwrap().ends_with(format!("tmp/perf-{pid}.map")));
        let module = Module {
            kind: ModuleKind::Anonymous,
            path: PathBuf::new(),
            pid: u32::MAX,
            mapping: (0, 1),
            inode: 0,
            deleted: false,
            build_id: None,
        };
        assert!(Generated::of(&module).is_none(), "no such process");
    }
}
