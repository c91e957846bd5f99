/* One writer for the whole map.  The queue is a list under a mutex: a proposal costs one
 * lock, a batch one more, and beside an fsync neither is seen. */
#include "core/core.h"

#include "base/mem.h"
#include "eidmap/error.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#define BATCH_LEN            512
#define BATCH_SIZE           (1u << 20)
#define DEFAULT_WAITING      16384
#define DEFAULT_WAITING_SIZE (64u << 20)

struct proposal {
    struct proposal *next;
    uint8_t *bytes;
    size_t size;
    ms_core_done_fn *done;
    void *aux;
};

struct ms_core {
    struct ms_core_events events;
    void *aux;
    struct ms_apply *apply; /* the thread's */
    bool is_broken;         /* the thread's */
    pthread_t thread;
    size_t max_waiting, max_waiting_size;

    pthread_mutex_t lock; /* for what follows */
    pthread_cond_t wake;
    struct proposal *first, **last;
    size_t n_waiting, waiting_size;
    bool is_busy; /* the thread is in a batch */
    bool is_stopping;
    uint64_t n_batches, n_batches_seen; /* seen by ms_core_is_alive() */
};

/* Takes what waits, as much as a batch may hold; 0: the core has stopped. */
static size_t take_batch(struct ms_core *core, struct proposal **ret_batch)
{
    size_t n = 0, size = 0;
    pthread_mutex_lock(&core->lock);
    core->is_busy = false;
    core->n_batches++;
    while (!core->first && !core->is_stopping)
        pthread_cond_wait(&core->wake, &core->lock);
    while (core->first && n < BATCH_LEN && (n == 0 || size + core->first->size <= BATCH_SIZE)) {
        struct proposal *p = core->first;
        core->first = p->next;
        size += p->size;
        ret_batch[n++] = p;
    }
    if (!core->first)
        core->last = &core->first;
    assert(core->n_waiting >= n && core->waiting_size >= size);
    core->n_waiting -= n;
    core->waiting_size -= size;
    core->is_busy = n > 0;
    pthread_mutex_unlock(&core->lock);
    return n;
}

static void answer(struct proposal *p, const struct ms_result *result)
{
    if (p->done)
        p->done(p->aux, result);
    free(p->bytes);
    free(p);
}

static void answer_broken(struct proposal **batch, size_t n)
{
    static const struct ms_result result = {
        .err = EM_E_INTERNAL,
        .message = "this map server has stopped working; its log says why",
        .field = "",
    };
    for (size_t i = 0; i < n; i++)
        answer(batch[i], &result);
}

static void run_batch(struct ms_core *core, struct proposal **batch, size_t n)
{
    struct ms_blob commands[BATCH_LEN];
    struct ms_batch done;
    const char *why = "";
    for (size_t i = 0; i < n; i++)
        commands[i] = (struct ms_blob){batch[i]->bytes, batch[i]->size};
    int r = ms_apply_batch(core->apply, commands, n, ms_apply_index(core->apply) + n, &done, &why);
    if (r) {
        core->is_broken = true;
        core->events.on_fatal(core->aux, r, why);
        answer_broken(batch, n);
        return;
    }
    if (done.n_networks > 0)
        core->events.on_commit(core->aux, done.revision, done.networks, done.n_networks);
    for (size_t i = 0; i < n; i++)
        answer(batch[i], &done.results[i]);
}

static void *work(void *aux)
{
    struct ms_core *core = aux;
    struct proposal *batch[BATCH_LEN];
    size_t n;
    while ((n = take_batch(core, batch)) > 0) {
        if (core->is_broken)
            answer_broken(batch, n);
        else
            run_batch(core, batch, n);
    }
    return NULL;
}

static void destroy(struct ms_core *core)
{
    assert(!core->first);
    ms_apply_free(core->apply);
    pthread_cond_destroy(&core->wake);
    pthread_mutex_destroy(&core->lock);
    free(core);
}

int ms_core_start(const struct ms_core_config *config, const struct ms_core_events *events,
                  void *aux, struct ms_core **ret_core)
{
    struct ms_core *core = em_calloc(1, sizeof(*core));
    struct ms_apply_config apply = {config->store, config->max_node_ports};
    core->events = *events;
    core->aux = aux;
    core->max_waiting = config->max_waiting ? config->max_waiting : DEFAULT_WAITING;
    core->max_waiting_size =
        config->max_waiting_bytes ? config->max_waiting_bytes : DEFAULT_WAITING_SIZE;
    core->last = &core->first;
    core->apply = ms_apply_new(&apply);
    pthread_mutex_init(&core->lock, NULL);
    pthread_cond_init(&core->wake, NULL);
    int r = -pthread_create(&core->thread, NULL, work, core);
    if (r) {
        destroy(core);
        return r;
    }
    *ret_core = core;
    return 0;
}

void ms_core_stop(struct ms_core *core)
{
    if (!core)
        return;
    pthread_mutex_lock(&core->lock);
    core->is_stopping = true;
    pthread_cond_signal(&core->wake);
    pthread_mutex_unlock(&core->lock);
    pthread_join(core->thread, NULL);
    destroy(core);
}

int ms_core_propose(struct ms_core *core, uint8_t *bytes_take, size_t size, ms_core_done_fn *done,
                    void *aux)
{
    struct proposal *p = em_malloc(sizeof(*p));
    *p = (struct proposal){.bytes = bytes_take, .size = size, .done = done, .aux = aux};
    pthread_mutex_lock(&core->lock);
    assert(!core->is_stopping);
    bool is_full = core->n_waiting >= core->max_waiting ||
                   (core->n_waiting > 0 && core->waiting_size + size > core->max_waiting_size);
    if (!is_full) {
        *core->last = p;
        core->last = &p->next;
        core->n_waiting++;
        core->waiting_size += size;
        pthread_cond_signal(&core->wake);
    }
    pthread_mutex_unlock(&core->lock);
    if (!is_full)
        return 0;
    free(bytes_take);
    free(p);
    return EM_E_BUSY;
}

bool ms_core_is_alive(struct ms_core *core)
{
    pthread_mutex_lock(&core->lock);
    bool is_alive = !core->is_busy || core->n_batches != core->n_batches_seen;
    core->n_batches_seen = core->n_batches;
    pthread_mutex_unlock(&core->lock);
    return is_alive;
}
