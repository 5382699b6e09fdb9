//! Tables kept on disk by build-id, so that a large program is read once. Invariant: a kept table is used only whole and
//! unchanged ([`Table::from_bytes`] checks it); whatever fails here costs time, never an answer.

use super::rules::Rules;
use super::table::Table;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Bytes that all kept tables may take together; the ones that were not used for longest go first.
const MOST_BYTES: u64 = 512 << 20;
/// A table below this is made faster than it is found.
const LEAST_BYTES: usize = 64 << 10;

/// Where tables are kept.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: Option<PathBuf>,
}

impl Default for Cache {
    /// `$XDG_CACHE_HOME/wireprof/unwind`, else `~/.cache/wireprof/unwind` (XDG Base Directory Specification).
    fn default() -> Cache {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        Cache { directory: home.map(|home| home.join("wireprof/unwind")) }
    }
}

impl Cache {
    pub fn at(directory: &Path) -> Cache {
        Cache { directory: Some(directory.to_path_buf()) }
    }

    /// The file's table, from disk where it was made before; `building` is told before a long reading begins.
    pub fn table(&self, rules: &Rules, building: impl FnOnce(u64)) -> Table {
        let place = rules.image().build_id().and_then(|id| Some(self.directory.as_ref()?.join(id)));
        if let Some(table) = place.as_deref().and_then(load) {
            return table;
        }
        building(rules.bytes() as u64);
        let table = Table::build(rules);
        if let Some(place) = place.filter(|_| table.bytes().len() >= LEAST_BYTES) {
            // Not kept (a full or read-only disk): made anew next time.
            let _ = self.keep(&place, table.bytes());
        }
        table
    }

    fn keep(&self, place: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        std::fs::create_dir_all(directory)?;
        make_room(directory, bytes.len() as u64)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        std::io::Write::write_all(&mut file, bytes)?;
        file.persist(place)?;
        Ok(())
    }
}

fn load(place: &Path) -> Option<Table> {
    let file = File::open(place).ok()?;
    // Used now: that is what `make_room` goes by.
    let _ = file.set_modified(SystemTime::now());
    // SAFETY: the mapping is private and read-only; files here are only ever replaced by a rename, never written in place.
    let bytes = unsafe { memmap2::Mmap::map(&file) }.ok()?;
    Table::from_bytes(Arc::new(bytes))
}

fn make_room(directory: &Path, wanted: u64) -> std::io::Result<()> {
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let facts = entry.metadata()?;
        kept.push((facts.modified()?, facts.len(), entry.path()));
    }
    kept.sort();
    let mut total: u64 = kept.iter().map(|(_, length, _)| length).sum::<u64>() + wanted;
    for (_, length, path) in kept {
        if total <= MOST_BYTES {
            break;
        }
        std::fs::remove_file(path)?;
        total -= length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Image;
    use std::cell::Cell;

    #[test]
    fn a_table_is_built_once_and_a_damaged_one_anew() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let rules = Rules::new(Image::open_path(&std::env::current_exe().unwrap()).unwrap());
        let built = Cell::new(0);
        let count = |_| built.set(built.get() + 1);
        let first = cache.table(&rules, count).bytes().to_vec();
        assert_eq!(cache.table(&rules, count).bytes(), first);
        assert_eq!(built.get(), 1);
        let kept = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        let mut bytes = std::fs::read(&kept).unwrap();
        bytes[first.len() / 2] ^= 1;
        std::fs::write(&kept, bytes).unwrap();
        assert_eq!(cache.table(&rules, count).bytes(), first);
        assert_eq!(built.get(), 2);
        let nowhere = Cache::at(&kept);
        assert_eq!(nowhere.table(&rules, count).bytes(), first, "a directory that cannot be made costs nothing");
    }

    #[test]
    fn the_tables_used_longest_ago_make_room() {
        let directory = tempfile::tempdir().unwrap();
        for (name, age) in [("old", 200), ("new", 100)] {
            let file = File::create(directory.path().join(name)).unwrap();
            file.set_len(MOST_BYTES / 2).unwrap();
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
        }
        make_room(directory.path(), 4096).unwrap();
        let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["new"]);
    }
}
