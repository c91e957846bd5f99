#include "server/real_cluster.h"

#include "base/clock.h"
#include "base/mem.h"
#include "server/raw.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_MS    90000
#define PAUSE_US    10000
#define PATIENCE_MS 3000

/* ---- questions, each on a connection of its own ---- */

/* Fills in 'raw', which the caller closes; NULL when the server does not answer. */
static const Eidmap__Envelope *ask(struct real_cluster *cluster, unsigned i,
                                   const Eidmap__Envelope *request, struct raw *raw)
{
    if (!cluster->servers[i].pid || cluster->is_paused[i] ||
        !raw_try_open(raw, cluster->servers[i].unix_url))
        return NULL;
    raw_set_patience(raw, PATIENCE_MS);
    const Eidmap__Envelope *reply =
        raw_hello(raw, NULL) && raw_send(raw, request) ? raw_read(raw) : NULL;
    if (!reply)
        raw_close(raw);
    return reply;
}

/* As ask(). */
static const Eidmap__StatusReply *ask_status(struct real_cluster *cluster, unsigned i,
                                             struct raw *raw)
{
    Eidmap__Envelope request = EIDMAP__ENVELOPE__INIT;
    Eidmap__StatusRequest status = EIDMAP__STATUS_REQUEST__INIT;
    request.id = 2;
    request.body_case = EIDMAP__ENVELOPE__BODY_STATUS;
    request.status = &status;
    const Eidmap__Envelope *reply = ask(cluster, i, &request, raw);
    if (!reply)
        return NULL;
    if (reply->body_case == EIDMAP__ENVELOPE__BODY_STATUS_REPLY)
        return reply->status_reply;
    raw_close(raw);
    return NULL;
}

__attribute__((noreturn)) static void fail(struct real_cluster *cluster, const char *what)
{
    for (unsigned i = 0; i < cluster->n; i++)
        fprintf(stderr, "---- log of %s\n%s", cluster->names[i],
                real_server_log(&cluster->servers[i], 0));
    real_fail("cluster: %s within %d s", what, LIMIT_MS / 1000);
}

static const Eidmap__Member *member_of(const Eidmap__StatusReply *status, const char *name)
{
    for (size_t i = 0; i < status->n_members; i++)
        if (strcmp(status->members[i]->name, name) == 0)
            return status->members[i];
    return NULL;
}

/* Servers may be between two leaders: asked again until the time is over. */
static void change(struct real_cluster *cluster, Eidmap__MemberChange kind, unsigned i)
{
    char message[256] = "no answer";
    uint64_t end = em_now_ms() + LIMIT_MS;
    Eidmap__Envelope request = EIDMAP__ENVELOPE__INIT;
    Eidmap__ChangeMember body = EIDMAP__CHANGE_MEMBER__INIT;
    body.change = kind;
    body.name = cluster->names[i];
    body.address = kind == EIDMAP__MEMBER_CHANGE__MEMBER_ADD ? cluster->peer_urls[i] : body.address;
    request.id = 2;
    request.body_case = EIDMAP__ENVELOPE__BODY_CHANGE_MEMBER;
    request.change_member = &body;
    while (em_now_ms() < end) {
        struct raw raw;
        const Eidmap__Envelope *reply = ask(cluster, real_cluster_leader(cluster), &request, &raw);
        bool is_done = reply && reply->body_case == EIDMAP__ENVELOPE__BODY_DONE;
        if (reply && reply->body_case == EIDMAP__ENVELOPE__BODY_ERROR)
            snprintf(message, sizeof(message), "%s", reply->error->message);
        if (reply)
            raw_close(&raw);
        if (is_done)
            return;
        usleep(PAUSE_US);
    }
    fprintf(stderr, "%s: member change %d: %s\n", cluster->names[i], (int)kind, message);
    fail(cluster, "no change of members");
}

/* ---- one server ---- */

void real_cluster_kill(struct real_cluster *cluster, unsigned i)
{
    real_server_kill(&cluster->servers[i]);
    cluster->is_paused[i] = false;
}

void real_cluster_restart(struct real_cluster *cluster, unsigned i)
{
    assert(!cluster->servers[i].pid);
    real_server_spawn(&cluster->servers[i]);
}

void real_cluster_pause(struct real_cluster *cluster, unsigned i)
{
    kill(cluster->servers[i].pid, SIGSTOP);
    cluster->is_paused[i] = true;
}

void real_cluster_resume(struct real_cluster *cluster, unsigned i)
{
    kill(cluster->servers[i].pid, SIGCONT);
    cluster->is_paused[i] = false;
}

/* ---- all of them ---- */

unsigned real_cluster_leader(struct real_cluster *cluster)
{
    uint64_t end = em_now_ms() + LIMIT_MS;
    while (em_now_ms() < end) {
        unsigned leader = cluster->n;
        uint64_t term = 0;
        for (unsigned i = 0; i < cluster->n; i++) {
            struct raw raw;
            const Eidmap__StatusReply *status = ask_status(cluster, i, &raw);
            if (!status)
                continue;
            if (strcmp(status->raft_role, "leader") == 0 && status->term > term) {
                leader = i;
                term = status->term;
            }
            raw_close(&raw);
        }
        if (leader < cluster->n)
            return leader;
        usleep(PAUSE_US);
    }
    fail(cluster, "no leader");
}

uint64_t real_cluster_last_index(struct real_cluster *cluster)
{
    uint64_t end = em_now_ms() + LIMIT_MS;
    while (em_now_ms() < end) {
        struct raw raw;
        const Eidmap__StatusReply *status = ask_status(cluster, real_cluster_leader(cluster), &raw);
        if (!status)
            continue;
        uint64_t index = status->last_index;
        raw_close(&raw);
        return index;
    }
    fail(cluster, "no leader that tells its index");
}

/* Has 'name' what was in the leader's log when this was called first?  '*goal' 0: then. */
static bool has_log(const Eidmap__StatusReply *status, const char *name, uint64_t *goal)
{
    const Eidmap__Member *member = member_of(status, name);
    if (!*goal)
        *goal = status->last_index;
    return member && (member->is_self || (member->is_connected && member->match >= *goal));
}

/* A server that was started serves when it has caught up, which is later than that it follows. */
static bool serves(struct real_cluster *cluster, unsigned i)
{
    struct raw raw;
    if (cluster->is_paused[i])
        return true;
    if (!ask_status(cluster, i, &raw))
        return false;
    raw_close(&raw);
    return true;
}

static bool is_settled(struct real_cluster *cluster, const Eidmap__StatusReply *status,
                       uint64_t *goal)
{
    for (unsigned i = 0; i < cluster->n; i++) {
        const Eidmap__Member *member = member_of(status, cluster->names[i]);
        if (!member || member->role != EIDMAP__MEMBER_ROLE__MEMBER_VOTER ||
            !has_log(status, cluster->names[i], goal) || !serves(cluster, i))
            return false;
    }
    return status->n_members == cluster->n;
}

/* Until all are settled, or server 'one' alone has the log. */
static void await(struct real_cluster *cluster, const char *one, const char *what)
{
    uint64_t goal = 0, end = em_now_ms() + LIMIT_MS;
    while (em_now_ms() < end) {
        struct raw raw;
        bool is_done = false;
        const Eidmap__StatusReply *status = ask_status(cluster, real_cluster_leader(cluster), &raw);
        if (status) {
            is_done = one ? has_log(status, one, &goal) : is_settled(cluster, status, &goal);
            raw_close(&raw);
        }
        if (is_done)
            return;
        usleep(PAUSE_US);
    }
    fail(cluster, what);
}

void real_cluster_settle(struct real_cluster *cluster)
{
    await(cluster, NULL, "not all are voters with the whole log");
}

void real_cluster_add(struct real_cluster *cluster, unsigned i)
{
    real_server_spawn(&cluster->servers[i]);
    change(cluster, EIDMAP__MEMBER_CHANGE__MEMBER_ADD, i);
    await(cluster, cluster->names[i], "a new member has not the whole log");
    change(cluster, EIDMAP__MEMBER_CHANGE__MEMBER_PROMOTE, i);
}

void real_cluster_remove(struct real_cluster *cluster, unsigned i)
{
    change(cluster, EIDMAP__MEMBER_CHANGE__MEMBER_REMOVE, i);
    real_cluster_kill(cluster, i);
    real_remove_tree(cluster->servers[i].data);
}

static void init_server(struct real_cluster *cluster, unsigned i, const char *yaml,
                        const char *address)
{
    struct real_server *server = &cluster->servers[i];
    snprintf(cluster->names[i], sizeof(cluster->names[i]), "ms%u", i + 1);
    snprintf(cluster->peer_urls[i], sizeof(cluster->peer_urls[i]), "tls://%s:%u",
             address ? address : "127.0.0.1", real_free_port());
    char *lines = em_asprintf("%speers:\n  listen: %s\n  election: 500ms\n%s",
                              i ? "join: true\n" : "", cluster->peer_urls[i], yaml ? yaml : "");
    if (i)
        real_server_init_next(server, cluster->names[i], &cluster->servers[0], lines);
    else
        real_server_init_first(server, cluster->names[0], lines);
    if (address) {
        snprintf(server->tls_url, sizeof(server->tls_url), "tls://%s:%u", address,
                 real_free_port());
        real_server_configure(server, lines);
    }
    free(lines);
}

void real_cluster_init_at(struct real_cluster *cluster, unsigned n, const char *yaml,
                          const char *const *addresses)
{
    assert(n > 0 && n <= REAL_CLUSTER_MAX);
    *cluster = (struct real_cluster){.n = n};
    for (unsigned i = 0; i < n; i++)
        init_server(cluster, i, yaml, addresses ? addresses[i] : NULL);
}

void real_cluster_init(struct real_cluster *cluster, unsigned n, const char *yaml)
{
    real_cluster_init_at(cluster, n, yaml, NULL);
}

void real_cluster_start(struct real_cluster *cluster)
{
    real_server_start(&cluster->servers[0]);
    for (unsigned i = 1; i < cluster->n; i++)
        real_cluster_add(cluster, i);
    real_cluster_settle(cluster);
}

int real_cluster_stop(struct real_cluster *cluster, unsigned limit_ms)
{
    int first = 0;
    for (unsigned i = 0; i < cluster->n; i++)
        kill(cluster->servers[i].pid, SIGTERM);
    for (unsigned i = 0; i < cluster->n; i++) {
        int status = real_wait(cluster->servers[i].pid, limit_ms);
        cluster->servers[i].pid = 0;
        first = first ? first : status;
    }
    return first;
}

void real_cluster_fini(struct real_cluster *cluster)
{
    for (unsigned i = cluster->n; i-- > 0;)
        real_server_fini(&cluster->servers[i]);
}
