/* How it ends: with err 0 when the session has ended, for then it is of no use; with any
 * other the dialer looks for the next server, and a server that refuses us is left alone for
 * as long as it would be for a session. */
#include "client/warm.h"

#include "base/buf.h"
#include "base/clock.h"
#include "client/client.h"
#include "client/reply.h"
#include "client/servers.h"
#include "net/conn.h"

#include <assert.h>

#define HELLO_MS     15000 /* where the server names no lease */
#define HELLO_MIN_MS 100
#define HELLO_MAX_MS 60000
#define SILENT       3 /* a server that has not answered for so many Hellos is dead */

static void arm(struct em_warm *warm, uint64_t in_ms)
{
    ev_timer_stop(warm->loop, &warm->timer);
    ev_timer_set(&warm->timer, (double)in_ms / 1e3, 0);
    ev_timer_start(warm->loop, &warm->timer);
}

static void arm_dial(struct em_warm *warm)
{
    uint64_t now = em_now_ms();
    arm(warm, warm->dialer.due_ms > now ? warm->dialer.due_ms - now : 0);
}

static void say_hello(struct em_warm *warm)
{
    em_buf_append(em_conn_out(warm->conn), warm->servers->warm_hello,
                  warm->servers->warm_hello_size);
    em_conn_sent(warm->conn);
}

static void on_open(struct em_conn *conn, void *aux)
{
    struct em_warm *warm = aux;
    em_dialer_opened(&warm->dialer);
    say_hello(warm);
}

static int be_welcome(struct em_warm *warm, const Eidmap__Welcome *msg)
{
    if (msg->protocol != EM_PROTOCOL)
        return EM_E_UNSUPPORTED;
    if (warm->dialer.state == EM_DIALER_UP)
        return 0;
    em_dialer_welcomed(&warm->dialer, em_now_ms());
    uint32_t lease_ms = msg->lease_ms ? msg->lease_ms : HELLO_MS;
    warm->hello_ms = lease_ms < HELLO_MIN_MS   ? HELLO_MIN_MS
                     : lease_ms > HELLO_MAX_MS ? HELLO_MAX_MS
                                               : lease_ms;
    em_conn_set_idle(warm->conn, warm->hello_ms * SILENT);
    arm(warm, warm->hello_ms);
    return 0;
}

static int on_frame(struct em_conn *conn, void *aux, const uint8_t *data, size_t size)
{
    struct em_warm *warm = aux;
    const char *why;
    em_arena_reset(&warm->in);
    const Eidmap__Envelope *envelope = em_msg_unpack(&warm->in, data, size);
    if (!envelope || envelope->id > EM_WARM_ID)
        return EM_E_MALFORMED;
    if (envelope->body_case == EIDMAP__ENVELOPE__BODY_WELCOME)
        return be_welcome(warm, envelope->welcome);
    if (envelope->body_case != EIDMAP__ENVELOPE__BODY_ERROR)
        return EM_E_MALFORMED;
    int err = em_reply_error(envelope->error, &why);
    warm->is_refused = err == EM_E_DENIED || err == EM_E_SUPERSEDED;
    return err;
}

/* The connection, or the attempt, is over. */
static void lost(struct em_warm *warm)
{
    if (!warm->is_running) {
        em_dialer_left(&warm->dialer, em_now_ms());
        return;
    }
    if (warm->is_refused)
        em_dialer_refused(&warm->dialer, em_now_ms());
    else
        em_dialer_closed(&warm->dialer, em_now_ms(), em_client_random());
    arm_dial(warm);
}

static void on_close(struct em_conn *conn, void *aux, int err, const char *why)
{
    struct em_warm *warm = aux;
    warm->conn = NULL;
    lost(warm);
}

static void dial(struct em_warm *warm)
{
    static const struct em_conn_events events = {on_open, on_frame, NULL, on_close};
    em_dialer_dial(&warm->dialer);
    warm->is_refused = false;
    if (em_servers_connect(warm->servers, warm->dialer.server, warm->net, &events, warm,
                           &warm->conn))
        lost(warm);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct em_warm *warm = w->data;
    if (warm->dialer.state == EM_DIALER_UP) {
        say_hello(warm);
        arm(warm, warm->hello_ms);
    } else if (em_now_ms() < warm->dialer.due_ms) { /* the loop's clock was behind */
        arm_dial(warm);
    } else {
        dial(warm);
    }
}

void em_warm_init(struct em_warm *warm, struct ev_loop *loop, struct em_net *net,
                  const struct em_servers *servers, const struct em_dialer_times *times)
{
    *warm = (struct em_warm){.loop = loop, .net = net, .servers = servers};
    em_dialer_init(&warm->dialer, times, servers->len, em_now_ms(), em_client_random());
    em_arena_init(&warm->in, 0);
    ev_timer_init(&warm->timer, on_timer, 0, 0);
    warm->timer.data = warm;
}

void em_warm_fini(struct em_warm *warm)
{
    em_warm_stop(warm);
    em_arena_fini(&warm->in);
}

void em_warm_start(struct em_warm *warm, size_t server)
{
    assert(!warm->is_running && !warm->conn && warm->servers->len > 1);
    warm->is_running = true;
    em_dialer_beside(&warm->dialer, server, em_now_ms(), em_client_random());
    arm_dial(warm);
}

void em_warm_stop(struct em_warm *warm)
{
    warm->is_running = false;
    ev_timer_stop(warm->loop, &warm->timer);
    if (warm->conn)
        em_conn_close(warm->conn, 0, NULL);
}

struct em_conn *em_warm_take(struct em_warm *warm, size_t *ret_server)
{
    struct em_conn *conn = NULL;
    if (warm->conn && warm->dialer.state == EM_DIALER_UP) {
        conn = warm->conn;
        warm->conn = NULL;
        *ret_server = warm->dialer.server;
        em_dialer_left(&warm->dialer, em_now_ms());
    }
    em_warm_stop(warm);
    return conn;
}
