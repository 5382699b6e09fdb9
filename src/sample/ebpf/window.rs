//! The window's ends in the memory of the kernel's program. Invariant: while `follow` is 0 the program follows no waits, and
//! outside of the ends none counts.

use crate::clock::{self, Nanos, Span};
use anyhow::{Context, Result};
use memmap2::{MmapOptions, MmapRaw};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// `struct window`, mapped; shared between who conducts and who reads.
pub struct WindowEnds(MmapRaw);

const START: usize = 0;
const END: usize = 1;
const FOLLOW: usize = 2;
const WORDS_USED: usize = 3;

impl WindowEnds {
    pub fn map(fd: BorrowedFd) -> Result<WindowEnds> {
        let mapped = MmapOptions::new().len(4096).map_raw(fd.as_raw_fd());
        let ends = WindowEnds(mapped.context("the kernel's window cannot be mapped")?);
        ends.reset(false);
        Ok(ends)
    }

    fn word(&self, word: usize) -> &AtomicU64 {
        assert!(word <= WORDS_USED);
        // SAFETY: the mapping holds four aligned words and more, and lives as long as `self`; the kernel's programs read and
        // write them as whole words.
        unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().cast::<u64>().add(word)) }
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

    /// The window until now, or until its end; empty where it has not begun.
    pub fn span(&self) -> Span {
        let now = clock::now();
        let (start, end) = (self.word(START).load(Ordering::SeqCst), self.word(END).load(Ordering::SeqCst));
        Span::new(start.min(now), end.min(now))
    }
}
