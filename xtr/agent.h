/* The xTR itself: brings together the map's feed, the local ports, the registrar and the
 * data plane, on one libev loop.
 *
 *   control, sources --> ports --> registrar --> client --> map server
 *                          |                       | feed
 *                          +------> map-cache <----+
 *                                       | operations, a bounded batch per turn
 *                                   data plane
 *
 * Any callback may change something; it then kicks the agent, which looks at everything
 * once before the loop sleeps again.
 *
 * Failures: no server, and all goes on as it is, with ports that wait; a feed that is
 * refused is asked for again each second; an operation that the data plane refuses is tried
 * again each second, and shown as a problem; what somebody takes out of the kernel is made
 * again, within seconds where the kernel tells of it and else by the next check, and the log
 * says what it was; a server that shows much less than was known, or has another database, is
 * doubted (guard.h); a state file that cannot be written holds no port back, but is the problem of
 * each until it can. */
#ifndef XTR_AGENT_H
#define XTR_AGENT_H

#include "base/list.h"
#include "config.h"
#include "dataplane/dataplane.h"
#include "mapcache.h"
#include "ports.h"
#include "probe.h"
#include "resolver.h"

struct ev_loop;
struct xtr_agent;
struct xtr_ask;
struct xtr_asked;
struct xtr_check;

/* Something happened to a port: its phase or its problem is another; 'port' NULL: it was
 * detached. */
typedef void xtr_agent_port_fn(void *aux, const struct em_port_id *id, const struct xtr_port *port);

/* The map has taken withdrawals: see xtr_agent_is_withdrawn(). */
typedef void xtr_agent_withdrawn_fn(void *aux);

/* Who wants to know; it may take itself off within its call. */
struct xtr_listener {
    struct em_list item;
    xtr_agent_port_fn *on_port;
    xtr_agent_withdrawn_fn *on_withdrawn; /* may be NULL */
    void *aux;
};

/* Adopts what stands in the data plane, restores the ports of an earlier run, attaches
 * those of the configuration, and begins to connect.  The configuration is lent until
 * xtr_agent_free().  On failure *ret_why is a sentence (free() it). */
int xtr_agent_new(struct ev_loop *loop, const struct xtr_config *config,
                  struct xtr_agent **ret_agent, char **ret_why);

/* The data plane goes on forwarding.  NULL is fine. */
void xtr_agent_free(struct xtr_agent *agent);

/* Takes the ports of the new configuration, and nothing else of it: those that are new or different
 * are attached, those that are gone are detached. */
void xtr_agent_reload(struct xtr_agent *agent, const struct xtr_config *config);

/* 'listener' is kept until its item is removed. */
void xtr_agent_listen(struct xtr_agent *agent, struct xtr_listener *listener);

/* As xtr_ports_check() and xtr_ports_attach(); *ret_port is lent until it is detached. */
int xtr_agent_attach(struct xtr_agent *agent, const struct xtr_wish *wish,
                     const struct xtr_port **ret_port, char *why);

/* EM_E_NOT_FOUND; EM_E_IN_USE: it is a child, and goes with its parent. */
int xtr_agent_detach(struct xtr_agent *agent, const struct em_port_id *id);

/* Does the map have a port that was detached here no more?  False while that is not known: there is
 * no map server, or it has not answered. */
bool xtr_agent_is_withdrawn(const struct xtr_agent *agent, const struct em_port_id *id);

/* Takes what a map server is doubted for (guard.h) after all: in the network of this name, "":
 * everywhere; where it is another map, all of it.  0 with how many ports, nodes and networks
 * went, EM_E_NOT_FOUND, or EM_E_CONFLICT: the map is another one, which is taken as a whole. */
int xtr_agent_accept(struct xtr_agent *agent, const char *network, uint64_t *ret_n);

struct xtr_agent_status {
    const char *node_id;
    const struct em_rloc *rlocs;
    size_t n_rlocs;
    const char *server;         /* "" when headless */
    uint64_t headless_ms;       /* for how long */
    uint64_t n_drift;           /* entries repaired since the start */
    uint64_t n_reconciled;      /* checks by the clock or after a disturbance, since the start */
    uint64_t reconciled_ms;     /* since the end of the last one, or since the start */
    uint64_t reconcile_took_ms; /* the last one; 0: none yet */
    uint64_t uptime_ms;
    uint64_t n_kept;           /* ports, nodes and networks that the map no longer shows */
    uint64_t n_passes;         /* full passes of a feed that were begun since the start */
    uint64_t saved_revision;   /* of the map-cache on disk; 0: none */
    size_t n_probed, n_silent; /* nodes */
    struct xtr_resolver_counts misses;
    const char *const *problems;
    size_t n_problems;
};

/* Lent until the next call. */
const struct xtr_agent_status *xtr_agent_status(struct xtr_agent *agent);
const struct xtr_ports *xtr_agent_ports(const struct xtr_agent *agent);
const struct xtr_mapcache *xtr_agent_cache(const struct xtr_agent *agent);
struct dataplane_stats xtr_agent_plane(const struct xtr_agent *agent);

/* How another node's RLOC answers; NULL: it is not probed.  Lent until the loop goes on. */
const struct xtr_probe *xtr_agent_probe(const struct xtr_agent *agent, const char *node_id);

/* Begins a check, as dp_class.check_start; what is repaired is counted.  The end is told once,
 * from the loop, and the check is gone then; unless it was cancelled (NULL is fine). */
typedef void xtr_agent_check_fn(void *aux, const struct dp_check_result *result);
struct xtr_check *xtr_agent_check_start(struct xtr_agent *agent, bool is_repair, dp_visit_fn *visit,
                                        xtr_agent_check_fn *on_end, void *aux);
void xtr_agent_check_cancel(struct xtr_check *check);

/* As dp_class.look. */
void xtr_agent_look(struct xtr_agent *agent, const struct dp_path *path, dp_step_fn *visit,
                    void *aux);

/* Asks the map server of the session who has the EID; what it says is told once, from the loop,
 * and the question is gone then; unless it was cancelled (NULL is fine).  NULL: nobody can be
 * asked, for the reason in *ret_why. */
typedef void xtr_agent_asked_fn(void *aux, const struct xtr_asked *asked);
struct xtr_ask *xtr_agent_ask(struct xtr_agent *agent, uint32_t network_id,
                              const struct em_eid *eid, xtr_agent_asked_fn *on_asked, void *aux,
                              const char **ret_why);
void xtr_agent_ask_cancel(struct xtr_ask *ask);

/* A watch of the configuration, one by one: false after the last. */
struct xtr_watch_view {
    const char *network;
    uint32_t network_id; /* 0: the map has no such network */
    uint32_t n_ports, max_ports;
    uint32_t n_devices;   /* that are listened to */
    uint64_t n_over;      /* sightings of guests beyond max_ports */
    uint64_t n_conflicts; /* addresses and MACs that were another's */
    uint64_t n_bad;       /* frames of guests: damaged or forbidden, */
    uint64_t n_dropped;   /* above the rate */
};
bool xtr_agent_watch_view(const struct xtr_agent *agent, size_t i, struct xtr_watch_view *ret_view);

/* Takes everything that an xTR made out of the data plane. */
int xtr_agent_cleanup(const struct xtr_config *config, char **ret_why);

#endif
