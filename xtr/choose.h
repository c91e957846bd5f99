/* Which of a port's locations this node sends to: a pure function of the locations,
 * of what is known about the nodes they name, and of who we are. */
#ifndef XTR_CHOOSE_H
#define XTR_CHOOSE_H

#include "eidmap/model.h"

struct xtr_candidate {
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
size_t xtr_choose(const struct xtr_candidate *candidates, size_t n, struct xtr_choice *ret_choices);

/* What decided about candidate 'i': the first rule that put it aside, or XTR_WHY_CHOSEN. */
enum xtr_why {
    XTR_WHY_CHOSEN,
    XTR_WHY_OTHERS,      /* it is not shown to this node */
    XTR_WHY_PENDING,     /* it has not arrived */
    XTR_WHY_NEVER,       /* priority 255 */
    XTR_WHY_UNUSABLE,    /* no frame of ours can get there */
    XTR_WHY_WIDER,       /* another one is meant for this node more closely */
    XTR_WHY_UNREACHABLE, /* another one's node is alive */
    XTR_WHY_PRIORITY,    /* another one has a lower priority */
    XTR_WHY_WEIGHT,      /* 0, and others have one */
};
enum xtr_why xtr_choose_why(const struct xtr_candidate *candidates, size_t n, size_t i);

#endif
