/* SPDX-License-Identifier: (GPL-2.0-only OR MIT OR Apache-2.0) */
/* What the programs use of the kernel: helpers by their numbers (include/uapi/linux/bpf.h) and the few fields of its
 * structures, whose offsets are relocated against the running kernel's BTF when the object is loaded. */
#pragma once
#include "types.h"

/* Keeps a number in one register from here on, with what the verifier then learns of it. */
#define KEEP(number) asm volatile("" : "+r"(number))

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, value) typeof(value) *name

enum { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_PERCPU_ARRAY = 6, BPF_MAP_TYPE_RINGBUF = 27 };
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2 };
enum { BPF_RB_AVAIL_DATA = 0 };
enum { BPF_F_USER_STACK = 256 };
enum { BPF_F_NO_PREALLOC = 1, BPF_F_MMAPABLE = 1024 };

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static u32 (*const bpf_get_prandom_u32)(void) = (void *)7;
static u32 (*const bpf_get_smp_processor_id)(void) = (void *)8;
static u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static long (*const bpf_get_stack)(void *ctx, void *buf, u32 size, u64 flags) = (void *)67;
static long (*const bpf_probe_read_user)(void *dst, u32 size, const void *from) = (void *)112;
static long (*const bpf_probe_read_kernel)(void *dst, u32 size, const void *from) = (void *)113;
static long (*const bpf_probe_read_kernel_str)(void *dst, u32 size, const void *from) = (void *)115;
static long (*const bpf_ringbuf_output)(void *ring, void *data, u64 size, u64 flags) = (void *)130;
static void *(*const bpf_ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *data, u64 flags) = (void *)132;
static void (*const bpf_ringbuf_discard)(void *data, u64 flags) = (void *)133;
static u64 (*const bpf_ringbuf_query)(void *ring, u64 flags) = (void *)134;
static struct task_struct *(*const bpf_get_current_task_btf)(void) = (void *)158;
static void *(*const bpf_task_pt_regs)(struct task_struct *task) = (void *)175;
static long (*const bpf_loop)(u32 count, void *callback, void *context, u64 flags) = (void *)181;

#define RELOCATED __attribute__((preserve_access_index))

struct mm_struct;

/* A function whose return is probed, of the innermost first. */
struct return_instance {
    unsigned long stack;
    unsigned long orig_ret_vaddr;
    struct return_instance *next;
} RELOCATED;

struct uprobe_task {
    struct return_instance *return_instances;
} RELOCATED;

struct task_struct {
    s32 pid;
    s32 tgid;
    u32 flags;
    u32 __state;
    struct mm_struct *mm;
    struct uprobe_task *utask;
} RELOCATED;

/* PF_KTHREAD and TASK_DEAD of include/linux/sched.h. */
#define KERNEL_THREAD 0x00200000
#define DEAD 0x00000080

/* arch/x86/include/uapi/asm/ptrace.h: part of the kernel's stable interface, not relocated. */
struct registers {
    u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};

/* include/uapi/linux/bpf_perf_event.h */
struct bpf_perf_event_data {
    struct registers regs;
    u64 sample_period;
    u64 addr;
};
