/* Preloaded before libc: counts the calls that change files under $FAULT_FOLDER, and at the Nth kills the
 * process or lets the call fail. DuckDB, the graph engines and Python itself all call libc's functions. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, KILL, TEAR, ONCE, STAY };

static const char *folder, *marker;
static size_t folder_length;
static long at, count, fired, met;
static int mode, error;

__attribute__((constructor)) static void begin(void) {
    folder = getenv("FAULT_FOLDER");
    folder_length = folder ? strlen(folder) : 0;
}

/* Called through ctypes. STAY fails for as long as the file `path` is there. */
void fault_plan(int new_mode, long nth, int number, const char *path) {
    mode = new_mode, at = nth, error = number, marker = strdup(path);
    count = fired = met = 0;
}
long fault_count(void) { return count; }
long fault_fired(void) { return fired; }
/* Of the Nth call: 0: it was not reached, 1: it takes no space, 2: it takes space. */
long fault_met(void) { return met; }

static int is_ours(const char *path) {
    return folder_length && path && !strncmp(path, folder, folder_length);
}

static int is_ours_fd(int fd) {
    char link[64], path[PATH_MAX];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = folder_length ? readlink(link, path, sizeof path - 1) : -1;
    errno = before;
    if (length < 0) return 0;
    path[length] = 0;
    return is_ours(path);
}

/* 0: go on, 1: fail, 2: do it by half, then die. A full disk lets through what takes no space. */
static int meet(int takes_space) {
    long n = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
    if (n == at) met = 1 + takes_space;
    if (error == ENOSPC && !takes_space) return 0;
    if (mode == COUNT || n < at || (n > at && mode != STAY)) return 0;
    if (mode == STAY && access(marker, F_OK)) return 0;
    fired = 1;
    if (mode == KILL) raise(SIGKILL);
    if (mode == TEAR) return 2;
    errno = error;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
/* A call that is done whole or not at all. */
#define WHOLE(type, name, takes_space, parameters, arguments, ours) \
    type name parameters { \
        int what = ours ? meet(takes_space) : 0; \
        if (what == 1) return -1; \
        type result = REAL(name) arguments; \
        if (what == 2) raise(SIGKILL); \
        return result; \
    }
/* A write, which may be done in part. */
#define PARTLY(name, parameters, arguments, half) \
    ssize_t name parameters { \
        int what = is_ours_fd(fd) ? meet(1) : 0; \
        if (what == 1) return -1; \
        if (what == 2) { half; raise(SIGKILL); } \
        return REAL(name) arguments; \
    }

PARTLY(write, (int fd, const void *data, size_t n), (fd, data, n), REAL(write)(fd, data, n / 2))
PARTLY(pwrite, (int fd, const void *data, size_t n, off_t to), (fd, data, n, to),
       REAL(pwrite)(fd, data, n / 2, to))
PARTLY(pwrite64, (int fd, const void *data, size_t n, off64_t to), (fd, data, n, to),
       REAL(pwrite64)(fd, data, n / 2, to))
PARTLY(writev, (int fd, const struct iovec *data, int n), (fd, data, n), REAL(writev)(fd, data, n / 2))
PARTLY(pwritev, (int fd, const struct iovec *data, int n, off_t to), (fd, data, n, to),
       REAL(pwritev)(fd, data, n / 2, to))
PARTLY(pwritev64, (int fd, const struct iovec *data, int n, off64_t to), (fd, data, n, to),
       REAL(pwritev64)(fd, data, n / 2, to))

extern int fallocate(int, int, off_t, off_t), fallocate64(int, int, off64_t, off64_t);
extern int posix_fallocate(int, off_t, off_t);
WHOLE(int, fsync, 1, (int fd), (fd), is_ours_fd(fd))
WHOLE(int, fdatasync, 1, (int fd), (fd), is_ours_fd(fd))
WHOLE(int, ftruncate, 0, (int fd, off_t n), (fd, n), is_ours_fd(fd))
WHOLE(int, ftruncate64, 0, (int fd, off64_t n), (fd, n), is_ours_fd(fd))
WHOLE(int, fallocate, 1, (int fd, int how, off_t from, off_t n), (fd, how, from, n), is_ours_fd(fd))
WHOLE(int, fallocate64, 1, (int fd, int how, off64_t from, off64_t n), (fd, how, from, n), is_ours_fd(fd))
WHOLE(int, truncate, 0, (const char *path, off_t n), (path, n), is_ours(path))
WHOLE(int, truncate64, 0, (const char *path, off64_t n), (path, n), is_ours(path))
WHOLE(int, unlink, 0, (const char *path), (path), is_ours(path))
WHOLE(int, remove, 0, (const char *path), (path), is_ours(path))
WHOLE(int, rename, 1, (const char *from, const char *to), (from, to), is_ours(to))

/* It returns the error instead of setting errno. */
int posix_fallocate(int fd, off_t from, off_t n) {
    int what = is_ours_fd(fd) ? meet(1) : 0;
    if (what == 1) return error;
    int result = REAL(posix_fallocate)(fd, from, n);
    if (what == 2) raise(SIGKILL);
    return result;
}

/* usearch writes through stdio, whose own calls cannot be met. */
size_t fwrite(const void *data, size_t size, size_t n, FILE *file) {
    int what = is_ours_fd(fileno(file)) ? meet(1) : 0;
    if (what == 1) return 0;
    if (what == 2) {
        REAL(fwrite)(data, size, n / 2, file);
        fflush(file);
        raise(SIGKILL);
    }
    return REAL(fwrite)(data, size, n, file);
}
