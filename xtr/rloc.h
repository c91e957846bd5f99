/* This node's own underlay addresses: as configured, or found out. */
#ifndef XTR_RLOC_H
#define XTR_RLOC_H

#include "eidmap/addr.h"

struct xtr_config;

/* At most one address per family, IPv4 first.  0, or an error with a sentence that says
 * what to configure (free() it). */
int xtr_rloc_find(const struct xtr_config *config, struct em_ip ret_ips[2], size_t *ret_n,
                  char **ret_why);

#endif
