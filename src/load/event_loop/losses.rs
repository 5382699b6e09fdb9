//! How sessions end: lost under load with the reason, or closed at its end. Invariant: a session is lost once, and what
//! the server said before it closed is the reason.

use super::{EventLoop, error_fields};
use crate::clock::now;
use crate::load::record::{Loss, Outcome, Record};
use crate::load::shared::CONNECTION_FAILURE;
use mio::unix::SourceFd;
use std::io;
use std::os::fd::AsRawFd;

impl EventLoop {
    /// A failed write often means that the server has said good-bye: its words are the better reason.
    #[cold]
    pub(super) fn lose_after_reading(&mut self, index: usize, error: io::Error) {
        let session = &mut self.sessions[index];
        if self.ring.is_some() {
            // What it said comes through the ring, and after it, now that both directions are closed, the end.
            session.transport.socket.shut_down();
            session.unsendable.get_or_insert(error);
            return;
        }
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = session.transport.read(&mut buffer) {
            if session.scanner.scan(&buffer[..length], &mut session.answer).is_err() {
                break;
            }
        }
        self.lose(index, &error.to_string());
    }

    /// Takes a session out of the load. A FATAL error that the server sent before is the reason, else `cause`.
    #[cold]
    pub(super) fn lose(&mut self, index: usize, cause: &str) {
        let session = &mut self.sessions[index];
        if !session.open {
            return;
        }
        session.open = false;
        let fd = session.transport.socket.as_raw_fd();
        // The socket is closed with its session at the end; an error here would leave at most one stray event.
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        if let Some(ring) = &mut self.ring {
            ring.forget(index);
        }
        let unsendable = session.unsendable.take().map(|error| error.to_string());
        let (sqlstate, message) = match session.answer.error.take() {
            Some(body) => error_fields(&body),
            None => (CONNECTION_FAILURE.into(), unsendable.unwrap_or_else(|| cause.to_string())),
        };
        if session.busy {
            session.busy = false;
            self.busy -= 1;
            self.errors += 1;
            let script = session.client.as_ref().map(|client| client.script());
            let (end, job) = (now(), script.unwrap_or(self.lanes[session.lane].job) as u16);
            let kind = self.notes.error_kind(sqlstate.clone(), message.clone());
            let latency = end.saturating_sub(session.begun);
            self.notes.record(Record::new(end, latency, job, 0, Outcome::Error(kind)));
        }
        let lane = &mut self.lanes[session.lane];
        lane.idle.retain(|idle| *idle != index);
        let loss = Loss { at: now(), sqlstate, message };
        self.shared.lost_one(&loss);
        self.notes.losses.push(loss);
    }

    /// Ends the sessions that are left; an error of saying good-bye does not matter any more.
    pub(super) fn close(&mut self) {
        let mut terminate = bytes::BytesMut::new();
        postgres_protocol::message::frontend::terminate(&mut terminate);
        for session in self.sessions.iter_mut().filter(|session| session.open && !session.busy) {
            let _ = session.transport.write(&terminate);
        }
    }
}
