/* What decided about a location: the first rule of the choice that put it aside, if any. */
#ifndef XTR_WHY_H
#define XTR_WHY_H

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

#endif
