/* SPDX-License-Identifier: (GPL-2.0-only OR MIT OR Apache-2.0) */
/* What carries the queries, as a row of events: threads of the target that leave a CPU, are woken and get one; sockets
 * that they read and send on; async tasks that are polled, register a waker and are woken. Invariant: an event is sent
 * whole or counted as lost; nothing is judged here, user space puts the events together.
 *
 * The stack of an event is followed as that of a wait is (`off_cpu.h`): a place (thread, system call or caller,
 * instruction and stack pointer) that gave the same stack TRUSTED times running is followed one time in ONE_IN.
 *
 * A task is one of tokio's: its waker's functions take a pointer to its header, in which a pointer to its table of
 * functions lies; the first of those is its poll. User space finds where in the header that is, and says it. Futures
 * that run side by side within a task (FuturesUnordered) have wakers of their own, whose functions take a pointer of
 * theirs.
 *
 * Shapes are mirrored in src/sample/ebpf/follow/shapes.rs. */
#pragma once
#include "off_cpu.h"

enum event_kind {
    LEAVES, GETS, WAKES, READS, SENDS, POLLS, POLLED, REGISTERS, WAKES_TASK, REGISTERS_WITHIN, WAKES_WITHIN
};

/* Bits of `flags`. */
enum { PREEMPTED = 1, IN_INTERRUPT = 2, IPV6 = 4 };

/* 48 bytes. */
struct event {
    u64 time;
    /* A task's header, a socket, or 0. */
    u64 subject;
    /* Of a task: its poll function; of a socket: its own port and the other end's (high 16 bits of the low 32). */
    u64 about;
    /* On which thread it happened. */
    u32 thread;
    u32 process;
    /* The stack's number, 0: it was not followed. */
    u32 stack;
    /* LEAVES: the wait event that the program tells of itself. WAKES: the thread that is woken. */
    u32 detail;
    u16 kind;
    u16 flags;
    u32 cpu;
};

/* Words of the name of a Unix socket, zeros behind it. */
#define NAME_WORDS 14

/* What user space says and reads. 256 bytes. */
struct following {
    /* 0: nothing is sent. */
    u64 on;
    /* Where in a task's header the pointer to its table lies, in bytes; 0: not known yet. */
    u64 table_at;
    /* Where the program keeps a pointer to the number of its wait event; 0: it does not. */
    u64 wait_event_at;
    /* The kernel's code that interrupts begin in. */
    u64 interrupt_start, interrupt_end;
    u64 events;
    u64 events_lost;
    /* Probes that were hit, and ns in their programs. */
    u64 hits;
    u64 hit_spent;
    /* Stacks that were not followed since other probes used all the room. */
    u64 crowded;
    /* The name that the Unix socket of the load is bound to, and the port that its connections are told by; 0: none. */
    u64 name_port;
    u64 name[NAME_WORDS];
    u64 reserved[7];
};

struct followed_place {
    u32 thread;
    u32 kind;
    u64 ip;
    u64 sp;
};

struct followed_stack {
    u32 last;
    u32 same;
};

struct claim {
    u32 taken;
    u32 padding;
};

/* Scratches of a CPU for probes, which other probes can preempt. */
#define CLAIMS 4

/* How many CPUs can be; set when it is loaded. */
const volatile u32 cpu_count = 1;

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, struct following);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
} following SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __type(key, struct followed_place);
    __type(value, struct followed_stack);
    __uint(max_entries, 65536);
} followed_places SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, struct claim);
    __uint(max_entries, 1);
} claims SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4096);
} events SEC(".maps");

struct sock_common {
    u16 skc_dport;
    u16 skc_num;
    u16 skc_family;
} RELOCATED;

struct sock {
    struct sock_common __sk_common;
} RELOCATED;

/* include/uapi/linux/un.h, include/linux/socket.h */
struct sockaddr_un {
    u16 sun_family;
    char sun_path[108];
};

struct unix_address {
    int len;
    struct sockaddr_un name[];
} RELOCATED;

struct unix_sock {
    struct sock sk;
    struct unix_address *addr;
    struct sock *peer;
} RELOCATED;

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10

INLINE struct following *find_following(void) {
    u32 only = 0;
    struct following *found = bpf_map_lookup_elem(&following, &only);
    return found && found->on ? found : 0;
}

/* Sends an event of the current thread. */
INLINE void tell(struct following *following, struct event *event) {
    u64 now_on = bpf_get_current_pid_tgid();
    event->thread = (u32)now_on;
    event->process = now_on >> 32;
    event->cpu = bpf_get_smp_processor_id();
    if (bpf_ringbuf_output(&events, event, sizeof(*event), BPF_RB_NO_WAKEUP))
        __sync_fetch_and_add(&following->events_lost, 1);
    else
        __sync_fetch_and_add(&following->events, 1);
}

/* Whether the stack of this place has to be followed. */
INLINE int is_untrusted(const struct followed_place *place) {
    const struct followed_stack *known = bpf_map_lookup_elem(&followed_places, place);
    return !known || known->same < TRUSTED || bpf_get_prandom_u32() % ONE_IN == 0;
}

INLINE void learn(const struct followed_place *place, u32 stack) {
    struct followed_stack *known = bpf_map_lookup_elem(&followed_places, place);
    if (!stack)
        return;
    if (known) {
        known->same = known->last == stack ? known->same + 1 : 0;
        known->last = stack;
        return;
    }
    struct followed_stack fresh = { .last = stack };
    bpf_map_update_elem(&followed_places, place, &fresh, BPF_NOEXIST);
}

INLINE u32 last_of(const struct followed_place *place) {
    const struct followed_stack *known = bpf_map_lookup_elem(&followed_places, place);
    return known ? known->last : 0;
}

/* The stack of the current thread at this place, in this scratch. */
static __attribute__((noinline)) u32 stack_at(void *context, const struct followed_place *place, u32 slot, u64 now) {
    u32 number = bpf_get_smp_processor_id(), pid = bpf_get_current_pid_tgid() >> 32;
    struct cpu *cpu = bpf_map_lookup_elem(&cpus, &number);
    const struct target *target = find_target(pid);
    if (!cpu || !target || !place)
        return 0;
    u32 stack = follow_in(context, target, cpu, slot, now);
    learn(place, stack);
    return stack;
}

/* Where a thread left user mode is its place. */
INLINE int place_of_call(struct task_struct *task, struct followed_place *place, struct scratch *scratch) {
    const struct registers *registers = read_registers(task, scratch);
    if (!registers)
        return 0;
    place->thread = task->pid;
    place->ip = registers->ip;
    place->sp = registers->sp;
    place->kind = (s64)registers->orig_ax >= 0 ? (u32)registers->orig_ax : 0xffff;
    return 1;
}

/* The number of the wait event that the current program tells of itself; 0: none. */
INLINE u32 wait_event(const struct following *following) {
    u64 at = 0;
    u32 number = 0;
    if (!following->wait_event_at || !read_word(following->wait_event_at, &at))
        return 0;
    return bpf_probe_read_user(&number, sizeof(number), (void *)at) ? 0 : number;
}

SEC("tp_btf/sched_switch")
int follow_switch(u64 *context) {
    struct task_struct *previous = (void *)context[1], *next = (void *)context[2];
    struct following *following = find_following();
    if (!following)
        return 0;
    u64 now = bpf_ktime_get_ns();
    u32 number = bpf_get_smp_processor_id(), slot = number * 2 + 1, state = previous->__state;
    if (previous->pid && find_target(previous->tgid) && !(state & DEAD)) {
        struct event event = { .time = now, .kind = LEAVES };
        struct followed_place place = {};
        struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
        if (context[0] || !state) {
            event.flags = PREEMPTED;
        } else if (scratch && place_of_call(previous, &place, scratch)) {
            event.stack = is_untrusted(&place) ? stack_at(context, &place, slot, now) : last_of(&place);
            event.detail = wait_event(following);
        }
        tell(following, &event);
    }
    if (next->pid && find_target(next->tgid)) {
        struct event event = { .time = now, .kind = GETS, .detail = next->pid, .about = next->tgid };
        tell(following, &event);
    }
    return 0;
}

/* Whether a trace of the kernel begins in an interrupt. */
struct entered {
    const u64 *trace;
    u64 start, end;
    u32 count;
    u32 found;
};

static long is_interrupt(u32 number, struct entered *entered) {
    if (number >= MAX_KERNEL_FRAMES || number >= entered->count)
        return 1;
    u64 address = entered->trace[number];
    if (address < entered->start || address >= entered->end)
        return 0;
    entered->found = 1;
    return 1;
}

INLINE int began_in_interrupt(u64 *context, const struct following *following, struct scratch *scratch) {
    s64 bytes = bpf_get_stack(context, scratch->trace, MAX_KERNEL_FRAMES * 8, 0);
    struct entered entered = {
        .trace = scratch->trace,
        .start = following->interrupt_start,
        .end = following->interrupt_end,
        .count = bytes > 0 ? (u64)bytes / 8 : 0,
    };
    bpf_loop(MAX_KERNEL_FRAMES, is_interrupt, &entered, 0);
    return entered.found;
}

/* In the context of who wakes, which `sched_wakeup` is not in always. */
SEC("tp_btf/sched_waking")
int follow_waking(u64 *context) {
    struct task_struct *task = (void *)context[0];
    struct following *following = find_following();
    if (!following || !find_target(task->tgid))
        return 0;
    u64 now = bpf_ktime_get_ns();
    u32 number = bpf_get_smp_processor_id(), slot = number * 2 + 1;
    struct event event = { .time = now, .kind = WAKES, .detail = task->pid, .about = task->tgid };
    struct scratch *scratch = bpf_map_lookup_elem(&scratches, &slot);
    if (!scratch)
        return 0;
    struct followed_place place = {};
    struct task_struct *current = bpf_get_current_task_btf();
    /* An idle CPU does nothing but interrupts. */
    if (!current->pid || began_in_interrupt(context, following, scratch))
        event.flags = IN_INTERRUPT;
    else if (place_of_call(current, &place, scratch))
        event.stack = is_untrusted(&place) ? stack_at(context, &place, slot, now) : last_of(&place);
    tell(following, &event);
    return 0;
}

INLINE int at_socket(const struct sock *sk, u16 kind) {
    struct following *following = find_following();
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    u16 family = sk->__sk_common.skc_family;
    if (!following || !find_target(pid) || (family != AF_INET && family != AF_INET6))
        return 0;
    struct event event = {
        .time = bpf_ktime_get_ns(),
        .subject = (u64)sk,
        .about = sk->__sk_common.skc_num | (u64)__builtin_bswap16(sk->__sk_common.skc_dport) << 16,
        .kind = kind,
        .flags = family == AF_INET6 ? IPV6 : 0,
    };
    tell(following, &event);
    return 0;
}

/* Whether it is the server's end of a connection over the load's Unix socket: it has the name of what listens. */
INLINE int is_named(const struct following *following, const struct sock *sk) {
    struct unix_address *address = 0;
    u64 name[NAME_WORDS] = {}, differs = 0;
    u32 length = 0;
    if (bpf_probe_read_kernel(&address, sizeof(address), &((struct unix_sock *)sk)->addr) || !address)
        return 0;
    if (bpf_probe_read_kernel(&length, sizeof(length), &address->len))
        return 0;
    /* A path ends with a zero, an abstract name begins with one. */
    length -= 2;
    if (length < 2 || length > 108 || bpf_probe_read_kernel(name, length, (char *)&address->name + 2))
        return 0;
#pragma unroll
    for (u32 at = 0; at < NAME_WORDS; at++)
        differs |= name[at] ^ following->name[at];
    return !differs;
}

INLINE const struct sock *unix_peer(const struct sock *sk) {
    struct sock *peer = 0;
    bpf_probe_read_kernel(&peer, sizeof(peer), &((struct unix_sock *)sk)->peer);
    return peer;
}

INLINE int at_unix_socket(const struct sock *server, u16 kind) {
    struct following *following = find_following();
    if (!following || !following->name_port || !find_target(bpf_get_current_pid_tgid() >> 32))
        return 0;
    if (!server || !is_named(following, server))
        return 0;
    struct event event = {
        .time = bpf_ktime_get_ns(),
        .subject = (u64)server,
        /* Another connection in the same memory is told from the one before by the client's end. */
        .about = (u16)following->name_port | ((u64)unix_peer(server) >> 6 & 0xffff) << 16,
        .kind = kind,
    };
    tell(following, &event);
    return 0;
}

SEC("tp_btf/sock_recv_length")
int follow_receive(u64 *context) {
    const struct sock *sk = (void *)context[0];
    if ((int)context[1] <= 0)
        return 0;
    return sk->__sk_common.skc_family == AF_UNIX ? at_unix_socket(sk, READS) : at_socket(sk, READS);
}

/* What is sent into a Unix socket can be read by the other end at once: it is the other end's that is told here. */
SEC("tp_btf/sk_data_ready")
int follow_send_unix(u64 *context) {
    const struct sock *sk = (void *)context[0];
    return sk->__sk_common.skc_family == AF_UNIX ? at_unix_socket(unix_peer(sk), SENDS) : 0;
}

/* Before what is sent can be read by the other side. Kernel 6.16 and later. */
SEC("tp_btf/tcp_sendmsg_locked")
int follow_send(u64 *context) { return at_socket((void *)context[0], SENDS); }

/* After it: earlier kernels. */
SEC("tp_btf/sock_send_length")
int follow_sent(u64 *context) { return (int)context[1] > 0 ? at_socket((void *)context[0], SENDS) : 0; }

/* The poll function of a task; 0 where it cannot be read. */
INLINE u64 poll_of(const struct following *following, u64 header) {
    u64 table = 0, poll = 0;
    if (!following->table_at || !read_word(header + following->table_at, &table) || !read_word(table, &poll))
        return 0;
    return poll;
}

/* A scratch that no other probe uses on this CPU: its index plus 1; 0: there is none. */
INLINE u32 claim_scratch(u32 *claimed) {
    u32 number = bpf_get_smp_processor_id();
#pragma unroll
    for (u32 at = 0; at < CLAIMS; at++) {
        u32 index = number * CLAIMS + at;
        struct claim *claim = bpf_map_lookup_elem(&claims, &index);
        if (claim && !__sync_val_compare_and_swap(&claim->taken, 0, 1)) {
            *claimed = index;
            return 2 * cpu_count + index + 1;
        }
    }
    return 0;
}

/* The stack of a probe's caller: trusted by where the probe's function returns to. */
INLINE u32 stack_of_caller(const struct registers *registers, struct following *following, u32 kind, u64 now) {
    u64 caller = 0;
    if (!read_word(registers->sp, &caller))
        return 0;
    struct followed_place place = { .thread = (u32)bpf_get_current_pid_tgid(), .kind = kind, .ip = caller };
    place.sp = registers->sp;
    if (!is_untrusted(&place))
        return last_of(&place);
    u32 claimed = 0, scratch = claim_scratch(&claimed);
    if (!scratch) {
        __sync_fetch_and_add(&following->crowded, 1);
        return 0;
    }
    u32 stack = stack_at((void *)registers, &place, scratch - 1, now);
    struct claim *claim = bpf_map_lookup_elem(&claims, &claimed);
    if (claim)
        __sync_val_compare_and_swap(&claim->taken, 1, 0);
    return stack;
}

/* A probe of the target was hit. */
INLINE int at_probe(const struct registers *registers, u64 header, u16 kind, int with_stack) {
    struct following *following = find_following();
    u32 pid = bpf_get_current_pid_tgid() >> 32;
    if (!following || !find_target(pid))
        return 0;
    u64 now = bpf_ktime_get_ns();
    struct event event = { .time = now, .subject = header, .kind = kind };
    if (kind == POLLS || kind == REGISTERS || kind == WAKES_TASK)
        event.about = poll_of(following, header);
    if (with_stack)
        event.stack = stack_of_caller(registers, following, kind, now);
    tell(following, &event);
    __sync_fetch_and_add(&following->hits, 1);
    __sync_fetch_and_add(&following->hit_spent, bpf_ktime_get_ns() - now);
    return 0;
}

SEC("uprobe/poll")
int on_poll(struct registers *registers) { return at_probe(registers, registers->di, POLLS, 0); }

SEC("uretprobe/poll")
int on_polled(struct registers *registers) { return at_probe(registers, 0, POLLED, 0); }

SEC("uprobe/register")
int on_register(struct registers *registers) { return at_probe(registers, registers->di, REGISTERS, 1); }

SEC("uprobe/wake")
int on_wake(struct registers *registers) { return at_probe(registers, registers->di, WAKES_TASK, 1); }

/* Futures that run side by side within one task have wakers of their own. */
SEC("uprobe/register_within")
int on_register_within(struct registers *registers) { return at_probe(registers, registers->di, REGISTERS_WITHIN, 1); }

SEC("uprobe/wake_within")
int on_wake_within(struct registers *registers) { return at_probe(registers, registers->di, WAKES_WITHIN, 0); }

/* What a hit costs is measured at a function of wireprof's own. */
SEC("uprobe/nothing")
int on_nothing(struct registers *registers) { return 0; }

AT(event, time, 0); AT(event, subject, 8); AT(event, about, 16); AT(event, thread, 24); AT(event, process, 28);
AT(event, stack, 32); AT(event, detail, 36); AT(event, kind, 40); AT(event, flags, 42); AT(event, cpu, 44);
SIZE(event, 48);
AT(following, on, 0); AT(following, table_at, 8); AT(following, wait_event_at, 16); AT(following, interrupt_start, 24);
AT(following, interrupt_end, 32); AT(following, events, 40); AT(following, events_lost, 48); AT(following, hits, 56);
AT(following, hit_spent, 64); AT(following, crowded, 72); AT(following, name_port, 80); AT(following, name, 88);
AT(following, reserved, 200);
SIZE(following, 256);
