/* SPDX-License-Identifier: (GPL-2.0-only OR MIT OR Apache-2.0) */
/* `places.h` for the host: reads events from standard input, one a line, and drives one connection of the load's hop
 * with them.
 *
 *     END EVENT NOW       END: 1 client, 2 server; EVENT: s sends, r readable, g reads; NOW: ns
 *
 * After each it writes `since place sides reversed longest queries`, then ns by place; `longest` is the power of two of
 * the longest stay so far. Compiled and run by the tests of src/wire/shapes.rs. */
#include <stdio.h>
#include "places.h"

static struct sampling all = { .every = { 1 } };
static u32 longest;

INLINE struct sampling *sampled(void) { return &all; }

INLINE void count_stay(u32 slot) {
    if (slot % 64 > longest)
        longest = slot % 64;
}

INLINE long keep_timeline(struct timeline *timeline) { return timeline->sent == 0; }

int main(void) {
    struct connection connection = { 0 };
    struct event event = { .connection = &connection, .port = 1 };
    int side;
    char what;
    while (scanf("%d %c %llu", &side, &what, &event.now) == 3) {
        event.side = side;
        if (what == 's')
            send(&event);
        else if (what == 'r')
            readable(&event);
        else
            receive(&event);
        printf("%llu %u %u %llu %u %llu", connection.since, connection.place, connection.sides, all.reversed[0],
               longest, connection.queries);
        for (u32 place = 0; place < PLACES; place++)
            printf(" %llu", connection.nanos[place]);
        printf("\n");
    }
    return 0;
}
