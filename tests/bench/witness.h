/* What the kernel of a host tells by rtnetlink of entries for numbered ports: the vxlan device's
 * FDB entry and the neighbour, whoever makes them.
 *
 * What goes wrong here ends the program with a sentence. */
#ifndef WITNESS_H
#define WITNESS_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct witness {
    struct ev_loop *loop;
    ev_io io;
    uint32_t first, n;  /* numbers of the ports that are waited for */
    uint8_t *seen;      /* of each */
    uint32_t n_missing; /* entries */
    bool is_removal;    /* their removal is waited for */
    uint64_t done_ns;   /* when the last one was told; 0: not yet */
};

/* In namespace 'netns'; 'loop' is lent. */
void witness_open(struct witness *ret_witness, struct ev_loop *loop, const char *netns);
void witness_close(struct witness *witness);

/* From now on waits for these: the loop is broken when both entries of each have been told. */
void witness_expect(struct witness *witness, uint32_t first, uint32_t n, bool is_removal);

/* Runs the loop until then; after 'limit_s' the program ends: "SYSTEM: ... are missing". */
void witness_await(struct witness *witness, double limit_s, const char *system);

#endif
