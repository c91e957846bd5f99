/* The face of the map server: threads that hold client connections, answer reads from the
 * store, and turn writes into commands for the core.
 *
 *   acceptor (main loop) --sockets--> worker loops --commands--> core
 *                                       ^    ^                    |
 *                                       |    `----- results ------|
 *                                       `---------- news ---------'
 *
 * The main loop also keeps the leases: which node has not been heard of for too long. */
#ifndef MS_FRONT_H
#define MS_FRONT_H

#include "core/core.h"
#include "front/registry.h"

#include <sys/types.h>

struct em_tls;
struct ev_loop;
struct ms_front;
struct ms_worker;

struct ms_front_config {
    const char *server_id;     /* strings are lent while the front lives */
    const char *const *listen; /* addresses as em_address_parse() takes them */
    size_t n_listen;
    const char *const *advertise; /* Welcome.servers */
    size_t n_advertise;
    mode_t socket_mode; /* of unix sockets */
    unsigned n_workers; /* 1 .. 64 */
    unsigned max_connections;
    unsigned max_handshakes; /* TLS handshakes at once; more wait in the kernel's queue */
    uint32_t handshake_ms;   /* limit for a handshake, and for the Hello after it */
    uint32_t lease_ms;       /* a node that is silent for so long is unreachable */
    uint64_t hold_ms;        /* an unreachable node keeps its locations for so long */
    uint64_t tombstones_ms;  /* deletions stay in the feed for so long */
    uint32_t max_node_ports;
    const struct ms_core_config *core; /* lent for the call of ms_front_start() */
};

/* Starts the workers and the core, opens the listening sockets.  'tls' is needed if one of
 * the addresses is tls://; a reference is taken.  0, or an error with a sentence in *ret_why
 * (free() it).  On any thread: 'on_fatal': the process must end; 'on_restart': it must stop
 * the front and start it again. */
int ms_front_start(struct ev_loop *loop, const struct ms_front_config *config, struct em_tls *tls,
                   void (*on_fatal)(int err, const char *why), void (*on_restart)(void),
                   struct ms_front **ret_front, char **ret_why);

/* Closes listeners and connections, finishes what was proposed, frees.  NULL is fine. */
void ms_front_stop(struct ms_front *front);

/* Connections accepted from now on use this context. */
void ms_front_set_tls(struct ms_front *front, struct em_tls *tls);

/* For SIGHUP: the values that can change while serving.  Strings and addresses stay. */
void ms_front_set_limits(struct ms_front *front, const struct ms_front_config *config);

/* Have all threads moved since the last call?  For the watchdog. */
bool ms_front_is_alive(struct ms_front *front);

/* "serving 12 sessions at revision 345" for systemctl status; the caller's buffer. */
void ms_front_summary(struct ms_front *front, char *text, size_t size);

#endif
