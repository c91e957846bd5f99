/* One row per object in (network, revision) order.  A change moves the object's row to the
 * end, so a walk from any cursor meets each object once, in its latest state, however often
 * it changed meanwhile; a reader that lags costs nothing.
 *
 * A deletion leaves a row that says "gone".  An object that is made again gets a new row and
 * leaves that one where it is: it is older, so who walks over both ends with the new one. */
#include "state/feed.h"

#include "base/mem.h"
#include "state/key.h"
#include "state/txn.h"

#include <assert.h>
#include <string.h>

#define ENTRY_HEAD 2 /* kind, gone */
#define MAP_PAGE   4096
#define CACHE_LINE 64
#define ENTRY_MAX  (ENTRY_HEAD + 64)

bool ms_feed_start(struct ms_reader *reader, uint64_t since, struct ms_feed_cursor *ret_cursor)
{
    const struct ms_meta *meta = &reader->txn.meta;
    /* A cursor from the future is of another map, or of this one before a copy was put back. */
    bool is_resume = since > 0 && since >= meta->horizon && since <= meta->revision;
    if (is_resume)
        *ret_cursor = (struct ms_feed_cursor){since, since};
    else
        *ret_cursor = (struct ms_feed_cursor){0, meta->revision};
    return !is_resume;
}

static enum ms_db db_of(enum em_object kind)
{
    switch (kind) {
    case EM_OBJECT_PORT:
        return MS_DB_PORT;
    case EM_OBJECT_NODE:
        return MS_DB_NODE;
    case EM_OBJECT_NETWORK:
        return MS_DB_NETWORK;
    }
    return MS_N_DBS;
}

struct walk {
    struct ms_txn *txn;
    MDB_cursor *feed, *ports;
    size_t max_entries, max_bytes;
    uintptr_t feed_page, port_page; /* that were read last */
    unsigned n_strays;              /* ports that did not lie behind the one before */
};

#define MAX_STRAYS 16 /* then the next one is not looked at any more */

static bool is_same(struct ms_blob a, struct ms_blob b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* The rows of a page of LMDB's are read one behind the other, and most of them are not in the
 * processor's caches: with the first one, all are asked for. */
static void fetch_page(const uint8_t *row, uintptr_t *page)
{
    uintptr_t at = (uintptr_t)row & ~(uintptr_t)(MAP_PAGE - 1);
    if (at == *page)
        return;
    *page = at;
    for (size_t i = 0; i < MAP_PAGE; i += CACHE_LINE)
        __builtin_prefetch((const uint8_t *)at + i);
}

/* Ports that were made in one go often lie side by side: a step costs half of a search. */
static int find_port(struct walk *walk, struct ms_blob id, struct ms_blob *ret_record)
{
    struct ms_blob next = {0}, record = {0};
    if (walk->n_strays < MAX_STRAYS) {
        int r = ms_txn_seek(walk->txn, walk->ports, MDB_NEXT, &next, &record);
        if (!r)
            fetch_page(next.data, &walk->port_page);
        if (!r && is_same(next, id)) {
            *ret_record = record;
            return 0;
        }
        if (r && r != EM_E_NOT_FOUND)
            return r;
        walk->n_strays++;
    }
    return ms_txn_seek(walk->txn, walk->ports, MDB_SET, &id, ret_record);
}

static int find_record(struct walk *walk, struct ms_feed_entry *entry)
{
    if (entry->kind == EM_OBJECT_PORT)
        return find_port(walk, entry->id, &entry->record);
    return ms_txn_get(walk->txn, db_of(entry->kind), entry->id, &entry->record);
}

static int decode(struct walk *walk, struct ms_blob key, struct ms_blob value,
                  struct ms_feed_entry *ret_entry)
{
    struct ms_txn *txn = walk->txn;
    if (key.size != 12 || value.size <= ENTRY_HEAD)
        return ms_txn_fail(txn, EM_E_STORAGE);
    *ret_entry = (struct ms_feed_entry){
        .revision = ms_read_u64(key.data + 4),
        .kind = value.data[0],
        .is_gone = value.data[1],
        .id = ms_blob(value.data + ENTRY_HEAD, value.size - ENTRY_HEAD),
    };
    if (db_of(ret_entry->kind) == MS_N_DBS)
        return ms_txn_fail(txn, EM_E_STORAGE);
    if (ret_entry->is_gone)
        return 0;
    int r = find_record(walk, ret_entry);
    return r == EM_E_NOT_FOUND ? ms_txn_fail(txn, EM_E_STORAGE) : r;
}

static bool is_of_network(struct ms_blob key, uint32_t network_id)
{
    return key.size == 12 && ms_read_u32(key.data) == network_id;
}

static int check(struct ms_reader *reader, uint32_t network_id, const struct ms_feed_cursor *cursor)
{
    struct ms_blob record;
    if (reader->txn.meta.horizon > cursor->sound)
        return EM_E_STALE;
    return network_id ? ms_reader_network(reader, network_id, &record) : 0;
}

/* EM_E_NOT_FOUND: to the end of all feeds.  'ret_key' is where it stopped. */
static int run(struct walk *walk, uint32_t network_id, struct ms_feed_cursor *cursor,
               struct ms_blob *ret_key, ms_feed_fn *visit, void *aux)
{
    struct ms_key from = ms_key_feed(network_id, cursor->revision + 1);
    struct ms_blob value = {0};
    size_t n = 0, bytes = 0;
    *ret_key = ms_key_blob(&from);
    int r = ms_txn_seek(walk->txn, walk->feed, MDB_SET_RANGE, ret_key, &value);
    while (!r && is_of_network(*ret_key, network_id) && n < walk->max_entries &&
           (n == 0 || bytes < walk->max_bytes)) {
        struct ms_feed_entry entry;
        fetch_page(value.data, &walk->feed_page);
        r = decode(walk, *ret_key, value, &entry);
        if (r)
            break;
        visit(aux, &entry);
        n++;
        bytes += entry.id.size + entry.record.size;
        cursor->revision = entry.revision;
        r = ms_txn_seek(walk->txn, walk->feed, MDB_NEXT, ret_key, &value);
    }
    return r;
}

int ms_feed_read(struct ms_reader *reader, uint32_t network_id, struct ms_feed_cursor *cursor,
                 size_t max_entries, size_t max_bytes, ms_feed_fn *visit, void *aux)
{
    struct ms_txn *txn = &reader->txn;
    struct ms_blob key;
    int r = check(reader, network_id, cursor);
    if (r)
        return r;
    struct walk walk = {.txn = txn,
                        .feed = ms_txn_cursor(txn, MS_DB_FEED),
                        .ports = ms_txn_cursor(txn, MS_DB_PORT),
                        .max_entries = max_entries,
                        .max_bytes = max_bytes};
    r = txn->err ? txn->err : run(&walk, network_id, cursor, &key, visit, aux);
    if (walk.feed)
        mdb_cursor_close(walk.feed);
    if (walk.ports)
        mdb_cursor_close(walk.ports);
    bool is_more = !r && is_of_network(key, network_id);
    if (r && r != EM_E_NOT_FOUND)
        return r;
    if (!is_more)
        cursor->revision = txn->meta.revision;
    if (cursor->sound < cursor->revision)
        cursor->sound = cursor->revision;
    return is_more;
}

void ms_feed_touch(struct ms_txn *txn, uint32_t network_id)
{
    struct ms_touched *touched = txn->touched;
    if (!touched || (touched->n > 0 && touched->ids[touched->n - 1] == network_id))
        return;
    if (touched->n == touched->room) {
        touched->room = touched->room ? touched->room * 2 : 64;
        touched->ids = em_realloc(touched->ids, touched->room * sizeof(*touched->ids));
    }
    touched->ids[touched->n++] = network_id;
}

static void move(struct ms_txn *txn, uint32_t network_id, uint64_t old_revision, uint64_t revision,
                 enum em_object kind, bool is_gone, struct ms_blob id)
{
    assert(revision > old_revision && id.size > 0 && id.size <= ENTRY_MAX - ENTRY_HEAD);
    struct ms_key key = ms_key_feed(network_id, revision);
    uint8_t value[ENTRY_MAX] = {(uint8_t)kind, is_gone};
    memcpy(value + ENTRY_HEAD, id.data, id.size);
    if (old_revision) {
        struct ms_key old = ms_key_feed(network_id, old_revision);
        ms_txn_delete(txn, MS_DB_FEED, ms_key_blob(&old), (struct ms_blob){0});
    }
    ms_txn_put(txn, MS_DB_FEED, ms_key_blob(&key), ms_blob(value, ENTRY_HEAD + id.size));
    ms_feed_touch(txn, network_id);
}

void ms_feed_put(struct ms_txn *txn, uint32_t network_id, uint64_t old_revision, uint64_t revision,
                 enum em_object kind, struct ms_blob id)
{
    move(txn, network_id, old_revision, revision, kind, false, id);
}

void ms_feed_gone(struct ms_txn *txn, uint32_t network_id, uint64_t old_revision, uint64_t revision,
                  enum em_object kind, struct ms_blob id)
{
    struct ms_key tomb = ms_key_u64(revision), network = ms_key_u32(network_id);
    move(txn, network_id, old_revision, revision, kind, true, id);
    ms_txn_put(txn, MS_DB_TOMB, ms_key_blob(&tomb), ms_key_blob(&network));
}

bool ms_feed_is_empty(struct ms_txn *txn, uint32_t network_id)
{
    MDB_cursor *walk = ms_txn_cursor(txn, MS_DB_FEED);
    if (!walk)
        return false;
    struct ms_key from = ms_key_feed(network_id, 0);
    struct ms_blob key = ms_key_blob(&from), value = {0};
    int r = ms_txn_seek(txn, walk, MDB_SET_RANGE, &key, &value);
    while (!r && is_of_network(key, network_id) && value.size > ENTRY_HEAD && value.data[1])
        r = ms_txn_seek(txn, walk, MDB_NEXT, &key, &value);
    mdb_cursor_close(walk);
    return r ? r == EM_E_NOT_FOUND : !is_of_network(key, network_id);
}

bool ms_feed_trim(struct ms_txn *txn, uint64_t below, uint32_t max)
{
    MDB_cursor *walk = ms_txn_cursor(txn, MS_DB_TOMB);
    if (!walk)
        return false;
    struct ms_blob key = {0}, network = {0};
    uint32_t n = 0;
    int r = ms_txn_seek(txn, walk, MDB_FIRST, &key, &network);
    while (!r && ms_read_u64(key.data) < below && n < max) {
        uint64_t revision = ms_read_u64(key.data);
        struct ms_key entry = ms_key_feed(ms_read_u32(network.data), revision);
        ms_txn_delete(txn, MS_DB_FEED, ms_key_blob(&entry), (struct ms_blob){0});
        if (mdb_cursor_del(walk, 0))
            ms_txn_fail(txn, EM_E_STORAGE);
        txn->meta.horizon = revision;
        txn->is_dirty = true;
        n++;
        r = ms_txn_seek(txn, walk, MDB_FIRST, &key, &network);
    }
    bool is_more = !r && ms_read_u64(key.data) < below;
    mdb_cursor_close(walk);
    return is_more;
}
