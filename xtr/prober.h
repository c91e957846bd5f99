/* Probes the RLOCs of other nodes: sends what the machines of probe.h say, and tells when one
 * of them comes to another verdict. */
#ifndef XTR_PROBER_H
#define XTR_PROBER_H

#include "eidmap/addr.h"
#include "probe.h"

#include <stddef.h>

struct ev_loop;
struct xtr_prober;

/* The node's state is another; called from the loop.  'from' is the one before. */
typedef void xtr_prober_fn(void *aux, const char *node_id, const struct xtr_probe *probe,
                           enum xtr_probe_state from);

/* Sends from 'ip' to 'port' of the others.  0 or -errno. */
int xtr_prober_new(struct ev_loop *loop, const struct em_ip *ip, uint16_t port,
                   xtr_prober_fn *on_state, void *aux, struct xtr_prober **ret_prober);

/* NULL is fine. */
void xtr_prober_free(struct xtr_prober *prober);

/* Who is to be probed: all of them, between begin and end; who is not among them any more is
 * forgotten.  A node at another address is a new one.  put() returns the node's probe, lent
 * until the next end(). */
void xtr_prober_begin(struct xtr_prober *prober);
const struct xtr_probe *xtr_prober_put(struct xtr_prober *prober, const char *node_id,
                                       const struct em_ip *ip, uint32_t interval_ms);
void xtr_prober_end(struct xtr_prober *prober);

/* NULL: the node is not probed.  Lent until the next end(). */
const struct xtr_probe *xtr_prober_find(const struct xtr_prober *prober, const char *node_id);

/* Nodes that are probed, and those of them that are silent. */
size_t xtr_prober_n_probed(const struct xtr_prober *prober);
size_t xtr_prober_n_silent(const struct xtr_prober *prober);

#endif
