#include "core/applier.h"

#include "base/mem.h"
#include "eidmap/error.h"
#include "state/identity.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_LEN   512         /* commands after which no further entry joins a transaction, */
#define LAZY_LEN    2048        /* and when nobody waits for it */
#define ENTRIES_MAX 256         /* likewise */
#define BATCH_SIZE  (4u << 20)  /* bytes, likewise */
#define ARENA_LIMIT (16u << 20) /* all of that, unpacked */
#define LAZY_MS     50

struct item {
    struct item *next;
    uint64_t index;
    struct ms_entry entry;
};

struct ms_applier {
    struct ms_store *store;
    struct ms_applier_events events;
    void *aux;
    pthread_t thread;
    struct ms_apply *apply; /* the thread's */
    bool is_broken;         /* the thread's */
    size_t batch_len;       /* the thread's */

    pthread_mutex_t lock; /* for what follows */
    pthread_cond_t wake, idle;
    struct item *first, **last;
    size_t n_waiting;
    uint64_t n_done;
    bool wants_sync, is_busy, is_stopping;
    bool wants_another; /* sync, after the one that is under way */
    bool is_lazy, is_collecting;
};

struct work {
    struct item *items;
    bool wants_sync;
    bool is_end;
};

/* ---- the thread ------------------------------------------------------------------------ */

static bool may_collect(const struct ms_applier *applier)
{
    return applier->is_lazy && applier->n_waiting < ENTRIES_MAX && !applier->wants_sync &&
           !applier->is_stopping;
}

/* Under the lock. */
static void collect(struct ms_applier *applier)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LAZY_MS * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    applier->is_collecting = true;
    while (may_collect(applier) &&
           pthread_cond_timedwait(&applier->wake, &applier->lock, &until) == 0)
        ;
    applier->is_collecting = false;
}

static struct work take(struct ms_applier *applier)
{
    struct work work = {0};
    pthread_mutex_lock(&applier->lock);
    applier->is_busy = false;
    pthread_cond_broadcast(&applier->idle);
    while (!applier->first && !applier->wants_sync && !applier->is_stopping)
        pthread_cond_wait(&applier->wake, &applier->lock);
    collect(applier);
    applier->batch_len = applier->is_lazy ? LAZY_LEN : BATCH_LEN;
    work.items = applier->first;
    work.wants_sync = applier->wants_sync;
    work.is_end = applier->is_stopping && !applier->first && !applier->wants_sync;
    applier->first = NULL;
    applier->last = &applier->first;
    applier->wants_sync = false;
    applier->is_busy = true;
    pthread_mutex_unlock(&applier->lock);
    return work;
}

static void stop_working(struct ms_applier *applier, int err, const char *why)
{
    applier->is_broken = true;
    applier->events.on_fatal(applier->aux, err, why);
}

/* The commands of one transaction; they point into the arena. */
struct bundle {
    struct em_arena arena;
    struct ms_blob *commands;
    size_t n, room;
};

static int add_commands(struct bundle *bundle, const struct ms_payload *payload)
{
    const Eidmap__Batch *batch =
        em_msg_unpack_as(&bundle->arena, &eidmap__batch__descriptor, payload->data, payload->size);
    if (!batch)
        return EM_E_MALFORMED;
    if (bundle->n + batch->n_commands > bundle->room) {
        bundle->room = 2 * (bundle->n + batch->n_commands);
        bundle->commands = em_realloc(bundle->commands, bundle->room * sizeof(*bundle->commands));
    }
    for (size_t i = 0; i < batch->n_commands; i++)
        bundle->commands[bundle->n++] =
            (struct ms_blob){batch->commands[i].data, batch->commands[i].len};
    return 0;
}

static void run(struct ms_applier *applier, const struct bundle *bundle, struct ms_point last)
{
    struct ms_batch done;
    const char *why = "";
    int r = ms_apply_batch(applier->apply, bundle->commands, bundle->n, last, &done, &why);
    if (r) {
        stop_working(applier, r, why);
        return;
    }
    if (done.n_networks > 0)
        applier->events.on_commit(applier->aux, done.revision, done.networks, done.n_networks);
    for (size_t i = 0; i < bundle->n; i++)
        applier->events.on_result(applier->aux, &done.results[i]);
}

static void change_members(struct ms_applier *applier, const struct item *item)
{
    const char *why = "";
    const struct ms_blob members = {item->entry.payload->data, item->entry.payload->size};
    int r = ms_apply_members(applier->apply, members,
                             (struct ms_point){item->index, item->entry.term}, &why);
    if (r)
        stop_working(applier, r, why);
}

/* As many entries as go into one transaction; returns the first one that did not. */
static struct item *apply_some(struct ms_applier *applier, struct item *item, size_t *n_done)
{
    struct bundle bundle = {0};
    struct ms_point last = ms_apply_point(applier->apply);
    size_t n = 0, size = 0;
    int r = 0;
    if (item->entry.type == RAFT_CHANGE && item->index > last.index) {
        change_members(applier, item);
        *n_done += 1;
        return item->next;
    }
    em_arena_init(&bundle.arena, ARENA_LIMIT);
    for (; item && n < ENTRIES_MAX && bundle.n < applier->batch_len && size < BATCH_SIZE && r == 0;
         item = item->next, n++) {
        if (item->index <= last.index)
            continue; /* the map has it */
        if (item->entry.type == RAFT_CHANGE)
            break;
        if (item->entry.type == RAFT_COMMAND)
            r = add_commands(&bundle, item->entry.payload);
        size += item->entry.payload ? item->entry.payload->size : 0;
        last = (struct ms_point){item->index, item->entry.term};
    }
    if (r)
        stop_working(applier, r,
                     "a committed entry is no batch: the log is damaged, remove this "
                     "server from the cluster and add it again");
    else
        run(applier, &bundle, last);
    free(bundle.commands);
    em_arena_fini(&bundle.arena);
    *n_done += n;
    return item;
}

static void free_items(struct item *item)
{
    while (item) {
        struct item *next = item->next;
        ms_payload_unref(item->entry.payload);
        free(item);
        item = next;
    }
}

static void count(struct ms_applier *applier, size_t n)
{
    pthread_mutex_lock(&applier->lock);
    assert(applier->n_waiting >= n);
    applier->n_waiting -= n;
    applier->n_done += n;
    pthread_mutex_unlock(&applier->lock);
}

/* What on_synced says when the sync is done. */
struct sync {
    struct ms_applier *applier;
    struct ms_identity identity;
};

static void on_sync_done(void *aux, int err)
{
    struct sync *sync = aux;
    struct ms_applier *applier = sync->applier;
    const struct ms_identity *identity = &sync->identity;
    const struct ms_mark mark = {identity->applied, identity->applied_term, identity->members_index,
                                 identity->members, identity->members_size};
    if (err)
        applier->events.on_fatal(applier->aux, err,
                                 "the map cannot be made durable: free disk space if the disk is "
                                 "full, else look at its health in the kernel's log");
    else if (mark.members_size > 0)
        applier->events.on_synced(applier->aux, &mark);
    ms_identity_fini(&sync->identity);
    free(sync);
    pthread_mutex_lock(&applier->lock);
    applier->wants_sync |= applier->wants_another;
    applier->wants_another = false;
    pthread_cond_signal(&applier->wake);
    pthread_mutex_unlock(&applier->lock);
}

static void set_wants_another(struct ms_applier *applier, bool wants)
{
    pthread_mutex_lock(&applier->lock);
    applier->wants_another = wants;
    pthread_mutex_unlock(&applier->lock);
}

/* Goes on meanwhile. */
static void sync_map(struct ms_applier *applier)
{
    struct sync *sync = em_calloc(1, sizeof(*sync));
    const char *why = "the map cannot be read";
    sync->applier = applier;
    int r = ms_apply_settle(applier->apply, &why);
    if (r == 0)
        r = ms_identity_get(applier->store, &sync->identity);
    if (r == 0)
        r = ms_store_sync_begin(applier->store, on_sync_done, sync);
    if (r == EM_E_BUSY) { /* again, since it may have ended before it could see the flag */
        set_wants_another(applier, true);
        r = ms_store_sync_begin(applier->store, on_sync_done, sync);
    }
    if (r == 0)
        return;
    ms_identity_fini(&sync->identity);
    free(sync);
    if (r != EM_E_BUSY)
        stop_working(applier, r, why);
}

static void apply_all(struct ms_applier *applier, struct item *items)
{
    struct item *item = items;
    size_t n_left = 0;
    while (item && !applier->is_broken) {
        size_t n = 0;
        item = apply_some(applier, item, &n);
        count(applier, n);
        if (!applier->is_broken)
            applier->events.on_applied(applier->aux, ms_apply_point(applier->apply));
        if (!applier->is_broken && ms_store_wants_sync(applier->store))
            sync_map(applier);
    }
    for (; item; item = item->next)
        n_left++;
    count(applier, n_left);
    free_items(items);
}

static void *work(void *aux)
{
    struct ms_applier *applier = aux;
    pthread_setname_np(pthread_self(), "apply");
    for (;;) {
        struct work todo = take(applier);
        if (todo.is_end)
            return NULL;
        apply_all(applier, todo.items);
        if (todo.wants_sync && !applier->is_broken)
            sync_map(applier);
    }
}

/* ---- other threads --------------------------------------------------------------------- */

static void destroy(struct ms_applier *applier)
{
    free_items(applier->first);
    ms_apply_free(applier->apply);
    pthread_cond_destroy(&applier->wake);
    pthread_cond_destroy(&applier->idle);
    pthread_mutex_destroy(&applier->lock);
    free(applier);
}

/* A map of before there were members, or of a first start that was cut short. */
static int give_members(struct ms_applier *applier, const struct ms_mark *mark)
{
    struct ms_identity identity;
    int r = ms_identity_get(applier->store, &identity);
    if (r)
        return r;
    if (identity.members_size == 0) {
        identity.members = em_memdup(mark->members, mark->members_size);
        identity.members_size = mark->members_size;
        identity.members_index = mark->members_index;
        identity.applied = mark->index;
        identity.applied_term = mark->term;
        r = ms_identity_set(applier->store, &identity);
    }
    ms_identity_fini(&identity);
    return r;
}

int ms_applier_start(struct ms_store *store, const struct ms_mark *mark,
                     const struct ms_applier_events *events, void *aux,
                     struct ms_applier **ret_applier, struct ms_point *ret_point)
{
    struct ms_applier *applier = em_calloc(1, sizeof(*applier));
    pthread_condattr_t monotonic;
    applier->store = store;
    applier->events = *events;
    applier->aux = aux;
    applier->last = &applier->first;
    pthread_mutex_init(&applier->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&applier->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&applier->idle, NULL);
    int r = mark ? give_members(applier, mark) : 0;
    if (r == 0) {
        applier->apply = ms_apply_new(store);
        *ret_point = ms_apply_point(applier->apply);
        r = -pthread_create(&applier->thread, NULL, work, applier);
    }
    if (r) {
        destroy(applier);
        return r;
    }
    *ret_applier = applier;
    return 0;
}

void ms_applier_stop(struct ms_applier *applier)
{
    if (!applier)
        return;
    pthread_mutex_lock(&applier->lock);
    applier->is_stopping = true;
    pthread_cond_signal(&applier->wake);
    pthread_mutex_unlock(&applier->lock);
    pthread_join(applier->thread, NULL);
    ms_store_sync_wait(applier->store);
    destroy(applier);
}

void ms_applier_put(struct ms_applier *applier, uint64_t index, const struct ms_entry *entry)
{
    struct item *item = em_malloc(sizeof(*item));
    *item = (struct item){.index = index, .entry = *entry};
    ms_payload_ref(item->entry.payload);
    pthread_mutex_lock(&applier->lock);
    *applier->last = item;
    applier->last = &item->next;
    applier->n_waiting++;
    if (!applier->is_collecting || !may_collect(applier))
        pthread_cond_signal(&applier->wake);
    pthread_mutex_unlock(&applier->lock);
}

void ms_applier_set_lazy(struct ms_applier *applier, bool is_lazy)
{
    pthread_mutex_lock(&applier->lock);
    applier->is_lazy = is_lazy;
    if (!is_lazy)
        pthread_cond_signal(&applier->wake);
    pthread_mutex_unlock(&applier->lock);
}

void ms_applier_sync(struct ms_applier *applier)
{
    pthread_mutex_lock(&applier->lock);
    applier->wants_sync = true;
    pthread_cond_signal(&applier->wake);
    pthread_mutex_unlock(&applier->lock);
}

/* Nothing comes from the caller's thread meanwhile, so the applier's stays idle. */
static void become_idle(struct ms_applier *applier)
{
    pthread_mutex_lock(&applier->lock);
    free_items(applier->first);
    applier->first = NULL;
    applier->last = &applier->first;
    while (applier->is_busy)
        pthread_cond_wait(&applier->idle, &applier->lock);
    applier->n_waiting = 0;
    applier->wants_sync = applier->wants_another = false;
    pthread_mutex_unlock(&applier->lock);
    ms_store_sync_wait(applier->store);
}

int ms_applier_switch(struct ms_applier *applier, uint64_t generation, char **ret_why)
{
    become_idle(applier);
    pthread_mutex_lock(&applier->lock);
    int r = ms_store_switch(applier->store, generation, ret_why);
    if (r == 0)
        ms_apply_restart(applier->apply);
    pthread_mutex_unlock(&applier->lock);
    return r;
}

size_t ms_applier_backlog(struct ms_applier *applier, uint64_t *ret_n_done)
{
    pthread_mutex_lock(&applier->lock);
    size_t n = applier->n_waiting;
    *ret_n_done = applier->n_done;
    pthread_mutex_unlock(&applier->lock);
    return n;
}
