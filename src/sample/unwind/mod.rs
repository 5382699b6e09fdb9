//! User stacks from registers and a copy of the stack, frame by frame. Invariant: a stack is complete only when
//! call-frame information says that its last address has no caller; names are asked of two functions of Go only.

mod cache;
mod cross_check;
mod go;
mod index;
mod rules;
mod space;
mod table;
#[cfg(test)]
mod template;

pub use cache::Cache;
pub use cross_check::CrossCheck;
pub use rules::{Described, Reading, Rule, Rules, Saved};
pub use space::{KERNEL, Mapping, Modules, Placed, Space, read_mappings};
pub use table::{Table, TableRule};

use super::Incomplete;
use framehop::{FrameAddress, Unwinder};

/// Frames followed at most; deeper stacks are cut and counted as [`Incomplete::TooDeep`].
const MAX_FRAMES: usize = 1024;

/// DWARF register numbers (System V ABI for x86-64, figure 3.36).
const RBP: usize = 6;
const RSP: usize = 7;
const RIP: usize = 16;

/// User registers by DWARF number, 0..=15 general ones, 16 the instruction pointer.
pub type Registers = [u64; 17];

/// A copy of the stack from the stack pointer upwards.
pub struct StackCopy<'a> {
    /// Virtual address of the first byte: the stack pointer.
    pub start: u64,
    /// The bytes from there on.
    pub bytes: &'a [u8],
    /// The copy was cut at its size limit: the stack goes on behind it.
    pub truncated: bool,
}

impl StackCopy<'_> {
    fn read(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        let bytes = self.bytes.get(at..at.checked_add(8)?)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    fn failure(&self, address: u64) -> Incomplete {
        if self.truncated && address >= self.start { Incomplete::CopyTooShort } else { Incomplete::BadRead }
    }
}

/// Scratch memory of the walk.
pub struct Walker {
    context: gimli::UnwindContext<usize>,
    cache: framehop::x86_64::CacheX86_64,
}

impl Default for Walker {
    fn default() -> Self {
        Walker { context: gimli::UnwindContext::new(), cache: framehop::x86_64::CacheX86_64::new() }
    }
}

impl Walker {
    /// Appends the interned addresses of the stack, leaf first; `None` when it is complete.
    pub fn walk(
        &mut self,
        space: &mut Space,
        modules: &mut Modules,
        registers: &Registers,
        stack: &StackCopy,
        out: &mut Vec<u32>,
    ) -> Option<Incomplete> {
        let (mut rsp, mut rbp, mut lookup) = (registers[RSP], registers[RBP], registers[RIP]);
        for depth in 0..MAX_FRAMES {
            let mut step = space.step(lookup, modules, &mut self.context);
            // In sigreturn(2): the system call is the trampoline's last instruction, so the address lies just beyond
            // it.
            if depth == 0 && step.rule == Rule::NoTable {
                let before = space.step(lookup.wrapping_sub(1), modules, &mut self.context);
                step = if before.rule == Rule::Signal { before } else { step };
            }
            out.push(step.address);
            let caller = match step.rule {
                Rule::Root => return None,
                Rule::Signal => Some(interrupted(rsp, stack)),
                Rule::OtherStack { offset, saved } => {
                    // The other stack may lie below this one.
                    Some(follow(rbp.wrapping_add_signed(offset.into()), saved, 0, rbp, stack))
                }
                Rule::Frame { .. } | Rule::Dereference { .. } | Rule::Stub { .. } => {
                    let known = |number: u8| match usize::from(number) {
                        RSP => Some(rsp),
                        RBP => Some(rbp),
                        other if depth == 0 => registers.get(other).copied(),
                        _ => None,
                    };
                    let ip = if depth == 0 { lookup } else { lookup + 1 };
                    cfa(step.rule, known, ip, stack)
                        .map(|cfa| cfa.and_then(|(cfa, saved)| follow(cfa, saved, rsp, rbp, stack)))
                }
                Rule::Unsupported | Rule::NoTable => None,
            };
            let caller = caller.unwrap_or_else(|| self.ask_framehop(space, step.rule, lookup, depth, rsp, rbp, stack));
            let caller = match caller {
                Ok(caller) => caller,
                Err(reason) => return Some(reason),
            };
            if caller.address == 0 {
                return Some(Incomplete::NotARoot);
            }
            (rsp, rbp) = (caller.rsp, caller.rbp);
            // A frame interrupted by a signal was not calling: its address is exact.
            lookup = if caller.exact { caller.address } else { caller.address - 1 };
        }
        Some(Incomplete::TooDeep)
    }

    /// Steps that compact rules do not hold: expressions (PLT stubs), code without tables.
    #[allow(clippy::too_many_arguments, reason = "each is borrowed from another part of the walker's state")]
    fn ask_framehop(
        &mut self,
        space: &mut Space,
        rule: Rule,
        lookup: u64,
        depth: usize,
        rsp: u64,
        rbp: u64,
        stack: &StackCopy,
    ) -> Result<Caller, Incomplete> {
        if !space.covers(lookup) {
            return Err(Incomplete::NoTable);
        }
        if rule == Rule::Unsupported && space.jumps(lookup, &mut self.context) {
            return Err(Incomplete::UnsupportedRule);
        }
        let address = match depth {
            0 => FrameAddress::from_instruction_pointer(lookup),
            _ => FrameAddress::from_return_address(lookup + 1).ok_or(Incomplete::NotARoot)?,
        };
        let mut failed_at = None;
        let mut read = |at: u64| {
            stack.read(at).ok_or_else(|| {
                failed_at = Some(at);
            })
        };
        let mut regs = framehop::x86_64::UnwindRegsX86_64::new(lookup, rsp, rbp);
        let result = space.framehop().unwind_frame(address, &mut regs, &mut self.cache, &mut read);
        match result {
            Ok(Some(address)) => Ok(Caller { address, rsp: regs.sp(), rbp: regs.bp(), exact: false }),
            Ok(None) => Err(Incomplete::NotARoot),
            Err(_) => Err(match (failed_at, rule) {
                (Some(at), _) => stack.failure(at),
                (None, Rule::NoTable) => Incomplete::NoTable,
                (None, _) => Incomplete::BadRead,
            }),
        }
    }
}

struct Caller {
    address: u64,
    rsp: u64,
    rbp: u64,
    exact: bool,
}

/// The canonical frame address by a rule, and where the caller's rbp is; `None`: it begins with a register not known
/// here.
fn cfa(
    rule: Rule,
    known: impl Fn(u8) -> Option<u64>,
    ip: u64,
    stack: &StackCopy,
) -> Option<Result<(u64, Saved), Incomplete>> {
    match rule {
        Rule::Frame { register, offset, saved } => {
            Some(Ok((known(register)?.wrapping_add_signed(offset.into()), saved)))
        }
        Rule::Dereference { register, offset, saved } => {
            let at = known(register)?.wrapping_add_signed(offset.into());
            Some(stack.read(at).map(|cfa| (cfa, saved)).ok_or_else(|| stack.failure(at)))
        }
        Rule::Stub { offset, from } => {
            let pushed = if ip & 15 >= u64::from(from) { 8 } else { 0 };
            Some(Ok((known(RSP as u8)?.wrapping_add_signed(offset.into()).wrapping_add(pushed), Saved::Same)))
        }
        Rule::NoTable | Rule::OtherStack { .. } | Rule::Signal | Rule::Root | Rule::Unsupported => None,
    }
}

/// Steps to the caller. A stack grows down, so a caller's frame on the same one lies strictly above `lowest`, its stack
/// pointer; on another stack it may lie anywhere, and [`MAX_FRAMES`] ends the walk.
fn follow(cfa: u64, saved: Saved, lowest: u64, rbp: u64, stack: &StackCopy) -> Result<Caller, Incomplete> {
    if cfa <= lowest {
        return Err(Incomplete::BadRead);
    }
    let read = |at: u64| stack.read(at).ok_or_else(|| stack.failure(at));
    let address = read(cfa.wrapping_sub(8))?;
    let at = match saved {
        Saved::Same => None,
        Saved::AtCfa(offset) => Some(cfa.wrapping_add_signed(offset.into())),
        Saved::AtFramePointer(offset) => Some(rbp.wrapping_add_signed(offset.into())),
    };
    let rbp = match at {
        None => rbp,
        // Below the stack pointer: already popped by the epilogue, while the table still names the old place.
        Some(at) if at < lowest => rbp,
        Some(at) => read(at)?,
    };
    Ok(Caller { address, rsp: cfa, rbp, exact: false })
}

/// Where a signal interrupted: `struct rt_sigframe` of arch/x86/include/asm/sigframe.h, whose `ucontext` the stack
/// pointer of the trampoline points to; rbp, rsp and rip lie 120, 160 and 168 bytes into it.
fn interrupted(rsp: u64, stack: &StackCopy) -> Result<Caller, Incomplete> {
    let read = |offset: u64| {
        let at = rsp.wrapping_add(offset);
        stack.read(at).ok_or_else(|| stack.failure(at))
    };
    Ok(Caller { rbp: read(120)?, rsp: read(160)?, address: read(168)?, exact: true })
}
