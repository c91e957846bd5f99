/* A load of registrations: each request one new port, with a MAC and an IPv4 address. */
#ifndef CLAIMS_H
#define CLAIMS_H

#include <stddef.h>
#include <stdint.h>

#define CLAIMS_NODES 8

extern const char *const claims_nodes[CLAIMS_NODES];

/* A packed Envelope with the Register of port 0 of one node. */
#define CLAIMS_SIZE    256
#define CLAIMS_NUMBERS 3 /* in the port-id, the MAC and the IPv4 address */

struct claims_form {
    uint8_t bytes[CLAIMS_SIZE];
    size_t size, number_at[CLAIMS_NUMBERS]; /* the last byte of each */
};

struct claims {
    uint32_t network_id;
    uint32_t next; /* number of the last port: each is registered once */
    struct claims_form forms[CLAIMS_NODES];
};

/* In the network "bench", which it makes. */
void claims_init(struct claims *claims, const char *url);

/* For struct load_config: 'aux' is the claims, 'conn' the number of the node. */
struct em_buf;
void claims_put(void *aux, unsigned conn, uint64_t id, struct em_buf *out);

/* Bytes of such a Register. */
size_t claims_size(void);

/* A benchmark of what was not stored would flatter: the first one is asked for. */
void claims_check(const struct claims *claims, const char *url);

#endif
