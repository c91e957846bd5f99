/* The networks of another map than the one that this agent knows, before any of it is taken.
 *
 * Numbers of networks mean nothing across maps, but the data plane and all that is known of
 * ports hang on them.  So such a map fits only where each network with local ports has the same
 * name, number and VNI there; then its feeds may follow those of the old one.  No I/O. */
#ifndef XTR_CANDIDATE_H
#define XTR_CANDIDATE_H

#include "mapcache.h"

struct xtr_candidate {
    struct xtr_candidate_network {
        uint32_t id;
        uint32_t segmentation_id;
        char *name;
    } * networks;
    size_t n, size;
    bool is_complete; /* all of them have been shown */
};

/* Also empties one. */
void xtr_candidate_fini(struct xtr_candidate *candidate);

/* A page of its network 0. */
void xtr_candidate_feed(struct xtr_candidate *candidate, const struct em_feed *page);

/* A network that keeps it from fitting, NULL: it fits.  Lent until the map-cache changes. */
const struct em_network *xtr_candidate_lacks(const struct xtr_candidate *candidate,
                                             const struct xtr_mapcache *cache);

#endif
