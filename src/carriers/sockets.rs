//! Which of the server's sockets are what: the load's connections, and those on which the server itself asks.
//! Invariant: a socket that could be either is no outgoing one.

use crate::sample::{FollowedEvent, Happened, Socket};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;

/// One socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub socket: Socket,
    /// The process of its first event.
    pub process: u32,
    /// The server asks on it.
    pub is_outgoing: bool,
    /// The load's clients ask on it.
    pub is_asked: bool,
}

/// The sockets of a recording.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    numbers: FxHashMap<Socket, u32>,
    pub all: Vec<Known>,
}

impl Sockets {
    /// Of events in order of time. A socket is outgoing if nobody listens on its own port. Where it is not known who
    /// listens: if no other one has its own port, and if it sends before it reads, or another one that does so goes to
    /// the same port, since a recording can begin within a round trip.
    pub(super) fn of<'a>(
        events: impl Iterator<Item = &'a FollowedEvent>,
        listening: &BTreeSet<u16>,
        query_port: u16,
    ) -> Sockets {
        let mut sockets = Sockets::default();
        let mut sends_first = Vec::new();
        for event in events {
            let (socket, sends) = match event.happened {
                Happened::Reads(socket) => (socket, false),
                Happened::Sends(socket) => (socket, true),
                _ => continue,
            };
            if !sockets.numbers.contains_key(&socket) {
                sockets.numbers.insert(socket, sockets.all.len() as u32);
                let is_asked = socket.own == query_port;
                sockets.all.push(Known { socket, process: event.process, is_outgoing: false, is_asked });
                sends_first.push(sends);
            }
        }
        if listening.is_empty() {
            sockets.tell_outgoing_by_order(&sends_first);
        } else {
            for known in &mut sockets.all {
                known.is_outgoing = !known.is_asked && !listening.contains(&known.socket.own);
            }
        }
        sockets
    }

    fn tell_outgoing_by_order(&mut self, sends_first: &[bool]) {
        let mut owners: FxHashMap<u16, u32> = FxHashMap::default();
        for known in &self.all {
            *owners.entry(known.socket.own).or_default() += 1;
        }
        let alone = |known: &Known| !known.is_asked && owners[&known.socket.own] == 1;
        let asking = self.all.iter().zip(sends_first).filter(|(known, sends)| **sends && alone(known));
        let ports: FxHashSet<u16> = asking.map(|(known, _)| known.socket.other).collect();
        for known in &mut self.all {
            known.is_outgoing = alone(known) && ports.contains(&known.socket.other);
        }
    }

    /// Its index in `all`.
    pub(super) fn number(&self, socket: &Socket) -> Option<u32> {
        self.numbers.get(socket).copied()
    }
}
