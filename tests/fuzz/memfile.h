/* Bytes as a file that has a name, for code that reads files only. */
#ifndef FUZZ_MEMFILE_H
#define FUZZ_MEMFILE_H

#include "target.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEMFILE_PATH 32

/* The file is there until the returned descriptor is closed. */
static inline int memfile_open(const uint8_t *data, size_t size, char path[MEMFILE_PATH])
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, MEMFILE_PATH, "/proc/self/fd/%d", fd);
    return fd;
}

#endif
