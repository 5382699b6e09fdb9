//! What the kernel's programs have in common, the sampler's (`sample/ebpf/bpf`) and the one at the sockets
//! (`wire/bpf`): in C the kernel's helpers and structures (`kernel.h`) and the names of types (`types.h`), in Rust the
//! mapping of their arrays, the running kernel's tracepoints, and their functions' names. Invariant: an array is mapped
//! whole and to the end of its last page, which is what the kernel gives it.
//!
//! Each program's own shapes are mirrored in its own room; both languages assert the offset of every field when they
//! are compiled. `scripts/bpf` compiles the programs with this folder as the only one that they include from besides
//! their own.

mod types;

use anyhow::{Context, Error, Result, anyhow};
use aya::programs::ProgramError;
use memmap2::{MmapOptions, MmapRaw};
use object::{Object, ObjectSymbol, SymbolKind};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
pub use types::tracepoint_types;

/// Maps an array of a program (made with `BPF_F_MMAPABLE`) of this many bytes, for reading and writing. The kernel's
/// programs may write to it at any time, so that it is for raw and atomic access only.
///
/// # Errors
/// What the kernel says; `what` names the array.
pub fn map_array(array: BorrowedFd, bytes: usize, what: &str) -> Result<MmapRaw> {
    let whole = bytes.next_multiple_of(page_size());
    let mapped = MmapOptions::new().len(whole).map_raw(array.as_raw_fd());
    mapped.with_context(|| format!("the array `{what}` of the kernel's program cannot be mapped"))
}

static LOADED: AtomicU64 = AtomicU64::new(0);

/// How many times this process has loaded programs. A table of the kernel's functions that was read at another count
/// lacks some of them.
pub fn times_loaded() -> u64 {
    LOADED.load(Ordering::Relaxed)
}

/// Counts that programs were loaded.
pub fn note_loaded() {
    LOADED.fetch_add(1, Ordering::Relaxed);
}

/// The functions of a compiled object, as the kernel names them behind `bpf_prog_TAG_` (`bpf_get_prog_name` of its
/// `bpf/core.c`).
///
/// # Panics
/// Where it is no object: only those that `scripts/bpf` compiled are given.
pub fn functions_of(object: &[u8]) -> Vec<String> {
    let file = object::File::parse(object).expect("an object that was compiled in");
    let functions = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
    functions.filter_map(|symbol| Some(symbol.name().ok()?.to_string())).collect()
}

/// Why the kernel does not take a program: of what the verifier wrote only its judgement. All of it may be 100 kB.
pub fn refusal(error: ProgramError) -> Error {
    let ProgramError::LoadError { io_error, verifier_log } = error else { return error.into() };
    match judgement(&verifier_log.to_string()) {
        Some(judgement) => anyhow!("{io_error}; its verifier says: {judgement}"),
        None => io_error.into(),
    }
}

/// The last line that is none of the statistics behind it.
fn judgement(log: &str) -> Option<&str> {
    let statistics = ["processed ", "verification time ", "stack depth "];
    let lines = log.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    lines.into_iter().find(|line| !statistics.iter().any(|start| line.starts_with(start)))
}

/// Asserts when it is compiled that a shape shared with C has its fields where C has them, and its size.
macro_rules! assert_shape {
    ($shape:ty, $size:literal: $($field:ident $offset:literal),+ $(,)?) => {
        const _: () = {
            assert!(size_of::<$shape>() == $size, concat!("size of ", stringify!($shape)));
            $(assert!(
                std::mem::offset_of!($shape, $field) == $offset,
                concat!(stringify!($shape), ".", stringify!($field))
            );)+
        };
    };
}
pub(crate) use assert_shape;

fn page_size() -> usize {
    // SAFETY: sysconf has no preconditions.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_verifiers_log_the_judgement_is_told() {
        let log = "0: R1=ctx(off=0,imm=0)\n938: (7b) *(u64 *)(r2 +0) = r3\nR2 unbounded memory access\n\
                   verification time 12 usec\nstack depth 152+104\nprocessed 6321 insns (limit 1000000)\n";
        assert_eq!(judgement(log), Some("R2 unbounded memory access"));
        assert_eq!(judgement("\n"), None);
    }
}
