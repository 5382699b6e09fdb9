//! What is told of the load's queries while they were in the server's hands, in shapes that can be stored. Invariant:
//! stacks are numbers of the recording's table, never names; times are ns of `CLOCK_MONOTONIC`.

use crate::clock::Span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// In which state a carrier is, or what stands in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// On a CPU; of a task: the thread that polls it is.
    Running,
    /// Ready and without a CPU; of a task: the thread that polls it is.
    Runnable,
    /// Off the CPU until another thread or an interrupt ends it; of a task: the thread that polls it is.
    Blocked,
    /// A task that is not polled, until somebody wakes it.
    Waiting,
    /// A task that was woken and is not polled yet.
    Queued,
    /// An event loop has read the query and not begun the round trip yet that answers it.
    BeforeHop {
        /// Port of the hop behind.
        port: u16,
    },
    /// An event loop has passed the query on and not read the answer yet.
    Behind {
        /// Port of the hop behind.
        port: u16,
    },
    /// Only in chains: it was blocked or waiting already when the wait began that it ended. It waited for work, or for
    /// something that it needed to end the other's wait.
    WaitsAlready,
    /// Only in chains, a leaf: until an interrupt, which is a device, a timer or a packet.
    Outside,
    /// Only in chains, a leaf: the chain has more parts than are followed for one wait.
    NotTold,
    /// Not known: it was not followed, or events are missing.
    Unseen,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Running => "runs on a CPU",
            State::Runnable => "ready, without a CPU",
            State::Blocked => "its thread is blocked",
            State::Waiting => "waits",
            State::Queued => "ready, not polled yet",
            State::BeforeHop { port } => return write!(f, "not passed on yet to port {port}"),
            State::Behind { port } => return write!(f, "behind, at port {port}"),
            State::WaitsAlready => "waits, since before",
            State::Outside => "until an event of the kernel",
            State::NotTold => "not followed further",
            State::Unseen => "not seen",
        })
    }
}

impl State {
    /// It does not go on until somebody ends it.
    pub fn is_asleep(self) -> bool {
        matches!(self, State::Blocked | State::Waiting | State::WaitsAlready)
    }

    /// It does not go on, for whatever reason but the lack of a CPU: chains begin with these.
    pub fn is_wait(self) -> bool {
        matches!(self, State::Blocked | State::Waiting | State::Queued)
    }
}

/// A kind of doer. Threads are not told apart: their stacks tell more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// A thread outside of any task that is followed.
    Thread,
    /// A thread of another process, or of the kernel: what it does is not followed.
    Foreign,
    /// A task.
    Task {
        /// Address of its poll function; 0: not known.
        poll: u64,
    },
    /// An interrupt.
    Interrupt,
    /// Nobody was seen.
    Unknown,
}

/// Who ended a wait, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EnderKey {
    /// Who.
    pub by: Who,
    /// Its stack at that moment; `None`: it was not followed, or it is an interrupt.
    pub stack: Option<u32>,
}

/// What a part of the queries' time has in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// The carrier's state.
    pub state: State,
    /// The stack at which it is blocked or waits, or waited before it became ready; of several wakers that it
    /// registered: the last one's.
    pub stack: Option<u32>,
    /// The stacks of the other wakers that it registered, in that order and each once: it waits for several things.
    pub others: Vec<u32>,
    /// The number of the wait event that the program tells of itself; 0: none.
    pub wait_event: u32,
    /// When it began to wait it had sent on a connection to this port and not read the answer.
    pub behind: Option<u16>,
    /// Who ended the wait; `None`: nobody was seen, or it is no wait.
    pub ended_by: Option<EnderKey>,
    /// The carrier was handed the query by the one that had read it; or, if [`State::Unseen`]: when is not known.
    pub handed_over: bool,
}

/// Time and occurrences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// ns, of all queries.
    pub nanos: u64,
    /// Occurrences: a period counts once for every query that it delays.
    pub times: u64,
}

/// Time before an event loop passes queries on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// ns in [`State::BeforeHop`].
    pub nanos: u64,
    /// Of them, ns in which every connection of the process to that port had a round trip under way: a wait for a free
    /// connection. The others are a wait for the loop.
    pub all_busy: u64,
}

/// What a part of a chain has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeKey {
    /// Whose state it is: of the outermost nodes the carrier's, of others that of who ended the wait above.
    pub by: Who,
    /// The state.
    pub state: State,
    /// The stack at which it is blocked or waits, or waited before it became ready.
    pub stack: Option<u32>,
    /// The number of the wait event that the program tells of itself; 0: none.
    pub wait_event: u32,
    /// As [`Key::behind`].
    pub behind: Option<u16>,
}

/// A part of the chains. The children's ns sum to the node's exactly, where it has children.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// What.
    pub key: NodeKey,
    /// ns of the carriers' waits, of all queries that they delayed.
    pub nanos: u64,
    /// Parts of waits that were merged into it.
    pub times: u64,
    /// What the one that ended the wait did meanwhile, the longest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Node>,
}

/// The chains behind the carriers' waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chains {
    /// The carriers' waits (blocked, waiting, queued), the longest first; their ns sum to `chained_nanos`.
    pub nodes: Vec<Node>,
    /// ns of all waits of the carriers within the span.
    pub nanos: u64,
    /// Waits, cut where the number of queries changed that they delayed.
    pub waits: u64,
    /// ns of the waits whose chain was followed. Nothing is scaled.
    pub chained_nanos: u64,
    /// Waits whose chain was followed, taken evenly from all.
    pub chained: u64,
}

/// What carried the load's queries while they were in the server's hands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// The interval that everything is cut to.
    pub span: Span,
    /// Queries whose answer began within the span.
    pub answered: u64,
    /// ns that queries were in hand within the span, summed over all connections.
    pub nanos: u64,
    /// That time by what the carriers did: it sums to `nanos` exactly. Stored as a list of pairs.
    #[serde(with = "pairs")]
    pub rows: BTreeMap<Key, Sum>,
    /// Sends within the span that went on with an answer that had begun.
    pub pieces: u64,
    /// Answered queries that another one answered than had read them.
    pub handed_over: u64,
    /// Threads that carried a query.
    pub threads: u64,
    /// Tasks that carried a query.
    pub tasks: u64,
    /// Carriers, of them, that had several queries in hand at once: event loops.
    pub loops: u64,
    /// ns in rows of [`State::Unseen`].
    pub unseen: u64,
    /// Of them, ns of queries that nothing is told of since the threads take queries over from each other: a runtime
    /// moves them whose tasks are not followed, so that what a thread does says nothing of one query.
    #[serde(default)]
    pub moved: u64,
    /// Of [`State::BeforeHop`], by port: how long no connection was free.
    pub turns: BTreeMap<u16, Turn>,
    /// The chains behind the waits.
    pub chains: Chains,
    /// Events of the recording that came after later ones; they were put in order.
    pub disordered: u64,
    /// Events of the recording that contradict those before: some are missing in between, and that time is unseen.
    pub contradictions: u64,
    /// Queries of the recording that are left out since their connection was closed before an answer.
    pub abandoned: u64,
}

/// Maps whose keys are no strings, as lists: JSON has no other way.
mod pairs {
    use super::{Key, Sum};
    use serde::{Deserialize, Deserializer, Serializer};
    use std::collections::BTreeMap;

    pub(super) fn serialize<S: Serializer>(rows: &BTreeMap<Key, Sum>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(rows)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Key, Sum>, D::Error> {
        Ok(Vec::<(Key, Sum)>::deserialize(from)?.into_iter().collect())
    }
}
