/* SPDX-License-Identifier: (GPL-2.0-only OR MIT OR Apache-2.0) */
/* On-CPU samples: a clock on every CPU, each tick given to the thread that ran when it was due, with its kernel and user
 * stack. Invariant: every tick is counted once: as a sample, for somebody else, or as lost.
 *
 * A timer's interrupt can come late (interrupts were off, or a hypervisor delivered it when it saw fit); by then another
 * thread may run. A thread that gives up the CPU by itself would never be charged for its last microseconds. So a tick
 * that is overdue when a thread is switched out is taken there, and its interrupt, when it comes, is passed over.
 *
 * Shapes are mirrored in src/sample/ebpf/shapes.rs. */
#include "unwind.h"

/* How exactly a clock's start is known, twice over: an interrupt can seem to come early by this much. */
#define SLACK 50000

/* Whether each sample carries its stack for the referee; set when the program is loaded. */
const volatile u32 with_copies = 0;

/* The clock of a CPU, written by user space once it runs. `period` 0: not known, each interrupt is taken as it comes. */
struct clock {
    u64 start;
    u64 period;
};

struct cpu {
    /* Ticks given away so far, and when the next one is due. */
    u64 served;
    u64 due;
    /* The slice that runs now. */
    u64 slice_start;
    u32 slice_thread;
    u32 padding;
    /* Counts of this CPU since the start. */
    u64 foreign;
    u64 lost;
    u64 delays;
    u64 delay_sum;
    u64 spent;
    u64 copies;
    u64 reserved[6];
};

/* Records of the ring begin with their kind. */
enum { SAMPLE, PIECE, POINTERS };

/* What precedes the addresses in the ring. */
struct sample {
    u32 kind;
    u32 cpu;
    u64 time;
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
    /* Registers of the frame at which the walk ended (`copied` and not for the referee), or of the leaf. */
    u64 lookup;
    u64 sp;
    u64 bp;
};

struct scratch {
    struct sample sample;
    u64 trace[TRACE_WORDS + 1];
    u64 leaf[32];
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, struct scratch);
    __uint(max_entries, 1);
} scratches SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, struct clock);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
} clocks SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, struct cpu);
    __uint(max_entries, 1);
} cpus SEC(".maps");

/* A process of the target, and whether those that it gives birth to belong to it too. */
struct target {
    struct space space;
    u32 children;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __type(key, u32);
    __type(value, struct target);
    __uint(max_entries, 16384);
} targets SEC(".maps");

/* ns on CPU of the target's threads, by thread. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __type(key, u32);
    __type(value, u64);
    __uint(max_entries, 65536);
} on_cpu SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} ring SEC(".maps");

INLINE struct target *find_target(u32 pid) { return bpf_map_lookup_elem(&targets, &pid); }

/* Pages of a stack that are copied where user space has to finish a walk, and for its referee. */
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

/* Sends the user addresses that the kernel finds along frame pointers, for the referee. */
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

/* Takes the current task's stack. `late`: it is being switched out. */
INLINE void take(void *context, const struct target *target, struct cpu *cpu, u32 number, u64 now, u64 weight, int in_kernel, int late) {
    struct scratch *scratch = bpf_map_lookup_elem(&scratches, &number);
    if (!scratch)
        return;
    struct task_struct *task = bpf_get_current_task_btf();
    struct sample *sample = &scratch->sample;
    sample->kind = SAMPLE;
    sample->time = now;
    sample->weight = weight;
    sample->pid = task->tgid;
    sample->tid = task->pid;
    sample->late = late;
    sample->cpu = number;
    sample->copied = 0;
    sample->user_frames = 0;
    sample->ended = NO_REGISTERS;
    s64 bytes = in_kernel ? bpf_get_stack(context, scratch->trace, MAX_KERNEL_FRAMES * 8, 0) : 0;
    u32 kernel = bytes > 0 ? (u64)bytes / 8 : 0;
    if (kernel > MAX_KERNEL_FRAMES)
        kernel = MAX_KERNEL_FRAMES;
    sample->kernel_frames = kernel;
    u32 words = kernel;
    const struct registers *user = bpf_task_pt_regs(task);
    if (task->mm && !(task->flags & KERNEL_THREAD) && user &&
        !bpf_probe_read_kernel(scratch->leaf, sizeof(struct registers), user)) {
        const struct registers *registers = (void *)scratch->leaf;
        struct walk walk = { .at = kernel, .trace = scratch->trace, .leaf = scratch->leaf };
        walk.frame.space = target->space;
        walk.frame.mapping = walk.frame.space.first;
        walk.frame.ip = walk.frame.address = registers->ip;
        walk.frame.sp = registers->sp;
        walk.frame.bp = registers->bp;
        walk_user(&walk);
        sample->space = walk.frame.space;
        words = walk.at;
        u32 ended = walk.ended;
        if (ended == NO_MAPPING || ended == TABLE_LACKS || ended == RULE_UNSUPPORTED || with_copies) {
            /* The address at which it ended is walked again by user space. */
            if (ended != COMPLETE && ended != NO_MAPPING && words > kernel && !with_copies)
                words--;
            sample->lookup = with_copies ? registers->ip : walk.frame.address;
            sample->sp = with_copies ? registers->sp : walk.frame.sp;
            sample->bp = with_copies ? registers->bp : walk.frame.bp;
            sample->copied = send_copy(sample->sp, now, number);
            cpu->copies++;
        }
        if (with_copies)
            send_pointers(context, now, number);
        if (words < kernel)
            words = kernel;
        sample->user_frames = words - kernel;
        sample->ended = ended;
    }
    if (words > TRACE_WORDS)
        words = TRACE_WORDS;
    if (bpf_ringbuf_output(&ring, sample, sizeof *sample + words * 8, BPF_RB_NO_WAKEUP))
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

INLINE void account(u32 tid, u32 pid, u64 nanos) {
    u64 *sum = bpf_map_lookup_elem(&on_cpu, &tid);
    if (sum)
        *sum += nanos;
    else if (find_target(pid))
        bpf_map_update_elem(&on_cpu, &tid, &nanos, BPF_ANY);
}

SEC("tp_btf/sched_switch")
int on_switch(u64 *context) {
    struct task_struct *previous = (void *)context[1], *next = (void *)context[2];
    u64 now = bpf_ktime_get_ns();
    u32 number = bpf_get_smp_processor_id();
    struct cpu *cpu = bpf_map_lookup_elem(&cpus, &number);
    struct clock *clock = bpf_map_lookup_elem(&clocks, &number);
    if (!cpu || !clock)
        return 0;
    u32 tid = previous->pid, pid = previous->tgid;
    if (tid && tid == cpu->slice_thread)
        account(tid, pid, now - cpu->slice_start);
    cpu->slice_start = now;
    cpu->slice_thread = next->pid;
    if (!clock->period || !cpu->served || now < cpu->due)
        return 0;
    u64 tick = (now - clock->start) / clock->period, ticks = tick - cpu->served;
    cpu->served = tick;
    cpu->due = clock->start + (tick + 1) * clock->period;
    if (!tid)
        return 0;
    const struct target *target = find_target(pid);
    if (target)
        take(context, target, cpu, number, now, ticks * clock->period, 1, 1);
    else
        cpu->foreign += ticks;
    return 0;
}

/* A process is born: it runs in a copy of its parent's mappings. A number that is used again belongs to whoever was born
 * with it. */
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
    bpf_map_update_elem(&targets, &pid, &inherited, BPF_ANY);
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

char terms[] SEC("license") = "Dual MIT/GPL";

_Static_assert(sizeof(struct rule) == 16 && sizeof(struct mapping) == 64 && sizeof(struct space) == 8 && sizeof(struct target) == 12, "shapes.rs");
_Static_assert(sizeof(struct clock) == 16 && sizeof(struct cpu) == 128 && sizeof(struct sample) == 80, "shapes.rs");
_Static_assert(__builtin_offsetof(struct piece, bytes) == 24, "shapes.rs");
