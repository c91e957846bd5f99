/* Requests that change the map: each becomes one command, or is answered at once when it
 * would change nothing.
 *
 * Announce: between Begin and End the port-ids that the node registers are remembered; when
 * the last of these registrations is answered, the locations of the node that were not among
 * them are withdrawn, each only if it still has the epoch that it had then. */
#include "base/hash.h"
#include "base/mem.h"
#include "eidmap/addr.h"
#include "eidmap/error.h"
#include "front/deferred.h"
#include "front/context.h"
#include "front/requests.h"
#include "front/session.h"
#include "net/conn.h"
#include "net/socket.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define WITHDRAW_CHUNK 1024 /* locations in one command at the end of an announce */

struct ms_announce {
    uint64_t sync_id;
    uint64_t end_id;  /* envelope id of AnnounceEnd; with is_ending */
    bool is_ending;   /* End has come; waits for the proposals before it */
    bool is_sweeping; /* withdrawals are under way */
    bool is_overfull; /* more were announced than a node may have: nothing is swept */
    uint32_t n_withdrawn;
    struct em_port_id *seen;
    uint32_t n_seen, size_seen;
    struct em_index index;
};

/* ---- replies ------------------------------------------------------------------------ */

static void pack_error(struct em_buf *out, uint64_t id, const struct ms_result *result)
{
    Eidmap__Envelope envelope;
    Eidmap__Error error;
    em_msg_error(&envelope, &error, id, result->err, result->message);
    if (result->field)
        error.field = (char *)result->field;
    error.record = result->record;
    error.current = (Eidmap__Port *)result->current;
    em_msg_append(out, &envelope);
}

static void pack_registered(struct em_buf *out, uint64_t id, const struct ms_result *result)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__RegisterReply reply = EIDMAP__REGISTER_REPLY__INIT;
    reply.revision = result->revision;
    reply.epochs = (uint64_t *)result->epochs;
    reply.n_epochs = result->n_epochs;
    envelope.id = id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_REGISTER_REPLY;
    envelope.register_reply = &reply;
    em_msg_append(out, &envelope);
}

/* The two below run on the core's thread. */
static void keep_registered(struct ms_pending *pending, const struct ms_result *result)
{
    if (result->err) {
        pack_error(&pending->reply, pending->id, result);
        return;
    }
    pending->n_epochs = result->n_epochs;
    pending->epochs = result->n_epochs == 1
                          ? &pending->epoch
                          : em_malloc(result->n_epochs * sizeof(*pending->epochs));
    memcpy(pending->epochs, result->epochs, result->n_epochs * sizeof(*pending->epochs));
}

static void keep_done(struct ms_pending *pending, const struct ms_result *result)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Done done = EIDMAP__DONE__INIT;
    if (result->err) {
        pack_error(&pending->reply, pending->id, result);
        return;
    }
    done.revision = result->revision;
    done.network = (Eidmap__Network *)result->network;
    done.node = (Eidmap__Node *)result->node;
    envelope.id = pending->id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_DONE;
    envelope.done = &done;
    em_msg_append(&pending->reply, &envelope);
}

/* The thread that applies has better things to do than to pack this. */
static void finish_registered(struct ms_pending *pending)
{
    struct em_conn *conn = pending->session->conn;
    const struct ms_result result = {
        .revision = pending->revision, .epochs = pending->epochs, .n_epochs = pending->n_epochs};
    if (!conn || pending->is_refused)
        return;
    pack_registered(em_conn_out(conn), pending->id, &result);
    em_conn_sent(conn);
}

/* ---- announce ----------------------------------------------------------------------- */

static void announce_free(struct ms_announce *announce)
{
    if (!announce)
        return;
    em_index_fini(&announce->index);
    free(announce->seen);
    free(announce);
}

static bool is_same_id(const void *aux, uint32_t slot, const void *key)
{
    const struct ms_announce *announce = aux;
    const struct ms_blob *id = key;
    const struct em_port_id *seen = &announce->seen[slot];
    return seen->size == id->size && memcmp(seen->bytes, id->data, id->size) == 0;
}

static bool announce_has(const struct ms_announce *announce, struct ms_blob id)
{
    return em_index_find(&announce->index, em_hash(id.data, id.size), is_same_id, announce, &id) !=
           EM_INDEX_NONE;
}

static void announce_add(struct ms_announce *announce, uint32_t max, struct ms_blob id)
{
    if (id.size == 0 || id.size > EM_PORT_ID_SIZE || announce_has(announce, id))
        return;
    if (announce->n_seen >= max) {
        announce->is_overfull = true;
        return;
    }
    if (announce->n_seen == announce->size_seen) {
        announce->size_seen = announce->size_seen ? announce->size_seen * 2 : 64;
        announce->seen = em_realloc(announce->seen, announce->size_seen * sizeof(*announce->seen));
    }
    struct em_port_id *seen = &announce->seen[announce->n_seen];
    seen->size = (uint8_t)id.size;
    memcpy(seen->bytes, id.data, id.size);
    em_index_insert(&announce->index, em_hash(id.data, id.size), announce->n_seen++);
}

void ms_write_close(struct ms_session *session)
{
    announce_free(session->announce);
    session->announce = NULL;
}

void ms_write_announce_begin(struct ms_session *session, const Eidmap__Envelope *request)
{
    announce_free(session->announce);
    session->announce = em_calloc(1, sizeof(*session->announce));
    session->announce->sync_id = request->announce_begin->sync_id;
    em_index_init(&session->announce->index);
}

static void announce_reply(struct ms_session *session, uint64_t revision)
{
    struct ms_announce *announce = session->announce;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__AnnounceReply reply = EIDMAP__ANNOUNCE_REPLY__INIT;
    reply.revision = revision;
    reply.withdrawn = announce->n_withdrawn;
    envelope.id = announce->end_id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_ANNOUNCE_REPLY;
    envelope.announce_reply = &reply;
    ms_session_send(session, &envelope);
    ms_write_close(session);
}

/* Collects up to a chunk of this node's locations that were not announced. */
struct sweep {
    struct ms_session *session;
    Eidmap__PortRef refs[WITHDRAW_CHUNK];
    uint8_t ids[WITHDRAW_CHUNK][EM_PORT_ID_SIZE];
    size_t n;
};

/* Epoch of this node's location of the port, as the map has it now.  A pending one is an
 * operator's and no ghost: the node does not announce it. */
static uint64_t location_epoch(struct ms_session *session, const uint8_t *id, size_t size)
{
    struct ms_worker *worker = session->worker;
    struct ms_blob blob;
    if (ms_reader_port(worker->reader, id, size, &blob))
        return 0;
    em_arena_reset(&worker->arena);
    const Eidmap__Port *port =
        em_msg_unpack_as(&worker->arena, &eidmap__port__descriptor, blob.data, blob.size);
    for (size_t i = 0; port && i < port->n_locations; i++)
        if (strcmp(port->locations[i]->node_id, session->member.identity.name) == 0 &&
            port->locations[i]->state != EIDMAP__LOCATION_STATE__LOCATION_PENDING)
            return port->locations[i]->epoch;
    return 0;
}

static int on_own_port(void *aux, const uint8_t *id, size_t size)
{
    struct sweep *sweep = aux;
    if (announce_has(sweep->session->announce, (struct ms_blob){id, size}))
        return 0;
    uint64_t epoch = location_epoch(sweep->session, id, size);
    if (!epoch)
        return 0;
    Eidmap__PortRef *ref = &sweep->refs[sweep->n];
    eidmap__port_ref__init(ref);
    memcpy(sweep->ids[sweep->n], id, size);
    ref->id = (ProtobufCBinaryData){size, sweep->ids[sweep->n]};
    ref->epoch = epoch;
    return ++sweep->n == WITHDRAW_CHUNK;
}

static void sweep_ghosts(struct ms_session *session);

static void finish_sweep(struct ms_pending *pending)
{
    struct ms_session *session = pending->session;
    struct ms_announce *announce = session->announce;
    if (!session->conn || !announce || !announce->is_sweeping || announce->end_id != pending->id)
        return;
    announce->is_sweeping = false;
    announce->n_withdrawn += pending->n_withdrawn;
    if (pending->err) {
        announce->is_ending = false;
        ms_session_refuse(session, announce->end_id, pending->err, NULL);
    } else if (pending->n_withdrawn == 0) {
        announce_reply(session, pending->revision); /* what is left has moved meanwhile */
    } else {
        sweep_ghosts(session);
    }
}

static void propose_sweep(struct ms_session *session, struct sweep *sweep)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    Eidmap__Withdraw withdraw = EIDMAP__WITHDRAW__INIT;
    Eidmap__PortRef *refs[WITHDRAW_CHUNK];
    for (size_t i = 0; i < sweep->n; i++)
        refs[i] = &sweep->refs[i];
    withdraw.ports = refs;
    withdraw.n_ports = sweep->n;
    command.body_case = EIDMAP__COMMAND__BODY_WITHDRAW;
    command.withdraw = &withdraw;
    session->announce->is_sweeping = true;
    if (ms_session_propose(session, session->announce->end_id, true, &command, NULL,
                           finish_sweep) == 0)
        return;
    session->announce->is_sweeping = false; /* busy: the client sends the End again */
    session->announce->is_ending = false;
}

static void sweep_ghosts(struct ms_session *session)
{
    struct ms_reader *reader = session->worker->reader;
    struct sweep *sweep = em_calloc(1, sizeof(*sweep));
    sweep->session = session;
    int r = ms_reader_begin(reader);
    uint64_t revision = 0;
    if (r == 0) {
        revision = ms_reader_revision(reader);
        r = ms_reader_node_ports(reader, session->member.identity.name, on_own_port, sweep);
        ms_reader_end(reader);
    }
    if (r < 0) {
        ms_session_refuse(session, session->announce->end_id, r, NULL);
        ms_write_close(session);
    } else if (sweep->n) {
        propose_sweep(session, sweep);
    } else {
        announce_reply(session, revision);
    }
    free(sweep);
}

void ms_write_announce_end(struct ms_session *session, const Eidmap__Envelope *request)
{
    struct ms_announce *announce = session->announce;
    if (!announce || announce->is_ending || announce->sync_id != request->announce_end->sync_id) {
        ms_session_refuse(session, request->id, EM_E_MALFORMED,
                          "AnnounceEnd without an AnnounceBegin of this sync_id");
        return;
    }
    if (announce->is_overfull) {
        ms_session_refuse(session, request->id, EM_E_LIMIT,
                          "more ports were announced than a node may have "
                          "(limits.ports_per_node); none was withdrawn");
        ms_write_close(session);
        return;
    }
    announce->is_ending = true;
    announce->end_id = request->id;
    ms_write_settled(session);
}

void ms_write_settled(struct ms_session *session)
{
    struct ms_announce *announce = session->announce;
    if (announce && announce->is_ending && !announce->is_sweeping && session->n_proposals == 0)
        sweep_ghosts(session);
}

/* ---- register and withdraw ---------------------------------------------------------- */

/* Fills in the network of claims that leave it to the request's name. */
static int name_networks(struct ms_reader *reader, Eidmap__Register *reg)
{
    uint32_t id;
    if (!reg->network_name[0])
        return 0;
    int r = ms_read_network_id(reader, 0, reg->network_name, &id);
    for (size_t i = 0; r == 0 && i < reg->n_claims; i++)
        if (reg->claims[i]->port && reg->claims[i]->port->network_id == 0)
            reg->claims[i]->port->network_id = id;
    return r;
}

/* Is the map already as the node says? */
static bool is_noop(struct ms_session *session, uint64_t id, const Eidmap__Register *reg,
                    struct ms_result *ret_result)
{
    Eidmap__Origin origin;
    ms_session_origin(session, id, &origin);
    return ms_apply_is_noop(session->worker->reader, &origin, reg, &session->worker->arena,
                            ret_result);
}

/* Any-local is an operator's word, so the EIDs beside it are too: each node may have an instance,
 * and none may say what the port is. */
static void declare_any_local(Eidmap__Register *reg)
{
    for (size_t i = 0; i < reg->n_claims; i++) {
        Eidmap__Port *port = reg->claims[i]->port;
        if (port && port->n_locations == 1 && !port->locations[0]->node_id[0])
            port->declared = true;
    }
}

static void propose_register(struct ms_session *session, uint64_t id, Eidmap__Register *reg)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    command.body_case = EIDMAP__COMMAND__BODY_REGISTER;
    command.register_ = reg;
    if (ms_session_is_operator(session))
        declare_any_local(reg);
    ms_session_propose(session, id, false, &command, keep_registered, finish_registered);
}

/* The map of this server has caught up with all others: a network that it does not name is none,
 * and what is as the node says now needs no command. */
static void confirm_register(struct ms_session *session, const Eidmap__Envelope *request)
{
    Eidmap__Register *reg = request->register_;
    struct ms_reader *reader = session->worker->reader;
    struct ms_result result = {0};
    bool is_answered = false;
    int r = ms_reader_begin(reader);
    if (r == 0) {
        r = name_networks(reader, reg);
        is_answered = r == 0 && session->n_proposals == 0 && ms_session_is_node(session) &&
                      is_noop(session, request->id, reg, &result);
        if (is_answered) {
            pack_registered(em_conn_out(session->conn), request->id, &result);
            em_conn_sent(session->conn);
        }
        ms_reader_end(reader);
    }
    if (is_answered)
        ms_write_settled(session);
    else if (r)
        ms_session_refuse(session, request->id, r,
                          r == EM_E_NOT_FOUND ? "there is no network of this name" : NULL);
    else
        propose_register(session, request->id, reg);
}

static void note_announced(struct ms_session *session, const Eidmap__Register *reg)
{
    struct ms_announce *announce = session->announce;
    uint32_t max = session->worker->front->config.max_node_ports;
    if (!announce)
        return;
    /* Also while sweeping: what comes now must not be taken for a ghost by the next chunk. */
    for (size_t i = 0; i < reg->n_claims; i++)
        if (reg->claims[i]->port)
            announce_add(
                announce, max ? max : MS_NODE_PORTS_MAX,
                (struct ms_blob){reg->claims[i]->port->id.data, reg->claims[i]->port->id.len});
}

void ms_write_register(struct ms_session *session, const Eidmap__Envelope *request)
{
    struct ms_reader *reader = session->worker->reader;
    Eidmap__Register *reg = request->register_;
    if (reg->n_claims == 0 || reg->n_claims > MS_CLAIMS_MAX) {
        ms_session_refuse(session, request->id, EM_E_LIMIT, "a Register carries 1 to 4096 claims");
        return;
    }
    struct ms_result result = {0};
    bool may_be_noop = false;
    int r = ms_reader_begin(reader);
    if (r == 0) {
        r = name_networks(reader, reg);
        may_be_noop = r == 0 && session->n_proposals == 0 && ms_session_is_node(session) &&
                      is_noop(session, request->id, reg, &result);
        ms_reader_end(reader);
        note_announced(session, reg);
    }
    /* This server may be behind; what comes after it waits, to stay behind it. */
    if (may_be_noop || r == EM_E_NOT_FOUND)
        ms_deferred_confirm(session, request, true, confirm_register);
    else if (r)
        ms_session_refuse(session, request->id, r, NULL);
    else
        propose_register(session, request->id, reg);
}

void ms_write_withdraw(struct ms_session *session, const Eidmap__Envelope *request)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    if (request->withdraw->n_ports == 0 || request->withdraw->n_ports > MS_CLAIMS_MAX) {
        ms_session_refuse(session, request->id, EM_E_LIMIT, "a Withdraw carries 1 to 4096 ports");
        return;
    }
    command.body_case = EIDMAP__COMMAND__BODY_WITHDRAW;
    command.withdraw = request->withdraw;
    ms_session_propose(session, request->id, false, &command, keep_done, NULL);
}

/* ---- operators ---------------------------------------------------------------------- */

void ms_write_put_network(struct ms_session *session, const Eidmap__Envelope *request)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    command.body_case = EIDMAP__COMMAND__BODY_PUT_NETWORK;
    command.put_network = request->put_network;
    ms_session_propose(session, request->id, false, &command, keep_done, NULL);
}

void ms_write_remove_network(struct ms_session *session, const Eidmap__Envelope *request)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    command.body_case = EIDMAP__COMMAND__BODY_REMOVE_NETWORK;
    command.remove_network = request->remove_network;
    ms_session_propose(session, request->id, false, &command, keep_done, NULL);
}

void ms_write_put_node(struct ms_session *session, const Eidmap__Envelope *request)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    command.body_case = EIDMAP__COMMAND__BODY_PUT_NODE;
    command.put_node = request->put_node;
    ms_session_propose(session, request->id, false, &command, keep_done, NULL);
}

void ms_write_remove_node(struct ms_session *session, const Eidmap__Envelope *request)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    command.body_case = EIDMAP__COMMAND__BODY_REMOVE_NODE;
    command.remove_node = request->remove_node;
    ms_session_propose(session, request->id, false, &command, keep_done, NULL);
}

/* ---- members ------------------------------------------------------------------------- */

static void finish_change(struct ms_deferred *answer)
{
    struct ms_session *session = answer->session;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Done done = EIDMAP__DONE__INIT;
    if (answer->err) {
        ms_session_refuse(session, answer->id, answer->err, answer->message);
        return;
    }
    done.revision = session->worker->front->revision;
    envelope.id = answer->id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_DONE;
    envelope.done = &done;
    ms_session_send(session, &envelope);
}

static bool has_name(enum ms_member_change change, const char *name)
{
    if (change == MS_MEMBER_TRANSFER && !name[0])
        return true;
    return em_ident_check(name, NULL) == 0;
}

void ms_write_change_member(struct ms_session *session, const Eidmap__Envelope *request)
{
    const Eidmap__ChangeMember *msg = request->change_member;
    struct em_address address;
    if (msg->change < EIDMAP__MEMBER_CHANGE__MEMBER_ADD ||
        msg->change > EIDMAP__MEMBER_CHANGE__MEMBER_TRANSFER) {
        ms_session_refuse(session, request->id, EM_E_UNSUPPORTED,
                          "this server does not know the change of members");
        return;
    }
    enum ms_member_change change =
        (enum ms_member_change)(msg->change - EIDMAP__MEMBER_CHANGE__MEMBER_ADD);
    if (!has_name(change, msg->name)) {
        ms_session_refuse(session, request->id, EM_E_MALFORMED,
                          "the member's name is that of its certificate");
        return;
    }
    if (change == MS_MEMBER_ADD &&
        (em_address_parse(msg->address, &address, NULL) || address.transport != EM_TLS)) {
        ms_session_refuse(session, request->id, EM_E_MALFORMED,
                          "the address is where the new server takes others: tls://ADDRESS:PORT");
        return;
    }
    ms_core_change_member(session->worker->front->core, change, msg->name, msg->address,
                          ms_deferred_post, ms_deferred_new(session, request->id, finish_change));
}
