//! Which processes belong to the target: the ones named and, where wanted, all their descendants, born during the
//! recording too. Invariant: membership is decided once a process and follows the kernel's fork records.

use crate::target::parent;
use rustc_hash::FxHashMap;

pub struct Processes {
    children: bool,
    known: FxHashMap<u32, bool>,
}

impl Processes {
    pub fn new(pids: &[u32], children: bool) -> Self {
        Processes { children, known: pids.iter().map(|pid| (*pid, true)).collect() }
    }

    /// Asks `/proc` for the ancestors of a process not met before.
    pub fn is_target(&mut self, pid: u32) -> bool {
        if let Some(&known) = self.known.get(&pid) {
            return known;
        }
        let mut belongs = false;
        let mut at = pid;
        while self.children && at > 1 {
            match self.known.get(&at).copied().or_else(|| parent(at).is_none().then_some(false)) {
                Some(known) => {
                    belongs = known;
                    break;
                }
                None => at = parent(at).unwrap_or(0),
            }
        }
        self.known.insert(pid, belongs);
        belongs
    }

    /// A number that is used again belongs to whoever was born with it.
    pub fn forked(&mut self, pid: u32, parent: u32) {
        let belongs = self.children && self.is_target(parent);
        self.known.insert(pid, belongs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_of_the_target_belongs_to_it_only_where_children_are_wanted() {
        for children in [true, false] {
            let mut processes = Processes::new(&[999_000], children);
            processes.forked(999_001, 999_000);
            processes.forked(999_002, 999_001);
            assert_eq!(processes.is_target(999_002), children);
        }
    }

    #[test]
    fn a_process_number_that_is_used_again_by_a_stranger_no_longer_belongs() {
        let mut processes = Processes::new(&[999_000], true);
        processes.forked(999_001, 999_000);
        processes.forked(999_001, 1);
        assert!(!processes.is_target(999_001));
    }

    #[test]
    fn a_child_born_before_the_recording_is_found_through_its_ancestors() {
        let own = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("5").spawn().unwrap();
        let mut processes = Processes::new(&[own], true);
        assert!(processes.is_target(child.id()));
        assert!(!processes.is_target(1));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
