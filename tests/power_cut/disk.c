/* Loaded before libc (LD_PRELOAD), this writes down every change that a process makes below one
 * directory, in the order in which it makes them: what a disk would be told. `disk.rs` reads the
 * journal and knows what such a disk holds once its power is cut.
 *
 * HEADGATE_POWER_ROOT      the directory; HEADGATE_POWER_JOURNAL the journal, appended to
 * HEADGATE_POWER_SYNC_US   how long a sync takes, in microseconds
 * HEADGATE_POWER_MARKS     with any value, lines on standard output are written down, too
 *
 * A change and its record are made under one lock, so that the journal's order is the disk's. A
 * sync is two records: only what was written before it began is on the disk when it ends. Nothing
 * is really synced. What this cannot follow (copies in the kernel, shared writable maps other than
 * SQLite's index of its log) is recorded as such, and whoever reads the journal fails.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
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

enum { MKDIR = 1, CREATE, WRITE, TRUNCATE, SYNC_BEGIN, SYNC_END, RENAME, LINK, UNLINK, RMDIR, MARK, UNKNOWN };

struct record {
    uint8_t op;
    uint8_t pad[7];
    uint64_t a, b;
    uint32_t first, second;
};

static char root[PATH_MAX];
static size_t root_length;
static int journal = -1;
static int marks;
static useconds_t sync_time;
static uint64_t syncs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Inodes below the root: open addressing; 0 is free, 1 was removed. */
#define SLOTS (1u << 20)
static uint64_t inodes[SLOTS];

static uint64_t *slot(uint64_t inode, int add) {
    uint64_t *removed = NULL;
    for (uint32_t i = (uint32_t)(inode * 0x9E3779B97F4A7C15ull >> 44), n = 0; n < SLOTS; i++, n++) {
        uint64_t *found = &inodes[i & (SLOTS - 1)];
        if (*found == inode) return found;
        if (*found == 1 && !removed) removed = found;
        if (*found == 0) return add ? (removed ? removed : found) : NULL;
    }
    abort();
}

static void know(uint64_t inode) { *slot(inode, 1) = inode; }

static void forget(uint64_t inode) {
    uint64_t *found = slot(inode, 0);
    if (found) *found = 1;
}

__attribute__((constructor)) static void begin(void) {
    const char *directory = getenv("HEADGATE_POWER_ROOT"), *file = getenv("HEADGATE_POWER_JOURNAL");
    if (!directory || !file) return;
    journal = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (journal < 0) abort();
    const char *time = getenv("HEADGATE_POWER_SYNC_US");
    sync_time = time ? (useconds_t)atoi(time) : 0;
    marks = getenv("HEADGATE_POWER_MARKS") != NULL;
    syncs = (uint64_t)getpid() << 32;
    snprintf(root, sizeof root, "%s", directory);
    root_length = strlen(root);
}

static void tell(uint8_t op, uint64_t a, uint64_t b, const char *first, size_t first_length, const void *second,
                 size_t second_length) {
    struct record record = {.op = op, .a = a, .b = b, .first = (uint32_t)first_length, .second = (uint32_t)second_length};
    struct iovec parts[3] = {{&record, sizeof record}, {(void *)first, first_length}, {(void *)second, second_length}};
    size_t length = sizeof record + first_length + second_length;
    if (syscall(SYS_writev, journal, parts, 3) != (ssize_t)length) abort();
}

static void tell_unknown(const char *what) { tell(UNKNOWN, 0, 0, what, strlen(what), NULL, 0); }

/* The path below the root, "" for the root itself; NULL when it is elsewhere. */
static const char *below(int at, const char *path, char *full) {
    if (!root_length || !path) return NULL;
    if (path[0] == '/') {
        snprintf(full, PATH_MAX, "%s", path);
    } else {
        char link[64], base[PATH_MAX];
        ssize_t length;
        if (at == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        length = readlink(link, base, sizeof base - 1);
        if (length < 0) return NULL;
        base[length] = 0;
        if (snprintf(full, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return NULL;
    }
    char *to = full;
    for (char *from = full; *from; from++) {
        if (from[0] == '/' && (from[1] == '/' || (from[1] == '.' && (from[2] == '/' || !from[2])))) {
            if (from[1] == '.') from++;
            continue;
        }
        *to++ = *from;
    }
    while (to > full + 1 && to[-1] == '/') to--;
    *to = 0;
    if (strncmp(full, root, root_length) || (full[root_length] && full[root_length] != '/')) return NULL;
    return full[root_length] ? full + root_length + 1 : full + root_length;
}

/* The inode behind a descriptor, when it is below the root. */
static uint64_t known(int fd, struct stat *stat) {
    if (!root_length || fd == journal || fstat(fd, stat) || !(S_ISREG(stat->st_mode) || S_ISDIR(stat->st_mode))) return 0;
    return slot(stat->st_ino, 0) ? stat->st_ino : 0;
}

static int open_at(int at, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    const char *name = below(at, path, full);
    struct stat stat;
    if (!name) return (int)syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&lock);
    int there = fstatat(at, path, &stat, 0) == 0;
    int fd = (int)syscall(SYS_openat, at, path, flags, mode), error = errno;
    if (fd >= 0 && !fstat(fd, &stat)) {
        know(stat.st_ino);
        if ((flags & O_TMPFILE) == O_TMPFILE) tell_unknown("O_TMPFILE");
        if (!there) tell(CREATE, stat.st_ino, 0, name, strlen(name), NULL, 0);
        else if (flags & O_TRUNC) tell(TRUNCATE, stat.st_ino, 0, NULL, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

#define MODE(flags)                                                     \
    mode_t mode = 0;                                                    \
    if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) {      \
        va_list rest;                                                   \
        va_start(rest, flags);                                          \
        mode = va_arg(rest, mode_t);                                    \
        va_end(rest);                                                   \
    }

int open(const char *path, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return open_at(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return open_at(at, path, flags, mode); }
int creat(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

static void tell_vector(uint64_t inode, off_t offset, const struct iovec *parts, int count, ssize_t written) {
    for (int i = 0; i < count && written > 0; i++) {
        size_t length = parts[i].iov_len < (size_t)written ? parts[i].iov_len : (size_t)written;
        tell(WRITE, inode, (uint64_t)offset, NULL, 0, parts[i].iov_base, length);
        offset += (off_t)length;
        written -= (ssize_t)length;
    }
}

static ssize_t write_vector(int fd, const struct iovec *parts, int count, off_t offset, int positioned) {
    struct stat stat;
    uint64_t inode;
    pthread_mutex_lock(&lock);
    inode = known(fd, &stat);
    if (!inode) {
        if (fd == 1 && marks && root_length)
            for (int i = 0; i < count; i++) tell(MARK, 0, 0, NULL, 0, parts[i].iov_base, parts[i].iov_len);
        pthread_mutex_unlock(&lock);
        /* Whatever this writes to may make it wait. */
        return positioned ? syscall(SYS_pwritev, fd, parts, count, offset, 0) : syscall(SYS_writev, fd, parts, count);
    }
    if (!positioned) offset = fcntl(fd, F_GETFL) & O_APPEND ? stat.st_size : lseek(fd, 0, SEEK_CUR);
    ssize_t written = positioned ? syscall(SYS_pwritev, fd, parts, count, offset, 0) : syscall(SYS_writev, fd, parts, count);
    int error = errno;
    tell_vector(inode, offset, parts, count, written);
    pthread_mutex_unlock(&lock);
    errno = error;
    return written;
}

ssize_t write(int fd, const void *data, size_t length) {
    struct iovec part = {(void *)data, length};
    return write_vector(fd, &part, 1, 0, 0);
}
ssize_t writev(int fd, const struct iovec *parts, int count) { return write_vector(fd, parts, count, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    struct iovec part = {(void *)data, length};
    return write_vector(fd, &part, 1, offset, 1);
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return pwrite(fd, data, length, offset); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return write_vector(fd, parts, count, offset, 1);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return write_vector(fd, parts, count, offset, 1);
}

int ftruncate(int fd, off_t length) {
    struct stat stat;
    pthread_mutex_lock(&lock);
    uint64_t inode = known(fd, &stat);
    int result = (int)syscall(SYS_ftruncate, fd, length), error = errno;
    if (inode && !result) tell(TRUNCATE, inode, (uint64_t)length, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

static int grow(int fd, int mode, off_t offset, off_t length) {
    struct stat stat;
    pthread_mutex_lock(&lock);
    uint64_t inode = known(fd, &stat);
    int result = (int)syscall(SYS_fallocate, fd, mode, offset, length), error = errno;
    if (inode && !result) {
        if (mode) tell_unknown("fallocate");
        else if (offset + length > stat.st_size) tell(TRUNCATE, inode, (uint64_t)(offset + length), NULL, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int fallocate(int fd, int mode, off_t offset, off_t length) { return grow(fd, mode, offset, length); }
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return grow(fd, mode, offset, length); }
int posix_fallocate(int fd, off_t offset, off_t length) { return grow(fd, 0, offset, length) ? errno : 0; }
int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }

int fsync(int fd) {
    struct stat stat;
    pthread_mutex_lock(&lock);
    uint64_t inode = known(fd, &stat), number = ++syncs;
    if (inode) tell(SYNC_BEGIN, number, inode, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    if (!inode) return (int)syscall(SYS_fsync, fd);
    if (sync_time) usleep(sync_time);
    pthread_mutex_lock(&lock);
    tell(SYNC_END, number, inode, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return 0;
}
int fdatasync(int fd) { return fsync(fd); }

static int two_names(uint8_t op, int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    char from_full[PATH_MAX], to_full[PATH_MAX];
    const char *from_name = below(from_at, from, from_full), *to_name = below(to_at, to, to_full);
    struct stat replaced;
    pthread_mutex_lock(&lock);
    int replaces = to_name && fstatat(to_at, to, &replaced, AT_SYMLINK_NOFOLLOW) == 0;
    int result = (int)(op == LINK ? syscall(SYS_linkat, from_at, from, to_at, to, flags)
                                  : syscall(SYS_renameat2, from_at, from, to_at, to, flags));
    int error = errno;
    if (!result && (from_name || to_name)) {
        if (!from_name || !to_name) tell_unknown("a name that crosses the root");
        else tell(op, op == RENAME ? flags : 0, 0, from_name, strlen(from_name), to_name, strlen(to_name));
        if (replaces && op == RENAME && replaced.st_nlink == 1) forget(replaced.st_ino);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int rename(const char *from, const char *to) { return two_names(RENAME, AT_FDCWD, from, AT_FDCWD, to, 0); }
int renameat(int from_at, const char *from, int to_at, const char *to) {
    return two_names(RENAME, from_at, from, to_at, to, 0);
}
int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    return two_names(RENAME, from_at, from, to_at, to, flags);
}
int link(const char *from, const char *to) { return two_names(LINK, AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    return two_names(LINK, from_at, from, to_at, to, (unsigned)flags);
}

int unlinkat(int at, const char *path, int flags) {
    char full[PATH_MAX];
    const char *name = below(at, path, full);
    struct stat stat;
    if (!name) return (int)syscall(SYS_unlinkat, at, path, flags);
    pthread_mutex_lock(&lock);
    int there = fstatat(at, path, &stat, AT_SYMLINK_NOFOLLOW) == 0;
    int result = (int)syscall(SYS_unlinkat, at, path, flags), error = errno;
    if (!result) {
        tell(flags & AT_REMOVEDIR ? RMDIR : UNLINK, 0, 0, name, strlen(name), NULL, 0);
        if (there && (stat.st_nlink == 1 || flags & AT_REMOVEDIR)) forget(stat.st_ino);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int at, const char *path, mode_t mode) {
    char full[PATH_MAX];
    const char *name = below(at, path, full);
    struct stat stat;
    if (!name) return (int)syscall(SYS_mkdirat, at, path, mode);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_mkdirat, at, path, mode), error = errno;
    if (!result && !fstatat(at, path, &stat, 0)) {
        know(stat.st_ino);
        tell(MKDIR, stat.st_ino, 0, name, strlen(name), NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return result;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* What follows cannot be followed. */
static void refuse(int fd, const char *what) {
    struct stat stat;
    pthread_mutex_lock(&lock);
    if (known(fd, &stat)) tell_unknown(what);
    pthread_mutex_unlock(&lock);
}
ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t length, unsigned flags) {
    refuse(to, "copy_file_range");
    return syscall(SYS_copy_file_range, from, from_at, to, to_at, length, flags);
}
ssize_t sendfile(int to, int from, off_t *offset, size_t length) {
    refuse(to, "sendfile");
    return syscall(SYS_sendfile, to, from, offset, length);
}
ssize_t sendfile64(int to, int from, off64_t *offset, size_t length) { return sendfile(to, from, offset, length); }
int truncate(const char *path, off_t length) {
    char full[PATH_MAX];
    pthread_mutex_lock(&lock);
    if (below(AT_FDCWD, path, full)) tell_unknown("truncate");
    pthread_mutex_unlock(&lock);
    return (int)syscall(SYS_truncate, path, length);
}
int truncate64(const char *path, off64_t length) { return truncate(path, length); }
int symlinkat(const char *target, int at, const char *path) {
    char full[PATH_MAX];
    pthread_mutex_lock(&lock);
    if (below(at, path, full)) tell_unknown("symlink");
    pthread_mutex_unlock(&lock);
    return (int)syscall(SYS_symlinkat, target, at, path);
}
int symlink(const char *target, const char *path) { return symlinkat(target, AT_FDCWD, path); }
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    if (root_length && fd >= 0 && flags & MAP_SHARED && protection & PROT_WRITE) {
        char link[64], path[PATH_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t size = readlink(link, path, sizeof path);
        if (size < 4 || memcmp(path + size - 4, "-shm", 4)) refuse(fd, "a shared writable map");
    }
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}
void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset) {
    return mmap(address, length, protection, flags, fd, offset);
}
