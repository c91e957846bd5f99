/* A request is answered in the callback that brings it, but for some: an attach or detach that
 * waits is answered when the agent reports its port, or what the map has taken, checks and traces
 * by later.c, and the cache goes out in parts of 192 KiB, the next when the last has been taken, so
 * that a slow reader costs one part of memory.
 *
 * A frame that is no Envelope closes the connection; a body that is not for an xTR, or says
 * something impossible, is answered with an Error. */
#include "control.h"

#include "agent.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "later.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/net.h"
#include "show.h"
#include "wire/convert.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_PEERS 64
#define MAX_WAITS 256 /* attaches and detaches that one peer waits for */
#define PART_SIZE (192u << 10)
#define IDLE_MS   (3600u * 1000)

/* An attach that is answered when the port is installed or refused, or a detach that is when the
 * map has it no more. */
struct wait {
    struct em_list item;
    uint64_t id;
    struct em_port_id port;
    bool is_detach;
    int err; /* of the detach */
};

struct peer {
    struct em_list item;
    struct xtr_control *control;
    struct em_conn *conn;
    bool is_closed; /* an answer may have done that */
    struct em_list waits;
    size_t n_waits;
    uint64_t cache_id; /* request whose answer is being sent, 0: none */
    struct xtr_show_cursor cursor;
    struct xtr_later later;
};

struct xtr_control {
    struct em_net *net;
    struct xtr_agent *agent;
    struct em_listener *listener;
    struct xtr_listener ports;
    struct em_list peers;
    size_t n_peers;
    struct em_arena in, out;
};

/* Answers */

static void answer(struct peer *peer, Eidmap__Envelope *envelope, uint64_t id)
{
    envelope->id = id;
    int r = peer->is_closed ? 0 : em_conn_send(peer->conn, envelope);
    em_arena_reset(&peer->control->out);
    if (r)
        em_conn_close(peer->conn, r, "an answer is larger than a frame may be");
}

static void answer_error(struct peer *peer, uint64_t id, int code, const char *message)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Error error = EIDMAP__ERROR__INIT;
    em_msg_error(&envelope, &error, id, code, message);
    answer(peer, &envelope, id);
}

static bool on_later(void *aux, Eidmap__Envelope *envelope, uint64_t id)
{
    struct peer *peer = aux;
    answer(peer, envelope, id);
    return !peer->is_closed;
}

static void answer_port(struct peer *peer, uint64_t id, const struct xtr_port *port)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__XtrAttachReply reply = EIDMAP__XTR_ATTACH_REPLY__INIT;
    reply.port = xtr_show_port(&peer->control->out, port);
    envelope.body_case = EIDMAP__ENVELOPE__BODY_XTR_ATTACH_REPLY;
    envelope.xtr_attach_reply = &reply;
    answer(peer, &envelope, id);
}

/* Session */

static void hello(struct peer *peer, uint64_t id)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Welcome welcome = EIDMAP__WELCOME__INIT;
    const struct xtr_agent_status *status = xtr_agent_status(peer->control->agent);
    welcome.protocol = EM_PROTOCOL;
    welcome.software = (char *)(uintptr_t)("xtr " EM_VERSION);
    welcome.server_id = (char *)(uintptr_t)status->node_id;
    welcome.cluster_id = (ProtobufCBinaryData){16, (uint8_t[16]){0}};
    welcome.revision = xtr_mapcache_revision(xtr_agent_cache(peer->control->agent));
    welcome.role = EIDMAP__ROLE__ROLE_OPERATOR;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_WELCOME;
    envelope.welcome = &welcome;
    answer(peer, &envelope, id);
}

static void heartbeat(struct peer *peer, uint64_t id)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__HeartbeatReply reply = EIDMAP__HEARTBEAT_REPLY__INIT;
    reply.revision = xtr_mapcache_revision(xtr_agent_cache(peer->control->agent));
    envelope.body_case = EIDMAP__ENVELOPE__BODY_HEARTBEAT_REPLY;
    envelope.heartbeat_reply = &reply;
    answer(peer, &envelope, id);
}

static void status(struct peer *peer, uint64_t id)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_XTR_STATUS_REPLY;
    envelope.xtr_status_reply = xtr_show_status(&peer->control->out, peer->control->agent);
    if (envelope.xtr_status_reply)
        answer(peer, &envelope, id);
    else
        answer_error(peer, id, EM_E_LIMIT, "the status is too large for one answer");
}

/* Ports */

static size_t add_ports(struct em_arena *arena, const struct xtr_ports *ports, uint32_t *at,
                        Eidmap__XtrPortsReply *reply)
{
    size_t size = 0;
    reply->ports = em_arena_alloc(arena, ports->n_used * sizeof *reply->ports + 1);
    for (; reply->ports && *at < ports->n_items && size < PART_SIZE; ++*at) {
        const struct xtr_port *port = xtr_ports_at(ports, *at);
        Eidmap__LocalPort *msg = port ? xtr_show_port(arena, port) : NULL;
        if (!msg)
            continue;
        reply->ports[reply->n_ports++] = msg;
        size += protobuf_c_message_get_packed_size(&msg->base);
    }
    return reply->n_ports;
}

static void list_ports(struct peer *peer, uint64_t id)
{
    const struct xtr_ports *ports = xtr_agent_ports(peer->control->agent);
    uint32_t at = 0;
    bool has_more;
    do {
        Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
        Eidmap__XtrPortsReply reply = EIDMAP__XTR_PORTS_REPLY__INIT;
        add_ports(&peer->control->out, ports, &at, &reply);
        has_more = at < ports->n_items;
        reply.more = has_more;
        envelope.body_case = EIDMAP__ENVELOPE__BODY_XTR_PORTS_REPLY;
        envelope.xtr_ports_reply = &reply;
        answer(peer, &envelope, id);
    } while (has_more && !peer->is_closed);
}

static void list_nodes(struct peer *peer, uint64_t id)
{
    uint32_t at = 0;
    bool has_more = true;
    while (has_more && !peer->is_closed) {
        Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
        Eidmap__XtrNodesReply *reply =
            xtr_show_nodes(&peer->control->out, peer->control->agent, &at);
        if (!reply) {
            answer_error(peer, id, EM_E_LIMIT, "a record is too large for one answer");
            return;
        }
        has_more = reply->more;
        envelope.body_case = EIDMAP__ENVELOPE__BODY_XTR_NODES_REPLY;
        envelope.xtr_nodes_reply = reply;
        answer(peer, &envelope, id);
    }
}

/* The message's port as a wish; 'eids' has room for XTR_PORT_EIDS. */
static int read_wish(const Eidmap__LocalPort *msg, struct em_eid *eids, struct xtr_wish *ret_wish,
                     char *why)
{
    if (!msg || !msg->id.len || msg->id.len > EM_PORT_ID_SIZE || msg->n_eids > XTR_PORT_EIDS ||
        msg->priority > UINT8_MAX || msg->weight > UINT8_MAX) {
        snprintf(why, EM_ADDR_WHY,
                 "expected a port with an id of 1 to 63 bytes, at most %d EIDs, "
                 "priority and weight of 0 to 255",
                 XTR_PORT_EIDS);
        return EM_E_MALFORMED;
    }
    for (size_t i = 0; i < msg->n_eids; i++)
        if (em_eid_from_msg(msg->eids[i], &eids[i])) {
            snprintf(why, EM_ADDR_WHY, "port.eids[%zu]: not an EID of its kind", i);
            return EM_E_MALFORMED;
        }
    *ret_wish = (struct xtr_wish){.id.size = (uint8_t)msg->id.len,
                                  .network = msg->network_name,
                                  .device = msg->device,
                                  .eids = eids,
                                  .n_eids = msg->n_eids,
                                  .priority = (uint8_t)msg->priority,
                                  .weight = (uint8_t)msg->weight,
                                  .is_multihomed = msg->multihomed,
                                  .is_pending = msg->pending,
                                  .source = XTR_SOURCE_SOCKET};
    memcpy(ret_wish->id.bytes, msg->id.data, msg->id.len);
    return 0;
}

static bool is_settled(const struct xtr_port *port)
{
    return port->phase == XTR_INSTALLED || port->phase == XTR_REFUSED || port->phase == XTR_PENDING;
}

static bool is_as_asked(const struct xtr_port *port)
{
    return port->is_pending ? port->phase == XTR_PENDING
                            : port->phase == XTR_INSTALLED && port->is_acked;
}

static void wait_for(struct peer *peer, const struct wait *what)
{
    struct wait *wait = em_memdup(what, sizeof *what);
    em_list_append(&peer->waits, &wait->item);
    peer->n_waits++;
}

static void wait_free(struct peer *peer, struct wait *wait)
{
    em_list_remove(&wait->item);
    peer->n_waits--;
    free(wait);
}

static const char too_many[] = "too many attaches and detaches are waited for; take some answers";

static void attach(struct peer *peer, uint64_t id, const Eidmap__XtrAttach *request)
{
    struct em_eid eids[XTR_PORT_EIDS];
    struct xtr_wish wish;
    const struct xtr_port *port;
    char why[EM_ADDR_WHY] = "";
    if (request->wait && peer->n_waits == MAX_WAITS) {
        answer_error(peer, id, EM_E_BUSY, too_many);
        return;
    }
    int r = read_wish(request->port, eids, &wish, why);
    if (!r)
        r = xtr_agent_attach(peer->control->agent, &wish, &port, why);
    if (r) {
        int code = r == -EBUSY ? EM_E_CONFLICT : EM_E_MALFORMED;
        answer_error(peer, id, code, why[0] ? why : em_strerror(r));
        return;
    }
    /* A port that was refused is tried anew: its old phase is no answer. */
    if (request->wait && !is_as_asked(port))
        wait_for(peer, &(struct wait){.id = id, .port = wish.id});
    else
        answer_port(peer, id, port);
}

static void answer_detach(struct peer *peer, uint64_t id, int err)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Done done = EIDMAP__DONE__INIT;
    if (err) {
        answer_error(peer, id, err,
                     err == EM_E_IN_USE ? "it is a child, and comes and goes with its parent"
                                        : "no such port is attached here");
        return;
    }
    done.revision = xtr_mapcache_revision(xtr_agent_cache(peer->control->agent));
    envelope.body_case = EIDMAP__ENVELOPE__BODY_DONE;
    envelope.done = &done;
    answer(peer, &envelope, id);
}

static void detach(struct peer *peer, uint64_t id, const Eidmap__XtrDetach *request)
{
    struct em_port_id port = {.size = (uint8_t)request->id.len};
    if (!request->id.len || request->id.len > EM_PORT_ID_SIZE) {
        answer_error(peer, id, EM_E_MALFORMED, "expected a port-id of 1 to 63 bytes");
        return;
    }
    if (request->wait && peer->n_waits == MAX_WAITS) {
        answer_error(peer, id, EM_E_BUSY, too_many);
        return;
    }
    memcpy(port.bytes, request->id.data, request->id.len);
    struct xtr_agent *agent = peer->control->agent;
    int r = xtr_agent_detach(agent, &port);
    if (request->wait && r != EM_E_IN_USE && !xtr_agent_is_withdrawn(agent, &port))
        wait_for(peer, &(struct wait){.id = id, .port = port, .is_detach = true, .err = r});
    else
        answer_detach(peer, id, r);
}

static struct wait *find_withdrawn(const struct peer *peer)
{
    EM_FOREACH (wait, &peer->waits, struct wait, item)
        if (wait->is_detach && xtr_agent_is_withdrawn(peer->control->agent, &wait->port))
            return wait;
    return NULL;
}

static void on_withdrawn(void *aux)
{
    struct xtr_control *control = aux;
    struct wait *wait;
    EM_FOREACH (peer, &control->peers, struct peer, item)
        while ((wait = find_withdrawn(peer))) {
            uint64_t request = wait->id;
            int err = wait->err;
            wait_free(peer, wait);
            answer_detach(peer, request, err);
        }
}

static struct wait *find_wait(const struct peer *peer, const struct em_port_id *id)
{
    EM_FOREACH (wait, &peer->waits, struct wait, item)
        if (!wait->is_detach && em_port_id_equal(&wait->port, id))
            return wait;
    return NULL;
}

/* An answer may close the peer, and closing frees the waits. */
static void tell_peer(struct peer *peer, const struct em_port_id *id, const struct xtr_port *port)
{
    struct wait *wait;
    while ((!port || is_settled(port)) && (wait = find_wait(peer, id))) {
        uint64_t request = wait->id;
        wait_free(peer, wait);
        if (port)
            answer_port(peer, request, port);
        else
            answer_error(peer, request, EM_E_NOT_FOUND, "the port was detached meanwhile");
    }
}

static void on_port(void *aux, const struct em_port_id *id, const struct xtr_port *port)
{
    struct xtr_control *control = aux;
    EM_FOREACH (peer, &control->peers, struct peer, item)
        tell_peer(peer, id, port);
}

/* The cache, part by part as the peer takes it */

static void cache_done(struct peer *peer)
{
    free(peer->cursor.network);
    peer->cursor = (struct xtr_show_cursor){0};
    peer->cache_id = 0;
}

static void send_cache(struct peer *peer)
{
    while (peer->cache_id && !peer->is_closed && em_conn_pending(peer->conn) < EM_CONN_HIGH) {
        Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
        uint64_t id = peer->cache_id;
        Eidmap__XtrCacheReply *reply = xtr_show_cache(
            &peer->control->out, xtr_agent_cache(peer->control->agent), &peer->cursor, PART_SIZE);
        if (!reply || !reply->more)
            cache_done(peer);
        if (!reply) {
            answer_error(peer, id, EM_E_LIMIT, "a record is too large for one answer");
            return;
        }
        envelope.body_case = EIDMAP__ENVELOPE__BODY_XTR_CACHE_REPLY;
        envelope.xtr_cache_reply = reply;
        answer(peer, &envelope, id);
    }
}

static void cache(struct peer *peer, uint64_t id, const Eidmap__XtrCacheRequest *request)
{
    const struct xtr_mapcache *map = xtr_agent_cache(peer->control->agent);
    if (peer->cache_id) {
        answer_error(peer, id, EM_E_BUSY, "an answer with the cache is still being sent");
        return;
    }
    if (request->network_name[0] && !xtr_mapcache_network(map, request->network_name)) {
        answer_error(peer, id, EM_E_NOT_FOUND, "the map has no such network");
        return;
    }
    peer->cache_id = id;
    peer->cursor.network = request->network_name[0] ? em_strdup(request->network_name) : NULL;
    send_cache(peer);
}

static void accept_map(struct peer *peer, uint64_t id, const Eidmap__XtrAccept *request)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__XtrAcceptReply reply = EIDMAP__XTR_ACCEPT_REPLY__INIT;
    int r = xtr_agent_accept(peer->control->agent, request->network_name, &reply.n_gone);
    if (r == EM_E_CONFLICT) {
        answer_error(peer, id, r, "the server's map is another one: it is taken as a whole");
    } else if (r) {
        answer_error(peer, id, r, "there is nothing that a map server is doubted for");
    } else {
        envelope.body_case = EIDMAP__ENVELOPE__BODY_XTR_ACCEPT_REPLY;
        envelope.xtr_accept_reply = &reply;
        answer(peer, &envelope, id);
    }
}

/* Connections */

static void dispatch(struct peer *peer, const Eidmap__Envelope *request)
{
    switch (request->body_case) {
    case EIDMAP__ENVELOPE__BODY_HELLO:
        hello(peer, request->id);
        return;
    case EIDMAP__ENVELOPE__BODY_HEARTBEAT:
        heartbeat(peer, request->id);
        return;
    case EIDMAP__ENVELOPE__BODY_XTR_STATUS:
        status(peer, request->id);
        return;
    case EIDMAP__ENVELOPE__BODY_XTR_PORTS:
        list_ports(peer, request->id);
        return;
    case EIDMAP__ENVELOPE__BODY_XTR_ATTACH:
        attach(peer, request->id, request->xtr_attach);
        return;
    case EIDMAP__ENVELOPE__BODY_XTR_DETACH:
        detach(peer, request->id, request->xtr_detach);
        return;
    case EIDMAP__ENVELOPE__BODY_XTR_CACHE:
        cache(peer, request->id, request->xtr_cache);
        return;
    case EIDMAP__ENVELOPE__BODY_XTR_CHECK:
        xtr_later_check(&peer->later, request->id, request->xtr_check);
        return;
    case EIDMAP__ENVELOPE__BODY_XTR_ACCEPT:
        accept_map(peer, request->id, request->xtr_accept);
        return;
    case EIDMAP__ENVELOPE__BODY_XTR_TRACE:
        xtr_later_trace(&peer->later, request->id, request->xtr_trace);
        return;
    case EIDMAP__ENVELOPE__BODY_XTR_NODES:
        list_nodes(peer, request->id);
        return;
    default: /* a foreign enum: other bodies are for map servers, or newer than we are */
        answer_error(peer, request->id, EM_E_UNSUPPORTED,
                     "an xtr answers what mapctl xtr asks, and nothing else");
        return;
    }
}

static int on_frame(struct em_conn *conn, void *aux, const uint8_t *data, size_t size)
{
    struct peer *peer = aux;
    struct em_arena *arena = &peer->control->in;
    const Eidmap__Envelope *request = em_msg_unpack(arena, data, size);
    if (request)
        dispatch(peer, request);
    em_arena_reset(arena);
    return request ? 0 : EM_E_MALFORMED;
}

static void on_open(struct em_conn *conn, void *aux)
{
}

static void on_drain(struct em_conn *conn, void *aux)
{
    send_cache(aux);
}

static void peer_free(void *object)
{
    free(object);
}

static void on_close(struct em_conn *conn, void *aux, int err, const char *why)
{
    struct peer *peer = aux;
    peer->is_closed = true;
    EM_FOREACH (wait, &peer->waits, struct wait, item)
        wait_free(peer, wait);
    cache_done(peer);
    xtr_later_cancel(&peer->later);
    em_list_remove(&peer->item);
    peer->control->n_peers--;
    em_net_reap(peer->control->net, peer, peer_free);
}

static void on_accept(void *aux, const struct em_address *address, int fd_take)
{
    static const struct em_conn_events events = {
        .on_open = on_open, .on_frame = on_frame, .on_drain = on_drain, .on_close = on_close};
    struct em_conn_config config = {.events = &events, .idle_ms = IDLE_MS};
    struct xtr_control *control = aux;
    if (control->n_peers == MAX_PEERS) {
        em_warn_limited("control socket: a connection beyond %d was refused", MAX_PEERS);
        close(fd_take);
        return;
    }
    struct peer *peer = em_calloc(1, sizeof *peer);
    peer->control = control;
    peer->later = (struct xtr_later){control->agent, &control->out, on_later, peer, NULL, NULL};
    em_list_init(&peer->waits);
    em_list_append(&control->peers, &peer->item);
    control->n_peers++;
    peer->conn = em_conn_new(control->net, fd_take, &config, peer);
}

/* A mode and a group are what lets a peer connect; so they have to be right from the start. */
static int set_group(const struct xtr_config *config, char **ret_why)
{
    if (!config->control_group)
        return 0;
    const struct group *group = getgrnam(config->control_group);
    if (group && !chown(config->control_path, (uid_t)-1, group->gr_gid))
        return 0;
    const char *why = group ? strerror(errno) : "no such group";
    if (group && errno == EPERM)
        why = "the agent's user must be a member of it (SupplementaryGroups= of its unit)";
    *ret_why = em_asprintf("control.group: %s: %s", config->control_group, why);
    return -EINVAL;
}

static void make_parent(const char *path)
{
    char *dir = em_strdup(path);
    char *slash = strrchr(dir, '/');
    if (slash && slash != dir) {
        *slash = 0;
        mkdir(dir, 0755); /* what cannot be made is said by bind() */
    }
    free(dir);
}

int xtr_control_new(struct em_net *net, struct xtr_agent *agent, const struct xtr_config *config,
                    struct xtr_control **ret_control, char **ret_why)
{
    struct xtr_control *control = em_calloc(1, sizeof *control);
    char *address = em_asprintf("unix:%s", config->control_path);
    control->net = net;
    control->agent = agent;
    em_list_init(&control->peers);
    em_list_init(&control->ports.item);
    control->ports.on_port = on_port;
    control->ports.on_withdrawn = on_withdrawn;
    control->ports.aux = control;
    em_arena_init(&control->in, 0);
    em_arena_init(&control->out, 0);
    make_parent(config->control_path);
    int r = em_listener_new(em_net_loop(net), address, config->control_mode, on_accept, control,
                            &control->listener, ret_why);
    if (!r)
        r = set_group(config, ret_why);
    free(address);
    if (r) {
        xtr_control_free(control);
        return r;
    }
    xtr_agent_listen(agent, &control->ports);
    *ret_control = control;
    return 0;
}

void xtr_control_free(struct xtr_control *control)
{
    if (!control)
        return;
    em_listener_free(control->listener);
    while (!em_list_is_empty(&control->peers)) {
        struct peer *peer = em_container_of(control->peers.next, struct peer, item);
        em_conn_close(peer->conn, 0, "the agent ends");
    }
    assert(!control->n_peers);
    em_list_remove(&control->ports.item);
    em_arena_fini(&control->in);
    em_arena_fini(&control->out);
    free(control);
}
