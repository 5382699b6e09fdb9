//! Rules for functions of Go, from the table that every Go program has ([`GoFunctions`]): its linker writes no
//! `.eh_frame`. Invariant: a function whose stack pointer the table does not know has the rule that says so, never one
//! that reads another stack as this one.
//!
//! Go runs goroutines on small stacks of their own, and parts of the runtime, C code and the kernel's vDSO on the
//! thread's. The functions in between set the stack pointer (Go marks them `SPWRITE`), so that what it points to says
//! nothing of the caller. They leave the frame pointer alone: it still leads to the goroutine's stack (Go's
//! `src/runtime/traceback.go` and `src/runtime/tracefpunwind.go`). Where such a function has no frame itself, the frame
//! pointer is its caller's, and that one caller is left out.

use super::rules::{Rule, Saved};
use crate::elf::{GoFunction, GoFunctions};
use std::ops::Range;

/// Bytes of a return address, which the table does not count.
const RETURN: i32 = 8;
/// The frame pointer is saved next to the return address (Go's `src/cmd/internal/obj/x86/obj6.go`).
const SAVED: Saved = Saved::AtCfa(-16);
/// The caller's frame where rbp points to the saved rbp.
const BY_FRAME_POINTER: Rule = Rule::OtherStack { offset: 16, saved: SAVED };
/// They leave the goroutine and never come back to what called them: Go's own profiles end there, too.
const LEAVE: [&str; 2] = ["runtime.mcall", "runtime.morestack"];
/// `push rbp`, `mov rbp, rsp` since Go 1.21; before, `mov [rsp + n], rbp` with a short or a long number.
const PUSH: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];
const STORE_SHORT: [u8; 4] = [0x48, 0x89, 0x6c, 0x24];
const STORE_LONG: [u8; 4] = [0x48, 0x89, 0xac, 0x24];

/// The rows of a function within these addresses: where each begins and its rule. Gives how many bytes were read.
pub(super) fn rows(
    functions: &GoFunctions,
    function: &GoFunction,
    within: &Range<u64>,
    mut row: impl FnMut(u64, Rule),
) -> usize {
    if function.is_first {
        row(within.start, Rule::Root);
        return 0;
    }
    let code = functions.code(function);
    let mut depths = Vec::new();
    let read = functions.depths(function, |addresses, depth| depths.push((addresses, depth)));
    let at = |address: u64| usize::try_from(address - function.addresses.start).unwrap_or(usize::MAX);
    let saved = depths.iter().find_map(|(addresses, depth)| {
        let saved = where_saved(code, at(addresses.start), *depth)?;
        Some((function.addresses.start + saved as u64, *depth))
    });
    let rule = |address: u64, depth: i32| {
        let has_frame = saved.is_some_and(|(from, least)| address >= from && depth >= least);
        match (function.changes_stack, saved) {
            (true, None) if LEAVE.contains(&functions.name(function).unwrap_or_default()) => Rule::Root,
            (true, None) => BY_FRAME_POINTER,
            (true, Some(_)) if has_frame => BY_FRAME_POINTER,
            _ => match depth.checked_add(RETURN).filter(|_| depth >= 0) {
                Some(offset) => Rule::Frame { register: 7, offset, saved: if has_frame { SAVED } else { Saved::Same } },
                None => Rule::Unsupported,
            },
        }
    };
    let mut reached = within.start;
    for (addresses, depth) in depths {
        let middle = saved.map_or(addresses.end, |(from, _)| from.clamp(addresses.start, addresses.end));
        for part in [addresses.start..middle, middle..addresses.end] {
            let part = part.start.max(reached)..part.end.min(within.end);
            if !part.is_empty() {
                row(part.start, rule(part.start, depth));
                reached = part.end;
            }
        }
    }
    if reached < within.end {
        row(reached, Rule::NoTable);
    }
    read
}

/// Whether the frame pointer is saved where the stack pointer has just moved to this depth: the offset in the code from
/// which on it is.
fn where_saved(code: &[u8], at: usize, depth: i32) -> Option<usize> {
    let moved = code.get(at..).filter(|_| depth >= RETURN)?;
    let place = depth - RETURN;
    if depth == RETURN && at.checked_sub(1).is_some_and(|before| code[before..].starts_with(&PUSH)) {
        return Some(at);
    }
    if moved
        .strip_prefix(&STORE_SHORT)
        .and_then(<[u8]>::first)
        .is_some_and(|byte| i32::from(byte.cast_signed()) == place)
    {
        return Some(at + STORE_SHORT.len() + 1);
    }
    let long = moved.strip_prefix(&STORE_LONG)?.first_chunk()?;
    (i32::from_le_bytes(*long) == place).then_some(at + STORE_LONG.len() + 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Image;
    use crate::sample::unwind::template::{Frames, GoDescribed, TEXT, go_executable, go_table};
    use crate::sample::unwind::{Rules, Table, TableRule};
    use std::path::Path;
    use std::sync::Arc;

    /// Frames of Go before 1.21 (16 bytes, saved by a store) and since (saved by a push), and none.
    const OLD: [u8; 9] = [0x48, 0x83, 0xec, 0x18, 0x48, 0x89, 0x6c, 0x24, 0x10];
    const NEW: [u8; 8] = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10];

    fn program(functions: &[GoDescribed], code: &[u8], end: u32) -> Rules {
        let mut frames = Frames::default();
        frames.common(false, (1, 0x78), &[]);
        // Of C: before, over all of it, and behind.
        frames.function(TEXT - 0x20, 0x4000, &[]);
        frames.function(TEXT + 0x1000, 0x40, &[0x0e, 48]);
        let file = go_executable(&frames.header(), &frames.bytes, code, &go_table(functions, end));
        Rules::new(Image::from_bytes(Arc::new(file), Path::new("go")).unwrap())
    }

    fn at(rules: &Rules, offset: u64) -> Rule {
        rules.at(TEXT.wrapping_add(offset), &mut gimli::UnwindContext::new())
    }

    fn by_stack_pointer(offset: i32, saved: Saved) -> Rule {
        Rule::Frame { register: 7, offset, saved }
    }

    #[test]
    fn a_caller_is_found_by_the_depth_and_its_frame_pointer_from_where_it_is_saved() {
        let of = |start, depths| GoDescribed { start, flags: 0, name: "main.f", depths };
        let described =
            [of(0, &[(0, 4), (24, 0x1c)][..]), of(0x20, &[(0, 1), (8, 7), (24, 0x18)]), of(0x40, &[(0, 0x20)])];
        let mut code = vec![0x90; 0x60];
        code[..9].copy_from_slice(&OLD);
        code[0x20..0x28].copy_from_slice(&NEW);
        let rules = program(&described, &code, 0x60);
        for (offset, expected) in [
            (0, by_stack_pointer(8, Saved::Same)),
            (4, by_stack_pointer(32, Saved::Same)),
            (9, by_stack_pointer(32, SAVED)),
            (0x1f, by_stack_pointer(32, SAVED)),
            (0x20, by_stack_pointer(8, Saved::Same)),
            (0x21, by_stack_pointer(16, SAVED)),
            (0x28, by_stack_pointer(32, SAVED)),
            (0x40, by_stack_pointer(8, Saved::Same)),
        ] {
            assert_eq!(at(&rules, offset), expected, "{offset:x}");
        }
    }

    #[test]
    fn what_sets_the_stack_pointer_is_left_by_the_frame_pointer_and_what_begins_or_leaves_has_no_caller() {
        let of = |start, flags, name, depths| GoDescribed { start, flags, name, depths };
        let switching = 2;
        let described = [
            of(0, switching, "runtime.nanotime1", &[(0, 4), (24, 0x1c)][..]),
            of(0x20, switching, "runtime.systemstack", &[(0, 0x20)]),
            of(0x40, switching, "runtime.mcall", &[(0, 0x20)]),
            of(0x60, 1, "runtime.goexit", &[(0, 0x20)]),
        ];
        let rules = program(&described, &OLD, 0x80);
        let expected = [
            (3, by_stack_pointer(8, Saved::Same)),
            (0x10, BY_FRAME_POINTER),
            (0x30, BY_FRAME_POINTER),
            (0x50, Rule::Root),
            (0x70, Rule::Root),
        ];
        expected.iter().for_each(|(offset, rule)| assert_eq!(at(&rules, *offset), *rule, "{offset:x}"));
    }

    #[test]
    fn where_go_lies_its_table_alone_counts_and_elsewhere_the_frame_descriptions_do() {
        let of = |start, depths| GoDescribed { start, flags: 0, name: "main.f", depths };
        // The first one's depths end early.
        let described = [of(0, &[(0, 8)][..]), of(0x20, &[(0, 0x7e0)]), of(0x800, &[(16, 0x40), (40, 0x1000)])];
        let rules = program(&described, &[], 0x1800);
        assert_eq!(at(&rules, 0x10), Rule::NoTable);
        assert!(matches!(rules.at(TEXT - 0x10, &mut gimli::UnwindContext::new()), Rule::Frame { offset: 8, .. }));
        assert_eq!(at(&rules, 0x1010), by_stack_pointer(48, Saved::Same));
        let table = Table::build(&rules);
        let none = TableRule::new(Rule::NoTable);
        for address in TEXT - 0x40..TEXT + 0x4800 {
            let expected = TableRule::new(at(&rules, address.wrapping_sub(TEXT)));
            let found = table.at(address).map(<[u8]>::to_vec);
            assert_eq!(found.unwrap_or_else(|| none.bytes().to_vec()), expected.bytes(), "{address:x}");
        }
        assert!(Table::from_bytes(Arc::new(table.bytes().to_vec())).is_some());
    }
}
