/* Writes seeds for fuzz_snapshot: copies of small maps, whole and spoilt.
 *
 * Usage: make_snapshot_seeds DIRECTORY.  Run it when the format changes.  The rows only look
 * like those of a map: the copying does not read them. */
#include "base/mem.h"
#include "mapserver/copy_sums.h"
#include "state/snapshot.h"
#include "state/txn.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct ms_store *store;
static const char *directory;

static void must(int r, const char *why)
{
    if (r == 0)
        return;
    fprintf(stderr, "%s\n", why ? why : "failed");
    exit(1);
}

static void write_seed(const char *name)
{
    struct ms_snapshot_info info;
    char *why = NULL, *path = em_asprintf("%s/%s", directory, name);
    must(ms_snapshot_write(store, path, false, NULL, &info, &why), why);
    ms_snapshot_info_fini(&info);
    free(path);
}

/* Several values under a key, some rows of each database, and ports for more than a piece. */
static void add_rows(size_t n)
{
    struct ms_txn txn;
    char key[16], value[512];
    must(ms_txn_begin(store, NULL, NULL, &txn), NULL);
    memset(value, 'v', sizeof(value));
    for (size_t i = 0; i < n; i++)
        for (int db = MS_DB_PORT; db < (i < 20 ? MS_N_DBS : MS_DB_PORT + 1); db++) {
            bool is_multiple = ms_db_is_multiple((enum ms_db)db);
            size_t size = is_multiple ? 12 : 2 + 7 * i % 500;
            snprintf(key, sizeof(key), "k%06zu", is_multiple ? i / 4 : i);
            snprintf(value, sizeof(value), "v%06zu", i);
            ms_txn_put(&txn, (enum ms_db)db, ms_blob(key, strlen(key)), ms_blob(value, size));
        }
    txn.meta.revision += n;
    must(ms_txn_commit(&txn), NULL);
}

static void set_identity(void)
{
    uint8_t members[100] = "members";
    const struct ms_identity identity = {
        .cluster_id = "fuzz",
        .recovery = 1,
        .applied = 10,
        .applied_term = 2,
        .members_index = 9,
        .members = members,
        .members_size = sizeof(members),
    };
    must(ms_identity_set(store, &identity), NULL);
}

/* Another file of the first 'size' bytes (0: all), with one byte changed. */
static void spoil(const char *from, const char *name, unsigned piece, size_t offset, uint8_t byte)
{
    static uint8_t data[1 << 20];
    char *path = em_asprintf("%s/%s", directory, from);
    size_t n_content;
    FILE *file = fopen(path, "rb");
    must(!file, path);
    size_t size = fread(data, 1, sizeof(data), file);
    fclose(file);
    free(path);
    uint8_t *content = copy_piece(data, size, piece, &n_content);
    must(!content || offset >= n_content, "there is no such byte");
    content[offset] = byte;
    copy_set_sums(data, size);
    path = em_asprintf("%s/%s", directory, name);
    file = fopen(path, "wb");
    must(!file || fwrite(data, 1, size, file) != size || fclose(file), path);
    free(path);
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/eidmap-seeds-XXXXXX", *why = NULL;
    must(argc != 2 || !mkdtemp(dir), "usage: make_snapshot_seeds DIRECTORY");
    directory = argv[1];
    const struct ms_store_config config = {.dir = dir, .map_size = 16u << 20};
    must(ms_store_open(&config, &store, &why), why);
    write_seed("empty");
    add_rows(3);
    set_identity();
    write_seed("small");
    add_rows(300);
    write_seed("pieces");
    spoil("small", "newer_schema", 0, 3, 9);
    spoil("small", "other_database", 0, 170, 'X');
    spoil("small", "database_again", 2, 0, 0);
    spoil("small", "row_too_long", 2, 2, 0xff);
    spoil("small", "key_out_of_order", 2, 8, 'z');
    ms_store_close(store);
    char *command = em_asprintf("rm -r %s", dir);
    must(system(command), command);
    free(command);
    return 0;
}
