/* A copy of a map, as a backup or another server hands it over: checked, loaded, and what was
 * loaded is copied again.
 *
 * Each input is taken as it is, and once more with its sums made right: behind them lie the
 * sizes, the order of rows, and LMDB. */
#include "memfile.h"
#include "target.h"

#include "eidmap/error.h"
#include "mapserver/copy_sums.h"
#include "state/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX ((size_t)256 << 10)
#define MAP_SIZE  ((uint64_t)4 << 20)
#define PATH_SIZE 64

static char dir[PATH_SIZE];

static void remove_file(const char *name)
{
    char path[2 * PATH_SIZE];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    remove(path);
}

static void remove_map(void)
{
    remove_file("copy");
    remove_file("state-1/data.mdb");
    remove_file("state-1/lock.mdb");
    remove_file("state-1");
}

static void remove_dir(void)
{
    remove_map();
    rmdir(dir);
}

static void make_dir(void)
{
    if (dir[0])
        return;
    snprintf(dir, sizeof(dir), "%s/eidmap-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    FUZZ_CHECK(mkdtemp(dir));
    atexit(remove_dir);
}

/* The loaded map must be one that opens, and whose copy says the same. */
static void copy_again(const struct ms_snapshot_info *loaded)
{
    const struct ms_store_config config = {
        .dir = dir, .generation = 1, .map_size = MAP_SIZE, .disk_reserve = 1};
    struct ms_snapshot_info info;
    struct ms_store *store = NULL;
    char path[2 * PATH_SIZE], *why = NULL;
    snprintf(path, sizeof(path), "%s/copy", dir);
    FUZZ_CHECK(ms_store_open(&config, &store, &why) == 0);
    FUZZ_CHECK(ms_snapshot_write(store, path, false, NULL, &info, &why) == 0);
    FUZZ_CHECK(info.n_rows == loaded->n_rows && info.revision == loaded->revision);
    FUZZ_CHECK(info.identity.members_size == loaded->identity.members_size);
    ms_snapshot_info_fini(&info);
    ms_store_close(store);
}

static void try_file(const uint8_t *data, size_t size)
{
    struct ms_snapshot_info checked, loaded;
    const struct ms_snapshot_target target = {
        .dir = dir, .generation = 1, .map_size = MAP_SIZE, .disk_reserve = 1};
    char path[MEMFILE_PATH], *why = NULL;
    int fd = memfile_open(data, size, path);
    int r = ms_snapshot_check(path, NULL, &checked, &why);
    FUZZ_CHECK(r == 0 || why);
    free(why);
    why = NULL;
    int again = ms_snapshot_load(path, &target, NULL, &loaded, &why);
    FUZZ_CHECK(again == r || again == EM_E_NO_SPACE);
    FUZZ_CHECK(again == 0 || why);
    free(why);
    if (!again) {
        FUZZ_CHECK(memcmp(checked.digest, loaded.digest, EM_DIGEST_SIZE) == 0);
        copy_again(&loaded);
        ms_snapshot_info_fini(&loaded);
        remove_map();
    }
    if (!r)
        ms_snapshot_info_fini(&checked);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > INPUT_MAX)
        return 0;
    make_dir();
    try_file(data, size);
    uint8_t *copy = malloc(size ? size : 1);
    FUZZ_CHECK(copy);
    if (size)
        memcpy(copy, data, size);
    copy_set_sums(copy, size);
    try_file(copy, size);
    free(copy);
    return 0;
}
