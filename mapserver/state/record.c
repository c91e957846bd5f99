/* Every write of a record goes through here, so that no index can be forgotten: each put
 * compares the old record with the new one and touches only the rows that differ.  Ports
 * change often and their EIDs seldom; a move writes the port, two rows of locations and
 * two of the feed. */
#include "state/record.h"

#include "state/feed.h"
#include "state/identity.h"
#include "state/key.h"
#include "state/recent.h"
#include "wire/convert.h"

#include <assert.h>
#include <string.h>

static struct ms_blob blob_of_text(const char *text)
{
    return ms_blob(text, strlen(text));
}

static int get(struct ms_txn *txn, enum ms_db db, struct ms_blob key,
               const ProtobufCMessageDescriptor *type, struct em_arena *arena, void **ret_message)
{
    struct ms_blob value;
    int r = ms_txn_get(txn, db, key, &value);
    if (r)
        return r;
    void *message = em_msg_unpack_as(arena, type, value.data, value.size);
    if (!message)
        return ms_txn_fail(txn, EM_E_STORAGE);
    *ret_message = message;
    return 0;
}

int ms_port_get(struct ms_txn *txn, const void *id, size_t size, struct em_arena *arena,
                Eidmap__Port **ret_port)
{
    return get(txn, MS_DB_PORT, ms_blob(id, size), &eidmap__port__descriptor, arena,
               (void **)ret_port);
}

int ms_node_get(struct ms_txn *txn, const char *id, struct em_arena *arena, Eidmap__Node **ret_node)
{
    return get(txn, MS_DB_NODE, blob_of_text(id), &eidmap__node__descriptor, arena,
               (void **)ret_node);
}

int ms_network_get(struct ms_txn *txn, uint32_t id, struct em_arena *arena,
                   Eidmap__Network **ret_network)
{
    struct ms_key key = ms_key_u32(id);
    return get(txn, MS_DB_NETWORK, ms_key_blob(&key), &eidmap__network__descriptor, arena,
               (void **)ret_network);
}

uint64_t ms_next_revision(const struct ms_txn *txn)
{
    return txn->meta.revision + 1;
}

static void write_record(struct ms_txn *txn, enum ms_db db, struct ms_blob key,
                         const ProtobufCMessage *message)
{
    uint8_t *room = ms_txn_reserve(txn, db, key, protobuf_c_message_get_packed_size(message));
    if (room)
        protobuf_c_message_pack(message, room);
}

/* ------------------------------------------------------------------------- ports */

static enum ms_db eid_key(struct ms_txn *txn, uint32_t network_id, const Eidmap__Eid *msg,
                          struct ms_key *ret_key)
{
    struct em_eid eid;
    if (em_eid_from_msg(msg, &eid) == 0 && eid.kind != EM_EID_PORT_ID)
        return ms_key_eid(ret_key, network_id, &eid);
    ms_txn_fail(txn, EM_E_STORAGE); /* it was checked before it was stored */
    ret_key->size = 0;
    return MS_DB_EID;
}

/* Does the port have this EID in this network?  Stored EIDs are canonical, so bytes do. */
static bool holds_eid(const Eidmap__Port *port, uint32_t network_id, const Eidmap__Eid *eid)
{
    if (!port || port->network_id != network_id)
        return false;
    for (size_t i = 0; i < port->n_eids; i++) {
        const Eidmap__Eid *e = port->eids[i];
        if (e->kind == eid->kind && e->prefix_len == eid->prefix_len &&
            e->protocol == eid->protocol && e->l4_port == eid->l4_port &&
            ms_blob_equal(ms_blob_of(e->address), ms_blob_of(eid->address)))
            return true;
    }
    return false;
}

/* Index rows of 'a' that 'b' does not have: deleted or added. */
static void index_eids(struct ms_txn *txn, const Eidmap__Port *a, const Eidmap__Port *b, bool add)
{
    struct ms_key key;
    if (!a)
        return;
    for (size_t i = 0; i < a->n_eids; i++) {
        if (holds_eid(b, a->network_id, a->eids[i]))
            continue;
        enum ms_db db = eid_key(txn, a->network_id, a->eids[i], &key);
        if (add)
            ms_txn_put(txn, db, ms_key_blob(&key), ms_blob_of(a->id));
        else
            ms_txn_delete(txn, db, ms_key_blob(&key), ms_blob_of(a->id));
    }
}

Eidmap__Location *ms_port_location(const Eidmap__Port *port, const char *node_id)
{
    for (size_t i = 0; i < port->n_locations; i++)
        if (strcmp(port->locations[i]->node_id, node_id) == 0)
            return port->locations[i];
    return NULL;
}

Eidmap__Location *ms_port_place(const Eidmap__Port *port, const char *node_id)
{
    Eidmap__Location *own = ms_port_location(port, node_id);
    return own ? own : ms_port_location(port, MS_ANY_LOCAL);
}

static bool has_own_place(const Eidmap__Port *port, const char *node_id)
{
    return !port->parent.len && ms_port_location(port, node_id);
}

/* A child's are its parent's: whoever withdraws or counts those of a node need not see them. */
static void index_locations(struct ms_txn *txn, const Eidmap__Port *a, const Eidmap__Port *b,
                            bool add)
{
    if (!a || a->parent.len)
        return;
    for (size_t i = 0; i < a->n_locations; i++) {
        const char *node_id = a->locations[i]->node_id;
        if (strcmp(node_id, MS_ANY_LOCAL) == 0 || (b && has_own_place(b, node_id)))
            continue;
        if (add)
            ms_txn_put(txn, MS_DB_LOC, blob_of_text(node_id), ms_blob_of(a->id));
        else
            ms_txn_delete(txn, MS_DB_LOC, blob_of_text(node_id), ms_blob_of(a->id));
    }
}

static bool is_migrating(const Eidmap__Port *port)
{
    for (size_t i = 0; port && !port->parent.len && i < port->n_locations; i++)
        if (port->locations[i]->state == EIDMAP__LOCATION_STATE__LOCATION_PENDING)
            return true;
    return false;
}

/* The rows that the leader's clock goes by. */
static void index_migration(struct ms_txn *txn, const Eidmap__Port *old, const Eidmap__Port *port)
{
    bool was = is_migrating(old), is = is_migrating(port);
    if (was && !is)
        ms_txn_delete(txn, MS_DB_LOC, blob_of_text(MS_MIGRATING), ms_blob_of(old->id));
    if (is && !was)
        ms_txn_put(txn, MS_DB_LOC, blob_of_text(MS_MIGRATING), ms_blob_of(port->id));
}

static void index_port(struct ms_txn *txn, const Eidmap__Port *old, const Eidmap__Port *port)
{
    index_eids(txn, old, port, false);
    index_eids(txn, port, old, true);
    index_locations(txn, old, port, false);
    index_locations(txn, port, old, true);
    index_migration(txn, old, port);
    txn->meta.n_eids += (port ? port->n_eids : 0) - (old ? old->n_eids : 0);
    txn->meta.n_ports += (port != NULL) - (old != NULL);
}

/* Whoever resolves one of the port's addresses gets another answer from now on. */
static void note_change(struct ms_txn *txn, const Eidmap__Port *port)
{
    struct ms_key key;
    for (size_t i = 0; port && i < port->n_eids; i++) {
        (void)eid_key(txn, port->network_id, port->eids[i], &key);
        ms_changed_note(ms_store_changed(txn->store), &key, txn->meta.revision);
    }
}

void ms_port_put(struct ms_txn *txn, const Eidmap__Port *old, Eidmap__Port *port)
{
    uint64_t old_revision = old ? old->revision : 0;
    index_port(txn, old, port);
    if (port->parent.len && !(old && old->parent.len))
        ms_identity_require(txn, MS_SCHEMA_STORED_TRUNKS);
    if (old && old->network_id != port->network_id) {
        ms_feed_gone(txn, old->network_id, old->revision, ++txn->meta.revision, EM_OBJECT_PORT,
                     ms_blob_of(old->id));
        old_revision = 0;
    }
    port->revision = ++txn->meta.revision;
    for (size_t i = 0; i < port->n_locations; i++)
        assert(port->locations[i]->epoch > 0 && port->locations[i]->epoch <= port->revision);
    write_record(txn, MS_DB_PORT, ms_blob_of(port->id), &port->base);
    ms_feed_put(txn, port->network_id, old_revision, port->revision, EM_OBJECT_PORT,
                ms_blob_of(port->id));
    note_change(txn, old);
    note_change(txn, port);
}

void ms_port_delete(struct ms_txn *txn, const Eidmap__Port *port)
{
    index_port(txn, port, NULL);
    ms_txn_delete(txn, MS_DB_PORT, ms_blob_of(port->id), (struct ms_blob){0});
    ms_feed_gone(txn, port->network_id, port->revision, ++txn->meta.revision, EM_OBJECT_PORT,
                 ms_blob_of(port->id));
    note_change(txn, port);
}

int ms_eid_holder(struct ms_txn *txn, uint32_t network_id, const Eidmap__Eid *eid,
                  struct ms_blob except, struct ms_blob *ret_port_id)
{
    struct ms_key built;
    enum ms_db db = eid_key(txn, network_id, eid, &built);
    struct ms_blob key = ms_key_blob(&built), id = {0};
    int r = ms_txn_get(txn, db, key, &id); /* nearly always there is no one, or only itself */
    if (!r && ms_blob_equal(id, except)) {
        MDB_cursor *cursor = ms_txn_cursor(txn, db);
        if (!cursor)
            return txn->err;
        r = ms_txn_seek(txn, cursor, MDB_SET, &key, &id);
        while (!r && ms_blob_equal(id, except))
            r = ms_txn_seek(txn, cursor, MDB_NEXT_DUP, &key, &id);
        mdb_cursor_close(cursor);
    }
    if (!r)
        *ret_port_id = id;
    return r;
}

/* ------------------------------------------------------------------------- nodes */

static bool has_rloc(const Eidmap__Node *node, const Eidmap__Rloc *rloc)
{
    for (size_t i = 0; node && i < node->n_rlocs; i++)
        if (ms_blob_equal(ms_blob_of(node->rlocs[i]->address), ms_blob_of(rloc->address)))
            return true;
    return false;
}

static void index_rlocs(struct ms_txn *txn, const Eidmap__Node *old, const Eidmap__Node *node)
{
    for (size_t i = 0; old && i < old->n_rlocs; i++)
        if (!has_rloc(node, old->rlocs[i]))
            ms_txn_delete(txn, MS_DB_RLOC, ms_blob_of(old->rlocs[i]->address), (struct ms_blob){0});
    for (size_t i = 0; node && i < node->n_rlocs; i++)
        if (!has_rloc(old, node->rlocs[i]))
            ms_txn_put(txn, MS_DB_RLOC, ms_blob_of(node->rlocs[i]->address),
                       blob_of_text(node->id));
}

void ms_node_put(struct ms_txn *txn, const Eidmap__Node *old, Eidmap__Node *node)
{
    index_rlocs(txn, old, node);
    txn->meta.n_nodes += old == NULL;
    node->revision = ++txn->meta.revision;
    write_record(txn, MS_DB_NODE, blob_of_text(node->id), &node->base);
    ms_feed_put(txn, 0, old ? old->revision : 0, node->revision, EM_OBJECT_NODE,
                blob_of_text(node->id));
}

void ms_node_delete(struct ms_txn *txn, const Eidmap__Node *node)
{
    assert(txn->err || ms_txn_count(txn, MS_DB_LOC, blob_of_text(node->id)) == 0);
    index_rlocs(txn, node, NULL);
    txn->meta.n_nodes--;
    ms_txn_delete(txn, MS_DB_NODE, blob_of_text(node->id), (struct ms_blob){0});
    ms_txn_delete(txn, MS_DB_SESSION, blob_of_text(node->id), (struct ms_blob){0});
    ms_feed_gone(txn, 0, node->revision, ++txn->meta.revision, EM_OBJECT_NODE,
                 blob_of_text(node->id));
}

int ms_rloc_holder(struct ms_txn *txn, const Eidmap__Rloc *rloc, struct ms_blob *ret_node_id)
{
    return ms_txn_get(txn, MS_DB_RLOC, ms_blob_of(rloc->address), ret_node_id);
}

/* ---------------------------------------------------------------------- networks */

static int get_id(struct ms_txn *txn, struct ms_key key, uint32_t *ret_id)
{
    struct ms_blob id;
    int r = ms_txn_get(txn, MS_DB_NETKEY, ms_key_blob(&key), &id);
    if (!r && id.size != 4)
        return ms_txn_fail(txn, EM_E_STORAGE);
    if (!r)
        *ret_id = ms_read_u32(id.data);
    return r;
}

int ms_name_holder(struct ms_txn *txn, const char *name, uint32_t *ret_network_id)
{
    if (strlen(name) >= MS_KEY_SIZE)
        return EM_E_NOT_FOUND;
    return get_id(txn, ms_key_netname(name), ret_network_id);
}

int ms_vni_holder(struct ms_txn *txn, uint32_t vni, uint32_t *ret_network_id)
{
    return get_id(txn, ms_key_vni(vni), ret_network_id);
}

static void unindex_network(struct ms_txn *txn, const Eidmap__Network *network)
{
    struct ms_key name = ms_key_netname(network->name), vni = ms_key_vni(network->segmentation_id);
    ms_txn_delete(txn, MS_DB_NETKEY, ms_key_blob(&name), (struct ms_blob){0});
    ms_txn_delete(txn, MS_DB_NETKEY, ms_key_blob(&vni), (struct ms_blob){0});
}

void ms_network_put(struct ms_txn *txn, const Eidmap__Network *old, Eidmap__Network *network)
{
    struct ms_key id = ms_key_u32(network->id);
    struct ms_key name = ms_key_netname(network->name), vni = ms_key_vni(network->segmentation_id);
    if (old)
        unindex_network(txn, old);
    ms_txn_put(txn, MS_DB_NETKEY, ms_key_blob(&name), ms_key_blob(&id));
    ms_txn_put(txn, MS_DB_NETKEY, ms_key_blob(&vni), ms_key_blob(&id));
    txn->meta.n_networks += old == NULL;
    network->revision = ++txn->meta.revision;
    write_record(txn, MS_DB_NETWORK, ms_key_blob(&id), &network->base);
    ms_feed_put(txn, 0, old ? old->revision : 0, network->revision, EM_OBJECT_NETWORK,
                ms_key_blob(&id));
}

void ms_network_delete(struct ms_txn *txn, const Eidmap__Network *network)
{
    struct ms_key id = ms_key_u32(network->id);
    unindex_network(txn, network);
    txn->meta.n_networks--;
    ms_txn_delete(txn, MS_DB_NETWORK, ms_key_blob(&id), (struct ms_blob){0});
    ms_feed_gone(txn, 0, network->revision, ++txn->meta.revision, EM_OBJECT_NETWORK,
                 ms_key_blob(&id));
    ms_feed_touch(txn, network->id);
}
