//! Names of Rust functions that debug information gives bare: with line tables only, `send` is all that it says of an
//! inlined function. Its crate and modules are told from its source file, and which folder is which crate from the
//! units' own names (`tokio-1.38.0/src/lib.rs/@/tokio.5d0f-cgu.3`). Invariant: a name that has a path, or is mangled,
//! is left as it is; so is one of whose file no crate is known.

use super::dwarf::dwarf;
use super::image::Files;
use crate::profile::{crate_in, folder_of_crate, is_bare, module_path, within_module};
use std::borrow::Cow;
use std::collections::HashMap;

/// Where each crate's sources lie.
#[derive(Debug, Default)]
pub(super) struct Crates {
    /// By the path of the crate's first file.
    files: HashMap<String, String>,
    /// By the folder of that file.
    folders: HashMap<String, String>,
}

impl Crates {
    /// Reads the names of the units; one that cannot be read names no crate.
    pub(super) fn read(files: &Files) -> Crates {
        let sections = dwarf(files.debug());
        let mut headers = sections.units();
        let mut crates = Crates::default();
        while let Ok(Some(header)) = headers.next() {
            let Some([name, folder]) = name_and_folder(&sections, &header) else { continue };
            crates.add(&name, &folder);
        }
        crates
    }

    /// Takes note of a unit: its name, and the folder that the name is relative to.
    pub(super) fn add(&mut self, unit: &str, folder: &str) {
        let Some((file, unit)) = unit.split_once("/@/") else { return };
        let Some((name, _)) = unit.split_once('.') else { return };
        let file = match file.starts_with('/') {
            true => Cow::Borrowed(file),
            false => Cow::Owned(format!("{}/{file}", folder.trim_end_matches('/'))),
        };
        let (folder, first) = file.rsplit_once('/').unwrap_or(("", &file));
        // A library and a program may share a folder: modules are the library's.
        if first == "lib.rs" || !self.folders.contains_key(folder) {
            self.folders.insert(folder.into(), name.into());
        }
        self.files.insert(file.into_owned(), name.into());
    }

    /// The function's path: that of its file's module, and its name as paths have it.
    pub(super) fn qualified(&self, name: &str, file: &str) -> Option<String> {
        if !is_bare(name) {
            return None;
        }
        let module = self.module(file)?;
        Some(within_module(&module, name))
    }

    fn module(&self, file: &str) -> Option<String> {
        if let Some(name) = self.files.get(file) {
            return Some(name.clone());
        }
        let mut folder = file;
        while let Some((parent, _)) = folder.rsplit_once('/') {
            folder = parent;
            if let Some(name) = self.folders.get(folder) {
                return Some(module_path(name, &file[folder.len() + 1..]));
            }
        }
        // A crate without a unit of its own: all of it is generic or inlined.
        let (folder, file) = folder_of_crate(file)?;
        Some(module_path(&crate_in(folder)?, file))
    }
}

/// Of a unit of Rust.
fn name_and_folder<'a>(
    sections: &gimli::Dwarf<gimli::EndianSlice<'a, gimli::LittleEndian>>,
    header: &gimli::UnitHeader<gimli::EndianSlice<'a, gimli::LittleEndian>>,
) -> Option<[String; 2]> {
    // The sections of split units' strings are not there; their units have no names here either.
    let unit = sections.unit(*header).ok()?;
    let text = |text: Option<gimli::EndianSlice<'a, gimli::LittleEndian>>| {
        text.map(|text| text.to_string_lossy().into_owned())
    };
    let name = text(unit.name).filter(|name| name.contains("/@/"))?;
    Some([name, text(unit.comp_dir).unwrap_or_default()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_gets_the_path_of_its_file() {
        let mut crates = Crates::default();
        crates.add("/r/registry/src/index-1/tokio-1.38.0/src/lib.rs/@/tokio.5d0f-cgu.3", "/w");
        crates.add("src/adapter/src/lib.rs/@/mz_adapter.00-cgu.0", "/w/");
        crates.add("src/adapter/src/main.rs/@/adapter.00-cgu.0", "/w");
        crates.add("/rustc/1f/library/core/src/lib.rs/@/core.1-cgu.0", "");
        crates.add("b.c", "/w");
        for (name, file, expected) in [
            ("send", "/r/registry/src/index-1/tokio-1.38.0/src/sync/mpsc/chan.rs", "tokio::sync::mpsc::chan::send"),
            ("branch<(), m::E>", "/rustc/1f/library/core/src/result.rs", "core::result::branch::<(), m::E>"),
            ("peek", "/w/src/adapter/src/coord/mod.rs", "mz_adapter::coord::peek"),
            ("start", "/w/src/adapter/src/main.rs", "adapter::start"),
            ("start", "/w/src/adapter/src/lib.rs", "mz_adapter::start"),
            ("{async_block#0}<T>", "/w/src/adapter/src/a.rs", "mz_adapter::a::_::{async_block#0}::<T>"),
            ("poll", "/x/futures-util-0.3.30/src/future/map.rs", "futures_util::future::map::poll"),
            ("get", "/x/dashmap/src/lib.rs", "dashmap::get"),
        ] {
            assert_eq!(crates.qualified(name, file).as_deref(), Some(expected), "{name} {file}");
        }
        for (name, file) in [
            ("_RNvCs1_1a1f", "/x/a/src/lib.rs"),
            ("_ZN1a1f17h0E", "/x/a/src/lib.rs"),
            ("a::f", "/x/a/src/lib.rs"),
            ("", "/x/a/src/lib.rs"),
            ("f", "/elsewhere/f.rs"),
            ("f", ""),
        ] {
            assert_eq!(crates.qualified(name, file), None, "{name} {file}");
        }
    }
}
