//! The target's threads in the memory of the kernel's program. Invariant: a thread lies in one of the [`PROBES`] slots
//! from its number on, and is nobody else's until the next recording.
//!
//! Shapes as in `bpf/off_cpu.h`, which asserts the same offsets when it is compiled.

use super::off_cpu::{Thread, UNSEEN, Wait};
use crate::bpf::map_array;
use anyhow::Result;
use memmap2::MmapRaw;
use rustc_hash::FxHashMap;
use std::mem::offset_of;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Slots for threads, and how many of them may be one's; `THREADS`, `PROBES`.
pub const THREADS: usize = 1 << 16;
const PROBES: usize = 8;

/// The array `threads`, mapped.
pub struct Threads(MmapRaw);

impl Threads {
    pub fn map(fd: BorrowedFd) -> Result<Threads> {
        Ok(Threads(map_array(fd, THREADS * size_of::<Thread>(), "threads")?))
    }

    fn at(&self, slot: usize) -> *mut Thread {
        assert!(slot < THREADS);
        // SAFETY: the mapping holds THREADS of them (it was mapped so), and the slot is one of these (asserted).
        unsafe { self.0.as_mut_ptr().cast::<Thread>().add(slot) }
    }

    /// Whose slot it is; 0: nobody's.
    fn owner(&self, slot: usize) -> &AtomicU32 {
        // SAFETY: a word of the mapping (`at`), aligned as the mapping begins at a page and a `Thread` is a multiple of
        // the word; the kernel's program writes it by an atomic exchange, and this process through here alone.
        unsafe { AtomicU32::from_ptr(self.at(slot).byte_add(offset_of!(Thread, tid)).cast()) }
    }

    fn read(&self, slot: usize) -> Thread {
        // SAFETY: a `Thread` of the mapping (`at`), of which any bytes are one. The program may write meanwhile: each
        // word is whole, and what is concluded from several of them together is read when it is detached.
        unsafe { self.at(slot).read_volatile() }
    }

    fn slots(tid: u32) -> impl Iterator<Item = usize> {
        (0..PROBES).map(move |probe| (tid as usize + probe) % THREADS)
    }

    /// Forgets all of them. No program may be attached.
    pub fn clear(&self) {
        for slot in (0..THREADS).filter(|slot| self.owner(*slot).load(Ordering::Relaxed) != 0) {
            // SAFETY: a `Thread` of the mapping (`at`); no program that would write it runs.
            unsafe { self.at(slot).write_volatile(Thread::default()) };
        }
    }

    /// All of them by number, as they are now.
    pub fn all(&self) -> FxHashMap<u32, Thread> {
        let used = (0..THREADS).filter(|slot| self.owner(*slot).load(Ordering::Relaxed) != 0);
        used.map(|slot| self.read(slot)).map(|thread| (thread.tid, thread)).collect()
    }

    /// A thread so far.
    pub fn get(&self, tid: u32) -> Option<Thread> {
        let slot = Threads::slots(tid).find(|slot| self.owner(*slot).load(Ordering::Relaxed) == tid)?;
        Some(self.read(slot))
    }

    /// Enters a thread that is off CPU since before anybody looked, unless it has been seen since; `false`: there is no
    /// slot for it.
    pub fn enter_blocked(&self, pid: u32, tid: u32, since: u64) -> bool {
        let exchange = |slot: &usize| self.owner(*slot).compare_exchange(0, tid, Ordering::SeqCst, Ordering::SeqCst);
        for slot in Threads::slots(tid) {
            match exchange(&slot) {
                Ok(_) => {}
                Err(whose) if whose == tid => return true,
                Err(_) => continue,
            }
            let wait = Wait { thread: tid, call: -1, stack: UNSEEN, how: 1, ..Wait::default() };
            // SAFETY: fields of a `Thread` of the mapping (`at`), aligned. The program reads `pid` and `wait` only
            // where `since` says that the thread waits, which is written last.
            unsafe {
                let at = self.at(slot);
                at.byte_add(offset_of!(Thread, pid)).cast::<u32>().write_volatile(pid);
                at.byte_add(offset_of!(Thread, wait)).cast::<Wait>().write_volatile(wait);
                AtomicU64::from_ptr(at.byte_add(offset_of!(Thread, since)).cast()).store(since, Ordering::SeqCst);
            }
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memmap2::MmapOptions;

    fn none() -> Threads {
        Threads(MmapOptions::new().len(THREADS * size_of::<Thread>()).map_anon().unwrap().into())
    }

    #[test]
    fn threads_of_the_same_slot_are_told_apart_until_there_is_no_further_one() {
        let threads = none();
        let mut alike = (1..).map(|turn| 40 + turn * THREADS as u32);
        for tid in alike.clone().take(PROBES) {
            assert!(threads.enter_blocked(7, tid, u64::from(tid)), "{tid}");
        }
        for tid in alike.clone().take(PROBES) {
            let found = threads.get(tid).unwrap();
            assert_eq!((found.pid, found.tid, found.since, found.wait.thread), (7, tid, u64::from(tid), tid));
        }
        let further = alike.nth(PROBES).unwrap();
        assert!(!threads.enter_blocked(7, further, 1) && threads.get(further).is_none());
        assert_eq!(threads.all().len(), PROBES);
        threads.clear();
        assert!(threads.all().is_empty() && threads.enter_blocked(8, further, 1));
    }

    #[test]
    fn a_thread_that_was_seen_is_left_as_it_is() {
        let threads = none();
        assert!(threads.enter_blocked(7, u32::MAX, 5), "its slots go round the end");
        assert!(threads.enter_blocked(9, u32::MAX, 6));
        assert_eq!(threads.get(u32::MAX).unwrap().since, 5);
        assert_eq!(threads.all().keys().collect::<Vec<_>>(), [&u32::MAX]);
    }
}
