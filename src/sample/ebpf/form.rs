//! For what the kernel's program is loaded. Invariant: what is not asked for gets no room, and the verifier passes over
//! it: both were most of what a start takes.

use super::follow::EventRoom;

/// Bytes of the ring: a quarter of a second of the samples that all CPUs together may take
/// ([`TOTAL_RATE`](crate::sample::perf::TOTAL_RATE)), of 250 frames each.
const RING_BYTES: u32 = 4 << 20;
/// For the cross-check each sample has a copy of its stack.
const COPIES_RING_BYTES: u32 = 64 << 20;
/// Processes of the target at a time.
pub const PROCESSES: u32 = 16_384;
/// The smallest that the kernel makes.
const PAGE: u32 = 4096;

/// How the program is loaded, beyond its room.
#[derive(Clone, Copy, Debug, Default)]
pub struct Form {
    /// Every sample carries its stack.
    pub copies: bool,
    /// Waits can be followed.
    pub waits: bool,
    /// Bits of the ids of waits' stacks that are used; `None`: all.
    pub id_mask: Option<u64>,
    /// What carries the queries can be followed.
    pub following: bool,
    /// Room for it.
    pub events: EventRoom,
    /// For this many CPUs; `None`: for those that this machine can have.
    pub cpus: Option<usize>,
    /// Next to no room for samples, stacks, waits and processes.
    pub scarce: bool,
}

impl Form {
    pub fn with_following(self) -> Form {
        Form { following: true, ..self }
    }

    /// Bytes of the ring that carries samples.
    pub fn ring_bytes(&self) -> u32 {
        match self.copies {
            _ if self.scarce => PAGE,
            true => COPIES_RING_BYTES,
            false => RING_BYTES,
        }
    }

    /// Elements of the maps of stacks that waits and carriers share; one where nobody asks for them, which is the
    /// fewest that the kernel makes.
    pub fn stacks(&self) -> u32 {
        match self.waits || self.following {
            true if self.scarce => 2,
            true => 32_768,
            false => 1,
        }
    }

    /// Words of those stacks.
    pub fn words(&self) -> u32 {
        if self.waits || self.following { 1 << 21 } else { 1 }
    }

    /// Processes of the target at a time.
    pub fn processes(&self) -> u32 {
        if self.scarce { 64 } else { PROCESSES }
    }

    /// Elements of the map of waits' sums, where this many are wanted.
    pub fn sums_of_waits(&self, wanted: usize) -> u32 {
        match self.waits {
            true if self.scarce => 8,
            true => wanted as u32,
            false => 1,
        }
    }

    /// Places where queries were followed.
    pub fn followed_places(&self) -> u32 {
        if self.following { 65_536 } else { 1 }
    }

    /// Bytes of the ring of events; a page where there are none.
    pub fn event_bytes(&self) -> u32 {
        if self.following { self.events.ring_bytes } else { PAGE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_asks_for_gets_no_room() {
        let room = |form: Form| [form.stacks(), form.words(), form.followed_places(), form.event_bytes()];
        let large = |form: Form| room(form).map(|room| room > 4096);
        let waits = Form { waits: true, ..Form::default() };
        assert_eq!(room(Form::default()), [1, 1, 1, 4096]);
        assert_eq!(large(waits), [true, true, false, false]);
        assert_eq!(large(Form::default().with_following()), [true; 4]);
    }
}
