/* SPDX-License-Identifier: (GPL-2.0-only OR MIT OR Apache-2.0) */
/* On-CPU samples: a clock on every CPU, each tick given to the thread that ran when it was due, with its kernel and
 * user stack. Invariant: every tick is counted once: as a sample, for somebody else, or as lost.
 *
 * A timer's interrupt can come late (interrupts were off, or a hypervisor delivered it when it saw fit); by then
 * another thread may run. A thread that gives up the CPU by itself would never be charged for its last microseconds. So
 * a tick that is overdue when a thread is switched out is taken there, and its interrupt, when it comes, is passed
 * over.
 *
 * Shapes are mirrored in src/sample/ebpf/shapes.rs. */
#include "follow.h"

/* How exactly a clock's start is known, twice over: an interrupt can seem to come early by this much. */
#define SLACK 50000

/* The clock of a CPU, written by user space once it runs. `period` 0: not known, each interrupt is taken as it comes.
 * */
struct clock {
    u64 start;
    u64 period;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, struct clock);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
} clocks SEC(".maps");

/* Takes the current task's stack as a sample. `late`: it is being switched out. */
INLINE void take(void *context, const struct target *target, struct cpu *cpu, u32 number, u64 now, u64 weight,
                 int in_kernel, int late) {
    u32 own = number * 2 + late;
    struct scratch *scratch = bpf_map_lookup_elem(&scratches, &own);
    if (!scratch)
        return;
    scratch->sample.kind = SAMPLE;
    scratch->sample.time = now;
    scratch->sample.weight = weight;
    scratch->sample.late = late;
    u32 words = take_stack(context, target, scratch, in_kernel);
    if (!send_stack(context, scratch, cpu, number, words))
        cpu->lost++;
    cpu->spent += bpf_ktime_get_ns() - now;
}

SEC("perf_event")
int on_tick(struct bpf_perf_event_data *context) {
    u64 now = bpf_ktime_get_ns(), ticks = 1, weight = context->sample_period;
    u32 number = bpf_get_smp_processor_id();
    struct cpu *cpu = bpf_map_lookup_elem(&cpus, &number);
    struct clock *clock = bpf_map_lookup_elem(&clocks, &number);
    if (!cpu || !clock)
        return 0;
    if (clock->period) {
        u64 tick = (now + SLACK - clock->start) / clock->period;
        if (cpu->served && tick <= cpu->served)
            return 0;
        /* Ticks that never came since the last switch were due to this thread too. */
        if (cpu->served)
            ticks = tick - cpu->served;
        cpu->served = tick;
        u64 due = clock->start + tick * clock->period;
        cpu->due = due + clock->period;
        weight = ticks * clock->period;
        if (ticks == 1) {
            cpu->delay_sum += now > due ? now - due : 0;
            cpu->delays++;
        }
    }
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    if (!pid)
        return 0;
    const struct target *target = find_target(pid);
    if (target)
        take(context, target, cpu, number, now, weight, !(context->regs.cs & 3), 0);
    else
        cpu->foreign += ticks;
    return 0;
}

/* The target's thread of this number, entered where it is a new one. */
INLINE struct thread *enter_thread(struct cpu *cpu, u32 tid, u32 pid) {
    struct thread *thread = find_thread(tid, pid);
    if (thread || !find_target(pid))
        return thread;
    enter(cpu, tid, pid);
    return find_thread(tid, pid);
}

/* An overdue tick of the thread that is being switched out. A function of its own, so that its stack is not also the
 * switch's when waits are followed. */
static __attribute__((noinline)) int take_late(void *context, const struct target *target, struct cpu *cpu, u64 now,
                                               u64 weight) {
    take(context, target, cpu, bpf_get_smp_processor_id(), now, weight, 1, 1);
    return 0;
}

SEC("tp_btf/sched_switch")
int on_switch(u64 *context) {
    struct task_struct *previous = (void *)context[1], *next = (void *)context[2];
    u64 now = bpf_ktime_get_ns();
    u32 number = bpf_get_smp_processor_id();
    struct cpu *cpu = bpf_map_lookup_elem(&cpus, &number);
    if (!cpu)
        return 0;
    u32 tid = previous->pid, pid = previous->tgid;
    struct thread *leaving = tid ? enter_thread(cpu, tid, pid) : 0;
    if (leaving && tid == cpu->slice_thread)
        leaving->on_cpu += now - cpu->slice_start;
    cpu->slice_start = now;
    cpu->slice_thread = next->pid;
    struct window *window = with_waits ? find_window() : 0;
    if (window && window->follow) {
        struct thread *arriving = cpu->slice_thread ? find_thread(cpu->slice_thread, next->tgid) : 0;
        if (arriving && arriving->since)
            arrive(arriving, window, cpu, now);
        if (leaving)
            leave(context, leaving, cpu, number, now);
    }
    if (!cpu->served || now < cpu->due)
        return 0;
    struct clock *clock = bpf_map_lookup_elem(&clocks, &number);
    if (!clock || !clock->period)
        return 0;
    u64 tick = (now - clock->start) / clock->period, ticks = tick - cpu->served;
    cpu->served = tick;
    cpu->due = clock->start + (tick + 1) * clock->period;
    if (!tid)
        return 0;
    const struct target *target = find_target(pid);
    if (target)
        take_late(context, target, cpu, now, ticks * clock->period);
    else
        cpu->foreign += ticks;
    return 0;
}

/* A process is born: it runs in a copy of its parent's mappings. A number that is used again belongs to whoever was
 * born with it. */
SEC("tp_btf/sched_process_fork")
int on_fork(u64 *context) {
    struct task_struct *parent = (void *)context[0], *child = (void *)context[1];
    u32 from = parent->tgid, pid = child->tgid;
    if (from == pid)
        return 0;
    const struct target *parents = find_target(from);
    if (!parents || !parents->children) {
        bpf_map_delete_elem(&targets, &pid);
        return 0;
    }
    struct target inherited = *parents;
    if (bpf_map_update_elem(&targets, &pid, &inherited, BPF_ANY)) {
        u32 number = bpf_get_smp_processor_id();
        struct cpu *cpu = bpf_map_lookup_elem(&cpus, &number);
        if (cpu)
            cpu->processes_lost++;
    }
    return 0;
}

/* A task is given back by the kernel, a process's first one only after all its threads: its number is free, and its
 * entry makes room. */
SEC("tp_btf/sched_process_free")
int on_end(u64 *context) {
    struct task_struct *task = (void *)context[0];
    u32 pid = task->tgid;
    if (task->pid == pid)
        bpf_map_delete_elem(&targets, &pid);
    return 0;
}

/* A process runs another program: what was mapped is gone. */
SEC("tp_btf/sched_process_exec")
int on_exec(u64 *context) {
    struct task_struct *task = (void *)context[0];
    struct target *target = find_target(task->tgid);
    if (target)
        target->space.count = 0;
    return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";

AT(clock, start, 0); AT(clock, period, 8);
SIZE(clock, 16);
