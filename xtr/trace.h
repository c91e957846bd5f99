/* What would a packet to this EID meet on this host?  Step by step: the port that sends, what
 * the map-cache knows and chooses, what the data plane has made of it, and the way there.
 *
 * Each step says what is there, and, where the packet would be lost, what to do about it.
 * Nothing is changed. */
#ifndef XTR_TRACE_H
#define XTR_TRACE_H

#include "agent.h"

/* 'from' may be NULL: no port in particular.  'eid' is a MAC, a host address or a port-id. */
void xtr_trace(struct xtr_agent *agent, const char *network, const struct em_eid *eid,
               const struct em_port_id *from, dp_step_fn *visit, void *aux);

#endif
