/* What the agent keeps.  For its own files: agent.c has its life, the turns and the state file,
 * agent_session.c the session and what the registrar asks, agent_feeds.c the feeds and their
 * networks, agent_place.c ports in the data plane and their conclusions, agent_ports.c what comes
 * and goes by request, agent_misses.c and agent_adopt.c networks that are resolved, agent_store.c
 * the map-cache on disk, agent_guard.c servers that are doubted, arrival.c listens for guests that
 * migrate, agent_probe.c which nodes answer, agent_trunk.c children of ports, agent_underlay.c the
 * host's own addresses, agent_check.c checks and repairs, agent_ask.c asks the map, agent_view.c
 * what is shown.  And in sources/, which nothing here includes: agent_watch.c what guests do on
 * watched bridges, agent_ovs.c what is plugged into Open vSwitch. */
#ifndef XTR_AGENT_STATE_H
#define XTR_AGENT_STATE_H

#include "agent.h"
#include "base/list.h"
#include "cachefile.h"
#include "candidate.h"
#include "prober.h"
#include "pump.h"
#include "reflector.h"
#include "registrar.h"
#include "save.h"
#include "base/saver.h"
#include "underlay.h"

#include <ev.h>

#define XTR_MAX_PROBLEMS 16

/* Where a feed is. */
struct xtr_place {
    uint64_t revision; /* to resume from; 0: from the beginning */
    bool is_in_pass;   /* a full pass has begun and not ended */
};

/* The feed of a network that has local ports. */
struct xtr_sub {
    struct em_list item;
    struct xtr_agent *agent;
    uint32_t network_id;
    struct xtr_place place;
    int64_t request;  /* 0: refused or over; asked for again */
    bool is_resolved; /* "fill: resolve": no feed, agent_misses.c fills the map-cache */
    bool has_end;     /* the snapshot has been shown to its end ... */
    uint64_t end;     /* ... at this position, */
    bool is_swept;    /* and what was adopted and is not in it has gone */
};

/* The map-cache on disk. */
struct xtr_store {
    struct em_saver saver;
    struct xtr_cachefile *file; /* of an earlier run, while its networks are being opened */
    const char *dir;
    bool has_news; /* the file is behind */
    uint64_t due_ms;
    uint64_t later_ms; /* it is behind in the feeds' positions alone, not: 0 */
    bool is_packing;
    struct xtr_cachepack pack;
    bool is_void;      /* what is being written cannot be read back as what is there now */
    uint32_t n_gone;   /* networks, when it was begun */
    uint64_t pack_us;  /* the loop's time for it */
    uint64_t revision; /* of the pack */
    int fd;            /* of the saver's thread while it is busy, and so is 'is_last' */
    bool is_last;
    uint64_t saved_revision;
    int err;
};

/* A server that serves another map than the one that is known here (agent_guard.c). */
struct xtr_other {
    bool is_met;
    uint8_t cluster_id[16];
    int64_t request;
    struct xtr_candidate networks;
};

struct xtr_limit {
    char *object, *text; /* owned */
};

/* Checks of the data plane that are under way, and what the last of our own has found. */
struct xtr_reconcile {
    ev_timer step; /* soon, while there is one */
    struct em_list checks;
    struct xtr_check *own;    /* that nobody has asked for; NULL: none */
    uint64_t begin_ms;        /* of our own, ... */
    uint64_t end_ms, took_ms; /* ... and of the last one */
    uint64_t not_before_ms;   /* the next after a disturbance */
    uint64_t n_found;         /* by our own, so far */
    uint64_t n_done;
    uint64_t n_blocked; /* entries whose place a stranger's holds */
    struct xtr_limit *limits;
    size_t n_limits;
};

struct xtr_watcher;
struct xtr_plugs;

struct xtr_agent {
    struct ev_loop *loop;
    const struct xtr_config *config;
    struct em_list listeners;

    struct em_rloc rlocs[2];
    size_t n_rlocs;
    struct xtr_underlay underlay;
    char *rloc_why; /* what is wrong with the RLOCs; NULL: nothing */
    struct dataplane *plane;
    struct em_client *client;
    struct xtr_mapcache *cache;
    struct xtr_ports ports;
    struct xtr_registrar registrar;
    struct xtr_pump pump;
    struct xtr_watcher *watcher; /* NULL: no network is watched */
    struct xtr_plugs *plugs;     /* of Open vSwitch; NULL: not asked for */
    struct em_list subs;
    struct em_list arrivals; /* arrival.c: an ear for each pending port */
    int64_t zero;            /* the subscription of network 0 */
    struct xtr_place zero_place;
    int64_t request; /* of the registrar, under way */
    int64_t heartbeat;
    bool is_beat_late; /* the last was due, and the one before it not answered yet */
    bool is_swept;     /* the whole data plane has been */
    bool is_trunk_due;

    ev_prepare kick; /* never started, only fed */
    ev_io news;      /* of the data plane */
    ev_timer more;   /* at once, while the data plane has more to do */
    ev_timer beat, tick;

    struct xtr_misses *misses;
    struct em_saver saver;
    bool is_unsaved; /* the state file is behind, apart from a write under way */
    int save_err;

    struct xtr_prober *prober;       /* NULL: its socket cannot be had, see probe_err */
    struct xtr_reflector *reflector; /* NULL: not yet, or that */
    struct em_ip probe_ip;           /* that both use */
    int probe_err;

    char *server, *down_why;
    uint8_t cluster_id[16]; /* of the map that is known; all zero: none yet */
    struct xtr_store store;
    struct xtr_other other;
    uint64_t ask_ms; /* another server is not asked before */
    uint64_t n_passes;
    uint64_t boot_epoch, start_ms, down_ms, n_drift;
    struct xtr_reconcile reconcile;
    char *problems[XTR_MAX_PROBLEMS];
    struct xtr_agent_status status;
};

/* agent.c: look at everything once before the loop sleeps; the state file is behind. */
void xtr_agent_kick(struct xtr_agent *agent);
void xtr_agent_save_soon(struct xtr_agent *agent);

/* agent_session.c: begins to connect; 'ret_why' as xtr_agent_new().  The end, also where that has
 * failed or was not tried.  Sends what is due, true if there was anything. */
int xtr_agent_connect(struct xtr_agent *agent, char **ret_why);
void xtr_agent_disconnect(struct xtr_agent *agent);
bool xtr_agent_run_registrar(struct xtr_agent *agent);

/* agent_place.c: puts every port that is awake where it belongs; concludes how far it is.  It
 * leaves the map-cache.  Something happened to it, see xtr_agent_port_fn. */
void xtr_agent_place_ports(struct xtr_agent *agent);
void xtr_agent_update_ports(struct xtr_agent *agent);
void xtr_agent_leave_plane(struct xtr_agent *agent, struct xtr_port *port);
void xtr_agent_tell(struct xtr_agent *agent, const struct em_port_id *id,
                    const struct xtr_port *port);

/* agent_ports.c: 'saved' may be NULL, then this is a reload and every port that is new is an
 * attach. */
void xtr_agent_attach_configured(struct xtr_agent *agent, const struct xtr_config *config,
                                 const struct xtr_saved *saved);
void xtr_agent_restore_attached(struct xtr_agent *agent, const struct xtr_saved *saved);

/* agent_feeds.c: asks for a feed, for that of network 0, for all of them, from their places on;
 * for one from its beginning; takes that back.  What cannot be asked for has no request. */
void xtr_agent_subscribe(struct xtr_agent *agent, struct xtr_sub *sub);
void xtr_agent_subscribe_zero(struct xtr_agent *agent);
void xtr_agent_subscribe_all(struct xtr_agent *agent);
void xtr_agent_subscribe_again(struct xtr_agent *agent, uint32_t network_id);
void xtr_agent_unsubscribe(struct xtr_agent *agent, int64_t *request);
void xtr_agent_unsubscribe_all(struct xtr_agent *agent);
/* Follows the network's feed and has it made in the data plane, if that is not so already; lets go
 * of those that nobody here is in any more. */
void xtr_agent_open_network(struct xtr_agent *agent, uint32_t network_id, uint32_t segmentation_id);
void xtr_agent_mind_networks(struct xtr_agent *agent);
/* The map's record of a port; of one that is attached here it may say that it has moved away, or
 * arrived. */
void xtr_agent_port_seen(struct xtr_agent *agent, const struct em_port *seen);

/* agent_plane.c: the data plane as configured, and the map-cache for what it can do; the own RLOCs.
 */
int xtr_agent_open_plane(struct xtr_agent *agent, char **ret_why);
void xtr_agent_close_plane(struct xtr_agent *agent);

/* agent_store.c: reads the file of an earlier run, network 0 at once; what it has of a network
 * that has just been opened, and returns where its feed goes on; all networks are open. */
void xtr_store_init(struct xtr_agent *agent);
void xtr_store_open(struct xtr_agent *agent);
struct xtr_place xtr_store_recall(struct xtr_agent *agent, uint32_t network_id);
void xtr_store_recalled(struct xtr_agent *agent);
/* The map-cache has changed; only its place in the feeds has, which is worth a write after some
 * minutes; so much that what is being written is of no use. */
void xtr_store_news(struct xtr_agent *agent);
void xtr_store_later(struct xtr_agent *agent);
void xtr_store_void(struct xtr_agent *agent);
/* Writes a piece, when it is time; the next when the disk has that. */
void xtr_store_turn(struct xtr_agent *agent);
/* Writes all that is not written yet. */
void xtr_store_close(struct xtr_agent *agent);

/* agent_guard.c: a session has begun: is its server's map ours?  Before a page is put into the
 * map-cache: true if it ends a full pass; and what to say then. */
void xtr_agent_meet(struct xtr_agent *agent, const struct em_welcome *welcome);
bool xtr_agent_note_page(struct xtr_agent *agent, struct xtr_place *place,
                         const struct em_feed *page);
void xtr_agent_tell_verdict(struct xtr_agent *agent, uint32_t network_id);
/* Once in a while. */
void xtr_agent_mind_doubts(struct xtr_agent *agent);
/* The i-th sentence about what is doubted, for the caller to free; NULL: there are no more. */
char *xtr_agent_doubt_text(const struct xtr_agent *agent, size_t i);

/* agent_check.c: looks each second whether a check is due. */
void xtr_agent_reconcile_init(struct xtr_agent *agent);
void xtr_agent_reconcile_fini(struct xtr_agent *agent);
void xtr_agent_reconcile_tick(struct xtr_agent *agent);

/* agent_underlay.c: from now on the RLOCs follow the host's addresses. */
void xtr_agent_watch_underlay(struct xtr_agent *agent);

/* agent_probe.c: once a second; and the end. */
void xtr_agent_probe_tick(struct xtr_agent *agent);
void xtr_agent_probe_close(struct xtr_agent *agent);

/* sources/agent_watch.c: the bridge watch, if the configuration asks for it. */
int xtr_agent_watch_new(struct xtr_agent *agent, char **ret_why);
void xtr_agent_watch_free(struct xtr_agent *agent);
void xtr_agent_watch_turn(struct xtr_agent *agent);
bool xtr_agent_is_watched(const struct xtr_agent *agent, uint32_t network_id);
/* Automatic ports go that are in the way of what another source wishes; true if any did. */
bool xtr_agent_watch_yield(struct xtr_agent *agent, const struct xtr_wish *wish);
/* Looks at an answer before the registrar does.  True: the port *ret_id goes on under another
 * name, and is to be detached afterwards. */
bool xtr_agent_watch_conflict(struct xtr_agent *agent, const struct em_reply *reply,
                              struct em_port_id *ret_id);
void xtr_agent_watch_refused(struct xtr_agent *agent, const struct xtr_port *port);
/* Is an automatic port of an earlier run still one?  Then, when it has been attached: */
bool xtr_agent_watch_restore(struct xtr_agent *agent, const struct xtr_wish *wish);
void xtr_agent_watch_restored(struct xtr_agent *agent, const struct xtr_port *port);

/* agent_trunk.c: children come and go as their parents and the map say.  A turn looks at them after
 * anything that may matter, 'is_trunk_due', and once a second. */
void xtr_agent_trunk_turn(struct xtr_agent *agent);
/* The map shows a local port, a child or not. */
void xtr_agent_trunk_seen(struct xtr_agent *agent, struct xtr_port *port,
                          const struct em_port *record);
/* After all other ports of an earlier run. */
void xtr_agent_trunk_restore(struct xtr_agent *agent, const struct xtr_saved *saved);

/* sources/agent_ovs.c: interfaces of Open vSwitch as ports, if the configuration asks for it. */
void xtr_agent_ovs_new(struct xtr_agent *agent);
void xtr_agent_ovs_free(struct xtr_agent *agent);
void xtr_agent_ovs_turn(struct xtr_agent *agent);
/* The map shows a port. */
void xtr_agent_ovs_seen(struct xtr_agent *agent, const struct em_port *port);
/* A port of that source, left by an earlier run, has been attached; false: the source is off. */
bool xtr_agent_ovs_restore(const struct xtr_agent *agent);
void xtr_agent_ovs_restored(struct xtr_agent *agent, const struct xtr_port *port);
/* The i-th sentence about what is wrong there, for the caller to free; NULL: there are no more. */
char *xtr_agent_ovs_problem(const struct xtr_agent *agent, size_t i);

/* arrival.c: listens on the devices of the ports that are pending now, and of no others. */
void xtr_arrivals_update(struct xtr_agent *agent);
void xtr_arrivals_close(struct xtr_agent *agent);

/* agent_view.c: for messages; the text in static storage.  Warns of ports of the network that
 * there is no room for, if there are any. */
const char *xtr_agent_id_text(const struct em_port_id *id);
const char *xtr_agent_reach(const struct xtr_agent *agent);
void xtr_agent_tell_left_out(const struct xtr_agent *agent, uint32_t network_id);

#endif
