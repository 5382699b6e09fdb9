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
    /// The directory whose kinds share the bound, this one among them.
    shared: Option<PathBuf>,
}

/// The kinds of files that share a bound, each in a directory of its name.
pub const KINDS: [&str; 4] = ["debuginfod", "sections", "symbols", "unwind"];
/// Names how many bytes all kinds may take together: a number, with `K`, `M` or `G` behind it; 0 keeps nothing.
pub const SIZE_VARIABLE: &str = "WIREPROF_CACHE_SIZE";
/// Where the variable says nothing that can be read.
const DEFAULT_BYTES: u64 = 1 << 30;

/// Bytes that all kinds may take together, as the environment says.
pub fn most_bytes() -> u64 {
    std::env::var(SIZE_VARIABLE).ok().and_then(|text| size(&text)).unwrap_or(DEFAULT_BYTES)
}

/// What the environment says and is no size, so that the default holds; `None`: it says a size, or nothing.
pub fn not_a_size() -> Option<String> {
    std::env::var(SIZE_VARIABLE).ok().filter(|text| size(text).is_none())
}

/// `1G`, `500M`, `4096`.
fn size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_uppercase();
    let text = text.strip_suffix('B').unwrap_or(&text);
    let shift = match text.bytes().last()? {
        b'K' => 10,
        b'M' => 20,
        b'G' => 30,
        b'T' => 40,
        _ => 0,
    };
    let digits = if shift == 0 { text } else { &text[..text.len() - 1] };
    digits.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// What is kept of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// One of [`KINDS`].
    pub kind: &'static str,
    /// How many files.
    pub files: u64,
    /// Their lengths together.
    pub bytes: u64,
}

/// What is kept below a directory, by kind.
pub fn kept(root: &Path) -> Vec<Kept> {
    let of_kind = |kind: &'static str| {
        let files = files(&root.join(kind)).unwrap_or_default();
        Kept { kind, files: files.len() as u64, bytes: files.iter().map(|(_, length, _)| length).sum() }
    };
    KINDS.into_iter().map(of_kind).collect()
}

/// Removes what is kept below a directory; nothing else in it is touched. Returns how many files and bytes that were.
///
/// # Errors
/// A file that cannot be removed.
pub fn clear(root: &Path) -> io::Result<(u64, u64)> {
    let mut removed = (0, 0);
    for kind in KINDS {
        for (_, length, path) in files(&root.join(kind)).unwrap_or_default() {
            remove(&path)?;
            removed = (removed.0 + 1, removed.1 + length);
        }
    }
    Ok(removed)
}

/// Last use, length and path of each file of a directory.
fn files(directory: &Path) -> io::Result<Vec<(SystemTime, u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        // Gone since: another process made room.
        let Ok(facts) = entry.metadata() else { continue };
        if facts.is_file() {
            found.push((facts.modified()?, facts.len(), entry.path()));
        }
    }
    Ok(found)
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
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
        CacheDir { directory: directory.into(), most_bytes, shared: None }
    }

    /// The directory of one of [`KINDS`] below `root`; `most_bytes` bounds the files of all kinds together.
    pub fn of_kind(root: &Path, kind: &str, most_bytes: u64) -> CacheDir {
        CacheDir { directory: root.join(kind), most_bytes, shared: Some(root.into()) }
    }

    /// That of the user ([`of_user`]) within the bound of the environment; `None` where nothing is to be kept.
    pub fn of_user(kind: &str) -> Option<CacheDir> {
        let most_bytes = Some(most_bytes()).filter(|bytes| *bytes > 0)?;
        Some(CacheDir::of_kind(&of_user()?, kind, most_bytes))
    }

    /// Bytes that all files may take together.
    pub fn most_bytes(&self) -> u64 {
        self.most_bytes
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
        let mut kept = match &self.shared {
            None => files(&self.directory)?,
            Some(root) => KINDS.into_iter().flat_map(|kind| files(&root.join(kind)).unwrap_or_default()).collect(),
        };
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, length, _)| length).sum::<u64>() + wanted;
        for (_, length, path) in kept {
            if total <= self.most_bytes {
                break;
            }
            remove(&path)?;
            total -= length;
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
    fn all_kinds_share_one_bound_and_are_cleared_together() {
        let root = tempfile::tempdir().unwrap();
        let kind = |kind| CacheDir::of_kind(root.path(), kind, 100);
        std::fs::create_dir(root.path().join("other")).unwrap();
        std::fs::write(root.path().join("other/file"), [1; 500]).unwrap();
        for (at, age) in [("symbols", 300), ("unwind", 200), ("sections", 100)] {
            kind(at).keep("key", &[7; 30]).unwrap();
            let file = File::open(root.path().join(at).join("key")).unwrap();
            file.set_modified(SystemTime::now() - std::time::Duration::from_secs(age)).unwrap();
        }
        kind("debuginfod").keep("key", &[7; 50]).unwrap();
        let now: Vec<_> = kept(root.path()).into_iter().map(|kept| (kept.kind, kept.files, kept.bytes)).collect();
        assert_eq!(now, [("debuginfod", 1, 50), ("sections", 1, 30), ("symbols", 0, 0), ("unwind", 0, 0)]);
        assert_eq!(clear(root.path()).unwrap(), (2, 80));
        assert_eq!(kept(root.path()).iter().map(|kept| kept.files).sum::<u64>(), 0);
        assert!(root.path().join("other/file").exists(), "what is none of ours stays");
        assert_eq!(clear(&root.path().join("nowhere")).unwrap(), (0, 0));
    }

    #[test]
    fn sizes_are_numbers_with_a_letter_behind_them() {
        let cases = [("0", 0), ("4096", 4096), ("1G", 1 << 30), ("500 mb", 500 << 20), ("2k", 2048)];
        assert!(cases.into_iter().all(|(text, bytes)| size(text) == Some(bytes)));
        assert!(["", "x", "1X", "-1", "1.5G", "99999999T"].into_iter().all(|text| size(text).is_none()));
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
