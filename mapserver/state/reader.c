/* Reads for the threads that answer clients.  A reader keeps its LMDB transaction and its
 * cursor between requests: to begin is then a matter of nanoseconds, without a lock. */
#include "base/mem.h"
#include "state/key.h"
#include "state/recent.h"
#include "state/record.h"
#include "state/txn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void leave(struct ms_reader *reader)
{
    if (!reader->txn.env)
        return;
    if (reader->eid)
        mdb_cursor_close(reader->eid);
    mdb_txn_abort(reader->txn.mdb);
    ms_store_leave(reader->txn.store, reader->txn.env);
    reader->eid = NULL;
    reader->txn.env = NULL;
}

/* Into the current environment, out of the one before it. */
static int enter(struct ms_reader *reader)
{
    struct ms_env *env = ms_store_enter(reader->txn.store);
    MDB_txn *mdb;
    int r = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &mdb);
    if (r) {
        ms_store_leave(reader->txn.store, env);
        return ms_txn_error(r);
    }
    mdb_txn_reset(mdb);
    leave(reader);
    reader->seen = 0;
    reader->txn.env = env;
    reader->txn.mdb = mdb;
    return 0;
}

int ms_reader_new(struct ms_store *store, struct ms_reader **ret_reader)
{
    struct ms_reader *reader = em_calloc(1, sizeof(*reader));
    reader->txn.store = store;
    int r = enter(reader);
    if (r) {
        free(reader);
        return r;
    }
    reader->recent = ms_recent_new();
    *ret_reader = reader;
    return 0;
}

void ms_reader_free(struct ms_reader *reader)
{
    if (!reader)
        return;
    leave(reader);
    ms_recent_free(reader->recent);
    free(reader);
}

/* Nothing has been committed since, most often. */
static int load_meta(struct ms_reader *reader)
{
    size_t id = mdb_txn_id(reader->txn.mdb);
    if (id && id == reader->seen)
        return 0;
    reader->txn.meta = (struct ms_meta){0};
    int r = ms_meta_load(&reader->txn);
    reader->seen = r ? 0 : id;
    return r == EM_E_NOT_FOUND ? 0 : r;
}

int ms_reader_begin(struct ms_reader *reader)
{
    int r = 0;
    if (reader->txn.env->generation != ms_store_generation(reader->txn.store))
        r = enter(reader);
    if (!r)
        r = ms_txn_error(mdb_txn_renew(reader->txn.mdb));
    if (r)
        return r;
    reader->txn.err = 0;
    reader->is_eid_fresh = false;
    r = load_meta(reader);
    if (r)
        ms_reader_end(reader);
    return r;
}

void ms_reader_end(struct ms_reader *reader)
{
    mdb_txn_reset(reader->txn.mdb);
}

/* Transactions are counted in each map. */
uint64_t ms_reader_state(const struct ms_reader *reader)
{
    return reader->txn.env->generation << 48 ^ reader->seen;
}

uint64_t ms_reader_revision(struct ms_reader *reader)
{
    return reader->txn.meta.revision;
}

uint64_t ms_reader_horizon(struct ms_reader *reader)
{
    return reader->txn.meta.horizon;
}

int ms_reader_port(struct ms_reader *reader, const void *id, size_t size, struct ms_blob *ret_port)
{
    return ms_txn_get(&reader->txn, MS_DB_PORT, ms_blob(id, size), ret_port);
}

int ms_reader_node(struct ms_reader *reader, const char *id, struct ms_blob *ret_node)
{
    return ms_txn_get(&reader->txn, MS_DB_NODE, ms_blob(id, strlen(id)), ret_node);
}

int ms_reader_network(struct ms_reader *reader, uint32_t id, struct ms_blob *ret_network)
{
    struct ms_key key = ms_key_u32(id);
    return ms_txn_get(&reader->txn, MS_DB_NETWORK, ms_key_blob(&key), ret_network);
}

int ms_reader_network_id(struct ms_reader *reader, const char *name, uint32_t *ret_id)
{
    return ms_name_holder(&reader->txn, name, ret_id);
}

int ms_reader_node_ports(struct ms_reader *reader, const char *node_id, ms_port_id_fn *visit,
                         void *aux)
{
    size_t size = strlen(node_id);
    if (size == 0 || size > MS_KEY_SIZE)
        return 0;
    MDB_cursor *cursor = ms_txn_cursor(&reader->txn, MS_DB_LOC);
    if (!cursor)
        return reader->txn.err;
    struct ms_blob key = ms_blob(node_id, size), id = {0};
    int r = ms_txn_seek(&reader->txn, cursor, MDB_SET, &key, &id);
    while (!r) {
        r = visit(aux, id.data, id.size);
        if (!r)
            r = ms_txn_seek(&reader->txn, cursor, MDB_NEXT_DUP, &key, &id);
    }
    mdb_cursor_close(cursor);
    return r == EM_E_NOT_FOUND ? 0 : r;
}

int ms_reader_nodes(struct ms_reader *reader, ms_record_fn *visit, void *aux)
{
    MDB_cursor *cursor = ms_txn_cursor(&reader->txn, MS_DB_NODE);
    if (!cursor)
        return reader->txn.err;
    struct ms_blob key = {0}, record = {0};
    int r = ms_txn_seek(&reader->txn, cursor, MDB_FIRST, &key, &record);
    while (!r) {
        r = visit(aux, (const char *)key.data, key.size, record);
        if (!r)
            r = ms_txn_seek(&reader->txn, cursor, MDB_NEXT, &key, &record);
    }
    mdb_cursor_close(cursor);
    return r == EM_E_NOT_FOUND ? 0 : r;
}
