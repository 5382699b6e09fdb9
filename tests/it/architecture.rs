//! The import rules of ARCHITECTURE.md, checked against the sources; and that ARCHITECTURE.md names every room and
//! every dependency, and none that is gone. Unit tests inside the files may import what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The rooms in layers, the lowest first. A room imports rooms of lower layers only, so no circle can form; this
/// holds for the conductor and the command line, and for C headers, as for every other room.
const LAYERS: &[&[&str]] = &[
    &["child", "runtime", "words"],
    &["bpf", "check", "clock", "connection", "mapped", "parallel", "profile", "sql", "vcs", "workload"],
    &["http"],
    &["cachedir", "elf", "load", "metrics", "statements", "testbed", "wire"],
    &["preset", "target"],
    &["remote", "sample"],
    &["carriers"],
    &["run", "symbol"],
    &["analyze", "debuginfod", "import"],
    &["render"],
    &["export", "perflog", "push", "sweep"],
    &["cli"],
];
/// Rooms that a room must not even reach by way of others, each with its reason.
const NEVER_REACHED: &[(&str, &str, &str)] = &[
    ("sample", "symbol", "a sampler leaves addresses; naming them is another stage"),
    ("sample", "profile", "a sampler leaves addresses; naming them is another stage"),
    ("wire", "sample", "either instrument works without the other"),
];
/// All that the testbed may use of the product: it knows nothing of what measures it.
const TESTBED_MAY_USE: &[&str] = &["child", "clock"];

/// Rooms that do no I/O and know no format.
const PURE: &[&str] = &["analyze", "carriers", "profile"];
/// What does I/O or knows a format; these rooms may not contain it.
const NOT_PURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "File::",
    "print!",
    "println!",
    "flate2::",
    "inferno::",
    "libc::",
    "object::",
    "pprof::",
    "procfs::",
    "prost::",
    "reqwest::",
    "serde_json::",
    "tokio::",
    "toml::",
];
/// The one file of `render` that writes.
const WRITER: &str = "src/render/flamegraph/pictures.rs";

struct Source {
    path: PathBuf,
    room: String,
    /// Modules below the crate's root: 1 for `src/ROOM/mod.rs` and `src/ROOM.rs`.
    depth: usize,
    /// Without comments and without unit tests.
    code: String,
    /// Rooms that this file imports, its own left out.
    imports: BTreeSet<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, endings, found);
        } else if path.extension().is_some_and(|extension| endings.iter().any(|ending| extension == *ending)) {
            found.push(path);
        }
    }
}

/// Every Rust and C file of a room, its unit tests left out; `lib.rs` and `main.rs` belong to none.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    files(&root().join("src"), &["rs", "c", "h"], &mut paths);
    let inside = |path: &PathBuf| path.strip_prefix(root()).unwrap().to_owned();
    paths.retain(|path| !inside(path).iter().any(|part| part == "tests" || part == "tests.rs"));
    paths.sort();
    let all = paths.into_iter().map(|path| source(path.strip_prefix(root()).unwrap()));
    all.filter(|source| !["lib", "main"].contains(&source.room.as_str())).collect()
}

fn source(path: &Path) -> Source {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let rust = path.extension().is_some_and(|extension| extension == "rs");
    let mut modules = modules_of(path);
    modules.pop_if(|last| last == "mod");
    let room = modules[0].clone();
    let code = code(&text);
    let mut imports = if rust { imports(&code) } else { includes(path, &text) };
    imports.remove(&room);
    Source { room, depth: modules.len(), code, imports, path: path.into() }
}

/// `["sample", "perf", "events"]` of `src/sample/perf/events.rs`.
fn modules_of(path: &Path) -> Vec<String> {
    let inside = path.strip_prefix("src").unwrap().with_extension("");
    inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect()
}

/// The rooms whose headers a C file includes by `#include "..."`.
fn includes(path: &Path, text: &str) -> BTreeSet<String> {
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("#include \"")?.split('"').next());
    named.map(|name| modules_of(&normal(&path.parent().unwrap().join(name)))[0].clone()).collect()
}

/// Without `..`, which the file system need not be asked for.
fn normal(path: &Path) -> PathBuf {
    let mut parts: Vec<&std::ffi::OsStr> = Vec::new();
    for part in path {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.iter().collect()
}

/// The layer of a room, from 0.
fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

/// What is wrong with the imports of these sources, a line each.
fn out_of_order(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources {
        let Some(own) = layer(&source.room) else {
            wrong.push(format!("{}: the room {} is in no layer", source.path.display(), source.room));
            continue;
        };
        for import in &source.imports {
            match layer(import) {
                Some(other) if other < own => {}
                Some(_) => wrong.push(format!("{}: {} may not import {import}", source.path.display(), source.room)),
                None => wrong.push(format!("{}: {import} is in no layer", source.path.display())),
            }
        }
    }
    wrong
}

fn code(text: &str) -> String {
    let untested = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let lines = untested.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| line.split(" // ").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Names that follow `crate::`, those of `crate::{a, b}` too.
fn imports(code: &str) -> BTreeSet<String> {
    let identifier = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        let rest = &code[at + "crate::".len()..];
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(identifier(rest));
            continue;
        };
        let mut nesting = 0;
        let mut names = String::new();
        for c in group.chars() {
            match c {
                '{' => nesting += 1,
                '}' if nesting == 0 => break,
                '}' => nesting -= 1,
                c if nesting == 0 => names.push(c),
                _ => {}
            }
        }
        found.extend(names.split(',').map(|name| identifier(name.trim())).filter(|name| !name.is_empty()));
    }
    found
}

#[test]
fn imports_are_read_from_paths_and_groups_but_not_from_comments_or_unit_tests() {
    let text = "use crate::clock::Span;\nuse crate::{load::{A, B}, run};\n// crate::cli\nfn f() { crate::elf::g(); \
                mycrate::x() }\n\
                #[cfg(test)]\nmod tests { use crate::sweep; }\n";
    assert_eq!(imports(&code(text)).into_iter().collect::<Vec<_>>(), ["clock", "elf", "load", "run"]);
}

#[test]
fn a_room_imports_only_rooms_of_lower_layers() {
    let sources = sources();
    let edges: usize = sources.iter().map(|source| source.imports.len()).sum();
    assert!(edges > 100, "only {edges} imports were found: are they still written as crate::ROOM?");
    let wrong = out_of_order(&sources);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_import_upwards_a_circle_and_an_include_of_another_rooms_header_are_found() {
    let file = |path: &str, imports: &[&str]| Source {
        path: path.into(),
        room: modules_of(Path::new(path))[0].clone(),
        depth: 1,
        code: String::new(),
        imports: imports.iter().map(|room| room.to_string()).collect(),
    };
    for (path, import) in [
        ("src/run/model.rs", "analyze"),
        ("src/target/host.rs", "run"),
        ("src/target/host.rs", "sample"),
        ("src/profile/short.rs", "symbol"),
        ("src/sweep/mod.rs", "cli"),
    ] {
        assert_eq!(out_of_order(&[file(path, &[import])]).len(), 1, "{path} imports {import}");
    }
    let circle = [file("src/load/x.rs", &["wire"]), file("src/wire/y.rs", &["load"])];
    assert_eq!(out_of_order(&circle).len(), 2);
    let header = includes(
        Path::new("src/wire/bpf/w.c"),
        "#include \"../../sample/ebpf/bpf/kernel.h\"\n#include <linux/bpf.h>\n",
    );
    assert_eq!(header.iter().collect::<Vec<_>>(), ["sample"]);
    assert_eq!(out_of_order(&[file("src/wire/bpf/w.c", &["sample"])]).len(), 1);
    assert_eq!(out_of_order(&[file("src/nowhere/x.rs", &[])]).len(), 1);
}

/// The rooms that a room reaches by imports, directly or by way of others.
fn reached(from: &str, edges: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![from.to_owned()];
    while let Some(room) = open.pop() {
        for next in edges.get(&room).into_iter().flatten() {
            if found.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    found
}

#[test]
fn what_a_room_must_not_know_it_does_not_reach_by_way_of_others_either() {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        edges.entry(source.room).or_default().extend(source.imports);
    }
    for (from, to, reason) in NEVER_REACHED {
        assert!(edges.contains_key(*from) && layer(to).is_some(), "{from} and {to} are rooms");
        assert!(!reached(from, &edges).contains(*to), "{from} reaches {to}: {reason}");
    }
    assert!(reached("cli", &edges).contains("elf"), "reaching is followed over several rooms");
}

#[test]
fn the_testbed_uses_nothing_of_the_product_that_measures() {
    let mut paths = Vec::new();
    files(&root().join("testbed/src"), &["rs"], &mut paths);
    assert!(paths.len() > 20, "{} files", paths.len());
    let mut used = BTreeSet::new();
    for path in paths {
        used.extend(product_imports(&std::fs::read_to_string(&path).unwrap()));
    }
    assert_eq!(used.iter().collect::<Vec<_>>(), TESTBED_MAY_USE);
}

/// Rooms of the product that another crate's code names.
fn product_imports(text: &str) -> BTreeSet<String> {
    imports(&code(&text.replace("crate::", "own::").replace("wireprof::", "crate::")))
}

#[test]
fn no_room_is_left_by_way_of_super() {
    for source in sources() {
        let leaving = "super::".repeat(source.depth);
        assert!(
            !source.code.contains(&leaving),
            "{}: {leaving} leads out of the room; write crate::",
            source.path.display()
        );
    }
}

#[test]
fn profile_carriers_and_analyze_do_no_io_and_know_no_format() {
    let pure: Vec<_> = sources().into_iter().filter(|s| PURE.contains(&s.room.as_str())).collect();
    assert!(pure.len() > 10, "{} files", pure.len());
    for source in pure {
        for word in NOT_PURE {
            assert!(!source.code.contains(word), "{}: {word} has no place in {}", source.path.display(), source.room);
        }
    }
}

#[test]
fn render_writes_pictures_and_nothing_else() {
    for source in sources().iter().filter(|source| source.room == "render") {
        let writes = ["std::fs", "File::", "std::net", "tokio::"].iter().any(|word| source.code.contains(word));
        assert_eq!(writes, source.path == Path::new(WRITER), "{}", source.path.display());
    }
}

#[test]
fn exports_are_built_in_memory() {
    let files: Vec<_> = sources().into_iter().filter(|source| source.room == "export").collect();
    assert!(files.len() > 5, "{} files", files.len());
    for source in files {
        let found = ["std::fs", "std::env", "std::net", "File::", "tokio::"].iter().find(|w| source.code.contains(**w));
        assert_eq!(found, None, "{}", source.path.display());
    }
}

#[test]
fn the_architecture_document_names_every_room() {
    let document = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let named: BTreeSet<String> = named_in_table(&document, "## Rooms");
    let rooms: BTreeSet<String> = sources().into_iter().map(|source| source.room).collect();
    assert_eq!(named, rooms);
}

#[test]
fn the_architecture_document_names_every_dependency() {
    let document = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut dependencies = BTreeSet::new();
    for manifest in ["Cargo.toml", "testbed/Cargo.toml"] {
        let manifest: toml::Table = std::fs::read_to_string(root().join(manifest)).unwrap().parse().unwrap();
        let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
        let tables = tables.iter().filter_map(|table| manifest.get(*table)?.as_table());
        dependencies.extend(tables.flat_map(|table| table.keys().cloned()));
    }
    dependencies.remove("wireprof");
    assert_eq!(named_in_table(&document, "## Dependencies"), dependencies);
}

/// The names in backticks in the first column of the tables of one section.
fn named_in_table(document: &str, heading: &str) -> BTreeSet<String> {
    let section = document.split(heading).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(|name| name.trim_end_matches('/').into()).collect()
}
