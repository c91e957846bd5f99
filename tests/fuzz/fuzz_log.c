/* A segment of the log, as a disk may give it back: opened and loaded.
 *
 * Each input is taken as the first segment and, cut in two, as two that follow each other; and
 * once more with its sums made right: behind them lie the numbers. */
#include "target.h"

#include "core/log.h"
#include "core/wal.h"
#include "mapserver/wal_sums.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_MAX ((size_t)256 << 10)
#define PATH_SIZE 64
#define MORE      8192
#define N_FILES   4 /* two, and what they become */

static char dir[PATH_SIZE];

static void file_path(uint32_t number, char path[2 * PATH_SIZE])
{
    char name[MS_WAL_NAME];
    ms_wal_name(number, name);
    snprintf(path, 2 * PATH_SIZE, "%s/log/%s", dir, name);
}

static void remove_files(void)
{
    char path[2 * PATH_SIZE];
    for (uint32_t i = 1; i <= N_FILES; i++) {
        file_path(i, path);
        unlink(path);
    }
}

static void remove_dir(void)
{
    char path[2 * PATH_SIZE];
    remove_files();
    snprintf(path, sizeof(path), "%s/log", dir);
    rmdir(path);
    rmdir(dir);
}

static void make_dir(void)
{
    char path[2 * PATH_SIZE];
    if (dir[0])
        return;
    snprintf(dir, sizeof(dir), "%s/eidmap-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    FUZZ_CHECK(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/log", dir);
    FUZZ_CHECK(mkdir(path, 0700) == 0);
    atexit(remove_dir);
}

/* Zeros behind it, so that no next segment is due at once. */
static void put_file(uint32_t number, const uint8_t *data, size_t size)
{
    char path[2 * PATH_SIZE];
    file_path(number, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    FUZZ_CHECK(ftruncate(fd, (off_t)(2 * size + MORE)) == 0 && close(fd) == 0);
}

/* 0: *ret_state is the caller's. */
static int load(struct ms_log_state *ret_state)
{
    struct ms_log *log = NULL;
    struct ms_payload *payload;
    char *why = NULL;
    bool is_new;
    FUZZ_CHECK(ms_log_open(dir, &log, &is_new, &why) == 0 && !is_new);
    int r = ms_log_load(log, ret_state, &why);
    FUZZ_CHECK(r == 0 || why);
    for (size_t i = 0; r == 0 && i < ret_state->n_entries; i++) {
        FUZZ_CHECK(ms_log_read(log, ret_state->first + i, &payload) == 0);
        FUZZ_CHECK(payload->size == ret_state->entries[i].size);
        ms_payload_unref(payload);
    }
    free(why);
    ms_log_close(log);
    return r;
}

/* What was loaded once is loaded again, and is the same. */
static void try_files(void)
{
    struct ms_log_state first, again;
    if (load(&first) == 0) {
        FUZZ_CHECK(load(&again) == 0);
        FUZZ_CHECK(again.n_entries == first.n_entries && again.first == first.first);
        FUZZ_CHECK(again.term == first.term && again.incarnation == first.incarnation + 1);
        FUZZ_CHECK(again.mark.members_size == first.mark.members_size);
        ms_log_state_fini(&first);
        ms_log_state_fini(&again);
    }
    remove_files();
}

static void try_bytes(const uint8_t *data, size_t size)
{
    put_file(1, data, size);
    try_files();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > INPUT_MAX)
        return 0;
    make_dir();
    try_bytes(data, size);
    uint8_t *copy = malloc(size ? size : 1);
    FUZZ_CHECK(copy);
    if (size)
        memcpy(copy, data, size);
    wal_set_sums(copy, size);
    try_bytes(copy, size);
    wal_set_sums(copy + size / 2, size - size / 2);
    put_file(1, copy, size / 2);
    put_file(2, copy + size / 2, size - size / 2);
    try_files();
    free(copy);
    return 0;
}
