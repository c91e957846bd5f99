#include "mapserver/cluster.h"

#include "base/mem.h"
#include "core/data.h"
#include "front/context.h"

#include <criterion/criterion.h>
#include <ev.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct cluster_server {
    char dir[96], peers[40], serving[40];
    const char *listen[1];
    struct authority_files files;
    struct em_tls *tls;
    struct ms_data data;
    struct ms_front *front; /* NULL: does not run */
    struct ev_loop *loop;
    ev_async stop;
    pthread_t thread;
};

static _Atomic unsigned n_fatal;

static void on_fatal(int err, const char *why)
{
    fprintf(stderr, "fatal: %s\n", why);
    n_fatal++;
}

static void on_restart(void)
{
    n_fatal++; /* nobody restores here */
}

static void on_stop(struct ev_loop *loop, ev_async *w, int revents)
{
    ev_break(loop, EVBREAK_ALL);
}

static void *run(void *aux)
{
    struct cluster_server *server = aux;
    ev_run(server->loop, 0);
    return NULL;
}

const char *cluster_name(unsigned i)
{
    static const char *const names[CLUSTER_MAX] = {"ms1", "ms2", "ms3"};
    return names[i];
}

static struct cluster_server *server_new(struct cluster *cluster, unsigned i)
{
    struct cluster_server *server = em_calloc(1, sizeof(*server));
    snprintf(server->dir, sizeof(server->dir), "%s/%s", cluster->dir, cluster_name(i));
    authority_address(server->peers, sizeof(server->peers));
    authority_address(server->serving, sizeof(server->serving));
    server->listen[0] = server->serving;
    server->files = authority_issue(&cluster->authority, EM_ROLE_SERVER, cluster_name(i));
    return server;
}

void cluster_up(struct cluster *cluster, unsigned i)
{
    char *why = NULL;
    if (!cluster->servers[i])
        cluster->servers[i] = server_new(cluster, i);
    struct cluster_server *server = cluster->servers[i];
    const struct ms_data_config data = {.dir = server->dir,
                                        .server_id = cluster_name(i),
                                        .address = server->peers,
                                        .join = i > 0,
                                        .map_size = 64u << 20,
                                        .disk_reserve = 4096};
    cr_assert_eq(ms_data_open(&data, &server->data, &why), 0, "%s", why);
    cr_assert_eq(
        em_tls_new(server->files.ca, server->files.cert, server->files.key, &server->tls, &why), 0,
        "%s", why);
    const struct ms_core_config core = {.store = server->data.store,
                                        .log = server->data.log,
                                        .state = &server->data.state,
                                        .dir = server->dir,
                                        .server_id = cluster_name(i),
                                        .peers_listen = server->peers,
                                        .servers = server->listen,
                                        .n_servers = 1,
                                        .tls = server->tls,
                                        .tls_ca = server->files.ca,
                                        .tls_cert = server->files.cert,
                                        .tls_key = server->files.key,
                                        .map_size = 64u << 20,
                                        .disk_reserve = 4096,
                                        .trailing = cluster->trailing,
                                        .trailing_bytes = cluster->trailing ? 1 : 0,
                                        .sync_entries = cluster->trailing};
    const struct ms_front_config config = {.server_id = cluster_name(i),
                                           .listen = server->listen,
                                           .n_listen = 1,
                                           .advertise = server->listen,
                                           .n_advertise = 1,
                                           .n_workers = 1,
                                           .max_connections = 100,
                                           .max_handshakes = 10,
                                           .handshake_ms = 2000,
                                           .lease_ms = 15000,
                                           .hold_ms = 3600000,
                                           .tombstones_ms = 3600000,
                                           .core = &core};
    server->loop = ev_loop_new(0);
    ev_async_init(&server->stop, on_stop);
    ev_async_start(server->loop, &server->stop);
    cr_assert_eq(ms_front_start(server->loop, &config, server->tls, on_fatal, on_restart,
                                &server->front, &why),
                 0, "%s", why);
    cr_assert_eq(pthread_create(&server->thread, NULL, run, server), 0);
}

void cluster_down(struct cluster *cluster, unsigned i)
{
    struct cluster_server *server = cluster->servers[i];
    ev_async_send(server->loop, &server->stop);
    pthread_join(server->thread, NULL);
    ms_front_stop(server->front);
    server->front = NULL;
    ms_data_close(&server->data);
    em_tls_free(server->tls);
    ev_loop_destroy(server->loop);
}

void cluster_start(struct cluster *cluster, unsigned trailing)
{
    const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    memset(cluster, 0, sizeof(*cluster));
    cluster->trailing = trailing;
    authority_open(&cluster->authority);
    cluster->op = authority_issue(&cluster->authority, EM_ROLE_OPERATOR, "root");
    snprintf(cluster->dir, sizeof(cluster->dir), "%s/eidmap-cluster-XXXXXX", tmp);
    cr_assert_not_null(mkdtemp(cluster->dir));
    cluster_up(cluster, 0);
    cr_assert_eq(cluster_leader(cluster), 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void cluster_stop(struct cluster *cluster)
{
    for (unsigned i = CLUSTER_MAX; i-- > 0;) {
        struct cluster_server *server = cluster->servers[i];
        if (!server)
            continue;
        if (server->front)
            cluster_down(cluster, i);
        authority_files_free(&server->files);
        free(server);
    }
    nftw(cluster->dir, remove_one, 4, FTW_DEPTH | FTW_PHYS);
    authority_files_free(&cluster->op);
    authority_close(&cluster->authority);
    cr_assert_eq(n_fatal, 0);
}

void cluster_grow(struct cluster *cluster, unsigned n)
{
    for (unsigned i = 1; i < n; i++) {
        cluster_up(cluster, i);
        struct cluster_answer answer =
            cluster_change(cluster, 0, MS_MEMBER_ADD, cluster_name(i), cluster_peers(cluster, i));
        cr_assert_eq(answer.err, 0, "%s", answer.message);
        answer = cluster_change(cluster, 0, MS_MEMBER_PROMOTE, cluster_name(i), "");
        cr_assert_eq(answer.err, 0, "%s", answer.message);
    }
}

struct ms_core *cluster_core(const struct cluster *cluster, unsigned i)
{
    return cluster->servers[i]->front->core;
}

const char *cluster_peers(const struct cluster *cluster, unsigned i)
{
    return cluster->servers[i]->peers;
}

const char *cluster_serving(const struct cluster *cluster, unsigned i)
{
    return cluster->servers[i]->serving;
}

/* ---- calls that block ---------------------------------------------------------------------- */

/* Lives until it is answered, however late that is. */
struct call {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
    struct cluster_answer answer;
};

static struct call *call_new(void)
{
    struct call *call = em_calloc(1, sizeof(*call));
    pthread_mutex_init(&call->lock, NULL);
    pthread_cond_init(&call->done, NULL);
    return call;
}

static void on_answer(void *aux, int err, const char *message)
{
    struct call *call = aux;
    pthread_mutex_lock(&call->lock);
    call->answer.err = err;
    snprintf(call->answer.message, sizeof(call->answer.message), "%s", message ? message : "");
    call->is_done = true;
    pthread_cond_signal(&call->done);
    pthread_mutex_unlock(&call->lock);
}

static void on_done(void *aux, const struct ms_result *result)
{
    struct call *call = aux;
    call->answer.revision = result->revision;
    on_answer(aux, result->err, result->message);
}

static struct cluster_answer await(struct call *call)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 15;
    int r = 0;
    pthread_mutex_lock(&call->lock);
    while (!call->is_done && r == 0)
        r = pthread_cond_timedwait(&call->done, &call->lock, &until);
    struct cluster_answer answer = call->answer;
    pthread_mutex_unlock(&call->lock);
    cr_assert_eq(r, 0, "no answer in time");
    free(call);
    return answer;
}

struct cluster_answer cluster_put(struct cluster *cluster, unsigned i, const char *network)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    Eidmap__Origin origin = EIDMAP__ORIGIN__INIT;
    Eidmap__PutNetwork body = EIDMAP__PUT_NETWORK__INIT;
    Eidmap__Network record = EIDMAP__NETWORK__INIT;
    const char *why = NULL;
    origin.role = EIDMAP__ROLE__ROLE_OPERATOR;
    origin.name = (char *)"root";
    record.name = (char *)network;
    body.network = &record;
    command.schema = MS_SCHEMA;
    command.origin = &origin;
    command.body_case = EIDMAP__COMMAND__BODY_PUT_NETWORK;
    command.put_network = &body;
    size_t size = eidmap__command__get_packed_size(&command);
    uint8_t *bytes = em_malloc(size);
    eidmap__command__pack(&command, bytes);
    struct call *call = call_new();
    int r = ms_core_propose(cluster_core(cluster, i), bytes, size, true, on_done, call, &why);
    if (r)
        on_answer(call, r, why);
    return await(call);
}

struct cluster_answer cluster_read(struct cluster *cluster, unsigned i)
{
    struct call *call = call_new();
    ms_core_read(cluster_core(cluster, i), on_answer, call);
    return await(call);
}

struct cluster_answer cluster_change(struct cluster *cluster, unsigned i,
                                     enum ms_member_change change, const char *name,
                                     const char *address)
{
    struct call *call = call_new();
    ms_core_change_member(cluster_core(cluster, i), change, name, address, on_answer, call);
    return await(call);
}

/* ---- looks ---------------------------------------------------------------------------------- */

bool cluster_has(struct cluster *cluster, unsigned i, const char *network)
{
    struct ms_reader *reader;
    uint32_t id;
    cr_assert_eq(ms_reader_new(cluster->servers[i]->data.store, &reader), 0);
    cr_assert_eq(ms_reader_begin(reader), 0);
    int r = ms_reader_network_id(reader, network, &id);
    ms_reader_end(reader);
    ms_reader_free(reader);
    return r == 0;
}

unsigned cluster_leader(struct cluster *cluster)
{
    for (int tries = 0; tries < 1500; tries++) {
        for (unsigned i = 0; i < CLUSTER_MAX; i++)
            if (cluster->servers[i] && cluster->servers[i]->front &&
                ms_core_is_leader(cluster_core(cluster, i)))
                return i;
        usleep(10000);
    }
    cr_assert(false, "no leader");
    return 0;
}

Eidmap__MemberRole cluster_role(struct cluster *cluster, unsigned i, unsigned of)
{
    struct ms_core_status status;
    Eidmap__MemberRole role = EIDMAP__MEMBER_ROLE__MEMBER_UNSPECIFIED;
    ms_core_status(cluster_core(cluster, i), &status);
    for (size_t k = 0; k < status.n_members; k++)
        if (strcmp(status.members[k].name, cluster_name(of)) == 0)
            role = status.members[k].role;
    ms_core_status_fini(&status);
    return role;
}
