/* A load of puts for etcd: gRPC over plaintext HTTP/2 with as many streams under way as
 * load.h has requests, measured in the same way. */
#ifndef ETCD_LOAD_H
#define ETCD_LOAD_H

#include "load.h"

struct etcd_load_config {
    const char *const *urls; /* connection i goes to i % n_urls */
    unsigned n_urls;
    unsigned n_conns;  /* 1 .. LOAD_CONNS_MAX */
    unsigned n_flight; /* of each connection, 1 .. LOAD_FLIGHT_MAX */
    /* What one put carries.  The key is the port-id of the next numbered port. */
    size_t size;    /* bytes of key and value together */
    uint32_t *next; /* number of the last port that was put */
    double seconds; /* measured, after a tenth of it to warm up */
};

/* Runs it; ends the program with a sentence when a connection breaks or a put is refused. */
void etcd_load_run(const struct etcd_load_config *config, struct load_result *ret_result);

#endif
