/* Blocking calls to a map server, one at a time, for the straight parts of a test. */
#ifndef CALLER_H
#define CALLER_H

#include "eidmap.h"

struct caller {
    struct em_call *call;
    /* Of the last call: */
    int err;
    char message[256]; /* "" where there was none */
    uint64_t revision;
    uint64_t epoch;      /* register: of the first claim; resolve: of the location below */
    uint32_t network_id; /* put_network */
    size_t n_positive;   /* resolve: answers that have a port */
    char node[64];       /* resolve: of the last positive answer's first location */
    size_t n_problems;   /* status */
    char problem[256];   /* status: the first */
    uint64_t n_ports;    /* status */
    uint64_t store_used; /* status */
};

/* A session as operator, or as a node whose RLOC follows from the number in its name; ends
 * the program with a sentence when there is none within 10 s. */
void caller_open(struct caller *caller, const char *url, const char *node_id);
void caller_close(struct caller *caller);

/* All of these return 'err'; EM_E_TIMEOUT after 10 s. */
int caller_put_network(struct caller *caller, const char *name);
/* Numbered ports first .. first + n - 1 on 'node', n <= 4096; NULL: declared by the operator. */
int caller_register(struct caller *caller, uint32_t network_id, uint32_t first, size_t n,
                    const char *node);
int caller_claim(struct caller *caller, const struct em_claim *claim);
int caller_withdraw(struct caller *caller, uint32_t first, size_t n);
int caller_resolve(struct caller *caller, uint32_t network_id, uint32_t number);
/* The same, linearisable. */
int caller_resolve_now(struct caller *caller, uint32_t network_id, uint32_t number);
int caller_status(struct caller *caller);

/* Ports 1 .. n of a new network "bench", on 10 nodes "n0" .. "n9"; returns its id. */
uint32_t caller_preload(const char *url, uint32_t n);

/* Called for each numbered port of a whole feed. */
typedef void caller_port_fn(void *aux, uint32_t number, const struct em_port *port);

/* Subscribes to a network with a new client and shows all ports until it is complete; EM_E_TIMEOUT
 * after 20 s. */
int caller_dump(const char *url, uint32_t network_id, caller_port_fn *visit, void *aux);

#endif
