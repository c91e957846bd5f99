/* What the agent keeps.  For its own files: agent.c has the session, the feeds and the turns,
 * agent_ports.c what comes and goes by request, agent_view.c what is shown. */
#ifndef XTR_AGENT_STATE_H
#define XTR_AGENT_STATE_H

#include "agent.h"
#include "base/list.h"
#include "pump.h"
#include "registrar.h"
#include "save.h"
#include "saver.h"

#include <ev.h>

#define XTR_MAX_PROBLEMS 16

/* The feed of a network that has local ports. */
struct xtr_sub {
    struct em_list item;
    struct xtr_agent *agent;
    uint32_t network_id;
    int64_t request; /* 0: refused or over; asked for again */
    bool has_end;    /* the snapshot has been shown to its end ... */
    uint64_t end;    /* ... at this position, */
    bool is_swept;   /* and what was adopted and is not in it has gone */
};

struct xtr_agent {
    struct ev_loop *loop;
    const struct xtr_config *config;
    xtr_agent_port_fn *on_port;
    void *aux;

    struct em_rloc rlocs[2];
    size_t n_rlocs;
    struct dataplane *plane;
    struct em_client *client;
    struct xtr_mapcache *cache;
    struct xtr_ports ports;
    struct xtr_registrar registrar;
    struct xtr_pump pump;
    struct em_list subs;
    int64_t zero;    /* the subscription of network 0 */
    int64_t request; /* of the registrar, under way */
    int64_t heartbeat;
    bool is_swept; /* the whole data plane has been */

    ev_prepare kick; /* never started, only fed */
    ev_timer more;   /* at once, while the data plane has more to do */
    ev_timer beat, tick;

    struct xtr_saver saver;
    bool is_unsaved; /* the state file is behind, apart from a write under way */
    int save_err;

    char *server, *down_why;
    uint8_t cluster_id[16]; /* of the last session; all zero: none yet */
    uint64_t boot_epoch, start_ms, down_ms, n_drift;
    uint64_t repair_ms; /* not before */
    char *problems[XTR_MAX_PROBLEMS];
    struct xtr_agent_status status;
};

/* agent.c: look at everything once before the loop sleeps; the state file is behind; the port
 * leaves the map-cache. */
void xtr_agent_kick(struct xtr_agent *agent);
void xtr_agent_save_soon(struct xtr_agent *agent);
void xtr_agent_leave_plane(struct xtr_agent *agent, struct xtr_port *port);

/* agent_ports.c: 'saved' may be NULL, then this is a reload and every port that is new is an
 * attach. */
void xtr_agent_attach_configured(struct xtr_agent *agent, const struct xtr_config *config,
                                 const struct xtr_saved *saved);
void xtr_agent_restore_attached(struct xtr_agent *agent, const struct xtr_saved *saved);

/* agent_view.c: for messages; the text in static storage. */
const char *xtr_agent_id_text(const struct em_port_id *id);
const char *xtr_agent_family(const struct xtr_agent *agent);

#endif
