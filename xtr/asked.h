/* What a map server says of one EID, beside what the map-cache holds of it: for the trace.
 *
 * The map-cache has no room for revisions and epochs, and cannot know by itself that it is
 * behind.  So the trace asks, and this compares.  No I/O. */
#ifndef XTR_ASKED_H
#define XTR_ASKED_H

#include "found.h"

struct xtr_asked {
    bool is_answered;
    const char *why;            /* unless it is: a sentence */
    const struct em_port *port; /* who has it; NULL: nobody */
    uint64_t revision;          /* of the map that said so */
};

enum xtr_asked_verdict {
    XTR_ASKED_NOTHING,   /* no answer, which says nothing */
    XTR_ASKED_SAME,      /* the map-cache has what the map has */
    XTR_ASKED_ELSEWHERE, /* the port is attached here, the map has it at other nodes only */
    XTR_ASKED_OTHER,     /* the map has another port there */
    XTR_ASKED_DIFFERS,   /* the same port with other addresses or locations */
    XTR_ASKED_GONE,      /* the map has nobody */
    XTR_ASKED_KEPT,      /* the map has nobody, and is not believed (guard.h) */
};

enum xtr_asked_verdict xtr_asked_compare(const struct xtr_asked *asked,
                                         const struct xtr_found *found, const char *node_id);

#endif
