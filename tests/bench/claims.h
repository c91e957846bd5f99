/* A load of registrations: each request one new port, with a MAC and an IPv4 address. */
#ifndef CLAIMS_H
#define CLAIMS_H

#include "base/mem.h"

#include <stdint.h>

#define CLAIMS_NODES 8

extern const char *const claims_nodes[CLAIMS_NODES];

struct claims {
    struct em_arena arena;
    uint32_t network_id;
    uint32_t next; /* number of the last port: each is registered once */
};

/* In the network "bench", which it makes. */
void claims_init(struct claims *claims, const char *url);
void claims_fini(struct claims *claims);

/* For struct load_config: 'aux' is the claims, 'conn' the number of the node. */
struct em_buf;
void claims_put(void *aux, unsigned conn, uint64_t id, struct em_buf *out);

/* Bytes of such a Register. */
size_t claims_size(void);

/* A benchmark of what was not stored would flatter: the first one is asked for. */
void claims_check(const struct claims *claims, const char *url);

#endif
