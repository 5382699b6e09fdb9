/* A tiny server of the PostgreSQL protocol that is unlike the testbed: plain C, and a thread or a process for each
 * connection, or one event loop for all. It answers every statement with one row, by the simple and the extended
 * protocol, and does one thing of known size for it.
 *
 *     server PORT threads|processes|loop none|cpu|lock|sleep|generated
 *
 * cpu: 50 us in `price_order`; lock: 1 ms of CPU under a mutex that `book_order` takes; sleep: 2 ms in
 * `fetch_rates`; generated: some 100 us in code that it makes itself, as a runtime that compiles does, and names
 * `JS:price_generated` in the map that such runtimes write. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* A function of its own in stacks. */
#define APART __attribute__((noinline, noclone))

static char work;
static pthread_mutex_t *mutex;

static long now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000L + at.tv_nsec;
}

/* Part of whoever calls it. */
static inline __attribute__((always_inline)) void spend(long nanos) {
    long end = now() + nanos;
    while (now() < end) {
    }
}

APART void price_order(void) { spend(50000); }

APART void book_order(void) {
    pthread_mutex_lock(mutex);
    spend(1000000);
    pthread_mutex_unlock(mutex);
    __asm__ volatile("" ::: "memory");
}

APART void fetch_rates(void) {
    usleep(2000);
    /* Without this the call would be the function's end, and the function no part of the stack. */
    __asm__ volatile("" ::: "memory");
}

static void (*generated)(void);

/* A frame, 300,000 turns of a loop, and back: push rbp; mov rbp, rsp; mov ecx, 300000; dec ecx; jnz; pop rbp; ret */
static void generate(void) {
    static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xb9, 0xe0, 0x93, 0x04, 0x00,
                                         0xff, 0xc9, 0x75, 0xfc, 0x5d, 0xc3};
    char path[64];
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(at, code, sizeof(code));
    snprintf(path, sizeof(path), "/tmp/perf-%d.map", getpid());
    FILE *map = fopen(path, "w");
    fprintf(map, "%lx 100 JS:~price_cold /shop/server.js:1:1\n", (long)at);
    fprintf(map, "%lx %zx JS:*price_generated /shop/server.js:3:20\n", (long)at, sizeof(code));
    fclose(map);
    generated = (void (*)(void))at;
}

APART void use_generated(void) {
    generated();
    __asm__ volatile("" ::: "memory");
}

APART void execute(void) {
    if (work == 'g')
        use_generated();
    if (work == 'c')
        price_order();
    else if (work == 'l')
        book_order();
    else if (work == 's')
        fetch_rates();
}

struct connection {
    int socket;
    int started;
    size_t used;
    size_t answered;
    unsigned char in[65536];
    unsigned char out[65536];
};

static void put(struct connection *to, char kind, const void *body, size_t length) {
    if (to->answered + length + 5 > sizeof to->out)
        return;
    unsigned char *at = to->out + to->answered;
    unsigned int size = htonl(length + 4);
    at[0] = kind;
    memcpy(at + 1, &size, 4);
    memcpy(at + 5, body, length);
    to->answered += length + 5;
}

static void describe(struct connection *to) {
    static const unsigned char row[] = { 0, 1, 'n', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 255, 255, 255, 255, 255, 255, 0,
                                         0 };
    put(to, 'T', row, sizeof row);
}

static void answer(struct connection *to) {
    static const unsigned char row[] = { 0, 1, 0, 0, 0, 1, '1' };
    execute();
    put(to, 'D', row, sizeof row);
    put(to, 'C', "SELECT 1", 9);
}

/* One message; 0 where the client goes. */
static int handle(struct connection *of, char kind) {
    switch (kind) {
    case 'Q': describe(of), answer(of), put(of, 'Z', "I", 1); break;
    case 'P': put(of, '1', "", 0); break;
    case 'B': put(of, '2', "", 0); break;
    case 'D': put(of, 't', "\0\0", 2), describe(of); break;
    case 'E': answer(of); break;
    case 'C': put(of, '3', "", 0); break;
    case 'S': put(of, 'Z', "I", 1); break;
    case 'X': return 0;
    }
    return 1;
}

/* The first message; requests for encryption are refused. */
static void start(struct connection *of, unsigned int code) {
    if (code == 80877103 || code == 80877104) {
        of->out[of->answered++] = 'N';
        return;
    }
    of->started = 1;
    put(of, 'R', "\0\0\0\0", 4);
    put(of, 'S', "server_version\0" "15.0", 20);
    put(of, 'S', "client_encoding\0UTF8", 21);
    put(of, 'K', "\0\0\0\1\0\0\0\1", 8);
    put(of, 'Z', "I", 1);
}

/* All whole messages that were read; 0 where the client goes. */
static int handle_all(struct connection *of) {
    for (;;) {
        size_t head = of->started ? 5 : 8;
        if (of->used < head)
            return 1;
        unsigned int length, code;
        memcpy(&length, of->in + (of->started ? 1 : 0), 4);
        memcpy(&code, of->in + 4, 4);
        size_t whole = ntohl(length) + (of->started ? 1 : 0);
        if (whole > sizeof of->in)
            return 0;
        if (of->used < whole)
            return 1;
        if (!of->started)
            start(of, ntohl(code));
        else if (!handle(of, of->in[0]))
            return 0;
        of->used -= whole;
        memmove(of->in, of->in + whole, of->used);
    }
}

/* Reads once, and answers; 0 where the client is gone. */
static int serve_once(struct connection *of) {
    ssize_t got = read(of->socket, of->in + of->used, sizeof of->in - of->used);
    if (got <= 0)
        return 0;
    of->used += got;
    int stays = handle_all(of);
    size_t sent = 0;
    while (sent < of->answered) {
        ssize_t wrote = send(of->socket, of->out + sent, of->answered - sent, MSG_NOSIGNAL);
        if (wrote <= 0)
            return 0;
        sent += wrote;
    }
    of->answered = 0;
    return stays;
}

static void *serve(void *connection) {
    while (serve_once(connection)) {
    }
    close(((struct connection *)connection)->socket);
    free(connection);
    return 0;
}

static struct connection *accept_one(int listener) {
    int socket = accept(listener, 0, 0), one = 1;
    if (socket < 0)
        exit(1);
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct connection *new = calloc(1, sizeof *new);
    new->socket = socket;
    return new;
}

static void run_loop(int listener) {
    int all = epoll_create1(0);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = 0 }, ready[64];
    epoll_ctl(all, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(all, ready, 64, -1);
        for (int at = 0; at < count; at++) {
            struct connection *of = ready[at].data.ptr;
            if (!of) {
                of = accept_one(listener);
                event.data.ptr = of;
                epoll_ctl(all, EPOLL_CTL_ADD, of->socket, &event);
            } else if (!serve_once(of)) {
                close(of->socket);
                free(of);
            }
        }
    }
}

int main(int count, char **arguments) {
    if (count < 4)
        return 2;
    work = arguments[3][0];
    if (work == 'g')
        generate();
    signal(SIGCHLD, SIG_IGN);
    mutex = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t shared;
    pthread_mutexattr_init(&shared);
    pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(mutex, &shared);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(atoi(arguments[1])) };
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 128)) {
        perror("server");
        return 1;
    }
    char mode = arguments[2][0];
    if (mode == 'l')
        run_loop(listener);
    for (;;) {
        struct connection *of = accept_one(listener);
        pthread_t thread;
        if (mode == 't') {
            pthread_create(&thread, 0, serve, of);
            pthread_detach(thread);
        } else if (fork() == 0) {
            close(listener);
            serve(of);
            return 0;
        } else {
            close(of->socket);
            free(of);
        }
    }
}
