/* The other side of a connection without a map: what the connection code alone can do.
 *
 * A process of its own that serves the same sockets with the same code as a map server. */
#ifndef PEER_H
#define PEER_H

#include <stdint.h>
#include <sys/types.h>

struct em_tls;

enum peer_kind {
    PEER_ECHO,   /* sends each frame back, with zeroes behind it up to 'bytes' */
    PEER_SOURCE, /* answers a frame with 'bytes' in frames of 64 KiB, as fast as they are taken */
};

/* Forks; it serves when this returns.  'tls' NULL: a unix socket. */
pid_t peer_start(enum peer_kind kind, const char *url, struct em_tls *tls, uint64_t bytes);
void peer_stop(pid_t pid);

#endif
