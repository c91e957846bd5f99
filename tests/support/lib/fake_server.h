/* A map server that does what a test tells it: for tests of the client.
 *
 * It listens on a unix socket or with TLS on loopback, keeps every message that comes, and answers
 * Hello with a Welcome.  Everything else is the test's: its handler, or sends of its own. */
#ifndef FAKE_SERVER_H
#define FAKE_SERVER_H

#include "net/conn.h"

#include <ev.h>

#define FAKE_LOG 4096

struct fake_server {
    struct ev_loop *loop;
    struct em_net *net;
    struct em_tls *tls;
    char path[80];        /* unix only */
    char url[80];         /* for the client's list of servers */
    struct em_conn *conn; /* the newest session, NULL: none */
    unsigned n_accepted;
    const Eidmap__Envelope *log[FAKE_LOG]; /* of all sessions, good until fake_stop() */
    size_t n_log;
    int hello_error;         /* not 0: the answer to Hello */
    bool is_silent;          /* Hello gets no answer */
    uint32_t lease_ms;       /* of its Welcome; 0: 15 s */
    uint32_t retry_after_ms; /* of its errors */
    void (*handler)(struct fake_server *server, const Eidmap__Envelope *envelope);
    void *aux; /* the test's */
    struct em_arena *arena;
    ev_io io;
};

/* 'name' tells the servers of one test apart. */
void fake_start(struct fake_server *server, struct ev_loop *loop, const char *name);
void fake_start_tls(struct fake_server *server, struct ev_loop *loop, struct em_tls *tls);
void fake_stop(struct fake_server *server);

/* Ends the session, if there is one. */
void fake_cut(struct fake_server *server);

void fake_welcome(struct fake_server *server, uint64_t id);
void fake_send(struct fake_server *server, Eidmap__Envelope *envelope);
void fake_send_bytes(struct fake_server *server, const void *data, size_t size);
void fake_send_error(struct fake_server *server, uint64_t id, int code, const char *message);
void fake_send_done(struct fake_server *server, uint64_t id, uint64_t revision);

/* How many messages with this body came, and the k-th of them (NULL: none). */
size_t fake_count(const struct fake_server *server, Eidmap__Envelope__BodyCase body);
const Eidmap__Envelope *fake_nth(const struct fake_server *server, Eidmap__Envelope__BodyCase body,
                                 size_t k);

#endif
