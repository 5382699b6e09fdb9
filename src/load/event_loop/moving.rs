//! Sessions that come to a load thread and leave it for another while the load runs. Invariant: a session keeps its
//! socket, what it has prepared and its query under way; nothing that has arrived for it is lost.

use super::{Arrivals, EventLoop, Session};
use crate::clock::now;
use crate::load::lane::Lane;
use crate::load::record::Notes;
use mio::unix::SourceFd;
use mio::{Events, Interest, Token};
use std::cmp::Reverse;
use std::io;
use std::os::fd::AsRawFd;

/// What is left of a load thread when it ends.
#[derive(Default)]
pub struct Ending {
    pub notes: Notes,
    /// Open sessions with the jobs they are of; none where the load has stopped.
    pub sessions: Vec<(usize, Session)>,
    /// What tells which executions are left.
    pub lanes: Vec<Lane>,
}

impl Ending {
    /// The load is over.
    pub fn stopped(notes: Notes) -> Ending {
        Ending { notes, ..Ending::default() }
    }
}

impl EventLoop {
    /// Takes a session in, whatever it has under way. Bytes that have arrived already make an edge when the socket is
    /// registered (epoll_ctl(2)), and a ring receives them at once, so an answer that came between two threads is read.
    pub(super) fn take_in(&mut self, mut session: Session, lane: usize) -> io::Result<()> {
        let at = self.sessions.len();
        let fd = session.transport.socket.as_raw_fd();
        let interest = match (self.ring.is_some(), session.writing) {
            (true, false) => None,
            (true, true) => Some(Interest::WRITABLE),
            (false, false) => Some(Interest::READABLE),
            (false, true) => Some(Interest::READABLE | Interest::WRITABLE),
        };
        interest.map_or(Ok(()), |interest| self.poll.registry().register(&mut SourceFd(&fd), Token(at), interest))?;
        if let Some(ring) = &mut self.ring {
            ring.receive(at);
        }
        session.lane = lane;
        match session.busy {
            true => self.busy += 1,
            false => self.lanes[lane].idle.push(at),
        }
        self.sleepers.extend(session.sleeps.take().map(|due| Reverse((due, at))));
        self.sessions.push(session);
        Ok(())
    }

    /// Hands all open sessions back, for other threads.
    #[cold]
    pub(super) fn part(mut self, arrivals: &mut Arrivals, events: &mut Events) -> Ending {
        if let Arrivals::Ring(buffers) = arrivals {
            self.leave_ring(events, buffers);
        }
        self.woke = now();
        self.mark();
        self.shared.report(self.index, self.completed, self.errors);
        for Reverse((due, index)) in std::mem::take(&mut self.sleepers) {
            self.sessions[index].sleeps = Some(due);
        }
        self.hand_back()
    }

    /// As [`EventLoop::part`], of a loop that never ran.
    pub fn hand_back(self) -> Ending {
        let EventLoop { ring, sessions, lanes, notes, poll, .. } = self;
        // It lets the sockets go, and nothing that arrives from now on is taken by it.
        drop(ring);
        let open = sessions.into_iter().filter(|session| session.open);
        let leave = |session: Session| {
            let fd = session.transport.socket.as_raw_fd();
            // The epoll instance ends right below, and its registrations with it.
            let _ = poll.registry().deregister(&mut SourceFd(&fd));
            (lanes[session.lane].job, session)
        };
        let sessions = open.map(leave).collect();
        Ending { notes, sessions, lanes }
    }
}
