/* Which of a port's locations this node sends to: a pure function of the locations,
 * of what is known about the nodes they name, and of who we are. */
#ifndef XTR_CHOOSE_H
#define XTR_CHOOSE_H

#include "eidmap/model.h"

/* Whom a location is shown to, as seen from this node; the greatest wins. */
enum xtr_view { XTR_VIEW_OTHERS, XTR_VIEW_EVERYONE, XTR_VIEW_LABEL, XTR_VIEW_NODE };

struct xtr_candidate {
    uint32_t node; /* any number that stands for the node */
    uint32_t segmentation_id;
    uint8_t priority;
    uint8_t weight;
    enum xtr_view view;
    bool is_pending;
    bool is_usable; /* another node, enabled, with an RLOC that we can send to */
    bool is_reachable;
};

struct xtr_choice {
    uint32_t node;
    uint32_t segmentation_id;
    uint8_t weight; /* 1 .. 255 */
};

/* Of 'location', for the node 'node_id' with these labels. */
enum xtr_view xtr_choose_view(const struct em_location *location, const char *node_id,
                              const struct em_label *labels, size_t n_labels);

/* Writes the chosen ones to 'ret_choices' (room for 'n'), ordered by node and
 * segmentation-id, and returns their number.  Those that cannot be used, are pending or
 * have priority 255 do not count; of the rest the most specific view wins, then the
 * reachable, then the lowest priority.  Weight 0 beside other weights takes no share;
 * where all are 0 the shares are equal. */
size_t xtr_choose(const struct xtr_candidate *candidates, size_t n, struct xtr_choice *ret_choices);

#endif
