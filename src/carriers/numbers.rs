//! The stacks that a result names, and giving them other numbers. Invariant: every number that stands for a stack is
//! seen by both.

use super::{Carried, EnderKey, Key, Node};
use std::collections::BTreeSet;

impl Carried {
    /// The stacks that are named anywhere, each once, in ascending order.
    pub fn stacks(&self) -> impl Iterator<Item = u32> {
        let mut found = BTreeSet::new();
        for key in self.rows.keys() {
            found.extend(key.stack);
            found.extend(&key.others);
            found.extend(key.ended_by.and_then(|ender| ender.stack));
        }
        let mut nodes: Vec<&Node> = self.chains.nodes.iter().collect();
        while let Some(node) = nodes.pop() {
            found.extend(node.key.stack);
            nodes.extend(&node.children);
        }
        found.into_iter()
    }

    /// Gives each stack the number that `number` says.
    pub fn renumber(&mut self, number: &dyn Fn(u32) -> u32) {
        let rows = std::mem::take(&mut self.rows);
        for (key, sum) in rows {
            let key = Key {
                stack: key.stack.map(number),
                others: key.others.into_iter().map(number).collect(),
                ended_by: key.ended_by.map(|ender| EnderKey { stack: ender.stack.map(number), ..ender }),
                ..key
            };
            // Two stacks may have become one.
            let known = self.rows.entry(key).or_default();
            known.nanos += sum.nanos;
            known.times += sum.times;
        }
        let mut nodes: Vec<&mut Node> = self.chains.nodes.iter_mut().collect();
        while let Some(node) = nodes.pop() {
            node.key.stack = node.key.stack.map(number);
            nodes.extend(&mut node.children);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Chains, NodeKey, State, Sum, Who};
    use super::*;

    fn key(stack: u32) -> Key {
        let ended_by = Some(EnderKey { by: Who::Thread, stack: Some(7) });
        let (others, wait_event) = (vec![3], 0);
        Key {
            state: State::Waiting,
            stack: Some(stack),
            others,
            wait_event,
            behind: None,
            ended_by,
            handed_over: false,
        }
    }

    fn node(stack: u32, children: Vec<Node>) -> Node {
        let (by, state) = (Who::Thread, State::Blocked);
        let key = NodeKey { by, state, stack: Some(stack), wait_event: 0, behind: None };
        Node { key, nanos: 1, times: 1, children }
    }

    #[test]
    fn every_stack_is_named_and_gets_its_new_number() {
        let mut carried = Carried { chains: Chains::default(), ..Carried::default() };
        carried.rows.insert(key(1), Sum { nanos: 10, times: 1 });
        carried.rows.insert(key(2), Sum { nanos: 5, times: 2 });
        carried.chains.nodes = vec![node(1, vec![node(9, Vec::new())])];
        assert_eq!(carried.stacks().collect::<Vec<_>>(), [1, 2, 3, 7, 9]);
        carried.renumber(&|stack| if stack < 3 { 0 } else { stack + 10 });
        assert_eq!(carried.stacks().collect::<Vec<_>>(), [0, 13, 17, 19]);
        assert_eq!(carried.rows.values().map(|sum| (sum.nanos, sum.times)).collect::<Vec<_>>(), [(15, 3)]);
    }
}
