#include "mapserver/scene.h"

#include "base/mem.h"
#include "core/data.h"
#include "front/context.h"

#include <criterion/criterion.h>
#include <ev.h>
#include <ftw.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct scene {
    char dir[64], address[96];
    const char *listen[1];
    uint32_t lease_ms;
    uint64_t tombstones_ms;
    struct ms_data data;
    struct ms_front *front;
    struct ev_loop *loop;
    ev_async stop, reload;
    struct ms_front_config config;
    pthread_t thread;
};

static void on_fatal(int err, const char *why)
{
    fprintf(stderr, "fatal: %s\n", why);
    abort();
}

static void on_restart(void)
{
    abort(); /* nobody restores here */
}

static void on_stop(struct ev_loop *loop, ev_async *w, int revents)
{
    ev_break(loop, EVBREAK_ALL);
}

static void on_reload(struct ev_loop *loop, ev_async *w, int revents)
{
    struct scene *scene = w->data;
    scene->config.lease_ms = scene->lease_ms;
    ms_front_set_limits(scene->front, &scene->config);
}

static void *run(void *arg)
{
    struct scene *scene = arg;
    ev_run(scene->loop, 0);
    return NULL;
}

static void start(struct scene *scene)
{
    char *why = NULL;
    const struct ms_data_config data = {
        .dir = scene->dir, .server_id = "ms1", .address = "", .map_size = 256u << 20};
    scene->config = (struct ms_front_config){
        .server_id = "ms1",
        .listen = scene->listen,
        .n_listen = 1,
        .socket_mode = 0600,
        .n_workers = 2,
        .max_connections = 1000,
        .max_handshakes = 100,
        .handshake_ms = 2000,
        .lease_ms = scene->lease_ms,
        .hold_ms = 3600000,
        .tombstones_ms = scene->tombstones_ms,
    };
    scene->loop = ev_loop_new(0);
    ev_async_init(&scene->stop, on_stop);
    ev_async_start(scene->loop, &scene->stop);
    ev_async_init(&scene->reload, on_reload);
    scene->reload.data = scene;
    ev_async_start(scene->loop, &scene->reload);
    int r = ms_data_open(&data, &scene->data, &why);
    cr_assert_eq(r, 0, "%s", why);
    const struct ms_core_config core = {
        .store = scene->data.store,
        .log = scene->data.log,
        .state = &scene->data.state,
        .dir = scene->dir,
        .server_id = "ms1",
    };
    scene->config.core = &core;
    r = ms_front_start(scene->loop, &scene->config, NULL, on_fatal, on_restart, &scene->front,
                       &why);
    cr_assert_eq(r, 0, "%s", why);
    cr_assert_eq(pthread_create(&scene->thread, NULL, run, scene), 0);
}

static void stop(struct scene *scene)
{
    ev_async_send(scene->loop, &scene->stop);
    pthread_join(scene->thread, NULL);
    ms_front_stop(scene->front);
    ms_data_close(&scene->data);
    ev_loop_destroy(scene->loop);
}

static struct scene *start_new(uint32_t lease_ms, uint64_t tombstones_ms)
{
    struct scene *scene = em_calloc(1, sizeof(*scene));
    snprintf(scene->dir, sizeof(scene->dir), "/tmp/emsceneXXXXXX");
    cr_assert_not_null(mkdtemp(scene->dir));
    snprintf(scene->address, sizeof(scene->address), "unix:%s/socket", scene->dir);
    scene->listen[0] = scene->address;
    scene->lease_ms = lease_ms;
    scene->tombstones_ms = tombstones_ms;
    start(scene);
    return scene;
}

struct scene *scene_start(uint32_t lease_ms)
{
    return start_new(lease_ms ? lease_ms : 15000, 3600000);
}

struct scene *scene_start_forgetful(uint64_t tombstones_ms)
{
    return start_new(15000, tombstones_ms);
}

void scene_set_lease(struct scene *scene, uint32_t lease_ms)
{
    scene->lease_ms = lease_ms;
    ev_async_send(scene->loop, &scene->reload);
}

void scene_restart(struct scene *scene)
{
    stop(scene);
    start(scene);
}

static void on_applied(void *aux, const struct ms_result *result)
{
    if (result->err) {
        fprintf(stderr, "command refused: %s\n", result->message);
        abort();
    }
    sem_post(aux);
}

void scene_apply(struct scene *scene, const Eidmap__Command *command)
{
    sem_t done;
    size_t size = eidmap__command__get_packed_size(command);
    uint8_t *bytes = em_malloc(size);
    eidmap__command__pack(command, bytes);
    sem_init(&done, 0, 0);
    const char *why;
    cr_assert_eq(ms_core_propose(scene->front->core, bytes, size, false, on_applied, &done, &why),
                 0);
    sem_wait(&done);
    sem_destroy(&done);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void scene_stop(struct scene *scene)
{
    stop(scene);
    nftw(scene->dir, remove_one, 4, FTW_DEPTH | FTW_PHYS);
    free(scene);
}

const char *scene_address(const struct scene *scene)
{
    return scene->address;
}

struct em_call *scene_client(struct scene *scene, const char *node_id, uint64_t boot_epoch)
{
    char *why = NULL;
    struct em_call *call = NULL;
    const char *servers[] = {scene->address};
    /* Each node gets an RLOC of its own, made from its name. */
    struct em_rloc rloc = {.ip = {.size = 4, .addr = {192, 0, 2, 1}}, .encap = EM_ENCAP_VXLAN};
    if (node_id)
        rloc.ip.addr[3] = (uint8_t)(node_id[strlen(node_id) - 1]);
    const struct em_client_config config = {.servers = servers,
                                            .n_servers = 1,
                                            .node_id = node_id,
                                            .boot_epoch = boot_epoch,
                                            .rlocs = node_id ? &rloc : NULL,
                                            .n_rlocs = node_id ? 1 : 0,
                                            .timeout_ms = 5000};
    int r = em_call_open(&config, &call, &why);
    cr_assert_eq(r, 0, "%s: %s", node_id ? node_id : "operator", why);
    return call;
}

static void copy_answer(struct scene_reply *copy, const struct em_answer *answer)
{
    char text[EM_EID_TEXT];
    copy->is_positive = answer->port != NULL;
    copy->action = answer->action;
    copy->ttl_s = answer->ttl_s;
    copy->port[0] = copy->node[0] = copy->matched[0] = copy->covers[0] = '\0';
    if (answer->port) {
        em_port_id_format(answer->port->id.bytes, answer->port->id.size, copy->port);
        snprintf(copy->matched, sizeof(copy->matched), "%s", em_eid_format(&answer->matched, text));
        if (answer->port->n_locations)
            snprintf(copy->node, sizeof(copy->node), "%s", answer->port->locations[0].node_id);
    }
    if (answer->covers.kind != EM_EID_NONE)
        snprintf(copy->covers, sizeof(copy->covers), "%s", em_eid_format(&answer->covers, text));
}

void scene_on_reply(void *aux, const struct em_reply *reply)
{
    struct scene_wait *wait = aux;
    struct scene_reply *copy = &wait->reply;
    copy->n_calls++;
    copy->err = reply->err;
    snprintf(copy->message, sizeof(copy->message), "%s", reply->message ? reply->message : "");
    snprintf(copy->field, sizeof(copy->field), "%s", reply->field ? reply->field : "");
    copy->record = reply->record;
    copy->revision = reply->revision;
    copy->n_withdrawn = reply->n_withdrawn;
    copy->n_epochs = reply->n_epochs;
    for (size_t i = 0; i < reply->n_epochs && i < SCENE_EPOCHS; i++)
        copy->epochs[i] = reply->epochs[i];
    if (reply->network)
        copy->network_id = reply->network->id;
    if (reply->current && reply->current->n_locations)
        snprintf(copy->current_node, sizeof(copy->current_node), "%s",
                 reply->current->locations[0].node_id);
    copy->n_answers = reply->n_answers;
    if (reply->n_answers)
        copy_answer(copy, &reply->answers[0]);
    em_call_done(wait->call);
}

struct scene_reply scene_await(struct scene_wait *wait)
{
    cr_assert_eq(em_call_wait(wait->call, 5000), 0, "no answer in 5 s");
    return wait->reply;
}

struct scene_reply scene_put_network(struct em_call *call, const char *name, const char *subnet)
{
    struct scene_wait wait = {call};
    struct em_eid eid;
    char why[EM_ADDR_WHY];
    if (subnet)
        cr_assert_eq(em_prefix_parse(subnet, &eid, why), 0, "%s", why);
    const struct em_network network = {
        .name = name, .subnets = subnet ? &eid : NULL, .n_subnets = subnet ? 1 : 0};
    cr_assert_gt(em_client_put_network(em_call_client(call), &network, scene_on_reply, &wait), 0);
    return scene_await(&wait);
}

struct scene_reply scene_claim(struct em_call *call, const char *network, const char *port,
                               const char *mac, const char *ip, bool is_attach, uint64_t epoch)
{
    struct scene_wait wait = {call};
    struct em_eid eids[2];
    size_t n = 0;
    if (mac)
        cr_assert_eq(em_eid_parse(mac, &eids[n++], NULL, NULL), 0);
    if (ip)
        cr_assert_eq(em_eid_parse(ip, &eids[n++], NULL, NULL), 0);
    const struct em_location location = {.weight = 1};
    struct em_claim claim = {
        .port = {.eids = eids, .n_eids = n, .locations = &location, .n_locations = 1},
        .is_attach = is_attach,
        .epoch = epoch};
    cr_assert_eq(em_port_id_parse(port, &claim.port.id, NULL), 0);
    cr_assert_gt(
        em_client_register(em_call_client(call), &claim, 1, network, scene_on_reply, &wait), 0);
    return scene_await(&wait);
}

struct scene_reply scene_resolve(struct em_call *call, const char *network, const char *text)
{
    struct scene_wait wait = {call};
    struct em_eid eid;
    char name[EM_EID_TEXT], why[EM_ADDR_WHY];
    cr_assert_eq(em_eid_parse(text, &eid, name, why), 0, "%s", why);
    cr_assert_gt(
        em_client_resolve(em_call_client(call), 0, network, &eid, 1, 0, scene_on_reply, &wait), 0);
    return scene_await(&wait);
}

struct scene_reply scene_withdraw(struct em_call *call, const char *port)
{
    struct scene_wait wait = {call};
    struct em_port_ref ref = {.epoch = 0};
    cr_assert_eq(em_port_id_parse(port, &ref.id, NULL), 0);
    cr_assert_gt(em_client_withdraw(em_call_client(call), &ref, 1, NULL, scene_on_reply, &wait), 0);
    return scene_await(&wait);
}

static void log_change(struct scene_feed *feed, const struct em_change *change)
{
    char id[EM_PORT_ID_TEXT] = "?";
    switch (change->object) {
    case EM_OBJECT_PORT: {
        const struct em_port_id *port = change->is_gone ? &change->gone_port : &change->port->id;
        em_port_id_format(port->bytes, port->size, id);
        break;
    }
    case EM_OBJECT_NODE:
        snprintf(id, sizeof(id), "%s", change->is_gone ? change->gone_node : change->node->id);
        break;
    case EM_OBJECT_NETWORK:
        if (change->is_gone)
            snprintf(id, sizeof(id), "#%u", change->gone_network);
        else
            snprintf(id, sizeof(id), "%s", change->network->name);
        break;
    }
    size_t n = strlen(feed->log);
    snprintf(feed->log + n, sizeof(feed->log) - n, "%c%s ", change->is_gone ? '-' : '+', id);
}

void scene_on_feed(void *aux, const struct em_feed *page)
{
    struct scene_feed *feed = aux;
    feed->n_pages++;
    feed->err = page->err;
    feed->revision = page->revision;
    feed->n_changes += (unsigned)page->n_changes;
    feed->n_start_over += page->is_start_over;
    feed->n_complete += page->is_complete;
    feed->is_removed |= page->is_removed;
    for (size_t i = 0; i < page->n_changes; i++)
        log_change(feed, &page->changes[i]);
    size_t n = strlen(feed->log);
    snprintf(feed->log + n, sizeof(feed->log) - n, "%s%s%s", page->is_complete ? "complete " : "",
             page->is_removed ? "removed " : "", page->err ? "error " : "");
    em_call_done(feed->call);
}

void scene_feed_await(struct scene_feed *feed, const char *text)
{
    while (!strstr(feed->log, text))
        cr_assert_eq(em_call_wait(feed->call, 5000), 0, "never saw \"%s\" in \"%s\"", text,
                     feed->log);
}
