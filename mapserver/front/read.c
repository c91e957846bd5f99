/* Requests that only look: answered on the spot from the worker's reader. */
#include "base/clock.h"
#include "eidmap/error.h"
#include "front/deferred.h"
#include "front/context.h"
#include "front/requests.h"
#include "front/session.h"
#include "front/watch.h"
#include "net/conn.h"
#include "state/resolve.h"
#include "wire/convert.h"
#include "wire/writer.h"

#include <stdlib.h>
#include <string.h>

#define RESOLVE_MAX  1024 /* EIDs in one request */
#define NODES_MAX    256  /* Node records that one answer carries */
#define SESSIONS_MAX 4096 /* that one StatusReply lists */

int ms_read_network_id(struct ms_reader *reader, uint32_t id, const char *name, uint32_t *ret_id)
{
    if (name[0])
        return ms_reader_network_id(reader, name, ret_id);
    *ret_id = id;
    return 0;
}

/* ---- resolve ------------------------------------------------------------------------ */

/* The nodes that the answers name, each once, in the order of their first appearance. */
struct node_set {
    const char *ids[NODES_MAX];
    size_t n;
};

static void add_node(struct node_set *nodes, const char *id)
{
    for (size_t i = 0; i < nodes->n; i++)
        if (strcmp(nodes->ids[i], id) == 0)
            return;
    if (nodes->n < NODES_MAX)
        nodes->ids[nodes->n++] = id;
}

static void add_nodes_of(struct em_arena *arena, struct ms_blob blob, struct node_set *nodes)
{
    const Eidmap__Port *port =
        em_msg_unpack_as(arena, &eidmap__port__descriptor, blob.data, blob.size);
    for (size_t i = 0; port && i < port->n_locations; i++)
        if (port->locations[i]->node_id[0]) /* not any-local */
            add_node(nodes, port->locations[i]->node_id);
}

static void put_nodes(struct ms_reader *reader, struct em_buf *out, const struct node_set *nodes)
{
    struct ms_blob blob;
    for (size_t i = 0; i < nodes->n; i++)
        if (ms_reader_node(reader, nodes->ids[i], &blob) == 0)
            em_put_bytes(out, 3, blob.data, blob.size); /* ResolveReply.nodes */
}

/* 0, or the error for the whole request. */
static int put_answers(struct ms_session *session, const Eidmap__Resolve *resolve,
                       uint32_t network_id, struct em_buf *out, struct node_set *nodes)
{
    struct ms_reader *reader = session->worker->reader;
    size_t start = em_buf_size(out);
    for (size_t i = 0; i < resolve->n_eids; i++) {
        struct em_eid eid;
        struct ms_answer answer;
        if (em_eid_from_msg(resolve->eids[i], &eid))
            return EM_E_MALFORMED;
        int r = ms_resolve(reader, network_id, &eid, &answer);
        if (r)
            return r;
        ms_watch_put_answer(session, out, &eid, &answer);
        if (em_buf_size(out) - start > EM_FRAME_MAX)
            return EM_E_LIMIT;
        if (resolve->with_nodes && answer.port.data)
            add_nodes_of(&session->worker->arena, answer.port, nodes);
    }
    return 0;
}

/* Appends a whole ResolveReply frame to 'out'. */
static int put_reply(struct ms_session *session, const Eidmap__Envelope *request,
                     uint32_t network_id, struct em_buf *out)
{
    struct ms_reader *reader = session->worker->reader;
    struct node_set nodes = {.n = 0};
    size_t start = em_frame_begin(out, request->id);
    size_t body = em_nest_begin(out, EIDMAP__ENVELOPE__BODY_RESOLVE_REPLY);
    em_put_uint(out, 1, ms_reader_revision(reader));
    int r = put_answers(session, request->resolve, network_id, out, &nodes);
    put_nodes(reader, out, &nodes);
    if (r) {
        em_frame_drop(out, start);
        return r;
    }
    em_nest_end(out, body);
    return em_frame_end(out, start);
}

static int resolve_in(struct ms_session *session, const Eidmap__Envelope *request)
{
    const Eidmap__Resolve *resolve = request->resolve;
    struct ms_reader *reader = session->worker->reader;
    struct em_buf *out = em_conn_out(session->conn);
    size_t before = em_buf_size(out);
    uint32_t network_id;
    if (resolve->min_revision > ms_reader_revision(reader))
        return EM_E_STALE;
    int r = ms_read_network_id(reader, resolve->network_id, resolve->network_name, &network_id);
    if (r == EM_E_NOT_FOUND && !resolve->watch)
        network_id = UINT32_MAX; /* answered as "no such range", and never allocated */
    else if (r)
        return r;
    else if (resolve->watch && network_id == 0)
        return EM_E_NOT_FOUND; /* a port-id of any network: no feed would tell of it */
    r = put_reply(session, request, network_id, out);
    if (r == 0 && resolve->watch) {
        r = ms_watch_begin(session, request->id, network_id, resolve);
        if (r)
            em_frame_drop(out, before + EM_FRAME_HEADER); /* one answer: the refusal */
    }
    return r;
}

static const char *resolve_why(int r)
{
    if (r == EM_E_LIMIT)
        return "the answer would be too large, or there are too many watches; ask for less at once";
    if (r == EM_E_STALE)
        return "the map has not come to min_revision: it is of another map, or of the future";
    if (r == EM_E_NOT_FOUND)
        return "a watch needs a network, and there is none of this name";
    return r == EM_E_MALFORMED ? "one of the EIDs is not well-formed" : NULL;
}

static void resolve_now(struct ms_session *session, const Eidmap__Envelope *request)
{
    struct ms_reader *reader = session->worker->reader;
    int r = ms_reader_begin(reader);
    if (r == 0) {
        r = resolve_in(session, request);
        ms_reader_end(reader);
    }
    if (r)
        ms_session_refuse(session, request->id, r, resolve_why(r));
    else
        em_conn_sent(session->conn);
}

/* Whether a read waits for what is committed elsewhere: it may be asked to, or for a revision
 * that this server has not seen yet. */
void ms_read_resolve(struct ms_session *session, const Eidmap__Envelope *request)
{
    const Eidmap__Resolve *resolve = request->resolve;
    if (resolve->n_eids == 0 || resolve->n_eids > RESOLVE_MAX)
        ms_session_refuse(session, request->id, EM_E_LIMIT, "a Resolve carries 1 to 1024 EIDs");
    else if (resolve->consistent || resolve->min_revision > session->worker->front->revision)
        /* An Unwatch that follows does not overtake the watch. */
        ms_deferred_confirm(session, request, resolve->watch, resolve_now);
    else
        resolve_now(session, request);
}

/* ---- status ------------------------------------------------------------------------- */

struct listing {
    struct em_arena *arena;
    Eidmap__Session **sessions;
    size_t n, size;
};

static char *copy_text(struct em_arena *arena, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = em_arena_alloc(arena, size);
    return copy ? memcpy(copy, text, size) : (char *)"";
}

/* The member may go as soon as the registry is unlocked: everything is copied. */
static void list_member(void *aux, const struct ms_member *member)
{
    struct listing *listing = aux;
    Eidmap__Session *session = NULL;
    if (listing->n < listing->size)
        session = em_arena_alloc(listing->arena, sizeof(*session));
    if (!session)
        return;
    eidmap__session__init(session);
    session->name = copy_text(listing->arena, member->identity.name);
    session->peer = copy_text(listing->arena, member->peer);
    session->software = copy_text(listing->arena, member->software);
    session->role = (Eidmap__Role)member->identity.role;
    session->connected_ms = member->connected_ms;
    session->boot_epoch = member->boot_epoch;
    session->installed_revision = member->installed_revision;
    session->subscriptions = member->n_subscriptions;
    session->watches = member->n_watches;
    listing->sessions[listing->n++] = session;
}

static void fill_status(struct ms_front *front, const struct ms_stats *stats,
                        uint8_t cluster_id[MS_CLUSTER_ID_SIZE], Eidmap__StatusReply *reply)
{
    eidmap__status_reply__init(reply);
    reply->server_id = (char *)front->config.server_id;
    reply->software = (char *)"mapserver " EM_VERSION;
    ms_store_cluster_id(front->store, cluster_id);
    reply->cluster_id = (ProtobufCBinaryData){MS_CLUSTER_ID_SIZE, cluster_id};
    reply->revision = stats->revision;
    reply->horizon = stats->horizon;
    reply->uptime_ms = em_wall_ms() - front->started_ms;
    reply->n_networks = stats->n_networks;
    reply->n_nodes = stats->n_nodes;
    reply->n_ports = stats->n_ports;
    reply->n_eids = stats->n_eids;
    reply->store_used = stats->store_used;
    reply->store_size = stats->store_size;
    reply->disk_free = stats->disk_free;
    reply->n_sessions = ms_registry_count(front->registry);
    for (unsigned i = 0; i < front->n_workers; i++) {
        reply->requests += front->workers[i]->n_requests;
        reply->refused += front->workers[i]->n_refused;
    }
}

static void list_members(struct em_arena *arena, const struct ms_core_status *core,
                         Eidmap__StatusReply *reply)
{
    Eidmap__Member *members = em_arena_alloc(arena, core->n_members * sizeof(*members));
    reply->members = em_arena_alloc(arena, core->n_members * sizeof(*reply->members));
    for (size_t i = 0; members && reply->members && i < core->n_members; i++) {
        const struct ms_member_status *from = &core->members[i];
        Eidmap__Member *member = &members[i];
        eidmap__member__init(member);
        member->replica = from->replica;
        member->name = from->name;
        member->address = from->address;
        member->software = from->software;
        member->role = from->role;
        member->is_leader = from->is_leader;
        member->is_self = from->is_self;
        member->is_connected = from->is_connected;
        member->is_installing = from->is_installing;
        member->match = from->match;
        member->applied = from->applied;
        member->revision = from->revision;
        member->heard_ms = from->heard_ms;
        reply->members[reply->n_members++] = member;
    }
}

/* Lent from 'core'. */
static void fill_cluster(struct em_arena *arena, const struct ms_core_status *core,
                         Eidmap__StatusReply *reply)
{
    reply->raft_role = (char *)core->raft_role;
    reply->term = core->term;
    reply->leader = core->leader;
    reply->commit = core->commit;
    reply->applied = core->applied;
    reply->last_index = core->last_index;
    reply->log_size = core->log_size;
    list_members(arena, core, reply);
}

void ms_read_status(struct ms_session *session, const Eidmap__Envelope *request)
{
    struct ms_front *front = session->worker->front;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__StatusReply reply;
    struct ms_stats stats;
    uint8_t cluster_id[MS_CLUSTER_ID_SIZE];
    struct ms_core_status core;
    struct listing listing = {.arena = &session->worker->arena};
    int r = ms_store_stats(front->store, &stats);
    if (r) {
        ms_session_refuse(session, request->id, r, NULL);
        return;
    }
    fill_status(front, &stats, cluster_id, &reply);
    ms_core_status(front->core, &core);
    fill_cluster(listing.arena, &core, &reply);
    reply.n_problems = ms_front_problems(front, &stats, &core, &reply.problems);
    if (request->status->with_sessions) {
        listing.size = reply.n_sessions < SESSIONS_MAX ? reply.n_sessions : SESSIONS_MAX;
        listing.sessions = em_arena_alloc(listing.arena, listing.size * sizeof(*listing.sessions));
        if (listing.sessions)
            ms_registry_visit(front->registry, list_member, &listing);
        reply.listed = listing.sessions;
        reply.n_listed = listing.n;
    }
    envelope.id = request->id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_STATUS_REPLY;
    envelope.status_reply = &reply;
    ms_session_send(session, &envelope);
    for (size_t i = 0; i < reply.n_problems; i++)
        free(reply.problems[i]);
    free(reply.problems);
    ms_core_status_fini(&core);
}
