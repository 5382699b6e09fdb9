//! What carries the queries, as events of the kernel in order of time: threads that leave a CPU, are woken and get one;
//! sockets that are read and sent on; async tasks that are polled, register a waker and are woken. Invariant: nothing
//! is judged here; events that found no room are counted, and an event's stack is absent rather than another one's.

use crate::clock::{Nanos, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// The thread leaves its CPU.
    Leaves {
        /// It would have run on: it is runnable from here on, and has no stack. Else it waits to be woken.
        preempted: bool,
        /// At which stack: an index into [`super::RawSamples::stacks`].
        stack: Option<u32>,
        /// The number of the wait event that the program tells of itself; 0: none.
        wait_event: u32,
    },
    /// The thread gets a CPU.
    Gets,
    /// The thread wakes another one of the target, which becomes runnable.
    Wakes {
        /// Who is woken.
        thread: u32,
        /// At which stack of the waker; `None` in an interrupt.
        stack: Option<u32>,
        /// An interrupt wakes; the thread of the event is the one that it interrupted.
        interrupt: bool,
    },
    /// The thread has read something from a socket.
    Reads(Socket),
    /// The thread sends something on a socket.
    Sends(Socket),
    /// The thread begins to poll a task.
    Polls(Task),
    /// The thread ends the poll that it began last.
    Polled,
    /// While it is polled, a task registers a waker: with this stack it is about to wait. There can be several in one
    /// poll. The task is not always the one that is being polled.
    Registers(Task, Option<u32>),
    /// The thread wakes a task, at this stack.
    WakesTask(Task, Option<u32>),
    /// One of several futures within the task that is polled registers a waker of its own, which has this address,
    /// with this stack.
    RegistersWithin(u64, Option<u32>),
    /// The waker of such a future is called; its task is woken by it, if it is not awake.
    WakesWithin(u64),
}

/// A TCP socket of the target, or its end of a connection over the load's Unix socket: that has the port that was given
/// for it, and as the other port a number that tells clients apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Socket {
    /// The kernel's address of it: two sockets of one time differ in it.
    pub id: u64,
    /// Its own port.
    pub own: u16,
    /// The port of the other end.
    pub other: u16,
}

/// An async task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Task {
    /// The address of its header: two tasks of one time differ in it.
    pub id: u64,
    /// The address of its poll function, which tells its type; 0: not known.
    pub poll: u64,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowedEvent {
    /// When, ns of `CLOCK_MONOTONIC`.
    pub at: Nanos,
    /// On which thread.
    pub thread: u32,
    /// Its process; 0: the kernel did not tell ([`Happened::Gets`]).
    pub process: u32,
    /// What.
    pub happened: Happened,
}

/// What is followed, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FollowOptions {
    /// Async tasks too, by probes at the functions of their runtime.
    pub tasks: bool,
    /// Where the target keeps the pointer to the number of its wait event, in its memory; `None`: it does not.
    pub wait_event_at: Option<u64>,
    /// The Unix socket of the load by its name (`wire::name_words`), with the port that its connections are told by;
    /// `None`: the load goes over TCP.
    pub unix_socket: Option<(u16, [u64; 14])>,
}

/// The events of an interval, and what following them took.
#[derive(Clone, Debug, Default)]
pub struct RawFollowed {
    /// In order of time.
    pub events: Vec<FollowedEvent>,
    /// Tasks' poll functions that were probed, with the symbol's name as it stands in the symbol table. Tasks of other
    /// types have no [`Happened::Polls`].
    pub polls: Vec<(u64, String)>,
    /// TCP ports that are listened on where the target runs: a socket with another port of its own is one that the
    /// target connected. Empty: not known.
    pub listening: BTreeSet<u16>,
    /// Where it came from and what it took.
    pub report: FollowingReport,
}

/// Provenance, losses and cost of following what carries the queries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FollowingReport {
    /// From when to when events were sent.
    pub span: Span,
    /// Events.
    pub events: u64,
    /// Events that found no room.
    pub lost: u64,
    /// Stacks that were not followed since there was no room for them.
    pub stacks_lost: u64,
    /// Times that a probe was hit.
    pub hits: u64,
    /// ns that a hit takes, its trap included: measured at a function of wireprof's own before. `None`: no probes.
    pub hit_cost: Option<u64>,
    /// ns in the probes' programs.
    pub hit_programs: u64,
    /// Stacks that were followed; at the other events they were known by their place.
    #[serde(default)]
    pub walks: u64,
    /// ns that following stacks took.
    pub walk_cpu: u64,
    /// How many of the target's poll functions were probed, and how many it has; `None`: tasks were not followed.
    pub polls: Option<(u64, u64)>,
    /// Why tasks were not followed; `None`: they were.
    pub no_tasks: Option<String>,
    /// What else is to be known.
    pub notes: Vec<String>,
}
