/* A swarm: thousands of agents on one loop, each with a session, a certificate and feeds of its
 * own; for benchmarks and fault tests.
 *
 * An agent does what an xTR does towards the map servers, by libeidmap: it connects and comes
 * back, sends heartbeats, subscribes to its networks and to the nodes, announces its
 * ports with each session, and attaches ports that move to it.  A port that was taken once
 * and is found to have been forgotten is a failure.  It keeps no map-cache: whoever
 * wants to know what the feeds say is shown their pages.
 *
 * Ports are numbered (server/numbered.h) from 1 on.  'where' a port is, is decided here, as it is
 * by hypervisors; the map is told, and has said so when the port is 'acked'.
 *
 * What goes wrong here is the program's failure: a sentence on stderr and exit(1). */
#ifndef SWARM_AGENTS_H
#define SWARM_AGENTS_H

#include "server/real_server.h"

struct ev_loop;
struct swarm;

struct swarm_config {
    const char *const *urls; /* of the map servers; an agent begins with any of them */
    size_t n_urls;
    const char *pki; /* with the CA and the certificates (swarm_setup.h) */
    unsigned n_agents;
    const uint32_t *networks; /* their ids, lent */
    unsigned n_networks;
    unsigned n_each;  /* networks of an agent, 1 .. n_networks */
    bool has_nodes;   /* subscribes to network 0, too, as an xTR does */
    unsigned n_ports; /* that an agent has at first, 0 .. 4096 */
};

/* Each may be NULL. */
struct swarm_events {
    void (*on_page)(void *aux, unsigned agent, const struct em_feed *page);
    /* The map has taken what was said of the port. */
    void (*on_acked)(void *aux, uint32_t port);
    /* The announce of a new session is over and all feeds are complete again. */
    void (*on_served)(void *aux, unsigned agent);
};

/* Lets this process, and what it starts from then on, have as many files open as so many
 * connections need.  swarm_new() does it, too. */
void swarm_raise_limit(unsigned n_agents);

struct swarm *swarm_new(struct ev_loop *loop, const struct swarm_config *config,
                        const struct swarm_events *events, void *aux);

/* Ends the sessions that are left.  Not from a callback. */
void swarm_free(struct swarm *swarm);

/* Agents first .. first + n - 1 begin to connect. */
void swarm_start(struct swarm *swarm, unsigned first, unsigned n);

/* They end, with no word to anybody. */
void swarm_end(struct swarm *swarm, unsigned first, unsigned n);

const char *swarm_name(unsigned agent, char name[16]); /* its node-id */
unsigned swarm_number(const char *name);               /* UINT_MAX: not one of these */

unsigned swarm_n_served(const struct swarm *swarm);
bool swarm_is_served(const struct swarm *swarm, unsigned agent);

uint32_t swarm_n_ports(const struct swarm *swarm);
uint32_t swarm_n_acked(const struct swarm *swarm);
uint32_t swarm_network(const struct swarm *swarm, uint32_t port);               /* its id */
bool swarm_is_member(const struct swarm *swarm, unsigned agent, uint32_t port); /* of that */
unsigned swarm_where(const struct swarm *swarm, uint32_t port);
bool swarm_is_acked(const struct swarm *swarm, uint32_t port);

/* Moves the port to another agent of its network.  False: not now, since it or one of the two
 * agents is not settled, or there is no other. */
bool swarm_move(struct swarm *swarm, uint32_t port, unsigned random);

/* Of all agents together. */
struct swarm_counts {
    uint64_t n_pages, n_changes; /* shown by feeds */
    uint64_t n_sessions;
    uint64_t n_ends; /* sessions that ended, and attempts that failed */
};
const struct swarm_counts *swarm_counts(const struct swarm *swarm);

#endif
