//! The buffers into which the kernel copies what arrives. Invariant: a buffer is either the kernel's or a [`Piece`],
//! and a piece is given back once.

use io_uring::types::BufRingEntry;
use memmap2::{MmapMut, MmapRaw};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// Holds most answers; of a larger one each piece is scanned by itself.
const SIZE: usize = 16 * 1024;
/// Buffers at least, so that a large answer comes in more than one piece a wake, and at most.
const FEWEST: usize = 16;
const MOST: usize = 1024;
const PAGE: usize = 4096;

/// The entries by which buffers are given to the kernel, and behind them the buffers.
pub struct Memory {
    map: MmapRaw,
    count: usize,
}

impl Memory {
    /// For so many sessions; pages are taken as they are used.
    pub fn new(sessions: usize) -> io::Result<Memory> {
        let count = sessions.next_power_of_two().clamp(FEWEST, MOST);
        let map = MmapMut::map_anon(Memory::data(count) + count * SIZE)?;
        Ok(Memory { map: map.into(), count })
    }

    /// Where the buffers begin.
    fn data(count: usize) -> usize {
        (count * size_of::<BufRingEntry>()).next_multiple_of(PAGE)
    }

    /// The address of the entries, and how many they are.
    pub fn entries(&self) -> (u64, u16) {
        (self.map.as_mut_ptr() as u64, self.count as u16)
    }

    fn buffer(&self, id: u16) -> *mut u8 {
        assert!(usize::from(id) < self.count);
        // SAFETY: the mapping holds `count` buffers from there on, so this one lies within it (asserted).
        unsafe { self.map.as_mut_ptr().add(Memory::data(self.count) + usize::from(id) * SIZE) }
    }
}

/// A buffer that the kernel has filled.
#[derive(Debug)]
pub struct Piece {
    id: u16,
    length: usize,
}

impl Piece {
    /// As the completion names it.
    pub(super) fn new(id: u16, length: usize) -> Piece {
        Piece { id, length }
    }
}

/// The thread's side of the buffers.
pub struct Buffers {
    memory: Arc<Memory>,
    tail: u16,
}

impl Buffers {
    /// Gives all of them to the kernel.
    pub(super) fn new(memory: Arc<Memory>) -> Buffers {
        let count = memory.count as u16;
        let mut buffers = Buffers { memory, tail: 0 };
        (0..count).for_each(|id| buffers.give(Piece { id, length: 0 }));
        buffers
    }

    /// What has arrived in a piece.
    #[inline]
    pub fn bytes(&self, piece: &Piece) -> &[u8] {
        let buffer = self.memory.buffer(piece.id);
        // SAFETY: the buffer lies within the mapping, which lives as long as `self`, and was zeroed when it was made.
        // The kernel has filled it and writes to it no more until it is given back, which takes the piece.
        unsafe { std::slice::from_raw_parts(buffer, piece.length.min(SIZE)) }
    }

    /// Gives a buffer back to the kernel.
    #[inline]
    pub fn give(&mut self, piece: Piece) {
        let entries = self.memory.map.as_mut_ptr().cast::<BufRingEntry>();
        let at = usize::from(self.tail) & (self.memory.count - 1);
        let address = self.memory.buffer(piece.id) as u64;
        // SAFETY: `at` is below `count`, a power of two, and the entries are at the mapping's start, page-aligned. An
        // entry is the kernel's only between its publication below and its use, and there are as many as buffers. The
        // first entry's last field is the tail (io_uring_register_buf_ring(3)), which the setters leave alone.
        let tail = unsafe {
            let entry = &mut *entries.add(at);
            entry.set_addr(address);
            entry.set_len(SIZE as u32);
            entry.set_bid(piece.id);
            AtomicU16::from_ptr(BufRingEntry::tail(entries).cast_mut())
        };
        self.tail = self.tail.wrapping_add(1);
        tail.store(self.tail, Ordering::Release);
    }
}
