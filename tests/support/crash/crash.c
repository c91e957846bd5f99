#include "crash/crash.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE ((size_t)4096)

enum kind { WROTE, RENAMED, UNLINKED };

/* How to take something back; the newest first. */
struct undo {
    struct undo *next;
    enum kind kind;
    dev_t dev; /* of the file, or of the directory */
    ino_t ino;
    int fd; /* WROTE */
    off_t offset, old_size;
    size_t size; /* written */
    void *old;   /* as much; zeros where the file had ended */
    char from[512], to[512];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_armed, is_power_loss, is_torn;
static long at, n_done;
static struct undo *undos;
static unsigned n_aside;

static long sys(long r)
{
    return r; /* syscall() has set errno */
}

static void take_back(struct undo *undo)
{
    switch (undo->kind) {
    case WROTE:
        sys(syscall(SYS_pwrite64, undo->fd, undo->old, undo->size, undo->offset));
        if (!is_torn)
            sys(syscall(SYS_ftruncate, undo->fd, undo->old_size));
        return;
    case RENAMED:
    case UNLINKED:
        sys(syscall(SYS_rename, undo->to, undo->from));
        return;
    }
}

/* Half of the writes stay, others each time.  Newest first: where a later one of the same bytes
 * stays and an earlier one does not, the disk has what was there before both. */
static bool stays(const struct undo *undo)
{
    static uint64_t state;
    if (!is_torn || undo->kind != WROTE)
        return false;
    state = (state ? state : (uint64_t)at) * 6364136223846793005u + 1442695040888963407u;
    return state >> 63;
}

/* Another thread has read from a file that is shorter now. */
static void wait_for_the_end(int number)
{
    for (;;)
        pause();
}

/* Counts, and dies when it is time.  The lock is held from here to leave(). */
static bool enter(void)
{
    pthread_mutex_lock(&lock);
    if (!is_armed)
        return false;
    if (++n_done != at)
        return true;
    signal(SIGBUS, wait_for_the_end);
    for (struct undo *undo = undos; undo && is_power_loss; undo = undo->next)
        if (!stays(undo))
            take_back(undo);
    _exit(CRASH_EXIT);
}

static void leave(void)
{
    pthread_mutex_unlock(&lock);
}

static struct undo *note(enum kind kind, const struct stat *st)
{
    struct undo *undo = calloc(1, sizeof(*undo));
    *undo = (struct undo){.next = undos, .kind = kind, .dev = st->st_dev, .ino = st->st_ino};
    undos = undo;
    return undo;
}

static void note_part(int fd, const struct stat *st, off_t offset, size_t size)
{
    struct undo *undo = note(WROTE, st);
    undo->fd = dup(fd);
    undo->offset = offset;
    undo->old_size = st->st_size;
    undo->size = size;
    undo->old = calloc(1, size);
    if (pread(fd, undo->old, size, offset) < 0)
        undo->size = 0;
}

/* In pages: the disk has each or not. */
static void note_write(int fd, off_t offset, size_t size)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    if (!is_power_loss || flags & (O_DSYNC | O_SYNC) || fstat(fd, &st) || !S_ISREG(st.st_mode))
        return;
    for (size_t done = 0, n; done < size; done += n) {
        n = size - done < PAGE ? size - done : PAGE;
        note_part(fd, &st, offset + (off_t)done, n);
    }
}

static void note_durable(int fd)
{
    struct stat st;
    if (fstat(fd, &st))
        return;
    for (struct undo **next = &undos; *next;) {
        struct undo *undo = *next;
        if (undo->dev != st.st_dev || undo->ino != st.st_ino) {
            next = &undo->next;
            continue;
        }
        *next = undo->next;
        if (undo->kind == WROTE)
            close(undo->fd);
        if (undo->kind == UNLINKED)
            sys(syscall(SYS_unlink, undo->to));
        free(undo->old);
        free(undo);
    }
}

static bool stat_dir_of(const char *path, struct stat *st)
{
    char dir[512];
    snprintf(dir, sizeof(dir), "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = '\0';
    return slash && stat(dir, st) == 0;
}

static void note_name(enum kind kind, const char *from, const char *to)
{
    struct stat st;
    if (!is_power_loss || !stat_dir_of(from, &st))
        return;
    struct undo *undo = note(kind, &st);
    snprintf(undo->from, sizeof(undo->from), "%s", from);
    snprintf(undo->to, sizeof(undo->to), "%s", to);
}

void crash_arm(long nth, enum crash_kind kind)
{
    is_armed = true;
    is_power_loss = kind != CRASH_PROCESS;
    is_torn = kind == CRASH_POWER_TORN;
    at = nth;
    n_done = 0;
}

long crash_count(void)
{
    return n_done;
}

/* ---- in front of the C library ----------------------------------------------------------- */

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    if (enter())
        note_write(fd, offset, size);
    long r = sys(syscall(SYS_pwrite64, fd, data, size, offset));
    leave();
    return r;
}

static bool is_file(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (!is_armed || !is_file(fd))
        return sys(syscall(SYS_write, fd, data, size));
    if (enter())
        note_write(fd, lseek(fd, 0, SEEK_CUR), size);
    long r = sys(syscall(SYS_write, fd, data, size));
    leave();
    return r;
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
    size_t size = 0;
    if (!is_armed || !is_file(fd))
        return sys(syscall(SYS_writev, fd, iov, n));
    for (int i = 0; i < n; i++)
        size += iov[i].iov_len;
    if (enter())
        note_write(fd, lseek(fd, 0, SEEK_CUR), size);
    long r = sys(syscall(SYS_writev, fd, iov, n));
    leave();
    return r;
}

static int make_durable(int fd, long number)
{
    bool is_counted = enter();
    int r = (int)sys(syscall(number, fd));
    if (is_counted && r == 0)
        note_durable(fd);
    leave();
    return r;
}

int fsync(int fd)
{
    return make_durable(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return make_durable(fd, SYS_fdatasync);
}

int rename(const char *from, const char *to)
{
    bool is_counted = enter();
    int r = (int)sys(syscall(SYS_rename, from, to));
    if (is_counted && r == 0)
        note_name(RENAMED, from, to);
    leave();
    return r;
}

int unlink(const char *path)
{
    char aside[512];
    struct stat st;
    bool is_counted = enter();
    int r;
    if (is_counted && is_power_loss && stat_dir_of(path, &st)) {
        const char *slash = strrchr(path, '/');
        snprintf(aside, sizeof(aside), "%.*s/.gone-%u", (int)(slash - path), path, n_aside++);
        r = (int)sys(syscall(SYS_rename, path, aside));
        if (r == 0)
            note_name(UNLINKED, path, aside);
    } else {
        r = (int)sys(syscall(SYS_unlink, path));
    }
    leave();
    return r;
}

int unlinkat(int dir, const char *path, int flags)
{
    enter();
    int r = (int)sys(syscall(SYS_unlinkat, dir, path, flags));
    leave();
    return r;
}

int mkdir(const char *path, mode_t mode)
{
    enter();
    int r = (int)sys(syscall(SYS_mkdir, path, mode));
    leave();
    return r;
}

int rmdir(const char *path)
{
    enter();
    int r = (int)sys(syscall(SYS_rmdir, path));
    leave();
    return r;
}

int ftruncate(int fd, off_t size)
{
    enter();
    int r = (int)sys(syscall(SYS_ftruncate, fd, size));
    leave();
    return r;
}
