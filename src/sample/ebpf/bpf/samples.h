/* SPDX-License-Identifier: (GPL-2.0-only OR MIT OR Apache-2.0) */
/* Stacks of the target's threads on their way to user space: whose stacks are followed, how one is taken, and the ring
 * that carries it with what user space needs to finish it. Invariant: a stack is sent whole or not at all, and the
 * caller learns which.
 *
 * Shapes are mirrored in src/sample/ebpf/shapes.rs. */
#pragma once
#include "unwind.h"

/* Whether each sample carries its stack for the cross-check; set when the program is loaded. */
const volatile u32 with_copies = 0;

/* Half of the bytes of `ring`; set when the program is loaded. */
const volatile u64 half_ring = 0;

/* Counts of one CPU since the start. */
struct cpu {
    /* Ticks given away so far, and when the next one is due. */
    u64 served;
    u64 due;
    /* The slice that runs now. */
    u64 slice_start;
    u32 slice_thread;
    /* Stacks taken at switches in the present part of a second, and which part that is. */
    u32 walks;
    u64 part;
    u64 foreign;
    u64 lost;
    u64 delays;
    u64 delay_sum;
    u64 spent;
    u64 copies;
    /* Waits: stacks taken, ns that those took, stacks that found no room, waits that found none and their ns, and
     * stacks met whose id stands for another one too. */
    u64 walked;
    u64 walk_spent;
    u64 stacks_lost;
    u64 waits_lost;
    u64 nanos_lost;
    u64 collisions;
    /* Threads entered, and how often one that ran found no slot among them. */
    u64 threads;
    u64 threads_lost;
    /* Processes born to the target that found no room among `targets`. */
    u64 processes_lost;
    u64 reserved[4];
};

/* Records of the ring begin with their kind. */
enum { SAMPLE, PIECE, POINTERS, STACK };

/* What precedes the addresses in the ring. */
struct sample {
    u32 kind;
    u32 cpu;
    u64 time;
    /* Of a sample: what it stands for. Of a stack: its id. */
    u64 weight;
    u32 pid;
    u32 tid;
    u16 kernel_frames;
    u16 user_frames;
    u8 ended;
    u8 late;
    u16 padding;
    /* Bytes of stack from `sp` on that the pieces before this record hold: 0 for none. */
    u32 copied;
    struct space space;
    /* Registers of the frame at which the walk ended; for the cross-check, of the leaf. */
    u64 lookup;
    u64 sp;
    u64 bp;
};

/* Two a CPU, ticks have their own; then those that probes share. */
struct scratch {
    struct sample sample;
    u64 trace[TRACE_WORDS + 1];
    u64 leaf[32];
    struct ahead ahead;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, struct scratch);
    __uint(max_entries, 1);
} scratches SEC(".maps");

/* A process of the target, and whether those that it gives birth to belong to it too. */
struct target {
    struct space space;
    u32 children;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __type(key, u32);
    __type(value, struct target);
    __uint(max_entries, 1);
} targets SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} ring SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, struct cpu);
    __uint(max_entries, 1);
} cpus SEC(".maps");

/* Whether the reader is woken: it looks by itself now and then, which is too late where the ring is half full. */
INLINE u64 wakes(void) {
    return bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) < half_ring ? BPF_RB_NO_WAKEUP : BPF_RB_FORCE_WAKEUP;
}

INLINE struct target *find_target(u32 pid) { return bpf_map_lookup_elem(&targets, &pid); }

/* Pages of a stack that are copied where user space has to finish a walk, and for its cross-check. */
#define COPY_PAGES 16
#define REFEREE_PAGES 288

/* A piece of a stack in the ring, ahead of the sample that it belongs to: same CPU, same time. */
struct piece {
    u32 kind;
    u32 cpu;
    u64 time;
    u64 size;
    u8 bytes[PAGE];
};

struct copying {
    u64 from;
    u64 time;
    u32 cpu;
    u32 copied;
};

static long copy_page(u32 number, struct copying *copying) {
    struct piece *piece = bpf_ringbuf_reserve(&ring, sizeof *piece, 0);
    if (!piece)
        return 1;
    /* To the end of the page first, then page by page: a read that crosses into nothing fails whole. */
    u32 size = PAGE - copying->from % PAGE;
    if (size > PAGE || bpf_probe_read_user(piece->bytes, size, (void *)copying->from)) {
        bpf_ringbuf_discard(piece, BPF_RB_NO_WAKEUP);
        return 1;
    }
    piece->kind = PIECE;
    piece->time = copying->time;
    piece->cpu = copying->cpu;
    piece->size = size;
    bpf_ringbuf_submit(piece, BPF_RB_NO_WAKEUP);
    copying->from += size;
    copying->copied += size;
    return 0;
}

/* Sends the stack from `from` on, as far as it can be read; gives how many bytes. */
static __attribute__((noinline)) u32 send_copy(u64 from, u64 time, u32 cpu) {
    struct copying copying = { .from = from, .time = time, .cpu = cpu };
    bpf_loop(with_copies ? REFEREE_PAGES : COPY_PAGES, copy_page, &copying, 0);
    return copying.copied;
}

/* Sends the user addresses that the kernel finds along frame pointers, for the cross-check. */
static __attribute__((noinline)) int send_pointers(void *context, u64 time, u32 cpu) {
    struct piece *piece = bpf_ringbuf_reserve(&ring, sizeof *piece, 0);
    if (!piece)
        return 0;
    s64 bytes = bpf_get_stack(context, piece->bytes, 127 * 8, BPF_F_USER_STACK);
    piece->kind = POINTERS;
    piece->time = time;
    piece->cpu = cpu;
    piece->size = bytes > 0 ? bytes : 0;
    bpf_ringbuf_submit(piece, BPF_RB_NO_WAKEUP);
    return 0;
}

/* Reads where the task left user mode; 0 where it never was there, or is no longer. */
INLINE const struct registers *read_registers(struct task_struct *task, struct scratch *scratch) {
    const struct registers *user = bpf_task_pt_regs(task);
    if (!task->mm || (task->flags & KERNEL_THREAD) || !user ||
        bpf_probe_read_kernel(scratch->leaf, sizeof(struct registers), user))
        return 0;
    return (void *)scratch->leaf;
}

/* Takes the current task's stack into the scratch; gives its addresses' number. A function of its own, which has ended
 * when the stack is sent or looked for: the verifier of Linux 6.1 allows 512 bytes of stack for all functions of a
 * call, each rounded up to 32. */
static __attribute__((noinline)) u32 take_stack(void *context, const struct target *target, struct scratch *scratch,
                                                int in_kernel) {
    struct walk walk = {};
    struct task_struct *task = bpf_get_current_task_btf();
    struct sample *sample = &scratch->sample;
    sample->pid = task->tgid;
    sample->tid = task->pid;
    sample->copied = 0;
    sample->ended = NO_REGISTERS;
    sample->space = target->space;
    s64 bytes = in_kernel ? bpf_get_stack(context, scratch->trace, MAX_KERNEL_FRAMES * 8, 0) : 0;
    u32 kernel = bytes > 0 ? (u64)bytes / 8 : 0;
    if (kernel > MAX_KERNEL_FRAMES)
        kernel = MAX_KERNEL_FRAMES;
    sample->kernel_frames = kernel;
    walk.at = kernel;
    const struct registers *registers = read_registers(task, scratch);
    if (registers) {
        walk.trace = scratch->trace;
        walk.leaf = scratch->leaf;
        walk.ahead = &scratch->ahead;
        walk.frame.space = target->space;
        walk.frame.mapping = walk.frame.space.first;
        walk.frame.ip = walk.frame.address = registers->ip;
        walk.frame.sp = registers->sp;
        walk.frame.bp = registers->bp;
        walk_user(&walk);
        sample->ended = walk.ended;
    }
    sample->lookup = walk.frame.address;
    sample->sp = walk.frame.sp;
    sample->bp = walk.frame.bp;
    return walk.at;
}

/* Sends the stack in the scratch, ahead of it what user space needs to finish it; 0 where the ring has no room. */
INLINE int send_stack(void *context, struct scratch *scratch, struct cpu *cpu, u32 number, u32 words) {
    struct sample *sample = &scratch->sample;
    const struct registers *registers = (void *)scratch->leaf;
    u32 ended = sample->ended, kernel = sample->kernel_frames;
    if (ended == NO_MAPPING || ended == TABLE_LACKS || ended == RULE_UNSUPPORTED ||
        (with_copies && ended != NO_REGISTERS)) {
        /* The address at which it ended is walked again by user space. */
        if (ended != COMPLETE && ended != NO_MAPPING && words > kernel && !with_copies)
            words--;
        if (with_copies) {
            sample->lookup = registers->ip;
            sample->sp = registers->sp;
            sample->bp = registers->bp;
        }
        sample->copied = send_copy(sample->sp, sample->time, number);
        cpu->copies++;
    }
    if (with_copies && ended != NO_REGISTERS)
        send_pointers(context, sample->time, number);
    if (words < kernel)
        words = kernel;
    sample->user_frames = words - kernel;
    sample->cpu = number;
    if (words > TRACE_WORDS)
        words = TRACE_WORDS;
    return bpf_ringbuf_output(&ring, sample, sizeof *sample + words * 8, wakes()) == 0;
}

AT(rule, cfa_offset, 0); AT(rule, saved_offset, 4); AT(rule, kind, 8); AT(rule, reg, 9); AT(rule, saved, 10);
SIZE(rule, 16);
AT(mapping, start, 0); AT(mapping, end, 8); AT(mapping, bias, 16); AT(mapping, first_page, 24); AT(mapping, pages, 28);
AT(mapping, first_rule, 32); AT(mapping, padding, 36);
SIZE(mapping, 40);
AT(space, first, 0); AT(space, count, 4);
SIZE(space, 8);
AT(target, space, 0); AT(target, children, 8);
SIZE(target, 12);
AT(cpu, served, 0); AT(cpu, due, 8); AT(cpu, slice_start, 16); AT(cpu, slice_thread, 24); AT(cpu, walks, 28);
AT(cpu, part, 32); AT(cpu, foreign, 40); AT(cpu, lost, 48); AT(cpu, delays, 56); AT(cpu, delay_sum, 64);
AT(cpu, spent, 72); AT(cpu, copies, 80); AT(cpu, walked, 88); AT(cpu, walk_spent, 96); AT(cpu, stacks_lost, 104);
AT(cpu, waits_lost, 112); AT(cpu, nanos_lost, 120); AT(cpu, collisions, 128); AT(cpu, threads, 136);
AT(cpu, threads_lost, 144); AT(cpu, processes_lost, 152); AT(cpu, reserved, 160);
SIZE(cpu, 192);
/* Read field by field: `parse` of shapes.rs. */
AT(sample, kind, 0); AT(sample, cpu, 4); AT(sample, time, 8); AT(sample, weight, 16); AT(sample, pid, 24);
AT(sample, tid, 28); AT(sample, kernel_frames, 32); AT(sample, user_frames, 34); AT(sample, ended, 36);
AT(sample, late, 37); AT(sample, copied, 40); AT(sample, space, 44); AT(sample, lookup, 56); AT(sample, sp, 64);
AT(sample, bp, 72);
SIZE(sample, 80);
AT(piece, kind, 0); AT(piece, cpu, 4); AT(piece, time, 8); AT(piece, size, 16); AT(piece, bytes, 24);
