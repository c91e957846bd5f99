/* Ports that the configuration file names. */
#ifndef XTR_STATIC_H
#define XTR_STATIC_H

#include "ports.h"

struct xtr_config_port;

/* The wish for a port of the file; strings are lent from it, the EIDs go to 'eids'.  0, or
 * -EINVAL with a sentence in 'why' (EM_ADDR_WHY bytes). */
int xtr_static_wish(const struct xtr_config_port *port, struct em_eid eids[XTR_PORT_EIDS],
                    struct xtr_wish *ret_wish, char *why);

#endif
