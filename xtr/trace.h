/* What would a packet to this EID meet on this host?  Step by step: the port that sends, what
 * the map-cache knows and chooses, what the data plane has made of it, and the way there.
 *
 * Each step says what is there, and, where the packet would be lost, what to do about it.
 * Nothing is changed. */
#ifndef XTR_TRACE_H
#define XTR_TRACE_H

#include "agent.h"

struct xtr_asked;

/* 'eid' is a MAC, a host address or a port-id. */
struct xtr_trace {
    const char *network;
    struct em_eid eid;
    const struct em_port_id *from; /* NULL: no port in particular */
};

/* 'asked' is what the map says of the EID (xtr_agent_ask). */
void xtr_trace(struct xtr_agent *agent, const struct xtr_trace *what, const struct xtr_asked *asked,
               dp_step_fn *visit, void *aux);

#endif
