//! Opens the file that runs. Invariant: a file that is known to be another than the mapped one is never used.

use super::map::Bytes;
use super::source::build_id;
use crate::elf::{self, MappedFile, Opened, below, root_of};
use crate::profile::Miss;
use crate::sample::Module;
use std::path::{Path, PathBuf};

/// A module's file.
pub(super) struct Located {
    pub(super) bytes: Bytes,
    pub(super) location: FileLocation,
}

/// Where a module lies, and with it the files that belong to it.
pub(super) struct FileLocation {
    /// Its path as its own process sees it.
    pub(super) path: PathBuf,
    /// Roots of the mount namespaces to look into: the process's own, then ours.
    pub(super) roots: Vec<PathBuf>,
}

/// Why no file could be used.
pub(super) struct Unusable {
    pub(super) miss: Miss,
    pub(super) note: Option<String>,
}

/// Opens one of several modules that are the same file, trying for each the mapping itself (which outlives the name),
/// the path in its process's mount namespace, and the path in ours.
pub(super) fn open(modules: &[&Module]) -> Result<Located, Unusable> {
    let mut worst = Unusable { miss: Miss::FileUnreadable, note: None };
    for module in modules {
        for opened in mapped(module).opened().flatten() {
            let Ok(bytes) = Bytes::map(&opened.file) else { continue };
            match check(module, &opened, &bytes) {
                Ok(()) => {
                    return Ok(Located {
                        bytes,
                        location: FileLocation { path: module.path.clone(), roots: roots(module) },
                    });
                }
                Err(unusable) => worst = unusable,
            }
        }
    }
    Err(worst)
}

/// This process's vdso as a module's file.
pub(super) fn vdso() -> Option<Located> {
    let bytes = Bytes::Owned(elf::vdso()?.bytes().into());
    Some(Located { bytes, location: FileLocation { path: "[vdso]".into(), roots: Vec::new() } })
}

fn mapped(module: &Module) -> MappedFile<'_> {
    MappedFile { pid: module.pid, mapping: module.mapping, path: &module.path, inode: module.inode }
}

fn roots(module: &Module) -> Vec<PathBuf> {
    let own = root_of(module.pid);
    if own.is_dir() { vec![own, PathBuf::from("/")] } else { vec![PathBuf::from("/")] }
}

impl FileLocation {
    /// An absolute path in every root in turn.
    pub(super) fn in_roots(&self, path: &Path) -> Vec<PathBuf> {
        self.roots.iter().map(|root| below(root, path)).collect()
    }
}

/// Whether this is the file that runs: by build-id where the module has one, else by what the kernel says of the inode.
fn check(module: &Module, opened: &Opened, bytes: &[u8]) -> Result<(), Unusable> {
    let path = module.path.display();
    let Ok(found) = build_id(bytes) else {
        let note = Some(format!("{path}: not a readable 64-bit ELF file; its frames have no names"));
        return Err(Unusable { miss: Miss::Malformed, note });
    };
    let replaced = |what: String| Unusable {
        miss: Miss::FileReplaced,
        note: Some(format!(
            "{path}: the file on disk is not the one that runs ({what}); its frames have no names. Restart the target"
        )),
    };
    match (&module.build_id, found) {
        (Some(running), Some(found)) if *running == found => Ok(()),
        (Some(running), found) => {
            Err(replaced(format!("build-id {}, running {running}", found.as_deref().unwrap_or("absent"))))
        }
        (None, _) if opened.through_mapping => Ok(()),
        (None, _) if module.deleted => Err(replaced("the running one was deleted".into())),
        (None, _) if opened.is_inode_of(&mapped(module)) => Ok(()),
        (None, _) => Err(replaced(format!("another inode than {}", module.inode))),
    }
}
