//! Which processes are sampled: the ones named and, where wanted, all their descendants, born during the
//! recording too. Invariant: membership is decided once a process and follows the kernel's fork records.

use super::Sampled;
use crate::target::parent;
use rustc_hash::FxHashMap;

pub struct Processes {
    /// `None`: not sampled.
    known: FxHashMap<u32, Option<Sampled>>,
}

impl Processes {
    pub fn new(sampled: &[Sampled]) -> Self {
        Processes { known: sampled.iter().map(|named| (named.pid, Some(*named))).collect() }
    }

    pub fn is_sampled(&mut self, pid: u32) -> bool {
        self.named(pid).is_some()
    }

    /// The process named that this one is, or descends from; asks `/proc` for the ancestors of a process not met
    /// before.
    pub fn named(&mut self, pid: u32) -> Option<Sampled> {
        if let Some(&known) = self.known.get(&pid) {
            return known;
        }
        let mut ancestors = std::iter::successors(parent(pid), |at| parent(*at)).take_while(|at| *at > 0);
        let nearest = ancestors.find_map(|at| self.known.get(&at).copied());
        let named = nearest.flatten().filter(|named| named.children);
        self.known.insert(pid, named);
        named
    }

    /// A number that is used again belongs to whoever was born with it.
    pub fn forked(&mut self, pid: u32, parent: u32) {
        let named = self.named(parent).filter(|named| named.children);
        self.known.insert(pid, named);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_of_the_target_belongs_to_it_only_where_children_are_wanted() {
        for children in [true, false] {
            let mut processes = Processes::new(&[Sampled { pid: 999_000, children }]);
            processes.forked(999_001, 999_000);
            processes.forked(999_002, 999_001);
            assert_eq!(processes.is_sampled(999_002), children);
        }
    }

    #[test]
    fn each_process_named_says_for_itself_whether_its_children_are_sampled() {
        let mut processes = Processes::new(&[Sampled::alone(999_000), Sampled::family(999_100)]);
        processes.forked(999_001, 999_000);
        processes.forked(999_101, 999_100);
        assert_eq!((processes.named(999_001), processes.named(999_101)), (None, Some(Sampled::family(999_100))));
    }

    #[test]
    fn a_process_number_that_is_used_again_by_a_stranger_no_longer_belongs() {
        let mut processes = Processes::new(&[Sampled::family(999_000)]);
        processes.forked(999_001, 999_000);
        processes.forked(999_001, 1);
        assert!(!processes.is_sampled(999_001));
    }

    #[test]
    fn a_child_born_before_the_recording_is_found_through_its_ancestors() {
        let own = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("5").spawn().unwrap();
        let mut processes = Processes::new(&[Sampled::family(own)]);
        assert!(processes.is_sampled(child.id()));
        assert!(!processes.is_sampled(1));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
