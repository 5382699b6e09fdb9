//! How a request is sent: with others through the ring, or by itself. Invariant: what a socket has no room for is
//! written when it has, and nothing is written twice.

use super::EventLoop;
use crate::clock::{Nanos, now};
use mio::unix::SourceFd;
use mio::{Interest, Token};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;

impl EventLoop {
    /// Sends the session's present step. Its latency counts from `scheduled`, or from now.
    #[inline]
    pub(super) fn send(&mut self, index: usize, scheduled: Option<Nanos>) {
        let session = &mut self.sessions[index];
        (session.sent, session.held) = (0, 0);
        if self.ring.is_some() && self.queue(index, scheduled) {
            return;
        }
        self.sessions[index].begun = scheduled.unwrap_or_else(now);
        self.write(index);
    }

    /// Writes what is left of the request; waits for room where the socket has none.
    #[inline]
    pub(super) fn write(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        let job = &self.plan.jobs[self.lanes[session.lane].job];
        // As `Session::request`, which would borrow all of the session.
        let bytes = match &session.client {
            None => &*job.request(session.execution, session.step).bytes,
            Some(client) => client.request(),
        };
        while session.sent < bytes.len() {
            match session.transport.write(&bytes[session.sent..]) {
                Ok(taken) => session.sent += taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // What the server said before it closed is still to be read.
                Err(error) => return self.lose_after_reading(index, error),
            }
        }
        let unsent = session.sent < bytes.len() || session.transport.holds_back();
        if unsent != session.writing {
            self.watch_for_room(index, unsent);
        }
    }

    #[cold]
    fn watch_for_room(&mut self, index: usize, writing: bool) {
        let session = &mut self.sessions[index];
        session.writing = writing;
        let fd = session.transport.socket.as_raw_fd();
        let (socket, registry) = (&mut SourceFd(&fd), self.poll.registry());
        // What arrives in a ring is awaited there.
        let watched = match (self.ring.is_some(), writing) {
            (true, true) => registry.register(socket, Token(index), Interest::WRITABLE),
            (true, false) => registry.deregister(socket),
            (false, true) => registry.reregister(socket, Token(index), Interest::READABLE | Interest::WRITABLE),
            (false, false) => registry.reregister(socket, Token(index), Interest::READABLE),
        };
        if let Err(cause) = watched {
            self.lose(index, &cause.to_string());
        }
    }

    #[cold]
    pub(super) fn flush(&mut self, index: usize) {
        match self.sessions[index].transport.flush() {
            Ok(_) => self.write(index),
            Err(cause) => self.lose(index, &cause.to_string()),
        }
    }
}
