/* Preloaded into wireprof and what it starts: a wall clock that jumps, and files that cannot be read or written. What
 * is wrong stands in a file that the rig writes to (`shim.rs`), mapped here; nothing is wrong until then.
 * CLOCK_MONOTONIC stays as it is: Linux lets nobody set it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Mirrored in `shim.rs`. */
struct control {
    volatile long long seconds, writing, reading;
};
static struct control nothing, *control = &nothing;
static const char *under;
static int (*real_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("WIREPROF_FAULTS_CONTROL");
    under = getenv("WIREPROF_FAULTS_UNDER");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *mapped = fd < 0 ? MAP_FAILED : mmap(0, sizeof(struct control), PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (mapped != MAP_FAILED)
        control = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *into) {
    if (!real_gettime)
        real_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real_gettime(clock, into);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        into->tv_sec += control->seconds;
    return result;
}

int gettimeofday(struct timeval *into, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    into->tv_sec = now.tv_sec;
    into->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into)
        *into = now.tv_sec;
    return now.tv_sec;
}

/* Whether the file lies where nothing can be read or written. */
static int fails(long long wrong, int fd) {
    char link[64], path[4096];
    if (!wrong || !under)
        return 0;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof(path) - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    if (strncmp(path, under, strlen(under)))
        return 0;
    errno = EIO;
    return 1;
}

ssize_t write(int fd, const void *from, size_t count) {
    return fails(control->writing, fd) ? -1 : syscall(SYS_write, fd, from, count);
}
ssize_t pwrite64(int fd, const void *from, size_t count, off64_t at) {
    return fails(control->writing, fd) ? -1 : syscall(SYS_pwrite64, fd, from, count, at);
}
ssize_t writev(int fd, const struct iovec *from, int count) {
    return fails(control->writing, fd) ? -1 : syscall(SYS_writev, fd, from, count);
}
int fsync(int fd) { return fails(control->writing, fd) ? -1 : syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return fails(control->writing, fd) ? -1 : syscall(SYS_fdatasync, fd); }
ssize_t read(int fd, void *into, size_t count) {
    return fails(control->reading, fd) ? -1 : syscall(SYS_read, fd, into, count);
}
ssize_t pread64(int fd, void *into, size_t count, off64_t at) {
    return fails(control->reading, fd) ? -1 : syscall(SYS_pread64, fd, into, count, at);
}
ssize_t readv(int fd, const struct iovec *into, int count) {
    return fails(control->reading, fd) ? -1 : syscall(SYS_readv, fd, into, count);
}
