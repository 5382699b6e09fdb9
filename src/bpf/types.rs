//! The types of the running kernel (BTF), to which the programs are fitted. Invariant: they are whole, however they are
//! read, or have exactly the tracepoints that were asked for, by the kernel's own numbers.
//!
//! aya's loader reads all of them by itself, which takes some 20 ms. To load a program at a tracepoint afterwards aya
//! needs only the tracepoint's number, so they are not read a second time for it.
//! Source of the layout: Linux, Documentation/bpf/btf.rst and include/uapi/linux/btf.h.

use anyhow::{Context, Result};
use aya::{Btf, Endianness};
use memmap2::{Mmap, MmapOptions};
use std::collections::BTreeSet;
use std::fs::File;

const KERNEL: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
/// Bytes of the header, and of a type without what belongs to its kind.
const HEADER: usize = 24;
const TYPE: usize = 12;
/// Kinds of types.
const FORWARD: u32 = 7;
const TYPEDEF: u32 = 8;

/// The types that aya asks for when it loads programs at these tracepoints. What the kernel does not have is not in
/// them, and loading says so.
///
/// # Errors
/// The kernel does not tell its types.
pub fn tracepoint_types(tracepoints: &[&str]) -> Result<Btf> {
    let few = mapped().and_then(|all| Btf::parse(&only(&all, tracepoints)?, Endianness::default()).ok());
    few.map_or_else(|| Btf::from_sys_fs().context("the kernel does not tell its types (BTF)"), Ok)
}

/// Linux 6.16 and later map them.
fn mapped() -> Option<Mmap> {
    let file = File::open(KERNEL).ok()?;
    // SAFETY: what is mapped is the kernel's own read-only memory, which lasts and never changes while it runs.
    unsafe { MmapOptions::new().map_copy_read_only(&file) }.ok()
}

/// Of these types only the tracepoints' with their numbers; all others are without a name. `None`: they are not in
/// order, or have a kind that is not known here.
fn only(all: &[u8], tracepoints: &[&str]) -> Option<Vec<u8>> {
    let word = |at: usize| Some(u32::from_le_bytes(all.get(at..at.checked_add(4)?)?.try_into().ok()?));
    (u16::from_le_bytes(all.get(..2)?.try_into().ok()?) == MAGIC).then_some(())?;
    let header = word(4)? as usize;
    let start = header.checked_add(word(8)? as usize)?;
    let types = all.get(start..start.checked_add(word(12)? as usize)?)?;
    let names = all.get(header.checked_add(word(16)? as usize)?..)?;
    let names = names.get(..word(20)? as usize)?;
    let name_at = |at: u32| names.get(at as usize..).and_then(|rest| rest.split(|byte| *byte == 0).next());
    let mut missing: BTreeSet<&[u8]> = tracepoints.iter().map(|name| name.as_bytes()).collect();
    let (mut kept, mut texts, mut rest) = (Vec::with_capacity(types.len() / 3), vec![0], types);
    // Types behind the last tracepoint do not change its number.
    while !rest.is_empty() && !missing.is_empty() {
        let word = |at: usize| Some(u32::from_le_bytes(rest.get(at..at + 4)?.try_into().ok()?));
        let (name, info) = (word(0)?, word(4)?);
        let kind = info >> 24 & 0x1f;
        let mut asked = |name: &&[u8]| name.strip_prefix(b"btf_trace_").is_some_and(|name| missing.remove(name));
        let found = (kind == TYPEDEF).then(|| name_at(name)).flatten().filter(&mut asked);
        let (text, kind_kept) = if found.is_some() { (texts.len() as u32, TYPEDEF) } else { (0, FORWARD) };
        [text, kind_kept << 24, 0].iter().for_each(|word| kept.extend(word.to_le_bytes()));
        texts.extend(found.into_iter().flat_map(|name| name.iter().chain(&[0])));
        rest = rest.get(TYPE + bytes_of(kind, info & 0xffff)?..)?;
    }
    let mut bytes = [MAGIC.to_le_bytes(), [1, 0]].concat();
    let (types, texts_length) = (kept.len() as u32, texts.len() as u32);
    [HEADER as u32, 0, types, types, texts_length].iter().for_each(|word| bytes.extend(word.to_le_bytes()));
    bytes.extend(kept);
    bytes.extend(texts);
    Some(bytes)
}

/// Bytes that follow a type of this kind with so many members.
fn bytes_of(kind: u32, members: u32) -> Option<usize> {
    Some(match kind {
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // ARRAY
        3 => 12,
        // STRUCT, UNION, DATASEC, ENUM64
        4 | 5 | 15 | 19 => members as usize * 12,
        // ENUM, FUNC_PROTO
        6 | 13 => members as usize * 8,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, and these types and names.
    fn types(words: &[u32], names: &[u8]) -> Vec<u8> {
        let mut bytes = [MAGIC.to_le_bytes(), [1, 0]].concat();
        let length = words.len() as u32 * 4;
        [24, 0, length, length, names.len() as u32].iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes.extend(names);
        bytes
    }

    fn word(bytes: &[u8], number: usize, at: usize) -> u32 {
        u32::from_le_bytes(bytes[HEADER + number * TYPE + at..][..4].try_into().unwrap())
    }

    #[test]
    fn a_tracepoint_keeps_its_number_and_all_others_are_without_a_name() {
        let names = b"\0btf_trace_one\0btf_trace_two\0one\0";
        // An int, a struct of two members, the two, and a typedef of another name.
        let int = [0, 1 << 24, 4, 32];
        let structure = [0, 4 << 24 | 2, 8, 0, 1, 0, 0, 1, 32];
        let typedefs = [1, 8 << 24, 1, 15, 8 << 24, 1, 29, 8 << 24, 1];
        let all = types(&[&int[..], &structure, &typedefs].concat(), names);
        let few = only(&all, &["two", "one_more"]).unwrap();
        let kinds: Vec<u32> = (0..5).map(|number| word(&few, number, 4) >> 24).collect();
        assert_eq!(kinds, [FORWARD, FORWARD, FORWARD, TYPEDEF, FORWARD]);
        assert!(few.ends_with(b"\0btf_trace_two\0"));
        assert!(Btf::parse(&few, Endianness::default()).is_ok());
        let cut = types(&structure[..8], names);
        assert!(only(&cut, &["two"]).is_none() && only(&all[..30], &["two"]).is_none(), "it is cut");
        assert!(only(&types(&[0, 30 << 24, 0], names), &["two"]).is_none(), "nobody knows how long that kind is");
    }

    #[test]
    fn of_the_running_kernels_types_the_asked_tracepoints_are_kept() {
        let Some(all) = mapped() else { return println!("skipped: the kernel does not map its types") };
        let few = only(&all, &["sched_switch", "sched_wakeup"]).unwrap();
        assert!(few.len() < all.len() / 2 && few.len() > 1_000);
        let count = (few.len() - HEADER) / TYPE;
        let found: Vec<usize> = (0..count).filter(|number| word(&few, *number, 4) >> 24 == TYPEDEF).collect();
        // That these are the kernel's numbers, the loading of every program says.
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
