//! What was resolved of a file before, kept on disk by build-id. Invariant: an answer is used only where the files
//! that gave it are still the same, and only from a kept file that is whole and unchanged; what may be otherwise the
//! next time (a file that could not be read, damage) is never kept.
//!
//! ```text
//! mark        8 bytes
//! checksum    u32    CRC-32 of all that follows
//! counts      u32*4  bytes of the key, addresses, frames, texts
//! key         what the answers depend on, padded to 8 bytes
//! addresses   u64    offsets in the file, ascending
//! ends        u32    where each address's frames end; one without any is known to have no symbol
//! frames      u32*2  name; twice the source file (0: none), and 1 where it is inlined
//! text ends   u32    where each text ends
//! texts       UTF-8; the first is empty
//! ```
//! Numbers are little-endian. Nothing is parsed ahead: an address is looked for where it lies.

use super::image::{Files, Function, Functions};
use super::map::{Bytes, Stamp};
use crate::cachedir::{self, CacheDir};
use crate::profile::Miss;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// To be raised when the format changes, or which frames an address has: the demangler's rules among them.
const MARK: &[u8; 8] = b"wpsymb\x00\x02";
const HEADER: usize = 28;
/// Bytes that one file's answers may take; beyond that the old ones are dropped.
const MOST_ANSWERS: usize = 64 << 20;

/// Where the symbolizer keeps what makes the next look-up in the same files fast.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Answers lie below it in `symbols`, unpacked sections in `sections`.
    pub directory: PathBuf,
    /// A module whose file with debug information is smaller than this (bytes) is resolved anew each time.
    pub least_bytes: u64,
    /// Bytes that all kinds of files below `directory` may take together.
    pub most_bytes: u64,
}

impl Cache {
    /// Below `directory`, for large files.
    pub fn at(directory: &Path) -> Cache {
        Cache { directory: directory.into(), least_bytes: 16 << 20, most_bytes: cachedir::most_bytes() }
    }

    /// In the user's directory ([`cachedir::of_user`]); `None` where there is none, or nothing is to be kept.
    pub fn of_user() -> Option<Cache> {
        Some(Cache::at(&cachedir::of_user()?)).filter(|cache| cache.most_bytes > 0)
    }

    pub(super) fn sections(&self) -> CacheDir {
        CacheDir::of_kind(&self.directory, "sections", self.most_bytes)
    }

    fn answers(&self) -> CacheDir {
        CacheDir::of_kind(&self.directory, "symbols", self.most_bytes)
    }
}

/// The answers of one module.
pub(super) struct Answers {
    directory: CacheDir,
    build_id: String,
    key: String,
    table: Option<Table>,
}

impl Answers {
    /// `None` where none are kept: small files, and files without build-id.
    pub(super) fn open(cache: &Cache, build_id: Option<String>, files: &Files) -> Option<Answers> {
        let large = files.debug().bytes().len() as u64 >= cache.least_bytes;
        let build_id = build_id.filter(|id| large && !id.is_empty())?;
        let mut answers = Answers { directory: cache.answers(), build_id, key: key(files), table: None };
        answers.table = answers.directory.map(&answers.build_id).and_then(|map| Table::open(map.into(), &answers.key));
        Some(answers)
    }

    /// What was resolved before; `None` for an address that was not.
    pub(super) fn find(&mut self, at: u64) -> Option<Functions> {
        let table = self.table.as_mut()?;
        let index = table.index(at)?;
        table.functions(index)
    }

    /// Keeps these answers beside those that there are.
    pub(super) fn add(&mut self, found: &[(u64, Functions)]) {
        let mut all: BTreeMap<u64, Functions> = BTreeMap::new();
        if let Some(table) = self.table.as_mut().filter(|table| table.bytes.len() < MOST_ANSWERS) {
            for index in 0..table.addresses.len() / 8 {
                all.extend(table.address(index).zip(table.functions(index)));
            }
        }
        let new = found.iter().filter(|(_, functions)| matches!(functions, Ok(_) | Err(Miss::NoSymbol)));
        all.extend(new.cloned());
        let Some(bytes) = encode(&self.key, &all) else { return };
        // Not kept (a full or read-only disk): resolved anew next time.
        let _ = self.directory.keep(&self.build_id, &bytes);
        self.table = Table::open(Bytes::Owned(bytes.into()), &self.key);
    }
}

/// What the answers depend on besides the build-id: this program, and which states of which files they came from. A
/// debug file that is installed, removed or replaced later makes another key.
fn key(files: &Files) -> String {
    let stamp = |stamp: Option<Stamp>| match stamp {
        Some(Stamp { device, inode, bytes, modified }) => format!("{device:x}:{inode:x}:{bytes}:{modified}"),
        None => "none".into(),
    };
    let companions = files.companions.files().map(|file| stamp(file.and_then(|file| file.bytes().stamp())));
    format!(
        "wireprof {}\n{}\n{}\n",
        env!("CARGO_PKG_VERSION"),
        stamp(files.own().bytes().stamp()),
        companions.join("\n")
    )
}

/// A kept file.
struct Table {
    bytes: Bytes,
    addresses: Range<usize>,
    ends: Range<usize>,
    frames: Range<usize>,
    text_ends: Range<usize>,
    texts: Range<usize>,
    /// Texts that were asked for.
    known: HashMap<u32, Arc<str>>,
}

impl Table {
    /// `None` unless the file is whole, unchanged and made with this key.
    fn open(bytes: Bytes, key: &str) -> Option<Table> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        (bytes.get(..8)? == MARK && word(8)? == crc32fast::hash(bytes.get(12..)?)).then_some(())?;
        let count = |index: usize| Some(word(12 + 4 * index)? as usize);
        let mut at = HEADER;
        let mut next = |length: usize| {
            let range = at..at.checked_add(length)?;
            at = range.end;
            Some(range)
        };
        let found = next(count(0)?)?;
        (bytes.get(found)? == key.as_bytes()).then_some(())?;
        let _padding = next(padding(key.len()))?;
        let addresses = next(count(1)? * 8)?;
        let ends = next(count(1)? * 4)?;
        let frames = next(count(2)? * 8)?;
        let text_ends = next(count(3)? * 4)?;
        let texts = at..bytes.len();
        bytes.get(texts.clone())?;
        Some(Table { addresses, ends, frames, text_ends, texts, known: HashMap::new(), bytes })
    }

    fn word(&self, of: &Range<usize>, index: usize) -> Option<u32> {
        let at = of.start + index * 4;
        (at + 4 <= of.end).then_some(())?;
        Some(u32::from_le_bytes(self.bytes.get(at..at + 4)?.try_into().ok()?))
    }

    fn address(&self, index: usize) -> Option<u64> {
        let at = self.addresses.start + index * 8;
        (at + 8 <= self.addresses.end).then_some(())?;
        Some(u64::from_le_bytes(self.bytes.get(at..at + 8)?.try_into().ok()?))
    }

    fn index(&self, wanted: u64) -> Option<usize> {
        let (mut from, mut to) = (0, self.addresses.len() / 8);
        while from < to {
            let middle = (from + to) / 2;
            match self.address(middle)?.cmp(&wanted) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => from = middle + 1,
                std::cmp::Ordering::Greater => to = middle,
            }
        }
        None
    }

    fn functions(&mut self, index: usize) -> Option<Functions> {
        let start = index.checked_sub(1).map_or(Some(0), |before| self.word(&self.ends.clone(), before))?;
        let end = self.word(&self.ends.clone(), index)?;
        let functions: Option<Vec<Function>> = (start..end).map(|frame| self.function(frame as usize)).collect();
        let functions = functions?;
        Some(if functions.is_empty() { Err(Miss::NoSymbol) } else { Ok(functions) })
    }

    fn function(&mut self, frame: usize) -> Option<Function> {
        let (name, rest) =
            (self.word(&self.frames.clone(), frame * 2)?, self.word(&self.frames.clone(), frame * 2 + 1)?);
        let file = if rest >> 1 == 0 { None } else { Some(self.text(rest >> 1)?) };
        Some(Function { name: self.text(name)?, file, inlined: rest & 1 == 1, module: None })
    }

    fn text(&mut self, index: u32) -> Option<Arc<str>> {
        if let Some(text) = self.known.get(&index) {
            return Some(text.clone());
        }
        let start = index.checked_sub(1).map_or(Some(0), |before| self.word(&self.text_ends, before as usize))?;
        let end = self.word(&self.text_ends, index as usize)?;
        let bytes = self.bytes[self.texts.clone()].get(start as usize..end as usize)?;
        let text: Arc<str> = std::str::from_utf8(bytes).ok()?.into();
        self.known.insert(index, text.clone());
        Some(text)
    }
}

fn padding(length: usize) -> usize {
    length.next_multiple_of(8) - length
}

/// Texts, each once.
#[derive(Default)]
struct Texts<'a> {
    index: HashMap<&'a str, u32>,
    ends: Vec<u8>,
    bytes: Vec<u8>,
}

impl<'a> Texts<'a> {
    fn index(&mut self, text: &'a str) -> u32 {
        let next = self.index.len() as u32;
        *self.index.entry(text).or_insert_with(|| {
            self.bytes.extend_from_slice(text.as_bytes());
            self.ends.extend_from_slice(&(self.bytes.len() as u32).to_le_bytes());
            next
        })
    }
}

/// The bytes of a file to keep; `None` where there are more than its numbers can count.
fn encode(key: &str, all: &BTreeMap<u64, Functions>) -> Option<Vec<u8>> {
    let mut texts = Texts::default();
    texts.index("");
    let (mut addresses, mut ends, mut frames) = (Vec::new(), Vec::new(), Vec::new());
    for (at, functions) in all {
        for function in functions.iter().flatten() {
            let file = function.file.as_deref().map_or(0, |file| texts.index(file));
            let name = texts.index(&function.name);
            frames.extend_from_slice(&name.to_le_bytes());
            frames.extend_from_slice(&(file << 1 | u32::from(function.inlined)).to_le_bytes());
        }
        addresses.extend_from_slice(&at.to_le_bytes());
        ends.extend_from_slice(&u32::try_from(frames.len() / 8).ok()?.to_le_bytes());
    }
    u32::try_from(texts.bytes.len()).ok()?;
    let mut bytes = MARK.to_vec();
    bytes.extend_from_slice(&[0; 4]);
    for count in [key.len(), addresses.len() / 8, frames.len() / 8, texts.ends.len() / 4] {
        bytes.extend_from_slice(&u32::try_from(count).ok()?.to_le_bytes());
    }
    bytes.extend_from_slice(key.as_bytes());
    bytes.resize(bytes.len() + padding(key.len()), 0);
    for part in [&addresses, &ends, &frames, &texts.ends, &texts.bytes] {
        bytes.extend_from_slice(part);
    }
    let checksum = crc32fast::hash(&bytes[12..]);
    bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, file: Option<&str>, inlined: bool) -> Function {
        Function { name: name.into(), file: file.map(Into::into), inlined, module: None }
    }

    fn answers() -> BTreeMap<u64, Functions> {
        let inlined = function("hot", Some("program.c"), true);
        BTreeMap::from([
            (0x10, Ok(vec![inlined.clone(), function("outer", Some("program.c"), false)])),
            (0x18, Err(Miss::NoSymbol)),
            (0x20, Ok(vec![inlined, function("m\u{fc}ller", None, false)])),
        ])
    }

    fn open(bytes: &[u8], key: &str) -> Option<Table> {
        Table::open(Bytes::Owned(bytes.into()), key)
    }

    #[test]
    fn each_address_has_the_functions_that_were_kept_and_others_have_none() {
        for key in ["", "a key", "a key of other length"] {
            let mut table = open(&encode(key, &answers()).unwrap(), key).unwrap();
            for at in 0..0x30 {
                let found = table.index(at).map(|index| table.functions(index).unwrap());
                assert_eq!(found.as_ref(), answers().get(&at), "{at:#x}");
            }
        }
        let mut none = open(&encode("a key", &BTreeMap::new()).unwrap(), "a key").unwrap();
        assert!(none.index(0x10).is_none() && none.functions(0).is_none());
    }

    #[test]
    fn a_file_with_another_key_or_any_byte_changed_or_absent_is_ignored() {
        let whole = encode("a key", &answers()).unwrap();
        assert!(open(&whole, "a kez").is_none());
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            assert!(open(&damaged, "a key").is_none(), "byte {at}");
            assert!(open(&whole[..at], "a key").is_none(), "cut at {at}");
        }
    }
}
