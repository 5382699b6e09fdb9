//! What a reader may use: memory, and time that grows with its input alone. Invariant: one allocation beyond
//! [`LARGEST`] ends the program with the input that asked for it: a length that a file claims is never allocated.

use std::alloc::{GlobalAlloc, Layout, System};

/// Bytes of one allocation: far more than any input here is worth.
const LARGEST: usize = 128 << 20;

struct Bounded;

// SAFETY: all of it is the system's allocator; what is too large ends the program before it is asked for.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        within(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        within(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        within(size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static MEMORY: Bounded = Bounded;

fn within(size: usize) {
    if size > LARGEST {
        // An unwinding allocator is undefined: libFuzzer keeps the input of an abort as it does of a panic.
        eprintln!("panicked at one allocation of {size} bytes");
        std::process::abort();
    }
}

/// CPU time of this thread in ns.
pub fn cpu_nanos() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
