/* A client without manners: frames and bytes on a bare blocking socket. */
#ifndef RAW_H
#define RAW_H

#include "wire/msg.h"

#include <stdbool.h>

struct raw {
    int fd;
    struct em_arena *arena; /* of the last frame read */
};

/* Connects to a unix socket or a TCP port (no TLS is spoken); ends the program when nobody
 * listens.  Reading gives up after 10 s, writing after 250 ms. */
void raw_open(struct raw *raw, const char *url);

/* False when nobody listens. */
bool raw_try_open(struct raw *raw, const char *url);
void raw_close(struct raw *raw);

/* Reading gives up after 'ms' from now on. */
void raw_set_patience(struct raw *raw, unsigned ms);

/* As an operator (NULL) or as a node with the RLOC 198.18.255.1; false when it was refused. */
bool raw_hello(struct raw *raw, const char *node_id);

/* False when the peer does not take it in time or has closed. */
bool raw_send_bytes(struct raw *raw, const void *data, size_t size);
bool raw_send(struct raw *raw, const Eidmap__Envelope *envelope);

/* The next frame, good until the next call; NULL at the end or after the time. */
const Eidmap__Envelope *raw_read(struct raw *raw);

/* Has the peer sent nothing and not closed? */
bool raw_is_open(struct raw *raw);

/* Reads on until the peer closes; false when it does not within 10 s. */
bool raw_reads_end(struct raw *raw);

#endif
