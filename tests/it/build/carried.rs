//! What carried the queries, built by hand: rows and chains of named stacks. Invariant: a stack's number is that of its
//! sample in the profile, as in a stored run.

use super::frame;
use std::collections::BTreeMap;
use wireprof::carriers::{Carried, EnderKey, Key, Node, NodeKey, State, Sum, Who};
use wireprof::clock::Span;
use wireprof::profile::{Builder, Labels, off_cpu_columns};
use wireprof::run::{Hands, HandsFacts};

/// The only worker task that chains name; its poll function is at this address.
pub const WORKER: Who = Who::Task { poll: 0x1000 };

/// Times in us a query.
pub struct HandsBuilder {
    profile: Builder,
    stacks: BTreeMap<String, u32>,
    carried: Carried,
}

impl HandsBuilder {
    pub fn new(queries: u64) -> Self {
        let carried = Carried { span: Span::new(0, 2_000_000_000), answered: queries, ..Carried::default() };
        HandsBuilder { profile: Builder::new(off_cpu_columns()), stacks: BTreeMap::new(), carried }
    }

    fn nanos(&self, micros: f64) -> u64 {
        (micros * 1e3) as u64 * self.carried.answered
    }

    /// The number of a stack, root first; empty: none.
    fn stack(&mut self, stack: &str) -> Option<u32> {
        if stack.is_empty() {
            return None;
        }
        if let Some(known) = self.stacks.get(stack) {
            return Some(*known);
        }
        let number = self.stacks.len() as u32;
        let frames: Vec<_> = stack.split(';').map(|name| self.profile.frame(frame(name))).collect();
        let (id, labels) = (self.profile.stack(frames), self.profile.labels(Labels::default()));
        self.profile.sample(id, labels, Some(u64::from(number)), vec![1, 1, 0]);
        self.stacks.insert(stack.to_string(), number);
        Some(number)
    }

    /// A part of the time in hand; if it waits: with the chain behind it.
    pub fn part(mut self, state: State, stack: &str, micros: f64, behind: Option<u16>, chain: &[Behind]) -> Self {
        let (stack, nanos) = (self.stack(stack), self.nanos(micros));
        let ended_by = chain.first().map(|first| EnderKey { by: first.by, stack: None });
        let key = Key { state, stack, others: Vec::new(), wait_event: 0, behind, ended_by, handed_over: false };
        self.carried.rows.insert(key, Sum { nanos, times: self.carried.answered });
        self.carried.nanos += nanos;
        if state.is_wait() {
            let by = Who::Task { poll: 0x2000 };
            let key = NodeKey { by, state, stack, wait_event: 0, behind };
            let children = self.nodes(chain);
            self.carried.chains.nodes.push(Node { key, nanos, times: 1, children });
        }
        self
    }

    fn nodes(&mut self, chain: &[Behind]) -> Vec<Node> {
        let mut nodes = Vec::new();
        for behind in chain {
            let (stack, nanos) = (self.stack(behind.stack), self.nanos(behind.micros));
            let key = NodeKey { by: behind.by, state: behind.state, stack, wait_event: 0, behind: behind.port };
            nodes.push(Node { key, nanos, times: 1, children: self.nodes(&behind.next) });
        }
        nodes
    }

    pub fn finish(self) -> Hands {
        let polls = BTreeMap::from([
            (0x1000, "tokio::runtime::task::raw::poll::<app::Worker::run::{{closure}}, S>".to_string()),
            (0x2000, "tokio::runtime::task::raw::poll::<app::session::{{closure}}, S>".to_string()),
        ]);
        let facts = HandsFacts { carried: self.carried, polls, ..HandsFacts::default() };
        Hands { facts, stacks: Some(self.profile.finish()), metrics: None }
    }
}

/// What the one that ended a wait did meanwhile.
#[derive(Clone)]
pub struct Behind {
    pub by: Who,
    pub state: State,
    pub stack: &'static str,
    pub micros: f64,
    pub port: Option<u16>,
    pub next: Vec<Behind>,
}

pub fn behind(by: Who, state: State, stack: &'static str, micros: f64, next: Vec<Behind>) -> Behind {
    Behind { by, state, stack, micros, port: None, next }
}
