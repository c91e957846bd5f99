#include "front/session.h"

#include "base/clock.h"
#include "base/log.h"
#include "eidmap/error.h"
#include "front/batch.h"
#include "front/context.h"
#include "front/pump.h"
#include "front/requests.h"
#include "front/watch.h"
#include "net/conn.h"
#include "net/net.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of one session: above either it is not read, so that it cannot fill the core's queue. */
#define PROPOSALS_HIGH      1024
#define PROPOSALS_HIGH_SIZE (4u << 20)
#define SILENT_LEASES       3 /* a connection that is silent for so many leases is dead */
#define RETRY_MS            200

static const char replaced[] = "another agent speaks for this node by now";

static void on_open(struct em_conn *conn, void *aux)
{
    struct ms_session *session = aux;
    session->is_open = true;
    ms_front_handshake_done(session->worker->front);
    snprintf(session->member.peer, sizeof(session->member.peer), "%s", em_conn_peer(conn)->text);
}

static void free_session(void *object)
{
    free(object);
}

void ms_session_unref(struct ms_session *session)
{
    if (atomic_fetch_sub(&session->member.refs, 1) == 1)
        em_net_reap(session->worker->net, session, free_session);
}

static void log_close(const struct ms_session *session, int err, const char *why)
{
    const struct em_identity *who = &session->member.identity;
    if (session->is_ready)
        em_info("%s %s (%s) has gone: %s", em_role_name(who->role), who->name, session->member.peer,
                why);
    else if (err && !session->member.is_warm)
        em_warn_limited("connection from %s refused: %s", session->member.peer, why);
}

static void on_close(struct em_conn *conn, void *aux, int err, const char *why)
{
    struct ms_session *session = aux;
    struct ms_front *front = session->worker->front;
    if (!session->is_open) {
        snprintf(session->member.peer, sizeof(session->member.peer), "%s",
                 em_conn_peer(conn)->text);
        ms_front_handshake_done(front);
    }
    log_close(session, err, why);
    session->conn = NULL;
    em_list_remove(&session->link);
    ms_pump_close(session);
    ms_watch_close(session);
    ms_write_close(session);
    if (session->member.connected_ms)
        ms_registry_remove(front->registry, &session->member);
    ms_front_connection_done(front);
    ms_session_unref(session);
}

void ms_session_send(struct ms_session *session, const Eidmap__Envelope *envelope)
{
    if (session->conn && em_conn_send(session->conn, envelope) == EM_E_LIMIT)
        ms_session_refuse(session, envelope->id, EM_E_LIMIT,
                          "the answer would be larger than a frame; ask for less at once");
}

void ms_session_refuse(struct ms_session *session, uint64_t id, int err, const char *message)
{
    Eidmap__Envelope envelope;
    Eidmap__Error error;
    if (!session->conn)
        return;
    em_msg_error(&envelope, &error, id, err, message);
    if (err == EM_E_BUSY)
        error.retry_after_ms = RETRY_MS;
    session->worker->n_refused++;
    em_conn_send(session->conn, &envelope);
}

void ms_session_close(struct ms_session *session, int err, const char *why)
{
    if (!session->conn)
        return;
    if (err)
        ms_session_refuse(session, 0, err, why);
    em_conn_close(session->conn, err, why);
}

void ms_session_origin(const struct ms_session *session, uint64_t seq, Eidmap__Origin *ret_origin)
{
    const struct ms_member *member = &session->member;
    eidmap__origin__init(ret_origin);
    ret_origin->name = (char *)member->identity.name;
    ret_origin->role =
        ms_session_is_operator(session) ? EIDMAP__ROLE__ROLE_OPERATOR : EIDMAP__ROLE__ROLE_NODE;
    if (!session->has_instance)
        return;
    ret_origin->instance = (ProtobufCBinaryData){MS_INSTANCE_SIZE, (uint8_t *)member->instance};
    ret_origin->boot_epoch = member->boot_epoch;
    ret_origin->seq = seq;
}

static void log_storage(int err, const char *why)
{
    if (err == EM_E_NO_SPACE)
        em_warn_limited("writes are refused: %s; free disk space, or raise store.size and restart; "
                        "reads go on",
                        why);
    else if (err == EM_E_STORAGE)
        em_warn_limited("writes are refused: %s; look at the disk's health in the kernel's log",
                        why);
}

/* Core's thread. */
static void on_result(void *aux, const struct ms_result *result)
{
    struct ms_pending *pending = aux;
    pending->err = result->err;
    pending->is_refused = result->err != 0;
    pending->revision = result->revision;
    pending->n_withdrawn = result->n_withdrawn;
    if (pending->keep)
        pending->keep(pending, result);
    ms_worker_post_result(pending->session->worker, &pending->mail);
}

static bool has_too_many(const struct ms_session *session, unsigned share)
{
    return session->n_proposals >= PROPOSALS_HIGH / share ||
           session->proposals_size >= PROPOSALS_HIGH_SIZE / share;
}

static void free_pending(struct ms_pending *pending)
{
    em_buf_fini(&pending->reply);
    if (pending->epochs != &pending->epoch)
        free(pending->epochs);
    free(pending);
}

int ms_session_propose(struct ms_session *session, uint64_t id, bool is_part,
                       Eidmap__Command *command,
                       void (*keep)(struct ms_pending *, const struct ms_result *),
                       void (*finish)(struct ms_pending *))
{
    Eidmap__Origin origin;
    ms_session_origin(session, is_part ? 0 : id, &origin);
    command->origin = &origin;
    command->schema = ms_apply_schema(command);
    command->time_ms = em_wall_ms();
    command->max_node_ports = session->worker->front->config.max_node_ports;
    size_t size = eidmap__command__get_packed_size(command);
    uint8_t *bytes = em_malloc(size);
    eidmap__command__pack(command, bytes);

    struct ms_pending *pending = em_calloc(1, sizeof(*pending));
    *pending = (struct ms_pending){.mail.kind = MS_MAIL_RESULT,
                                   .session = session,
                                   .id = id,
                                   .size = size,
                                   .keep = keep,
                                   .finish = finish};
    atomic_fetch_add(&session->member.refs, 1);
    session->n_proposals++;
    session->proposals_size += size;
    const char *why;
    int r = ms_core_submit(session->worker->front->core, bytes, size, ms_apply_is_growing(command),
                           on_result, pending, &why);
    if (r) {
        log_storage(r, why);
        session->n_proposals--;
        session->proposals_size -= size;
        free_pending(pending);
        ms_session_refuse(session, id, r, why ? why : "too many writes wait; try again");
        ms_session_unref(session);
        return r;
    }
    ms_worker_submitted(session->worker);
    if (has_too_many(session, 1) && !session->is_paused && session->conn) {
        session->is_paused = true;
        em_conn_pause(session->conn);
    }
    return 0;
}

void ms_session_result(struct ms_pending *pending)
{
    struct ms_session *session = pending->session;
    assert(session->n_proposals && session->proposals_size >= pending->size);
    session->n_proposals--;
    session->proposals_size -= pending->size;
    if (pending->is_refused)
        session->worker->n_refused++;
    if (session->conn && em_buf_size(&pending->reply)) {
        em_buf_append(em_conn_out(session->conn), em_buf_head(&pending->reply),
                      em_buf_size(&pending->reply));
        em_conn_sent(session->conn);
    }
    if (pending->finish)
        pending->finish(pending);
    if (session->is_ready && pending->err == EM_E_SUPERSEDED)
        ms_session_close(session, EM_E_SUPERSEDED, replaced);
    if (session->conn)
        ms_write_settled(session);
    if (session->conn && session->is_paused && !has_too_many(session, 2)) {
        session->is_paused = false;
        em_conn_resume(session->conn);
    }
    free_pending(pending);
    ms_session_unref(session);
}

/* ---- Hello ------------------------------------------------------------------------- */

static void send_welcome(struct ms_session *session, uint64_t id)
{
    struct ms_front *front = session->worker->front;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Welcome body = EIDMAP__WELCOME__INIT;
    uint8_t cluster_id[MS_CLUSTER_ID_SIZE];
    body.protocol = EM_PROTOCOL;
    body.software = (char *)"mapserver " EM_VERSION;
    body.server_id = (char *)front->config.server_id;
    ms_store_cluster_id(front->store, cluster_id);
    body.cluster_id = (ProtobufCBinaryData){sizeof(cluster_id), cluster_id};
    body.revision = front->revision;
    body.role = (Eidmap__Role)session->member.identity.role;
    body.lease_ms = session->lease_ms;
    body.servers = (char **)front->config.advertise;
    body.n_servers = front->config.n_advertise;
    envelope.id = id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_WELCOME;
    envelope.welcome = &body;
    ms_session_send(session, &envelope);
}

static void welcome(struct ms_session *session, uint64_t id)
{
    session->is_greeting = false;
    session->is_ready = true;
    ms_core_set_serving(session->worker->front->core, true);
    bool is_node = ms_session_is_node(session);
    em_conn_set_idle(session->conn, is_node ? session->lease_ms * SILENT_LEASES : 0);
    em_info("%s %s (%s) is here: %s", em_role_name(session->member.identity.role),
            session->member.identity.name, session->member.peer, session->member.software);
    send_welcome(session, id);
}

static void keep_warm(struct ms_session *session, uint64_t id)
{
    em_conn_set_idle(session->conn, session->lease_ms * SILENT_LEASES);
    send_welcome(session, id);
}

/* Core's thread: the sentence of a refusal. */
static void keep_node_up(struct ms_pending *pending, const struct ms_result *result)
{
    if (!result->err)
        return;
    Eidmap__Envelope envelope;
    Eidmap__Error error;
    em_msg_error(&envelope, &error, pending->id, result->err, result->message);
    if (result->field)
        error.field = (char *)result->field;
    em_msg_append(&pending->reply, &envelope);
}

static void finish_node_up(struct ms_pending *pending)
{
    struct ms_session *session = pending->session;
    if (!pending->err) /* it is up, and has a lease, though it may be gone again */
        ms_front_node_heard(session->worker->front, session->member.identity.name,
                            session->lease_ms);
    if (!session->conn)
        return;
    if (pending->err) {
        em_conn_close(session->conn, pending->err, "its Hello was refused");
        return;
    }
    welcome(session, pending->id);
}

/* On a unix or loopback socket there is no certificate: root and the server's own user may
 * be what they say they are, nobody else may do anything. */
static int identify_local(const struct em_peer *peer, const Eidmap__Hello *hello,
                          struct em_identity *ret_who)
{
    if (peer->is_unix && peer->uid != 0 && peer->uid != geteuid())
        return EM_E_DENIED;
    if (hello->node_id[0]) {
        ret_who->role = EM_ROLE_NODE;
        snprintf(ret_who->name, sizeof(ret_who->name), "%s", hello->node_id);
        return em_ident_check(hello->node_id, NULL) ? EM_E_MALFORMED : 0;
    }
    ret_who->role = EM_ROLE_OPERATOR;
    if (peer->is_unix)
        snprintf(ret_who->name, sizeof(ret_who->name), "uid-%u", (unsigned)peer->uid);
    else
        snprintf(ret_who->name, sizeof(ret_who->name), "loopback");
    return 0;
}

static int identify(struct ms_session *session, const Eidmap__Hello *hello, const char **ret_why)
{
    const struct em_peer *peer = em_conn_peer(session->conn);
    struct em_identity *mine = &session->member.identity, who = peer->identity;
    int r = who.role == EM_ROLE_NONE ? identify_local(peer, hello, &who) : 0;
    if (r) {
        *ret_why = r == EM_E_DENIED ? "only root and the server's own user may use this socket"
                                    : "Hello.node_id is not a node-id";
        return r;
    }
    if (who.role == EM_ROLE_NODE && hello->node_id[0] && strcmp(hello->node_id, who.name) != 0) {
        *ret_why = "Hello.node_id is not the node of the certificate";
        return EM_E_DENIED;
    }
    if (who.role != EM_ROLE_NODE && hello->node_id[0]) {
        *ret_why = "only a node's certificate can speak for a node";
        return EM_E_DENIED;
    }
    if (session->member.is_warm && (who.role != mine->role || strcmp(who.name, mine->name) != 0)) {
        *ret_why = "this connection was kept warm for another";
        return EM_E_DENIED;
    }
    if (!session->member.is_warm) /* else it is in the registry, where others read it */
        *mine = who;
    return 0;
}

static void remember_hello(struct ms_session *session, const Eidmap__Hello *hello)
{
    struct ms_member *member = &session->member;
    snprintf(member->software, sizeof(member->software), "%s", hello->software);
    member->connected_ms = em_wall_ms();
    member->is_warm = hello->warm;
    member->boot_epoch = hello->boot_epoch;
    session->has_instance = hello->instance.len == MS_INSTANCE_SIZE;
    if (session->has_instance)
        memcpy(member->instance, hello->instance.data, MS_INSTANCE_SIZE);
}

void ms_session_post_close(struct ms_member *member_take, const char *why)
{
    struct ms_close_mail *mail = em_calloc(1, sizeof(*mail));
    mail->mail.kind = MS_MAIL_CLOSE;
    mail->session = em_container_of(member_take, struct ms_session, member);
    mail->err = EM_E_CLOSED;
    mail->why = why;
    ms_worker_post(mail->session->worker, &mail->mail);
}

void ms_session_post_end(const struct ms_member *member, int err, const char *why)
{
    struct ms_close_mail *mail = em_calloc(1, sizeof(*mail));
    mail->mail.kind = MS_MAIL_CLOSE;
    mail->session = em_container_of((struct ms_member *)member, struct ms_session, member);
    mail->err = err;
    mail->why = why;
    atomic_fetch_add(&mail->session->member.refs, 1);
    ms_worker_post(mail->session->worker, &mail->mail);
}

/* 0, or EM_E_BUSY: the client has been told, and comes back. */
static int start_node(struct ms_session *session, uint64_t id, const Eidmap__Hello *hello)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    Eidmap__NodeUp up = EIDMAP__NODE_UP__INIT;
    up.rlocs = hello->rlocs;
    up.n_rlocs = hello->n_rlocs;
    up.version = session->member.software;
    command.body_case = EIDMAP__COMMAND__BODY_NODE_UP;
    command.node_up = &up;
    session->is_greeting = true;
    return ms_session_propose(session, id, true, &command, keep_node_up, finish_node_up);
}

/* Into the registry, as what its Hello says, in place of what it was and of who was there. */
static int enter(struct ms_session *session, const Eidmap__Hello *hello)
{
    struct ms_registry *registry = session->worker->front->registry;
    struct ms_member *displaced;
    ms_registry_remove(registry, &session->member);
    remember_hello(session, hello);
    int r = ms_registry_add(registry, &session->member, &displaced);
    if (r == 0 && displaced)
        ms_session_post_close(displaced, hello->warm
                                             ? "this node keeps another connection warm"
                                             : "a newer session of this node has taken over");
    return r;
}

/* 0, or the connection is to be closed with this error, which the client has been told. */
static int hello(struct ms_session *session, const Eidmap__Envelope *request)
{
    const Eidmap__Hello *hello = request->hello;
    const char *why = "the first message must be a Hello";
    int r = EM_E_DENIED;
    if (request->body_case != EIDMAP__ENVELOPE__BODY_HELLO || session->is_greeting)
        goto refuse;
    why = "this server speaks version 1 of the protocol";
    r = EM_E_UNSUPPORTED;
    if (hello->protocol < EM_PROTOCOL)
        goto refuse;
    r = identify(session, hello, &why);
    if (r)
        goto refuse;
    why = "Hello.instance must be 16 bytes";
    r = EM_E_MALFORMED;
    if (session->member.identity.role == EM_ROLE_NODE && hello->instance.len != MS_INSTANCE_SIZE)
        goto refuse;
    session->lease_ms = session->worker->front->lease_ms;
    why = "this map server has no leader now; ask another one";
    r = EM_E_NOT_LEADER;
    if (!hello->warm && ms_session_is_node(session) && session->worker->front->is_leaderless)
        goto refuse;
    why = "another agent with this node-id is connected and was started later; "
          "two hosts must not share a node-id";
    bool is_same = hello->warm && session->member.is_warm; /* it says that it is still there */
    r = is_same ? 0 : enter(session, hello);
    if (r)
        goto refuse;
    if (!hello->warm && ms_session_is_node(session))
        return start_node(session, request->id, hello);
    if (hello->warm)
        keep_warm(session, request->id);
    else
        welcome(session, request->id);
    return 0;
refuse:
    em_warn_limited("%s: Hello refused: %s", session->member.peer, why);
    ms_session_refuse(session, request->id, r, why);
    return r;
}

/* ---- dispatch ---------------------------------------------------------------------- */

/* False: an operator has removed or disabled the node, or its lease ran out just now. */
static bool is_node_reachable(struct ms_session *session)
{
    struct ms_worker *worker = session->worker;
    struct ms_blob blob;
    const Eidmap__Node *node = NULL;
    int r = ms_reader_node(worker->reader, session->member.identity.name, &blob);
    if (r == 0)
        node = em_msg_unpack_as(&worker->arena, &eidmap__node__descriptor, blob.data, blob.size);
    return r == 0 ? node && !node->disabled && node->state == EIDMAP__NODE_STATE__NODE_REACHABLE
                  : r != EM_E_NOT_FOUND;
}

/* False: another agent has come up, which may be at another map server. */
static bool is_agent(struct ms_session *session)
{
    const struct ms_member *member = &session->member;
    struct ms_blob instance;
    return ms_reader_agent(session->worker->reader, member->identity.name, &instance) ||
           memcmp(instance.data, member->instance, MS_INSTANCE_SIZE) == 0;
}

/* Does the map still have this session?  0, or what to close it with. */
static int check_node(struct ms_session *session, const char **ret_why)
{
    if (!ms_session_is_node(session) || ms_reader_begin(session->worker->reader))
        return 0; /* a reader that fails is not the node's fault */
    bool has_agent = is_agent(session), is_reachable = is_node_reachable(session);
    ms_reader_end(session->worker->reader);
    *ret_why = has_agent ? "the node is not reachable in the map any more" : replaced;
    return !has_agent ? EM_E_SUPERSEDED : !is_reachable ? EM_E_CLOSED : 0;
}

static void heartbeat(struct ms_session *session, const Eidmap__Envelope *request)
{
    struct ms_front *front = session->worker->front;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__HeartbeatReply body = EIDMAP__HEARTBEAT_REPLY__INIT;
    const char *why;
    session->member.installed_revision = request->heartbeat->installed_revision;
    int r = check_node(session, &why);
    if (r) {
        ms_session_close(session, r, why);
        return;
    }
    if (ms_session_is_node(session) && ms_registry_is_live(front->registry, &session->member))
        ms_front_node_heard(front, session->member.identity.name, session->lease_ms);
    body.revision = front->revision;
    envelope.id = request->id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_HEARTBEAT_REPLY;
    envelope.heartbeat_reply = &body;
    ms_session_send(session, &envelope);
    ms_pump_refresh(session, em_now_ms());
}

/* ANYONE: nodes and operators; NOT_NODES: operators and other servers.  That a node touches only
 * its own locations is checked where the command is applied. */
enum who { ANYONE, NODES, OPERATORS, NOT_NODES };

static const struct request {
    Eidmap__Envelope__BodyCase body;
    enum who who;
    ms_handler_fn *handler;
} requests[] = {
    {EIDMAP__ENVELOPE__BODY_HEARTBEAT, ANYONE, heartbeat},
    {EIDMAP__ENVELOPE__BODY_REGISTER, ANYONE, ms_write_register},
    {EIDMAP__ENVELOPE__BODY_WITHDRAW, ANYONE, ms_write_withdraw},
    {EIDMAP__ENVELOPE__BODY_ANNOUNCE_BEGIN, NODES, ms_write_announce_begin},
    {EIDMAP__ENVELOPE__BODY_ANNOUNCE_END, NODES, ms_write_announce_end},
    {EIDMAP__ENVELOPE__BODY_RESOLVE, ANYONE, ms_read_resolve},
    {EIDMAP__ENVELOPE__BODY_UNWATCH, ANYONE, ms_watch_end},
    {EIDMAP__ENVELOPE__BODY_SUBSCRIBE, ANYONE, ms_pump_subscribe},
    {EIDMAP__ENVELOPE__BODY_UNSUBSCRIBE, ANYONE, ms_pump_unsubscribe},
    {EIDMAP__ENVELOPE__BODY_STATUS, OPERATORS, ms_read_status},
    {EIDMAP__ENVELOPE__BODY_PUT_NETWORK, OPERATORS, ms_write_put_network},
    {EIDMAP__ENVELOPE__BODY_REMOVE_NETWORK, OPERATORS, ms_write_remove_network},
    {EIDMAP__ENVELOPE__BODY_PUT_NODE, OPERATORS, ms_write_put_node},
    {EIDMAP__ENVELOPE__BODY_REMOVE_NODE, OPERATORS, ms_write_remove_node},
    {EIDMAP__ENVELOPE__BODY_CHANGE_MEMBER, OPERATORS, ms_write_change_member},
    {EIDMAP__ENVELOPE__BODY_FETCH, NOT_NODES, ms_copy_fetch},
    {EIDMAP__ENVELOPE__BODY_RESTORE, OPERATORS, ms_copy_restore},
};

static bool may_ask(const struct ms_session *session, enum who who)
{
    bool is_operator = ms_session_is_operator(session), is_node = ms_session_is_node(session);
    switch (who) {
    case ANYONE:
        return is_operator || is_node;
    case NODES:
        return is_node;
    case OPERATORS:
        return is_operator;
    case NOT_NODES:
        return !is_node;
    }
    return false;
}

static void dispatch(struct ms_session *session, const Eidmap__Envelope *envelope)
{
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        const struct request *request = &requests[i];
        if (request->body != envelope->body_case)
            continue;
        if (!may_ask(session, request->who))
            ms_session_refuse(session, envelope->id, EM_E_DENIED,
                              request->who == NODES ? "only a node may ask this"
                                                    : "only an operator may ask this");
        else
            request->handler(session, envelope);
        return;
    }
    ms_session_refuse(session, envelope->id, EM_E_UNSUPPORTED,
                      "this server does not know the request");
}

static int on_frame(struct em_conn *conn, void *aux, const uint8_t *data, size_t size)
{
    struct ms_session *session = aux;
    struct em_arena *arena = &session->worker->arena;
    em_arena_reset(arena);
    Eidmap__Envelope *envelope = em_msg_unpack(arena, data, size);
    if (!envelope) {
        ms_session_refuse(session, 0, EM_E_MALFORMED, "this frame is not a valid message");
        return EM_E_MALFORMED;
    }
    if (!session->is_ready)
        return hello(session, envelope);
    session->worker->n_requests++;
    dispatch(session, envelope);
    return 0;
}

static unsigned on_frames(struct em_conn *conn, void *aux, const uint8_t *data, size_t size,
                          unsigned max, size_t *ret_size)
{
    struct ms_session *session = aux;
    if (!session->is_ready || !may_ask(session, ANYONE))
        return 0; /* each is told so */
    return ms_batch_answer(session, data, size, max, ret_size);
}

static void on_drain(struct em_conn *conn, void *aux)
{
    struct ms_session *session = aux;
    if (session->is_ready)
        ms_pump_run(session);
}

void ms_session_open(struct ms_worker *worker, int fd_take, struct em_tls *tls)
{
    static const struct em_conn_events events = {on_open, on_frame, on_drain, on_close, on_frames};
    struct ms_front *front = worker->front;
    struct ms_session *session = em_calloc(1, sizeof(*session));
    const struct em_conn_config config = {.events = &events,
                                          .tls = tls,
                                          .handshake_ms = front->config.handshake_ms,
                                          .idle_ms = front->config.handshake_ms};
    session->worker = worker;
    session->member.refs = 1;
    em_list_init(&session->member.all);
    em_list_init(&session->in_hot);
    em_list_init(&session->subscriptions);
    em_list_init(&session->dirty);
    em_list_init(&session->watch_sets);
    em_list_append(&worker->sessions, &session->link);
    session->conn = em_conn_new(worker->net, fd_take, &config, session);
    if (session->conn)
        return;
    em_list_remove(&session->link);
    ms_front_handshake_done(front);
    ms_front_connection_done(front);
    free(session);
}
