/* What a power loss may leave of the map's file, page by page, and what a start makes of it. */
#include "state/checkpoint.h"

#include "base/crc32c.h"
#include "mapserver/map.h"
#include "state/env.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE    4096
#define N_PORTS 300
#define RESERVE (64u << 20) /* so that no checkpoint is made but where a test makes one */

static struct map m;
static uint32_t net;
static uint64_t random_state = 1;

static uint32_t draw(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % below;
}

static void setup(void)
{
    map_open_reserved(&m, 0, RESERVE);
    net = map_network(&m, "blue", "10.0.0.0/8", NULL);
    map_node_up(&m, "a", "192.0.2.1");
    map_node_up(&m, "b", "192.0.2.2");
}

static void teardown(void)
{
    map_close(&m);
}

TestSuite(checkpoint, .init = setup, .fini = teardown, .timeout = 120);

/* One port comes, goes or moves. */
static void change(void)
{
    char id[16], ip[32];
    unsigned i = draw(N_PORTS);
    const char *node = draw(2) ? "a" : "b";
    snprintf(id, sizeof(id), "p%u", i);
    snprintf(ip, sizeof(ip), "10.0.%u.%u", i / 200, 1 + i % 200);
    if (draw(4) == 0)
        map_withdraw(&m, NULL, "", id, 0);
    else
        REGISTER(&m, node, id, net, {ip}, .attach = true);
    em_arena_reset(&m.arena);
}

static void change_often(unsigned n)
{
    while (n--)
        change();
}

/* Of all that is in the map. */
static uint32_t digest(struct ms_store *store)
{
    struct ms_env *env = ms_store_env(store);
    MDB_txn *txn;
    uint32_t crc = 0;
    cr_assert_eq(mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn), 0);
    for (int db = 0; db < MS_N_DBS; db++) {
        MDB_cursor *cursor;
        MDB_val key, value;
        int r;
        cr_assert_eq(mdb_cursor_open(txn, env->dbis[db], &cursor), 0);
        while ((r = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
            crc = em_crc32c(crc, key.mv_data, key.mv_size);
            crc = em_crc32c(crc, value.mv_data, value.mv_size);
        }
        cr_assert_eq(r, MDB_NOTFOUND, "%s", mdb_strerror(r));
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return crc;
}

/* ---- files -------------------------------------------------------------------------------- */

struct file {
    uint8_t *data;
    size_t size;
};

static struct file take(const char *dir, const char *name)
{
    char path[256];
    struct stat st;
    snprintf(path, sizeof(path), "%s/state/%s", dir, name);
    int fd = open(path, O_RDONLY);
    cr_assert(fd >= 0 && fstat(fd, &st) == 0, "%s", path);
    struct file file = {em_malloc((size_t)st.st_size + 1), (size_t)st.st_size};
    cr_assert_eq(read(fd, file.data, file.size), (ssize_t)file.size);
    close(fd);
    return file;
}

static void put(const char *dir, const char *name, struct file file)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/state/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, file.data, file.size), (ssize_t)file.size);
    close(fd);
}

/* The disk has some of the pages as they were, and some as they were written later. */
static struct file tear(struct file old, struct file later)
{
    struct file torn = {em_calloc(1, later.size), later.size};
    cr_assert_geq(later.size, old.size);
    for (size_t at = 0; at < later.size; at += PAGE) {
        if (draw(2))
            memcpy(torn.data + at, later.data + at, PAGE);
        else if (at < old.size)
            memcpy(torn.data + at, old.data + at, PAGE);
    }
    return torn;
}

/* Another data directory with these two; NULL data: none. */
static void make_copy(char dir[64], struct file data, struct file checkpoint)
{
    char state[128];
    strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/eidmap-torn-XXXXXX"
                                              : "/tmp/eidmap-torn-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    snprintf(state, sizeof(state), "%s/state", dir);
    cr_assert_eq(mkdir(state, 0700), 0);
    put(dir, "data.mdb", data);
    if (checkpoint.data)
        put(dir, MS_CHECKPOINT_FILE, checkpoint);
}

static void remove_copy(const char *dir)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

static int open_copy(const char *dir, struct ms_store **ret_store, char **ret_why)
{
    const struct ms_store_config config = {.dir = dir, .disk_reserve = RESERVE};
    return ms_store_open(&config, ret_store, ret_why);
}

static void expect_copy(struct file data, struct file checkpoint, uint32_t want)
{
    char dir[64], *why = NULL;
    struct ms_store *store;
    make_copy(dir, data, checkpoint);
    cr_assert_eq(open_copy(dir, &store, &why), 0, "%s", why);
    cr_assert_eq(digest(store), want);
    ms_store_close(store);
    remove_copy(dir);
}

static void expect_refusal(struct file data, struct file checkpoint, const char *sentence)
{
    char dir[64], *why = NULL;
    struct ms_store *store;
    make_copy(dir, data, checkpoint);
    cr_assert_eq(open_copy(dir, &store, &why), EM_E_STORAGE);
    cr_assert_not_null(strstr(why, sentence), "%s", why);
    free(why);
    remove_copy(dir);
}

/* ---- power loss ----------------------------------------------------------------------------- */

Test(checkpoint, a_start_finds_it_whatever_was_written_later)
{
    for (int round = 0; round < 40; round++) {
        change_often(1 + draw(30));
        cr_assert_eq(ms_store_sync(m.store), 0);
        uint32_t want = digest(m.store);
        struct file old = take(m.dir, "data.mdb"), checkpoint = take(m.dir, MS_CHECKPOINT_FILE);
        change_often(1 + draw(60));
        struct file later = take(m.dir, "data.mdb");
        struct file torn = tear(old, later);
        expect_copy(torn, checkpoint, want);
        expect_copy(later, checkpoint, want);
        free(old.data);
        free(later.data);
        free(torn.data);
        free(checkpoint.data);
    }
}

/* Two lives, each cut off: the second begins where the first one's checkpoint was. */
Test(checkpoint, a_start_that_follows_a_start_finds_it_as_well)
{
    char dir[64];
    change_often(50);
    cr_assert_eq(ms_store_sync(m.store), 0);
    struct file old = take(m.dir, "data.mdb"), checkpoint = take(m.dir, MS_CHECKPOINT_FILE);
    change_often(50);
    struct file later = take(m.dir, "data.mdb"), torn = tear(old, later);
    make_copy(dir, torn, checkpoint);
    teardown();
    map_attach(&m, dir);
    uint32_t want = digest(m.store);
    struct file second = take(dir, "data.mdb"), place = take(dir, MS_CHECKPOINT_FILE);
    m.disk_reserve = RESERVE;
    change_often(20);
    struct file end = take(dir, "data.mdb"), torn_again = tear(second, end);
    expect_copy(torn_again, place, want);
}

Test(checkpoint, half_a_write_of_it_leaves_the_one_before)
{
    change_often(30);
    cr_assert_eq(ms_store_sync(m.store), 0);
    uint32_t want = digest(m.store);
    struct file before = take(m.dir, MS_CHECKPOINT_FILE), data = take(m.dir, "data.mdb");
    change_often(30);
    struct file later = take(m.dir, "data.mdb");
    cr_assert_eq(ms_store_sync(m.store), 0);
    struct file after = take(m.dir, MS_CHECKPOINT_FILE);
    uint32_t want_after = digest(m.store);
    cr_assert_neq(want, want_after);
    expect_copy(later, after, want_after);
    cr_assert_eq(before.size, after.size);
    for (size_t i = 0; i < after.size; i++)
        if (before.data[i] != after.data[i]) { /* the first byte that was written */
            after.data[i] ^= 0xff;
            break;
        }
    expect_copy(tear(data, later), after, want);
}

/* ---- what is no checkpoint --------------------------------------------------------------------
 */

Test(checkpoint, an_orderly_end_leaves_the_map_alone)
{
    char path[256];
    change_often(50);
    uint32_t want = digest(m.store);
    snprintf(path, sizeof(path), "%s/state/" MS_CHECKPOINT_FILE, m.dir);
    cr_assert_eq(access(path, F_OK), 0);
    map_lend(&m);
    cr_assert_neq(access(path, F_OK), 0);
    struct file data = take(m.dir, "data.mdb");
    map_take_back(&m);
    expect_copy(data, (struct file){0}, want);
}

Test(checkpoint, one_that_is_damaged_is_refused_with_what_to_do)
{
    change_often(10);
    cr_assert_eq(ms_store_sync(m.store), 0);
    struct file data = take(m.dir, "data.mdb"), checkpoint = take(m.dir, MS_CHECKPOINT_FILE);
    struct file nothing = {checkpoint.data, 0}, half = {checkpoint.data, 100};
    expect_refusal(data, nothing, "checkpoint is damaged: put a copy of the whole data directory");
    expect_refusal(data, half, "checkpoint is damaged");
    for (size_t i = 0; i < checkpoint.size; i += 64)
        checkpoint.data[i] ^= 1;
    expect_refusal(data, checkpoint, "checkpoint is damaged");
}

Test(checkpoint, the_file_of_another_time_is_refused)
{
    struct file older = take(m.dir, "data.mdb");
    change_often(10);
    cr_assert_eq(ms_store_sync(m.store), 0);
    struct file data = take(m.dir, "data.mdb"), checkpoint = take(m.dir, MS_CHECKPOINT_FILE);
    uint32_t want = digest(m.store);
    expect_refusal(older, checkpoint, "is not the file that checkpoint beside it belongs to");
    memset(data.data + PAGE, 0, PAGE);
    expect_refusal(data, checkpoint, "data.mdb is damaged");
    data = take(m.dir, "data.mdb");
    expect_copy(data, checkpoint, want);
}

/* ---- how many ---------------------------------------------------------------------------------
 */

static sem_t done;
static int done_err;

static void on_done(void *aux, int err)
{
    done_err = err;
    sem_post(&done);
}

Test(checkpoint, one_at_a_time_and_the_writer_goes_on)
{
    sem_init(&done, 0, 0);
    for (int round = 0; round < 20; round++) {
        change_often(5);
        uint32_t want = digest(m.store);
        cr_assert_eq(ms_store_sync_begin(m.store, on_done, NULL), 0);
        change_often(5);
        sem_wait(&done);
        cr_assert_eq(done_err, 0);
        ms_store_sync_wait(m.store);
        struct file data = take(m.dir, "data.mdb"), checkpoint = take(m.dir, MS_CHECKPOINT_FILE);
        expect_copy(data, checkpoint, want);
    }
    cr_assert_eq(ms_store_sync_begin(m.store, on_done, NULL), 0);
    int r = ms_store_sync_begin(m.store, on_done, NULL);
    cr_assert(r == EM_E_BUSY || r == 0);
    ms_store_sync_wait(m.store);
}

/* What is kept for it is bounded, whatever the disk has to spare. */
Test(checkpoint, writes_make_one_when_too_much_is_kept)
{
    map_close(&m);
    map_open_reserved(&m, 0, 2u << 20);
    net = map_network(&m, "blue", "10.0.0.0/8", NULL);
    map_node_up(&m, "a", "192.0.2.1");
    map_node_up(&m, "b", "192.0.2.2");
    change_often(500);
    struct file half = take(m.dir, "data.mdb");
    change_often(2000);
    struct file all = take(m.dir, "data.mdb");
    cr_assert_lt(all.size, half.size + (2u << 20), "%zu, then %zu", half.size, all.size);
}
