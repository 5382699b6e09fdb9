/* SPDX-License-Identifier: (GPL-2.0-only OR MIT OR Apache-2.0) */
/* The kernel's program at the sockets: whose socket an event is of, and the maps that hold what `places.h` makes of it.
 *
 * A connection has the number of the client's port, on its hop: client to server, server to the database behind. One
 * over a Unix socket is numbered as it is met; what is sent there is readable at once, so that it is never on the
 * network. A server in a container may have the same port, or the same socket's name, as the one that is meant: it is
 * in another network namespace. Shapes are mirrored in src/wire/shapes.rs. */
#include "kernel.h"
#include "places.h"
#include "uses.h"

/* The server's port of each hop, 0 for none; set when the program is loaded. */
const volatile u16 server_port_0 = 0, server_port_1 = 0, server_port_2 = 0, server_port_3 = 0;

/* The network namespace that the server's sockets of each hop are in, 0 for any; set when the program is loaded. */
const volatile u32 server_namespace_0 = 0, server_namespace_1 = 0, server_namespace_2 = 0, server_namespace_3 = 0;

/* The ends of the first hop that are followed, as bits of `enum side`; set when the program is loaded. */
const volatile u32 ends_of_load = AT_CLIENT | AT_SERVER;

/* The name to which the server's Unix socket of each hop is bound, with zeros behind it; all zeros for none. */
#define NAME_WORDS 14
const volatile u64 server_name_0[NAME_WORDS] = {}, server_name_1[NAME_WORDS] = {}, server_name_2[NAME_WORDS] = {},
                   server_name_3[NAME_WORDS] = {};

struct ns_common {
    unsigned int inum;
} RELOCATED;

struct net {
    struct ns_common ns;
} RELOCATED;

typedef struct {
    struct net *net;
} RELOCATED possible_net_t;

struct sock_common {
    u16 skc_dport;
    u16 skc_num;
    u16 skc_family;
    possible_net_t skc_net;
} RELOCATED;

struct socket;

struct sk_buff {
    struct sk_buff *next, *prev;
    unsigned int len, data_len;
    unsigned char *data;
} RELOCATED;

struct sk_buff_head {
    struct sk_buff *next, *prev;
} RELOCATED;

struct sock {
    struct sock_common __sk_common;
    struct socket *sk_socket;
    struct sk_buff_head sk_receive_queue;
} RELOCATED;

/* include/uapi/linux/un.h, include/linux/socket.h */
struct sockaddr_un {
    u16 sun_family;
    char sun_path[108];
};
#define AF_UNIX 1

/* include/linux/uio.h; as it is since 6.16, and the tracepoint at sending with it. */
enum iter_type { ITER_UBUF, ITER_IOVEC };

struct iovec {
    void *iov_base;
    unsigned long iov_len;
} RELOCATED;

struct iov_iter {
    u8 iter_type;
    unsigned long iov_offset;
    void *ubuf;
    struct iovec *__iov;
    unsigned long count;
    unsigned long nr_segs;
} RELOCATED;

struct msghdr {
    struct iov_iter msg_iter;
} RELOCATED;

struct unix_address {
    int len;
    struct sockaddr_un name[];
} RELOCATED;

struct unix_sock {
    struct sock sk;
    struct unix_address *addr;
    struct sock *peer;
} RELOCATED;

struct inode {
    unsigned long i_ino;
} RELOCATED;

struct socket_alloc {
    struct inode vfs_inode;
} RELOCATED;

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, struct connection);
    __uint(max_entries, HOPS * PORTS);
    __uint(map_flags, BPF_F_MMAPABLE);
} connections SEC(".maps");

/* The index among `connections` of one over a Unix socket, by the inode of the client's end. Its size is set when it is
 * loaded. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __type(key, u32);
    __type(value, u32);
    __uint(max_entries, 1);
} numbers SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, struct sampling);
    __uint(max_entries, 1);
    __uint(map_flags, BPF_F_MMAPABLE);
} sampling SEC(".maps");

/* Read once, after the window: nobody is woken for it. */
struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 4 << 20);
} timelines SEC(".maps");

/* Stays by hop, place and power of two of ns. */
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __type(key, u32);
    __type(value, u64);
    __uint(max_entries, HOPS * PLACES * 64);
} stays SEC(".maps");

/* Uses and statements' names by their hashes. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __type(key, u64);
    __type(value, u32);
    __uint(max_entries, 16384);
} numbers_of_uses SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, struct use);
    __uint(max_entries, USES);
    __uint(map_flags, BPF_F_MMAPABLE);
} uses SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __type(key, u32);
    __type(value, struct use_time);
    __uint(max_entries, 2 * USES);
} use_times SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __type(key, u32);
    __type(value, struct scratch);
    __uint(max_entries, 1);
} scratches SEC(".maps");

INLINE struct sampling *sampled(void) {
    u32 only = 0;
    return bpf_map_lookup_elem(&sampling, &only);
}

INLINE void count_stay(u32 slot) {
    u64 *count = bpf_map_lookup_elem(&stays, &slot);
    if (count)
        *count += 1;
}

INLINE long keep_timeline(struct timeline *timeline) {
    return bpf_ringbuf_output(&timelines, timeline, sizeof(*timeline), BPF_RB_NO_WAKEUP);
}

/* What the program reads of kernel memory beyond its argument. */
#define READ(into, from) bpf_probe_read_kernel(&(into), sizeof(into), from)

INLINE long fetch(const struct event *event, u32 offset, void *into, u32 size) {
    const void *from = (const void *)(event->data + offset);
    return event->in_kernel ? bpf_probe_read_kernel(into, size, from) : bpf_probe_read_user(into, size, from);
}

INLINE long fetch_last(const struct event *event, void *into, u32 size) {
    const void *from = (const void *)(event->end - size);
    return event->in_kernel ? bpf_probe_read_kernel(into, size, from) : bpf_probe_read_user(into, size, from);
}

INLINE void copy(void *into, const void *from, u32 size) { bpf_probe_read_kernel(into, size, from); }

INLINE void each(u32 count, long (*step)(u32, void *), struct scratch *of) { bpf_loop(count, step, &of, 0); }

INLINE struct scratch *scratch(void) {
    u32 only = 0;
    return bpf_map_lookup_elem(&scratches, &only);
}

INLINE u32 *number_of(u64 key) { return bpf_map_lookup_elem(&numbers_of_uses, &key); }

INLINE long give_number(u64 key, u32 number, int again) {
    return bpf_map_update_elem(&numbers_of_uses, &key, &number, again ? BPF_ANY : BPF_NOEXIST);
}

INLINE struct use *use_at(u32 number) { return bpf_map_lookup_elem(&uses, &number); }

INLINE struct use_time *time_at(u32 at) { return bpf_map_lookup_elem(&use_times, &at); }

/* Where what is sent lies in the sender's memory; nothing where it is no memory of a program. */
INLINE void see_sent(struct event *event, const struct msghdr *msg) {
    const struct iov_iter *iter = &msg->msg_iter;
    u64 past = iter->iov_offset, count = iter->count, length = count, base = 0, end = 0;
    if (iter->iter_type == ITER_UBUF) {
        base = (u64)iter->ubuf + past;
        end = base + count;
    } else if (iter->iter_type == ITER_IOVEC) {
        struct iovec piece = {}, *pieces = iter->__iov;
        u64 more = iter->nr_segs;
        if (READ(piece, pieces) || past > piece.iov_len)
            return;
        base = (u64)piece.iov_base + past;
        length = piece.iov_len - past;
        end = base + length;
        if (more > 1)
            end = READ(piece, pieces + more - 1) ? 0 : (u64)piece.iov_base + piece.iov_len;
    }
    event->data = base;
    /* Shorter than any message that an answer ends with. */
    event->end = length < 6 ? 0 : end;
    event->length = length > 0x7fffffff ? 0x7fffffff : length;
}

/* What is readable first in a Unix socket that had nothing to read, and where what was queued last ends. */
INLINE void see_queued(struct event *event, const struct sock *sk) {
    struct sk_buff *first = 0, *last = 0;
    unsigned char *data = 0;
    u32 length = 0, beyond = 0;
    READ(first, &sk->sk_receive_queue.next);
    READ(last, &sk->sk_receive_queue.prev);
    if (!first || !last || (const void *)first == (const void *)&sk->sk_receive_queue)
        return;
    event->in_kernel = 1;
    if (READ(data, &last->data) || READ(length, &last->len) || READ(beyond, &last->data_len))
        return;
    if (!beyond && length >= 6)
        event->end = (u64)data + length;
    if (READ(data, &first->data) || READ(length, &first->len) || READ(beyond, &first->data_len))
        return;
    event->data = (u64)data;
    event->length = length > beyond ? length - beyond : 0;
}

/* The number by which fstat knows a socket; 0 for one that its process has closed. */
INLINE u32 inode_of(const struct sock *sk) {
    struct socket *socket = 0;
    unsigned long inode = 0;
    if (!sk || READ(socket, &sk->sk_socket) || !socket)
        return 0;
    READ(inode, &((struct socket_alloc *)socket)->vfs_inode.i_ino);
    return inode;
}

/* A socket is in this network namespace, by the number that stat knows it by. A kernel without namespaces has no such
 * field, and is asked for any. */
INLINE int is_in(const struct sock *sk, u32 namespace) {
    return !namespace || sk->__sk_common.skc_net.net->ns.inum == namespace;
}

/* As `is_in`, of a socket that the verifier knows nothing of. */
INLINE int lies_in(const struct sock *sk, u32 namespace) {
    struct net *net = 0;
    u32 number = 0;
    if (!namespace)
        return 1;
    return !READ(net, &sk->__sk_common.skc_net.net) && !READ(number, &net->ns.inum) && number == namespace;
}

INLINE int same(const u64 *name, const volatile u64 *other) {
    u64 differs = 0;
#pragma unroll
    for (u32 at = 0; at < NAME_WORDS; at++)
        differs |= name[at] ^ other[at];
    return !differs;
}

/* The hop whose server's socket is bound to this one's name; HOPS for none. An accepted socket has the name of the one
 * that listens. */
INLINE u32 hop_of(const struct sock *sk) {
    struct unix_address *address = 0;
    u64 name[NAME_WORDS] = {};
    u32 length = 0;
    if (!sk || READ(address, &((struct unix_sock *)sk)->addr) || !address || READ(length, &address->len))
        return HOPS;
    /* A path ends with a zero, an abstract name begins with one. */
    length -= 2;
    if (length < 2 || length > 108)
        return HOPS;
    if (bpf_probe_read_kernel(name, length, (char *)&address->name + 2))
        return HOPS;
    return same(name, server_name_0) && lies_in(sk, server_namespace_0)   ? 0
           : same(name, server_name_1) && lies_in(sk, server_namespace_1) ? 1
           : same(name, server_name_2) && lies_in(sk, server_namespace_2) ? 2
           : same(name, server_name_3) && lies_in(sk, server_namespace_3) ? 3
                                                                          : HOPS;
}

/* Numbers a connection that is met for the first time. */
INLINE u32 *number(u32 client, u32 hop) {
    struct sampling *all = sampled();
    if (!all || !client)
        return 0;
    u64 next = __sync_fetch_and_add(&all->numbered, 1);
    u32 index = hop * PORTS + next;
    if (next >= PORTS || bpf_map_update_elem(&numbers, &client, &index, BPF_NOEXIST))
        __sync_fetch_and_add(&all->unnumbered, 1);
    return bpf_map_lookup_elem(&numbers, &client);
}

/* As `find`, for a Unix socket. No part of the programs where all hops are TCP. */
static __attribute__((noinline)) struct connection *find_unix(const struct sock *sk, enum side *side, u32 *hop,
                                                              u32 *port) {
    struct sock *peer = 0;
    READ(peer, &((struct unix_sock *)sk)->peer);
    u32 own = inode_of(sk), other = inode_of(peer);
    *side = AT_CLIENT;
    u32 *index = bpf_map_lookup_elem(&numbers, &own);
    if (!index) {
        *side = AT_SERVER;
        index = bpf_map_lookup_elem(&numbers, &other);
    }
    if (!index) {
        u32 at = hop_of(sk);
        if (at < HOPS) {
            index = number(other, at);
        } else if ((at = hop_of(peer)) < HOPS) {
            *side = AT_CLIENT;
            index = number(own, at);
        }
    }
    if (!index)
        return 0;
    u32 found = *index;
    *hop = found / PORTS;
    *port = found % PORTS;
    return bpf_map_lookup_elem(&connections, &found);
}

/* Some hop goes through a Unix socket. */
INLINE int over_unix(void) { return server_name_0[0] || server_name_1[0] || server_name_2[0] || server_name_3[0]; }

/* The connection of a socket, and which end of it the socket is; 0 for sockets that are nobody's here. */
INLINE struct connection *find(const struct sock *sk, enum side *side, u32 *hop, u32 *port) {
    if (over_unix() && sk->__sk_common.skc_family == AF_UNIX)
        return find_unix(sk, side, hop, port);
    u16 own = sk->__sk_common.skc_num, other = __builtin_bswap16(sk->__sk_common.skc_dport);
    const u16 ports[HOPS] = { server_port_0, server_port_1, server_port_2, server_port_3 };
    const u32 namespaces[HOPS] = { server_namespace_0, server_namespace_1, server_namespace_2, server_namespace_3 };
    u32 client = 0;
    int known = 0;
#pragma unroll
    for (u32 at = 0; at < HOPS; at++) {
        if (!ports[at] || known)
            continue;
        if (own == ports[at] && other) {
            if (!is_in(sk, namespaces[at]))
                continue;
            client = other;
            *side = AT_SERVER;
        } else if (other == ports[at]) {
            client = own;
            *side = AT_CLIENT;
        } else {
            continue;
        }
        *hop = at;
        known = 1;
    }
    if (!known)
        return 0;
    *port = client;
    u32 index = *hop * PORTS + client;
    return bpf_map_lookup_elem(&connections, &index);
}

/* The event of a socket, as it is now; 0 for sockets that are nobody's here. */
INLINE int is_followed(const u64 *context, struct event *event) {
    event->connection = find((void *)context[0], &event->side, &event->hop, &event->port);
    if (!event->connection || (!event->hop && !(event->side & ends_of_load)))
        return 0;
    event->now = bpf_ktime_get_ns();
    return 1;
}

/* Kernel 6.16 and later; before that a query is in the client's hands until the server's socket is readable. */
SEC("tp_btf/tcp_sendmsg_locked")
int on_send(u64 *context) {
    struct event event = { .side = AT_CLIENT };
    if (is_followed(context, &event)) {
        if (event.hop || event.side == AT_SERVER)
            see_sent(&event, (const struct msghdr *)context[1]);
        send(&event);
    }
    return 0;
}

SEC("tp_btf/sk_data_ready")
int on_readable(u64 *context) {
    struct event event = { .side = AT_CLIENT };
    if (is_followed(context, &event)) {
        if (over_unix() && ((const struct sock *)context[0])->__sk_common.skc_family == AF_UNIX)
            see_queued(&event, (const struct sock *)context[0]);
        readable(&event);
    }
    return 0;
}

SEC("tp_btf/sock_recv_length")
int on_receive(u64 *context) {
    struct event event = { .side = AT_CLIENT };
    if ((int)context[1] > 0 && is_followed(context, &event))
        receive(&event);
    return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
