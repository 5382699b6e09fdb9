//! A fuzzer's input taken off piece by piece, and call-frame information made of it. Invariant: every input gives
//! some, and its frames are sound whatever is in them.

use crate::template::{Frames, TEXT};

/// Bytes taken off the fuzzer's input; zeros after its end.
pub struct Feed<'a>(pub &'a [u8]);

impl<'a> Feed<'a> {
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }
    pub fn half(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }
    pub fn word(&mut self) -> u32 {
        u32::from(self.half()) | u32::from(self.half()) << 16
    }
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(count.min(self.0.len()));
        self.0 = tail;
        head
    }
}

/// Sound frames whose programs, ranges and factors come from an input.
pub fn frames(feed: &mut Feed) -> Frames {
    let mut frames = Frames::default();
    let mut next = TEXT;
    while !feed.0.is_empty() && frames.listed.len() < 200 {
        let what = feed.byte();
        if what & 7 == 0 || frames.bytes.is_empty() {
            let factors = if what & 0x10 != 0 { (feed.byte() & 0x7f, feed.byte() & 0x7f) } else { (1, 0x78) };
            let length = usize::from(feed.byte() & 0x1f);
            frames.common(what & 8 != 0, factors, feed.take(length));
            continue;
        }
        // Mostly one behind the other, as compilers lay functions out; sometimes anywhere.
        let start = if what & 0x60 == 0x60 { u64::from(feed.word()) } else { next };
        let size = if what & 0x80 == 0 { u32::from(feed.byte()) } else { feed.word() };
        next = start + u64::from(size);
        let length = usize::from(feed.byte() & 0x3f);
        frames.function(start, size, feed.take(length));
    }
    frames.listed.sort_unstable_by_key(|(start, _)| *start as i32);
    frames
}
