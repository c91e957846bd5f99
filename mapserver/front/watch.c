#include "front/watch.h"

#include "base/hash.h"
#include "eidmap/error.h"
#include "front/context.h"
#include "front/pump.h"
#include "front/session.h"
#include "front/topics.h"
#include "net/conn.h"
#include "state/feed.h"
#include "state/txn.h"
#include "wire/convert.h"
#include "wire/writer.h"

#include <stdlib.h>
#include <string.h>

#define WATCHES_MAX  16384 /* of one session */
#define TURN_ENTRIES 256   /* feed entries looked at in one turn */
#define PUSH_AHEAD   (256u << 10)
#define HOST_HEAD    6 /* bytes of an Eid before its address: two lengths, two tags, its own, kind */

/* Hashes stand for what they are made of: a collision costs a needless look, never a lost
 * push. */
struct watch {
    uint64_t id; /* envelope id of the Resolve */
    uint64_t eid_hash;
    uint64_t port_hash;   /* of the port-id in the last answer; 0: negative */
    uint64_t answer_hash; /* of the whole last answer */
    bool is_hit;          /* to be looked at again */
    struct em_eid eid;    /* 'name' is owned */
    struct em_eid covers; /* of the last answer; looked at if it is a range of addresses */
};

struct watch_set {
    struct em_list in_session;
    struct ms_listener listener; /* the network's feed */
    struct ms_listener networks; /* network 0: the network itself comes, changes, goes */
    struct ms_session *session;
    uint32_t network_id;
    struct ms_feed_cursor cursor;
    struct watch *watches;
    size_t n, size;
    uint64_t network_hash;  /* of the network's record; 0: there is none */
    bool is_dirty;          /* the network's feed has grown */
    bool is_networks_dirty; /* that of network 0 has */
    bool is_hit;            /* some of the watches are */
};

/* ---- answers ------------------------------------------------------------------------ */

/* A MAC or an address, of which an answer has three: the bytes that put_eid() would write. */
static void put_host(struct em_buf *out, uint8_t number, const struct em_eid *eid)
{
    uint8_t *at = em_buf_reserve(out, HOST_HEAD + sizeof(eid->addr));
    const uint8_t head[HOST_HEAD] = {(uint8_t)(number << 3 | 2),
                                     (uint8_t)(HOST_HEAD - 2 + eid->size),
                                     1 << 3,
                                     (uint8_t)eid->kind,
                                     2 << 3 | 2,
                                     eid->size};
    memcpy(at, head, sizeof(head));
    memcpy(at + HOST_HEAD, eid->addr, sizeof(eid->addr)); /* all: a constant size is fast */
    em_buf_commit(out, (size_t)HOST_HEAD + eid->size);
}

static void put_eid(struct em_buf *out, uint8_t number, const struct em_eid *eid)
{
    if (eid->kind <= EM_EID_IPV6) {
        put_host(out, number, eid);
        return;
    }
    bool is_named = eid->kind == EM_EID_NAME || eid->kind == EM_EID_PORT_ID;
    size_t start = em_nest_begin(out, number);
    em_put_uint(out, 1, eid->kind);
    em_put_bytes(out, 2, is_named ? (const void *)eid->name : eid->addr, eid->size);
    em_put_uint(out, 3, em_eid_is_prefix(eid) ? eid->prefix_len : 0);
    em_put_uint(out, 4, eid->protocol);
    em_put_uint(out, 5, eid->l4_port);
    em_nest_end(out, start);
}

/* The port without the locations that are for other nodes alone.  Which labels the asker has
 * may change, and network 0 tells it: those views are the asker's to judge. */
static void put_port_for_node(struct ms_session *session, struct em_buf *out, struct ms_blob blob)
{
    struct em_arena *arena = &session->worker->arena;
    Eidmap__Port *port = em_msg_unpack_as(arena, &eidmap__port__descriptor, blob.data, blob.size);
    uint8_t *packed = em_arena_alloc(arena, blob.size);
    size_t n = 0;
    for (size_t i = 0; port && i < port->n_locations; i++) {
        const Eidmap__View *view = port->locations[i]->view;
        if (!view || !view->node_id[0] || strcmp(view->node_id, session->member.identity.name) == 0)
            port->locations[n++] = port->locations[i];
    }
    if (port && packed) {
        port->n_locations = n;
        blob = ms_blob(packed, eidmap__port__pack(port, packed));
    }
    em_put_bytes(out, 2, blob.data, blob.size);
}

void ms_watch_put_answer(struct ms_session *session, struct em_buf *out, const struct em_eid *eid,
                         const struct ms_answer *answer)
{
    size_t start = em_nest_begin(out, 2); /* ResolveReply.answers */
    put_eid(out, 1, eid);
    if (answer->port.data) {
        if (answer->has_view && ms_session_is_node(session))
            put_port_for_node(session, out, answer->port);
        else
            em_put_bytes(out, 2, answer->port.data, answer->port.size);
        put_eid(out, 3, &answer->matched);
    }
    if (answer->covers.kind != EM_EID_NONE)
        put_eid(out, 4, &answer->covers);
    em_put_uint(out, 5, answer->action);
    em_put_uint(out, 6, answer->ttl_s);
    em_put_bytes(out, 7, answer->reason, strlen(answer->reason));
    em_nest_end(out, start);
}

static uint64_t hash_eid(const struct em_eid *eid)
{
    const uint8_t head[6] = {(uint8_t)eid->kind,           eid->prefix_len,       eid->protocol,
                             (uint8_t)(eid->l4_port >> 8), (uint8_t)eid->l4_port, eid->size};
    bool is_named = eid->kind == EM_EID_NAME || eid->kind == EM_EID_PORT_ID;
    return em_hash_more(em_hash(head, sizeof(head)), is_named ? (const void *)eid->name : eid->addr,
                        eid->size);
}

static uint64_t hash_answer(const struct ms_answer *answer)
{
    uint64_t hash = em_hash(answer->reason, strlen(answer->reason));
    if (answer->port.data)
        hash = em_hash_more(hash, answer->port.data, answer->port.size);
    return em_hash_more(hash, &(uint64_t){hash_eid(&answer->covers)}, sizeof(uint64_t));
}

/* Field 1 of a stored Port is its id. */
static uint64_t hash_port(struct em_arena *arena, struct ms_blob blob)
{
    if (!blob.data)
        return 0;
    const Eidmap__Port *port =
        em_msg_unpack_as(arena, &eidmap__port__descriptor, blob.data, blob.size);
    return port ? em_hash(port->id.data, port->id.len) : 0;
}

static void remember(struct ms_session *session, struct watch *watch,
                     const struct ms_answer *answer)
{
    watch->covers = answer->covers;
    watch->port_hash = hash_port(&session->worker->arena, answer->port);
    watch->answer_hash = hash_answer(answer);
}

/* ---- pushes ------------------------------------------------------------------------- */

/* Looks again and pushes the answer if it is another.  0 or EM_E_STORAGE. */
static int look(struct ms_session *session, uint32_t network_id, struct watch *watch)
{
    struct em_buf *out = em_conn_out(session->conn);
    struct ms_answer answer;
    int r = ms_resolve(session->worker->reader, network_id, &watch->eid, &answer);
    if (r)
        return r;
    watch->is_hit = false;
    if (hash_answer(&answer) == watch->answer_hash)
        return 0;
    em_arena_reset(&session->worker->arena);
    remember(session, watch, &answer);
    size_t frame = em_frame_begin(out, watch->id);
    size_t body = em_nest_begin(out, EIDMAP__ENVELOPE__BODY_RESOLVE_REPLY);
    em_put_uint(out, 1, ms_reader_revision(session->worker->reader));
    ms_watch_put_answer(session, out, &watch->eid, &answer);
    em_put_uint(out, 4, true); /* push */
    em_nest_end(out, body);
    return em_frame_end(out, frame);
}

struct hits {
    struct watch_set *set;
    struct em_arena *arena;
};

static void hit(struct watch_set *set, struct watch *watch)
{
    watch->is_hit = true;
    set->is_hit = true;
}

static void hit_all(struct watch_set *set)
{
    for (size_t i = 0; i < set->n; i++)
        hit(set, &set->watches[i]);
}

static void hit_eid(struct watch_set *set, const struct em_eid *eid)
{
    uint64_t hash = hash_eid(eid);
    bool is_prefix = em_eid_is_prefix(eid);
    for (size_t i = 0; i < set->n; i++) {
        struct watch *watch = &set->watches[i];
        if (watch->eid_hash == hash ||
            (is_prefix && em_eid_is_ip(&watch->eid) && em_eid_covers(eid, &watch->eid)))
            hit(set, watch);
        /* A new mapping inside the range that the answer holds for narrows it. */
        if (em_eid_is_ip(eid) && em_eid_is_ip(&watch->covers) && em_eid_covers(&watch->covers, eid))
            hit(set, watch);
    }
}

static void hit_port(struct watch_set *set, struct ms_blob id)
{
    uint64_t hash = em_hash(id.data, id.size);
    for (size_t i = 0; i < set->n; i++)
        if (set->watches[i].port_hash == hash)
            hit(set, &set->watches[i]);
}

static void on_entry(void *aux, const struct ms_feed_entry *entry)
{
    struct hits *hits = aux;
    hit_port(hits->set, entry->id);
    struct em_eid by_id = {.kind = EM_EID_PORT_ID,
                           .size = (uint8_t)entry->id.size,
                           .name = (const char *)entry->id.data};
    hit_eid(hits->set, &by_id);
    if (entry->is_gone)
        return;
    em_arena_reset(hits->arena);
    const Eidmap__Port *port = em_msg_unpack_as(hits->arena, &eidmap__port__descriptor,
                                                entry->record.data, entry->record.size);
    for (size_t i = 0; port && i < port->n_eids; i++) {
        struct em_eid eid;
        if (em_eid_from_msg(port->eids[i], &eid) == 0)
            hit_eid(hits->set, &eid);
    }
}

/* Reads the feed on and marks what it touches.  Where that is more than a turn's entries it
 * marks all: to look at each answer once is cheaper than to hold each entry against it. */
static int read_feed(struct watch_set *set)
{
    struct ms_worker *worker = set->session->worker;
    struct hits hits = {set, &worker->arena};
    int r = ms_feed_read(worker->reader, set->network_id, &set->cursor, TURN_ENTRIES, SIZE_MAX,
                         on_entry, &hits);
    if (r < 0 && r != EM_E_STALE && r != EM_E_NOT_FOUND)
        return r;
    set->is_dirty = false;
    if (r) {
        ms_feed_start(worker->reader, ms_reader_revision(worker->reader), &set->cursor);
        hit_all(set);
    }
    return 0;
}

static int get_network_hash(const struct watch_set *set, uint64_t *ret_hash)
{
    struct ms_blob record;
    int r = ms_reader_network(set->session->worker->reader, set->network_id, &record);
    if (r && r != EM_E_NOT_FOUND)
        return r;
    *ret_hash = r ? 0 : em_hash(record.data, record.size);
    return 0;
}

/* Network 0 tells of each node too, and those change no answer. */
static int check_network(struct watch_set *set)
{
    uint64_t hash;
    int r = get_network_hash(set, &hash);
    if (r)
        return r;
    set->is_networks_dirty = false;
    if (hash != set->network_hash)
        hit_all(set);
    set->network_hash = hash;
    return 0;
}

/* As much as the connection takes; what is left stays marked. */
static int push_hits(struct watch_set *set)
{
    struct ms_session *session = set->session;
    for (size_t i = 0; i < set->n; i++) {
        if (!set->watches[i].is_hit)
            continue;
        if (em_conn_pending(session->conn) >= PUSH_AHEAD)
            return 0;
        int r = look(session, set->network_id, &set->watches[i]);
        if (r)
            return r;
    }
    set->is_hit = false;
    return 0;
}

static bool is_due(const struct watch_set *set)
{
    return set->is_dirty || set->is_networks_dirty || set->is_hit;
}

static int run_set(struct watch_set *set)
{
    int r = set->is_dirty ? read_feed(set) : 0;
    if (r == 0 && set->is_networks_dirty)
        r = check_network(set);
    return r ? r : push_hits(set);
}

bool ms_watch_is_due(const struct ms_session *session)
{
    EM_FOREACH (set, &session->watch_sets, struct watch_set, in_session)
        if (is_due(set))
            return true;
    return false;
}

int ms_watch_run(struct ms_session *session)
{
    EM_FOREACH (set, &session->watch_sets, struct watch_set, in_session) {
        if (!is_due(set))
            continue;
        if (em_conn_pending(session->conn) >= PUSH_AHEAD)
            return 0; /* called again when it has drained */
        int r = run_set(set);
        if (r)
            return r;
    }
    return 0;
}

static void on_feed(struct ms_listener *listener)
{
    struct watch_set *set = em_container_of(listener, struct watch_set, listener);
    if (!set->is_dirty)
        ms_pump_catch_up(set->session->worker, &set->cursor);
    set->is_dirty = true;
    ms_pump_wake(set->session);
}

static void on_networks(struct ms_listener *listener)
{
    struct watch_set *set = em_container_of(listener, struct watch_set, networks);
    set->is_networks_dirty = true;
    ms_pump_wake(set->session);
}

/* ---- begin and end ------------------------------------------------------------------ */

static int get_set(struct ms_session *session, uint32_t network_id, struct watch_set **ret_set)
{
    EM_FOREACH (set, &session->watch_sets, struct watch_set, in_session) {
        if (set->network_id == network_id) {
            *ret_set = set;
            return 0;
        }
    }
    struct watch_set *set = em_calloc(1, sizeof(*set));
    struct ms_worker *worker = session->worker;
    set->session = session;
    set->network_id = network_id;
    int r = get_network_hash(set, &set->network_hash);
    if (r) {
        free(set);
        return r;
    }
    ms_feed_start(worker->reader, ms_reader_revision(worker->reader), &set->cursor);
    em_list_append(&session->watch_sets, &set->in_session);
    ms_topics_listen(worker->topics, network_id, &set->listener, on_feed);
    ms_topics_listen(worker->topics, 0, &set->networks, on_networks);
    *ret_set = set;
    return 0;
}

static void set_free(struct watch_set *set)
{
    struct ms_topics *topics = set->session->worker->topics;
    ms_topics_leave(topics, &set->listener);
    ms_topics_leave(topics, &set->networks);
    em_list_remove(&set->in_session);
    for (size_t i = 0; i < set->n; i++)
        free((void *)set->watches[i].eid.name);
    free(set->watches);
    free(set);
}

static int add(struct watch_set *set, uint64_t id, const Eidmap__Eid *msg)
{
    struct ms_answer answer;
    struct watch watch = {.id = id};
    int r = em_eid_from_msg(msg, &watch.eid);
    if (r == 0)
        r = ms_resolve(set->session->worker->reader, set->network_id, &watch.eid, &answer);
    if (r)
        return r;
    watch.eid_hash = hash_eid(&watch.eid);
    remember(set->session, &watch, &answer);
    if (watch.eid.name)
        watch.eid.name = em_memdup(watch.eid.name, watch.eid.size);
    if (set->n == set->size) {
        set->size = set->size ? set->size * 2 : 8;
        set->watches = em_realloc(set->watches, set->size * sizeof(*set->watches));
    }
    set->watches[set->n++] = watch;
    return 0;
}

int ms_watch_begin(struct ms_session *session, uint64_t id, uint32_t network_id,
                   const Eidmap__Resolve *resolve)
{
    if (session->n_watches + resolve->n_eids > WATCHES_MAX)
        return EM_E_LIMIT;
    struct watch_set *set;
    int r = get_set(session, network_id, &set);
    for (size_t i = 0; r == 0 && i < resolve->n_eids; i++) {
        r = add(set, id, resolve->eids[i]);
        session->n_watches += r == 0;
    }
    session->member.n_watches = session->n_watches;
    return r;
}

static void end_in_set(struct watch_set *set, uint64_t id)
{
    struct ms_session *session = set->session;
    size_t kept = 0;
    for (size_t i = 0; i < set->n; i++) {
        if (set->watches[i].id == id)
            free((void *)set->watches[i].eid.name);
        else
            set->watches[kept++] = set->watches[i];
    }
    session->n_watches -= (uint32_t)(set->n - kept);
    set->n = kept;
    if (!kept)
        set_free(set);
}

void ms_watch_end(struct ms_session *session, const Eidmap__Envelope *request)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Done done = EIDMAP__DONE__INIT;
    EM_FOREACH (set, &session->watch_sets, struct watch_set, in_session)
        end_in_set(set, request->unwatch->watch_id);
    session->member.n_watches = session->n_watches;
    done.revision = session->worker->front->revision;
    envelope.id = request->id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_DONE;
    envelope.done = &done;
    ms_session_send(session, &envelope);
}

void ms_watch_close(struct ms_session *session)
{
    EM_FOREACH (set, &session->watch_sets, struct watch_set, in_session)
        set_free(set);
    session->n_watches = 0;
}
