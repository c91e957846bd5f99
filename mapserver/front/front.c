#include "front/front.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "front/context.h"
#include "front/copies.h"
#include "front/keeper.h"
#include "front/session.h"
#include "front/worker.h"
#include "net/listener.h"
#include "net/tls.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TICK_S           0.25
#define CATCH_UP_MS      3000 /* some elections */
#define REFRESHES        10   /* of a quiet feed's position while deletions are kept */
#define LEADERLESS_MS    3000 /* an agent's session without a leader ends */
#define CLUSTER_PROBLEMS 8
#define PROBLEMS_MAX     (CLUSTER_PROBLEMS + 8)
#define LOCAL_EXTRA      16 /* connections beyond the limit, by the unix socket */
#define STORE_WARN       80 /* per cent of the map's limit */
#define DISK_WARN        (256ull << 20)
#define CERT_WARN_S      (14 * 86400)

/* ---- accepting ---------------------------------------------------------------------- */

/* Where the limits keep everybody else waiting, an operator on the unix socket still gets in
 * to see why. */
static bool is_full(const struct ms_front *front, const struct em_listener *listener)
{
    switch (em_listener_address(listener)->transport) {
    case EM_UNIX:
        return front->n_connections >= front->max_connections + LOCAL_EXTRA;
    case EM_TLS:
        if (front->n_handshakes >= front->max_handshakes)
            return true;
        break;
    case EM_TCP:
        break;
    }
    return front->n_connections >= front->max_connections;
}

static void pause_what_is_full(struct ms_front *front)
{
    for (size_t i = 0; i < front->n_listeners; i++) {
        if (is_full(front, front->listeners[i]))
            em_listener_pause(front->listeners[i]);
        else
            em_listener_resume(front->listeners[i]);
    }
}

static void on_accept(void *aux, const struct em_address *address, int fd_take)
{
    struct ms_front *front = aux;
    struct ms_worker *worker = front->workers[front->next_worker++ % front->n_workers];
    struct ms_socket_mail *mail = em_calloc(1, sizeof(*mail));
    mail->mail.kind = MS_MAIL_SOCKET;
    mail->fd = fd_take;
    mail->tls = address->transport == EM_TLS ? em_tls_ref(front->tls) : NULL;
    front->n_handshakes++;
    front->n_connections++;
    if (front->n_connections >= front->max_connections)
        em_warn_limited("%u connections, the limit: new ones wait (limits.connections)",
                        front->n_connections);
    pause_what_is_full(front);
    ms_worker_post(worker, &mail->mail);
}

static void on_wake(struct ev_loop *loop, ev_async *w, int revents)
{
    pause_what_is_full(w->data);
}

/* The limit is read after the count has fallen: one that a reload lowers meanwhile is seen
 * here, or the main thread sees the new count. */
static void gone(struct ms_front *front, atomic_uint *count, const atomic_uint *limit)
{
    unsigned before = atomic_fetch_sub(count, 1);
    assert(before);
    if (before >= *limit)
        ev_async_send(front->loop, &front->wake);
}

void ms_front_handshake_done(struct ms_front *front)
{
    gone(front, &front->n_handshakes, &front->max_handshakes);
}

void ms_front_connection_done(struct ms_front *front)
{
    gone(front, &front->n_connections, &front->max_connections);
}

void ms_front_node_heard(struct ms_front *front, const char *node_id, uint32_t lease_ms)
{
    ms_core_heard(front->core, node_id, lease_ms);
}

void ms_front_close_node(struct ms_front *front, const char *node_id)
{
    struct ms_member *member = ms_registry_find(front->registry, node_id);
    if (member)
        ms_session_post_close(member, "no heartbeat came within the lease");
}

/* ---- the core's events, on its thread ------------------------------------------------ */

static void on_commit(void *aux, uint64_t revision, const uint32_t *networks, size_t n)
{
    struct ms_front *front = aux;
    uint64_t since = front->revision;
    front->revision = revision;
    for (unsigned i = 0; i < front->n_workers && n; i++) {
        struct ms_news_mail *mail = em_malloc(sizeof(*mail) + n * sizeof(*networks));
        mail->mail.kind = MS_MAIL_NEWS;
        mail->since = since;
        mail->n_networks = n;
        memcpy(mail->networks, networks, n * sizeof(*networks));
        ms_worker_post(front->workers[i], &mail->mail);
    }
}

static void on_settled(void *aux)
{
    struct ms_front *front = aux;
    for (unsigned i = 0; i < front->n_workers; i++)
        ms_worker_wake(front->workers[i]);
}

static void on_replaced(void *aux)
{
    struct ms_front *front = aux;
    struct ms_stats stats;
    if (ms_store_stats(front->store, &stats) == 0)
        front->revision = stats.revision;
    for (unsigned i = 0; i < front->n_workers; i++) {
        struct ms_mail *mail = em_calloc(1, sizeof(*mail));
        mail->kind = MS_MAIL_ALL_NEW;
        ms_worker_post(front->workers[i], mail);
    }
}

static void on_lead(void *aux, bool is_leader)
{
    struct ms_front *front = aux;
    ms_keeper_lead(front->keeper, is_leader);
}

static void on_heard(void *aux, const char *node_id, uint32_t lease_ms)
{
    struct ms_front *front = aux;
    ms_keeper_heard(front->keeper, node_id, lease_ms);
}

static void on_fatal(void *aux, int err, const char *why)
{
    struct ms_front *front = aux;
    front->on_fatal(err, why);
}

/* ---- start and stop ------------------------------------------------------------------ */

static void close_if_node(void *aux, const struct ms_member *member)
{
    if (member->identity.role == EM_ROLE_NODE)
        ms_session_post_end(member, EM_E_NOT_LEADER,
                            "this map server has no leader; ask another one");
}

/* Agents are better off at another server: here they could not write, and their heartbeats do
 * not reach the leader, who may be well.  Once each time the leader is lost. */
static void leave_without_leader(struct ms_front *front)
{
    uint32_t limit_ms = front->lease_ms / 3 < LEADERLESS_MS ? front->lease_ms / 3 : LEADERLESS_MS;
    bool is_lost = ms_core_no_leader_ms(front->core) > limit_ms;
    if (is_lost && !front->is_leaderless)
        ms_registry_visit(front->registry, close_if_node, NULL);
    front->is_leaderless = is_lost;
}

static void on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct ms_front *front = w->data;
    ms_keeper_tick(front->keeper);
    ms_copies_tick(front->copies);
    ms_core_set_serving(front->core, ms_registry_count(front->registry) > 0);
    leave_without_leader(front);
}

static int start_workers(struct ms_front *front, char **ret_why)
{
    front->workers = em_calloc(front->config.n_workers, sizeof(struct ms_worker *));
    while (front->n_workers < front->config.n_workers) {
        int r = ms_worker_start(front, &front->workers[front->n_workers], ret_why);
        if (r)
            return r;
        front->n_workers++;
    }
    return 0;
}

static int start_core(struct ms_front *front, char **ret_why)
{
    static const struct ms_core_events events = {on_commit, on_settled, on_replaced,
                                                 on_lead,   on_heard,   on_fatal};
    struct ms_stats stats;
    int r = ms_store_stats(front->store, &stats);
    if (r == 0) {
        front->revision = stats.revision;
        r = ms_keeper_new(front, &front->keeper);
    }
    if (r == 0)
        r = ms_core_start(front->config.core, &events, front, &front->core, ret_why);
    if (r && !*ret_why)
        *ret_why = em_asprintf("the map cannot be served: %s", em_strerror(r));
    return r;
}

/* After a crash the map is at its last checkpoint, and the log has the rest.  Nobody shall see
 * less than was seen before; but without a majority what is there has to do. */
static void catch_up(struct ms_front *front)
{
    for (int ms = 0; ms < CATCH_UP_MS && !ms_core_has_caught_up(front->core); ms++)
        usleep(1000);
}

static int start_listeners(struct ms_front *front, char **ret_why)
{
    const struct ms_front_config *config = &front->config;
    front->listeners = em_calloc(config->n_listen, sizeof(*front->listeners));
    for (size_t i = 0; i < config->n_listen; i++) {
        struct em_listener *listener;
        int r = em_listener_new(front->loop, config->listen[i], config->socket_mode, on_accept,
                                front, &listener, ret_why);
        if (r)
            return r;
        front->listeners[front->n_listeners++] = listener;
        if (em_listener_address(listener)->transport == EM_TLS && !front->tls) {
            *ret_why = em_asprintf("%s: this address needs the options tls.ca, tls.cert and "
                                   "tls.key",
                                   config->listen[i]);
            return -EINVAL;
        }
        em_info("listening on %s", config->listen[i]);
    }
    return 0;
}

int ms_front_start(struct ev_loop *loop, const struct ms_front_config *config, struct em_tls *tls,
                   void (*on_fatal_fn)(int err, const char *why), void (*on_restart_fn)(void),
                   struct ms_front **ret_front, char **ret_why)
{
    struct ms_front *front = em_calloc(1, sizeof(*front));
    front->loop = loop;
    front->config = *config;
    front->store = config->core->store;
    front->on_fatal = on_fatal_fn;
    front->on_restart = on_restart_fn;
    front->copies = ms_copies_new(front, config->core->dir);
    front->lease_ms = config->lease_ms;
    front->refresh_ms = config->tombstones_ms / REFRESHES;
    front->max_connections = config->max_connections;
    front->max_handshakes = config->max_handshakes;
    front->started_ms = em_wall_ms();
    front->registry = ms_registry_new();
    ms_front_set_tls(front, tls);
    ev_async_init(&front->wake, on_wake);
    front->wake.data = front;
    ev_async_start(loop, &front->wake);
    ev_timer_init(&front->tick, on_tick, TICK_S, TICK_S);
    front->tick.data = front;
    int r = start_workers(front, ret_why); /* the core tells them what it finds in its log */
    if (r == 0)
        r = start_core(front, ret_why);
    if (r == 0)
        catch_up(front);
    if (r == 0)
        r = start_listeners(front, ret_why);
    if (r) {
        ms_front_stop(front);
        return r;
    }
    ev_timer_start(loop, &front->tick);
    *ret_front = front;
    return 0;
}

/* Workers first, so that nobody proposes; then the core, which answers what it has; then the
 * workers' mailboxes, where those answers lie. */
void ms_front_stop(struct ms_front *front)
{
    if (!front)
        return;
    ev_timer_stop(front->loop, &front->tick);
    for (size_t i = 0; i < front->n_listeners; i++)
        em_listener_free(front->listeners[i]);
    for (unsigned i = 0; i < front->n_workers; i++)
        ms_worker_stop(front->workers[i]);
    ms_copies_stop(front->copies);
    ms_core_stop(front->core);
    for (unsigned i = 0; i < front->n_workers; i++)
        ms_worker_free(front->workers[i]); /* takes the answers that are left */
    ms_copies_free(front->copies);
    ev_async_stop(front->loop, &front->wake);
    ms_keeper_free(front->keeper);
    ms_registry_free(front->registry);
    em_tls_free(front->tls);
    free(front->listeners);
    free(front->workers);
    free(front);
}

void ms_front_set_tls(struct ms_front *front, struct em_tls *tls)
{
    em_tls_free(front->tls);
    front->tls = em_tls_ref(tls);
    front->tls_not_after = tls ? em_tls_not_after(tls) : 0;
    if (front->core && tls)
        ms_core_set_tls(front->core, tls);
}

void ms_front_set_limits(struct ms_front *front, const struct ms_front_config *config)
{
    front->config.hold_ms = config->hold_ms;
    front->config.lease_ms = config->lease_ms;
    front->config.tombstones_ms = config->tombstones_ms;
    front->lease_ms = config->lease_ms;
    front->refresh_ms = config->tombstones_ms / REFRESHES;
    front->max_connections = config->max_connections;
    front->max_handshakes = config->max_handshakes;
    pause_what_is_full(front);
}

/* ---- what an operator sees ----------------------------------------------------------- */

bool ms_front_is_alive(struct ms_front *front)
{
    bool is_alive = ms_core_is_alive(front->core);
    for (unsigned i = 0; i < front->n_workers; i++)
        is_alive = ms_worker_is_alive(front->workers[i]) && is_alive;
    return is_alive;
}

void ms_front_summary(struct ms_front *front, char *text, size_t size)
{
    snprintf(text, size, "serving %u sessions at revision %" PRIu64,
             ms_registry_count(front->registry), (uint64_t)front->revision);
}

/* Of the cluster; at most CLUSTER_PROBLEMS. */
static size_t cluster_problems(const struct ms_core_status *core, char **problems)
{
    size_t n = 0;
    unsigned n_voters = 0, n_there = 0;
    for (size_t i = 0; i < core->n_members; i++) {
        n_voters += core->members[i].role == EIDMAP__MEMBER_ROLE__MEMBER_VOTER;
        n_there += core->members[i].role == EIDMAP__MEMBER_ROLE__MEMBER_VOTER &&
                   core->members[i].is_connected;
    }
    if (core->n_members == 0)
        problems[n++] = em_strdup("this server waits to be added to a cluster: 'mapctl member "
                                  "add' on one of its servers");
    else if (core->no_leader_ms > LEADERLESS_MS)
        problems[n++] = em_asprintf("there has been no leader for %" PRIu64 " s: writes wait until "
                                    "a majority of the voters is there (%u of %u are)",
                                    core->no_leader_ms / 1000, n_there, n_voters);
    for (size_t i = 0; i < core->n_members && n < CLUSTER_PROBLEMS; i++)
        if (!core->members[i].is_connected)
            problems[n++] = em_asprintf(
                "map server %s at %s %s%s", core->members[i].name, core->members[i].address,
                core->members[i].why ? "is not taken for a member: " : "does not answer",
                core->members[i].why ? core->members[i].why : "");
    return n;
}

size_t ms_front_problems(struct ms_front *front, const struct ms_stats *stats,
                         const struct ms_core_status *core, char ***ret_problems)
{
    char **problems = em_calloc(PROBLEMS_MAX, sizeof(*problems));
    size_t n = cluster_problems(core, problems);
    int64_t left_s = front->tls_not_after - (int64_t)time(NULL);
    if (stats->store_size && stats->store_used * 100 / stats->store_size >= STORE_WARN)
        problems[n++] =
            em_asprintf("the map uses %" PRIu64 " of %" PRIu64 " MiB: raise store.size and restart",
                        stats->store_used >> 20, stats->store_size >> 20);
    if (stats->disk_free < DISK_WARN)
        problems[n++] = em_asprintf("only %" PRIu64 " MiB of disk are free: writes stop at the "
                                    "reserve (store.disk_reserve)",
                                    stats->disk_free >> 20);
    if (front->tls_not_after && left_s < CERT_WARN_S)
        problems[n++] = left_s < 0 ? em_strdup("the server's certificate has expired: make a new "
                                               "one with 'mapctl pki server' and reload")
                                   : em_asprintf("the server's certificate expires in %d days",
                                                 (int)(left_s / 86400));
    if (front->n_connections >= front->max_connections)
        problems[n++] = em_asprintf("%u connections are open, the limit (limits.connections)",
                                    (unsigned)front->n_connections);
    assert(n <= PROBLEMS_MAX);
    *ret_problems = problems;
    return n;
}
