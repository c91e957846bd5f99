/* A connection that carries frames: TLS over TCP, a unix socket, or plain TCP on loopback.
 * Client, server and (later) peers all use it.
 *
 * Receive: frames of at most EM_FRAME_MAX go to on_frame, a bounded number per turn of
 * the loop.  Send: em_conn_send*() only append to a buffer, which is written once per turn;
 * when it holds more than EM_CONN_HIGH bytes the connection stops reading (back-pressure:
 * a client that does not take its answers cannot ask more), and on_drain tells when it is
 * below EM_CONN_LOW again.  A peer that lets it grow beyond EM_CONN_MAX is cut off.
 *
 * Threads: all calls from the thread of its loop. */
#ifndef EM_CONN_H
#define EM_CONN_H

#include "net/tls.h"
#include "wire/msg.h"

#include <stdbool.h>

struct em_net;
struct em_conn;

#define EM_CONN_LOW  (64u << 10)
#define EM_CONN_HIGH (512u << 10)
#define EM_CONN_MAX  (8u << 20)

/* Who is on the other side. */
struct em_peer {
    struct em_identity identity; /* role EM_ROLE_NONE on a plain socket */
    bool is_unix;
    uid_t uid;     /* unix sockets only: SO_PEERCRED */
    char text[80]; /* "192.0.2.1:4342", "uid 0", for logs */
};

struct em_conn_events {
    /* The handshake is done. */
    void (*on_open)(struct em_conn *conn, void *aux);
    /* A frame's payload, lent for the call.  Anything but 0 closes with that error. */
    int (*on_frame)(struct em_conn *conn, void *aux, const uint8_t *data, size_t size);
    /* What waits to be written has fallen below EM_CONN_LOW.  May be NULL. */
    void (*on_drain)(struct em_conn *conn, void *aux);
    /* The last callback; the connection is freed after it.  'err' 0: closed by us. */
    void (*on_close)(struct em_conn *conn, void *aux, int err, const char *why);
    /* Before on_frame, with all that has come and begins with a frame: may take the first frames,
     * at most 'max', at once and here.  Returns how many, with their size and headers in *ret_size.
     * It does not close or pause the connection.  May be NULL. */
    unsigned (*on_frames)(struct em_conn *conn, void *aux, const uint8_t *data, size_t size,
                          unsigned max, size_t *ret_size);
};

struct em_conn_config {
    const struct em_conn_events *events;
    struct em_tls *tls; /* NULL: plain or unix */
    struct em_tls_resume *resume;
    bool is_client;        /* of TLS */
    uint32_t handshake_ms; /* limit for connect and handshake; 0: 10 s */
    uint32_t idle_ms;      /* closed with EM_E_TIMEOUT when nothing came for so long; 0: never */
};

/* Takes the connected (or connecting) non-blocking socket.  NULL: TLS could not be set up,
 * and the socket is closed. */
struct em_conn *em_conn_new(struct em_net *net, int fd_take, const struct em_conn_config *config,
                            void *aux);

/* Idempotent; may be called from the connection's own callbacks.  Flushes what can be
 * written at once, then on_close is called (before this returns) with 'err' and 'why'. */
void em_conn_close(struct em_conn *conn, int err, const char *why);

/* Appends one frame.  EM_E_LIMIT: the message is larger than a frame may be. */
int em_conn_send(struct em_conn *conn, const Eidmap__Envelope *envelope);

/* For em_frame_begin() and friends: the buffer to write whole frames into, and the call
 * that must follow. */
struct em_buf *em_conn_out(struct em_conn *conn);
void em_conn_sent(struct em_conn *conn);

/* Writes what waits now, not at the end of the turn; for a caller that is about to block. */
void em_conn_flush(struct em_conn *conn);

/* Bytes that wait to be written. */
size_t em_conn_pending(const struct em_conn *conn);

/* Reading stops and goes on: for a request budget.  Counts, so pairs nest. */
void em_conn_pause(struct em_conn *conn);
void em_conn_resume(struct em_conn *conn);

/* Another owner's callbacks from here on.  Not from the connection's own callbacks. */
void em_conn_hand_over(struct em_conn *conn, const struct em_conn_events *events, void *aux);

void em_conn_set_idle(struct em_conn *conn, uint32_t idle_ms);
const struct em_peer *em_conn_peer(const struct em_conn *conn);
bool em_conn_was_resumed(const struct em_conn *conn); /* of a TLS session */

#endif
