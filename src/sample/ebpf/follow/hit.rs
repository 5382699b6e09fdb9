//! What a hit of a probe takes on this host: measured at a function of wireprof's own. Invariant: the program at the
//! probe does nothing, so that what is measured is the way to it and back.

use super::super::program::KernelProgram;
use crate::clock;
use anyhow::{Context, Result};
use aya::programs::uprobe::UProbeScope;
use std::num::NonZeroU32;
use std::path::Path;

/// Calls whose time is taken.
const CALLS: u64 = 2_000;

/// The function that is probed.
#[inline(never)]
extern "C" fn probed(number: u64) -> u64 {
    std::hint::black_box(number.wrapping_add(1))
}

/// ns of a call.
fn call() -> u64 {
    let start = clock::now();
    let mut number = 0;
    for _ in 0..CALLS {
        number = std::hint::black_box(probed as extern "C" fn(u64) -> u64)(number);
    }
    assert_eq!(number, CALLS);
    (clock::now() - start) / CALLS
}

/// ns that a hit takes: the difference of calls with a probe and without; the lesser of two tries.
pub fn cost(kernel: &mut KernelProgram) -> Result<u64> {
    let offset = offset_of_probed().context("wireprof's own program is not found in its memory")?;
    let own = NonZeroU32::new(std::process::id()).context("a process has a number")?;
    let without = call().min(call());
    let link = kernel.probe("on_nothing", Path::new("/proc/self/exe"), offset, UProbeScope::OneProcess(own))?;
    let with = call().min(call());
    drop(link);
    Ok(with.saturating_sub(without))
}

/// Where the function lies in the program's file (proc_pid_maps(5)).
fn offset_of_probed() -> Option<u64> {
    let address = probed as extern "C" fn(u64) -> u64 as usize as u64;
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let offset = u64::from_str_radix(fields.nth(1)?, 16).ok()?;
        let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
        (start..end).contains(&address).then(|| address - start + offset)
    })
}
