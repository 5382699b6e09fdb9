//! A load thread whose sessions send and receive through io_uring: requests that become due while answers are handled
//! go out in one system call after them, and answers are there when the thread wakes. Invariant: the latency of a query
//! counts from before the system call that sends it, and what it waits there for the others is the generator's delay.
//!
//! All else is as through epoll, whose instance the ring watches: the timer, the waker, and sockets without room for a
//! request. A request that the ring does not send as a whole goes on by send(2).

use super::{EventLoop, MARK, WAKE};
use crate::clock::{Nanos, now, thread_cpu};
use crate::load::uring::{Buffers, Completion, Ring};
use mio::Events;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// Bytes of answers that are handled before requests which are due go out.
const AHEAD: usize = 64 * 1024;
/// Of so many submissions of several requests one is by itself, so that it can be timed.
const TIMED: u32 = 100;
/// `untimed` at first: the second one is timed.
pub(super) const FIRST_TIMED: u32 = TIMED - 2;

impl EventLoop {
    /// Queues the session's request; false where it is to be sent by itself.
    #[inline]
    pub(super) fn queue(&mut self, index: usize, scheduled: Option<Nanos>) -> bool {
        if !self.offer(index) {
            // Where the queue is full it is empty after this; a request that is too long is refused again.
            self.submit();
            if !self.offer(index) {
                return false;
            }
        }
        // It counts from its submission, unless an answer comes before its question.
        self.sessions[index].begun = scheduled.unwrap_or(self.woke);
        self.queued.push((index, scheduled.is_none()));
        true
    }

    #[inline]
    fn offer(&mut self, index: usize) -> bool {
        let session = &self.sessions[index];
        let bytes = session.request(&self.plan.jobs[self.lanes[session.lane].job]);
        self.ring.as_mut().is_some_and(|ring| ring.send(index, bytes))
    }

    /// Sends what is queued.
    #[inline]
    pub(super) fn submit(&mut self) {
        self.stamp();
        if let Some(Err(cause)) = self.ring.as_mut().map(Ring::submit) {
            self.shared.fail(format!("io_uring_enter fails: {cause}"));
        }
    }

    /// From now on the latencies of what is queued count; how many requests that is. The kernel sends one after the
    /// other and does not tell when, so each waits for those before it, as long as a request takes.
    #[inline]
    fn stamp(&mut self) -> u64 {
        let count = self.queued.len() as u64;
        let at = if count > 0 { now() } else { 0 };
        for (place, (index, counts)) in self.queued.drain(..).enumerate() {
            let session = &mut self.sessions[index];
            session.held = place as u64 * self.a_request;
            if counts {
                session.begun = at;
            }
        }
        count
    }

    /// Sends what is queued, and learns what CPU a request takes.
    #[cold]
    fn submit_timed(&mut self, count: u64) {
        let before = thread_cpu();
        self.submit();
        self.a_request = (thread_cpu() - before) / count;
        self.untimed = 0;
    }

    /// Sends what is queued, waits for what happens, and handles it.
    #[inline]
    pub(super) fn turn_ring(&mut self, events: &mut Events, buffers: &mut Buffers) {
        let count = self.stamp();
        if count > 1 {
            self.untimed += 1;
            if self.untimed == TIMED {
                self.submit_timed(count);
            }
        }
        self.await_ring();
        self.happened(events, buffers);
    }

    #[inline]
    fn await_ring(&mut self) {
        if let Some(Err(cause)) = self.ring.as_mut().map(|ring| ring.wait(MARK)) {
            self.shared.fail(format!("io_uring_enter fails: {cause}"));
        }
        self.woke = now();
        self.wakes += 1;
    }

    /// Handles what has happened, in its order. Requests do not wait for large answers that come after theirs.
    #[inline]
    fn happened(&mut self, events: &mut Events, buffers: &mut Buffers) {
        let mut handled = 0;
        while let Some(completion) = self.ring.as_mut().and_then(Ring::next) {
            match completion {
                Completion::Received { session, result, piece } => {
                    if self.sessions[session].open {
                        match (result, &piece) {
                            (Ok(length @ 1..), Some(piece)) => {
                                self.take(session, buffers.bytes(piece));
                                handled += length;
                            }
                            (Err(error), _) => self.lose(session, &error.to_string()),
                            _ => self.lose(session, "the server closed the connection"),
                        }
                    }
                    piece.into_iter().for_each(|piece| buffers.give(piece));
                }
                Completion::Unsent { session, sent } => self.unsent(session, sent),
                Completion::Ready => self.others(events),
            }
            if handled >= AHEAD {
                self.submit();
                handled = 0;
            }
        }
    }

    /// A request was not sent as a whole: what is left goes out when there is room.
    #[cold]
    fn unsent(&mut self, index: usize, sent: std::io::Result<usize>) {
        if !self.sessions[index].open || !self.sessions[index].busy {
            return;
        }
        match sent {
            Ok(sent) => {
                self.sessions[index].sent = sent;
                self.write(index);
            }
            Err(error) => self.lose_after_reading(index, error),
        }
    }

    /// What epoll has to tell: the timer and the waker, which end a wait and no more, and sockets with room again.
    #[cold]
    fn others(&mut self, events: &mut Events) {
        if let Err(cause) = self.poll.poll(events, Some(Duration::ZERO))
            && cause.kind() != ErrorKind::Interrupted
        {
            self.shared.fail(format!("epoll_wait fails: {cause}"));
        }
        for index in events.iter().map(|event| event.token()).filter(|token| *token < WAKE).map(|token| token.0) {
            if self.sessions[index].open && self.sessions[index].writing {
                self.flush(index);
            }
        }
        let epoll = self.poll.as_raw_fd();
        if let Some(ring) = &mut self.ring {
            ring.watch(epoll);
        }
    }

    /// Ends what is under way in the ring, before the sessions go to other threads: what has arrived is handled, and
    /// what is due is sent.
    #[cold]
    pub(super) fn leave_ring(&mut self, events: &mut Events, buffers: &mut Buffers) {
        self.ring.iter_mut().for_each(Ring::leave);
        loop {
            self.submit();
            self.happened(events, buffers);
            let under_way = self.ring.as_ref().map_or(0, Ring::under_way);
            if under_way == 0 && self.queued.is_empty() {
                return;
            }
            if under_way > 0 {
                self.await_ring();
            }
        }
    }
}
