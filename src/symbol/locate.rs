//! Opens the file that runs. Invariant: a file that is known to be another than the mapped one is never used.

use super::map::Bytes;
use super::source::build_id;
use crate::profile::Miss;
use crate::sample::Module;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A module's file.
pub(super) struct Located {
    pub(super) bytes: Bytes,
    pub(super) place: Place,
}

/// Where a module lies, and with it the files that belong to it.
pub(super) struct Place {
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

/// Opens one of several modules that are the same file, trying for each the mapping itself (which outlives the name), the
/// path in its process's mount namespace, and the path in ours.
pub(super) fn open(modules: &[&Module]) -> Result<Located, Unusable> {
    let mut worst = Unusable { miss: Miss::FileUnreadable, note: None };
    for module in modules {
        for (index, candidate) in candidates(module).into_iter().enumerate() {
            let Ok(file) = File::open(&candidate) else { continue };
            let Ok(bytes) = Bytes::map(&file) else { continue };
            match check(module, index == 0, &file, &bytes) {
                Ok(()) => {
                    return Ok(Located { bytes, place: Place { path: module.path.clone(), roots: roots(module) } });
                }
                Err(unusable) => worst = unusable,
            }
        }
    }
    Err(worst)
}

/// Where the module's file may be found; the first is the mapping itself.
fn candidates(module: &Module) -> [PathBuf; 3] {
    let (start, end) = module.mapping;
    [
        PathBuf::from(format!("/proc/{}/map_files/{start:x}-{end:x}", module.pid)),
        below(&root(module), &module.path),
        module.path.clone(),
    ]
}

fn root(module: &Module) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root", module.pid))
}

fn roots(module: &Module) -> Vec<PathBuf> {
    let own = root(module);
    if own.is_dir() { vec![own, PathBuf::from("/")] } else { vec![PathBuf::from("/")] }
}

impl Place {
    /// An absolute path in every root in turn.
    pub(super) fn in_roots(&self, path: &Path) -> Vec<PathBuf> {
        self.roots.iter().map(|root| below(root, path)).collect()
    }
}

/// An absolute path as seen from another root.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Whether this is the file that runs: by build-id where the module has one, else by what the kernel says of the inode.
fn check(module: &Module, is_mapping: bool, file: &File, bytes: &[u8]) -> Result<(), Unusable> {
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
        (None, _) if is_mapping => Ok(()),
        (None, _) if module.deleted => Err(replaced("the running one was deleted".into())),
        (None, _) => match file.metadata() {
            Ok(facts) if module.inode == 0 || facts.ino() == module.inode => Ok(()),
            _ => Err(replaced(format!("another inode than {}", module.inode))),
        },
    }
}
