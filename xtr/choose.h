/* Which of a port's locations this node sends to: a pure function of the locations,
 * of what is known about the nodes they name, and of who we are. */
#ifndef XTR_CHOOSE_H
#define XTR_CHOOSE_H

#include "eidmap/model.h"
#include "why.h"

struct xtr_contender {
    uint32_t node; /* any number that stands for the node */
    uint32_t segmentation_id;
    uint8_t priority;
    uint8_t weight;
    enum em_view view;
    bool is_pending;
    bool is_usable; /* another node, enabled, with an RLOC that we can send to */
    bool is_reachable;
};

struct xtr_choice {
    uint32_t node;
    uint32_t segmentation_id;
    uint8_t weight; /* 1 .. 255 */
};

/* Writes the chosen ones to 'ret_choices' (room for 'n'), ordered by node and
 * segmentation-id, and returns their number.  Those that cannot be used, are pending or
 * have priority 255 do not count; of the rest the most specific view wins, then the
 * reachable, then the lowest priority.  Weight 0 beside other weights takes no share;
 * where all are 0 the shares are equal. */
size_t xtr_choose(const struct xtr_contender *contenders, size_t n, struct xtr_choice *ret_choices);

/* What decided about contender 'i'. */
enum xtr_why xtr_choose_why(const struct xtr_contender *contenders, size_t n, size_t i);

/* Of those that a live migration has as its target and that can be used, the one that a copy of
 * each frame goes to; it takes no share of the traffic.  NULL: there is none. */
const struct xtr_contender *xtr_choose_pending(const struct xtr_contender *contenders, size_t n);

#endif
