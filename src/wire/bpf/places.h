/* SPDX-License-Identifier: (GPL-2.0-only OR MIT OR Apache-2.0) */
/* Where each query is, seen at the sockets: a state for each connection, and how long it has been in each state so far.
 * Invariant: a connection is in exactly one place at every instant since its first event, so the sums of all places
 * grow by exactly the time that passes, times the connections.
 *
 *     client sends -> [request on the network] -> server's socket readable -> [in the server's socket buffer]
 *     -> server reads -> [in the server's hands] -> server sends -> [response on the network]
 *     -> client's socket readable -> [in the client's socket buffer] -> client reads -> [in the client's hands] -> ...
 *
 * Nothing of the kernel is used here, so that a test compiles this file for the host and drives it event by event. Who
 * includes it says where the sums are kept: `sampled`, `count_stay` and `keep_timeline`.
 * Shapes are mirrored in src/wire/shapes.rs. */
#pragma once
#include "types.h"

#define HOPS 4
#define PORTS 65536

enum place { CLIENT, REQUEST, SERVER_BUFFER, SERVER, RESPONSE, CLIENT_BUFFER, PLACES };

/* The ends of a connection: which of them an event is of, and in `sides` which of them any event was of. */
enum side { AT_CLIENT = 1, AT_SERVER = 2 };

/* The server has sent the message that an answer ends with; it has sent something since, which is no part of a query
 * (a notification, its last words). Unknown where what is sent cannot be read. */
enum answer { ENDED = 1, ASIDE = 2 };

/* 128 bytes. */
struct connection {
    /* When it came into its place; it never goes back. 0: no event yet. */
    u64 since;
    u8 place;
    /* Bits of `enum answer`. */
    u8 answer;
    /* What its round trip is for, on a hop behind: see `use_of`. 0: none was seen to begin. */
    u16 use;
    /* The ends of which events were seen: bits of `enum side`. */
    u8 sides;
    /* Sessions that began on this port. */
    u8 generation;
    /* Times that a round trip was for something else than the one before. */
    u16 changes;
    u64 nanos[PLACES];
    u64 queries;
    /* Requests that were sent before the answer to the one before was read. */
    u64 pipelined;
    /* Times that the server or the client went on reading or sending within one query. */
    u64 pieces;
    /* The query whose whole timeline is taken, if one is: when it was sent (0: none is), ns in each place but the
     * client's. */
    u64 sampled;
    u32 spent[PLACES - 1];
    /* Requests to the hops behind: all there were when the server read the query; then those until its answer was sent.
     * */
    u32 requests;
    /* Where there was one: ns from reading the query to sending that, and from reading its answer to sending the
     * query's. */
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

/* 128 bytes. */
struct sampling {
    /* Every how many queries of a hop one's timeline is taken; 0: none. */
    u32 every[HOPS];
    u64 lost[HOPS];
    /* Of the hops behind, whichever connection: the last request sent, the last answer read, and how many requests. */
    u64 asked, answered;
    u64 requests;
    /* Connections over Unix sockets that were numbered, and events of those for which there was no number left. */
    u64 numbered, unnumbered;
    /* Changes of place by a clock that was read before the change that came first: see `move`. */
    u64 reversed[HOPS];
    /* Uses that were numbered, and statements' names for which there was no room. */
    u32 uses, unnamed;
};

/* Of the round trips for one use, on one CPU. 64 bytes. */
struct use_time {
    u64 nanos[PLACES];
    u64 round_trips;
    u64 reserved;
};

/* An event at one end of a connection. */
struct event {
    struct connection *connection;
    enum side side;
    u32 hop;
    u32 port;
    u64 now;
    /* What is sent, as far as it lies in one piece, and where all of it ends; 0 where it cannot be read. It lies in the
     * memory of the sender, or in the kernel's. */
    u64 data, end;
    u32 length;
    u32 in_kernel;
};

/* What all hops share; 0 for none. */
INLINE struct sampling *sampled(void);
/* Counts one stay: `slot` is by hop, place and power of two of ns. */
INLINE void count_stay(u32 slot);
/* Keeps a whole timeline; not 0 where there is no room. */
INLINE long keep_timeline(struct timeline *timeline);
/* Counts ns in a place for what the connection's round trip is for: `uses.h`. */
INLINE void count_use(const struct event *event, u32 place, u64 nanos);
/* What the round trip that begins is for: `uses.h`. */
INLINE void note_use(const struct event *event);
/* What is sent ends with the message that an answer ends with. */
INLINE int ends_answer(const struct event *event);
/* What is sent after the end of an answer is none to a further query. */
INLINE int is_aside(const struct event *event);

/* The exponent of the highest bit, by halves. */
INLINE u32 power(u64 rest) {
    u32 bits = 0;
    if (rest >> 32) { bits += 32; rest >>= 32; }
    if (rest >> 16) { bits += 16; rest >>= 16; }
    if (rest >> 8) { bits += 8; rest >>= 8; }
    if (rest >> 4) { bits += 4; rest >>= 4; }
    if (rest >> 2) { bits += 2; rest >>= 2; }
    if (rest >> 1) bits += 1;
    return bits;
}

/* As a timeline holds it: more than 4.29 s are as long as it can tell. */
INLINE u32 short_of(u64 nanos) { return nanos > 0xffffffff ? 0xffffffff : nanos; }

/* Counts the time since the last change for a place, and moves on to the next; gives when that was.
 *
 * The two ends of a connection are on two CPUs. One can read its clock, be held up, and come here after the other's
 * later event: then no time has passed, the change counts as `reversed`, and `since` stays where it is. */
INLINE u64 move(const struct event *event, u32 spent_in, u32 next) {
    struct connection *connection = event->connection;
    u64 since = *(volatile u64 *)&connection->since, now = event->now;
    if (now < since) {
        struct sampling *all = sampled();
        if (all && event->hop < HOPS)
            __sync_fetch_and_add(&all->reversed[event->hop], 1);
        now = since;
    }
    if (since && spent_in < PLACES) {
        u64 nanos = now - since;
        connection->nanos[spent_in] += nanos;
        if (connection->sampled && spent_in != CLIENT) {
            connection->spent[spent_in - 1] = short_of(connection->spent[spent_in - 1] + nanos);
        }
        count_stay((event->hop * PLACES + spent_in) * 64 + power(nanos));
        if (event->hop && spent_in != CLIENT)
            count_use(event, spent_in, nanos);
    }
    connection->since = now;
    connection->place = next;
    return now;
}

/* A query begins: the timeline of the one before is whole. */
INLINE void begin(const struct event *event, u64 now) {
    struct connection *connection = event->connection;
    u32 hop = event->hop;
    connection->queries++;
    connection->answer = 0;
    note_use(event);
    struct sampling *all = sampled();
    if (!all || hop >= HOPS)
        return;
    if (connection->sampled) {
        struct timeline timeline = {
            .sent = connection->sampled,
            .requests = connection->requests,
            .before = connection->before,
            .after = connection->after,
            .port = event->port,
            .hop = hop,
        };
        __builtin_memcpy(timeline.spent, connection->spent, sizeof(timeline.spent));
        if (keep_timeline(&timeline))
            __sync_fetch_and_add(&all->lost[hop], 1);
        connection->sampled = 0;
    }
    /* Connections that go in step are taken at different times. */
    u32 every = all->every[hop];
    if (!every || ((u32)connection->queries + event->port) % every)
        return;
    connection->sampled = now;
    __builtin_memset(connection->spent, 0, sizeof(connection->spent));
    connection->requests = connection->before = connection->after = 0;
}

/* The server has read a query of the load, or sends its answer: what it asked of the hops behind in between. */
INLINE void mark_read(const struct event *event) {
    struct sampling *all = sampled();
    if (all && event->hop == 0 && event->connection->sampled)
        event->connection->requests = all->requests;
}

INLINE void mark_answer(const struct event *event) {
    struct connection *connection = event->connection;
    struct sampling *all = sampled();
    if (!all || event->hop != 0 || !connection->sampled)
        return;
    connection->requests = (u32)all->requests - connection->requests;
    u64 read = connection->since, asked = all->asked, answered = all->answered;
    if (connection->requests == 1 && read <= asked && asked <= answered && answered <= event->now) {
        connection->before = short_of(asked - read);
        connection->after = short_of(event->now - answered);
    }
}

/* The server asks something behind, or has read the answer. */
INLINE void mark_behind(const struct event *event, int asks, u64 now) {
    struct sampling *all = sampled();
    if (!all || event->hop == 0 || !all->every[0])
        return;
    if (asks) {
        all->asked = now;
        __sync_fetch_and_add(&all->requests, 1);
    } else {
        all->answered = now;
    }
}

/* An end sends. */
INLINE void send(const struct event *event) {
    struct connection *connection = event->connection;
    u32 place = connection->place;
    connection->sides |= event->side;
    if (event->side == AT_CLIENT) {
        if (place == CLIENT) {
            u64 now = move(event, CLIENT, REQUEST);
            begin(event, now);
            mark_behind(event, 1, now);
        } else if (place == REQUEST || place == SERVER_BUFFER) {
            connection->pieces++;
        } else {
            connection->pipelined++;
        }
        return;
    }
    if (place == CLIENT && connection->answer & ENDED && is_aside(event)) {
        connection->answer |= ASIDE;
        return;
    }
    if (ends_answer(event))
        connection->answer = ENDED;
    if (place == SERVER || place == SERVER_BUFFER) {
        if (place == SERVER)
            mark_answer(event);
        move(event, place, RESPONSE);
    } else if (place == CLIENT) {
        /* The client has read a part of the answer and waits: the query was in the server's hands all the while. */
        connection->pieces++;
        move(event, SERVER, RESPONSE);
    } else {
        connection->pieces++;
    }
}

/* An end has something to read. */
INLINE void readable(const struct event *event) {
    struct connection *connection = event->connection;
    u32 place = connection->place;
    if (event->side == AT_CLIENT) {
        int alone = connection->sides == AT_CLIENT;
        if (event->in_kernel) {
            /* A Unix socket, where the server's sending is seen here. */
            if (place == CLIENT && connection->answer & ENDED && is_aside(event)) {
                connection->answer |= ASIDE;
                return;
            }
            if (ends_answer(event))
                connection->answer = ENDED;
            if (place == CLIENT && connection->since) {
                connection->pieces++;
                move(event, SERVER, CLIENT_BUFFER);
                return;
            }
        }
        if (place == SERVER)
            mark_answer(event);
        if (place == RESPONSE || place == SERVER)
            move(event, place, CLIENT_BUFFER);
        else if (alone && (place == REQUEST || (place == CLIENT && connection->since)))
            /* The server is on another host: on the network or in its hands, which of them is not seen. */
            move(event, SERVER, CLIENT_BUFFER);
        return;
    }
    connection->sides |= AT_SERVER;
    if (place == REQUEST) {
        move(event, REQUEST, SERVER_BUFFER);
    } else if (place == CLIENT || (place == RESPONSE && !(connection->sides & AT_CLIENT))) {
        /* The client's sending was not seen, as on a Unix socket; of one on another host nothing is: since the answer
         * left, the query was on the network or at the client. */
        u64 now = move(event, place, SERVER_BUFFER);
        begin(event, now);
        mark_behind(event, 1, now);
    }
}

/* An end has read something. */
INLINE void receive(const struct event *event) {
    struct connection *connection = event->connection;
    u32 place = connection->place;
    if (event->side == AT_SERVER) {
        if (place == SERVER_BUFFER || place == REQUEST) {
            move(event, place, SERVER);
            mark_read(event);
        }
        return;
    }
    connection->sides |= AT_CLIENT;
    if (place == CLIENT_BUFFER || place == RESPONSE) {
        mark_behind(event, 0, move(event, place, CLIENT));
    } else if (connection->answer & ASIDE) {
        /* It may be read in several parts. */
        return;
    } else if (place == CLIENT && connection->since) {
        /* A further part of the answer: it was in the client's buffer since the first was read. */
        connection->pieces++;
        move(event, CLIENT_BUFFER, CLIENT);
    }
}

AT(connection, since, 0); AT(connection, place, 8); AT(connection, answer, 9); AT(connection, use, 10);
AT(connection, sides, 12); AT(connection, generation, 13); AT(connection, changes, 14); AT(connection, nanos, 16);
AT(connection, queries, 64); AT(connection, pipelined, 72); AT(connection, pieces, 80); AT(connection, sampled, 88);
SIZE(connection, 128);
AT(timeline, sent, 0); AT(timeline, spent, 8); AT(timeline, requests, 28); AT(timeline, before, 32);
AT(timeline, after, 36); AT(timeline, port, 40); AT(timeline, hop, 42); AT(timeline, reserved, 44);
SIZE(timeline, 48);
AT(sampling, every, 0); AT(sampling, lost, 16); AT(sampling, asked, 48); AT(sampling, answered, 56);
AT(sampling, requests, 64); AT(sampling, numbered, 72); AT(sampling, unnumbered, 80); AT(sampling, reversed, 88);
AT(sampling, uses, 120); AT(sampling, unnamed, 124);
SIZE(sampling, 128);
AT(use_time, nanos, 0); AT(use_time, round_trips, 48); SIZE(use_time, 64);
