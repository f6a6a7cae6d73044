/* Preloaded into the program under test: counts its calls that change the journal or other files, and makes the one with
 * a given number the last that the process makes, or fail, or all from that one on.
 *
 * KT_CALLS    what counts, what happens, and when: "journal kill 12", "sync EIO 3+", "write ENOSPC 1+"
 * KT_JOURNAL  the database; its -wal file belongs to it
 * KT_FILES    a folder; what lies below it are the other files
 * KT_COUNT    a file that holds how many calls were counted, as a number of 8 bytes
 * KT_HITS     gets a line for each call that was hit
 * KT_UNSYNCED gets what the journal's files held before each write that was not synced since: what a power cut leaves
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum side { NONE, JOURNAL, FILES };
enum kind { WRITE, SYNC, OTHER };

static const char *journal, *files, *hits;
static char counted[16], action[16];
static long number;
static int lasting, unsynced = -1;
static atomic_long none, *count = &none;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
    journal = getenv("KT_JOURNAL");
    files = getenv("KT_FILES");
    hits = getenv("KT_HITS");
    const char *plan = getenv("KT_CALLS"), *path = getenv("KT_UNSYNCED");
    char when[24] = "";
    if (plan) sscanf(plan, "%15s %15s %23s", counted, action, when);
    number = atol(when);
    lasting = strchr(when, '+') != NULL;
    const char *shared = getenv("KT_COUNT");
    if (shared) {
        int descriptor = REAL(open)(shared, O_RDWR | O_CLOEXEC);
        void *page = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
        if (page != MAP_FAILED) count = page;
        REAL(close)(descriptor);
    }
    if (path) unsynced = REAL(open)(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
}

static enum side side_of(const char *path) {
    if (journal && strncmp(path, journal, strlen(journal)) == 0) {
        const char *rest = path + strlen(journal);
        return *rest == 0 || strcmp(rest, "-wal") == 0 ? JOURNAL : NONE;
    }
    return files && strncmp(path, files, strlen(files)) == 0 ? FILES : NONE;
}

static enum side side_of_descriptor(int descriptor, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return NONE;
    path[length] = 0;
    return side_of(path);
}

static int counts(enum side side, enum kind kind) {
    if (side == NONE) return 0;
    if (!strcmp(counted, "journal")) return side == JOURNAL;
    if (!strcmp(counted, "files")) return side == FILES;
    if (!strcmp(counted, "commit")) return side == JOURNAL && kind == SYNC;
    if (!strcmp(counted, "sync")) return kind == SYNC;
    if (!strcmp(counted, "write")) return kind == WRITE;
    return 0;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* 0, or the error that the call gets. */
static int strike(enum side side, enum kind kind, const char *path, int *torn) {
    if (!counts(side, kind)) return 0;
    long mine = atomic_fetch_add(count, 1) + 1;
    if (mine != number && !(lasting && mine > number)) return 0;
    if (hits) {
        int log = REAL(open)(hits, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        char line[PATH_MAX + 32];
        int length = snprintf(line, sizeof line, "%ld %s\n", mine, path);
        REAL(write)(log, line, length);
        REAL(close)(log);
    }
    if (!strcmp(action, "kill")) die();
    if (!strcmp(action, "tear")) {
        if (torn && kind == WRITE) *torn = 1;
        else die();
    }
    if (!strcmp(action, "EIO")) return EIO;
    if (!strcmp(action, "ENOSPC")) return ENOSPC;
    return 0;
}

#define FAIL(error) do { if (error) { errno = error; return -1; } } while (0)

/* Notes what a write is about to replace: name, offset, lengths of the old and the new, the old. */
static void note(const char *path, int descriptor, size_t length, off64_t offset) {
    if (unsynced < 0) return;
    struct { char name[32]; int64_t offset, before, after; } head = {.offset = offset, .after = length};
    snprintf(head.name, sizeof head.name, "%s", strrchr(path, '/') + 1);
    char *old = malloc(length);
    ssize_t before = REAL(pread64)(descriptor, old, length, offset);
    head.before = before < 0 ? 0 : before;
    REAL(write)(unsynced, &head, sizeof head);
    REAL(write)(unsynced, old, head.before);
    free(old);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off64_t offset) {
    char path[PATH_MAX];
    int torn = 0;
    enum side side = side_of_descriptor(descriptor, path);
    int error = strike(side, WRITE, path, &torn);
    FAIL(error);
    if (side == JOURNAL) note(path, descriptor, length, offset);
    if (torn) {
        REAL(pwrite64)(descriptor, bytes, length / 2, offset);
        die();
    }
    return REAL(pwrite64)(descriptor, bytes, length, offset);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t offset) {
    return pwrite64(descriptor, bytes, length, offset);
}

ssize_t write(int descriptor, const void *bytes, size_t length) {
    char path[PATH_MAX];
    int torn = 0;
    int error = strike(side_of_descriptor(descriptor, path), WRITE, path, &torn);
    FAIL(error);
    if (torn) {
        REAL(write)(descriptor, bytes, length / 2);
        die();
    }
    return REAL(write)(descriptor, bytes, length);
}

static int sync_with(int descriptor, int (*call)(int)) {
    char path[PATH_MAX];
    enum side side = side_of_descriptor(descriptor, path);
    int error = strike(side, SYNC, path, NULL);
    FAIL(error);
    int result = call(descriptor);
    if (result == 0 && side == JOURNAL && unsynced >= 0) ftruncate(unsynced, 0);
    return result;
}

int fsync(int descriptor) { return sync_with(descriptor, REAL(fsync)); }

int fdatasync(int descriptor) { return sync_with(descriptor, REAL(fdatasync)); }

int ftruncate64(int descriptor, off64_t length) {
    char path[PATH_MAX];
    int error = strike(side_of_descriptor(descriptor, path), OTHER, path, NULL);
    FAIL(error);
    return REAL(ftruncate64)(descriptor, length);
}

static int change(const char *path, enum kind kind) { return strike(side_of(path), kind, path, NULL); }

int rename(const char *from, const char *to) {
    FAIL(change(to, OTHER));
    return REAL(rename)(from, to);
}

int symlink(const char *target, const char *path) {
    FAIL(change(path, WRITE));
    return REAL(symlink)(target, path);
}

int unlink(const char *path) {
    FAIL(change(path, OTHER));
    return REAL(unlink)(path);
}

int mkdir(const char *path, mode_t mode) {
    FAIL(change(path, WRITE));
    return REAL(mkdir)(path, mode);
}

static int open_with(const char *path, int flags, mode_t mode, int (*call)(const char *, int, ...)) {
    if (flags & O_EXCL) FAIL(change(path, WRITE));
    return call(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return open_with(path, flags, mode, REAL(open));
}

int open64(const char *path, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return open_with(path, flags, mode, REAL(open64));
}
