/* The public requests: each is built in the client's scratch memory, packed once, and handed
 * to em_client_submit(), which sends that frame as often as it takes.
 *
 * What may not be sent to a second session is marked so here: a heartbeat and the end of an
 * announce speak of the session they are in; of an answer in many parts some may have been
 * shown.  Everything else is idempotent and goes out again. */
#include "client/request.h"

#include "base/mem.h"
#include "client/client.h"
#include "wire/convert.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_RECORDS 4096 /* of a Register or Withdraw: proto/eidmap.proto */
#define MAX_EIDS    1024 /* of a Resolve */

/* What every request that is answered once has in common. */
static struct em_pending asked(Eidmap__Envelope__BodyCase expect, em_reply_fn *on_reply, void *aux)
{
    return (struct em_pending){
        .kind = EM_PENDING_REPLY, .expect = expect, .on_reply = on_reply, .aux = aux};
}

static Eidmap__Envelope enclose(Eidmap__Envelope__BodyCase body)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    envelope.body_case = body;
    return envelope;
}

int64_t em_client_send(struct em_client *client, Eidmap__Envelope *envelope, bool keep,
                       em_envelope_fn *on_reply, void *aux)
{
    /* From another session the parts that have come would come again. */
    struct em_pending proto = {
        .kind = EM_PENDING_RAW,
        .flags = keep ? EM_PENDING_KEEP | EM_PENDING_SESSION : 0,
        .on_envelope = on_reply,
        .aux = aux,
    };
    return em_client_submit(client, &proto, envelope);
}

static Eidmap__Claim *claim_to_msg(struct em_arena *arena, const struct em_claim *claim)
{
    Eidmap__Claim *msg = em_arena_alloc(arena, sizeof(*msg));
    if (!msg)
        return NULL;
    eidmap__claim__init(msg);
    msg->attach = claim->is_attach;
    msg->epoch = claim->epoch;
    msg->migration = (Eidmap__MigrationStep)claim->migration;
    msg->pending_ms = claim->pending_ms;
    msg->port = em_port_to_msg(arena, &claim->port);
    return msg->port ? msg : NULL;
}

int64_t em_client_register(struct em_client *client, const struct em_claim *claims, size_t n,
                           const char *network, em_reply_fn *on_reply, void *aux)
{
    struct em_arena *arena = em_client_scratch(client);
    struct em_pending proto = asked(EIDMAP__ENVELOPE__BODY_REGISTER_REPLY, on_reply, aux);
    Eidmap__Envelope envelope = enclose(EIDMAP__ENVELOPE__BODY_REGISTER);
    Eidmap__Register msg = EIDMAP__REGISTER__INIT;
    if (n == 0 || n > MAX_RECORDS)
        return EM_E_LIMIT;
    /* NULL here means that the arena is at its limit, far above what a frame takes. */
    msg.claims = em_arena_alloc(arena, n * sizeof(msg.claims[0]));
    for (; msg.claims && msg.n_claims < n; msg.n_claims++)
        if (!(msg.claims[msg.n_claims] = claim_to_msg(arena, &claims[msg.n_claims])))
            return EM_E_LIMIT;
    if (network)
        msg.network_name = (char *)network;
    envelope.register_ = &msg;
    proto.n_records = n;
    return em_client_submit(client, &proto, &envelope);
}

int64_t em_client_withdraw(struct em_client *client, const struct em_port_ref *ports, size_t n,
                           const char *node_id, em_reply_fn *on_reply, void *aux)
{
    struct em_arena *arena = em_client_scratch(client);
    struct em_pending proto = asked(EIDMAP__ENVELOPE__BODY_DONE, on_reply, aux);
    Eidmap__Envelope envelope = enclose(EIDMAP__ENVELOPE__BODY_WITHDRAW);
    Eidmap__Withdraw msg = EIDMAP__WITHDRAW__INIT;
    if (n == 0 || n > MAX_RECORDS)
        return EM_E_LIMIT;
    Eidmap__PortRef *refs = em_arena_alloc(arena, n * sizeof(refs[0]));
    msg.ports = em_arena_alloc(arena, n * sizeof(msg.ports[0]));
    if (!refs || !msg.ports)
        return EM_E_LIMIT;
    for (size_t i = 0; i < n; i++) {
        eidmap__port_ref__init(&refs[i]);
        refs[i].id = (ProtobufCBinaryData){ports[i].id.size, (uint8_t *)ports[i].id.bytes};
        refs[i].epoch = ports[i].epoch;
        msg.ports[i] = &refs[i];
    }
    msg.n_ports = n;
    if (node_id)
        msg.node_id = (char *)node_id;
    envelope.withdraw = &msg;
    return em_client_submit(client, &proto, &envelope);
}

int64_t em_client_announce_begin(struct em_client *client, uint64_t sync_id)
{
    struct em_pending proto = {.flags = EM_PENDING_FORGET, .sync_id = sync_id};
    Eidmap__Envelope envelope = enclose(EIDMAP__ENVELOPE__BODY_ANNOUNCE_BEGIN);
    Eidmap__AnnounceBegin msg = EIDMAP__ANNOUNCE_BEGIN__INIT;
    msg.sync_id = sync_id;
    envelope.announce_begin = &msg;
    return em_client_submit(client, &proto, &envelope);
}

int64_t em_client_announce_end(struct em_client *client, uint64_t sync_id, em_reply_fn *on_reply,
                               void *aux)
{
    struct em_pending proto = asked(EIDMAP__ENVELOPE__BODY_ANNOUNCE_REPLY, on_reply, aux);
    Eidmap__Envelope envelope = enclose(EIDMAP__ENVELOPE__BODY_ANNOUNCE_END);
    Eidmap__AnnounceEnd msg = EIDMAP__ANNOUNCE_END__INIT;
    msg.sync_id = proto.sync_id = sync_id;
    proto.flags = EM_PENDING_SESSION;
    envelope.announce_end = &msg;
    return em_client_submit(client, &proto, &envelope);
}

int64_t em_client_heartbeat(struct em_client *client, uint64_t installed_revision,
                            em_reply_fn *on_reply, void *aux)
{
    struct em_pending proto = asked(EIDMAP__ENVELOPE__BODY_HEARTBEAT_REPLY, on_reply, aux);
    Eidmap__Envelope envelope = enclose(EIDMAP__ENVELOPE__BODY_HEARTBEAT);
    Eidmap__Heartbeat msg = EIDMAP__HEARTBEAT__INIT;
    /* An agent that is headless for a day must not pile up a day of heartbeats. */
    if (!em_client_is_up(client))
        return EM_E_CLOSED;
    msg.installed_revision = installed_revision;
    proto.flags = EM_PENDING_SESSION;
    envelope.heartbeat = &msg;
    return em_client_submit(client, &proto, &envelope);
}

int64_t em_client_resolve(struct em_client *client, uint32_t network_id, const char *network,
                          const struct em_eid *eids, size_t n, unsigned flags,
                          em_reply_fn *on_reply, void *aux)
{
    struct em_arena *arena = em_client_scratch(client);
    struct em_pending proto = asked(EIDMAP__ENVELOPE__BODY_RESOLVE_REPLY, on_reply, aux);
    Eidmap__Envelope envelope = enclose(EIDMAP__ENVELOPE__BODY_RESOLVE);
    Eidmap__Resolve msg = EIDMAP__RESOLVE__INIT;
    if (n == 0 || n > MAX_EIDS)
        return EM_E_LIMIT;
    msg.eids = em_arena_alloc(arena, n * sizeof(msg.eids[0]));
    for (; msg.eids && msg.n_eids < n; msg.n_eids++)
        if (!(msg.eids[msg.n_eids] = em_eid_to_msg(arena, &eids[msg.n_eids])))
            return EM_E_LIMIT;
    msg.network_id = network_id;
    if (network)
        msg.network_name = (char *)network;
    msg.watch = flags & EM_RESOLVE_WATCH;
    msg.with_nodes = flags & EM_RESOLVE_NODES;
    msg.consistent = flags & EM_RESOLVE_CONSISTENT;
    proto.flags = msg.watch ? EM_PENDING_KEEP : 0;
    proto.n_records = n;
    envelope.resolve = &msg;
    return em_client_submit(client, &proto, &envelope);
}

int64_t em_client_status(struct em_client *client, bool with_sessions, em_reply_fn *on_reply,
                         void *aux)
{
    struct em_pending proto = asked(EIDMAP__ENVELOPE__BODY_STATUS_REPLY, on_reply, aux);
    Eidmap__Envelope envelope = enclose(EIDMAP__ENVELOPE__BODY_STATUS);
    Eidmap__StatusRequest msg = EIDMAP__STATUS_REQUEST__INIT;
    msg.with_sessions = with_sessions;
    envelope.status = &msg;
    return em_client_submit(client, &proto, &envelope);
}

int64_t em_client_put_network(struct em_client *client, const struct em_network *network,
                              em_reply_fn *on_reply, void *aux)
{
    struct em_pending proto = asked(EIDMAP__ENVELOPE__BODY_DONE, on_reply, aux);
    Eidmap__Envelope envelope = enclose(EIDMAP__ENVELOPE__BODY_PUT_NETWORK);
    Eidmap__PutNetwork msg = EIDMAP__PUT_NETWORK__INIT;
    msg.network = em_network_to_msg(em_client_scratch(client), network);
    if (!msg.network)
        return EM_E_LIMIT;
    envelope.put_network = &msg;
    return em_client_submit(client, &proto, &envelope);
}

int64_t em_client_remove_network(struct em_client *client, const char *name, em_reply_fn *on_reply,
                                 void *aux)
{
    struct em_pending proto = asked(EIDMAP__ENVELOPE__BODY_DONE, on_reply, aux);
    Eidmap__Envelope envelope = enclose(EIDMAP__ENVELOPE__BODY_REMOVE_NETWORK);
    Eidmap__RemoveNetwork msg = EIDMAP__REMOVE_NETWORK__INIT;
    msg.network_name = (char *)name;
    envelope.remove_network = &msg;
    return em_client_submit(client, &proto, &envelope);
}

int64_t em_client_put_node(struct em_client *client, const struct em_node *node,
                           em_reply_fn *on_reply, void *aux)
{
    struct em_pending proto = asked(EIDMAP__ENVELOPE__BODY_DONE, on_reply, aux);
    Eidmap__Envelope envelope = enclose(EIDMAP__ENVELOPE__BODY_PUT_NODE);
    Eidmap__PutNode msg = EIDMAP__PUT_NODE__INIT;
    msg.node = em_node_to_msg(em_client_scratch(client), node);
    if (!msg.node)
        return EM_E_LIMIT;
    envelope.put_node = &msg;
    return em_client_submit(client, &proto, &envelope);
}

int64_t em_client_remove_node(struct em_client *client, const char *node_id, em_reply_fn *on_reply,
                              void *aux)
{
    struct em_pending proto = asked(EIDMAP__ENVELOPE__BODY_DONE, on_reply, aux);
    Eidmap__Envelope envelope = enclose(EIDMAP__ENVELOPE__BODY_REMOVE_NODE);
    Eidmap__RemoveNode msg = EIDMAP__REMOVE_NODE__INIT;
    msg.node_id = (char *)node_id;
    envelope.remove_node = &msg;
    return em_client_submit(client, &proto, &envelope);
}

int64_t em_client_subscribe(struct em_client *client, uint32_t network_id, const char *network,
                            uint64_t cursor, em_feed_fn *on_feed, void *aux)
{
    char why[EM_ADDR_WHY];
    struct em_pending proto = {
        .kind = EM_PENDING_FEED,
        .flags = EM_PENDING_KEEP | EM_PENDING_UNTIMED,
        .body = EIDMAP__ENVELOPE__BODY_SUBSCRIBE,
        .cursor = {network_id, cursor, NULL},
        .on_feed = on_feed,
        .aux = aux,
    };
    if (network && em_ident_check(network, why))
        return -EINVAL;
    if (em_client_has_feed(client, network_id, network))
        return EM_E_EXISTS;
    if (network)
        proto.cursor.network = em_strdup(network);
    int64_t id = em_client_submit(client, &proto, NULL);
    if (id < 0)
        free(proto.cursor.network);
    return id;
}
