//! framehop's walk of a whole stack, to hold the walker's against. Invariant: nothing of the walker's own rules is
//! used.

use super::{RBP, RIP, RSP, Registers, Space, StackCopy};
use framehop::{FrameAddress, Unwinder};

/// Scratch memory of framehop's walk.
#[derive(Default)]
pub struct CrossCheck {
    cache: framehop::x86_64::CacheX86_64,
}

impl CrossCheck {
    /// Addresses leaf first, as they stand in the stack; `None` where framehop meets something it cannot follow.
    pub fn walk(&mut self, space: &mut Space, registers: &Registers, stack: &StackCopy) -> Option<Vec<u64>> {
        let mut regs = framehop::x86_64::UnwindRegsX86_64::new(registers[RIP], registers[RSP], registers[RBP]);
        let mut address = FrameAddress::from_instruction_pointer(registers[RIP]);
        let mut found = vec![registers[RIP]];
        let mut read = |at: u64| stack.read(at).ok_or(());
        let mut context = gimli::UnwindContext::new();
        while found.len() < super::MAX_FRAMES {
            if space.jumps(address.address_for_lookup(), &mut context) {
                return None;
            }
            match space.framehop().unwind_frame(address, &mut regs, &mut self.cache, &mut read) {
                Ok(Some(caller)) => {
                    found.push(caller);
                    address = FrameAddress::from_return_address(caller)?;
                }
                Ok(None) => return Some(found),
                Err(_) => return None,
            }
        }
        None
    }
}
