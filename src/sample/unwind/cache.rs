//! Tables kept on disk by build-id, so that a large program is read once. Invariant: a kept table is used only whole
//! and unchanged ([`Table::from_bytes`] checks it).

use super::rules::Rules;
use super::table::Table;
use crate::cachedir::CacheDir;
use std::path::Path;
use std::sync::Arc;

/// Bytes that all tables kept in a directory of their own may take together.
const MOST_BYTES: u64 = 512 << 20;
/// A table below this is made faster than it is found.
const LEAST_BYTES: usize = 64 << 10;

/// Where tables are kept.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: Option<CacheDir>,
}

impl Default for Cache {
    /// `unwind` below the user's directory.
    fn default() -> Cache {
        Cache { directory: CacheDir::of_user("unwind") }
    }
}

impl Cache {
    /// Tables kept in this directory.
    pub fn at(directory: &Path) -> Cache {
        Cache { directory: Some(CacheDir::at(directory, MOST_BYTES)) }
    }

    /// The file's table, from disk where it was made before; `building` is told before a long reading begins.
    pub fn table(&self, rules: &Rules, building: impl FnOnce(u64)) -> Table {
        let locate = self.directory.as_ref().zip(rules.image().build_id());
        let kept = locate.as_ref().and_then(|(directory, id)| Table::from_bytes(Arc::new(directory.map(id)?)));
        if let Some(table) = kept {
            return table;
        }
        building(rules.bytes() as u64);
        let table = Table::build(rules);
        if let Some((directory, id)) = locate.filter(|_| table.bytes().len() >= LEAST_BYTES) {
            // Not kept (a full or read-only disk): made anew next time.
            let _ = directory.keep(&id, table.bytes());
        }
        table
    }
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
}
