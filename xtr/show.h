/* The agent's state as messages of the protocol, for its control socket. */
#ifndef XTR_SHOW_H
#define XTR_SHOW_H

#include "agent.h"
#include "wire/msg.h"

/* All live in the arena and point into the agent; NULL: the arena is full. */
Eidmap__LocalPort *xtr_show_port(struct em_arena *arena, const struct xtr_port *port);
Eidmap__XtrStatusReply *xtr_show_status(struct em_arena *arena, struct xtr_agent *agent);

char *xtr_show_text(struct em_arena *arena, const char *text);

struct xtr_asked;
struct xtr_trace;

/* As xtr_trace(). */
Eidmap__XtrTraceReply *xtr_show_trace(struct em_arena *arena, struct xtr_agent *agent,
                                      const struct xtr_trace *what, const struct xtr_asked *asked);
/* Other nodes from '*at' on, which begins with 0. */
Eidmap__XtrNodesReply *xtr_show_nodes(struct em_arena *arena, const struct xtr_agent *agent,
                                      uint32_t *at);

/* Which part of the cache comes next. */
struct xtr_show_cursor {
    char *network;    /* name, or NULL for all; owned */
    bool has_records; /* networks and nodes have been shown */
    uint32_t network_at, node_at;
    struct xtr_cursor ports;
};

/* The next part, of about 'size' bytes; *ret_more: there is another.  NULL as above. */
Eidmap__XtrCacheReply *xtr_show_cache(struct em_arena *arena, const struct xtr_mapcache *cache,
                                      struct xtr_show_cursor *cursor, size_t size);

#endif
