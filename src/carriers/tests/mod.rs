//! Recordings that are written down event by event, and what is told of them as text. Invariant: whatever the events
//! are, the sums hold; `Story::carried` checks them each time.

mod chains;
mod disorder;
mod pooler;
mod random;
mod tasks;
mod threads;

use super::{Carried, EnderKey, Key, Node, State, Sum, Turn, Who, replay};
use crate::clock::{Nanos, Span};
use crate::sample::{FollowedEvent, Happened, RawFollowed, Socket, Task};

/// The load's clients connect to it.
const QUERY: u16 = 6_875;
/// The database behind.
const DATABASE: u16 = 5_432;

/// The server's end of a client's connection.
fn client(number: u16) -> Socket {
    Socket { id: 1_000 + u64::from(number), own: QUERY, other: 40_000 + number }
}

/// The server's end of one of its connections to the database.
fn database(number: u16) -> Socket {
    Socket { id: 2_000 + u64::from(number), own: 50_000 + number, other: DATABASE }
}

/// A task whose poll function lies at its number, as it does itself.
fn task(number: u64) -> Task {
    Task { id: number, poll: number }
}

/// A recording.
#[derive(Default)]
struct Story {
    raw: RawFollowed,
}

impl Story {
    fn add(&mut self, at: Nanos, thread: u32, happened: Happened) -> &mut Self {
        let process = if happened == Happened::Gets { 0 } else { 1 };
        self.raw.events.push(FollowedEvent { at, thread, process, happened });
        self
    }

    fn gets(&mut self, at: Nanos, thread: u32) -> &mut Self {
        self.add(at, thread, Happened::Gets)
    }

    fn blocks(&mut self, at: Nanos, thread: u32, stack: u32) -> &mut Self {
        self.add(at, thread, Happened::Leaves { preempted: false, stack: Some(stack), wait_event: 0 })
    }

    fn is_preempted(&mut self, at: Nanos, thread: u32) -> &mut Self {
        self.add(at, thread, Happened::Leaves { preempted: true, stack: None, wait_event: 0 })
    }

    /// One thread wakes another one.
    fn wakes(&mut self, at: Nanos, by: u32, thread: u32, stack: u32) -> &mut Self {
        self.add(at, by, Happened::Wakes { thread, stack: Some(stack), interrupt: false })
    }

    /// An interrupt, on an idle CPU, wakes a thread.
    fn interrupt_wakes(&mut self, at: Nanos, thread: u32) -> &mut Self {
        self.add(at, 0, Happened::Wakes { thread, stack: None, interrupt: true })
    }

    fn reads(&mut self, at: Nanos, thread: u32, socket: Socket) -> &mut Self {
        self.add(at, thread, Happened::Reads(socket))
    }

    fn sends(&mut self, at: Nanos, thread: u32, socket: Socket) -> &mut Self {
        self.add(at, thread, Happened::Sends(socket))
    }

    fn polls(&mut self, at: Nanos, thread: u32, polled: u64) -> &mut Self {
        self.add(at, thread, Happened::Polls(task(polled)))
    }

    fn polled(&mut self, at: Nanos, thread: u32) -> &mut Self {
        self.add(at, thread, Happened::Polled)
    }

    fn registers(&mut self, at: Nanos, thread: u32, polled: u64, stack: u32) -> &mut Self {
        self.add(at, thread, Happened::Registers(task(polled), Some(stack)))
    }

    fn registers_within(&mut self, at: Nanos, thread: u32, future: u64, stack: u32) -> &mut Self {
        self.add(at, thread, Happened::RegistersWithin(future, Some(stack)))
    }

    fn wakes_within(&mut self, at: Nanos, thread: u32, future: u64) -> &mut Self {
        self.add(at, thread, Happened::WakesWithin(future))
    }

    fn wakes_task(&mut self, at: Nanos, thread: u32, woken: u64, stack: u32) -> &mut Self {
        self.add(at, thread, Happened::WakesTask(task(woken), Some(stack)))
    }

    /// What carried the queries, whose sums hold.
    fn carried(&self, start: Nanos, end: Nanos) -> Carried {
        let carried = replay(&self.raw, QUERY, Span::new(start, end));
        assert_sums(&carried);
        carried
    }
}

/// Every row is part of the whole, every child part of its node, and what is stored is what was told.
fn assert_sums(carried: &Carried) {
    assert_eq!(carried.rows.values().map(|sum| sum.nanos).sum::<u64>(), carried.nanos, "the rows sum to the whole");
    let waits = carried.rows.iter().filter(|(key, _)| key.state.is_wait());
    assert_eq!(waits.map(|(_, sum)| sum.nanos).sum::<u64>(), carried.chains.nanos, "chains begin with the waits");
    assert_children(&carried.chains.nodes, carried.chains.chained_nanos);
    for (port, turn) in &carried.turns {
        let before = carried.rows.iter().filter(|(key, _)| key.state == State::BeforeHop { port: *port });
        assert_eq!(before.map(|(_, sum)| sum.nanos).sum::<u64>(), turn.nanos);
        assert!(turn.all_busy <= turn.nanos, "{turn:?}");
    }
    let stored = serde_json::to_string(carried).unwrap();
    assert_eq!(&serde_json::from_str::<Carried>(&stored).unwrap(), carried);
}

fn assert_children(nodes: &[Node], whole: u64) {
    assert_eq!(nodes.iter().map(|node| node.nanos).sum::<u64>(), whole, "{nodes:?}");
    for node in nodes.iter().filter(|node| !node.children.is_empty()) {
        assert_children(&node.children, node.nanos);
    }
}

fn who(who: Who) -> String {
    match who {
        Who::Thread => "thread".into(),
        Who::Foreign => "foreign".into(),
        Who::Task { poll } => format!("task {poll}"),
        Who::Interrupt => "interrupt".into(),
        Who::Unknown => "nobody".into(),
    }
}

fn at(stack: Option<u32>) -> String {
    stack.map_or(String::new(), |stack| format!(" at {stack}"))
}

fn behind(port: Option<u16>) -> String {
    port.map_or(String::new(), |port| format!(" behind {port}"))
}

fn state(state: State) -> String {
    format!("{state:?}").to_lowercase()
}

fn row((key, sum): (&Key, &Sum)) -> String {
    let others: String = key.others.iter().map(|other| format!(" or {other}")).collect();
    let event = if key.wait_event == 0 { String::new() } else { format!(" event {}", key.wait_event) };
    let ended = |ender: EnderKey| format!(", ended by {}{}", who(ender.by), at(ender.stack));
    let handed = if key.handed_over { ", handed over" } else { "" };
    let ended = key.ended_by.map_or(String::new(), ended);
    let what = format!("{}{}{others}{event}{}", state(key.state), at(key.stack), behind(key.behind));
    format!("{what}{ended}{handed}: {} in {}", sum.nanos, sum.times)
}

/// A line for each row, by the order of states.
fn rows(carried: &Carried) -> Vec<String> {
    carried.rows.iter().map(row).collect()
}

/// A line for each node, indented by its depth.
fn tree(nodes: &[Node]) -> Vec<String> {
    let mut lines = Vec::new();
    for node in nodes {
        let key = &node.key;
        let what = format!("{} {}{}{}", who(key.by), state(key.state), at(key.stack), behind(key.behind));
        lines.push(format!("{what}: {} in {}", node.nanos, node.times));
        lines.extend(tree(&node.children).into_iter().map(|line| format!("  {line}")));
    }
    lines
}
