/* SPDX-License-Identifier: (GPL-2.0-only OR MIT OR Apache-2.0) */
/* Where each query is, seen at the sockets: a state for each connection, and how long it has been in each state so far.
 * Invariant: a connection is in exactly one place at every instant since its first event, so the sums of all places grow by
 * exactly the time that passes, times the connections.
 *
 *     client sends -> [request on the network] -> server's socket readable -> [in the server's socket buffer]
 *     -> server reads -> [in the server's hands] -> server sends -> [response on the network]
 *     -> client's socket readable -> [in the client's socket buffer] -> client reads -> [in the client's hands] -> ...
 *
 * A connection has the number of the client's port, on its hop: client to server, server to the database behind. One over a
 * Unix socket is numbered as it is met; what is sent there is readable at once, so that it is never on the network.
 * Shapes are mirrored in src/wire/shapes.rs. */
#include "../../sample/ebpf/bpf/kernel.h"

#define HOPS 4
#define PORTS 65536

enum place { CLIENT, REQUEST, SERVER_BUFFER, SERVER, RESPONSE, CLIENT_BUFFER, PLACES };

/* The server's port of each hop, 0 for none; set when the program is loaded. */
const volatile u16 server_port_0 = 0, server_port_1 = 0, server_port_2 = 0, server_port_3 = 0;

/* The name to which the server's Unix socket of each hop is bound, with zeros behind it; all zeros for none. */
#define NAME_WORDS 14
const volatile u64 server_name_0[NAME_WORDS] = {}, server_name_1[NAME_WORDS] = {}, server_name_2[NAME_WORDS] = {},
                   server_name_3[NAME_WORDS] = {};

struct sock_common {
    u16 skc_dport;
    u16 skc_num;
    u16 skc_family;
} RELOCATED;

struct socket;

struct sock {
    struct sock_common __sk_common;
    struct socket *sk_socket;
} RELOCATED;

/* include/uapi/linux/un.h, include/linux/socket.h */
struct sockaddr_un {
    u16 sun_family;
    char sun_path[108];
};
#define AF_UNIX 1

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

/* 128 bytes. */
struct connection {
    u64 since;
    u32 place;
    /* Which sides' events were seen: 1 client's, 2 server's. */
    u32 sides;
    u64 nanos[PLACES];
    u64 queries;
    /* Requests that were sent before the answer to the one before was read. */
    u64 pipelined;
    /* Times that the server or the client went on reading or sending within one query. */
    u64 pieces;
    /* The query whose whole timeline is taken, if one is: when it was sent (0: none is), ns in each place but the client's. */
    u64 sampled;
    u32 spent[PLACES - 1];
    /* Requests to the hops behind: all there were when the server read the query; then those until its answer was sent. */
    u32 requests;
    /* Where there was one: ns from reading the query to sending that, and from reading its answer to sending the query's. */
    u32 before, after;
};

/* One query's whole way. 48 bytes. */
struct timeline {
    u64 sent;
    u32 spent[PLACES - 1];
    u32 requests, before, after;
    u16 port;
    u16 hop;
    u32 reserved;
};

/* 96 bytes. */
struct sampling {
    /* Every how many queries of a hop one's timeline is taken; 0: none. */
    u32 every[HOPS];
    u64 lost[HOPS];
    /* Of the hops behind, whichever connection: the last request sent, the last answer read, and how many requests. */
    u64 asked, answered;
    u64 requests;
    /* Connections over Unix sockets that were numbered, and events of those for which there was no number left. */
    u64 numbered, unnumbered;
    u64 reserved;
};

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __type(key, u32);
    __type(value, struct connection);
    __uint(max_entries, HOPS * PORTS);
    __uint(map_flags, BPF_F_MMAPABLE);
} connections SEC(".maps");

/* The index among `connections` of one over a Unix socket, by the inode of the client's end. Its size is set when it is loaded. */
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

enum side { AT_CLIENT, AT_SERVER };

INLINE struct sampling *sampled(void) {
    u32 only = 0;
    return bpf_map_lookup_elem(&sampling, &only);
}

/* What the program reads of kernel memory beyond its argument. */
#define READ(into, from) bpf_probe_read_kernel(&(into), sizeof(into), from)

/* The number by which fstat knows a socket; 0 for one that its process has closed. */
INLINE u32 inode_of(const struct sock *sk) {
    struct socket *socket = 0;
    unsigned long inode = 0;
    if (!sk || READ(socket, &sk->sk_socket) || !socket)
        return 0;
    READ(inode, &((struct socket_alloc *)socket)->vfs_inode.i_ino);
    return inode;
}

INLINE int same(const u64 *name, const volatile u64 *other) {
    u64 differs = 0;
#pragma unroll
    for (u32 at = 0; at < NAME_WORDS; at++)
        differs |= name[at] ^ other[at];
    return !differs;
}

/* The hop whose server's socket is bound to this one's name; HOPS for none. An accepted socket has the name of the one that listens. */
INLINE u32 hop_of(const struct sock *sk) {
    struct unix_address *address = 0;
    u64 name[NAME_WORDS] = {};
    if (!sk || READ(address, &((struct unix_sock *)sk)->addr) || !address)
        return HOPS;
    if (bpf_probe_read_kernel_str(name, sizeof(name), (char *)&address->name + 2) <= 1)
        return HOPS;
    return same(name, server_name_0) ? 0 : same(name, server_name_1) ? 1 : same(name, server_name_2) ? 2 : same(name, server_name_3) ? 3 : HOPS;
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
static __attribute__((noinline)) struct connection *find_unix(const struct sock *sk, enum side *side, u32 *hop, u32 *port) {
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

/* The connection of a socket, and which end of it the socket is; 0 for sockets that are nobody's here. */
INLINE struct connection *find(const struct sock *sk, enum side *side, u32 *hop, u32 *port) {
    if (server_name_0[0] || server_name_1[0] || server_name_2[0] || server_name_3[0]) {
        if (sk->__sk_common.skc_family == AF_UNIX)
            return find_unix(sk, side, hop, port);
    }
    u16 own = sk->__sk_common.skc_num, other = __builtin_bswap16(sk->__sk_common.skc_dport);
    const u16 ports[HOPS] = { server_port_0, server_port_1, server_port_2, server_port_3 };
    u32 client = 0;
    int known = 0;
#pragma unroll
    for (u32 at = 0; at < HOPS; at++) {
        if (!ports[at] || known)
            continue;
        if (own == ports[at] && other) {
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

/* Counts the time since the last change for a place, and moves on to the next. */
INLINE void move(struct connection *connection, u32 hop, u32 spent_in, u32 next, u64 now) {
    if (connection->since && spent_in < PLACES) {
        u64 nanos = now - connection->since;
        connection->nanos[spent_in] += nanos;
        if (connection->sampled && spent_in != CLIENT) {
            u64 spent = connection->spent[spent_in - 1] + nanos;
            connection->spent[spent_in - 1] = spent > 0xffffffff ? 0xffffffff : spent;
        }
        /* The exponent of the highest bit, by halves. */
        u32 bits = 0;
        u64 rest = nanos;
        if (rest >> 32) { bits += 32; rest >>= 32; }
        if (rest >> 16) { bits += 16; rest >>= 16; }
        if (rest >> 8) { bits += 8; rest >>= 8; }
        if (rest >> 4) { bits += 4; rest >>= 4; }
        if (rest >> 2) { bits += 2; rest >>= 2; }
        if (rest >> 1) bits += 1;
        u32 slot = (hop * PLACES + spent_in) * 64 + bits;
        u64 *count = bpf_map_lookup_elem(&stays, &slot);
        if (count)
            *count += 1;
    }
    connection->since = now;
    connection->place = next;
}

/* A query begins: the timeline of the one before is whole. */
INLINE void begin(struct connection *connection, u32 hop, u32 port, u64 now) {
    connection->queries++;
    struct sampling *all = sampled();
    if (!all || hop >= HOPS)
        return;
    if (connection->sampled) {
        struct timeline timeline = {
            .sent = connection->sampled,
            .requests = connection->requests,
            .before = connection->before,
            .after = connection->after,
            .port = port,
            .hop = hop,
        };
        __builtin_memcpy(timeline.spent, connection->spent, sizeof(timeline.spent));
        if (bpf_ringbuf_output(&timelines, &timeline, sizeof(timeline), BPF_RB_NO_WAKEUP))
            __sync_fetch_and_add(&all->lost[hop], 1);
        connection->sampled = 0;
    }
    /* Connections that go in step are taken at different times. */
    u32 every = all->every[hop];
    if (!every || ((u32)connection->queries + port) % every)
        return;
    connection->sampled = now;
    __builtin_memset(connection->spent, 0, sizeof(connection->spent));
    connection->requests = connection->before = connection->after = 0;
}

/* The server has read a query of the load, or sends its answer: what it asked of the hops behind in between. */
INLINE void mark_read(struct connection *connection, u32 hop) {
    struct sampling *all = sampled();
    if (all && hop == 0 && connection->sampled)
        connection->requests = all->requests;
}

INLINE void mark_answer(struct connection *connection, u32 hop, u64 now) {
    struct sampling *all = sampled();
    if (!all || hop != 0 || !connection->sampled)
        return;
    connection->requests = (u32)all->requests - connection->requests;
    u64 read = connection->since, asked = all->asked, answered = all->answered;
    if (connection->requests == 1 && read <= asked && asked <= answered && answered <= now) {
        connection->before = asked - read;
        connection->after = now - answered;
    }
}

/* The server asks something behind, or has read the answer. */
INLINE void mark_behind(u32 hop, int asks, u64 now) {
    struct sampling *all = sampled();
    if (!all || hop == 0 || !all->every[0])
        return;
    if (asks) {
        all->asked = now;
        __sync_fetch_and_add(&all->requests, 1);
    } else {
        all->answered = now;
    }
}

/* Kernel 6.16 and later; before that a query is in the client's hands until the server's socket is readable. */
SEC("tp_btf/tcp_sendmsg_locked")
int on_send(u64 *context) {
    enum side side = AT_CLIENT;
    u32 hop = 0, port = 0;
    struct connection *connection = find((void *)context[0], &side, &hop, &port);
    if (!connection)
        return 0;
    u64 now = bpf_ktime_get_ns();
    u32 place = connection->place;
    if (side == AT_CLIENT) {
        connection->sides |= 1;
        if (place == CLIENT) {
            move(connection, hop, CLIENT, REQUEST, now);
            begin(connection, hop, port, now);
            mark_behind(hop, 1, now);
        } else if (place == REQUEST || place == SERVER_BUFFER) {
            connection->pieces++;
        } else {
            connection->pipelined++;
        }
        return 0;
    }
    connection->sides |= 2;
    if (place == SERVER || place == SERVER_BUFFER) {
        if (place == SERVER)
            mark_answer(connection, hop, now);
        move(connection, hop, place, RESPONSE, now);
    } else if (place == CLIENT) {
        /* The client has read a part of the answer and waits: the query was in the server's hands all the while. */
        connection->pieces++;
        move(connection, hop, SERVER, RESPONSE, now);
    } else {
        connection->pieces++;
    }
    return 0;
}

SEC("tp_btf/sk_data_ready")
int on_readable(u64 *context) {
    enum side side = AT_CLIENT;
    u32 hop = 0, port = 0;
    struct connection *connection = find((void *)context[0], &side, &hop, &port);
    if (!connection)
        return 0;
    u64 now = bpf_ktime_get_ns();
    u32 place = connection->place;
    if (side == AT_CLIENT) {
        if (place == SERVER)
            mark_answer(connection, hop, now);
        if (place == RESPONSE || place == SERVER)
            move(connection, hop, place, CLIENT_BUFFER, now);
        else if (place == REQUEST && connection->sides == 1)
            /* The server is on another host: on the network or in its hands, which of them is not seen. */
            move(connection, hop, SERVER, CLIENT_BUFFER, now);
        else if (place == CLIENT && connection->since && connection->sides == 1)
            move(connection, hop, SERVER, CLIENT_BUFFER, now);
        return 0;
    }
    connection->sides |= 2;
    if (place == REQUEST) {
        move(connection, hop, REQUEST, SERVER_BUFFER, now);
    } else if (place == CLIENT || (place == RESPONSE && !(connection->sides & 1))) {
        /* The client's sending was not seen, as on a Unix socket; of one on another host nothing is: since the answer left, the
         * query was on the network or at the client. */
        move(connection, hop, place, SERVER_BUFFER, now);
        begin(connection, hop, port, now);
        mark_behind(hop, 1, now);
    }
    return 0;
}

SEC("tp_btf/sock_recv_length")
int on_receive(u64 *context) {
    if ((int)context[1] <= 0)
        return 0;
    enum side side = AT_CLIENT;
    u32 hop = 0, port = 0;
    struct connection *connection = find((void *)context[0], &side, &hop, &port);
    if (!connection)
        return 0;
    u64 now = bpf_ktime_get_ns();
    u32 place = connection->place;
    if (side == AT_SERVER) {
        if (place == SERVER_BUFFER || place == REQUEST) {
            move(connection, hop, place, SERVER, now);
            mark_read(connection, hop);
        }
        return 0;
    }
    connection->sides |= 1;
    if (place == CLIENT_BUFFER || place == RESPONSE) {
        move(connection, hop, place, CLIENT, now);
        mark_behind(hop, 0, now);
    } else if (place == CLIENT && connection->since) {
        /* A further part of the answer: it was in the client's buffer since the first was read. */
        connection->pieces++;
        move(connection, hop, CLIENT_BUFFER, CLIENT, now);
    }
    return 0;
}

_Static_assert(sizeof(struct connection) == 128, "shapes.rs");
_Static_assert(sizeof(struct timeline) == 48, "shapes.rs");
_Static_assert(sizeof(struct sampling) == 96, "shapes.rs");

char terms[] SEC("license") = "Dual MIT/GPL";
