/* The ports of this node, found by port-id, by address and by device. */
#ifndef XTR_PORTS_H
#define XTR_PORTS_H

#include "groups.h"
#include "port.h"

struct xtr_ports {
    struct xtr_port **items; /* NULL: a free slot */
    uint32_t n_items;
    uint32_t n_used;
    uint32_t n_full; /* slots at the beginning, none of which is free */
    struct em_index by_id;
    struct em_index by_eid;      /* in a network */
    struct xtr_groups by_device; /* children, too */
    struct em_list awake;        /* that have to be looked at: see xtr_ports_wake() */
    uint32_t n_children;
};

void xtr_ports_init(struct xtr_ports *ports);
void xtr_ports_fini(struct xtr_ports *ports);

/* 0, or -EINVAL, or -EBUSY when the device or a MAC is another port's here; then 'why'
 * (EM_ADDR_WHY bytes) is a sentence. */
int xtr_ports_check(const struct xtr_ports *ports, const struct xtr_wish *wish, char *why);

/* A new port, or the old one changed; the wish has been checked.  Fresh evidence: it will
 * be registered as an attach.  *ret_is_changed: false if the very same port is there
 * already and has not been refused, then nothing happens. */
struct xtr_port *xtr_ports_attach(struct xtr_ports *ports, const struct xtr_wish *wish,
                                  uint64_t now_us, bool *ret_is_changed);

/* NULL if there is none. */
struct xtr_port *xtr_ports_find(const struct xtr_ports *ports, const struct em_port_id *id);
void xtr_ports_remove(struct xtr_ports *ports, struct xtr_port *port);

/* A port other than 'except' (or NULL) that has this EID in the network; NULL: there is none. */
struct xtr_port *xtr_ports_holder(const struct xtr_ports *ports, const char *network,
                                  const struct em_eid *eid, const struct xtr_port *except);
/* The first on the device, and the next behind one of those; NULL: there is none. */
struct xtr_port *xtr_ports_on(const struct xtr_ports *ports, const char *device);
struct xtr_port *xtr_ports_next_on(const struct xtr_ports *ports, const struct xtr_port *port);

/* A port is awake while there is something to be done for it or to be concluded: from the time when
 * a fact of its own changes until a turn has looked at it ('is_looked_at') and nothing is under
 * way.  Facts of all wake all.  So a turn looks at the few that are awake, and not at the many that
 * are installed and stay so. */
void xtr_ports_wake(struct xtr_ports *ports);
void xtr_ports_rest(struct xtr_ports *ports);
#define XTR_FOREACH_AWAKE(port, ports) EM_FOREACH (port, &(ports)->awake, struct xtr_port, awake)

/* The i-th slot, NULL if it is free. */
static inline struct xtr_port *xtr_ports_at(const struct xtr_ports *ports, uint32_t i)
{
    return ports->items[i];
}

/* The state file is being written with the ports as they are; the write has ended. */
void xtr_ports_saving(struct xtr_ports *ports);
void xtr_ports_saved(struct xtr_ports *ports);

#endif
