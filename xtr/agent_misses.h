/* Networks with "fill: resolve": the agent's part of xtr/resolver.h.
 *
 *   tap --frames--> resolver --targets--> client --answers, pushes--> map-cache --> data plane
 *    ^                                                                                  |
 *    +------------- held frames, answers to ARP and ND, when that stands <--------------+
 *
 * Such a network is not subscribed to: the map-cache holds the ports that the resolver's targets
 * name, and nothing else.  What an earlier run has left in the data plane is asked for again,
 * and watched; only when every answer is there is the rest swept.  Without a server nothing
 * is, and what has been resolved goes on forwarding. */
#ifndef XTR_AGENT_MISSES_H
#define XTR_AGENT_MISSES_H

#include "agent_state.h"
#include "resolver.h"

void xtr_misses_new(struct xtr_agent *agent);
/* The data plane must still be open.  Fine where there are none. */
void xtr_misses_free(struct xtr_agent *agent);

/* A network that is open in the map-cache and has no subscription (any more). */
void xtr_misses_open(struct xtr_agent *agent, uint32_t network_id);

/* What it has resolved stays in the map-cache.  Fine for a network that is not open here. */
void xtr_misses_close(struct xtr_agent *agent, uint32_t network_id);

/* A port of this node has come into the network, or leaves it: without a feed the agent watches
 * its own ports, to hear of one that was taken over by another node.  Fine for other networks. */
void xtr_misses_attach(struct xtr_agent *agent, const struct xtr_port *port);
void xtr_misses_detach(struct xtr_agent *agent, const struct xtr_port *port);

/* After the data plane was told: opens miss ports, goes on adopting, and lets go of what is held
 * for answers that stand now. */
void xtr_misses_turn(struct xtr_agent *agent);

/* Each second: what is over, what is idle. */
void xtr_misses_tick(struct xtr_agent *agent);

/* The server's map has been taken in place of the one before: all is asked for again.  Unless it
 * is believed, what was known is kept (resolver.h).  (After a session the client sets the watches
 * again by itself.) */
void xtr_misses_restart(struct xtr_agent *agent, bool is_believed);

/* Has all that an earlier run left been asked for, answered, and put? */
bool xtr_misses_is_adopted(const struct xtr_agent *agent, uint32_t network_id);

struct xtr_resolver_counts xtr_misses_counts(const struct xtr_agent *agent);

/* Of a network whose miss port cannot be opened, one by one: begin with 0; 0 at the end. */
int xtr_misses_next_problem(const struct xtr_agent *agent, uint32_t *cursor,
                            uint32_t *ret_network_id);

#endif
