/* Tells when the host's addresses or routes have changed, once they have settled. */
#ifndef XTR_UNDERLAY_H
#define XTR_UNDERLAY_H

#include "eidmap/addr.h"

#include <ev.h>

struct dp_news;

struct xtr_underlay {
    struct ev_loop *loop;
    struct dp_news *news;
    void (*on_change)(void *aux);
    void *aux;
    ev_io io;
    ev_timer settle;
};

/* Addresses alone, or routes too.  0 or -errno, and then nothing is watched. */
int xtr_underlay_start(struct xtr_underlay *underlay, struct ev_loop *loop, bool has_routes,
                       void (*on_change)(void *aux), void *aux);

/* Fine for one that is zeroed. */
void xtr_underlay_stop(struct xtr_underlay *underlay);

/* Does this host hold the address?  True if that cannot be found out. */
bool xtr_underlay_has(const struct xtr_underlay *underlay, const struct em_ip *ip);

#endif
