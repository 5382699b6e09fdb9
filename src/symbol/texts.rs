//! Names and source files, each made once. Invariant: a text is known by its location in memory, and is forgotten with
//! the reader that it lies in.

use super::crates::Crates;
use super::dwarf::Found;
use super::image::Function;
use super::name::demangle;
use std::collections::HashMap;
use std::sync::Arc;

/// Names and source files by location in memory: the bytes do not move while the lane's reader and its files live, and
/// compilers store each text once.
#[derive(Default)]
pub(super) struct Texts {
    /// By name and file, where the name alone has no path.
    qualified: HashMap<(usize, usize, usize), Arc<str>>,
    names: HashMap<(usize, usize), Arc<str>>,
    files: HashMap<(usize, usize), Arc<str>>,
}

impl Texts {
    pub(super) fn inlined(&mut self, found: &[Found<'_>], crates: &Crates, functions: &mut Vec<Function>) {
        let last = found.len().saturating_sub(1);
        functions.extend(found.iter().enumerate().map(|(index, found)| Function {
            name: self.full_name(found, crates),
            file: found.file.map(|file| self.file(file)),
            inlined: index < last,
            module: None,
        }));
    }

    /// The name with the path that the debug information leaves out.
    fn full_name(&mut self, found: &Found<'_>, crates: &Crates) -> Arc<str> {
        let raw = found.name.unwrap_or_default();
        let bare = self.name(raw);
        if let Some(scope) = &found.scope {
            return format!("{scope}::{bare}").into();
        }
        let Some(file) = found.file.filter(|_| found.language == Some(gimli::DW_LANG_Rust)) else { return bare };
        let qualified = || crates.qualified(&String::from_utf8_lossy(raw), file).map_or(bare, Arc::from);
        let key = (raw.as_ptr() as usize, raw.len(), file.as_ptr() as usize);
        self.qualified.entry(key).or_insert_with(qualified).clone()
    }

    pub(super) fn name(&mut self, raw: &[u8]) -> Arc<str> {
        let text = || demangle(&String::from_utf8_lossy(raw)).into();
        self.names.entry((raw.as_ptr() as usize, raw.len())).or_insert_with(text).clone()
    }

    fn file(&mut self, file: &str) -> Arc<str> {
        self.files.entry((file.as_ptr() as usize, file.len())).or_insert_with(|| file.into()).clone()
    }
}
