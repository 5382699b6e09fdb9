//! Checks walked stacks by others' walks of the same sample: `framehop` over the same copy of the stack, and the
//! kernel's walk along frame pointers, which holds within programs that were built with them. Off but for measuring
//! how far the walker can be trusted. Invariant: a cross-check never changes a sample.

use super::unwind::{CrossCheck, Modules, Registers, Space, StackCopy};

/// How often a cross-check came to the same stack, over the complete ones. Counts of stacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Stacks that both walks found alike.
    pub same: u64,
    /// Frame pointers only: the same but for one of the first two of the program's frames. A walk along frame pointers
    /// passes over the caller of a leaf that has not set up its frame, or has none (libc).
    pub but_for_a_caller: u64,
    /// Stacks that the walks found different.
    pub different: u64,
    /// The cross-check could not follow the stack to its end; frame pointers: fewer than three of the program's
    /// frames come before a library's.
    pub gave_up: u64,
    /// Up to ten differing pairs, ours first, addresses within their modules, leaf first.
    pub examples: Vec<[Vec<u64>; 2]>,
}

impl Agreement {
    fn differs(&mut self, ours: &[u32], theirs: &[u32], modules: &Modules) {
        self.different += 1;
        let place = |ids: &[u32]| ids.iter().map(|id| modules.address_list[*id as usize].at).collect();
        if self.examples.len() < 10 {
            self.examples.push([place(ours), place(theirs)]);
        }
    }
}

/// What both cross-checks found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Of framehop, over the same copy of the stack.
    pub framehop: Agreement,
    /// Of the kernel's walk along frame pointers.
    pub frame_pointers: Agreement,
}

#[derive(Default)]
pub struct CrossChecks {
    pub findings: Findings,
    walker: CrossCheck,
}

impl CrossChecks {
    /// Judges a complete stack: `ours` are its interned user addresses, leaf first; `pointers` what the kernel found
    /// along frame pointers, where it was asked.
    pub fn judge(
        &mut self,
        (space, modules): (&mut Space, &mut Modules),
        (registers, stack): (&Registers, &StackCopy),
        pointers: Option<impl Iterator<Item = u64>>,
        ours: &[u32],
    ) {
        let theirs = self.walker.walk(space, registers, stack);
        match theirs.map(|theirs| self.interned(space, modules, theirs.into_iter())) {
            Some(theirs) if theirs == ours => self.findings.framehop.same += 1,
            Some(theirs) => self.findings.framehop.differs(ours, &theirs, modules),
            None => self.findings.framehop.gave_up += 1,
        }
        let Some(pointers) = pointers else { return };
        let theirs = self.interned(space, modules, pointers);
        let program = space.program();
        let within = |id: &&u32| modules.address_list[**id as usize].module == program;
        // Beyond the first frame of a library, which has no frame pointers, the register can hold anything.
        let ours: Vec<u32> = ours.iter().take_while(within).copied().collect();
        let found = &mut self.findings.frame_pointers;
        match ours.len() {
            0..3 => found.gave_up += 1,
            _ if theirs.starts_with(&ours) => found.same += 1,
            _ if (0..2).any(|at| theirs.starts_with(&[&ours[..at], &ours[at + 1..]].concat())) => {
                found.but_for_a_caller += 1;
            }
            _ => found.differs(&ours, &theirs, modules),
        }
    }

    /// Addresses in the form that the walker gives: return addresses moved into their call.
    fn interned(&mut self, space: &mut Space, modules: &mut Modules, found: impl Iterator<Item = u64>) -> Vec<u32> {
        let lookup = |(depth, address): (usize, u64)| if depth == 0 { address } else { address.wrapping_sub(1) };
        found.enumerate().map(|at| space.address(lookup(at), modules)).collect()
    }
}
