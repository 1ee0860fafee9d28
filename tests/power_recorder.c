/* Writes down, in order, what a process does to the files below $POWER_UNDER; preloaded (see tests/power_cut.py).

   A record in $POWER_LOG is "operation inode offset bytes\n" and so many bytes: what was written, or a path, or two of
   them. It is written after the call, and no other call runs meanwhile: what stands before a sync was synced by it.
   Calls that fail leave no record. What is written through a map is not seen: SQLite keeps nothing there that it needs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static int log_file = -1;
static char under[4096];
static char watched[65536]; /* by descriptor: 1 for what lies below */

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("POWER_LOG"), *folder = getenv("POWER_UNDER");
    if (log && folder) {
        snprintf(under, sizeof under, "%s/", folder);
        log_file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    unsetenv("LD_PRELOAD");
}

static int below(const char *path) { return log_file >= 0 && !strncmp(path, under, strlen(under)); }
static int seen(int fd) { return fd >= 0 && fd < (int)sizeof watched && watched[fd]; }

static void note(char operation, unsigned long inode, long offset, const void *data, size_t size) {
    char head[96];
    struct iovec parts[2] = {{head, 0}, {(void *)data, size}};
    parts[0].iov_len = snprintf(head, sizeof head, "%c %lu %ld %zu\n", operation, inode, offset, size);
    if (writev(log_file, parts, 2) != (ssize_t)(parts[0].iov_len + size)) abort();
}
static void note_file(char operation, int fd, long offset, const void *data, size_t size) {
    struct stat found;
    if (seen(fd) && !fstat(fd, &found)) note(operation, found.st_ino, offset, data, size);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define ALONE pthread_mutex_lock(&one_at_a_time)
#define DONE pthread_mutex_unlock(&one_at_a_time)

static void opened(int fd, const char *path, int flags, int is_new) {
    struct stat found;
    if (fd < 0 || fd >= (int)sizeof watched) return;
    watched[fd] = below(path) || (log_file >= 0 && !strncmp(path, under, strlen(path)) && (flags & O_ACCMODE) == O_RDONLY);
    if (!watched[fd] || fstat(fd, &found)) return;
    note(is_new ? 'C' : 'O', found.st_ino, 0, path, strlen(path));
    if (!is_new && flags & O_TRUNC) note('T', found.st_ino, 0, "", 0);
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; va_start(rest, flags); int mode = va_arg(rest, int); va_end(rest); \
        REAL(name); ALONE; \
        int is_new = (flags & O_CREAT) && access(path, F_OK); \
        int fd = real(path, flags, mode); \
        opened(fd, path, flags, is_new); \
        DONE; return fd; \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    REAL(close); ALONE;
    if (fd >= 0 && fd < (int)sizeof watched) watched[fd] = 0;
    int code = real(fd);
    DONE; return code;
}

#define PWRITE(name) \
    ssize_t name(int fd, const void *data, size_t size, __typeof__(lseek(0, 0, 0)) offset) { \
        REAL(name); ALONE; \
        ssize_t done = real(fd, data, size, offset); \
        if (done > 0) note_file('W', fd, offset, data, done); \
        DONE; return done; \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write); ALONE;
    ssize_t done = real(fd, data, size);
    if (done > 0 && seen(fd)) note_file('W', fd, lseek(fd, 0, SEEK_CUR) - done, data, done);
    DONE; return done;
}

#define TRUNCATE(name) \
    int name(int fd, __typeof__(lseek(0, 0, 0)) size) { \
        REAL(name); ALONE; \
        int code = real(fd, size); \
        if (!code) note_file('T', fd, size, "", 0); \
        DONE; return code; \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

#define SYNC(name) \
    int name(int fd) { \
        REAL(name); ALONE; \
        int code = real(fd); \
        if (!code) note_file('S', fd, 0, "", 0); \
        DONE; return code; \
    }
SYNC(fsync)
SYNC(fdatasync)

int unlink(const char *path) {
    REAL(unlink); ALONE;
    int code = real(path);
    if (!code && below(path)) note('U', 0, 0, path, strlen(path));
    DONE; return code;
}

int rename(const char *from, const char *to) {
    REAL(rename); ALONE;
    char both[8192];
    int code = real(from, to);
    int size = snprintf(both, sizeof both, "%s%c%s", from, 0, to);
    if (!code && below(from)) note('R', 0, 0, both, size);
    DONE; return code;
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir); ALONE;
    int code = real(path, mode);
    if (!code && below(path)) note('K', 0, 0, path, strlen(path));
    DONE; return code;
}
