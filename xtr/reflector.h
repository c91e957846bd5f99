/* Answers the probes of other nodes: a thread with one socket that knows nothing of anybody.
 *
 * A thread of its own, since an answer says that this host lives, and the agent's loop may be
 * busy with the kernel's tables for longer than others wait.  It sends one packet for one of
 * the same size, to where that came from, and no more than a fixed rate. */
#ifndef XTR_REFLECTOR_H
#define XTR_REFLECTOR_H

#include "eidmap/addr.h"

struct xtr_reflector;

/* 0 or -errno: the port is taken. */
int xtr_reflector_new(const struct em_ip *ip, uint16_t port, struct xtr_reflector **ret_reflector);

/* NULL is fine. */
void xtr_reflector_free(struct xtr_reflector *reflector);

#endif
