/* What the agent keeps of networks that are resolved.  For its two files: agent_misses.c asks on
 * misses, agent_adopt.c asks for what is there before the first. */
#ifndef XTR_MISSES_STATE_H
#define XTR_MISSES_STATE_H

#include "agent_misses.h"
#include "misstap.h"

/* Addresses first: their answers bring the MACs, so few of these are left to ask for. */
enum xtr_adoption { ADOPT_BEGIN, ADOPT_ADDRESSES, ADOPT_MACS, ADOPT_END };

struct xtr_miss_net {
    struct em_list item;
    struct xtr_agent *agent;
    uint32_t network_id;
    struct xtr_misstap tap;
    bool has_tap;
    uint64_t stands_at;  /* position; until then it may be an older one that has still to leave */
    int err;             /* why it has no tap */
    struct em_list owns; /* struct own */
    enum xtr_adoption adoption;
    bool has_failed;   /* a question could not be put: all are put again */
    uint64_t begin_ms; /* not before */
    uint64_t position; /* that the data plane has to reach before the next step */
    struct em_eid *eids;
    size_t n_eids, eids_size, eid_at;
    unsigned n_asked; /* of these, without an answer */
};

struct xtr_misses {
    struct xtr_agent *agent;
    struct xtr_resolver resolver;
    struct em_list nets;
};

/* agent_misses.c: NULL, it is not open here; the port leaves the map-cache; asks the map for the
 * target and watches it: false, the client takes no more, and the target is gone. */
struct xtr_miss_net *xtr_misses_find(const struct xtr_agent *agent, uint32_t network_id);
void xtr_misses_remove_port(struct xtr_agent *agent, uint32_t network_id,
                            const struct em_port_id *id);
bool xtr_misses_ask(struct xtr_target *target);

/* agent_adopt.c: the next step, as far as it can be done now. */
void xtr_misses_adopt(struct xtr_miss_net *net);

#endif
