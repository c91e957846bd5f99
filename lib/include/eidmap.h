/* libeidmap: ask and tell the eidmap map servers where endpoints are.
 *
 * A client keeps one connection to one of a list of servers, says Hello, and sends
 * requests on it; answers come as callbacks from the caller's libev loop.  When the
 * connection breaks it goes to the next server with exponential backoff and full
 * jitter (0.2 .. 30 s), and sends again every request that has no answer yet: servers
 * know one that was done already, and do it once.  Subscriptions resume from their last
 * revision, watches are set again.
 *
 * A request that is refused because a server is busy, or has no leader for the moment, is sent
 * again after a pause until its time is over; the caller hears of it only when that is so.
 * Writes keep their order: those made later wait while one is tried again.  If a later one was
 * on its way already when the refusal came, the first is not sent behind it: its caller gets
 * EM_E_BUSY or EM_E_NOT_LEADER, nothing of it was done, and what to do depends on what the later
 * one says.  Who waits for each write's answer before making the next never sees that, nor this:
 * of writes that were under way together when a connection broke, one that was refused behind
 * which another was done is answered as done when it is sent again.
 *
 * Threads: a client belongs to the thread that runs its loop.  No call here blocks,
 * but for em_call_*(), which run a private loop until the answer is there.
 *
 * Errors are negative: -errno or enum em_error. */
#ifndef EIDMAP_H
#define EIDMAP_H

#include "eidmap/addr.h"
#include "eidmap/error.h"
#include "eidmap/model.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ev_loop;
struct em_client;

/* Where map servers are and who we are.  Strings are copied. */
struct em_client_config {
    /* "ADDRESS:PORT" or "tls://ADDRESS:PORT", "unix:PATH", and "tcp://127.0.0.1:PORT" (no TLS,
     * loopback only).  Tried in this order, from a random one on. */
    const char *const *servers;
    size_t n_servers;
    const char *ca_file; /* PEM; the three are needed for tls:// servers */
    const char *cert_file;
    const char *key_file;
    const char *software; /* "xtr 0.1.0", shown by mapctl; NULL: "libeidmap VERSION" */
    /* For an xTR; NULL for every other client. */
    const char *node_id;
    uint64_t boot_epoch;
    const struct em_rloc *rlocs;
    size_t n_rlocs;
    uint32_t timeout_ms; /* per request before it is given up with EM_E_TIMEOUT; 0: never */
    /* Hold a second connection to another of several servers, ready for when the session is
     * lost: its successor then costs one round trip and no handshake.  For what runs for long;
     * each server sees twice the connections. */
    bool is_warm;
};

/* What the server said when the session began. */
struct em_welcome {
    const char *server;    /* from the list */
    const char *server_id;
    uint8_t cluster_id[16];
    uint64_t revision;
    uint32_t lease_ms;
};

/* Each may be NULL.  A callback may call any function of the client, em_client_free()
 * too. */
struct em_client_events {
    /* A session stands.  Requests that waited are sent after this returns. */
    void (*on_up)(void *aux, const struct em_welcome *welcome);
    /* The session has ended, or an attempt failed; 'why' is a sentence.  The client goes
     * on trying unless 'err' is EM_E_DENIED or EM_E_SUPERSEDED: it then tries only every
     * 30 s. */
    void (*on_down)(void *aux, int err, const char *why);
};

/* 0 with a client, or an error with a sentence in *ret_why (free() it): bad address,
 * unreadable certificate.  Connecting begins at once, on the loop. */
int em_client_new(struct ev_loop *loop, const struct em_client_config *config,
                  const struct em_client_events *events, void *aux, struct em_client **ret_client,
                  char **ret_why);

/* Closes; requests without an answer are dropped without a callback.  NULL is fine. */
void em_client_free(struct em_client *client);

bool em_client_is_up(const struct em_client *client);

/* The node's RLOCs are others from now on: it says so in a new session, which begins at once,
 * since connections from an address that is gone are dead without knowing it.  At most 8. */
void em_client_set_rlocs(struct em_client *client, const struct em_rloc *rlocs, size_t n);

/* Leaves the current server for another, if there is one. */
void em_client_fail_over(struct em_client *client);

/* An answer.  'err' is 0 or why not; then 'message' is a sentence, 'field' the offending
 * one ("claims[3].port.eids[0]"), 'record' the index of the first refused record, and
 * 'current' the port as it is (EM_E_MOVED) or the holder (EM_E_CONFLICT), or NULL.
 * All is lent for the call. */
struct em_reply {
    int err;
    const char *message;
    const char *field;
    uint32_t record;
    const struct em_port *current;
    uint64_t revision; /* of the map after the request, where err is 0 */
    /* What the request gives: */
    const uint64_t *epochs; /* register: one per claim */
    size_t n_epochs;
    uint32_t n_withdrawn;           /* announce_end */
    const struct em_answer *answers; /* resolve, and what a watch pushes */
    size_t n_answers;
    const struct em_node *nodes; /* resolve with nodes */
    size_t n_nodes;
    const struct em_network *network; /* put_network */
    const struct em_node *node;       /* put_node */
    const struct em_status *status;
};

typedef void em_reply_fn(void *aux, const struct em_reply *reply);

/* What an operator does about a port's live migration; the values are those of MigrationStep
 * in the protocol.  A claim with a step looks at no more of its port than the id, the network,
 * and one location (prepare; activate and cancel need none).
 *   prepare   adds the location as the pending one: agents send a copy of each frame there,
 *             and traffic still to where the port is.  EM_E_NOT_FOUND: no such port or node,
 *             or it is nowhere; EM_E_EXISTS: it is there; EM_E_IN_USE: another is pending
 *   activate  the pending location is the port's only one.  EM_E_NOT_FOUND: there is none
 *   cancel    takes the pending location away; nothing if there is none
 * An attach of the port, by whatever agent, ends the migration as well: it is there then. */
enum em_migration {
    EM_MIGRATION_NONE = 0, /* an ordinary claim */
    EM_MIGRATION_PREPARE = 1,
    EM_MIGRATION_ACTIVATE = 2,
    EM_MIGRATION_CANCEL = 3,
};

/* What an agent says of one port. */
struct em_claim {
    struct em_port port;         /* network_id 0: by the call's network name */
    bool is_attach;              /* fresh local evidence: takes the port over */
    uint64_t epoch;              /* that this node held; 0: none */
    enum em_migration migration; /* operators only */
    uint32_t pending_ms; /* prepare: the server cancels after this; 0: ten minutes, at most a day */
};

struct em_port_ref {
    struct em_port_id id;
    uint64_t epoch; /* 0: whatever it is */
};

/* Requests.  Each gives a request id > 0 for em_client_cancel(), or an error at once
 * when it cannot be encoded (EM_E_LIMIT: over 1 MiB or over 4096 records, 1024 EIDs of a
 * resolve) or 16 MiB wait for answers already (EM_E_BUSY).  'on_reply' (NULL: no interest)
 * is called once, always from the loop. */
int64_t em_client_register(struct em_client *client, const struct em_claim *claims, size_t n,
                           const char *network, em_reply_fn *on_reply, void *aux);
/* 'node_id' is for operators: whose location; "" withdraws the port itself.  Agents: NULL. */
int64_t em_client_withdraw(struct em_client *client, const struct em_port_ref *ports, size_t n,
                           const char *node_id, em_reply_fn *on_reply, void *aux);
/* An announce belongs to one session: its end answers EM_E_CLOSED when the session in which
 * it began is gone, and the announce has to begin anew (in on_up, say). */
int64_t em_client_announce_begin(struct em_client *client, uint64_t sync_id);
int64_t em_client_announce_end(struct em_client *client, uint64_t sync_id, em_reply_fn *on_reply,
                               void *aux);
/* So does a heartbeat: EM_E_CLOSED, at once or as its answer, when there is none. */
int64_t em_client_heartbeat(struct em_client *client, uint64_t installed_revision,
                            em_reply_fn *on_reply, void *aux);

#define EM_RESOLVE_WATCH      1u /* 'on_reply' is called again for each change, until cancelled */
#define EM_RESOLVE_NODES      2u
#define EM_RESOLVE_CONSISTENT 4u

/* 'network' is a name; NULL: 'network_id'. */
int64_t em_client_resolve(struct em_client *client, uint32_t network_id, const char *network,
                          const struct em_eid *eids, size_t n, unsigned flags,
                          em_reply_fn *on_reply, void *aux);
int64_t em_client_status(struct em_client *client, bool with_sessions, em_reply_fn *on_reply,
                         void *aux);
int64_t em_client_put_network(struct em_client *client, const struct em_network *network,
                              em_reply_fn *on_reply, void *aux);
int64_t em_client_remove_network(struct em_client *client, const char *name, em_reply_fn *on_reply,
                                 void *aux);
int64_t em_client_put_node(struct em_client *client, const struct em_node *node,
                           em_reply_fn *on_reply, void *aux);
int64_t em_client_remove_node(struct em_client *client, const char *node_id, em_reply_fn *on_reply,
                              void *aux);

/* The request's callback is not called any more; a watch or subscription ends. */
void em_client_cancel(struct em_client *client, int64_t id);

/* A page of the feed of one network. */
struct em_feed {
    int err;             /* not 0: the subscription was refused and is over */
    const char *message; /* sentence for 'err' */
    uint32_t network_id;
    uint64_t revision; /* cursor after this page */
    const struct em_change *changes;
    size_t n_changes;
    bool is_start_over; /* a full pass begins: what it does not mention by its end is gone */
    bool is_complete;   /* all up to 'revision' has been shown */
    bool is_removed;    /* the network is gone, the subscription is over */
};

typedef void em_feed_fn(void *aux, const struct em_feed *page);

/* Network 0 carries nodes and networks.  'cursor' is the last revision seen, 0 for the
 * whole network.  The subscription survives reconnects.  'network': a name, or NULL.
 * EM_E_EXISTS: this client is subscribed already;  -EINVAL: no such name can be. */
int64_t em_client_subscribe(struct em_client *client, uint32_t network_id, const char *network,
                            uint64_t cursor, em_feed_fn *on_feed, void *aux);

struct em_session {
    const char *name;
    const char *role; /* "node", "operator", "server" */
    const char *peer;
    const char *software;
    uint64_t connected_ms; /* ms since 1970 */
    uint64_t boot_epoch;
    uint64_t installed_revision;
    uint32_t n_subscriptions;
    uint32_t n_watches;
};

/* The values are those of MemberRole in the protocol. */
enum em_member_role {
    EM_MEMBER_NONE = 0,
    EM_MEMBER_STANDBY = 1, /* has the map and serves clients, has no vote */
    EM_MEMBER_VOTER = 2,
    EM_MEMBER_SPARE = 3, /* on its way out */
};

/* One map server of the cluster, as the one that answers sees it. */
struct em_member {
    uint64_t replica; /* of its data directory */
    const char *name;
    const char *address; /* where other map servers reach it */
    const char *software;
    enum em_member_role role;
    bool is_leader;
    bool is_self;
    bool is_connected;  /* heard within the last seconds */
    bool is_installing; /* it is being sent the whole map */
    uint64_t match;     /* log index known to be on it; the leader knows, others say 0 */
    uint64_t applied;   /* log index, as it last said */
    uint64_t revision;  /* of its map, as it last said */
    uint64_t heard_ms;  /* ago */
};

struct em_status {
    const char *server_id;
    const char *software;
    uint8_t cluster_id[16];
    uint64_t revision;
    uint64_t horizon;
    uint64_t uptime_ms;
    uint64_t n_networks, n_nodes, n_ports, n_eids;
    uint64_t store_used, store_size, disk_free; /* bytes */
    uint64_t n_requests, n_refused;
    uint32_t n_sessions;
    const struct em_session *sessions;
    size_t n_listed;
    const char *const *problems;
    size_t n_problems;
    const char *raft_role; /* "leader", "follower", "candidate", "joining" */
    const char *leader;    /* name; "": none is known */
    uint64_t term;
    uint64_t commit, applied, last_index; /* log indexes, at this server */
    uint64_t log_size;                    /* bytes of the log on disk */
    const struct em_member *members;
    size_t n_members;
};

/* The small blocking form, for tools.  A call is a client with a loop of its own. */
struct em_call;

/* As em_client_new(), and waits up to config->timeout_ms (0: 5 s) for a session, or until each
 * server has failed once. */
int em_call_open(const struct em_client_config *config, struct em_call **ret_call, char **ret_why);
/* Not from a callback.  NULL is fine. */
void em_call_close(struct em_call *call);

/* The client to send requests on, and its loop. */
struct em_client *em_call_client(struct em_call *call);
struct ev_loop *em_call_loop(struct em_call *call);

/* Runs the loop until em_call_done() is called from a callback.  0, or EM_E_TIMEOUT when
 * 'timeout_ms' (0: the configuration's, -1: for ever) has passed. */
int em_call_wait(struct em_call *call, int timeout_ms);
void em_call_done(struct em_call *call);

#ifdef __cplusplus
}
#endif

#endif
