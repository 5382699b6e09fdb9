//! The kernel's frames as one, by what the kernel was entered for: a system call, an interrupt, a page fault.
//! Invariant: frames of the program and its libraries stay as they are, and weight is conserved exactly.

use super::rebuild::{Rebuild, marker};
use super::{Frame, Profile, Space, StackId};

/// What stands for the kernel's code of which it is not known what it does.
const KERNEL: &str = "[kernel]";

/// Prefixes of the functions that a system call begins with, on each architecture.
const CALLS: [&str; 6] = ["__x64_sys_", "__arm64_sys_", "__se_sys_", "__do_sys_", "__ia32_sys_", "__ia32_compat_sys_"];
/// Other ways in, by the beginnings of their functions' names.
const WAYS_IN: [(&str, &str); 8] = [
    ("asm_exc_page_fault", "page fault"),
    ("exc_page_fault", "page fault"),
    ("do_page_fault", "page fault"),
    ("asm_sysvec_", "interrupt"),
    ("asm_common_interrupt", "interrupt"),
    ("el0_irq", "interrupt"),
    ("el1_irq", "interrupt"),
    ("ret_from_fork", "new thread"),
];

/// How the names of Linux' entry points begin: on x86-64 (arch/x86/entry/entry_64.S, entry_64_fred.S, and
/// include/asm/idtentry.h, whose stubs begin with `asm_`, as functions of any program can) and on arm64
/// (arch/arm64/kernel/entry.S).
const ENTRIES: [&str; 12] = [
    "entry_SYSCALL_",
    "entry_SYSENTER_",
    "asm_exc_",
    "asm_sysvec_",
    "asm_common_interrupt",
    "asm_spurious_interrupt",
    "asm_fred_",
    "asm_int80_emulation",
    "asm_load_gs_index",
    "ret_from_fork",
    "el0t_64_",
    "el1h_64_",
];

/// A function of this name is an entry point of Linux: what it calls is kernel code, whatever its name.
pub fn enters_kernel(name: &str) -> bool {
    ENTRIES.iter().any(|entry| name.starts_with(entry))
}

/// Each run of the kernel's frames as one: `[kernel: sendto]`. The vdso's are one, too.
pub fn group_kernel(profile: &Profile) -> Profile {
    let groups = kernel_groups(profile);
    let mut rebuild = Rebuild::new(profile);
    // Of each node the stack up to the last frame that is kept as it is, and up to the node itself.
    let mut nodes: Vec<Option<StackId>> = Vec::with_capacity(profile.nodes.len());
    let mut bases: Vec<Option<StackId>> = Vec::with_capacity(profile.nodes.len());
    for (at, node) in profile.nodes.iter().enumerate() {
        let parent = node.parent.map(StackId::index);
        let above = parent.and_then(|parent| nodes[parent]);
        match &groups[at] {
            None => {
                nodes.push(Some(rebuild.push(above, node.frame)));
                bases.push(nodes[at]);
            }
            Some(group) => {
                let space = profile.frames[node.frame.index()].space;
                let runs_on = |parent: &usize| {
                    groups[*parent].is_some() && profile.frames[profile.nodes[*parent].frame.index()].space == space
                };
                let base = parent.filter(runs_on).map_or(above, |parent| bases[parent]);
                nodes.push(Some(rebuild.push_made(base, group_frame(group, space))));
                bases.push(base);
            }
        }
    }
    for sample in &profile.samples {
        rebuild.sample(sample, sample.stack.and_then(|stack| nodes[stack.index()]));
    }
    rebuild.finish()
}

/// Of each node what its group is called; `None`: code of the program or its libraries.
pub fn kernel_groups(profile: &Profile) -> Vec<Option<String>> {
    let mut groups: Vec<Option<String>> = Vec::with_capacity(profile.nodes.len());
    for node in &profile.nodes {
        let frame = &profile.frames[node.frame.index()];
        let group = match frame.space {
            Space::User | Space::Marker => None,
            Space::Vdso => Some("[vdso]".to_string()),
            Space::Kernel => {
                let above = node.parent.and_then(|parent| groups[parent.index()].clone());
                let known = above.filter(|group| group.starts_with("[kernel: "));
                known.or_else(|| {
                    Some(entered_for(frame).map_or_else(|| KERNEL.into(), |why| format!("[kernel: {why}]")))
                })
            }
        };
        groups.push(group);
    }
    groups
}

/// The frame of a group.
pub fn group_frame(group: &str, space: Space) -> Frame {
    let module = if space == Space::Vdso { "[vdso]" } else { KERNEL };
    Frame { module: module.into(), space, ..marker(group) }
}

fn entered_for(frame: &Frame) -> Option<&str> {
    let call = CALLS.iter().find_map(|prefix| frame.name.strip_prefix(prefix));
    call.or_else(|| WAYS_IN.iter().find(|(prefix, _)| frame.name.starts_with(prefix)).map(|(_, why)| *why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Builder, Labels, on_cpu_columns};

    fn profile(stacks: &[&str]) -> Profile {
        let mut builder = Builder::new(on_cpu_columns());
        let labels = builder.labels(Labels::default());
        for stack in stacks {
            let frames: Vec<_> = stack
                .split(';')
                .map(|name| {
                    let (space, name) = match name.split_once(':') {
                        Some(("k", name)) => (Space::Kernel, name),
                        Some(("v", name)) => (Space::Vdso, name),
                        _ => (Space::User, name),
                    };
                    builder.frame(Frame { space, ..marker(name) })
                })
                .collect();
            let stack = builder.stack(frames);
            builder.sample(stack, labels, None, vec![1, 10]);
        }
        builder.finish()
    }

    fn paths(profile: &Profile) -> Vec<String> {
        let name = |frame: super::super::FrameId| profile.frames[frame.index()].name.clone();
        let path = |stack| profile.path(stack).into_iter().map(name).collect::<Vec<_>>().join(";");
        profile.samples.iter().map(|sample| path(sample.stack)).collect()
    }

    #[test]
    fn each_run_of_the_kernels_frames_is_one_by_what_it_was_entered_for() {
        let source = profile(&[
            "main;send;k:entry_SYSCALL_64_after_hwframe;k:do_syscall_64;k:__x64_sys_sendto;k:tcp_sendmsg",
            "main;send;k:entry_SYSCALL_64_after_hwframe;k:do_syscall_64",
            "main;send;k:entry_SYSCALL_64_after_hwframe;k:do_syscall_64;k:__x64_sys_sendto;k:asm_sysvec_call;k:handle",
            "main;k:asm_exc_page_fault;k:exc_page_fault;k:handle_mm_fault",
            "main;v:__vdso_clock_gettime;v:do_hres",
            "main;v:__vdso_clock_gettime;k:do_syscall_64;k:__x64_sys_clock_gettime",
            "k:ret_from_fork_asm;k:ret_from_fork",
            "main;work",
        ]);
        let grouped = group_kernel(&source);
        grouped.check().unwrap();
        assert_eq!(
            paths(&grouped),
            [
                "main;send;[kernel: sendto]",
                "main;send;[kernel]",
                "main;send;[kernel: sendto]",
                "main;[kernel: page fault]",
                "main;[vdso]",
                "main;[vdso];[kernel: clock_gettime]",
                "[kernel: new thread]",
                "main;work",
            ]
        );
        assert_eq!(grouped.total(1), source.total(1));
    }
}
