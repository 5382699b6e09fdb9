//! One load thread: a loop over its connections, each with at most one query under way. Through epoll a query costs one
//! recv(2) and one send(2) in the steady state, and its share of an epoll_wait(2); through io_uring its share of two
//! io_uring_enter(2) (`in_ring`). Invariant: nothing here allocates for a query that succeeds.
//!
//! Edge triggers without reading to EAGAIN: an answer that is complete needs no second read, because the next bytes
//! from the server follow our next query and make an edge of their own. An answer that is not complete is read on
//! until EAGAIN or the end, since a close that arrived with its bytes makes no further edge.

mod in_ring;
mod losses;
mod moving;
mod scripts;
mod sending;
mod session;

pub use moving::Ending;
pub use session::Session;

use super::lane::{Lane, Next};
use super::plan::Plan;
use super::record::{Mark, Notes, Outcome, Record};
use super::scanner::{Answer, error_fields};
use super::shared::Shared;
use super::timer::Timer;
use super::uring::{Buffers, Ring};
use crate::clock::{Nanos, now, thread_cpu};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

const TIMER: Token = Token(usize::MAX);
const WAKE: Token = Token(usize::MAX - 1);
/// Marks of CPU and wakes are this far apart.
const MARK: Nanos = 10_000_000;
/// How long queries under way at the end may take to be answered.
const DRAIN: Nanos = 2_000_000_000;
/// Covers most answers in one read, and stays in the second-level cache.
const BUFFER: usize = 64 * 1024;

/// The state of one load thread.
pub struct EventLoop {
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    /// Which of the shared progress counters is this thread's.
    index: usize,
    /// Through which the sessions send and receive, where it is not epoll. Before the sessions, as it lets their
    /// sockets go when it is dropped.
    ring: Option<Ring>,
    /// Sessions whose requests are in the ring and not submitted; true: the latency counts from then.
    queued: Vec<(usize, bool)>,
    /// What a request of several that are submitted together takes, in ns of CPU, and how many submissions ago that was
    /// learned.
    a_request: Nanos,
    untimed: u32,
    sessions: Vec<Session>,
    lanes: Vec<Lane>,
    poll: Poll,
    timer: Timer,
    origin: Nanos,
    /// When the event loop last woke.
    woke: Nanos,
    wakes: u64,
    busy: usize,
    completed: u64,
    errors: u64,
    notes: Notes,
    told: bool,
    /// Sessions whose scripts sleep, by the end of their sleep.
    sleepers: BinaryHeap<Reverse<(Nanos, usize)>>,
}

impl EventLoop {
    /// Registers non-blocking sessions, each with its lane. The ring, where there is one, is of their sockets in this
    /// order. The waker ends the loop's sleep from another thread.
    pub fn new(
        plan: Arc<Plan>,
        shared: Arc<Shared>,
        index: usize,
        ring: Option<Ring>,
        sessions: Vec<(Session, usize)>,
        lanes: Vec<Lane>,
    ) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let timer = Timer::new()?;
        poll.registry().register(&mut SourceFd(&timer.raw_fd()), TIMER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let (completed, errors) = shared.counted(index);
        let mut event_loop = EventLoop {
            plan,
            shared,
            index,
            ring,
            queued: Vec::with_capacity(sessions.len()),
            a_request: 0,
            untimed: in_ring::FIRST_TIMED,
            sessions: Vec::with_capacity(sessions.len()),
            lanes,
            poll,
            timer,
            origin: 0,
            woke: 0,
            wakes: 0,
            busy: 0,
            completed,
            errors,
            notes: Notes::default(),
            told: false,
            sleepers: BinaryHeap::new(),
        };
        sessions.into_iter().try_for_each(|(session, lane)| event_loop.take_in(session, lane))?;
        let epoll = event_loop.poll.as_raw_fd();
        event_loop.ring.iter_mut().for_each(|ring| ring.watch(epoll));
        Ok((event_loop, waker))
    }

    /// Drives the load from `origin` until the shared stop, then lets queries under way finish and closes; or until the
    /// connections are to go to other threads.
    pub fn run(mut self, origin: Nanos) -> Ending {
        self.origin = origin;
        self.woke = now();
        self.mark();
        let mut events = Events::with_capacity(1024);
        let mut arrivals = match self.arrivals() {
            Ok(arrivals) => arrivals,
            Err(cause) => {
                self.shared.fail(format!("io_uring cannot be used any more: {cause}"));
                return Ending::stopped(self.notes);
            }
        };
        let mut deadline = None;
        loop {
            if self.shared.parting() {
                return self.part(&mut arrivals, &mut events);
            }
            if self.shared.stopping() && deadline.is_none() {
                deadline = Some(now() + DRAIN);
                self.lanes.iter_mut().for_each(Lane::end);
            }
            if deadline.is_some_and(|deadline| self.busy == 0 || self.woke >= deadline) {
                break;
            }
            if let Err(cause) = self.dispatch() {
                self.shared.fail(format!("the load's timer cannot be set: {cause}"));
            }
            match &mut arrivals {
                Arrivals::Epoll(buffer) => self.turn(&mut events, buffer),
                Arrivals::Ring(buffers) => self.turn_ring(&mut events, buffers),
            }
            if self.woke - self.notes.marks.last().map_or(0, |mark| mark.at) >= MARK {
                self.mark();
            }
            self.shared.report(self.index, self.completed, self.errors);
        }
        self.woke = now();
        self.mark();
        self.close();
        Ending::stopped(self.notes)
    }

    /// Where what arrives is read to.
    fn arrivals(&mut self) -> io::Result<Arrivals> {
        match &mut self.ring {
            None => Ok(Arrivals::Epoll(vec![0; BUFFER].into_boxed_slice())),
            Some(ring) => ring.begin().map(Arrivals::Ring),
        }
    }

    /// Waits for what is ready, and handles it.
    #[inline]
    fn turn(&mut self, events: &mut Events, buffer: &mut [u8]) {
        if let Err(cause) = self.poll.poll(events, Some(Duration::from_nanos(MARK)))
            && cause.kind() != ErrorKind::Interrupted
        {
            self.shared.fail(format!("epoll_wait fails: {cause}"));
        }
        self.woke = now();
        self.wakes += 1;
        for event in events.iter().filter(|event| event.token() < WAKE) {
            self.ready(event, buffer);
        }
    }

    /// Begins what is due on idle connections, and sets the timer for what is not.
    fn dispatch(&mut self) -> io::Result<()> {
        if !self.sleepers.is_empty() {
            self.wake_sleepers();
        }
        let mut soonest = None;
        let mut at = now_if(self.lanes.iter().any(|lane| !lane.idle.is_empty()));
        for index in 0..self.lanes.len() {
            while let Some(&session) = self.lanes[index].idle.last() {
                let lane = &mut self.lanes[index];
                match lane.next(&self.plan.jobs[lane.job], self.origin, at) {
                    Next::Begin { execution, scheduled } => {
                        lane.idle.pop();
                        self.begin(session, execution, scheduled);
                        at = now();
                    }
                    Next::Wait(due) => {
                        soonest = Some(soonest.map_or(due, |soonest: Nanos| soonest.min(due)));
                        break;
                    }
                    Next::Ended => break,
                }
            }
        }
        if self.busy == 0 && !self.told && self.lanes.iter().all(Lane::has_ended) && !self.shared.stopping() {
            self.told = true;
            self.shared.thread_ended();
        }
        if let Some(Reverse((due, _))) = self.sleepers.peek() {
            soonest = Some(soonest.map_or(*due, |soonest: Nanos| soonest.min(*due)));
        }
        soonest.map_or(Ok(()), |due| self.timer.arm(due))
    }

    fn begin(&mut self, index: usize, execution: u64, scheduled: Option<Nanos>) {
        let session = &mut self.sessions[index];
        (session.execution, session.step, session.busy) = (execution, 0, true);
        self.busy += 1;
        if session.client.is_some() {
            return self.begin_transaction(index, now());
        }
        self.send(index, scheduled);
    }

    #[inline]
    fn ready(&mut self, event: &mio::event::Event, buffer: &mut [u8]) {
        let index = event.token().0;
        let session = &mut self.sessions[index];
        if !session.open {
            return;
        }
        if session.writing && event.is_writable() {
            self.flush(index);
        }
        if event.is_readable() || event.is_error() || event.is_read_closed() {
            self.read(index, buffer, event.is_read_closed());
        }
    }

    /// Reads and handles what has arrived; see the module's head for when it stops.
    #[inline]
    fn read(&mut self, index: usize, buffer: &mut [u8], closed: bool) {
        loop {
            let session = &mut self.sessions[index];
            if !session.open {
                return;
            }
            match session.transport.read(buffer) {
                Ok(0) => return self.lose(index, "the server closed the connection"),
                Ok(length) => {
                    if self.take(index, &buffer[..length]) && !closed {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.lose(index, &error.to_string()),
            }
        }
    }

    /// Scans bytes; true when they ended an answer and nothing follows.
    #[inline]
    fn take(&mut self, index: usize, bytes: &[u8]) -> bool {
        let mut at = 0;
        while at < bytes.len() {
            let session = &mut self.sessions[index];
            let scanned = session.scanner.scan(&bytes[at..], &mut session.answer);
            if session.keeping
                && let (Some(client), Ok(used)) = (&mut session.client, &scanned)
            {
                client.keep(&bytes[at..used.map_or(bytes.len(), |used| at + used)]);
            }
            match scanned {
                Ok(Some(used)) => {
                    at += used;
                    self.finished(index);
                }
                Ok(None) => return false,
                Err(unreadable) => {
                    self.lose(index, &unreadable.to_string());
                    return true;
                }
            }
        }
        true
    }

    /// A ReadyForQuery has arrived: notes the completion and goes on with this session's next request.
    #[inline]
    fn finished(&mut self, index: usize) {
        let end = now();
        let session = &mut self.sessions[index];
        if !session.busy {
            session.answer = Answer::default();
            return;
        }
        if session.client.is_some() {
            return self.finished_in_script(index, end);
        }
        let lane = &mut self.lanes[session.lane];
        let job = &self.plan.jobs[lane.job];
        let rows = session.answer.rows;
        let outcome = if session.answer.error.is_some() {
            self.errors += 1;
            failed(&mut self.notes, &mut session.answer)
        } else {
            self.completed += 1;
            match job.request(session.execution, session.step).expected {
                Some(expected) if expected != rows => Outcome::WrongRows(rows),
                _ => Outcome::Rows(rows),
            }
        };
        session.answer.rows = 0;
        let latency = end.saturating_sub(session.begun);
        self.shared.took(self.index, latency);
        let delay = end.saturating_sub(self.woke) + session.held;
        self.notes.record(Record::new(end, latency, lane.job as u16, delay, outcome));
        if self.plan.client_work > 0 {
            work(self.plan.client_work);
        }
        session.step += 1;
        if session.step < job.steps && !self.shared.stopping() {
            return self.send(index, None);
        }
        match lane.next(job, self.origin, end) {
            Next::Begin { execution, scheduled } => {
                (session.execution, session.step) = (execution, 0);
                self.send(index, scheduled);
            }
            Next::Wait(_) | Next::Ended => {
                session.busy = false;
                self.busy -= 1;
                lane.idle.push(index);
            }
        }
    }

    fn mark(&mut self) {
        self.notes.marks.push(Mark { at: self.woke, cpu: thread_cpu(), wakes: self.wakes });
    }
}

/// Where what arrives is.
pub enum Arrivals {
    /// Each read(2) takes it to here.
    Epoll(Box<[u8]>),
    /// The kernel has it here.
    Ring(Buffers),
}

/// Uses CPU for so many ns, or for fewer where the thread is switched out meanwhile.
fn work(nanos: u64) {
    let end = now() + nanos;
    while now() < end {
        std::hint::spin_loop();
    }
}

/// The time, where somebody will look at it; else 0.
fn now_if(wanted: bool) -> Nanos {
    if wanted { now() } else { 0 }
}

/// The error of an answer as an outcome.
#[cold]
fn failed(notes: &mut Notes, answer: &mut Answer) -> Outcome {
    let (sqlstate, message) = error_fields(&answer.error.take().unwrap_or_default());
    Outcome::Error(notes.error_kind(sqlstate, message))
}
