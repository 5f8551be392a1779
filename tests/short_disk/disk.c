/* Loaded before libc (LD_PRELOAD), this makes the disk below one directory run short while a test says so. The test
 * writes what is left into a shared file:
 *
 *   int64  free        bytes by which files may still grow; negative: as many as the real disk has
 *   uint32 sync_us     how much longer a sync takes, in microseconds
 *   uint32 sync_fails  not 0: a sync answers EIO
 *
 * HEADGATE_SHORT_ROOT is the directory, or one database, which with HEADGATE_SHORT_ALONE is without the files beside it;
 * HEADGATE_SHORT_CONTROL is the shared file. A full disk behaves as a real one: what still
 * fits of a write is written, then there is ENOSPC; what does not make a file longer goes on, and so does removing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct control {
    _Atomic int64_t free;
    _Atomic uint32_t sync_us, sync_fails;
};

static struct control *control;
static char root[PATH_MAX];
static size_t root_length;
static int alone;

__attribute__((constructor)) static void begin(void) {
    const char *directory = getenv("HEADGATE_SHORT_ROOT"), *file = getenv("HEADGATE_SHORT_CONTROL");
    if (!directory || !file) return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC);
    if (fd < 0) abort();
    void *map = (void *)syscall(SYS_mmap, NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) abort();
    close(fd);
    snprintf(root, sizeof root, "%s", directory);
    root_length = strlen(root);
    alone = getenv("HEADGATE_SHORT_ALONE") != NULL;
    control = map;
}

static int is_short(void) { return control && atomic_load(&control->free) >= 0; }

/* The root may be a database, which has files beside it (`-wal`, `-journal`). */
static int below(const char *path) {
    if (strncmp(path, root, root_length)) return 0;
    return !path[root_length] || (!alone && strchr("/-", path[root_length]));
}

/* A regular file below the directory. */
static int ours(int fd, struct stat *stat) {
    char link[64], path[PATH_MAX];
    if (!control || fstat(fd, stat) || !(S_ISREG(stat->st_mode) || S_ISDIR(stat->st_mode))) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

/* Takes up to `wanted` bytes of what is left; returns how many there were. */
static int64_t take(int64_t wanted) {
    int64_t left = atomic_load(&control->free);
    for (;;) {
        if (left < 0) return wanted;
        int64_t taken = left < wanted ? left : wanted;
        if (atomic_compare_exchange_weak(&control->free, &left, left - taken)) return taken;
    }
}

/* How many of `length` bytes at `offset` find room; -1 and ENOSPC when none does. */
static ssize_t room(int fd, size_t length, off_t offset, int positioned) {
    struct stat stat;
    if (!is_short() || !length || !ours(fd, &stat) || !S_ISREG(stat.st_mode)) return (ssize_t)length;
    if (!positioned) offset = fcntl(fd, F_GETFL) & O_APPEND ? stat.st_size : lseek(fd, 0, SEEK_CUR);
    int64_t growth = offset + (int64_t)length - stat.st_size;
    if (growth <= 0) return (ssize_t)length;
    int64_t fits = (int64_t)length - growth + take(growth);
    if (fits > 0) return (ssize_t)fits;
    errno = ENOSPC;
    return -1;
}

static ssize_t write_one(int fd, const void *data, size_t length, off_t offset, int positioned) {
    ssize_t fits = room(fd, length, offset, positioned);
    if (fits < 0) return -1;
    return positioned ? syscall(SYS_pwrite64, fd, data, (size_t)fits, offset) : syscall(SYS_write, fd, data, (size_t)fits);
}

/* A vector that must grow a file on a short disk is written by its first part alone. */
static ssize_t write_vector(int fd, const struct iovec *parts, int count, off_t offset, int positioned) {
    struct stat stat;
    if (is_short() && ours(fd, &stat))
        for (int i = 0; i < count; i++)
            if (parts[i].iov_len) return write_one(fd, parts[i].iov_base, parts[i].iov_len, offset, positioned);
    return positioned ? syscall(SYS_pwritev, fd, parts, count, offset, 0) : syscall(SYS_writev, fd, parts, count);
}

ssize_t write(int fd, const void *data, size_t length) { return write_one(fd, data, length, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return write_one(fd, data, length, offset, 1); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return write_one(fd, data, length, offset, 1); }
ssize_t writev(int fd, const struct iovec *parts, int count) { return write_vector(fd, parts, count, 0, 0); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return write_vector(fd, parts, count, offset, 1); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return write_vector(fd, parts, count, offset, 1);
}

static int grow(int fd, off_t length) {
    struct stat stat;
    if (!is_short() || !ours(fd, &stat) || length <= stat.st_size) return 0;
    if (take(length - stat.st_size) == length - stat.st_size) return 0;
    errno = ENOSPC;
    return -1;
}
int ftruncate(int fd, off_t length) { return grow(fd, length) ? -1 : (int)syscall(SYS_ftruncate, fd, length); }
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }
int fallocate(int fd, int mode, off_t offset, off_t length) {
    if (!mode && grow(fd, offset + length)) return -1;
    return (int)syscall(SYS_fallocate, fd, mode, offset, length);
}
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return fallocate(fd, mode, offset, length); }
int posix_fallocate(int fd, off_t offset, off_t length) { return fallocate(fd, 0, offset, length) ? errno : 0; }
int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }

/* A new name needs room in its directory. Relative names are made by nothing that is tested. */
static int no_name(int at, const char *path) {
    struct stat stat;
    if (!is_short() || atomic_load(&control->free) > 0 || path[0] != '/' || !below(path)) return 0;
    if (!fstatat(at, path, &stat, 0)) return 0;
    errno = ENOSPC;
    return -1;
}
static int open_at(int at, const char *path, int flags, mode_t mode) {
    if (flags & O_CREAT && no_name(at, path)) return -1;
    return (int)syscall(SYS_openat, at, path, flags, mode);
}
#define MODE(flags)                                                \
    mode_t mode = 0;                                               \
    if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) { \
        va_list rest;                                              \
        va_start(rest, flags);                                     \
        mode = va_arg(rest, mode_t);                               \
        va_end(rest);                                              \
    }
int open(const char *path, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return open_at(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return open_at(at, path, flags, mode); }
int mkdirat(int at, const char *path, mode_t mode) { return no_name(at, path) ? -1 : (int)syscall(SYS_mkdirat, at, path, mode); }
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

static int sync_of(int fd, long call) {
    struct stat stat;
    if (control && (atomic_load(&control->sync_us) || atomic_load(&control->sync_fails)) && ours(fd, &stat)) {
        usleep(atomic_load(&control->sync_us));
        if (atomic_load(&control->sync_fails)) {
            errno = EIO;
            return -1;
        }
    }
    return (int)syscall(call, fd);
}
int fsync(int fd) { return sync_of(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_of(fd, SYS_fdatasync); }
