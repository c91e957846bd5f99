#include "front/keeper.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "eidmap/addr.h"
#include "eidmap/error.h"
#include "front/context.h"
#include "front/session.h"
#include "lease/lease.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define TICK_VERDICTS 256
#define EXPIRE_PORTS  1024 /* locations in one command */
#define TRIM_ENTRIES  4096 /* tombstones in one command */
#define MIGRATIONS_MS 500  /* between two looks at the migrations */
#define MIGRATIONS    64   /* that are ended after one look */
#define SAMPLES       16   /* revisions remembered over the time that tombstones are kept */
#define NODE_ID_SIZE  64

struct keeper_sample {
    uint64_t at_ms;
    uint64_t revision;
};

struct ms_keeper {
    struct ms_front *front;
    struct ms_reader *reader;
    _Atomic bool is_leader;
    bool is_keeping;      /* main loop: has the lease table of this time of leadership */
    pthread_mutex_t lock; /* of the lease table */
    struct ms_lease *lease;
    struct keeper_sample samples[SAMPLES]; /* a ring, main loop only */
    unsigned n_samples;
    _Atomic bool is_trimming;
    _Atomic uint64_t trimmed; /* below this revision all is trimmed */
    uint64_t trim_below;
    uint64_t migrations_ms; /* main loop: when the migrations were looked at last */
};

struct verdict {
    char node_id[NODE_ID_SIZE];
    enum ms_lease_verdict verdict;
};

struct verdicts {
    struct verdict list[TICK_VERDICTS];
    size_t n;
};

struct order {
    struct ms_keeper *keeper;
    char node_id[NODE_ID_SIZE];
};

static int on_node(void *aux, const char *id, size_t id_size, struct ms_blob record)
{
    struct ms_keeper *keeper = aux;
    struct em_arena arena;
    em_arena_init(&arena, 0);
    const Eidmap__Node *node =
        em_msg_unpack_as(&arena, &eidmap__node__descriptor, record.data, record.size);
    uint64_t wall_ms = em_wall_ms();
    if (node && node->state == EIDMAP__NODE_STATE__NODE_REACHABLE)
        ms_lease_renew(keeper->lease, node->id, em_now_ms());
    else if (node && node->state == EIDMAP__NODE_STATE__NODE_UNREACHABLE)
        ms_lease_hold(keeper->lease, node->id,
                      wall_ms > node->state_since_ms ? wall_ms - node->state_since_ms : 0,
                      em_now_ms());
    em_arena_fini(&arena);
    return 0;
}

int ms_keeper_new(struct ms_front *front, struct ms_keeper **ret_keeper)
{
    struct ms_keeper *keeper = em_calloc(1, sizeof(*keeper));
    keeper->front = front;
    pthread_mutex_init(&keeper->lock, NULL);
    keeper->lease = ms_lease_new(front->config.lease_ms, front->config.hold_ms);
    int r = ms_reader_new(front->store, &keeper->reader);
    if (r)
        ms_keeper_free(keeper);
    else
        *ret_keeper = keeper;
    return r;
}

void ms_keeper_lead(struct ms_keeper *keeper, bool is_leader)
{
    keeper->is_leader = is_leader;
}

/* The nodes of the map as it is now, from scratch. */
static void begin(struct ms_keeper *keeper)
{
    const struct ms_front_config *config = &keeper->front->config;
    pthread_mutex_lock(&keeper->lock);
    ms_lease_free(keeper->lease);
    keeper->lease = ms_lease_new(config->lease_ms, config->hold_ms);
    if (ms_reader_begin(keeper->reader) == 0) {
        keeper->is_keeping = ms_reader_nodes(keeper->reader, on_node, keeper) == 0;
        ms_reader_end(keeper->reader);
    }
    pthread_mutex_unlock(&keeper->lock);
    keeper->n_samples = 0;
}

void ms_keeper_free(struct ms_keeper *keeper)
{
    if (!keeper)
        return;
    ms_reader_free(keeper->reader);
    ms_lease_free(keeper->lease);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}

void ms_keeper_heard(struct ms_keeper *keeper, const char *node_id, uint32_t lease_ms)
{
    uint32_t now_told_ms = keeper->front->lease_ms;
    uint32_t more_ms = lease_ms > now_told_ms ? lease_ms - now_told_ms : 0;
    pthread_mutex_lock(&keeper->lock);
    ms_lease_renew(keeper->lease, node_id, em_now_ms() + more_ms);
    pthread_mutex_unlock(&keeper->lock);
}

static int propose(struct ms_keeper *keeper, Eidmap__Command *command, ms_core_done_fn *done,
                   void *aux)
{
    Eidmap__Origin origin = EIDMAP__ORIGIN__INIT;
    origin.role = EIDMAP__ROLE__ROLE_SERVER;
    origin.name = (char *)keeper->front->config.server_id;
    command->origin = &origin;
    command->schema = ms_apply_schema(command);
    command->time_ms = em_wall_ms();
    const char *why;
    size_t size = eidmap__command__get_packed_size(command);
    uint8_t *bytes = em_malloc(size);
    eidmap__command__pack(command, bytes);
    return ms_core_propose(keeper->front->core, bytes, size, false, done, aux, &why);
}

/* It could not be declared down: the verdict comes again after a lease.  Without it the node
 * would stay reachable for ever, for NodeExpire leaves reachable nodes alone. */
static void try_again(struct order *order)
{
    pthread_mutex_lock(&order->keeper->lock);
    ms_lease_renew(order->keeper->lease, order->node_id, em_now_ms());
    pthread_mutex_unlock(&order->keeper->lock);
}

/* Core's thread: the node has nothing left, or is not there at all, or came back; only then
 * its lease was renewed meanwhile, and stays. */
static void on_expired(void *aux, const struct ms_result *result)
{
    struct order *order = aux;
    if (result->n_withdrawn)
        em_warn("node %s: hold has run out, %u locations withdrawn", order->node_id,
                result->n_withdrawn);
    pthread_mutex_lock(&order->keeper->lock);
    if (result->err == 0 && !result->is_more &&
        ms_lease_is_down(order->keeper->lease, order->node_id))
        ms_lease_forget(order->keeper->lease, order->node_id);
    pthread_mutex_unlock(&order->keeper->lock);
    free(order);
}

static void on_down(void *aux, const struct ms_result *result)
{
    struct order *order = aux;
    if (result->err)
        try_again(order);
    else if (result->is_changed)
        em_warn("node %s is unreachable: no heartbeat within its lease; its locations stay for "
                "now",
                order->node_id);
    free(order);
}

static void carry_out(struct ms_keeper *keeper, const struct verdict *verdict)
{
    struct order *order = em_calloc(1, sizeof(*order));
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    Eidmap__NodeDown down = EIDMAP__NODE_DOWN__INIT;
    Eidmap__NodeExpire expire = EIDMAP__NODE_EXPIRE__INIT;
    order->keeper = keeper;
    memcpy(order->node_id, verdict->node_id, sizeof(order->node_id));
    switch (verdict->verdict) {
    case MS_LEASE_DOWN:
        down.node_id = order->node_id;
        command.body_case = EIDMAP__COMMAND__BODY_NODE_DOWN;
        command.node_down = &down;
        ms_front_close_node(keeper->front, order->node_id);
        if (propose(keeper, &command, on_down, order)) {
            try_again(order);
            free(order);
        }
        return;
    case MS_LEASE_EXPIRE:
        expire.node_id = order->node_id;
        expire.max_ports = EXPIRE_PORTS;
        command.body_case = EIDMAP__COMMAND__BODY_NODE_EXPIRE;
        command.node_expire = &expire;
        if (propose(keeper, &command, on_expired, order))
            free(order);
        return;
    }
}

static void on_verdict(void *aux, const char *node_id, enum ms_lease_verdict verdict)
{
    struct verdicts *verdicts = aux;
    struct verdict *item = &verdicts->list[verdicts->n++];
    strncpy(item->node_id, node_id, sizeof(item->node_id) - 1);
    item->verdict = verdict;
}

static void tick_leases(struct ms_keeper *keeper)
{
    struct verdicts *verdicts = em_calloc(1, sizeof(*verdicts));
    pthread_mutex_lock(&keeper->lock);
    ms_lease_set(keeper->lease, keeper->front->config.lease_ms, keeper->front->config.hold_ms);
    ms_lease_tick(keeper->lease, em_now_ms(), TICK_VERDICTS, on_verdict, verdicts);
    pthread_mutex_unlock(&keeper->lock);
    for (size_t i = 0; i < verdicts->n; i++)
        carry_out(keeper, &verdicts->list[i]);
    free(verdicts);
}

/* Core's thread. */
static void on_trimmed(void *aux, const struct ms_result *result)
{
    struct ms_keeper *keeper = aux;
    if (result->err == 0 && !result->is_more)
        keeper->trimmed = keeper->trim_below;
    keeper->is_trimming = false;
}

static void trim(struct ms_keeper *keeper, uint64_t below)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    Eidmap__Trim trim = EIDMAP__TRIM__INIT;
    if (below <= keeper->trimmed || keeper->is_trimming)
        return;
    trim.below = below;
    trim.max_entries = TRIM_ENTRIES;
    command.body_case = EIDMAP__COMMAND__BODY_TRIM;
    command.trim = &trim;
    keeper->is_trimming = true;
    keeper->trim_below = below;
    if (propose(keeper, &command, on_trimmed, keeper))
        keeper->is_trimming = false;
}

/* Remembers the revision now and then; what was the map's revision when the oldest sample
 * was taken is old enough to be forgotten. */
static void tick_tombstones(struct ms_keeper *keeper)
{
    uint64_t now_ms = em_now_ms();
    uint64_t keep_ms = keeper->front->config.tombstones_ms;
    unsigned newest = (keeper->n_samples + SAMPLES - 1) % SAMPLES;
    if (keeper->n_samples == 0 ||
        now_ms - keeper->samples[newest].at_ms >= keep_ms / (SAMPLES - 1)) {
        keeper->samples[keeper->n_samples % SAMPLES] =
            (struct keeper_sample){now_ms, keeper->front->revision};
        keeper->n_samples++;
    }
    for (unsigned i = 0; i < SAMPLES && i < keeper->n_samples; i++) {
        const struct keeper_sample *sample = &keeper->samples[i];
        if (now_ms - sample->at_ms >= keep_ms && sample->revision > keeper->trimmed)
            trim(keeper, sample->revision);
    }
}

/* A pending location whose time is over: who started the migration has not ended it. */
struct overdue {
    uint8_t port[EM_PORT_ID_SIZE];
    size_t size;
    char node_id[NODE_ID_SIZE];
    uint64_t epoch;
};

struct search {
    struct ms_keeper *keeper;
    uint64_t now_ms;
    struct overdue list[MIGRATIONS];
    size_t n;
};

static int on_migrating(void *aux, const uint8_t *id, size_t size)
{
    struct search *search = aux;
    struct ms_blob record;
    struct em_arena arena;
    if (ms_reader_port(search->keeper->reader, id, size, &record))
        return 0;
    em_arena_init(&arena, 0);
    const Eidmap__Port *port =
        em_msg_unpack_as(&arena, &eidmap__port__descriptor, record.data, record.size);
    for (size_t i = 0; port && i < port->n_locations && search->n < MIGRATIONS; i++) {
        const Eidmap__Location *l = port->locations[i];
        if (l->state != EIDMAP__LOCATION_STATE__LOCATION_PENDING || l->until_ms > search->now_ms)
            continue;
        struct overdue *overdue = &search->list[search->n++];
        overdue->size = size;
        overdue->epoch = l->epoch;
        memcpy(overdue->port, id, size);
        strncpy(overdue->node_id, l->node_id, NODE_ID_SIZE - 1);
    }
    em_arena_fini(&arena);
    return search->n == MIGRATIONS;
}

/* Core's thread. */
static void on_ended(void *aux, const struct ms_result *result)
{
    if (result->err == 0 && result->is_changed)
        em_warn("a migration was not ended in its time: its pending location was withdrawn");
}

static void end_migration(struct ms_keeper *keeper, struct overdue *overdue)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    Eidmap__Withdraw withdraw = EIDMAP__WITHDRAW__INIT;
    Eidmap__PortRef ref = EIDMAP__PORT_REF__INIT, *refs[] = {&ref};
    ref.id = (ProtobufCBinaryData){overdue->size, overdue->port};
    ref.epoch = overdue->epoch;
    withdraw.ports = refs;
    withdraw.n_ports = 1;
    withdraw.node_id = overdue->node_id;
    command.body_case = EIDMAP__COMMAND__BODY_WITHDRAW;
    command.withdraw = &withdraw;
    (void)propose(keeper, &command, on_ended, keeper); /* else after the next look */
}

static void tick_migrations(struct ms_keeper *keeper)
{
    uint64_t now_ms = em_now_ms();
    if (now_ms - keeper->migrations_ms < MIGRATIONS_MS || ms_reader_begin(keeper->reader))
        return;
    keeper->migrations_ms = now_ms;
    struct search *search = em_calloc(1, sizeof(*search));
    search->keeper = keeper;
    search->now_ms = em_wall_ms();
    (void)ms_reader_node_ports(keeper->reader, MS_MIGRATING, on_migrating, search);
    ms_reader_end(keeper->reader);
    for (size_t i = 0; i < search->n; i++)
        end_migration(keeper, &search->list[i]);
    free(search);
}

void ms_keeper_tick(struct ms_keeper *keeper)
{
    if (!keeper->is_leader) {
        keeper->is_keeping = false;
        if (ms_reader_begin(keeper->reader) == 0) /* a map that was replaced is let go */
            ms_reader_end(keeper->reader);
        return;
    }
    if (!keeper->is_keeping)
        begin(keeper);
    if (!keeper->is_keeping)
        return;
    tick_leases(keeper);
    tick_tombstones(keeper);
    tick_migrations(keeper);
}
