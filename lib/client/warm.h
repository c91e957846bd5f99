/* The second connection of a client: to another server than its session's.
 *
 * The TLS handshake is done there and the server knows who we are, so that a session which
 * is lost begins again with one message and its answer.  Until then nothing is asked on it;
 * now and then our Hello is said again, so that both sides see that the other lives.
 *
 * It has a dialer of its own, with the session's server left out, and is tried for only while
 * the session stands.  What becomes of it is nobody's concern: nothing here calls back. */
#ifndef EM_WARM_H
#define EM_WARM_H

#include "base/mem.h"
#include "client/dialer.h"

#include <ev.h>
#include <stdbool.h>

struct em_conn;
struct em_net;
struct em_servers;

struct em_warm {
    struct ev_loop *loop;
    struct em_net *net;
    const struct em_servers *servers;
    struct em_dialer dialer;
    struct em_conn *conn; /* NULL while the dialer waits */
    struct em_arena in;   /* the message at hand */
    bool is_running;      /* the session stands */
    bool is_refused;      /* this server does not want us */
    uint32_t hello_ms;    /* between two Hellos */
    ev_timer timer;       /* until the next attempt or the next Hello */
};

/* Everything is lent for as long as it lives. */
void em_warm_init(struct em_warm *warm, struct ev_loop *loop, struct em_net *net,
                  const struct em_servers *servers, const struct em_dialer_times *times);

/* Stops, too.  The connection's memory is given back with the net. */
void em_warm_fini(struct em_warm *warm);

/* The session stands at this server; there are others.  Not while it is started already. */
void em_warm_start(struct em_warm *warm, size_t server);

/* The session has ended.  Closes; may be repeated. */
void em_warm_stop(struct em_warm *warm);

/* The session has ended: gives the connection away if it is ready, and stops.  NULL: it is
 * not.  An answer to our last Hello may still come on it, under EM_WARM_ID. */
struct em_conn *em_warm_take(struct em_warm *warm, size_t *ret_server);

#endif
