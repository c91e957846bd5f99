/* A client's life: dial, say Hello, send what waits, hand out what comes, and begin again: on
 * the warm connection, if it is ready.
 *
 * Everything that calls back happens from the loop: public calls only queue, and an event
 * that they feed to the loop ('kick') does the rest in the same turn.  So a caller never
 * meets its own callback inside of a call, and em_client_free() is safe everywhere: inside
 * of a callback it only closes, and the kick frees once libev has the stack to itself.
 *
 * How a session ends: what err says goes to on_down.
 *   EM_E_CLOSED, -errno, EM_E_TLS, EM_E_TIMEOUT   the connection; next server
 *   EM_E_MALFORMED                                the server sends nonsense; next server
 *   what an Error without a request says          Hello refused, or superseded later
 *
 * DENIED and SUPERSEDED are for us, not for this server: no other is bothered for a while.
 * Anything else that a server says, NOT_LEADER too, leads to the next one. */
#include "client/client.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "client/reply.h"
#include "client/servers.h"
#include "client/warm.h"
#include "net/conn.h"
#include "wire/scan.h"
#include "net/net.h"

#include <assert.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define RETRY_MS       200 /* where a server that is busy does not say */
#define RETRY_MAX_MS   30000
#define RETRY_SLACK_MS 20 /* refusals that come together are tried again together */

struct em_client {
    struct ev_loop *loop;
    struct em_net *net;
    struct em_client_events events;
    void *aux;
    struct em_servers servers;
    uint32_t timeout_ms;
    struct em_dialer dialer;
    struct em_conn *conn; /* NULL while the dialer waits */
    struct em_warm warm;
    struct em_pending_table pending;
    int64_t write;       /* the last one sent in this session */
    int64_t held;        /* the one that is tried again: later ones wait; 0: none */
    struct em_arena in;  /* the message at hand and its records */
    struct em_arena out; /* a request that is being built */
    struct em_buf pack;
    uint64_t sync_id; /* of the announce that began in this session */
    bool is_announcing;
    bool wants_warm;
    bool is_refused; /* the end of this session was the server's wish */
    bool is_leaving; /* em_client_fail_over() or em_client_set_rlocs() was called, ... */
    bool has_moved;  /* ... the latter: the next session is due at once */
    bool is_closing; /* em_client_free() was called */
    unsigned depth;  /* callbacks of ours on the stack */
    ev_timer dial, expire, retry;
    ev_prepare kick; /* never started, only fed */
};

uint64_t em_client_random(void)
{
    uint64_t number;
    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        number = em_now_us(); /* only jitter hangs on it */
    return number;
}

static void destroy(struct em_client *client)
{
    assert(!client->conn && !client->depth);
    ev_clear_pending(client->loop, &client->kick);
    em_warm_fini(&client->warm);
    em_net_free(client->net);
    em_pending_fini(&client->pending);
    em_servers_fini(&client->servers);
    em_buf_fini(&client->pack);
    em_arena_fini(&client->in);
    em_arena_fini(&client->out);
    free(client);
}

/* Once per turn, however many requests are made in it. */
static void kick(struct em_client *client)
{
    if (!ev_is_pending(&client->kick))
        ev_feed_event(client->loop, &client->kick, EV_CUSTOM);
}

static void arm(struct em_client *client, ev_timer *timer, uint64_t due_ms)
{
    uint64_t now = em_now_ms();
    ev_timer_stop(client->loop, timer);
    ev_timer_set(timer, due_ms > now ? (double)(due_ms - now) / 1e3 : 0, 0);
    ev_timer_start(client->loop, timer);
}

bool em_client_is_up(const struct em_client *client)
{
    return client->dialer.state == EM_DIALER_UP && !client->is_leaving && !client->is_closing;
}

/* ---- requests end ---- */

/* Takes 'request' out of the table and tells its callback. */
static void give_up(struct em_client *client, struct em_pending *request, int err, const char *why)
{
    struct em_pending last = *request;
    em_pending_remove(&client->pending, request);
    switch (last.kind) {
    case EM_PENDING_REPLY:
        if (last.on_reply)
            last.on_reply(last.aux, &(struct em_reply){.err = err, .message = why, .field = ""});
        return;
    case EM_PENDING_FEED:
        if (last.on_feed)
            last.on_feed(last.aux, &(struct em_feed){.err = err,
                                                     .message = why,
                                                     .network_id = last.cursor.network_id});
        return;
    case EM_PENDING_RAW:
        if (last.on_envelope)
            last.on_envelope(last.aux, err, NULL);
        return;
    }
}

/* The write that was tried again is over: those that waited for it go. */
static void release(struct em_client *client)
{
    if (!client->held || em_pending_find(&client->pending, client->held))
        return;
    client->held = 0;
    kick(client);
}

static void unwatch(struct em_client *client, int64_t id)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Unwatch msg = EIDMAP__UNWATCH__INIT;
    struct em_pending proto = {.flags = EM_PENDING_FORGET};
    msg.watch_id = (uint64_t)id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_UNWATCH;
    envelope.unwatch = &msg;
    em_client_submit(client, &proto, &envelope);
}

/* Does the order of these requests matter to the map? */
static bool is_write(const struct em_pending *request)
{
    switch ((int)request->body) {
    case EIDMAP__ENVELOPE__BODY_REGISTER:
    case EIDMAP__ENVELOPE__BODY_WITHDRAW:
    case EIDMAP__ENVELOPE__BODY_ANNOUNCE_BEGIN:
    case EIDMAP__ENVELOPE__BODY_ANNOUNCE_END:
    case EIDMAP__ENVELOPE__BODY_PUT_NETWORK:
    case EIDMAP__ENVELOPE__BODY_REMOVE_NETWORK:
    case EIDMAP__ENVELOPE__BODY_PUT_NODE:
    case EIDMAP__ENVELOPE__BODY_REMOVE_NODE:
    case EIDMAP__ENVELOPE__BODY_CHANGE_MEMBER:
    case EIDMAP__ENVELOPE__BODY_XTR_ATTACH:
    case EIDMAP__ENVELOPE__BODY_XTR_DETACH:
        return true;
    }
    return false;
}

static const char *expiry_text(const struct em_client *client, const struct em_pending *request)
{
    if (!em_client_is_up(client) || !em_pending_is_sent(&client->pending, request))
        return "no map server answered in time";
    if (!is_write(request))
        return "the map server has not answered in time";
    return "the map server has not answered in time; it may still be done: look before you repeat";
}

/* A watch that the server has not answered may be set there all the same. */
static void expire(struct em_client *client, struct em_pending *request)
{
    int64_t id = request->id;
    bool is_watch = request->kind == EM_PENDING_REPLY && request->flags & EM_PENDING_KEEP &&
                    em_pending_is_sent(&client->pending, request);
    give_up(client, request, EM_E_TIMEOUT, expiry_text(client, request));
    if (is_watch && !client->is_closing)
        unwatch(client, id);
}

/* The timer is not moved when a request is answered: it fires, finds nothing due, and is set
 * for the next deadline. */
static void on_expire(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct em_client *client = w->data;
    uint64_t now = em_now_ms();
    struct em_pending *request;
    client->depth++;
    while (!client->is_closing && (request = em_pending_first_timed(&client->pending))) {
        if (request->due_ms > now) {
            arm(client, &client->expire, request->due_ms);
            break;
        }
        expire(client, request);
    }
    if (!client->is_closing)
        release(client);
    client->depth--;
}

/* ---- sending ---- */

/* Packed for each session, with the cursor of the moment. */
static void append_subscribe(struct em_buf *out, const struct em_pending *request)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Subscribe msg = EIDMAP__SUBSCRIBE__INIT;
    msg.network_id = request->cursor.network_id;
    if (request->cursor.network)
        msg.network_name = request->cursor.network;
    msg.cursor = request->cursor.revision;
    envelope.id = (uint64_t)request->id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_SUBSCRIBE;
    envelope.subscribe = &msg;
    int r = em_msg_append(out, &envelope);
    assert(r == 0);
    (void)r;
}

/* An announce is of one session: what was announced in an earlier one does not count, and
 * its end would withdraw it.  False: the end of such an announce, which must not be sent. */
static bool announce_stands(struct em_client *client, const struct em_pending *request)
{
    if (request->body == EIDMAP__ENVELOPE__BODY_ANNOUNCE_BEGIN) {
        client->is_announcing = true;
        client->sync_id = request->sync_id;
    }
    if (request->body != EIDMAP__ENVELOPE__BODY_ANNOUNCE_END)
        return true;
    return client->is_announcing && client->sync_id == request->sync_id;
}

static void put(struct em_client *client, struct em_pending *request)
{
    struct em_buf *out = em_conn_out(client->conn);
    request->retry_ms = 0;
    if (request->kind == EM_PENDING_FEED)
        append_subscribe(out, request);
    else
        em_buf_append(out, request->frame, request->size);
    em_conn_sent(client->conn);
}

static void send_one(struct em_client *client, struct em_pending *request)
{
    em_pending_set_sent(&client->pending, request);
    if (!announce_stands(client, request)) {
        give_up(client, request, EM_E_CLOSED, "the session in which the announce began is gone");
        return;
    }
    if (is_write(request))
        client->write = request->id;
    put(client, request);
    if (request->flags & EM_PENDING_FORGET)
        em_pending_remove(&client->pending, request);
}

/* Keeps the connection below its high mark, where it would stop reading: a server that does
 * not read before we take its answers must not meet a client that does the same. */
static void send_waiting(struct em_client *client)
{
    struct em_pending *request;
    while (em_client_is_up(client) && em_conn_pending(client->conn) <= EM_CONN_LOW &&
           (request = em_pending_first_unsent(&client->pending)) &&
           !(client->held && is_write(request)))
        send_one(client, request);
}

static void on_kick(struct ev_loop *loop, ev_prepare *w, int revents)
{
    struct em_client *client = w->data;
    if (client->is_closing) {
        destroy(client);
        return;
    }
    client->depth++;
    if (client->is_leaving && client->conn)
        em_conn_close(client->conn, EM_E_CLOSED,
                      client->has_moved ? "this node's address has changed"
                                        : "left for another server");
    send_waiting(client);
    client->depth--;
}

int64_t em_client_submit(struct em_client *client, const struct em_pending *proto,
                         Eidmap__Envelope *envelope)
{
    struct em_pending filled = *proto;
    struct em_buf *pack = &client->pack;
    em_buf_take(pack, em_buf_size(pack));
    if (envelope) {
        envelope->id = (uint64_t)em_pending_next_id(&client->pending);
        filled.body = envelope->body_case;
        int r = em_msg_append(pack, envelope);
        if (r)
            return r;
    }
    if (!client->timeout_ms)
        filled.flags |= EM_PENDING_UNTIMED;
    filled.due_ms = em_now_ms() + client->timeout_ms;
    struct em_pending *request =
        em_pending_add(&client->pending, &filled, em_buf_head(pack), em_buf_size(pack));
    if (!request)
        return EM_E_BUSY;
    if (!(filled.flags & EM_PENDING_UNTIMED) && !ev_is_active(&client->expire))
        arm(client, &client->expire, filled.due_ms);
    kick(client);
    return request->id;
}

struct em_arena *em_client_scratch(struct em_client *client)
{
    em_arena_reset(&client->out);
    return &client->out;
}

/* ---- subscriptions ---- */

bool em_client_has_feed(const struct em_client *client, uint32_t network_id, const char *network)
{
    struct em_pending *it = NULL;
    while ((it = em_pending_after(&client->pending, it ? it->id : 0))) {
        if (it->kind != EM_PENDING_FEED || it->flags & EM_PENDING_CANCELLED)
            continue;
        if (network && it->cursor.network
                ? strcmp(network, it->cursor.network) == 0
                : !network && !it->cursor.network && it->cursor.network_id == network_id)
            return true;
    }
    return false;
}

static void unsubscribe(struct em_client *client, uint32_t network_id)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Unsubscribe msg = EIDMAP__UNSUBSCRIBE__INIT;
    struct em_pending proto = {.flags = EM_PENDING_FORGET};
    msg.network_id = network_id;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_UNSUBSCRIBE;
    envelope.unsubscribe = &msg;
    em_client_submit(client, &proto, &envelope); /* when full: its pages are ignored */
}

void em_client_cancel(struct em_client *client, int64_t id)
{
    struct em_pending *request = em_pending_find(&client->pending, id);
    if (!request)
        return;
    struct em_pending last = *request;
    bool is_known = em_pending_is_sent(&client->pending, request);
    if (is_known && last.kind == EM_PENDING_FEED && last.cursor.network) {
        request->flags |= EM_PENDING_CANCELLED; /* its first page tells what to unsubscribe */
        return;
    }
    em_pending_remove(&client->pending, request);
    release(client);
    if (is_known && last.kind == EM_PENDING_FEED)
        unsubscribe(client, last.cursor.network_id);
    else if (is_known && last.kind == EM_PENDING_REPLY && last.flags & EM_PENDING_KEEP)
        unwatch(client, id);
}

/* The first page of a subscription that was cancelled before its network-id was known. */
static void drop_cancelled(struct em_client *client, struct em_pending *request,
                           const struct em_feed *page)
{
    bool is_wanted = em_client_has_feed(client, page->network_id, request->cursor.network) ||
                     em_client_has_feed(client, page->network_id, NULL);
    em_pending_remove(&client->pending, request);
    if (!page->err && !page->is_removed && !is_wanted)
        unsubscribe(client, page->network_id);
}

/* ---- trying again ---- */

static void on_retry(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct em_client *client = w->data;
    uint64_t now = em_now_ms(), next = UINT64_MAX;
    if (!em_client_is_up(client))
        return; /* the next session sends everything */
    struct em_pending *it = NULL;
    while ((it = em_pending_after(&client->pending, it ? it->id : 0)) &&
           em_pending_is_sent(&client->pending, it)) {
        if (!it->retry_ms)
            continue;
        if (it->retry_ms <= now && em_conn_pending(client->conn) <= EM_CONN_LOW)
            put(client, it);
        else if (it->retry_ms < next)
            next = it->retry_ms;
    }
    if (next != UINT64_MAX)
        arm(client, w, next < now + RETRY_SLACK_MS ? now + RETRY_SLACK_MS : next);
}

/* True: the server refused the request for now, and it will be sent again under its id.  Not
 * so where the caller must know: there is no time left, it has had a part of the answer, or it
 * would come behind a later write. Servers remember the highest id of a write that they have done,
 * and take a lower one for a repetition. */
static bool retry_later(struct em_client *client, struct em_pending *request,
                        const Eidmap__Error *error)
{
    int err = em_error_from_wire((int)error->code);
    if ((err != EM_E_BUSY && err != EM_E_NOT_LEADER) || request->flags & EM_PENDING_CANCELLED ||
        (request->flags & EM_PENDING_ANSWERED && request->kind == EM_PENDING_RAW) ||
        (is_write(request) && request->id != client->write))
        return false;
    uint64_t pause_ms = error->retry_after_ms ? error->retry_after_ms : RETRY_MS;
    if (pause_ms > RETRY_MAX_MS)
        pause_ms = RETRY_MAX_MS;
    pause_ms += em_client_random() % (pause_ms / 2 + 1);
    uint64_t retry_ms = em_now_ms() + pause_ms;
    if (!(request->flags & EM_PENDING_UNTIMED) && retry_ms >= request->due_ms)
        return false;
    request->retry_ms = retry_ms;
    if (is_write(request))
        client->held = request->id;
    /* When the timer is set already it may be for later than this one: it looks again then. */
    if (!ev_is_active(&client->retry) || ev_timer_remaining(client->loop, &client->retry) * 1e3 >
                                             (double)(pause_ms + RETRY_SLACK_MS))
        arm(client, &client->retry, retry_ms);
    return true;
}

/* ---- receiving ---- */

/* Each takes what it needs of the request before it calls back: the callback may cancel the
 * request or free the client. */
static int take_reply(struct em_client *client, struct em_pending *request,
                      const Eidmap__Envelope *envelope)
{
    struct em_reply reply;
    int r = em_reply_from_msg(&client->in, request, envelope, &reply);
    if (r)
        return r;
    em_reply_fn *on_reply = request->on_reply;
    void *aux = request->aux;
    if (reply.err || !(request->flags & EM_PENDING_KEEP))
        em_pending_remove(&client->pending, request);
    else
        request->flags |= EM_PENDING_UNTIMED | EM_PENDING_ANSWERED;
    if (on_reply)
        on_reply(aux, &reply);
    return 0;
}

static void take_page(struct em_client *client, struct em_pending *request,
                      const struct em_feed *page)
{
    if (request->flags & EM_PENDING_CANCELLED) {
        drop_cancelled(client, request, page);
        return;
    }
    em_feed_fn *on_feed = request->on_feed;
    void *aux = request->aux;
    if (page->err || page->is_removed) {
        em_pending_remove(&client->pending, request);
    } else {
        free(request->cursor.network);
        request->cursor = (struct em_cursor){page->network_id, page->revision, NULL};
    }
    if (on_feed)
        on_feed(aux, page);
}

static int take_refusal(struct em_client *client, struct em_pending *request,
                        const Eidmap__Envelope *envelope)
{
    struct em_feed page;
    if (envelope->body_case != EIDMAP__ENVELOPE__BODY_ERROR)
        return EM_E_MALFORMED;
    em_reply_feed_refused(request, envelope->error, &page);
    take_page(client, request, &page);
    return 0;
}

static int take_raw(struct em_client *client, struct em_pending *request,
                    const Eidmap__Envelope *envelope)
{
    em_envelope_fn *on_envelope = request->on_envelope;
    void *aux = request->aux;
    if (request->flags & EM_PENDING_KEEP)
        request->flags |= EM_PENDING_UNTIMED | EM_PENDING_ANSWERED;
    else
        em_pending_remove(&client->pending, request);
    if (on_envelope)
        on_envelope(aux, 0, envelope);
    return 0;
}

/* The server ends the session and says why. */
static void be_refused(struct em_client *client, const Eidmap__Error *error)
{
    const char *why;
    int err = em_reply_error(error, &why);
    client->is_refused = err == EM_E_DENIED || err == EM_E_SUPERSEDED;
    em_conn_close(client->conn, err, why);
}

static int be_welcome(struct em_client *client, const Eidmap__Welcome *msg)
{
    if (msg->protocol != EM_PROTOCOL)
        return EM_E_UNSUPPORTED;
    struct em_welcome welcome = {
        .server = em_servers_name(&client->servers, client->dialer.server),
        .server_id = msg->server_id,
        .revision = msg->revision,
        .lease_ms = msg->lease_ms,
    };
    if (msg->cluster_id.len == sizeof(welcome.cluster_id))
        memcpy(welcome.cluster_id, msg->cluster_id.data, sizeof(welcome.cluster_id));
    em_dialer_welcomed(&client->dialer, em_now_ms());
    em_conn_set_idle(client->conn, 0);
    if (client->wants_warm)
        em_warm_start(&client->warm, client->dialer.server);
    if (client->events.on_up)
        client->events.on_up(client->aux, &welcome);
    send_waiting(client);
    return 0;
}

/* NULL and 0: it was cancelled, given up, or nobody asked. */
static int find_request(struct em_client *client, uint64_t id, struct em_pending **ret_request)
{
    bool is_sent = id > EM_HELLO_ID && id <= (uint64_t)client->pending.sent_id;
    *ret_request = is_sent ? em_pending_find(&client->pending, (int64_t)id) : NULL;
    return is_sent ? 0 : EM_E_MALFORMED;
}

static int take_changes(struct em_client *client, uint64_t id, const struct em_field *changes)
{
    struct em_pending *request;
    struct em_feed page;
    if (client->dialer.state == EM_DIALER_GREETING)
        return EM_E_MALFORMED;
    int r = find_request(client, id, &request);
    if (!request)
        return r;
    if (request->kind != EM_PENDING_FEED)
        return EM_E_MALFORMED;
    r = em_reply_feed_page(&client->in, request, changes->data, changes->size, &page);
    if (!r)
        take_page(client, request, &page);
    return r;
}

static int take_envelope(struct em_client *client, const Eidmap__Envelope *envelope)
{
    if (envelope->id <= EM_HELLO_ID && envelope->body_case == EIDMAP__ENVELOPE__BODY_ERROR) {
        be_refused(client, envelope->error);
        return 0;
    }
    if (client->dialer.state == EM_DIALER_GREETING) {
        if (envelope->body_case != EIDMAP__ENVELOPE__BODY_WELCOME)
            return EM_E_MALFORMED;
        /* A warm Hello's answer may have been under way when the connection was needed. */
        return envelope->id == EM_WARM_ID ? 0 : be_welcome(client, envelope->welcome);
    }
    struct em_pending *request;
    int r = find_request(client, envelope->id, &request);
    if (!request)
        return r;
    if (envelope->body_case == EIDMAP__ENVELOPE__BODY_ERROR &&
        retry_later(client, request, envelope->error))
        return 0;
    switch (request->kind) {
    case EM_PENDING_REPLY:
        return take_reply(client, request, envelope);
    case EM_PENDING_FEED:
        return take_refusal(client, request, envelope);
    case EM_PENDING_RAW:
        return take_raw(client, request, envelope);
    }
    return 0;
}

/* Pages of the feed may be of a megabyte, and come by the thousand: they are not unpacked whole. */
static int take_frame(struct em_client *client, const uint8_t *data, size_t size)
{
    struct em_field changes;
    uint64_t id;
    if (em_msg_find(data, size, EIDMAP__ENVELOPE__BODY_CHANGES, &id, &changes))
        return take_changes(client, id, &changes);
    const Eidmap__Envelope *envelope = em_msg_unpack(&client->in, data, size);
    return envelope ? take_envelope(client, envelope) : EM_E_MALFORMED;
}

static int on_frame(struct em_conn *conn, void *aux, const uint8_t *data, size_t size)
{
    struct em_client *client = aux;
    client->depth++;
    em_arena_reset(&client->in);
    int r = take_frame(client, data, size);
    if (r && client->conn == conn)
        em_conn_close(conn, r, "the server's message is malformed or out of place");
    if (!client->is_closing)
        release(client);
    client->depth--;
    return 0;
}

static void on_drain(struct em_conn *conn, void *aux)
{
    struct em_client *client = aux;
    client->depth++;
    send_waiting(client);
    client->depth--;
}

/* ---- sessions begin and end ---- */

static void say_hello(struct em_client *client)
{
    em_buf_append(em_conn_out(client->conn), client->servers.hello, client->servers.hello_size);
    em_conn_sent(client->conn);
}

static void on_open(struct em_conn *conn, void *aux)
{
    struct em_client *client = aux;
    em_dialer_opened(&client->dialer);
    say_hello(client);
}

/* What was of the ended session only. */
static void fail_session_requests(struct em_client *client)
{
    struct em_pending *request;
    int64_t id = 0;
    while (!client->is_closing && (request = em_pending_after(&client->pending, id)) &&
           em_pending_is_sent(&client->pending, request)) {
        id = request->id;
        if (request->flags & EM_PENDING_CANCELLED)
            em_pending_remove(&client->pending, request);
        else if (request->flags & EM_PENDING_SESSION)
            give_up(client, request, EM_E_CLOSED, "the session ended before the answer came");
    }
}

static void on_close(struct em_conn *conn, void *aux, int err, const char *why);
static const struct em_conn_events conn_events = {on_open, on_frame, on_drain, on_close};

/* Begins the next session, on the warm connection or with the dialer's next server. */
static void move_on(struct em_client *client)
{
    size_t server;
    struct em_conn *warm = NULL;
    if (client->is_refused)
        em_warm_stop(&client->warm);
    else
        warm = em_warm_take(&client->warm, &server);
    if (!warm) {
        arm(client, &client->dial, client->dialer.due_ms);
        return;
    }
    em_dialer_adopt(&client->dialer, server);
    client->conn = warm;
    em_conn_hand_over(warm, &conn_events, client);
    em_conn_set_idle(warm, EM_WELCOME_MS);
    say_hello(client);
}

/* The session, or the attempt, is over.  State first, callbacks last: they may free. */
static void lost(struct em_client *client, int err, const char *why)
{
    const char *server = em_servers_name(&client->servers, client->dialer.server);
    if (client->is_refused)
        em_dialer_refused(&client->dialer, em_now_ms());
    else if (client->has_moved)
        em_dialer_left(&client->dialer, em_now_ms());
    else
        em_dialer_closed(&client->dialer, em_now_ms(), em_client_random());
    move_on(client);
    client->is_refused = client->is_announcing = client->is_leaving = client->has_moved = false;
    client->write = client->held = 0;
    fail_session_requests(client);
    em_pending_rewind(&client->pending);
    if (client->is_closing || !client->events.on_down)
        return;
    char *text = em_asprintf("%s: %s", server, why);
    client->events.on_down(client->aux, err, text);
    free(text);
}

static void on_close(struct em_conn *conn, void *aux, int err, const char *why)
{
    struct em_client *client = aux;
    client->conn = NULL;
    if (client->is_closing)
        return;
    client->depth++;
    /* DENIED is the word of a server that refuses us; here we refuse its certificate. */
    if (err == EM_E_DENIED && !client->is_refused)
        err = EM_E_TLS;
    lost(client, err, why);
    client->depth--;
}

static void dial(struct em_client *client)
{
    assert(!client->conn);
    em_dialer_dial(&client->dialer);
    int r = em_servers_connect(&client->servers, client->dialer.server, client->net, &conn_events,
                               client, &client->conn);
    if (r)
        lost(client, r, em_strerror(r));
}

static void on_dial(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct em_client *client = w->data;
    if (em_now_ms() < client->dialer.due_ms) { /* the loop's clock was behind when it was set */
        arm(client, &client->dial, client->dialer.due_ms);
        return;
    }
    client->depth++;
    dial(client);
    client->depth--;
}

void em_client_set_rlocs(struct em_client *client, const struct em_rloc *rlocs, size_t n)
{
    em_servers_set_rlocs(&client->servers, rlocs, n);
    em_warm_stop(&client->warm); /* it comes from the old address too */
    if (client->conn) {
        client->is_leaving = client->has_moved = true;
        kick(client);
    } else {
        client->dialer.due_ms = em_now_ms();
        arm(client, &client->dial, client->dialer.due_ms);
    }
}

void em_client_fail_over(struct em_client *client)
{
    if (!em_client_is_up(client) || client->servers.len < 2)
        return;
    client->is_leaving = true;
    kick(client);
}

/* ---- new and free ---- */

static void init_watchers(struct em_client *client)
{
    ev_timer_init(&client->dial, on_dial, 0, 0);
    client->dial.data = client;
    ev_timer_init(&client->expire, on_expire, 0, 0);
    client->expire.data = client;
    ev_timer_init(&client->retry, on_retry, 0, 0);
    client->retry.data = client;
    ev_prepare_init(&client->kick, on_kick);
    client->kick.data = client;
}

int em_client_new_timed(struct ev_loop *loop, const struct em_client_config *config,
                        const struct em_dialer_times *times, const struct em_client_events *events,
                        void *aux, struct em_client **ret_client, char **ret_why)
{
    struct em_servers servers;
    int r = em_servers_init(&servers, config, ret_why);
    if (r)
        return r;
    struct em_client *client = em_calloc(1, sizeof(*client));
    client->loop = loop;
    client->net = em_net_new(loop);
    client->events = events ? *events : (struct em_client_events){0};
    client->aux = aux;
    client->servers = servers;
    client->timeout_ms = config->timeout_ms;
    em_pending_init(&client->pending);
    em_arena_init(&client->in, 0);
    em_arena_init(&client->out, 0);
    init_watchers(client);
    client->wants_warm = config->is_warm && servers.len > 1;
    em_warm_init(&client->warm, loop, client->net, &client->servers, times);
    em_dialer_init(&client->dialer, times, servers.len, em_now_ms(), em_client_random());
    arm(client, &client->dial, client->dialer.due_ms);
    *ret_client = client;
    return 0;
}

int em_client_new(struct ev_loop *loop, const struct em_client_config *config,
                  const struct em_client_events *events, void *aux, struct em_client **ret_client,
                  char **ret_why)
{
    return em_client_new_timed(loop, config, &em_dialer_default_times, events, aux, ret_client,
                               ret_why);
}

void em_client_free(struct em_client *client)
{
    if (!client || client->is_closing)
        return;
    client->is_closing = true;
    ev_timer_stop(client->loop, &client->dial);
    ev_timer_stop(client->loop, &client->expire);
    ev_timer_stop(client->loop, &client->retry);
    em_warm_stop(&client->warm);
    if (client->conn)
        em_conn_close(client->conn, 0, NULL);
    if (client->depth)
        kick(client);
    else
        destroy(client);
}
