//! For what the kernel's program is loaded. Invariant: what is not asked for gets no room, and the verifier passes over
//! it: both were most of what a start takes.

use super::follow::EventRoom;

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
}

impl Form {
    pub fn with_following(self) -> Form {
        Form { following: true, ..self }
    }

    /// Elements of a map, or bytes of a ring, that is there for waits' stacks or for what carries the queries; the
    /// smallest that the kernel makes where nobody asks for them.
    pub fn room(&self, name: &str) -> u32 {
        let stacks = self.waits || self.following;
        match name {
            "stacks" if stacks => 32_768,
            "words" if stacks => 1 << 21,
            "followed_places" if self.following => 65_536,
            "events" if self.following => self.events.ring_bytes,
            "events" => 4096,
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_asks_for_gets_no_room() {
        let maps = ["stacks", "words", "followed_places", "events"];
        let small = |form: Form| maps.into_iter().filter(|map| form.room(map) <= 4096).collect::<Vec<_>>();
        let waits = Form { waits: true, ..Form::default() };
        assert_eq!(small(Form::default()), maps);
        assert_eq!(small(waits), ["followed_places", "events"]);
        assert_eq!(small(Form::default().with_following()), [""; 0]);
        assert_eq!(small(waits.with_following()), [""; 0]);
    }
}
