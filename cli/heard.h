/* What the map servers have heard of the agents: which revision each has installed.  An agent
 * tells that to one of them, so all are asked. */
#ifndef CTL_HEARD_H
#define CTL_HEARD_H

#include "command.h"

struct ctl_heard {
    struct ctl_heard_node {
        char *id;
        uint64_t installed;
    } * nodes;
    size_t n;
    size_t n_asked;   /* servers that answered */
    size_t n_servers; /* of the cluster, as they say */
};

/* Not while a connection is open. */
enum ctl_exit ctl_heard_ask(struct ctl *ctl, struct ctl_heard *ret_heard);
void ctl_heard_fini(struct ctl_heard *heard);

/* NULL: no server that answered has a session with it. */
const struct ctl_heard_node *ctl_heard_find(const struct ctl_heard *heard, const char *node_id);

#endif
