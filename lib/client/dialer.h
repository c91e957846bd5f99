/* Which server a client tries next, and when: the states of one client's session, and of the
 * connection that waits beside it (warm.h).
 *
 * Pure: time and randomness are parameters, nothing here touches a socket.  The client
 * tells what happened and does what the state asks for.
 *
 *   WAITING --dial--> CONNECTING --opened--> GREETING --welcomed--> UP
 *      ^                  |                     |                   |
 *      +------------------+------ closed -------+-------------------+
 *      `------------------------ adopt ---------^
 *
 * A session that ends leads to the next server at once; only when all servers have failed
 * in a row does a pause begin.  Pauses have full jitter, 0 .. cap, and the cap grows by half
 * with each round, so that a thousand clients of a server that died do not come back in step. */
#ifndef EM_DIALER_H
#define EM_DIALER_H

#include <stddef.h>
#include <stdint.h>

enum em_dialer_state {
    EM_DIALER_WAITING,    /* until due_ms */
    EM_DIALER_CONNECTING, /* socket and TLS */
    EM_DIALER_GREETING,   /* Hello is sent */
    EM_DIALER_UP,
};

struct em_dialer_times {
    uint32_t first_ms;   /* cap of the first pause */
    uint32_t max_ms;     /* of the last */
    uint32_t refused_ms; /* pause after a refusal that trying again does not cure */
    uint32_t stable_ms;  /* a session that stood so long makes up for earlier failures */
    uint32_t spread_ms;  /* a warm connection begins within so long after the session */
};

#define EM_DIALER_NONE SIZE_MAX

extern const struct em_dialer_times em_dialer_default_times;

struct em_dialer {
    struct em_dialer_times times;
    enum em_dialer_state state;
    size_t n_servers;
    size_t server;     /* index of the current or next one */
    size_t avoid;      /* is never tried; EM_DIALER_NONE: all are */
    size_t n_failed;   /* servers that failed since the last pause */
    unsigned n_rounds; /* pauses since the last stable session */
    uint64_t due_ms;   /* WAITING: when to dial */
    uint64_t up_ms;    /* UP: since when */
};

/* The first attempt is due at once; 'random' chooses its server. */
void em_dialer_init(struct em_dialer *dialer, const struct em_dialer_times *times, size_t n_servers,
                    uint64_t now_ms, uint64_t random);

/* WAITING ends: connect to 'server'. */
void em_dialer_dial(struct em_dialer *dialer);
void em_dialer_opened(struct em_dialer *dialer);
void em_dialer_welcomed(struct em_dialer *dialer, uint64_t now_ms);

/* The attempt or the session is over, in any state but WAITING.  'random' is a number for
 * the jitter. */
void em_dialer_closed(struct em_dialer *dialer, uint64_t now_ms, uint64_t random);

/* As above, and the server said that this client is not wanted. */
void em_dialer_refused(struct em_dialer *dialer, uint64_t now_ms);

/* As em_dialer_closed(), but it was our own wish: no failure, and due at once. */
void em_dialer_left(struct em_dialer *dialer, uint64_t now_ms);

/* WAITING ends: there is a connection to this server already, and Hello is sent. */
void em_dialer_adopt(struct em_dialer *dialer, size_t server);

/* WAITING: for a connection beside the session at 'server', of several.  Not due before a
 * part of spread_ms: the clients of a server that died come to the others all at once, and
 * sessions go first. */
void em_dialer_beside(struct em_dialer *dialer, size_t server, uint64_t now_ms, uint64_t random);

#endif
