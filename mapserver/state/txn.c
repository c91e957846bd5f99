/* Sticky errors: the first call that fails decides how the transaction ends, and the calls
 * after it do nothing, so that the code that changes records needs no check at each step.
 * Only LMDB's own codes come in here, and only eidmap's go out. */
#include "state/txn.h"

#include "state/key.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const struct ms_blob meta_key = {(const uint8_t *)"counters", 8};

int ms_txn_error(int mdb_err)
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
    case MDB_READERS_FULL:
    case MDB_TXN_FULL:
        return EM_E_LIMIT;
    default: /* LMDB's codes and errno's are an open set */
        return EM_E_STORAGE;
    }
}

int ms_txn_fail(struct ms_txn *txn, int err)
{
    assert(err < 0);
    if (!txn->err)
        txn->err = err;
    return txn->err;
}

struct ms_blob ms_meta_key(void)
{
    return meta_key;
}

/* Big-endian numbers; one that an older program did not write is 0. */
struct ms_meta ms_meta_unpack(struct ms_blob row)
{
    uint64_t fields[MS_N_META] = {0};
    struct ms_meta meta;
    for (size_t i = 0; i < MS_N_META && (i + 1) * 8 <= row.size; i++)
        fields[i] = ms_read_u64(row.data + i * 8);
    memcpy(&meta, fields, sizeof(meta));
    return meta;
}

void ms_meta_pack(const struct ms_meta *meta, uint8_t ret_row[MS_N_META * 8])
{
    uint64_t fields[MS_N_META];
    memcpy(fields, meta, sizeof(fields));
    for (size_t i = 0; i < MS_N_META; i++)
        ms_write_u64(ret_row + i * 8, fields[i]);
}

int ms_meta_load(struct ms_txn *txn)
{
    struct ms_blob row;
    int r = ms_txn_get(txn, MS_DB_META, meta_key, &row);
    if (!r)
        txn->meta = ms_meta_unpack(row);
    return r;
}

static void store_meta(struct ms_txn *txn)
{
    uint8_t row[MS_N_META * 8];
    ms_meta_pack(&txn->meta, row);
    ms_txn_put(txn, MS_DB_META, meta_key, ms_blob(row, sizeof(row)));
}

int ms_txn_look(struct ms_env *env, struct ms_txn *ret_txn)
{
    *ret_txn = (struct ms_txn){.env = env};
    int r = ms_txn_error(mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &ret_txn->mdb));
    if (r)
        return r;
    r = ms_meta_load(ret_txn);
    if (r && r != EM_E_NOT_FOUND) {
        ms_txn_abort(ret_txn);
        return r;
    }
    return 0;
}

int ms_txn_begin(struct ms_store *store, struct ms_txn *parent, struct ms_touched *touched,
                 struct ms_txn *ret_txn)
{
    struct ms_env *env = parent ? parent->env : ms_store_env(store);
    *ret_txn = (struct ms_txn){
        .store = store, .env = env, .parent = parent, .is_writing = true, .touched = touched};
    int r = parent ? 0 : ms_store_before_write(store);
    if (r)
        return r;
    r = mdb_txn_begin(env->mdb, parent ? parent->mdb : NULL, 0, &ret_txn->mdb);
    if (r)
        return ms_txn_error(r);
    if (parent) {
        ret_txn->meta = parent->meta;
        return 0;
    }
    r = ms_meta_load(ret_txn);
    if (r && r != EM_E_NOT_FOUND) {
        ms_txn_abort(ret_txn);
        return r;
    }
    return 0;
}

int ms_txn_commit(struct ms_txn *txn)
{
    assert(txn->mdb);
    if (txn->is_dirty && !txn->parent)
        store_meta(txn);
    if (txn->err) {
        ms_txn_abort(txn);
        return txn->err;
    }
    MDB_txn *mdb = txn->mdb;
    txn->mdb = NULL; /* freed by the commit, whatever it returns */
    int r = ms_txn_error(mdb_txn_commit(mdb));
    if (r)
        txn->err = r;
    if (!txn->parent)
        return r;
    if (r)
        return ms_txn_fail(txn->parent, r);
    txn->parent->meta = txn->meta;
    txn->parent->is_dirty |= txn->is_dirty;
    return 0;
}

void ms_txn_abort(struct ms_txn *txn)
{
    if (txn->mdb)
        mdb_txn_abort(txn->mdb);
    txn->mdb = NULL;
    if (txn->err && txn->parent)
        ms_txn_fail(txn->parent, txn->err);
}

static MDB_val to_val(struct ms_blob blob)
{
    return (MDB_val){blob.size, (void *)blob.data};
}

static struct ms_blob from_val(MDB_val val)
{
    return (struct ms_blob){val.mv_data, val.mv_size};
}

/* Only for writing; NULL after a failure. */
static MDB_cursor *kept_cursor(struct ms_txn *txn, enum ms_db db, struct ms_blob key)
{
    size_t i = db, n = 0;
    if (db == MS_DB_EID && key.size >= MS_KEY_EID_HEAD)
        n = key.data[MS_KEY_EID_HEAD - 1] % MS_N_EID_CURSORS;
    if (n > 0)
        i = MS_N_DBS + n - 1;
    if (!txn->cursors[i])
        txn->cursors[i] = ms_txn_cursor(txn, db);
    return txn->cursors[i];
}

static int get(struct ms_txn *txn, enum ms_db db, struct ms_blob key, MDB_val *ret_value)
{
    MDB_val k = to_val(key);
    if (!txn->is_writing)
        return mdb_get(txn->mdb, txn->env->dbis[db], &k, ret_value);
    MDB_cursor *cursor = kept_cursor(txn, db, key);
    return cursor ? mdb_cursor_get(cursor, &k, ret_value, MDB_SET) : ENOMEM;
}

int ms_txn_get(struct ms_txn *txn, enum ms_db db, struct ms_blob key, struct ms_blob *ret_value)
{
    if (txn->err)
        return txn->err;
    if (key.size == 0 || key.size > MS_KEY_SIZE)
        return EM_E_NOT_FOUND; /* to LMDB it would be an error */
    MDB_val v;
    int r = get(txn, db, key, &v);
    if (r == MDB_NOTFOUND)
        return EM_E_NOT_FOUND;
    if (r)
        return ms_txn_fail(txn, ms_txn_error(r));
    *ret_value = from_val(v);
    return 0;
}

void ms_txn_put(struct ms_txn *txn, enum ms_db db, struct ms_blob key, struct ms_blob value)
{
    if (txn->err)
        return;
    MDB_val k = to_val(key), v = to_val(value);
    MDB_cursor *cursor = kept_cursor(txn, db, key);
    int r = cursor ? mdb_cursor_put(cursor, &k, &v, 0) : ENOMEM;
    if (r)
        ms_txn_fail(txn, ms_txn_error(r));
    txn->is_dirty = true;
}

uint8_t *ms_txn_reserve(struct ms_txn *txn, enum ms_db db, struct ms_blob key, size_t size)
{
    if (txn->err)
        return NULL;
    MDB_val k = to_val(key), v = {size, NULL};
    MDB_cursor *cursor = kept_cursor(txn, db, key);
    int r = cursor ? mdb_cursor_put(cursor, &k, &v, MDB_RESERVE) : ENOMEM;
    txn->is_dirty = true;
    if (!r)
        return v.mv_data;
    ms_txn_fail(txn, ms_txn_error(r));
    return NULL;
}

void ms_txn_delete(struct ms_txn *txn, enum ms_db db, struct ms_blob key, struct ms_blob value)
{
    if (txn->err)
        return;
    MDB_val k = to_val(key), v = to_val(value);
    int r = mdb_del(txn->mdb, txn->env->dbis[db], &k, value.data ? &v : NULL);
    if (r == MDB_NOTFOUND)
        return;
    if (r)
        ms_txn_fail(txn, ms_txn_error(r));
    txn->is_dirty = true;
}

size_t ms_txn_count(struct ms_txn *txn, enum ms_db db, struct ms_blob key)
{
    size_t n = 0;
    struct ms_blob value;
    MDB_cursor *cursor = txn->is_writing ? kept_cursor(txn, db, key) : ms_txn_cursor(txn, db);
    if (!cursor)
        return 0;
    if (ms_txn_seek(txn, cursor, MDB_SET, &key, &value) == 0)
        mdb_cursor_count(cursor, &n);
    if (!txn->is_writing)
        mdb_cursor_close(cursor);
    return n;
}

MDB_cursor *ms_txn_cursor(struct ms_txn *txn, enum ms_db db)
{
    MDB_cursor *cursor = NULL;
    if (txn->err)
        return NULL;
    int r = mdb_cursor_open(txn->mdb, txn->env->dbis[db], &cursor);
    if (r)
        ms_txn_fail(txn, ms_txn_error(r));
    return cursor;
}

int ms_txn_seek(struct ms_txn *txn, MDB_cursor *cursor, MDB_cursor_op op, struct ms_blob *key,
                struct ms_blob *value)
{
    if (txn->err)
        return txn->err;
    MDB_val k = to_val(*key), v = to_val(*value);
    int r = mdb_cursor_get(cursor, &k, &v, op);
    if (r == MDB_NOTFOUND)
        return EM_E_NOT_FOUND;
    if (r)
        return ms_txn_fail(txn, ms_txn_error(r));
    *key = from_val(k);
    *value = from_val(v);
    return 0;
}
