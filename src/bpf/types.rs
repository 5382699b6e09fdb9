//! The types of the running kernel (BTF), to which the programs are fitted. Invariant: they are whole, however they are
//! read.

use anyhow::{Context, Result};
use aya::{Btf, Endianness};
use memmap2::MmapOptions;
use std::fs::File;

/// The types of the running kernel.
///
/// # Errors
/// The kernel does not tell its types.
pub fn kernel_types() -> Result<Btf> {
    let file = File::open("/sys/kernel/btf/vmlinux");
    // Linux 6.16 maps them, which halves the time: read(2) gives 4 KiB of 6 MB at a time.
    // SAFETY: what is mapped is the kernel's own read-only memory, which lasts and never changes while it runs.
    let mapped = file.and_then(|file| unsafe { MmapOptions::new().map_copy_read_only(&file) });
    let types = match mapped {
        Ok(bytes) => Btf::parse(&bytes, Endianness::default()),
        Err(_) => Btf::from_sys_fs(),
    };
    types.context("the kernel does not tell its types (BTF)")
}
