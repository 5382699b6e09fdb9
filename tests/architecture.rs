//! The import rules of ARCHITECTURE.md, checked against the sources; and that ARCHITECTURE.md names every room and every
//! dependency, and none that is gone. Unit tests inside the files may import what they like.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which rooms a room may import. `cli` and `sweep` see every room.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("cachedir", &[]),
    ("clock", &[]),
    ("elf", &[]),
    ("workload", &[]),
    ("profile", &[]),
    ("connection", &[]),
    ("load", &["clock", "connection", "workload"]),
    ("target", &["clock", "connection", "elf", "run"]),
    ("sample", &["cachedir", "clock", "elf", "target"]),
    ("symbol", &["cachedir", "clock", "elf", "profile", "sample"]),
    ("metrics", &["clock", "connection"]),
    ("statements", &["clock"]),
    ("wire", &["clock"]),
    ("preset", &["metrics", "statements"]),
    ("run", &["analyze", "clock", "load", "metrics", "profile", "sample", "statements", "target", "vcs", "wire"]),
    ("import", &["clock", "load", "metrics", "preset", "profile", "run", "sample", "statements", "symbol", "target"]),
    ("analyze", &["clock", "load", "metrics", "preset", "profile", "run", "statements", "target", "wire"]),
    ("render", &["analyze", "clock", "profile", "run", "target", "wire"]),
    ("perflog", &["analyze", "profile", "render", "run"]),
    ("testbed", &["clock"]),
    ("vcs", &[]),
];
/// Single imports beyond that, each with its reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "src/profile/short.rs",
        "symbol",
        "shortening a name is text to text, without I/O; the symbolizer's rules are the only ones",
    ),
    ("src/target/host.rs", "sample", "whether there is a PMU is asked by opening an event"),
];
const SEE_EVERYTHING: [&str; 2] = ["cli", "sweep"];

/// What does I/O or knows a format; `profile` and `analyze` may not contain it.
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
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every file of a room; `lib.rs` and the two `main`s belong to none.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    files(&root().join("src"), &mut paths);
    paths.sort();
    let outside = ["lib", "main", "testbed_main"];
    let all = paths.into_iter().map(|path| {
        let inside = path.strip_prefix(root().join("src")).unwrap().with_extension("");
        let mut modules: Vec<&str> = inside.iter().map(|part| part.to_str().unwrap()).collect();
        modules.pop_if(|last| *last == "mod");
        Source {
            room: modules[0].into(),
            depth: modules.len(),
            code: code(&std::fs::read_to_string(&path).unwrap()),
            path: path.strip_prefix(root()).unwrap().into(),
        }
    });
    all.filter(|source| !outside.contains(&source.room.as_str())).collect()
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
    let text = "use crate::clock::Span;\nuse crate::{load::{A, B}, run};\n// crate::cli\nfn f() { crate::elf::g(); mycrate::x() }\n\
                #[cfg(test)]\nmod tests { use crate::sweep; }\n";
    assert_eq!(imports(&code(text)).into_iter().collect::<Vec<_>>(), ["clock", "elf", "load", "run"]);
}

#[test]
fn a_room_imports_only_the_rooms_it_may() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        MAY_IMPORT.iter().map(|(room, rooms)| (*room, rooms.iter().copied().collect())).collect();
    let mut wrong = Vec::new();
    let mut edges = 0;
    let mut used = BTreeSet::new();
    for source in sources().iter().filter(|source| !SEE_EVERYTHING.contains(&source.room.as_str())) {
        let Some(may) = allowed.get(source.room.as_str()) else {
            wrong.push(format!("{}: the room {} has no line in MAY_IMPORT", source.path.display(), source.room));
            continue;
        };
        for import in imports(&source.code).iter().filter(|import| **import != source.room) {
            edges += 1;
            let excepted = |(path, room, _): &&(&str, &str, &str)| source.path == Path::new(path) && import == room;
            if let Some((path, ..)) = EXCEPTIONS.iter().find(excepted) {
                used.insert(*path);
            } else if !may.contains(import.as_str()) {
                wrong.push(format!("{}: {} may not import {import}", source.path.display(), source.room));
            }
        }
    }
    assert!(edges > 50, "only {edges} imports were found: are they still written as crate::ROOM?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (path, import, reason) in EXCEPTIONS {
        assert!(used.contains(path), "{path} no longer imports {import} ({reason}): take it out of EXCEPTIONS");
    }
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
fn profile_and_analyze_do_no_io_and_know_no_format() {
    let pure: Vec<_> = sources().into_iter().filter(|s| ["profile", "analyze"].contains(&s.room.as_str())).collect();
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
fn the_architecture_document_names_every_room() {
    let document = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let named: BTreeSet<String> = named_in_table(&document, "## Rooms");
    let rooms: BTreeSet<String> = sources().into_iter().map(|source| source.room).collect();
    assert_eq!(named, rooms);
}

#[test]
fn the_architecture_document_names_every_dependency() {
    let document = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let manifest: toml::Table = std::fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
    let dependencies: BTreeSet<String> = tables
        .iter()
        .filter_map(|table| manifest.get(*table)?.as_table())
        .flat_map(|table| table.keys().cloned())
        .collect();
    assert_eq!(named_in_table(&document, "## Dependencies"), dependencies);
}

/// The names in backticks in the first column of the tables of one section.
fn named_in_table(document: &str, heading: &str) -> BTreeSet<String> {
    let section = document.split(heading).nth(1).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(|name| name.trim_end_matches('/').into()).collect()
}
