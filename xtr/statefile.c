/* The rename is what replaces a file: it is durable once the directory is synced, and the new
 * file is synced before it. */
#include "statefile.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int xtr_statefile_create(const char *dir, const char *name)
{
    char *fresh = em_asprintf("%s/%s.new", dir, name);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : fd;
    free(fresh);
    return r;
}

int xtr_statefile_append(int fd, const uint8_t *data, size_t size)
{
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

static int sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = fsync(fd) ? -errno : 0;
    close(fd);
    return r;
}

int xtr_statefile_commit(int fd_take, const char *dir, const char *name)
{
    char *path = em_asprintf("%s/%s", dir, name), *fresh = em_asprintf("%s/%s.new", dir, name);
    int r = fsync(fd_take) ? -errno : 0;
    close(fd_take);
    if (!r && rename(fresh, path))
        r = -errno;
    if (!r)
        r = sync_dir(dir);
    free(fresh);
    free(path);
    return r;
}

void xtr_statefile_discard(int fd_take, const char *dir, const char *name)
{
    char *fresh = em_asprintf("%s/%s.new", dir, name);
    close(fd_take);
    unlink(fresh);
    free(fresh);
}

void xtr_statefile_set_aside(const char *path)
{
    char *bad = em_asprintf("%s.bad", path);
    (void)rename(path, bad); /* where this fails the next write replaces it */
    free(bad);
}
