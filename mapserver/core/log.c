#include "core/log.h"

#include "base/mem.h"
#include "eidmap/error.h"
#include "state/key.h"
#include "state/store.h"

#include <assert.h>
#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT     "eidmap log 1"
#define MAP_SIZE   (8ull << 30) /* sparse; compaction keeps it far below */
#define ENTRY_HEAD 9            /* term, type */

struct ms_log {
    MDB_env *env;
    MDB_dbi meta, entries;
    char *path;
};

/* Rows of "meta". */
#define KEY_FORMAT      "format"
#define KEY_REPLICA     "replica"
#define KEY_INCARNATION "incarnation"
#define KEY_VOTE        "vote" /* term, voted for */
#define KEY_MARK        "mark" /* index, term, members_index, members */
#define KEY_GENERATION  "generation"

static int translate(int mdb_err)
{
    switch (mdb_err) {
    case 0:
        return 0;
    case MDB_NOTFOUND:
        return EM_E_NOT_FOUND;
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
        return EM_E_NO_SPACE;
    default: /* LMDB's codes and errno's are an open set */
        return EM_E_STORAGE;
    }
}

static MDB_val text_key(const char *key)
{
    return (MDB_val){strlen(key), (void *)key};
}

/* ---- meta ---------------------------------------------------------------------------- */

static int put(struct ms_log *log, MDB_txn *txn, const char *key, const void *data, size_t size)
{
    MDB_val k = text_key(key), v = {size, (void *)data};
    return mdb_put(txn, log->meta, &k, &v, 0);
}

static int put_numbers(struct ms_log *log, MDB_txn *txn, const char *key, const uint64_t *numbers,
                       size_t n)
{
    uint8_t bytes[3 * 8];
    assert(n <= 3);
    for (size_t i = 0; i < n; i++)
        ms_write_u64(bytes + 8 * i, numbers[i]);
    return put(log, txn, key, bytes, 8 * n);
}

/* What is absent is zero. */
static int get_numbers(struct ms_log *log, MDB_txn *txn, const char *key, uint64_t *numbers,
                       size_t n)
{
    MDB_val k = text_key(key), v;
    memset(numbers, 0, n * sizeof(*numbers));
    int r = mdb_get(txn, log->meta, &k, &v);
    if (r == MDB_NOTFOUND)
        return 0;
    if (r == 0 && v.mv_size != 8 * n)
        r = MDB_CORRUPTED;
    for (size_t i = 0; r == 0 && i < n; i++)
        numbers[i] = ms_read_u64((uint8_t *)v.mv_data + 8 * i);
    return r;
}

static int put_mark(struct ms_log *log, MDB_txn *txn, const struct ms_mark *mark)
{
    uint8_t *bytes = em_malloc(24 + mark->members_size);
    ms_write_u64(bytes, mark->index);
    ms_write_u64(bytes + 8, mark->term);
    ms_write_u64(bytes + 16, mark->members_index);
    memcpy(bytes + 24, mark->members, mark->members_size);
    int r = put(log, txn, KEY_MARK, bytes, 24 + mark->members_size);
    free(bytes);
    return r;
}

static int get_mark(struct ms_log *log, MDB_txn *txn, struct ms_log_state *state)
{
    MDB_val k = text_key(KEY_MARK), v;
    int r = mdb_get(txn, log->meta, &k, &v);
    if (r == MDB_NOTFOUND)
        return 0;
    if (r == 0 && v.mv_size < 24)
        r = MDB_CORRUPTED;
    if (r)
        return r;
    const uint8_t *bytes = v.mv_data;
    state->has_mark = true;
    state->mark = (struct ms_mark){
        .index = ms_read_u64(bytes),
        .term = ms_read_u64(bytes + 8),
        .members_index = ms_read_u64(bytes + 16),
        .members = em_memdup(bytes + 24, v.mv_size - 24),
        .members_size = v.mv_size - 24,
    };
    return 0;
}

/* ---- entries ------------------------------------------------------------------------- */

static int put_entry(struct ms_log *log, MDB_txn *txn, uint64_t index, const struct ms_entry *entry)
{
    uint8_t key[8];
    MDB_val k = {sizeof(key), key}, v = {ENTRY_HEAD + entry->payload->size, NULL};
    ms_write_u64(key, index);
    int r = mdb_put(txn, log->entries, &k, &v, MDB_RESERVE | MDB_APPEND);
    if (r)
        return r == MDB_KEYEXIST ? MDB_CORRUPTED : r;
    uint8_t *bytes = v.mv_data;
    ms_write_u64(bytes, entry->term);
    bytes[8] = (uint8_t)entry->type;
    memcpy(bytes + ENTRY_HEAD, entry->payload->data, entry->payload->size);
    return 0;
}

/* Deletes the entries first .. last, as far as there are any. */
static int delete_range(struct ms_log *log, MDB_txn *txn, uint64_t first, uint64_t last)
{
    uint8_t from[8];
    MDB_val k, v;
    MDB_cursor *cursor;
    int r = mdb_cursor_open(txn, log->entries, &cursor);
    if (r)
        return r;
    do { /* each from the beginning: where a cursor stands after a deletion is LMDB's affair */
        ms_write_u64(from, first);
        k = (MDB_val){sizeof(from), from};
        r = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
        if (r || ms_read_u64(k.mv_data) > last)
            break;
        r = mdb_cursor_del(cursor, 0);
    } while (r == 0);
    mdb_cursor_close(cursor);
    return r == MDB_NOTFOUND ? 0 : r;
}

static int write_all(struct ms_log *log, MDB_txn *txn, const struct ms_log_write *write)
{
    int r = 0;
    if (write->has_vote)
        r = put_numbers(log, txn, KEY_VOTE, (uint64_t[]){write->term, write->voted_for}, 2);
    if (r == 0 && write->truncate)
        r = delete_range(log, txn, write->truncate, UINT64_MAX);
    for (size_t i = 0; r == 0 && i < write->n_entries; i++)
        r = put_entry(log, txn, write->first + i, &write->entries[i]);
    if (r == 0 && write->mark)
        r = put_mark(log, txn, write->mark);
    if (r == 0 && write->forget == UINT64_MAX)
        r = mdb_drop(txn, log->entries, 0);
    else if (r == 0 && write->forget)
        r = delete_range(log, txn, 0, write->forget);
    if (r == 0 && write->has_generation)
        r = put_numbers(log, txn, KEY_GENERATION, &write->generation, 1);
    return r;
}

int ms_log_write(struct ms_log *log, const struct ms_log_write *write)
{
    MDB_txn *txn;
    int r = mdb_txn_begin(log->env, NULL, 0, &txn);
    if (r)
        return translate(r);
    r = write_all(log, txn, write);
    if (r) {
        mdb_txn_abort(txn);
        return translate(r);
    }
    return translate(mdb_txn_commit(txn));
}

int ms_log_read(struct ms_log *log, uint64_t index, struct ms_payload **ret_payload)
{
    MDB_txn *txn;
    uint8_t key[8];
    MDB_val k = {sizeof(key), key}, v;
    ms_write_u64(key, index);
    int r = mdb_txn_begin(log->env, NULL, MDB_RDONLY, &txn);
    if (r)
        return translate(r);
    r = mdb_get(txn, log->entries, &k, &v);
    if (r == 0 && v.mv_size < ENTRY_HEAD)
        r = MDB_CORRUPTED;
    if (r == 0)
        *ret_payload = ms_payload_new((uint8_t *)v.mv_data + ENTRY_HEAD, v.mv_size - ENTRY_HEAD);
    mdb_txn_abort(txn);
    return translate(r);
}

static int load_entry(const MDB_val *v, struct ms_entry *ret_entry)
{
    const uint8_t *bytes = v->mv_data;
    if (v->mv_size < ENTRY_HEAD)
        return MDB_CORRUPTED;
    enum raft_entry_type type = (enum raft_entry_type)bytes[8];
    size_t size = v->mv_size - ENTRY_HEAD;
    if (type != RAFT_COMMAND && type != RAFT_BARRIER && type != RAFT_CHANGE)
        return MDB_CORRUPTED;
    *ret_entry = (struct ms_entry){
        .term = ms_read_u64(bytes),
        .type = type,
        .size = (uint32_t)size,
        .payload = type == RAFT_CHANGE ? ms_payload_new(bytes + ENTRY_HEAD, size) : NULL,
    };
    return 0;
}

/* They must follow each other without a gap. */
static int load_entries(struct ms_log *log, MDB_txn *txn, struct ms_log_state *state)
{
    MDB_stat stat;
    MDB_cursor *cursor;
    MDB_val k, v;
    int r = mdb_stat(txn, log->entries, &stat);
    if (r == 0)
        r = mdb_cursor_open(txn, log->entries, &cursor);
    if (r)
        return r;
    state->entries = em_calloc(stat.ms_entries + 1, sizeof(*state->entries));
    while (r == 0 && (r = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0) {
        uint64_t index = k.mv_size == 8 ? ms_read_u64(k.mv_data) : 0;
        if (state->n_entries == 0)
            state->first = index;
        if (index == 0 || index != state->first + state->n_entries)
            r = MDB_CORRUPTED;
        else
            r = load_entry(&v, &state->entries[state->n_entries]);
        if (r == 0)
            state->n_entries++;
    }
    mdb_cursor_close(cursor);
    return r == MDB_NOTFOUND ? 0 : r;
}

/* ---- open and load --------------------------------------------------------------------- */

static int explain(const char *path, int mdb_err, char **ret_why)
{
    int r = translate(mdb_err);
    if (r == EM_E_NO_SPACE)
        *ret_why = em_asprintf("no room to open %s: free disk space", path);
    else if (mdb_err == EACCES || mdb_err == EPERM)
        *ret_why = em_asprintf("may not read and write %s: give it to the user that runs the map "
                               "server",
                               path);
    else
        *ret_why = em_asprintf("%s is damaged or not a log of eidmap (%s): if other servers of the "
                               "cluster are well, remove this one from it, move its data directory "
                               "away and add it again",
                               path, mdb_strerror(mdb_err));
    return r;
}

static int check_format(struct ms_log *log, MDB_txn *txn)
{
    MDB_val k = text_key(KEY_FORMAT), v;
    uint64_t replica = 0;
    int r = mdb_get(txn, log->meta, &k, &v);
    if (r == 0)
        return v.mv_size == strlen(FORMAT) && memcmp(v.mv_data, FORMAT, v.mv_size) == 0
                   ? 0
                   : MDB_INVALID;
    if (r != MDB_NOTFOUND)
        return r;
    while (replica == 0)
        if (getrandom(&replica, sizeof(replica), 0) != sizeof(replica))
            return errno;
    r = put(log, txn, KEY_FORMAT, FORMAT, strlen(FORMAT));
    return r ? r : put_numbers(log, txn, KEY_REPLICA, &replica, 1);
}

static int open_env(struct ms_log *log)
{
    MDB_txn *txn;
    int r = mdb_env_create(&log->env);
    if (r == 0)
        r = mdb_env_set_maxdbs(log->env, 2);
    if (r == 0)
        r = mdb_env_set_mapsize(log->env, MAP_SIZE);
    if (r == 0)
        r = mdb_env_open(log->env, log->path, MDB_NOTLS, 0600);
    if (r == 0)
        r = mdb_txn_begin(log->env, NULL, 0, &txn);
    if (r)
        return r;
    r = mdb_dbi_open(txn, "meta", MDB_CREATE, &log->meta);
    if (r == 0)
        r = mdb_dbi_open(txn, "entry", MDB_CREATE, &log->entries);
    if (r == 0)
        r = check_format(log, txn);
    if (r) {
        mdb_txn_abort(txn);
        return r;
    }
    return mdb_txn_commit(txn);
}

int ms_log_open(const char *dir, struct ms_log **ret_log, bool *ret_is_new, char **ret_why)
{
    struct ms_log *log = em_calloc(1, sizeof(*log));
    struct stat st;
    log->path = em_asprintf("%s/log", dir);
    char *file = em_asprintf("%s/data.mdb", log->path);
    *ret_is_new = stat(file, &st) != 0 || st.st_size == 0;
    free(file);
    int r = mkdir(log->path, 0700) && errno != EEXIST ? errno : 0;
    if (r == 0)
        r = open_env(log);
    if (r == 0) /* LMDB does not see to the names */
        r = -ms_env_sync_dir(log->path);
    if (r == 0)
        r = -ms_env_sync_dir(dir);
    if (r) {
        r = explain(log->path, r, ret_why);
        ms_log_close(log);
        return r;
    }
    *ret_log = log;
    return 0;
}

void ms_log_close(struct ms_log *log)
{
    if (!log)
        return;
    mdb_env_close(log->env);
    free(log->path);
    free(log);
}

static int load_all(struct ms_log *log, MDB_txn *txn, struct ms_log_state *state)
{
    uint64_t vote[2];
    int r = get_numbers(log, txn, KEY_REPLICA, &state->replica, 1);
    if (r == 0)
        r = get_numbers(log, txn, KEY_INCARNATION, &state->incarnation, 1);
    if (r == 0)
        r = get_numbers(log, txn, KEY_VOTE, vote, 2);
    if (r == 0)
        r = get_numbers(log, txn, KEY_GENERATION, &state->generation, 1);
    if (r == 0)
        r = get_mark(log, txn, state);
    if (r)
        return r;
    state->term = vote[0];
    state->voted_for = vote[1];
    state->first = state->mark.index + 1;
    state->incarnation++;
    r = load_entries(log, txn, state);
    if (r == 0 && (state->replica == 0 || state->first > state->mark.index + 1))
        r = MDB_CORRUPTED;
    return r ? r : put_numbers(log, txn, KEY_INCARNATION, &state->incarnation, 1);
}

int ms_log_load(struct ms_log *log, struct ms_log_state *ret_state, char **ret_why)
{
    MDB_txn *txn;
    *ret_state = (struct ms_log_state){0};
    int r = mdb_txn_begin(log->env, NULL, 0, &txn);
    if (r == 0) {
        r = load_all(log, txn, ret_state);
        if (r)
            mdb_txn_abort(txn);
        else
            r = mdb_txn_commit(txn);
    }
    if (r == 0)
        return 0;
    ms_log_state_fini(ret_state);
    return explain(log->path, r, ret_why);
}

void ms_log_state_fini(struct ms_log_state *state)
{
    for (size_t i = 0; i < state->n_entries; i++)
        ms_payload_unref(state->entries[i].payload);
    free(state->entries);
    free((void *)state->mark.members);
    *state = (struct ms_log_state){0};
}

uint64_t ms_log_size(const struct ms_log *log)
{
    MDB_envinfo info;
    MDB_stat stat;
    if (mdb_env_info(log->env, &info) || mdb_env_stat(log->env, &stat))
        return 0;
    return (info.me_last_pgno + 1) * (uint64_t)stat.ms_psize;
}
