//! Shapes that following shares with the kernel's program (`bpf/follow.h`), which asserts the same offsets when it is
//! compiled. Invariant: a record that is shorter than its fields say gives `None`.

use crate::bpf::{assert_shape, map_array};
use crate::sample::fields::Fields;
use crate::sample::followed::{FollowedEvent, Happened, Socket, Task};
use anyhow::Result;
use memmap2::MmapRaw;
use std::mem::offset_of;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// `struct following`, mapped.
pub struct Following(MmapRaw);

/// `struct following` of `bpf/follow.h`.
#[repr(C)]
struct Shape {
    on: u64,
    table_at: u64,
    wait_event_at: u64,
    interrupt_start: u64,
    interrupt_end: u64,
    events: u64,
    events_lost: u64,
    hits: u64,
    hit_spent: u64,
    crowded: u64,
    name_port: u64,
    name: [u64; 14],
    reserved: [u64; 7],
}

assert_shape!(
    Shape, 256: on 0, table_at 8, wait_event_at 16, interrupt_start 24, interrupt_end 32, events 40, events_lost 48,
    hits 56, hit_spent 64, crowded 72, name_port 80, name 88, reserved 200
);

/// What the program counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub lost: u64,
    pub hits: u64,
    pub hit_spent: u64,
    pub crowded: u64,
}

impl Following {
    pub fn map(fd: BorrowedFd) -> Result<Following> {
        Ok(Following(map_array(fd, size_of::<Shape>(), "following")?))
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at.is_multiple_of(8) && at < size_of::<Shape>());
        // SAFETY: the mapping begins at a page, holds a whole `Shape` (it was mapped so) and lives as long as `self`,
        // so that this is an aligned word of it (asserted). The kernel's programs read such words whole and add to
        // them atomically; in this process they are reached through here alone.
        unsafe { AtomicU64::from_ptr(self.0.as_mut_ptr().byte_add(at).cast::<u64>()) }
    }

    fn set(&self, at: usize, value: u64) {
        self.word(at).store(value, Ordering::SeqCst);
    }

    fn get(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::SeqCst)
    }

    /// Nothing is sent, known or counted.
    pub fn reset(&self) {
        for at in (0..size_of::<Shape>()).step_by(8) {
            self.set(at, 0);
        }
    }

    /// Lets the program send events.
    pub fn turn_on(&self) {
        self.set(offset_of!(Shape, on), 1);
    }

    /// Ends it.
    pub fn turn_off(&self) {
        self.set(offset_of!(Shape, on), 0);
    }

    /// Where in a task's header the pointer to its table lies, in bytes.
    pub fn set_table_at(&self, bytes: u64) {
        self.set(offset_of!(Shape, table_at), bytes);
    }

    /// Where the target keeps the pointer to the number of its wait event.
    pub fn set_wait_event_at(&self, address: u64) {
        self.set(offset_of!(Shape, wait_event_at), address);
    }

    /// The name of the load's Unix socket, and the port that its connections are told by.
    pub fn set_unix_socket(&self, port: u16, name: &[u64; 14]) {
        for (at, word) in name.iter().enumerate() {
            self.set(offset_of!(Shape, name) + at * 8, *word);
        }
        self.set(offset_of!(Shape, name_port), u64::from(port));
    }

    /// The kernel's code that interrupts begin in.
    pub fn set_interrupts(&self, (start, end): (u64, u64)) {
        self.set(offset_of!(Shape, interrupt_start), start);
        self.set(offset_of!(Shape, interrupt_end), end);
    }

    pub fn counts(&self) -> Counts {
        Counts {
            lost: self.get(offset_of!(Shape, events_lost)),
            hits: self.get(offset_of!(Shape, hits)),
            hit_spent: self.get(offset_of!(Shape, hit_spent)),
            crowded: self.get(offset_of!(Shape, crowded)),
        }
    }
}

/// Reads a record of the ring. Stacks are the kernel's numbers.
pub fn parse(bytes: &[u8]) -> Option<FollowedEvent> {
    let mut fields = Fields(bytes);
    let (at, subject, about) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let (thread, process, stack, detail) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
    let (kind, flags) = (fields.u16()?, fields.u16()?);
    fields.u32()?;
    let stack = (stack != 0).then_some(stack);
    let socket = Socket { id: subject, own: about as u16, other: (about >> 16) as u16 };
    let task = Task { id: subject, poll: about };
    let event = |happened| FollowedEvent { at, thread, process, happened };
    Some(match kind {
        0 => event(Happened::Leaves { preempted: flags & 1 != 0, stack, wait_event: detail }),
        1 => FollowedEvent { at, thread: detail, process: about as u32, happened: Happened::Gets },
        2 => event(Happened::Wakes { thread: detail, stack, interrupt: flags & 2 != 0 }),
        3 => event(Happened::Reads(socket)),
        4 => event(Happened::Sends(socket)),
        5 => event(Happened::Polls(task)),
        6 => event(Happened::Polled),
        7 => event(Happened::Registers(task, stack)),
        8 => event(Happened::WakesTask(task, stack)),
        9 => event(Happened::RegistersWithin(subject, stack)),
        10 => event(Happened::WakesWithin(subject)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, flags: u16, stack: u32, detail: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend([77u64, 0xabc0, 0x1538 | 0x9c40 << 16].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend([11u32, 10, stack, detail].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend([kind, flags].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(1u32.to_le_bytes());
        assert_eq!(bytes.len(), 48, "as the kernel's program asserts");
        bytes
    }

    fn happened(kind: u16, flags: u16, stack: u32, detail: u32) -> Happened {
        parse(&record(kind, flags, stack, detail)).unwrap().happened
    }

    #[test]
    fn an_event_is_read_field_by_field_and_a_shorter_one_is_none() {
        let bytes = record(3, 0, 0, 0);
        let socket = Socket { id: 0xabc0, own: 0x1538, other: 0x9c40 };
        let event = FollowedEvent { at: 77, thread: 11, process: 10, happened: Happened::Reads(socket) };
        assert_eq!(parse(&bytes), Some(event));
        assert_eq!(happened(0, 1, 5, 9), Happened::Leaves { preempted: true, stack: Some(5), wait_event: 9 });
        assert_eq!(happened(2, 2, 0, 12), Happened::Wakes { thread: 12, stack: None, interrupt: true });
        assert_eq!(parse(&record(1, 0, 0, 12)).unwrap().thread, 12, "who gets the CPU, not who leaves it");
        let task = Task { id: 0xabc0, poll: 0x1538 | 0x9c40 << 16 };
        assert_eq!(happened(7, 0, 3, 0), Happened::Registers(task, Some(3)));
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length]), None);
        }
        assert_eq!(happened(9, 0, 3, 0), Happened::RegistersWithin(0xabc0, Some(3)));
        assert_eq!(parse(&record(11, 0, 0, 0)), None);
    }
}
