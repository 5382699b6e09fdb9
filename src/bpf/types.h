/* SPDX-License-Identifier: (GPL-2.0-only OR MIT OR Apache-2.0) */
/* Words of C that the kernel's programs share with what is compiled of them for the host, in tests. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;
typedef long long s64;

#define INLINE static inline __attribute__((always_inline))

/* The same numbers stand in the Rust that mirrors a shape. */
#define AT(shape, field, offset) _Static_assert(__builtin_offsetof(struct shape, field) == offset, #shape "." #field)
#define SIZE(shape, size) _Static_assert(sizeof(struct shape) == size, #shape)
