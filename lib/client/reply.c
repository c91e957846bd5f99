/* Conversions never trust a count, a length or an enum of the message: what a caller could
 * trip over is refused here, and the caller ends the session with EM_E_MALFORMED.  An object
 * that only a newer protocol knows is left out instead, so that servers may be upgraded
 * before clients. */
#include "client/reply.h"

#include "base/mem.h"
#include "net/tls.h"
#include "wire/convert.h"
#include "wire/scan.h"
#include "wire/unpack.h"

#include <string.h>

int em_reply_error(const Eidmap__Error *error, const char **ret_message)
{
    int err = em_error_from_wire((int)error->code);
    *ret_message = error->message[0] ? error->message : em_strerror(err);
    return err;
}

static int take_error(struct em_arena *arena, const Eidmap__Error *error, struct em_reply *reply)
{
    reply->err = em_reply_error(error, &reply->message);
    reply->field = error->field;
    reply->record = error->record;
    if (error->current && !(reply->current = em_port_from_msg(arena, error->current)))
        return EM_E_MALFORMED;
    return 0;
}

static int take_done(struct em_arena *arena, const Eidmap__Done *done, struct em_reply *reply)
{
    reply->revision = done->revision;
    if (done->network && !(reply->network = em_network_from_msg(arena, done->network)))
        return EM_E_MALFORMED;
    if (done->node && !(reply->node = em_node_from_msg(arena, done->node)))
        return EM_E_MALFORMED;
    return 0;
}

/* Callers index the epochs by their claims. */
static int take_register(const Eidmap__RegisterReply *msg, size_t n_claims, struct em_reply *reply)
{
    if (msg->n_epochs != n_claims)
        return EM_E_MALFORMED;
    reply->revision = msg->revision;
    reply->epochs = msg->epochs;
    reply->n_epochs = msg->n_epochs;
    return 0;
}

static int answer_from_msg(struct em_arena *arena, const Eidmap__Answer *msg,
                           struct em_answer *ret_answer)
{
    *ret_answer = (struct em_answer){
        .action = (enum em_action)msg->action,
        .ttl_s = msg->ttl_s,
        .reason = msg->reason,
    };
    if (msg->action > EIDMAP__ACTION__ACTION_AUTH_FAILURE || !msg->eid ||
        em_eid_from_msg(msg->eid, &ret_answer->eid))
        return EM_E_MALFORMED;
    if (msg->matched && em_eid_from_msg(msg->matched, &ret_answer->matched))
        return EM_E_MALFORMED;
    if (msg->covers && em_eid_from_msg(msg->covers, &ret_answer->covers))
        return EM_E_MALFORMED;
    if (msg->port && !(ret_answer->port = em_port_from_msg(arena, msg->port)))
        return EM_E_MALFORMED;
    return 0;
}

static int take_nodes(struct em_arena *arena, const Eidmap__ResolveReply *msg,
                      struct em_reply *reply)
{
    struct em_node *nodes = em_arena_alloc(arena, msg->n_nodes * sizeof(*nodes));
    if (!nodes)
        return EM_E_MALFORMED;
    for (size_t i = 0; i < msg->n_nodes; i++) {
        const struct em_node *node = em_node_from_msg(arena, msg->nodes[i]);
        if (!node)
            return EM_E_MALFORMED;
        nodes[i] = *node;
    }
    reply->nodes = nodes;
    reply->n_nodes = msg->n_nodes;
    return 0;
}

/* A first answer is complete and in order; a push holds only what has changed. */
static int take_resolve(struct em_arena *arena, const Eidmap__ResolveReply *msg, size_t n_eids,
                        struct em_reply *reply)
{
    if (!msg->push && msg->n_answers != n_eids)
        return EM_E_MALFORMED;
    struct em_answer *answers = em_arena_alloc(arena, msg->n_answers * sizeof(*answers));
    if (!answers)
        return EM_E_MALFORMED;
    for (size_t i = 0; i < msg->n_answers; i++)
        if (answer_from_msg(arena, msg->answers[i], &answers[i]))
            return EM_E_MALFORMED;
    reply->revision = msg->revision;
    reply->answers = answers;
    reply->n_answers = msg->n_answers;
    return take_nodes(arena, msg, reply);
}

static const char *role_name(Eidmap__Role role)
{
    bool is_known = role > EIDMAP__ROLE__ROLE_UNSPECIFIED && role <= EIDMAP__ROLE__ROLE_SERVER;
    return is_known ? em_role_name((enum em_role)role) : "";
}

static void session_from_msg(const Eidmap__Session *msg, struct em_session *ret_session)
{
    *ret_session = (struct em_session){
        .name = msg->name,
        .role = role_name(msg->role),
        .peer = msg->peer,
        .software = msg->software,
        .connected_ms = msg->connected_ms,
        .boot_epoch = msg->boot_epoch,
        .installed_revision = msg->installed_revision,
        .n_subscriptions = msg->subscriptions,
        .n_watches = msg->watches,
    };
}

static enum em_member_role member_role(Eidmap__MemberRole role)
{
    bool is_known =
        role > EIDMAP__MEMBER_ROLE__MEMBER_UNSPECIFIED && role <= EIDMAP__MEMBER_ROLE__MEMBER_SPARE;
    return is_known ? (enum em_member_role)role : EM_MEMBER_NONE;
}

static void member_from_msg(const Eidmap__Member *msg, struct em_member *ret_member)
{
    *ret_member = (struct em_member){
        .replica = msg->replica,
        .name = msg->name,
        .address = msg->address,
        .software = msg->software,
        .role = member_role(msg->role),
        .is_leader = msg->is_leader,
        .is_self = msg->is_self,
        .is_connected = msg->is_connected,
        .is_installing = msg->is_installing,
        .match = msg->match,
        .applied = msg->applied,
        .revision = msg->revision,
        .heard_ms = msg->heard_ms,
    };
}

static int take_status(struct em_arena *arena, const Eidmap__StatusReply *msg,
                       struct em_reply *reply)
{
    struct em_status *status = em_arena_alloc(arena, sizeof(*status));
    struct em_session *sessions = em_arena_alloc(arena, msg->n_listed * sizeof(*sessions));
    struct em_member *members = em_arena_alloc(arena, msg->n_members * sizeof(*members));
    if (!status || !sessions || !members)
        return EM_E_MALFORMED;
    for (size_t i = 0; i < msg->n_listed; i++)
        session_from_msg(msg->listed[i], &sessions[i]);
    for (size_t i = 0; i < msg->n_members; i++)
        member_from_msg(msg->members[i], &members[i]);
    *status = (struct em_status){
        .server_id = msg->server_id,
        .software = msg->software,
        .revision = msg->revision,
        .horizon = msg->horizon,
        .uptime_ms = msg->uptime_ms,
        .n_networks = msg->n_networks,
        .n_nodes = msg->n_nodes,
        .n_ports = msg->n_ports,
        .n_eids = msg->n_eids,
        .store_used = msg->store_used,
        .store_size = msg->store_size,
        .disk_free = msg->disk_free,
        .n_requests = msg->requests,
        .n_refused = msg->refused,
        .n_sessions = msg->n_sessions,
        .sessions = sessions,
        .n_listed = msg->n_listed,
        .problems = (const char *const *)msg->problems,
        .n_problems = msg->n_problems,
        .raft_role = msg->raft_role,
        .leader = msg->leader,
        .term = msg->term,
        .commit = msg->commit,
        .applied = msg->applied,
        .last_index = msg->last_index,
        .log_size = msg->log_size,
        .members = members,
        .n_members = msg->n_members,
    };
    if (msg->cluster_id.len == sizeof(status->cluster_id))
        memcpy(status->cluster_id, msg->cluster_id.data, sizeof(status->cluster_id));
    reply->status = status;
    reply->revision = msg->revision;
    return 0;
}

int em_reply_from_msg(struct em_arena *arena, const struct em_pending *request,
                      const Eidmap__Envelope *envelope, struct em_reply *ret_reply)
{
    *ret_reply = (struct em_reply){.message = "", .field = ""};
    if (envelope->body_case == EIDMAP__ENVELOPE__BODY_ERROR)
        return take_error(arena, envelope->error, ret_reply);
    if (envelope->body_case != request->expect)
        return EM_E_MALFORMED;
    switch (envelope->body_case) {
    case EIDMAP__ENVELOPE__BODY_DONE:
        return take_done(arena, envelope->done, ret_reply);
    case EIDMAP__ENVELOPE__BODY_HEARTBEAT_REPLY:
        ret_reply->revision = envelope->heartbeat_reply->revision;
        return 0;
    case EIDMAP__ENVELOPE__BODY_REGISTER_REPLY:
        return take_register(envelope->register_reply, request->n_records, ret_reply);
    case EIDMAP__ENVELOPE__BODY_ANNOUNCE_REPLY:
        ret_reply->revision = envelope->announce_reply->revision;
        ret_reply->n_withdrawn = envelope->announce_reply->withdrawn;
        return 0;
    case EIDMAP__ENVELOPE__BODY_RESOLVE_REPLY:
        return take_resolve(arena, envelope->resolve_reply, request->n_records, ret_reply);
    case EIDMAP__ENVELOPE__BODY_STATUS_REPLY:
        return take_status(arena, envelope->status_reply, ret_reply);
    default: /* the protocol's enum: all other bodies are no answers */
        return EM_E_MALFORMED;
    }
}

/* protobuf's bytes have no final NUL; NULL if they are no node-id. */
static const char *node_id_of(struct em_arena *arena, const ProtobufCBinaryData *bytes)
{
    if (bytes->len == 0 || bytes->len >= EM_IDENTITY_NAME || memchr(bytes->data, 0, bytes->len))
        return NULL;
    char *text = em_arena_alloc(arena, bytes->len + 1);
    if (!text)
        return NULL;
    memcpy(text, bytes->data, bytes->len);
    text[bytes->len] = '\0';
    return text;
}

static bool take_gone(struct em_arena *arena, const Eidmap__Gone *msg, struct em_change *change)
{
    change->is_gone = true;
    change->object = (enum em_object)msg->kind;
    switch (change->object) {
    case EM_OBJECT_PORT:
        return !em_port_id_from_bytes(&msg->id, &change->gone_port);
    case EM_OBJECT_NODE:
        change->gone_node = node_id_of(arena, &msg->id);
        return change->gone_node != NULL;
    case EM_OBJECT_NETWORK:
        if (msg->id.len != 4)
            return false;
        for (size_t i = 0; i < 4; i++)
            change->gone_network = change->gone_network << 8 | msg->id.data[i];
        return true;
    }
    return false;
}

/* Change's fields are numbered as its objects are, and Gone comes after them. */
enum { FIELD_GONE = 4 };

static bool take_node(struct em_arena *arena, const struct em_field *field,
                      struct em_change *ret_change)
{
    const Eidmap__Node *msg =
        em_msg_unpack_as(arena, &eidmap__node__descriptor, field->data, field->size);
    return msg && (ret_change->node = em_node_from_msg(arena, msg));
}

static bool take_network(struct em_arena *arena, const struct em_field *field,
                         struct em_change *ret_change)
{
    const Eidmap__Network *msg =
        em_msg_unpack_as(arena, &eidmap__network__descriptor, field->data, field->size);
    return msg && (ret_change->network = em_network_from_msg(arena, msg));
}

/* 1: *ret_change, which is zero, is set.  0: a kind of object that only a newer library knows. */
static int take_change(struct em_arena *arena, struct em_scan scan, struct em_change *ret_change)
{
    struct em_field field, what = {0};
    while (em_scan_next(&scan, &field))
        if (field.number <= FIELD_GONE) {
            (void)em_scan_inside(&scan, &field);
            what = field;
        }
    ret_change->object = (enum em_object)what.number;
    bool is_good = !scan.is_bad;
    if (!what.number) {
        return is_good ? 0 : EM_E_MALFORMED;
    } else if (what.number == FIELD_GONE) {
        const Eidmap__Gone *gone =
            em_msg_unpack_as(arena, &eidmap__gone__descriptor, what.data, what.size);
        if (is_good && gone && gone->kind > EIDMAP__OBJECT_KIND__OBJECT_NETWORK)
            return 0;
        is_good &= gone && take_gone(arena, gone, ret_change);
    } else if (what.number == EM_OBJECT_PORT) {
        ret_change->port = em_port_unpack(arena, what.data, what.size);
        is_good &= ret_change->port != NULL;
    } else {
        is_good &=
            (what.number == EM_OBJECT_NODE ? take_node : take_network)(arena, &what, ret_change);
    }
    return is_good ? 1 : EM_E_MALFORMED;
}

enum { CHANGES = 3 }; /* Changes.changes */

struct change_list {
    struct em_change *all; /* those that are not set yet are zero */
    size_t n, room;
};

/* For the one that is 'first_size' bytes and for 'rest', which is behind it.  They are not counted
 * for that, but as many as if all were of one size, and some more: most often that does. */
static bool begin_list(struct em_arena *arena, size_t first_size, size_t rest,
                       struct change_list *ret_list)
{
    enum { LEAST = 2, MOST = 4096 };
    size_t room = LEAST + rest / (first_size + 2) * 9 / 8;
    if (room > MOST)
        room = MOST;
    ret_list->all = em_arena_alloc(arena, room * sizeof(struct em_change));
    if (!ret_list->all)
        return false;
    memset(ret_list->all, 0, room * sizeof(struct em_change));
    ret_list->room = room;
    return true;
}

/* For one more and those in 'rest'. */
static bool grow_list(struct em_arena *arena, struct em_scan rest, struct change_list *list)
{
    size_t room = list->n + 1 + em_scan_count(rest, CHANGES);
    struct em_change *all = em_arena_alloc(arena, room * sizeof(*all));
    if (!all)
        return false;
    memcpy(all, list->all, list->n * sizeof(*all));
    memset(all + list->n, 0, (room - list->n) * sizeof(*all));
    list->all = all;
    list->room = room;
    return true;
}

static void take_head(struct em_scan *scan, const struct em_field *field, struct em_feed *page)
{
    switch (field->number) {
    case 1:
        page->network_id = (uint32_t)em_scan_number(scan, field);
        break;
    case 2:
        page->revision = em_scan_number(scan, field);
        break;
    case 4:
        page->is_start_over = em_scan_number(scan, field);
        break;
    case 5:
        page->is_complete = em_scan_number(scan, field);
        break;
    case 6:
        page->is_removed = em_scan_number(scan, field);
        break;
    }
}

static int take_page(struct em_arena *arena, struct em_scan scan, struct em_feed *page)
{
    struct change_list list = {0};
    struct em_field field;
    while (em_scan_next(&scan, &field)) {
        if (field.number != CHANGES) {
            take_head(&scan, &field, page);
            continue;
        }
        if (!list.all && !begin_list(arena, field.size, (size_t)(scan.end - scan.at), &list))
            return EM_E_MALFORMED;
        if (list.n == list.room && !grow_list(arena, scan, &list))
            return EM_E_MALFORMED;
        int r = take_change(arena, em_scan_inside(&scan, &field), &list.all[list.n]);
        if (r < 0)
            return r;
        list.n += (size_t)r;
    }
    page->changes = list.all;
    page->n_changes = list.n;
    return scan.is_bad ? EM_E_MALFORMED : 0;
}

int em_reply_changes(struct em_arena *arena, const void *data, size_t size, struct em_feed *page)
{
    struct em_feed read = {0};
    int r = take_page(arena, em_scan(data, size), &read);
    page->changes = read.changes;
    page->n_changes = read.n_changes;
    return r;
}

int em_reply_feed_page(struct em_arena *arena, const struct em_pending *request, const void *data,
                       size_t size, struct em_feed *ret_page)
{
    const struct em_cursor *cursor = &request->cursor;
    *ret_page = (struct em_feed){.message = ""};
    int r = take_page(arena, em_scan(data, size), ret_page);
    if (!r && !cursor->network && ret_page->network_id != cursor->network_id)
        r = EM_E_MALFORMED;
    return r;
}

void em_reply_feed_refused(const struct em_pending *request, const Eidmap__Error *error,
                           struct em_feed *ret_page)
{
    *ret_page = (struct em_feed){.network_id = request->cursor.network_id};
    ret_page->err = em_reply_error(error, &ret_page->message);
}
