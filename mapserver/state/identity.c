#include "state/identity.h"

#include "base/mem.h"
#include "state/key.h"
#include "state/txn.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT "eidmap map"

enum row { ROW_FORMAT, ROW_SCHEMA, ROW_CLUSTER, ROW_RECOVERY, ROW_MEMBERS, N_ROWS };

static const char *const names[N_ROWS] = {
    [ROW_FORMAT] = "format",     [ROW_SCHEMA] = "schema",   [ROW_CLUSTER] = "cluster-id",
    [ROW_RECOVERY] = "recovery", [ROW_MEMBERS] = "members",
};

static struct ms_blob key_of(enum row row)
{
    return ms_blob(names[row], strlen(names[row]));
}

bool ms_identity_owns(struct ms_blob meta_key)
{
    for (int row = 0; row < N_ROWS; row++)
        if (meta_key.size == strlen(names[row]) &&
            memcmp(meta_key.data, names[row], meta_key.size) == 0)
            return true;
    return false;
}

bool ms_identity_is_known(struct ms_txn *txn, uint32_t *ret_schema)
{
    struct ms_blob format, schema, id;
    *ret_schema = 0;
    if (ms_txn_get(txn, MS_DB_META, key_of(ROW_FORMAT), &format) ||
        format.size != sizeof(FORMAT) - 1 || memcmp(format.data, FORMAT, format.size) != 0 ||
        ms_txn_get(txn, MS_DB_META, key_of(ROW_SCHEMA), &schema) || schema.size != 4 ||
        ms_txn_get(txn, MS_DB_META, key_of(ROW_CLUSTER), &id) || id.size != MS_CLUSTER_ID_SIZE)
        return false;
    *ret_schema = ms_read_u32(schema.data);
    return *ret_schema <= MS_SCHEMA_STORED;
}

uint32_t ms_identity_schema(struct ms_txn *txn)
{
    struct ms_blob row;
    int r = ms_txn_get(txn, MS_DB_META, key_of(ROW_SCHEMA), &row);
    return r || row.size != 4 ? 0 : ms_read_u32(row.data);
}

void ms_identity_require(struct ms_txn *txn, uint32_t schema)
{
    struct ms_key row = ms_key_u32(schema);
    if (ms_identity_schema(txn) < schema)
        ms_txn_put(txn, MS_DB_META, key_of(ROW_SCHEMA), ms_key_blob(&row));
}

int ms_identity_read(struct ms_txn *txn, struct ms_identity *ret_identity)
{
    struct ms_blob id, recovery = {0}, members = {0};
    if (ms_txn_get(txn, MS_DB_META, key_of(ROW_CLUSTER), &id) || id.size != MS_CLUSTER_ID_SIZE)
        return EM_E_STORAGE;
    ms_txn_get(txn, MS_DB_META, key_of(ROW_RECOVERY), &recovery);
    ms_txn_get(txn, MS_DB_META, key_of(ROW_MEMBERS), &members);
    if (txn->err || (recovery.data && recovery.size != 8) || members.size > MS_MEMBERS_MAX)
        return EM_E_STORAGE;
    *ret_identity = (struct ms_identity){
        .recovery = recovery.data ? ms_read_u64(recovery.data) : 0,
        .applied = txn->meta.applied,
        .applied_term = txn->meta.applied_term,
        .members_index = txn->meta.members_index,
        .members = members.size ? em_memdup(members.data, members.size) : NULL,
        .members_size = members.size,
    };
    memcpy(ret_identity->cluster_id, id.data, id.size);
    return 0;
}

void ms_identity_write(struct ms_txn *txn, const struct ms_identity *identity)
{
    struct ms_key recovery = ms_key_u64(identity->recovery);
    ms_txn_put(txn, MS_DB_META, key_of(ROW_FORMAT), ms_blob(FORMAT, sizeof(FORMAT) - 1));
    ms_identity_require(txn, MS_SCHEMA_STORED_FIRST);
    ms_txn_put(txn, MS_DB_META, key_of(ROW_CLUSTER),
               ms_blob(identity->cluster_id, MS_CLUSTER_ID_SIZE));
    ms_txn_put(txn, MS_DB_META, key_of(ROW_RECOVERY), ms_key_blob(&recovery));
    ms_txn_set_members(txn, identity->members_index,
                       ms_blob(identity->members, identity->members_size));
    txn->meta.applied = identity->applied;
    txn->meta.applied_term = identity->applied_term;
}

void ms_txn_set_members(struct ms_txn *txn, uint64_t index, struct ms_blob members)
{
    if (members.size)
        ms_txn_put(txn, MS_DB_META, key_of(ROW_MEMBERS), members);
    else
        ms_txn_delete(txn, MS_DB_META, key_of(ROW_MEMBERS), (struct ms_blob){0});
    txn->meta.members_index = index;
    txn->is_dirty = true;
}

int ms_identity_get(struct ms_store *store, struct ms_identity *ret_identity)
{
    struct ms_txn txn;
    struct ms_env *env = ms_store_enter(store);
    int r = ms_txn_look(env, &txn);
    if (!r) {
        r = ms_identity_read(&txn, ret_identity);
        ms_txn_abort(&txn);
    }
    ms_store_leave(store, env);
    return r;
}

void ms_identity_fini(struct ms_identity *identity)
{
    free(identity->members);
    identity->members = NULL;
    identity->members_size = 0;
}

int ms_identity_set(struct ms_store *store, const struct ms_identity *identity)
{
    struct ms_txn txn;
    int r = ms_txn_begin(store, NULL, NULL, &txn);
    if (r)
        return r;
    ms_identity_write(&txn, identity);
    r = ms_txn_commit(&txn);
    if (!r)
        r = ms_store_sync(store);
    if (!r)
        ms_store_note_cluster(store, identity->cluster_id);
    return r;
}
