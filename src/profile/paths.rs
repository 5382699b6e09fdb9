//! Paths of functions that debug information names without one: with line tables only, `send` is all that it says of an
//! inlined function of Rust. Its crate and modules are told from its source file. Invariant: a name that has a path, or
//! is mangled, is left as it is; so is one whose file says nothing of a crate.

use super::{Frame, Profile};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// Whether the name is neither mangled nor has a path of its own; a path among its arguments is none of its own.
pub fn is_bare(name: &str) -> bool {
    let own = name.split('<').next().unwrap_or_default();
    !own.is_empty() && !own.contains("::") && !own.starts_with("_R") && !own.starts_with("_ZN")
}

/// `sync/mpsc/mod.rs` of the crate `tokio` to `tokio::sync::mpsc`; `file` is relative to the folder of the crate's
/// sources.
pub fn module_path(name: &str, file: &str) -> String {
    std::iter::once(name).chain(modules(file)).collect::<Vec<_>>().join("::")
}

/// The function's path as compilers write paths: that of its module, and its name. What a closure is in is not known,
/// only where.
pub fn within_module(module: &str, name: &str) -> String {
    let owner = if name.starts_with('{') { "_::" } else { "" };
    let (own, arguments) = name.find('<').map_or((name, ""), |at| name.split_at(at));
    let turbofish = if arguments.is_empty() { "" } else { "::" };
    format!("{module}::{owner}{own}{turbofish}{arguments}")
}

/// The folder of a crate, and the file within the folder of its sources.
pub fn folder_of_crate(file: &str) -> Option<(&str, &str)> {
    file.rsplit_once("/src/").filter(|(folder, file)| !folder.is_empty() && file.ends_with(".rs"))
}

/// What the crate in a folder is called, as far as the folder tells: `/r/tokio-1.38.0` to `tokio`.
pub fn crate_in(folder: &str) -> Option<String> {
    let name = folder.rsplit('/').next().filter(|name| !name.is_empty())?;
    let version = |at: &(usize, &str)| name[at.0 + 1..].starts_with(|c: char| c.is_ascii_digit());
    let end = name.match_indices('-').find(version).map_or(name.len(), |(at, _)| at);
    Some(name[..end].replace('-', "_"))
}

/// Gives inlined functions without a path that of their source file's module, so that those of stored runs and of other
/// tools' profiles are known by their crate. Which folder is which crate is told by the functions that have a path.
pub fn complete_names(profile: &mut Profile) {
    let is_wanted = |frame: &Frame| frame.inlined && frame.miss.is_none() && is_bare(&frame.name);
    if !profile.frames.iter().any(is_wanted) {
        return;
    }
    let crates = Crates::of(&profile.frames);
    let full = |frame: &Frame| Some(within_module(&crates.module(&frame.file)?, &frame.name));
    let names: Vec<(usize, String)> = profile
        .frames
        .iter()
        .enumerate()
        .filter(|(_, frame)| is_wanted(frame))
        .filter_map(|(at, frame)| Some((at, full(frame)?)))
        .collect();
    if one_file_a_name(&profile.frames, &names) {
        return;
    }
    for (at, name) in names {
        profile.frames[at].name = name;
    }
}

/// Of so many functions some have the same name in two files (`{closure#0}`, `new`, `poll`).
const MANY: usize = 20;

/// Whether the profile's writer kept one file for each name, as wireprof's first versions did: then a function's file
/// is that of any function with its name, and says nothing.
fn one_file_a_name(frames: &[Frame], completed: &[(usize, String)]) -> bool {
    let mut files: FxHashMap<&str, &str> = FxHashMap::default();
    let same = |at: usize| {
        let Frame { name, file, .. } = &frames[at];
        *files.entry(name.as_str()).or_insert(file.as_str()) == file.as_str()
    };
    completed.len() >= MANY && completed.iter().map(|(at, _)| *at).all(same)
}

/// Crates by their folders.
struct Crates(FxHashMap<String, String>);

impl Crates {
    /// A function `mz_pgwire::protocol::run` of `src/pgwire/src/protocol.rs` says that `src/pgwire` is `mz_pgwire`. A
    /// function's file can be that of what was inlined into it, so most of those in a folder tell.
    fn of(frames: &[Frame]) -> Crates {
        let mut said: FxHashMap<&str, BTreeMap<&str, usize>> = FxHashMap::default();
        for frame in frames {
            if let Some((folder, name)) = folder_and_crate(frame) {
                *said.entry(folder).or_default().entry(name).or_default() += 1;
            }
        }
        let mut named = FxHashMap::default();
        for (folder, names) in said {
            let most = names.into_iter().max_by_key(|(_, count)| *count);
            named.extend(most.map(|(name, _)| (folder.to_string(), name.to_string())));
        }
        Crates(named)
    }

    fn module(&self, file: &str) -> Option<String> {
        let (folder, file) = folder_of_crate(file)?;
        let name = self.0.get(folder).cloned().or_else(|| crate_in(folder))?;
        Some(module_path(&name, file))
    }
}

/// The crate's folder and its name, where the frame's path agrees with its file.
fn folder_and_crate(frame: &Frame) -> Option<(&str, &str)> {
    let (folder, file) = folder_of_crate(&frame.file)?;
    let (name, rest) = frame.name.trim_start_matches(['<', '&']).split_once("::")?;
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let mut rest = rest.split("::");
    let mut modules = modules(file).peekable();
    // Of a crate's first file only its name can tell, which often has a prefix that the folder has not.
    let agree = match modules.peek() {
        None => name.ends_with(&crate_in(folder)?),
        Some(_) => modules.all(|module| rest.next() == Some(module)),
    };
    (is_name && agree).then_some((folder, name))
}

/// The modules that a file of a crate is.
fn modules(file: &str) -> impl Iterator<Item = &str> {
    let file = file.strip_suffix(".rs").unwrap_or(file);
    let module = match file.rsplit_once('/') {
        Some((folder, "mod")) => folder,
        None if ["lib", "main", "mod"].contains(&file) => "",
        _ => file,
    };
    module.split('/').filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Space, marker};

    fn frame(name: &str, file: &str, inlined: bool) -> Frame {
        Frame { name: name.into(), file: file.into(), inlined, space: Space::User, ..marker("") }
    }

    #[test]
    fn inlined_functions_have_the_path_of_their_file_and_the_crate_that_others_there_name() {
        let frames = [
            ("<mz_pgwire::protocol::StateMachine<C>>::query", "/w/src/pgwire/src/protocol.rs", false),
            ("mz_pgwire::protocol::run", "/w/src/pgwire/src/protocol.rs", false),
            // Its file is that of something inlined.
            ("mz_adapter::protocol::run", "/w/src/pgwire/src/protocol.rs", false),
            ("mz_server_core::serve", "/w/src/server-core/src/lib.rs", false),
            ("std::sync::mpsc::send", "/w/src/server-core/src/lib.rs", false),
            ("{async_fn#0}<C>", "/w/src/pgwire/src/protocol.rs", true),
            ("{async_block#3}", "/w/src/server-core/src/lib.rs", true),
            ("do_call<A, B>", "/rustc/5f/library/std/src/panicking.rs", true),
            ("{closure#0}", "/r/tokio-1.48.0/src/task/coop/mod.rs", true),
            ("a::f", "/r/a-1/src/lib.rs", true),
            ("__libc_send", "./socket/send.c", true),
            ("main", "src/main.rs", true),
            ("start", "/r/a-1/src/lib.rs", false),
        ];
        let frames = frames.map(|(name, file, inlined)| frame(name, file, inlined)).to_vec();
        let mut profile = Profile { frames, ..Profile::default() };
        complete_names(&mut profile);
        let names: Vec<&str> = profile.frames[5..].iter().map(|frame| frame.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "mz_pgwire::protocol::_::{async_fn#0}::<C>",
                "mz_server_core::_::{async_block#3}",
                "std::panicking::do_call::<A, B>",
                "tokio::task::coop::_::{closure#0}",
                "a::f",
                "__libc_send",
                "main",
                "start",
            ]
        );
        let again = profile.clone();
        complete_names(&mut profile);
        assert_eq!(profile, again);
    }

    #[test]
    fn where_each_name_has_one_file_only_files_say_nothing() {
        let of = |second: &str| {
            let mut frames: Vec<Frame> =
                (0..MANY).map(|at| frame(&format!("f{at}"), &format!("/r/a-1/src/m{at}.rs"), true)).collect();
            frames.push(frame("f0", second, true));
            let mut profile = Profile { frames, ..Profile::default() };
            complete_names(&mut profile);
            profile.frames[1].name.clone()
        };
        assert_eq!(of("/r/a-1/src/m0.rs"), "f1");
        assert_eq!(of("/r/b-1/src/other.rs"), "a::m1::f1");
    }

    #[test]
    fn a_folder_says_its_crates_name_without_its_version() {
        for (folder, name) in [("/r/tokio-1.38.0", "tokio"), ("/x/futures-util-0.3.30", "futures_util"), ("/x/b", "b")]
        {
            assert_eq!(crate_in(folder).as_deref(), Some(name));
        }
        assert_eq!(crate_in("/x/"), None);
    }
}
