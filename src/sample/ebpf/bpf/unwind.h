/* SPDX-License-Identifier: (GPL-2.0-only OR MIT OR Apache-2.0) */
/* User stacks inside the kernel: frame by frame along tables that user space made from .eh_frame and from Go's own.
 * Invariant: a stack is complete only where its table says that the last address has no caller; a walk that ends
 * elsewhere says why.
 *
 * A code address is found in three steps: its process's mapping (binary search, the last one first), the row of its
 * page (binary search among the rows of 4 KiB of code), the rule that the row names. What was found is kept by address
 * in a small table of each CPU, since hot addresses return with every sample.
 *
 * Shapes are mirrored in src/sample/ebpf/shapes.rs. */
#pragma once
#include "kernel.h"

#define MAX_KERNEL_FRAMES 127
#define MAX_USER_FRAMES 512
#define PAGE 4096
#define CACHE_SLOTS 4096

enum rule_kind { NO_TABLE, FRAME, DEREFERENCE, STUB, SIGNAL, ROOT, UNSUPPORTED, OTHER_STACK };
enum saved_kind { SAME, AT_CFA, AT_FRAME_POINTER };

/* How to find a caller's frame: src/sample/unwind/rules.rs says what each kind means. 16 bytes. */
struct rule {
    s32 cfa_offset;
    s32 saved_offset;
    u8 kind;
    u8 reg;
    u8 saved;
    u8 padding[5];
};

/* An executable mapping of a process and where the table of its file lies. 40 bytes. */
struct mapping {
    u64 start;
    u64 end;
    /* Added to an address of the process: the file's own address, relative to its table's first page. */
    u64 bias;
    u32 first_page;
    u32 pages;
    u32 first_rule;
    u32 padding;
};

/* The mappings of a process: a run in `mappings`, sorted by start. */
struct space {
    u32 first;
    u32 count;
};

struct cached {
    u64 address;
    u64 space;
    struct rule rule;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, struct mapping);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
} mappings SEC(".maps");

/* Of each page of code: the first of its rows (low 32 bits) and how many there are (high 32 bits). */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, u64);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
} pages SEC(".maps");

/* Two rows an element, each: offset within its page (low 16 bits), rule of its module (high 16 bits). */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, u64);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
} rows SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, struct rule);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
} rules SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __type(key, u32);
    __type(value, struct cached);
    __uint(max_entries, CACHE_SLOTS);
} found SEC(".maps");

/* Why a walk ended; the numbers are `Ended` in shapes.rs. */
enum ended { COMPLETE, NO_MAPPING, TABLE_LACKS, BAD_READ, NOT_A_ROOT, TOO_DEEP, NO_REGISTERS, RULE_UNSUPPORTED };

/* The frame that a walk has reached; numbers only, so that functions that are verified alone may take it. */
struct frame {
    struct space space;
    /* Index of the mapping that held the last address. */
    u32 mapping;
    u32 depth;
    /* The address whose rule holds: inside the call for a return address. */
    u64 address;
    u64 ip, sp, bp;
    /* The register that the leaf's rule begins with, where it is neither sp nor bp. */
    u64 other;
};

/* Words of the user's stack that were read together. */
#define AHEAD 32
#define NOTHING_AHEAD (~0ull << 12)

struct ahead {
    u64 from;
    u64 words[AHEAD];
};

struct walk {
    struct frame frame;
    /* In `trace`: where the next address goes. */
    u32 at;
    enum ended ended;
    u64 *trace;
    /* Of the leaf, in the order of `struct registers`. */
    u64 *leaf;
    struct ahead *ahead;
};

/* Whether the kernel has probes at functions of programs; set when it is loaded. */
const volatile u32 with_probes = 0;

#define TRACE_WORDS (MAX_KERNEL_FRAMES + MAX_USER_FRAMES + 1)

INLINE const struct mapping *mapping_at(u32 index) { return bpf_map_lookup_elem(&mappings, &index); }

/* Functions that are neither static nor inlined are verified once, by themselves: their loops cost the verifier nothing
 * where they are called. */
#define VERIFIED_ALONE __attribute__((noinline))

/* The index of the mapping that holds the frame's address; a number beyond all where none does. */
VERIFIED_ALONE u32 find_mapping(const struct frame *frame) {
    if (!frame)
        return ~0u;
    u32 low = frame->space.first, length = frame->space.count;
    /* 2^16 mappings at most. */
    for (int step = 0; step < 17; step++) {
        if (length == 0)
            break;
        u32 half = length / 2;
        const struct mapping *mapping = mapping_at(low + half);
        if (!mapping)
            break;
        if (frame->address < mapping->start) {
            length = half;
        } else if (frame->address >= mapping->end) {
            low += half + 1;
            length -= half + 1;
        } else {
            return low + half;
        }
    }
    return ~0u;
}

/* The rule of the row in force at an offset of a page: of the last row that does not begin after it; -1 where none
 * does. */
VERIFIED_ALONE s64 find_row(u64 page, u32 offset) {
    u32 low = (u32)page, length = page >> 32;
    s64 rule = -1;
    for (int step = 0; step < 13; step++) {
        if (length == 0)
            break;
        u32 half = length / 2, index = low + half, element = index / 2;
        const u64 *pair = bpf_map_lookup_elem(&rows, &element);
        if (!pair)
            break;
        u32 row = (index & 1) ? *pair >> 32 : *pair;
        if ((row & 0xffff) <= offset) {
            rule = row >> 16;
            low = index + 1;
            length -= half + 1;
        } else {
            length = half;
        }
    }
    return rule;
}

/* Finds the rule for the frame's address; 0 where no mapping holds it. */
VERIFIED_ALONE int find_rule(struct frame *frame, struct rule *rule) {
    if (!frame || !rule)
        return 0;
    const struct mapping *mapping = mapping_at(frame->mapping);
    if (!mapping || frame->address < mapping->start || frame->address >= mapping->end ||
        frame->mapping - frame->space.first >= frame->space.count) {
        frame->mapping = find_mapping(frame);
        mapping = mapping_at(frame->mapping);
        if (!mapping)
            return 0;
    }
    rule->kind = NO_TABLE;
    u64 address = frame->address + mapping->bias;
    u64 number = address / PAGE;
    if (number >= mapping->pages)
        return 1;
    u32 index = mapping->first_page + number;
    const u64 *page = bpf_map_lookup_elem(&pages, &index);
    if (!page)
        return 1;
    s64 row = find_row(*page, address % PAGE);
    if (row < 0)
        return 1;
    index = mapping->first_rule + row;
    const struct rule *known = bpf_map_lookup_elem(&rules, &index);
    if (known)
        *rule = *known;
    return 1;
}

INLINE int read_word(u64 address, u64 *into) { return bpf_probe_read_user(into, 8, (void *)address) == 0; }

/* A word of the user's stack. A read takes far longer than what it reads is worth, and most frames are small: so the
 * next ones are read along. The thread stands still meanwhile. */
INLINE int stack_word(struct ahead *ahead, u64 address, u64 *into) {
    u64 offset = address - ahead->from;
    if (offset > (AHEAD - 1) * 8 || offset % 8) {
        ahead->from = address;
        if (bpf_probe_read_user(ahead->words, sizeof(ahead->words), (void *)address)) {
            /* The stack ends before that. */
            ahead->from = NOTHING_AHEAD;
            return read_word(address, into);
        }
        offset = 0;
    }
    *into = ahead->words[offset / 8 % AHEAD];
    return 1;
}

/* Where `struct registers` has the register of each DWARF number (System V ABI, figure 3.36). */
static const volatile u8 places_of_registers[16] = { 10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0 };

enum { GOES_ON = -1 };

INLINE int caller(struct frame *frame, u64 ip, u64 sp, u64 bp) {
    if (!ip)
        return NOT_A_ROOT;
    frame->ip = ip;
    frame->address = ip - 1;
    frame->sp = sp;
    frame->bp = bp;
    frame->depth++;
    return GOES_ON;
}

/* Steps to the frame that a signal interrupted: struct rt_sigframe (arch/x86/include/asm/sigframe.h), whose ucontext
 * the trampoline's stack pointer points to. */
INLINE int step_signal(struct frame *frame) {
    u64 bp, sp, ip;
    if (!read_word(frame->sp + 120, &bp) || !read_word(frame->sp + 160, &sp) || !read_word(frame->sp + 168, &ip))
        return BAD_READ;
    int ended = caller(frame, ip, sp, bp);
    /* It was not calling: its address is exact. */
    frame->address = ip;
    return ended;
}

/* Code without a table: along frame pointers, as far as they lead up the stack. */
INLINE int step_frame_pointer(struct frame *frame) {
    u64 words[2];
    if (frame->bp < frame->sp || bpf_probe_read_user(words, 16, (void *)frame->bp))
        return TABLE_LACKS;
    return caller(frame, words[1], frame->bp + 16, words[0]);
}

INLINE int base_of(const struct frame *frame, const struct rule *rule, u64 *cfa) {
    if (rule->reg == 7)
        *cfa = frame->sp;
    else if (rule->reg == 6)
        *cfa = frame->bp;
    else if (frame->depth == 0)
        *cfa = frame->other;
    else
        return RULE_UNSUPPORTED;
    *cfa += (s64)rule->cfa_offset;
    if (rule->kind == STUB && (frame->ip & 15) >= (u64)(u32)rule->saved_offset)
        *cfa += 8;
    if (rule->kind == DEREFERENCE && !read_word(*cfa, cfa))
        return BAD_READ;
    return GOES_ON;
}

INLINE int step_rule(struct frame *frame, const struct rule *rule, struct ahead *ahead) {
    u64 cfa = 0, bp = frame->bp, ip = 0;
    int ended = base_of(frame, rule, &cfa);
    if (ended != GOES_ON)
        return ended;
    /* A stack grows down: a caller's frame on the same one lies strictly above. On another it may lie anywhere, and the
     * most frames end the walk. */
    u64 lowest = rule->kind == OTHER_STACK ? 0 : frame->sp;
    if (cfa <= lowest)
        return BAD_READ;
    /* The saved frame pointer mostly lies below the return address. */
    u64 at = (rule->saved == AT_CFA ? cfa : bp) + (s64)rule->saved_offset;
    /* Below the stack pointer: already popped by the epilogue, while the table still names the old place. */
    if (rule->saved != SAME && at >= lowest && !stack_word(ahead, at, &bp))
        return BAD_READ;
    if (!stack_word(ahead, cfa - 8, &ip))
        return BAD_READ;
    return caller(frame, ip, cfa, bp);
}

/* Steps to the caller by a rule; gives why there is none, or GOES_ON. */
VERIFIED_ALONE int follow(struct frame *frame, const struct rule *rule, struct ahead *ahead) {
    if (!frame || !rule || !ahead)
        return BAD_READ;
    switch (rule->kind) {
    case ROOT: return COMPLETE;
    case NO_TABLE: return step_frame_pointer(frame);
    case SIGNAL: return step_signal(frame);
    case UNSUPPORTED: return RULE_UNSUPPORTED;
    default: return step_rule(frame, rule, ahead);
    }
}

/* A probe at a function's return stands where the caller's address was: the kernel keeps that. Puts it back into the
 * frame; 0 where it was no probe's. */
VERIFIED_ALONE int restore_return(struct frame *frame) {
    if (!frame || !with_probes)
        return 0;
    struct uprobe_task *probed = bpf_get_current_task_btf()->utask;
    struct return_instance *at = probed ? probed->return_instances : 0;
    for (int step = 0; step < 16; step++) {
        if (!at)
            break;
        if (at->stack + 8 == frame->sp) {
            frame->ip = at->orig_ret_vaddr;
            frame->address = frame->ip - 1;
            return 1;
        }
        at = at->next;
    }
    return 0;
}

static long step(u32 number, struct walk *walk) {
    struct frame *frame = &walk->frame;
    u64 address = frame->address, space = ((u64)frame->space.first << 32) | frame->space.count;
    u32 slot = (address ^ (address >> 12)) & (CACHE_SLOTS - 1), at = walk->at;
    struct cached *cached = bpf_map_lookup_elem(&found, &slot);
    if (!cached)
        return 1;
    struct rule rule = cached->rule;
    if (cached->address != address || cached->space != space) {
        rule = (struct rule){};
        int mapped = find_rule(frame, &rule);
        if ((!mapped || rule.kind == NO_TABLE) && frame->depth && restore_return(frame))
            return 0;
        if (!mapped) {
            walk->ended = NO_MAPPING;
            return 1;
        }
        /* In sigreturn(2): the system call is the trampoline's last instruction, so the address lies just beyond it. */
        if (frame->depth == 0 && rule.kind == NO_TABLE) {
            struct rule before = {};
            frame->address = address - 1;
            if (find_rule(frame, &before) && before.kind == SIGNAL)
                rule = before;
            frame->address = address;
        }
        cached->address = address;
        cached->space = space;
        cached->rule = rule;
    }
    /* In one register from the check to the use: the verifier of Linux 6.1 forgets a bound that was checked on a copy
     * of what lies on the stack. */
    u64 place = at;
    KEEP(place);
    if (place >= TRACE_WORDS)
        return 1;
    walk->trace[place] = address;
    walk->at = place + 1;
    if (frame->depth == 0)
        frame->other = walk->leaf[places_of_registers[rule.reg & 15] & 31];
    int ended = follow(frame, &rule, walk->ahead);
    if (ended == GOES_ON)
        return 0;
    walk->ended = ended;
    return 1;
}

/* Walks the user stack of the current task from the walk's frame; fills in the trace from `walk->at` on. */
INLINE void walk_user(struct walk *walk) {
    walk->ended = TOO_DEEP;
    walk->ahead->from = NOTHING_AHEAD;
    bpf_loop(MAX_USER_FRAMES, step, walk, 0);
}
