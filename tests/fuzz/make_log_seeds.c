/* Writes seeds for fuzz_log: segments of small logs, whole and spoilt.
 *
 * Usage: make_log_seeds DIRECTORY.  Run it when the format changes. */
#include "base/mem.h"
#include "core/log.h"
#include "core/wal.h"
#include "mapserver/wal_sums.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SEED_SIZE 4096 /* of two MiB, nearly all of them zeros */

static struct ms_log *log_;
static struct ms_log_state state;
static const char *directory;
static char dir[] = "/tmp/eidmap-seeds-XXXXXX";

static void must(int r, const char *why)
{
    if (r == 0)
        return;
    fprintf(stderr, "%s\n", why ? why : "failed");
    exit(1);
}

/* The segment as it is now; the byte at 'offset' from the end of the head is changed (0: none). */
static void write_seed(const char *name, size_t offset, uint8_t byte)
{
    static uint8_t data[SEED_SIZE];
    char file[MS_WAL_NAME];
    ms_wal_name(1, file);
    char *path = em_asprintf("%s/log/%s", dir, file);
    FILE *from = fopen(path, "rb");
    must(!from || fread(data, 1, SEED_SIZE, from) != SEED_SIZE, path);
    fclose(from);
    free(path);
    if (offset) {
        data[MS_WAL_HEAD + offset] = byte;
        wal_set_sums(data, SEED_SIZE);
    }
    path = em_asprintf("%s/%s", directory, name);
    FILE *to = fopen(path, "wb");
    must(!to || fwrite(data, 1, SEED_SIZE, to) != SEED_SIZE || fclose(to), path);
    free(path);
}

static void put(uint64_t first, enum raft_entry_type type, const char *text)
{
    struct ms_payload *payload = ms_payload_new(text, strlen(text));
    const struct ms_entry entries[] = {{1, type, payload}, {2, type, payload}};
    const struct ms_log_write write = {.first = first, .entries = entries, .n_entries = 2};
    must(ms_log_write(log_, &write), NULL);
    ms_payload_unref(payload);
}

int main(int argc, char **argv)
{
    const struct ms_mark mark = {2, 2, 1, "members", 7};
    const struct ms_log_write vote = {.has_vote = true, .term = 2, .voted_for = 7};
    const struct ms_log_write shorten = {.mark = &mark, .forget = 2};
    const struct ms_log_write truncate = {.truncate = 5};
    bool is_new;
    char *why = NULL;
    must(argc != 2 || !mkdtemp(dir), "usage: make_log_seeds DIRECTORY");
    directory = argv[1];
    must(ms_log_open(dir, &log_, &is_new, &why), why);
    write_seed("new", 0, 0);
    must(ms_log_load(log_, &state, &why), why);
    write_seed("empty", 0, 0);
    must(ms_log_write(log_, &vote), NULL);
    put(1, RAFT_COMMAND, "a batch");
    put(3, RAFT_CHANGE, "members");
    write_seed("entries", 0, 0);
    must(ms_log_write(log_, &shorten), NULL);
    put(5, RAFT_BARRIER, "");
    must(ms_log_write(log_, &truncate), NULL);
    write_seed("shortened", 0, 0);
    for (size_t i = 0; i < sizeof(struct ms_wal_record) / 8; i++) {
        char *name = em_asprintf("number_%02zu", i);
        write_seed(name, 8 + 8 * i + 7, 0xff);
        free(name);
    }
    ms_log_state_fini(&state);
    ms_log_close(log_);
    char *command = em_asprintf("rm -r %s", dir);
    must(system(command), command);
    free(command);
    return 0;
}
