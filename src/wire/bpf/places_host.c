/* SPDX-License-Identifier: (GPL-2.0-only OR MIT OR Apache-2.0) */
/* `places.h` and `uses.h` for the host: reads events from standard input, one a line, and drives connections with them.
 *
 *     END EVENT NOW HOP PORT BYTES    END: 1 client, 2 server; EVENT: s sends, r readable, g reads; NOW: ns; HOP: 0
 *                                     is the load's; PORT: the client's, below 64; BYTES: what is sent, in
 *                                     hexadecimal, or -
 *
 * After each it writes `since place sides reversed longest queries use changes answer`, then ns by place; `longest` is
 * the power of two of the longest stay so far. At the end it writes `= USE ROUND_TRIPS NANOS` for each use that has
 * any. END 0 is no event but asks for something (numbers that are not named are 0, and BYTES are -):
 *
 *     0 n               from here on a recording of its own: nothing is known, and events are not answered
 *     0 e EVERY HOP     takes the timeline of one query in EVERY
 *     0 f 1             there is no room for timelines
 *     0 w BY HOP PORT   the connection's sessions and changes, and requests as far as it notes them (32 bits), are BY
 *                       below where they begin anew
 *     0 p NOW HOP       answers with a snapshot: a line for each connection, `@ port since place use sides queries
 *                       pipelined pieces` and ns by place; for each use, `$ number round_trips` and ns by place; for
 *                       stays, `^ place power count`; at last `. reversed lost`
 *
 * and each timeline is written as it is whole: `~ now sent port hop requests before after` and ns by place. Compiled
 * and run by the tests of src/wire. */
#include <stdio.h>
#include <string.h>
#include "places.h"
#include "uses.h"

static struct sampling all = { .every = { 1 } };
static u32 longest;
static u64 stays[HOPS * PLACES * 64];
static struct use uses[USES];
static struct use_time times[2 * USES];
static struct scratch only;
static struct { u64 key; u32 number; } numbers[64];
static u32 known;
static struct connection connections[HOPS][64];
/* Of whom the present event is. */
static struct connection *present = connections[0];
static int is_recording, is_full;

INLINE struct sampling *sampled(void) { return &all; }

INLINE void count_stay(u32 slot) {
    stays[slot]++;
    if (slot % 64 > longest)
        longest = slot % 64;
}

INLINE long keep_timeline(struct timeline *of) {
    if (is_recording && !is_full) {
        printf("~ %llu %llu %u %u %u %u %u", present->since, of->sent, of->port, of->hop, of->requests, of->before,
               of->after);
        for (u32 place = 0; place < PLACES - 1; place++)
            printf(" %u", of->spent[place]);
        printf("\n");
    }
    return is_full || of->sent == 0;
}

INLINE long fetch(const struct event *event, u32 offset, void *into, u32 size) {
    memcpy(into, (const char *)event->data + offset, size);
    return 0;
}

INLINE long fetch_last(const struct event *event, void *into, u32 size) {
    memcpy(into, (const char *)event->end - size, size);
    return 0;
}

INLINE void copy(void *into, const void *from, u32 size) { memcpy(into, from, size); }

INLINE void each(u32 count, long (*step)(u32, void *), struct scratch *of) {
    for (u32 at = 0; at < count && !step(at, &of); at++)
        ;
}

INLINE struct scratch *scratch(void) { return &only; }

INLINE u32 *number_of(u64 key) {
    for (u32 at = 0; at < known; at++)
        if (numbers[at].key == key)
            return &numbers[at].number;
    return 0;
}

INLINE long give_number(u64 key, u32 number, int again) {
    u32 *before = number_of(key);
    if (before && again)
        *before = number;
    if (before)
        return !again;
    if (known == 64)
        return 1;
    numbers[known].key = key;
    numbers[known++].number = number;
    return 0;
}

INLINE struct use *use_at(u32 number) { return number < USES ? &uses[number] : 0; }

INLINE struct use_time *time_at(u32 at) { return at < 2 * USES ? &times[at] : 0; }

static void print_nanos(const u64 *nanos) {
    for (u32 place = 0; place < PLACES; place++)
        printf(" %llu", nanos[place]);
    printf("\n");
}

static void begin_recording(void) {
    memset(&all, 0, sizeof(all));
    memset(stays, 0, sizeof(stays));
    memset(uses, 0, sizeof(uses));
    memset(times, 0, sizeof(times));
    memset(connections, 0, sizeof(connections));
    longest = known = is_full = 0;
    is_recording = 1;
}

static void near_wrap(struct connection *connection, u64 by) {
    all.requests = (u32)-by;
    connection->generation = connection->changes = -by;
}

static void snapshot(u32 hop) {
    for (u32 port = 0; port < 64; port++) {
        const struct connection *of = &connections[hop][port];
        if (!of->since)
            continue;
        printf("@ %u %llu %u %u %u %llu %llu %llu", port, of->since, of->place, of->use, of->sides, of->queries,
               of->pipelined, of->pieces);
        print_nanos(of->nanos);
    }
    for (u32 at = 0; hop && at < 2 * USES; at++) {
        u64 any = times[at].round_trips;
        for (u32 place = 0; place < PLACES; place++)
            any |= times[at].nanos[place];
        if (!any)
            continue;
        printf("$ %u %llu", at, times[at].round_trips);
        print_nanos(times[at].nanos);
    }
    for (u32 slot = hop * PLACES * 64; slot < (hop + 1) * PLACES * 64; slot++)
        if (stays[slot])
            printf("^ %u %u %llu\n", slot / 64 % PLACES, slot % 64, stays[slot]);
    printf(". %llu %llu\n", all.reversed[hop], all.lost[hop]);
}

static void happen(struct event *event, char what) {
    if (what == 's')
        send(event);
    else if (what == 'r')
        readable(event);
    else
        receive(event);
    if (is_recording)
        return;
    printf("%llu %u %u %llu %u %llu %u %u %u", present->since, present->place, present->sides,
           all.reversed[event->hop], longest, present->queries, present->use, present->changes, present->answer);
    print_nanos(present->nanos);
}

int main(void) {
    struct event event = { 0 };
    static char line[4096], digits[4096];
    static u8 bytes[2048];
    int side;
    char what;
    while (fgets(line, sizeof(line), stdin)) {
        if (sscanf(line, "%d %c %llu %u %u %4095s", &side, &what, &event.now, &event.hop, &event.port, digits) != 6 ||
            event.hop >= HOPS || event.port >= 64)
            return 1;
        present = event.connection = &connections[event.hop][event.port];
        u32 length = 0, byte;
        for (; digits[0] != '-' && sscanf(digits + 2 * length, "%2x", &byte) == 1; length++)
            bytes[length] = byte;
        event.side = side;
        event.data = length ? (u64)bytes : 0;
        event.end = length >= 6 ? (u64)bytes + length : 0;
        event.length = length;
        if (side)
            happen(&event, what);
        else if (what == 'n')
            begin_recording();
        else if (what == 'e')
            all.every[event.hop] = event.now;
        else if (what == 'f')
            is_full = event.now;
        else if (what == 'w')
            near_wrap(present, event.now);
        else
            snapshot(event.hop);
    }
    for (u32 at = 0; !is_recording && at < 2 * USES; at++) {
        u64 nanos = 0;
        for (u32 place = 0; place < PLACES; place++)
            nanos += times[at].nanos[place];
        if (nanos || times[at].round_trips)
            printf("= %u %llu %llu\n", at, times[at].round_trips, nanos);
    }
    return 0;
}
