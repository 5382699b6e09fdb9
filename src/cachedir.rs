//! Directories of files that save time, by key, within a bound. Invariant: a file appears under its key whole or not at
//! all, and is never written in place; what is in it is for its reader to verify, and whatever fails here costs time,
//! never an answer.

use crate::mapped;
use memmap2::Mmap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tempfile::NamedTempFile;

/// One directory.
#[derive(Clone, Debug)]
pub struct CacheDir {
    directory: PathBuf,
    /// Bytes that all files may take together; the ones that were not used for longest go first.
    most_bytes: u64,
}

/// Where wireprof keeps what saves time: `$XDG_CACHE_HOME/wireprof`, else `~/.cache/wireprof` (XDG Base Directory
/// Specification); `None` where the environment names neither.
pub fn of_user() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    home.map(|home| home.join("wireprof"))
}

impl CacheDir {
    /// A directory that is made when something is first kept in it; `most_bytes` bounds all its files together.
    pub fn at(directory: &Path, most_bytes: u64) -> CacheDir {
        CacheDir { directory: directory.into(), most_bytes }
    }

    /// The file with this key, marked as used now; `None` where there is none. `key` is a plain file name.
    pub fn open(&self, key: &str) -> Option<File> {
        let file = File::open(self.directory.join(key)).ok()?;
        // That is what `make_room` goes by.
        let _ = file.set_modified(SystemTime::now());
        Some(file)
    }

    /// The contents of the file with this key; `None` where there is none, or an empty one.
    pub fn map(&self, key: &str) -> Option<Mmap> {
        mapped::map(&self.open(key)?).ok()
    }

    /// Keeps `bytes` under a key, in place of what was there.
    ///
    /// # Errors
    /// A directory that cannot be made or written, a full disk, or more than the bound; nothing is kept then.
    pub fn keep(&self, key: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.begin(bytes.len() as u64)?;
        file.write_all(bytes)?;
        self.finish(file, key)?;
        Ok(())
    }

    /// A file of `length` bytes to be, which is nowhere to be found before [`CacheDir::finish`] and goes away when
    /// dropped.
    ///
    /// # Errors
    /// As [`CacheDir::keep`].
    pub fn begin(&self, length: u64) -> io::Result<NamedTempFile> {
        if length > self.most_bytes {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "larger than all files may be together"));
        }
        std::fs::create_dir_all(&self.directory)?;
        self.make_room(length)?;
        NamedTempFile::new_in(&self.directory)
    }

    /// Puts a file in place.
    ///
    /// # Errors
    /// One that cannot be renamed; nothing is kept then.
    pub fn finish(&self, file: NamedTempFile, key: &str) -> io::Result<File> {
        Ok(file.persist(self.directory.join(key))?)
    }

    fn make_room(&self, wanted: u64) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            // Gone since: another process made room.
            let Ok(facts) = entry.metadata() else { continue };
            kept.push((facts.modified()?, facts.len(), entry.path()));
        }
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, length, _)| length).sum::<u64>() + wanted;
        for (_, length, path) in kept {
            if total <= self.most_bytes {
                break;
            }
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => total -= length,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_kept_is_found_again_and_replaced_as_a_whole() {
        let root = tempfile::tempdir().unwrap();
        let cache = CacheDir::at(&root.path().join("made"), 100);
        assert!(cache.map("key").is_none());
        cache.keep("key", b"first").unwrap();
        let before = cache.map("key").unwrap();
        cache.keep("key", b"second").unwrap();
        assert_eq!((&*before, &*cache.map("key").unwrap()), (&b"first"[..], &b"second"[..]));
        drop(cache.begin(10).unwrap());
        assert_eq!(names(&root.path().join("made")), ["key"]);
    }

    #[test]
    fn the_files_used_longest_ago_make_room() {
        let root = tempfile::tempdir().unwrap();
        let cache = CacheDir::at(root.path(), 100);
        for (key, age) in [("middle", 200), ("old", 300), ("new", 100)] {
            cache.keep(key, &[7; 30]).unwrap();
            let file = File::open(root.path().join(key)).unwrap();
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
        }
        cache.open("old").unwrap();
        cache.keep("more", &[7; 40]).unwrap();
        assert_eq!(
            names(root.path()),
            ["more", "new", "old"],
            "30 bytes more would be 130: the one used longest ago goes"
        );
    }

    #[test]
    fn what_is_larger_than_the_bound_is_not_kept_and_displaces_nothing() {
        let root = tempfile::tempdir().unwrap();
        let cache = CacheDir::at(root.path(), 100);
        cache.keep("key", &[7; 60]).unwrap();
        assert_eq!(cache.keep("large", &[7; 101]).unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
        assert_eq!(names(root.path()), ["key"]);
    }
}
