/* SPDX-License-Identifier: (GPL-2.0-only OR MIT OR Apache-2.0) */
/* Waits: how long the target's threads were off CPU, blocked (from the switch-out to the wake-up) and runnable (from
 * there to the switch-in), summed by thread, place and stack. Invariant: every wait within the window counts once, with
 * all its time inside the window's ends; what finds no room is counted as lost.
 *
 * Following a stack at each of tens of thousands of switches a second would cost the target too much. A thread mostly
 * waits where it has waited before: at the same system call with the same instruction and stack pointer, its "place".
 * Once a place has given the same stack TRUSTED times running, one wait in ONE_IN, picked at random, has its stack
 * followed, and once it has given it SURE times, one in SELDOM_IN; the others are summed for the place alone. User
 * space divides those by what the picked ones found there, each of which stands for as many as it was picked from. A
 * place that gives another stack is not trusted any more. So nothing is assumed of what lies above the stack pointer.
 *
 * Shapes are mirrored in src/sample/ebpf/off_cpu.rs. */
#pragma once
#include "samples.h"

#define TRUSTED 8
#define ONE_IN 16
#define SURE 64
#define SELDOM_IN 64
/* Untrusted places may have this many stacks followed on a CPU in each 2^24 ns (17 ms): 3,800 a second. */
#define WALKS 64
#define PART_BITS 24
/* Stacks of the same id that are told apart. */
#define TURNS 32
#define STACK_WORDS (1 << 21)

/* Whether waits can be followed; set when the program is loaded. Where it is 0 the verifier passes over all of it. */
const volatile u32 with_waits = 0;

/* Bits of an id that are used; a test sets few, so that ids collide. */
const volatile u64 id_mask = ~0ull;

/* How a wait's stack is known. */
enum how { OF_PLACE, FOLLOWED, PICKED, PICKED_SELDOM };

/* Not stacks: a thread that has not run yet; one that was not seen to leave its CPU (user space enters those). */
#define NEWBORN 0xfffffffe

/* 32 bytes. */
struct wait {
    u32 thread;
    /* Number of the system call; -1: none, and then ip and sp are 0. */
    s32 call;
    u64 ip;
    u64 sp;
    /* Its first word's index plus 1; 0: `OF_PLACE`. */
    u32 stack;
    u16 how;
    /* The thread would have run on. */
    u16 preempted;
};

/* 32 bytes. */
struct sum {
    /* Waits that ended. */
    u64 waits;
    u64 blocked;
    u64 runnable;
    /* Of a place: the stack found last, and how often running. */
    u32 last;
    u32 same;
};

/* 128 bytes: a thread's own two lines of the cache. */
struct thread {
    u64 on_cpu;
    /* When it left its CPU, 0: it did not; and when it was woken, 0: it was not. */
    u64 since;
    u64 woken;
    u32 pid;
    /* Its number; 0: nobody's yet. */
    u32 tid;
    /* Its present wait, or the last one. */
    struct wait wait;
    /* Waits that ended and are not among the sums yet: those of one key, running. Most threads wait at one place over
     * and over, and a look into the sums costs more than all the rest of a switch. */
    struct wait held;
    u64 ended;
    u64 blocked;
    u64 runnable;
    /* How the place of `wait` is trusted: as `trust_in` gives it. */
    u32 trusted;
    u32 padding;
};

/* The window, written by user space; waits are followed where `follow`. */
struct window {
    u64 start;
    u64 end;
    u64 follow;
    u64 words_used;
};

/* A stack that is known: where in `words`, and the rest of what makes it what it is. */
struct known {
    u32 first;
    u32 count;
    struct space space;
    u32 kernel_frames;
    u32 ended;
};

struct id {
    u64 hash;
    u64 turn;
};

/* The target's threads: each in one of the PROBES slots from its number on. Numbers are given one after the other, so
 * that nearly all are found in the first; a look into a hash takes longer than all the rest of a switch without
 * waits. */
#define THREADS (1 << 16)
#define PROBES 8

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, struct thread);
    __uint(max_entries, THREADS);
    __uint(map_flags, BPF_F_MMAPABLE);
} threads SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __type(key, struct wait);
    __type(value, struct sum);
    __uint(max_entries, 65536);
} waits SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, struct window);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
} window SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __type(key, struct id);
    __type(value, struct known);
    __uint(max_entries, 32768);
} stacks SEC(".maps");

/* The addresses of the known stacks. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, u64);
    __uint(max_entries, STACK_WORDS);
} words SEC(".maps");

INLINE struct thread *thread_at(u32 tid, u32 probe) {
    u32 slot = (tid + probe) & (THREADS - 1);
    return bpf_map_lookup_elem(&threads, &slot);
}

static __attribute__((noinline)) struct thread *find_further(u32 tid) {
    for (u32 probe = 1; probe < PROBES; probe++) {
        struct thread *thread = thread_at(tid, probe);
        if (!thread || !thread->tid)
            return 0;
        if (thread->tid == tid)
            return thread;
    }
    return 0;
}

/* The target's thread of this number and process. A thread's number is another one's after its end. */
INLINE struct thread *find_thread(u32 tid, u32 pid) {
    struct thread *thread = thread_at(tid, 0);
    if (!thread || !thread->tid)
        return 0;
    if (thread->tid != tid)
        thread = find_further(tid);
    return thread && thread->pid == pid ? thread : 0;
}

INLINE struct window *find_window(void) {
    u32 only = 0;
    return bpf_map_lookup_elem(&window, &only);
}

struct comparing {
    const u64 *trace;
    u64 hash;
    u32 first;
    u32 same;
};

static long hash_word(u32 number, struct comparing *comparing) {
    if (number >= TRACE_WORDS)
        return 1;
    u64 hash = (comparing->hash ^ comparing->trace[number]) * 0x9e3779b97f4a7c15ull;
    comparing->hash = hash ^ (hash >> 32);
    return 0;
}

static long compare_word(u32 number, struct comparing *comparing) {
    u32 index = comparing->first + number;
    u64 *word = bpf_map_lookup_elem(&words, &index);
    if (word && number < TRACE_WORDS && *word == comparing->trace[number])
        return 0;
    comparing->same = 0;
    return 1;
}

static long keep_word(u32 number, struct comparing *comparing) {
    u32 index = comparing->first + number;
    u64 *word = bpf_map_lookup_elem(&words, &index);
    if (!word || number >= TRACE_WORDS)
        return 1;
    *word = comparing->trace[number];
    return 0;
}

/* Whether the stack in the scratch is this known one: its addresses are compared, not its id. */
INLINE int is_known(const struct known *known, const struct sample *sample, struct comparing *comparing, u32 count) {
    if (known->count != count || known->kernel_frames != sample->kernel_frames || known->ended != sample->ended ||
        known->space.first != sample->space.first || known->space.count != sample->space.count)
        return 0;
    comparing->first = known->first;
    comparing->same = 1;
    bpf_loop(count, compare_word, comparing, 0);
    return comparing->same;
}

/* Makes the stack in the scratch known under this id, and sends it; 0 where there is no room. */
INLINE u32 make_known(void *context, struct scratch *scratch, struct cpu *cpu, u32 number, const struct id *id,
                      struct comparing *comparing, u32 count) {
    struct sample *sample = &scratch->sample;
    struct window *window = find_window();
    if (!window)
        return 0;
    struct known known = {
        .count = count,
        .space = sample->space,
        .kernel_frames = sample->kernel_frames,
        .ended = sample->ended,
    };
    u64 first = __sync_fetch_and_add(&window->words_used, (u64)count);
    if (first + count > STACK_WORDS)
        return 0;
    known.first = comparing->first = first;
    bpf_loop(count, keep_word, comparing, 0);
    sample->kind = STACK;
    sample->weight = first + 1;
    if (!send_stack(context, scratch, cpu, number, count))
        return 0;
    /* Another CPU may just have met the same stack: then it is known twice, and user space finds that they are one. */
    bpf_map_update_elem(&stacks, id, &known, BPF_NOEXIST);
    return first + 1;
}

/* A search for the number of the stack in the scratch. */
struct search {
    struct scratch *scratch;
    struct cpu *cpu;
    struct comparing *comparing;
    struct id id;
    u32 count;
    u32 found;
    /* No stack has this id and turn. */
    u32 absent;
};

/* Looks at one stack of the same id. A call for each turn, not a loop: the verifier follows a loop turn by turn, which
 * took it 0.3 s. */
static long look(u32 turn, struct search *search) {
    search->id.turn = turn;
    struct known *known = bpf_map_lookup_elem(&stacks, &search->id);
    if (!known) {
        search->absent = 1;
        return 1;
    }
    if (is_known(known, &search->scratch->sample, search->comparing, search->count)) {
        search->found = known->first + 1;
        return 1;
    }
    search->cpu->collisions++;
    return 0;
}

/* The number of the stack in the scratch, which has so many addresses; 0 where there is no room for it. */
static __attribute__((noinline)) u32 stack_number(void *context, struct scratch *scratch, struct cpu *cpu, u32 count) {
    u32 number = bpf_get_smp_processor_id();
    struct comparing comparing = { .trace = scratch->trace, .hash = count };
    bpf_loop(count, hash_word, &comparing, 0);
    struct search search = {
        .scratch = scratch,
        .cpu = cpu,
        .comparing = &comparing,
        .id = { .hash = comparing.hash & id_mask },
        .count = count,
    };
    bpf_loop(TURNS, look, &search, 0);
    /* Here and not in the loop, for the sake of the stack's size. */
    if (search.absent)
        return make_known(context, scratch, cpu, number, &search.id, &comparing, count);
    return search.found;
}

/* Follows the stack of the current thread in the scratch of this index; gives its number, 0 where there is no room for
 * it. */
INLINE u32 follow_in(void *context, const struct target *target, struct cpu *cpu, u32 slot, u64 now) {
    struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
    if (!scratch)
        return 0;
    scratch->sample.time = now;
    u32 count = take_stack(context, target, scratch, 1);
    u32 found = stack_number(context, scratch, cpu, count);
    if (!found)
        cpu->stacks_lost++;
    cpu->walked++;
    cpu->walk_spent += bpf_ktime_get_ns() - now;
    return found;
}

/* Enters a sum of these waits, where there is room. */
static __attribute__((noinline)) int begin_sum(const struct wait *wait) {
    struct sum none = {};
    bpf_map_update_elem(&waits, wait, &none, BPF_NOEXIST);
    return 0;
}

/* The sum of these waits; a new one where there is room. */
INLINE struct sum *find_sum(const struct wait *wait) {
    struct sum *sum = bpf_map_lookup_elem(&waits, wait);
    if (sum)
        return sum;
    begin_sum(wait);
    return bpf_map_lookup_elem(&waits, wait);
}

INLINE int is_same_place(const struct wait *one, const struct wait *other) {
    return one->thread == other->thread && one->call == other->call && one->ip == other->ip && one->sp == other->sp &&
           one->preempted == other->preempted;
}

/* A place that gave the same stack so often running: 0, it is not trusted; 1, it is; 2, it is for sure. */
INLINE u32 trust_in(u32 same) { return (same >= TRUSTED) + (same >= SURE); }

static __attribute__((noinline)) int trust_of(const struct wait *place) {
    const struct sum *sum = find_sum(place);
    return sum ? trust_in(sum->same) : 0;
}

/* Tells a place the stack that was followed there; how it is trusted now. */
static __attribute__((noinline)) int trust(const struct wait *followed) {
    struct wait place = *followed;
    place.stack = place.how = 0;
    struct sum *sum = find_sum(&place);
    if (!sum)
        return 0;
    sum->same = sum->last == followed->stack ? sum->same + 1 : 0;
    sum->last = followed->stack;
    return trust_in(sum->same);
}

/* Where the current thread waits, as far as it can be told without its stack. */
INLINE struct wait wait_of(struct task_struct *task, int preempted) {
    struct wait wait = { .thread = task->pid, .call = -1, .preempted = preempted };
    const struct registers *user = bpf_task_pt_regs(task);
    if (!task->mm || (task->flags & KERNEL_THREAD) || !user || (s64)user->orig_ax < 0)
        return wait;
    wait.call = user->orig_ax;
    wait.ip = user->ip;
    wait.sp = user->sp;
    return wait;
}

/* A thread of the target leaves its CPU. */
static __attribute__((noinline)) int leave(u64 *context, struct thread *thread, struct cpu *cpu, u32 number, u64 now) {
    struct task_struct *task = bpf_get_current_task_btf();
    u32 state = task->__state;
    thread->since = 0;
    if (state & DEAD)
        return 0;
    int preempted = context[0] || !state;
    struct wait wait = wait_of(task, preempted);
    u32 trusted = thread->trusted;
    if (!trusted || !is_same_place(&thread->wait, &wait))
        trusted = trust_of(&wait);
    if (cpu->part != now >> PART_BITS) {
        cpu->part = now >> PART_BITS;
        cpu->walks = 0;
    }
    if (!trusted && cpu->walks < WALKS)
        wait.how = FOLLOWED;
    else if (bpf_get_prandom_u32() % (trusted == 2 ? SELDOM_IN : ONE_IN) == 0)
        wait.how = trusted == 2 ? PICKED_SELDOM : PICKED;
    if (wait.how) {
        const struct target *target = find_target(task->tgid);
        if (!target)
            return 0;
        cpu->walks++;
        wait.stack = follow_in(context, target, cpu, number * 2 + 1, now);
        if (wait.stack)
            trusted = trust(&wait);
        else
            wait.how = OF_PLACE;
    }
    thread->wait = wait;
    thread->trusted = trusted;
    thread->woken = preempted ? now : 0;
    thread->since = now;
    return 0;
}

/* How much of an interval lies within the window. */
INLINE u64 within(const struct window *window, u64 from, u64 to) {
    if (from < window->start)
        from = window->start;
    if (to > window->end)
        to = window->end;
    return to > from ? to - from : 0;
}

/* Adds what a thread holds to the sums. */
static __attribute__((noinline)) int put_down(struct thread *thread, struct cpu *cpu) {
    struct wait wait = thread->held;
    u64 ended = thread->ended, nanos = thread->blocked + thread->runnable;
    if (!ended && !nanos)
        return 0;
    struct sum *sum = find_sum(&wait);
    if (sum) {
        sum->waits += ended;
        sum->blocked += thread->blocked;
        sum->runnable += thread->runnable;
    } else {
        cpu->waits_lost += ended;
        cpu->nanos_lost += nanos;
    }
    thread->ended = thread->blocked = thread->runnable = 0;
    return 0;
}

/* Enters a thread of the target, where there is a slot. Another CPU may just enter another one there; one that had the
 * same number before has ended. */
static __attribute__((noinline)) int enter(struct cpu *cpu, u32 tid, u32 pid) {
    for (u32 probe = 0; probe < PROBES; probe++) {
        struct thread *thread = thread_at(tid, probe);
        if (!thread)
            return 0;
        u32 whose = __sync_val_compare_and_swap(&thread->tid, 0, tid);
        if (whose && whose != tid)
            continue;
        put_down(thread, cpu);
        thread->on_cpu = thread->since = thread->woken = thread->trusted = 0;
        thread->pid = pid;
        cpu->threads++;
        return 0;
    }
    cpu->threads_lost++;
    return 0;
}

/* A thread of the target gets a CPU. */
static __attribute__((noinline)) int arrive(struct thread *thread, const struct window *window, struct cpu *cpu,
                                            u64 now) {
    u64 since = thread->since, woken = thread->woken ? thread->woken : now;
    thread->since = 0;
    u64 blocked = within(window, since, woken), runnable = within(window, woken, now);
    u64 ended = now >= window->start && now < window->end;
    if (!blocked && !runnable && !ended)
        return 0;
    if (!is_same_place(&thread->held, &thread->wait) || thread->held.stack != thread->wait.stack ||
        thread->held.how != thread->wait.how) {
        put_down(thread, cpu);
        thread->held = thread->wait;
    }
    thread->ended += ended;
    thread->blocked += blocked;
    thread->runnable += runnable;
    return 0;
}

SEC("tp_btf/sched_wakeup")
int on_wakeup(u64 *context) {
    struct task_struct *task = (void *)context[0];
    struct thread *thread = find_thread(task->pid, task->tgid);
    if (thread && thread->since && !thread->woken)
        thread->woken = bpf_ktime_get_ns();
    return 0;
}

/* A thread is born: runnable, and it has no stack yet. */
SEC("tp_btf/sched_wakeup_new")
int on_birth(u64 *context) {
    struct task_struct *task = (void *)context[0];
    u32 tid = task->pid;
    if (!find_target(task->tgid))
        return 0;
    u32 number = bpf_get_smp_processor_id();
    struct cpu *cpu = bpf_map_lookup_elem(&cpus, &number);
    if (!cpu)
        return 0;
    enter(cpu, tid, task->tgid);
    struct thread *thread = find_thread(tid, task->tgid);
    if (!thread)
        return 0;
    thread->wait = (struct wait){ .thread = tid, .call = -1, .stack = NEWBORN, .how = FOLLOWED };
    thread->since = thread->woken = bpf_ktime_get_ns();
    return 0;
}

AT(wait, thread, 0); AT(wait, call, 4); AT(wait, ip, 8); AT(wait, sp, 16); AT(wait, stack, 24); AT(wait, how, 28);
AT(wait, preempted, 30);
SIZE(wait, 32);
AT(sum, waits, 0); AT(sum, blocked, 8); AT(sum, runnable, 16); AT(sum, last, 24); AT(sum, same, 28);
SIZE(sum, 32);
AT(thread, on_cpu, 0); AT(thread, since, 8); AT(thread, woken, 16); AT(thread, pid, 24); AT(thread, tid, 28);
AT(thread, wait, 32); AT(thread, held, 64); AT(thread, ended, 96); AT(thread, blocked, 104);
AT(thread, runnable, 112); AT(thread, trusted, 120); AT(thread, padding, 124);
SIZE(thread, 128);
AT(window, start, 0); AT(window, end, 8); AT(window, follow, 16); AT(window, words_used, 24);
SIZE(window, 32);
SIZE(id, 16);
SIZE(known, 24);
