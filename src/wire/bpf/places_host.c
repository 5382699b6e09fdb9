/* SPDX-License-Identifier: (GPL-2.0-only OR MIT OR Apache-2.0) */
/* `places.h` and `uses.h` for the host: reads events from standard input, one a line, and drives one connection with
 * them.
 *
 *     END EVENT NOW HOP BYTES    END: 1 client, 2 server; EVENT: s sends, r readable, g reads; NOW: ns; HOP: 0 is the
 *                                load's; BYTES: what is sent, in hexadecimal, or -
 *
 * After each it writes `since place sides reversed longest queries use changes answer`, then ns by place; `longest` is
 * the power of two of the longest stay so far. At the end it writes `= USE ROUND_TRIPS NANOS` for each use that has
 * any. Compiled and run by the tests of src/wire/shapes.rs. */
#include <stdio.h>
#include <string.h>
#include "places.h"
#include "uses.h"

static struct sampling all = { .every = { 1 } };
static u32 longest;
static struct use uses[USES];
static struct use_time times[2 * USES];
static struct scratch only;
static struct { u64 key; u32 number; } numbers[64];
static u32 known;

INLINE struct sampling *sampled(void) { return &all; }

INLINE void count_stay(u32 slot) {
    if (slot % 64 > longest)
        longest = slot % 64;
}

INLINE long keep_timeline(struct timeline *timeline) { return timeline->sent == 0; }

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

int main(void) {
    struct connection connection = { 0 };
    struct event event = { .connection = &connection, .port = 1 };
    static char line[4096], digits[4096];
    static u8 bytes[2048];
    int side;
    char what;
    while (fgets(line, sizeof(line), stdin)) {
        if (sscanf(line, "%d %c %llu %u %4095s", &side, &what, &event.now, &event.hop, digits) != 5)
            return 1;
        u32 length = 0, byte;
        for (; sscanf(digits + 2 * length, "%2x", &byte) == 1; length++)
            bytes[length] = byte;
        event.side = side;
        event.data = length ? (u64)bytes : 0;
        event.end = length >= 6 ? (u64)bytes + length : 0;
        event.length = length;
        if (what == 's')
            send(&event);
        else if (what == 'r')
            readable(&event);
        else
            receive(&event);
        printf("%llu %u %u %llu %u %llu %u %u %u", connection.since, connection.place, connection.sides,
               all.reversed[event.hop], longest, connection.queries, connection.use, connection.changes,
               connection.answer);
        for (u32 place = 0; place < PLACES; place++)
            printf(" %llu", connection.nanos[place]);
        printf("\n");
    }
    for (u32 at = 0; at < 2 * USES; at++) {
        u64 nanos = 0;
        for (u32 place = 0; place < PLACES; place++)
            nanos += times[at].nanos[place];
        if (nanos || times[at].round_trips)
            printf("= %u %llu %llu\n", at, times[at].round_trips, nanos);
    }
    return 0;
}
