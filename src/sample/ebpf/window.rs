//! The window's ends in the memory of the kernel's program. Invariant: while `follow` is 0 the program follows no
//! waits, and outside of the ends none counts.

use crate::bpf::{assert_shape, map_array};
use crate::clock::{self, Nanos, Span};
use anyhow::Result;
use memmap2::MmapRaw;
use std::mem::offset_of;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// `struct window`, mapped; shared between who conducts and who reads.
pub struct WindowEnds(MmapRaw);

/// `struct window` of `bpf/off_cpu.h`.
#[repr(C)]
struct Window {
    start: u64,
    end: u64,
    follow: u64,
    words_used: u64,
}

assert_shape!(Window, 32: start 0, end 8, follow 16, words_used 24);

const START: usize = offset_of!(Window, start);
const END: usize = offset_of!(Window, end);
const FOLLOW: usize = offset_of!(Window, follow);
const WORDS_USED: usize = offset_of!(Window, words_used);

impl WindowEnds {
    pub fn map(fd: BorrowedFd) -> Result<WindowEnds> {
        let ends = WindowEnds(map_array(fd, size_of::<Window>(), "window")?);
        ends.reset(false);
        Ok(ends)
    }

    /// The word at this offset.
    fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at < size_of::<Window>());
        // SAFETY: the mapping begins at a page, holds a whole `Window` (it was mapped so) and lives as long as `self`,
        // so that this is an aligned word of it (asserted). The kernel's programs read and write such words whole,
        // `words_used` by an atomic addition; in this process they are reached through here alone.
        unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().byte_add(at).cast::<u64>()) }
    }

    /// Forgets the recording before; nothing counts until [`WindowEnds::begin`].
    pub fn reset(&self, follow: bool) {
        self.word(FOLLOW).store(0, Ordering::SeqCst);
        self.word(START).store(Nanos::MAX, Ordering::SeqCst);
        self.word(END).store(Nanos::MAX, Ordering::SeqCst);
        self.word(WORDS_USED).store(0, Ordering::SeqCst);
        self.word(FOLLOW).store(u64::from(follow), Ordering::SeqCst);
    }

    pub fn begin(&self) {
        self.word(START).store(clock::now(), Ordering::SeqCst);
    }

    pub fn end(&self) {
        self.word(END).store(clock::now(), Ordering::SeqCst);
    }

    /// When the window began that has not ended; `None`: it has not begun, or has ended.
    pub fn open(&self) -> Option<Nanos> {
        let (start, end) = (self.word(START).load(Ordering::SeqCst), self.word(END).load(Ordering::SeqCst));
        (start < Nanos::MAX && end == Nanos::MAX).then_some(start)
    }

    /// The window until now, or until its end; empty where it has not begun.
    pub fn span(&self) -> Span {
        let now = clock::now();
        let (start, end) = (self.word(START).load(Ordering::SeqCst), self.word(END).load(Ordering::SeqCst));
        Span::new(start.min(now), end.min(now))
    }
}
