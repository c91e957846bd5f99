/* A load generator: connections that each keep a number of requests under way.
 *
 * One loop, the project's own connections, frames that are ready or nearly so: on one core
 * it makes several times the load that a server of one core takes. */
#ifndef LOAD_H
#define LOAD_H

#include "hist.h"

#include <stdbool.h>
#include <stddef.h>

struct em_buf;
struct em_tls;

#define LOAD_FLIGHT_MAX 1024
#define LOAD_CONNS_MAX  64

struct load_config {
    const char *const *urls; /* connection i goes to i % n_urls */
    unsigned n_urls;
    struct em_tls *const *tls; /* contexts for tls://, connection i takes i % n_tls */
    unsigned n_tls;
    unsigned n_conns;         /* 1 .. LOAD_CONNS_MAX */
    unsigned n_flight;        /* of each connection, 1 .. LOAD_FLIGHT_MAX */
    const char *const *nodes; /* Hello.node_id of each; NULL: operators */
    bool is_bare;             /* no Hello: the other side only echoes */
    /* Appends one request frame whose Envelope.id is 'id'. */
    void (*put)(void *aux, unsigned conn, uint64_t id, struct em_buf *out);
    void *aux;
    double seconds; /* measured, after a tenth of it to warm up */
};

struct load_result {
    double rate; /* answers a second */
    size_t size; /* bytes of an answer, the largest */
    struct hist hist;
};

/* Runs it; ends the program with a sentence when a connection breaks or an answer is an
 * Error. */
void load_run(const struct load_config *config, struct load_result *ret_result);

/* Appends a frame from a packed Envelope without an id, under 'id'. */
void load_put_packed(struct em_buf *out, uint64_t id, const void *packed, size_t size);

#endif
