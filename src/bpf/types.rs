//! The types of the running kernel (BTF), as far as a program names them. Invariant: each type has its own number and
//! kind; those with other names may lack their members.
//!
//! The kernel tells 180,000 types. To read all their members took a third of what a start of the sampler takes.

use anyhow::{Context, Result};
use aya::{Btf, Endianness};
use memmap2::MmapOptions;
use std::fs::File;

const TOLD: &str = "/sys/kernel/btf/vmlinux";
/// Of include/uapi/linux/btf.h.
const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;
const TYPE: usize = 12;

/// The types of the running kernel, of structures with these names all members.
///
/// # Errors
/// The kernel does not tell its types.
pub fn kernel_types(named: &[&str]) -> Result<Btf> {
    let file = File::open(TOLD);
    // Linux 6.16 maps them; read(2) gives 4 KiB of 6 MB at a time.
    // SAFETY: the kernel's own read-only memory is mapped, which lasts and never changes while it runs.
    let mapped = file.and_then(|file| unsafe { MmapOptions::new().map_copy_read_only(&file) });
    let types = match mapped {
        Ok(bytes) => parse(&bytes, named),
        Err(_) => std::fs::read(TOLD).map_err(Into::into).and_then(|bytes| parse(&bytes, named)),
    };
    types.context("the kernel does not tell its types (BTF)")
}

fn parse(bytes: &[u8], named: &[&str]) -> Result<Btf> {
    // A form that is not known here may be known there.
    let shorter = without_members(bytes, named);
    Ok(Btf::parse(shorter.as_deref().unwrap_or(bytes), Endianness::default())?)
}

/// The same types, of which those that have a name that is not among these lack their members, values or parameters;
/// `None`: they are not as include/uapi/linux/btf.h has them.
fn without_members(bytes: &[u8], named: &[&str]) -> Option<Vec<u8>> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let size = |at: usize| Some(word(at)? as usize);
    if bytes.get(..2)? != MAGIC.to_le_bytes() || size(4)? < HEADER {
        return None;
    }
    let (types, strings) = (size(4)? + size(8)?, size(4)? + size(16)?);
    let mut types = bytes.get(types..types + size(12)?)?;
    let strings = bytes.get(strings..strings + size(20)?)?;
    let mut kept = vec![0; HEADER];
    while !types.is_empty() {
        let field = |at: usize| Some(u32::from_le_bytes(types.get(at..at + 4)?.try_into().ok()?));
        let (name, info) = (field(0)? as usize, field(4)?);
        let count = info as usize & 0xffff;
        let (fixed, each) = match info >> 24 & 0x1f {
            1 | 14 | 17 => (4, 0),
            3 => (12, 0),
            4 | 5 | 15 | 19 => (0, 12),
            6 | 13 => (0, 8),
            2 | 7..=12 | 16 | 18 => (0, 0),
            _ => return None,
        };
        let (whole, rest) = types.split_at_checked(TYPE + fixed + count * each)?;
        types = rest;
        let is_named = |of: &&str| {
            let end = name + of.len();
            strings.get(name..end) == Some(of.as_bytes()) && strings.get(end) == Some(&0)
        };
        if count == 0 || each == 0 || name == 0 && each == 12 || named.iter().any(|of| is_named(&of)) {
            kept.extend_from_slice(whole);
        } else {
            kept.extend_from_slice(&whole[..4]);
            kept.extend_from_slice(&(info & !0xffff).to_le_bytes());
            kept.extend_from_slice(&whole[8..TYPE]);
        }
    }
    let length = kept.len() - HEADER;
    kept.extend_from_slice(strings);
    kept[..8].copy_from_slice(&[&bytes[..4], &(HEADER as u32).to_le_bytes()[..]].concat());
    for (at, value) in [0, length, length, strings.len()].into_iter().enumerate() {
        kept[8 + at * 4..12 + at * 4].copy_from_slice(&u32::try_from(value).ok()?.to_le_bytes());
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRINGS: &[u8] = b"\0named\0other\0named_too\0";

    /// A structure of a name with one member, and where its name lies.
    fn structure(name: u32) -> Vec<u8> {
        [name, 4 << 24 | 1, 8, 0, 1, 0].iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn types(all: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        let words = [HEADER, 0, all.len(), all.len(), STRINGS.len()];
        bytes.extend(words.iter().flat_map(|word| (*word as u32).to_le_bytes()));
        [&bytes, all, STRINGS].concat()
    }

    #[test]
    fn what_is_named_and_what_has_no_name_keeps_its_members() {
        let int = [7_u32, 1 << 24, 4, 32].iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let all = [int.clone(), structure(1), structure(7), structure(13), structure(0)].concat();
        let bare = |name: u32| [name, 4 << 24, 8].iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let kept = [int, structure(1), bare(7), bare(13), structure(0)].concat();
        assert_eq!(without_members(&types(&all), &["named"]), Some(types(&kept)));
    }

    #[test]
    fn what_is_cut_short_or_of_an_unknown_kind_is_left_alone() {
        let bytes = types(&structure(7));
        for length in 0..bytes.len() {
            assert_eq!(without_members(&bytes[..length], &[]), None);
        }
        assert_eq!(without_members(&types(&[7_u32, 31 << 24, 0].map(u32::to_le_bytes).concat()), &[]), None);
    }
}
