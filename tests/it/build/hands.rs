//! What carried queries, built by hand.

use super::frame;
use wireprof::carriers::{Carried, Chains, EnderKey, Key, Node, NodeKey, State, Sum, Who};
use wireprof::clock::Span;
use wireprof::profile::{Builder, Labels, Profile, carried_columns};
use wireprof::run::{AtSockets, Hands, HandsFacts};
use wireprof::sample::FollowingReport;

/// The state of a carrier, with the number of the stack at which it waits and who ended that, at which stack.
pub fn key(state: State, stack: Option<u32>, ended_by: Option<(Who, u32)>) -> Key {
    let ended_by = ended_by.map(|(by, stack)| EnderKey { by, stack: Some(stack) });
    Key { state, stack, others: vec![], wait_event: 0, behind: None, ended_by, handed_over: false }
}

/// A part of a chain.
pub fn node(by: Who, state: State, stack: Option<u32>, nanos: u64, children: Vec<Node>) -> Node {
    Node { key: NodeKey { by, state, stack, wait_event: 0, behind: None }, nanos, times: 1, children }
}

/// Stacks by number, root first, separated by `;`, as [`super::frame`] names frames. Nothing is weighed.
pub fn stacks(names: &[&str]) -> Profile {
    let mut builder = Builder::new(carried_columns());
    let labels = builder.labels(Labels { state: "in hand".into(), complete: Some(true), ..Labels::default() });
    for (number, stack) in names.iter().enumerate() {
        let frames: Vec<_> = stack.split(';').map(|name| builder.frame(frame(name))).collect();
        let stack = builder.stack(frames);
        builder.sample(stack, labels, Some(number as u64), vec![0, 0]);
    }
    builder.finish()
}

/// `answered` queries of one second, of which each row has so much, once a query; the sockets saw the same.
pub fn hands(names: &[&str], answered: u64, rows: Vec<(Key, u64)>, nodes: Vec<Node>) -> Hands {
    let span = Span::new(7_000_000_000, 8_000_000_000);
    let nanos = rows.iter().map(|(_, nanos)| nanos).sum();
    let chained: u64 = nodes.iter().map(|node| node.nanos).sum();
    let chains = Chains { nodes, nanos: chained, chained_nanos: chained, ..Chains::default() };
    let rows = rows.into_iter().map(|(key, nanos)| (key, Sum { nanos, times: answered })).collect();
    let facts = HandsFacts {
        report: FollowingReport { span, events: 10_000, ..FollowingReport::default() },
        carried: Carried { span, answered, nanos, rows, chains, tasks: 4, ..Carried::default() },
        at_sockets: Some(AtSockets { nanos, queries: answered, span: span.nanos() }),
        complete: Some(1.0),
        ended: Some(1.0),
        ..HandsFacts::default()
    };
    Hands { facts, stacks: Some(stacks(names)), metrics: None }
}
