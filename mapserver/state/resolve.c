/* The range that an answer holds for is found from neighbours: among the mappings that are
 * more specific, the one that shares most leading bits with the asked address is next to it
 * in the order of the keys, before or behind, in the index of the hosts and in that of each
 * longer prefix length. */
#include "state/resolve.h"

#include "base/mem.h"
#include "state/key.h"
#include "state/recent.h"
#include "state/record.h"
#include "wire/convert.h"
#include "wire/scan.h"

#include <assert.h>
#include <string.h>

struct lookup {
    struct ms_reader *reader;
    uint32_t network_id;
    const struct em_eid *eid;
    unsigned width;
    struct ms_answer *answer;
};

/* ---------------------------------------------------------------- stored messages */

struct fields {
    uint32_t network_id;
    bool has_location;
    bool has_view;
};

static bool has_view(struct em_scan location)
{
    enum { VIEW = 5 }; /* Location.view */
    return em_scan_count(location, VIEW) > 0;
}

/* Looks at a few fields of a packed Port: unpacking it would cost more than the lookup. */
static bool scan_port(struct ms_blob port, struct fields *ret_fields)
{
    struct em_scan scan = em_scan(port.data, port.size);
    struct em_field field;
    struct fields fields = {0};
    while (em_scan_next(&scan, &field)) {
        if (field.number == 2)
            fields.network_id = (uint32_t)em_scan_number(&scan, &field);
        if (field.number != 4)
            continue;
        fields.has_location = true;
        fields.has_view = fields.has_view || has_view(em_scan_inside(&scan, &field));
    }
    *ret_fields = fields;
    return !scan.is_bad;
}

/* ----------------------------------------------------------------------- answers */

static void answer_no(struct ms_answer *answer, enum em_action action, uint32_t ttl_s,
                      const char *reason)
{
    answer->port = (struct ms_blob){0};
    answer->matched = (struct em_eid){.kind = EM_EID_NONE};
    answer->action = action;
    answer->ttl_s = ttl_s;
    answer->reason = reason;
}

static void answer_nobody(struct ms_answer *answer)
{
    answer_no(answer, EM_ACTION_DROP, MS_TTL_NOBODY, "nobody has registered it");
}

static void answer_no_range(struct ms_answer *answer, const char *reason)
{
    answer_no(answer, EM_ACTION_NATIVELY_FORWARD, MS_TTL_NO_RANGE, reason);
}

static void answer_yes(struct ms_answer *answer, struct ms_blob port, bool has_view,
                       const struct em_eid *matched)
{
    answer->port = port;
    answer->has_view = has_view;
    answer->matched = *matched;
    answer->action = EM_ACTION_NONE;
    answer->ttl_s = MS_TTL_FOUND;
    answer->reason = "";
}

static int answer_port(struct lookup *l, struct ms_blob id, const struct em_eid *matched)
{
    struct ms_txn *txn = &l->reader->txn;
    struct fields fields;
    struct ms_blob port;
    int r = ms_txn_get(txn, MS_DB_PORT, id, &port);
    if (r || !scan_port(port, &fields))
        return ms_txn_fail(txn, EM_E_STORAGE);
    if (fields.has_location) {
        answer_yes(l->answer, port, fields.has_view, matched);
    } else {
        answer_no(l->answer, EM_ACTION_DROP, MS_TTL_NOBODY,
                  "the port is declared, but no node has it now");
    }
    return 0;
}

static struct ms_seen seen_by(const struct ms_reader *reader)
{
    return (struct ms_seen){ms_store_changed(reader->txn.store), reader->txn.env->generation,
                            reader->txn.meta.revision};
}

/* The port that has this EID itself, most often one that was asked for lately. */
static int find_holder(struct lookup *l, enum ms_db db, const struct ms_key *key,
                       const struct em_eid *eid)
{
    struct ms_reader *reader = l->reader;
    const struct ms_seen seen = seen_by(reader);
    uint64_t hash = ms_recent_hash(key);
    struct ms_blob id, port;
    if (ms_recent_find(reader->recent, &seen, key, hash, &port)) {
        answer_yes(l->answer, port, false, eid);
        return 0;
    }
    int r = ms_txn_get(&reader->txn, db, ms_key_blob(key), &id);
    if (!r)
        r = answer_port(l, id, eid);
    if (!r && db == MS_DB_EID && l->answer->port.data && !l->answer->has_view)
        ms_recent_put(reader->recent, &seen, key, hash, l->answer->port);
    return r;
}

/* ------------------------------------------------------------------------ cursor */

static int seek(struct lookup *l, MDB_cursor_op op, struct ms_blob *key)
{
    struct ms_reader *reader = l->reader;
    struct ms_blob value = {0};
    if (!reader->eid) {
        reader->eid = ms_txn_cursor(&reader->txn, MS_DB_EID);
        if (!reader->eid)
            return reader->txn.err;
    } else if (!reader->is_eid_fresh && mdb_cursor_renew(reader->txn.mdb, reader->eid)) {
        return ms_txn_fail(&reader->txn, EM_E_STORAGE);
    }
    reader->is_eid_fresh = true;
    return ms_txn_seek(&reader->txn, reader->eid, op, key, &value);
}

/* Leading bits of the asked address that the key shares when it begins with the same
 * 'head' bytes; -1 when it does not. */
static int common_bits(struct lookup *l, struct ms_blob key, const struct ms_key *like, size_t head)
{
    if (key.size != like->size || memcmp(key.data, like->bytes, head) != 0)
        return -1;
    return (int)em_common_bits(key.data + head, like->bytes + head, l->eid->size);
}

/* The most bits that any key of the group of 'like' (its first 'head' bytes, an address
 * behind them) shares with it: -1 when the group is empty. */
static int nearest(struct lookup *l, const struct ms_key *like, size_t head, int *ret_bits)
{
    struct ms_blob key = ms_key_blob(like);
    int bits = -1;
    int r = seek(l, MDB_SET_RANGE, &key);
    if (r == 0)
        bits = common_bits(l, key, like, head);
    if (r == 0 || r == EM_E_NOT_FOUND) {
        r = seek(l, r == 0 ? MDB_PREV_NODUP : MDB_LAST, &key);
        int before = r == 0 ? common_bits(l, key, like, head) : -1;
        if (before > bits)
            bits = before;
    }
    *ret_bits = bits;
    return r == EM_E_NOT_FOUND ? 0 : r;
}

static enum em_eid_kind prefix_kind(const struct em_eid *eid)
{
    return eid->size == 4 ? EM_EID_IPV4_PREFIX : EM_EID_IPV6_PREFIX;
}

/* The longest prefix length in use that is at most 'max'; EM_E_NOT_FOUND: none. */
static int next_length(struct lookup *l, unsigned max, unsigned *ret_len)
{
    struct ms_key from = {.size = MS_KEY_EID_HEAD + 1};
    ms_write_u32(from.bytes, l->network_id);
    from.bytes[4] = (uint8_t)prefix_kind(l->eid);
    from.bytes[5] = (uint8_t)(l->width - max);
    struct ms_blob key = ms_key_blob(&from);
    int r = seek(l, MDB_SET_RANGE, &key);
    if (r)
        return r;
    if (key.size != from.size + l->eid->size ||
        memcmp(key.data, from.bytes, MS_KEY_EID_HEAD) != 0 || key.data[5] > l->width)
        return EM_E_NOT_FOUND;
    *ret_len = l->width - key.data[5];
    return 0;
}

/* ------------------------------------------------------------------------- range */

/* Makes *len so long that nothing more specific than a mapping of 'floor' bits is in the
 * range: -1 when even the asked address itself is in such a one. */
static int narrow(struct lookup *l, int floor, int *len)
{
    struct ms_key key;
    struct em_eid host = em_eid_range(l->eid, l->width);
    int bits;
    ms_key_eid(&key, l->network_id, &host);
    int r = nearest(l, &key, MS_KEY_EID_HEAD, &bits);
    if (r)
        return r;
    if (bits == (int)l->width) {
        *len = -1;
        return 0;
    }
    *len = bits + 1 > *len ? bits + 1 : *len;
    assert(*len <= (int)l->width);
    unsigned in_use;
    for (int max = (int)l->width - 1; max > floor; max = (int)in_use - 1) {
        r = next_length(l, (unsigned)max, &in_use);
        if (r || (int)in_use <= floor)
            break;
        struct em_eid prefix = em_eid_range(l->eid, in_use);
        ms_key_eid(&key, l->network_id, &prefix);
        r = nearest(l, &key, MS_KEY_EID_HEAD + 1, &bits);
        if (r)
            return r;
        if (bits >= (int)in_use) {
            *len = -1;
            return 0;
        }
        *len = bits + 1 > *len ? bits + 1 : *len;
        if (in_use == 0)
            break;
    }
    return r == EM_E_NOT_FOUND ? 0 : r;
}

static int set_covers(struct lookup *l, int floor, int len)
{
    int r = narrow(l, floor, &len);
    if (r)
        return r;
    l->answer->covers = (struct em_eid){.kind = EM_EID_NONE};
    if (len >= 0)
        l->answer->covers = em_eid_range(l->eid, (unsigned)len);
    return 0;
}

/* ------------------------------------------------------------------ longest match */

/* One lookup for each prefix length that the network uses, longest first; they are few. */
static int find_prefix(struct lookup *l, unsigned max, struct em_eid *ret_prefix,
                       struct ms_blob *ret_id)
{
    unsigned len;
    for (;;) {
        int r = next_length(l, max, &len);
        if (r)
            return r;
        struct ms_key key;
        *ret_prefix = em_eid_range(l->eid, len);
        ms_key_eid(&key, l->network_id, ret_prefix);
        r = ms_txn_get(&l->reader->txn, MS_DB_EID, ms_key_blob(&key), ret_id);
        if (r != EM_E_NOT_FOUND || len == 0)
            return r;
        max = len - 1;
    }
}

static const struct em_eid link_local = {
    .kind = EM_EID_IPV6_PREFIX, .prefix_len = 10, .size = 16, .addr = {0xfe, 0x80}};

/* One range of the network: is the asked address in it, and if not, how far away? */
static void consider(const struct em_eid *asked, const struct em_eid *subnet, bool *is_inside,
                     int *len)
{
    if (subnet->size != asked->size)
        return;
    int subnet_len = (int)em_eid_prefix_len(subnet);
    int bits = (int)em_common_bits(subnet->addr, asked->addr, asked->size);
    if (bits >= subnet_len) {
        *len = !*is_inside || subnet_len < *len ? subnet_len : *len;
        *is_inside = true;
    } else if (!*is_inside && bits + 1 > *len) {
        *len = bits + 1;
    }
}

/* Is the asked address one that the network may have?  *ret_len: of the widest range for
 * which the same is true. */
static bool is_in_network(struct lookup *l, const Eidmap__Network *network, int *ret_len)
{
    bool is_inside = network->n_subnets == 0;
    *ret_len = 0;
    for (size_t i = 0; i < network->n_subnets; i++) {
        struct em_eid subnet;
        if (em_eid_from_msg(network->subnets[i], &subnet) == 0)
            consider(l->eid, &subnet, &is_inside, ret_len);
    }
    if (network->n_subnets > 0)
        consider(l->eid, &link_local, &is_inside, ret_len);
    return is_inside;
}

/* No mapping covers the address: say whether one may come (60 s), or hardly ever (15 min). */
static int resolve_nobody(struct lookup *l)
{
    Eidmap__Network *network;
    struct em_arena arena;
    int len = 0;
    em_arena_init(&arena, 0);
    int r = ms_network_get(&l->reader->txn, l->network_id, &arena, &network);
    if (r == EM_E_NOT_FOUND)
        answer_no_range(l->answer, "there is no such network");
    else if (!r && !is_in_network(l, network, &len))
        answer_no_range(l->answer, "it is outside every subnet of the network");
    else if (!r)
        answer_nobody(l->answer);
    em_arena_fini(&arena);
    if (r && r != EM_E_NOT_FOUND)
        return r;
    return set_covers(l, -1, len);
}

static int resolve_ip(struct lookup *l)
{
    struct ms_blob id;
    struct em_eid prefix;
    unsigned max = em_eid_prefix_len(l->eid);
    if (max == l->width) {
        struct ms_key key;
        struct em_eid host = em_eid_range(l->eid, max);
        ms_key_eid(&key, l->network_id, &host);
        l->answer->covers = host;
        int r = find_holder(l, MS_DB_EID, &key, &host);
        if (r != EM_E_NOT_FOUND)
            return r;
        max--;
    }
    int r = find_prefix(l, max, &prefix, &id);
    if (r == EM_E_NOT_FOUND)
        return resolve_nobody(l);
    if (!r)
        r = answer_port(l, id, &prefix);
    return r ? r : set_covers(l, prefix.prefix_len, prefix.prefix_len);
}

static int resolve_exact(struct lookup *l)
{
    struct ms_key key;
    struct ms_blob network;
    enum ms_db db = ms_key_eid(&key, l->network_id, l->eid);
    int r = find_holder(l, db, &key, l->eid);
    if (r != EM_E_NOT_FOUND)
        return r;
    r = ms_reader_network(l->reader, l->network_id, &network);
    if (r == EM_E_NOT_FOUND)
        answer_no_range(l->answer, "there is no such network");
    else
        answer_nobody(l->answer);
    return r == EM_E_NOT_FOUND ? 0 : r;
}

/* A port is found wherever it is, even nowhere: who asks by its id wants to know just that. */
static int resolve_port_id(struct lookup *l)
{
    struct fields fields;
    struct ms_blob port;
    int r = ms_reader_port(l->reader, l->eid->name, l->eid->size, &port);
    if (r && r != EM_E_NOT_FOUND)
        return r;
    if (!r && !scan_port(port, &fields))
        return ms_txn_fail(&l->reader->txn, EM_E_STORAGE);
    if (r || (l->network_id && l->network_id != fields.network_id)) {
        answer_nobody(l->answer);
        return 0;
    }
    *l->answer = (struct ms_answer){
        .port = port,
        .has_view = fields.has_view,
        .matched = *l->eid,
        .covers = *l->eid,
        .ttl_s = MS_TTL_FOUND,
        .reason = "",
    };
    return 0;
}

int ms_resolve(struct ms_reader *reader, uint32_t network_id, const struct em_eid *eid,
               struct ms_answer *ret_answer)
{
    struct ms_answer answer = {.covers = *eid, .reason = ""};
    struct lookup l = {.reader = reader, .network_id = network_id, .eid = eid, .answer = &answer};
    int r;
    if (eid->kind == EM_EID_PORT_ID) {
        r = resolve_port_id(&l);
    } else if (em_eid_is_ip(eid)) {
        l.width = em_eid_width(eid);
        r = resolve_ip(&l);
    } else {
        r = resolve_exact(&l);
    }
    if (!r)
        *ret_answer = answer;
    return r;
}

void ms_resolve_prepare(struct ms_reader *reader, struct ms_question *questions, size_t n)
{
    const struct ms_changed *changed = ms_store_changed(reader->txn.store);
    for (size_t i = 0; i < n; i++) {
        struct ms_key key;
        ms_key_eid(&key, questions[i].network_id, &questions[i].eid);
        questions[i].hash = ms_recent_hash(&key);
        ms_recent_fetch(reader->recent, changed, questions[i].hash);
    }
    for (size_t i = 0; i < n; i++)
        ms_recent_fetch_more(reader->recent, questions[i].hash);
}

int ms_resolve_prepared(struct ms_reader *reader, const struct ms_question *question,
                        struct ms_answer *ret_answer)
{
    const struct ms_seen seen = seen_by(reader);
    struct ms_key key;
    struct ms_blob port;
    ms_key_eid(&key, question->network_id, &question->eid);
    if (!ms_recent_find(reader->recent, &seen, &key, question->hash, &port))
        return ms_resolve(reader, question->network_id, &question->eid, ret_answer);
    ret_answer->covers = question->eid;
    answer_yes(ret_answer, port, false, &question->eid);
    return 0;
}
