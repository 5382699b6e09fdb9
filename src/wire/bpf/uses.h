/* SPDX-License-Identifier: (GPL-2.0-only OR MIT OR Apache-2.0) */
/* What a round trip behind the server is for: the statement that its request names, by the protocol's messages at the
 * socket. Invariant: nothing is guessed. A request that cannot be read counts for a use that says why, and so does one
 * for which there was no room; a statement that was parsed before anybody looked has the name that the client gave it,
 * on its own connection.
 *
 * A request is a train of messages (PostgreSQL documentation, "Message Formats"): its use is the last Bind, Parse or
 * Query among the first few. A text's constants and comments are no part of what it is: `take_byte`, mirrored in
 * src/sql/shape.rs.
 *
 * Nothing of the kernel is used here either (see places.h). Who includes it says where a request's bytes and the
 * numbers are: `fetch`, `copy`, `each`, `scratch`, `number_of`, `give_number`, `use_at`. */
#pragma once
#include "places.h"

/* Uses that are told apart, of all hops, and how much of a statement's text tells them apart. */
#define USES 512
#define TEXT 496
/* Messages of a request that are looked at. */
#define WALKED 6

/* What is not told, by hop: the first SPECIALS * HOPS numbers. Mirrored in src/wire/uses.rs. */
enum special { NOT_SEEN, ENCRYPTED, NO_ROOM, SESSION, SPECIALS };

enum kind { UNUSED, STATEMENT, NAMED, MESSAGE };

/* 512 bytes; written once, when it gets its number. */
struct use {
    u64 key;
    /* Of a NAMED one: its connection, as in `connections`. */
    u32 connection;
    u8 kind;
    u8 hop;
    /* Of a MESSAGE: the first one's type. */
    u8 message;
    /* The text is longer than this. */
    u8 cut;
    /* The statement's text, or its name; zeros behind it unless it is cut. */
    char text[TEXT];
};

/* Where a text or name is read and hashed. */
struct scratch {
    u64 hash;
    /* Bytes read; of a name: where it begins. */
    u32 length, start;
    /* What it is inside of: a quote, a comment, a number, another name. */
    u8 within, escapes, skip, gap;
    /* The byte before, and the last one that was hashed. */
    u8 before, last, whole;
    /* A `/` or `-` that may begin a comment. */
    u8 held;
    char text[512];
};

INLINE long fetch(const struct event *event, u32 offset, void *into, u32 size);
/* The last bytes of what is sent. */
INLINE long fetch_last(const struct event *event, void *into, u32 size);
INLINE void copy(void *into, const void *from, u32 size);
/* Until a step gives 1. What it is given lies on the stack: where the scratch is. */
INLINE void each(u32 count, long (*step)(u32, void *), struct scratch *of);
INLINE struct scratch *scratch(void);
INLINE u32 *number_of(u64 key);
/* Not 0 where there is no room, or somebody was faster. `again`: an older one is replaced. */
INLINE long give_number(u64 key, u32 number, int again);
INLINE struct use *use_at(u32 number);
/* Of this CPU. `at`: twice the use's number, and 1 more for what only prepares a statement. */
INLINE struct use_time *time_at(u32 at);

INLINE u64 mix(u64 hash, u64 with) {
    hash = (hash ^ with) * 0x9e3779b97f4a7c15;
    return hash ^ (hash >> 29);
}

INLINE int is_digit(u8 c) { return c >= '0' && c <= '9'; }
INLINE int is_word(u8 c) {
    u8 low = c | 0x20;
    return (low >= 'a' && low <= 'z') || is_digit(c) || c == '_' || c >= 0x80;
}
INLINE int is_blank(u8 c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* A byte of a statement's text. Left out: constants (each is one `?`), comments, and blanks that do not part two
 * words. */
static long take_byte(u32 at, void *context) {
    struct scratch *of = *(struct scratch **)context;
    u8 c = of->text[at & 511], before = of->before;
    if (at >= TEXT)
        return 1;
    if (!c) {
        of->whole = 1;
        return 1;
    }
    of->length = at + 1;
    of->before = c;
    if (of->within == '\'') {
        if (of->skip)
            of->skip = 0;
        else if (c == '\\' && of->escapes)
            of->skip = 1;
        else if (c == '\'')
            of->within = 0;
        return 0;
    }
    if (of->within == '*') {
        if (c == '/' && before == '*') {
            of->within = 0;
            of->before = ' ';
        }
        return 0;
    }
    if (of->within == '-') {
        if (c == '\n')
            of->within = 0;
        return 0;
    }
    if (of->within == '0') {
        if (is_word(c) || c == '.')
            return 0;
        of->within = 0;
    }
    if (is_blank(c) || (c == '*' && before == '/') || (c == '-' && before == '-')) {
        if (!is_blank(c)) {
            of->within = c;
            of->before = of->held = 0;
        }
        of->gap = 1;
        return 0;
    }
    if (of->held) {
        of->hash = mix(of->hash, of->held);
        of->last = of->held;
        of->held = 0;
    }
    if (c == '/' || c == '-') {
        of->held = c;
        return 0;
    }
    if (c == '\'') {
        of->within = c;
        of->escapes = (before | 0x20) == 'e';
        /* A doubled quote within a constant. */
        if (before == '\'')
            return 0;
        c = '?';
    } else if (is_digit(c) && !is_word(before) && before != '$') {
        of->within = '0';
        c = '?';
    } else if (c >= 'A' && c <= 'Z') {
        c |= 0x20;
    }
    if (of->gap && is_word(of->last) && is_word(c))
        of->hash = mix(of->hash, ' ');
    of->gap = 0;
    of->last = c;
    of->hash = mix(of->hash, c);
    return 0;
}

/* A byte of a statement's name; of a Bind the portal's comes before. */
static long take_name(u32 at, void *context) {
    struct scratch *of = *(struct scratch **)context;
    u8 c = of->text[at & 511];
    if (of->within) {
        if (!c) {
            of->within = 0;
            of->start = at + 1;
        }
        return 0;
    }
    of->length = at;
    if (!c) {
        of->whole = 1;
        return 1;
    }
    of->hash = mix(of->hash, c);
    return 0;
}

/* Reads what follows into the scratch; how many bytes there are. */
INLINE u32 read_on(const struct event *event, u32 offset, u32 most, struct scratch *into) {
    if (offset >= event->length)
        return 0;
    u32 size = event->length - offset;
    if (size > most)
        size = most;
    if (size > TEXT)
        size = TEXT;
    into->hash = into->length = into->start = 0;
    into->within = into->escapes = into->skip = into->gap = 0;
    into->before = into->last = into->whole = into->held = 0;
    if (fetch(event, offset, into->text, size))
        return 0;
    /* A request that ends here, whatever is left from the one before. */
    into->text[size & 511] = 0;
    return size;
}

/* The number of a use, a new one where it is met for the first time. */
INLINE u32 numbered(const struct event *event, u64 key, u32 kind, u32 message, const struct scratch *text) {
    u32 *known = number_of(key), none = event->hop * SPECIALS + NO_ROOM;
    if (known)
        return *known;
    struct sampling *all = sampled();
    if (!all || all->uses >= USES - SPECIALS * HOPS)
        return none;
    u32 number = __sync_fetch_and_add(&all->uses, 1) + SPECIALS * HOPS;
    struct use *use = use_at(number);
    if (!use)
        return none;
    use->key = key;
    use->connection = event->hop * PORTS + event->port;
    use->hop = event->hop;
    use->message = message;
    if (text) {
        copy(use->text, kind == NAMED ? text->text + (text->start & 127) : text->text, kind == NAMED ? 128 : TEXT);
        use->cut = !text->whole;
    }
    use->kind = kind;
    if (give_number(key, number, 0)) {
        known = number_of(key);
        return known ? *known : none;
    }
    return number;
}

/* The use of the text at an offset; 0 where it cannot be read. */
INLINE u32 of_text(const struct event *event, u32 offset, struct scratch *into) {
    u32 size = read_on(event, offset, TEXT, into);
    if (!size)
        return 0;
    each(size, take_byte, into);
    return numbered(event, mix(mix(into->hash, event->hop), STATEMENT), STATEMENT, 0, into);
}

/* A name is one on its connection, and in its session. */
INLINE u64 key_of_name(const struct event *event, u64 hash) {
    u64 whose = (u64)event->connection->generation << 32 | (event->hop * PORTS + event->port);
    return mix(mix(hash, whose), NAMED) | 1;
}

/* The key of a statement's name on its connection; 0 where it cannot be read. `within`: a portal's name stands
 * before. */
INLINE u64 of_name(const struct event *event, u32 offset, int within, struct scratch *into) {
    u32 size = read_on(event, offset, 128, into);
    if (!size)
        return 0;
    into->within = within;
    each(size, take_name, into);
    return into->whole ? key_of_name(event, into->hash) : 0;
}

/* What the messages of a request are, by their offsets; 0: there is none (no message but the first is at 0). */
struct train {
    u32 first, parse, bind, query;
    u8 parses, binds, queries;
};

INLINE void walk(const struct event *event, struct train *train) {
    u32 offset = 0;
    for (u32 nth = 0; nth < WALKED; nth++) {
        u8 head[8] = {};
        if (offset + 5 > event->length || fetch(event, offset, head, 5))
            return;
        u32 length = (u32)head[1] << 24 | (u32)head[2] << 16 | (u32)head[3] << 8 | head[4];
        if (nth == 0)
            train->first = head[0] ? (u32)head[0] << 8 | head[1] : 0;
        if (length < 4 || length > 1 << 30 || !head[0])
            return;
        if (head[0] == 'P') {
            train->parse = offset;
            train->parses = 1;
        } else if (head[0] == 'B') {
            train->bind = offset;
            train->binds = 1;
        } else if (head[0] == 'Q') {
            train->query = offset;
            train->queries = 1;
        }
        offset += length + 1;
    }
}

/* Bytes of a request that a short way reads at once. */
#define SHORT 32

/* The number of a request that is known already and executes one prepared statement, as nearly all of a server's
 * requests to its database are: Bind without a portal's name, Execute, Sync, and Describe in between or not. 0 for all
 * others, which go the long way. */
INLINE u32 known_bind(const struct event *event) {
    u8 head[SHORT] = {};
    if (event->length < SHORT || fetch(event, 0, head, SHORT) || head[0] != 'B' || head[5])
        return 0;
    u32 length = (u32)head[1] << 24 | (u32)head[2] << 16 | (u32)head[3] << 8 | head[4];
    u32 execute_sync = 10 + 5, describe = 7, after = event->length - 1 - length;
    if (length > event->length || (after != execute_sync && after != execute_sync + describe))
        return 0;
    u64 hash = 0;
    u32 at = 6;
    for (; at < SHORT && head[at]; at++)
        hash = mix(hash, head[at]);
    u32 *number = at < SHORT ? number_of(key_of_name(event, hash)) : 0;
    return number ? *number : 0;
}

/* The use of a request, twice its number, and 1 more where it only prepares a statement. */
static __attribute__((noinline)) u32 use_of(const struct event *event) {
    struct scratch *into = scratch();
    struct train train = {};
    u32 special = event->hop * SPECIALS;
    if (!into || !event->data || event->length < 5)
        return 2 * (special + NOT_SEEN);
    u32 known = known_bind(event);
    if (known)
        return 2 * known;
    train.first = ~0;
    walk(event, &train);
    u32 type = train.first >> 8;
    if (train.first == ~0u)
        return 2 * (special + NOT_SEEN);
    if (train.first == 0) {
        /* A start-up packet, or what asks for encryption before one: another session than before. */
        event->connection->generation++;
        return 2 * (special + SESSION);
    }
    if (type >= 0x14 && type <= 0x17 && (train.first & 255) == 3)
        return 2 * (special + ENCRYPTED);
    if (train.queries) {
        u32 number = of_text(event, train.query + 5, into);
        return 2 * (number ? number : special + NOT_SEEN);
    }
    u32 number = 0;
    if (train.parses) {
        u64 name = of_name(event, train.parse + 5, 0, into);
        u32 length = into->length;
        number = name ? of_text(event, train.parse + 5 + length + 1, into) : 0;
        if (number && give_number(name, number, 1)) {
            struct sampling *all = sampled();
            if (all)
                __sync_fetch_and_add(&all->unnamed, 1);
        }
        if (!train.binds)
            return number ? 2 * number + 1 : 2 * (special + NOT_SEEN);
    }
    if (train.binds) {
        u64 name = of_name(event, train.bind + 5, 1, into);
        return 2 * (name ? numbered(event, name, NAMED, 0, into) : special + NOT_SEEN);
    }
    if (type == 'p')
        return 2 * (special + SESSION);
    return 2 * numbered(event, mix(mix(type, event->hop), MESSAGE), MESSAGE, type, 0);
}

/* A round trip begins: what it is for. */
INLINE void note_use(const struct event *event) {
    struct connection *connection = event->connection;
    if (event->hop == 0 || event->hop >= HOPS)
        return;
    u32 use = use_of(event);
    if (use != connection->use)
        connection->changes++;
    connection->use = use;
    struct use_time *time = time_at(use);
    if (time)
        time->round_trips++;
}

INLINE void count_use(const struct event *event, u32 place, u64 nanos) {
    u32 use = event->connection->use;
    struct use_time *time = time_at(use ? use : 2 * (event->hop * SPECIALS + NOT_SEEN));
    if (time && place < PLACES)
        time->nanos[place] += nanos;
}

/* ReadyForQuery, the last message of an answer, at the end of what is sent. */
INLINE int ends_answer(const struct event *event) {
    u8 last[8] = {};
    if (!event->end || fetch_last(event, last, 6))
        return 0;
    return last[0] == 'Z' && !(last[1] | last[2] | last[3]) && last[4] == 5;
}

/* Notices, notifications, parameters' values and last words come at any time; as parts of an answer they are followed
 * by its end. */
INLINE int is_aside(const struct event *event) {
    u8 type[8] = {};
    if (!event->data || fetch(event, 0, type, 1) || ends_answer(event))
        return 0;
    return type[0] == 'N' || type[0] == 'A' || type[0] == 'S' || type[0] == 'E';
}

AT(use, key, 0); AT(use, connection, 8); AT(use, kind, 12); AT(use, hop, 13); AT(use, message, 14); AT(use, cut, 15);
AT(use, text, 16);
SIZE(use, 512);
