/* The map-cache on disk (cachefile.h): read at the start, written while the agent runs.
 *
 * A write goes piece by piece: the loop packs one, a thread puts it into the file, and the next
 * turn packs the next, so that a million ports cost neither a pause nor memory.  A write begins
 * some seconds after a change at the earliest, and where it takes long in proportion to that:
 * on a busy map it takes a hundredth of the loop's time at most. */
#include "agent_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "eidmap/error.h"
#include "statefile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_SIZE (128u << 10)
#define DELAY_MS   500  /* changes that come together are written together */
#define PAUSE_MS   5000 /* at least, between two writes, ... */
#define SHARE      100  /* ... and so many times as long as the last one took */
#define LATER_MS   (5 * 60000u)
#define YIELD_MS   10000u /* at most, to the data plane, which has more to do */

/* Reading */

static void set_aside(const struct xtr_agent *agent, int err, const char *path)
{
    const char *why = err == EM_E_UNSUPPORTED ? "is of another version"
                      : err == EM_E_CONFLICT  ? "is another node's"
                                              : "is damaged";
    if (err == EM_E_UNSUPPORTED || err == EM_E_CONFLICT || err == EM_E_MALFORMED) {
        em_error("%s %s and was renamed to %s.bad; the map is taken from the servers anew", path,
                 why, XTR_CACHEFILE_NAME);
        xtr_statefile_set_aside(path);
    } else {
        em_error("cannot read %s: %s", path, em_strerror(err));
    }
}

static int load(struct xtr_agent *agent, uint32_t network_id, struct xtr_place *place)
{
    struct xtr_cachepoint point;
    if (!xtr_cachefile_find(agent->store.file, network_id, &point))
        return 0;
    int r = xtr_cachefile_load(agent->store.file, network_id, agent->cache);
    place->revision = r ? 0 : point.revision;
    return r;
}

void xtr_store_open(struct xtr_agent *agent)
{
    struct xtr_store *store = &agent->store;
    char *path = em_asprintf("%s/%s", store->dir, XTR_CACHEFILE_NAME);
    int r = xtr_cachefile_open(path, agent->config->node_id, &store->file);
    if (!r) {
        memcpy(agent->cluster_id, xtr_cachefile_cluster(store->file), sizeof agent->cluster_id);
        r = load(agent, 0, &agent->zero_place);
        store->saved_revision = xtr_mapcache_revision(agent->cache);
    }
    if (r && r != -ENOENT)
        set_aside(agent, r, path);
    free(path);
}

struct xtr_place xtr_store_recall(struct xtr_agent *agent, uint32_t network_id)
{
    struct xtr_place place = {0};
    if (!agent->store.file)
        return place;
    int r = load(agent, network_id, &place);
    if (r)
        em_error("the saved map-cache of network %u cannot be read: %s", network_id,
                 em_strerror(r));
    return place;
}

void xtr_store_recalled(struct xtr_agent *agent)
{
    struct xtr_store *store = &agent->store;
    if (!store->file)
        return;
    struct xtr_mapcache_counts counts = xtr_mapcache_counts(agent->cache);
    em_info("the map-cache of an earlier run is in use: %llu remote ports in %u networks",
            (unsigned long long)counts.n_remote, counts.n_open);
    xtr_cachefile_close(store->file);
    store->file = NULL;
}

/* Writing */

static struct xtr_cachepoint *find_points(const struct xtr_agent *agent, size_t *ret_n)
{
    size_t n = 1;
    EM_FOREACH (sub, &agent->subs, struct xtr_sub, item)
        n++;
    struct xtr_cachepoint *points = em_calloc(n, sizeof *points);
    points[0].revision = agent->zero_place.revision;
    n = 1;
    EM_FOREACH (sub, &agent->subs, struct xtr_sub, item)
        points[n++] = (struct xtr_cachepoint){sub->network_id, sub->place.revision};
    *ret_n = n;
    return points;
}

static void pack_begin(struct xtr_agent *agent)
{
    struct xtr_store *store = &agent->store;
    size_t n;
    struct xtr_cachepoint *points = find_points(agent, &n);
    xtr_cachepack_init(&store->pack, agent->cluster_id, agent->config->node_id, points, n);
    free(points);
    store->is_packing = true;
    store->has_news = store->is_void = store->is_last = false;
    store->later_ms = 0;
    store->pack_us = 0;
    store->revision = xtr_mapcache_revision(agent->cache);
    store->n_gone = xtr_mapcache_networks_gone(agent->cache);
    store->fd = -1;
}

static void pack_end(struct xtr_store *store)
{
    xtr_cachepack_fini(&store->pack);
    if (store->fd >= 0)
        xtr_statefile_discard(store->fd, store->dir, XTR_CACHEFILE_NAME);
    store->fd = -1;
    store->is_packing = false;
}

/* In the saver's thread, but for the end. */
static int write_piece(void *to, const struct em_buf *bytes)
{
    struct xtr_store *store = to;
    if (store->fd < 0)
        store->fd = xtr_statefile_create(store->dir, XTR_CACHEFILE_NAME);
    if (store->fd < 0)
        return store->fd;
    int r = xtr_statefile_append(store->fd, em_buf_head(bytes), em_buf_size(bytes));
    if (r || !store->is_last)
        return r;
    int fd = store->fd;
    store->fd = -1;
    return xtr_statefile_commit(fd, store->dir, XTR_CACHEFILE_NAME);
}

static void pack_piece(struct xtr_agent *agent, struct em_buf *ret_bytes)
{
    struct xtr_store *store = &agent->store;
    uint64_t begin = em_now_us();
    store->is_last = xtr_cachepack_more(&store->pack, agent->cache, PIECE_SIZE);
    xtr_cachepack_take(&store->pack, ret_bytes);
    store->pack_us += em_now_us() - begin;
}

static void note_result(struct xtr_agent *agent, int err)
{
    struct xtr_store *store = &agent->store;
    if (err && err != store->err)
        em_error("cannot save the map-cache in %s: %s", store->dir, em_strerror(err));
    store->err = err;
    store->has_news |= err != 0;
    if (!err)
        store->saved_revision = store->revision;
}

static void on_piece(void *aux, int err)
{
    struct xtr_agent *agent = aux;
    struct xtr_store *store = &agent->store;
    if (err || store->is_last) {
        uint64_t pause_ms = store->pack_us * SHARE / 1000;
        note_result(agent, err);
        pack_end(store);
        store->due_ms = em_now_ms() + (pause_ms > PAUSE_MS ? pause_ms : PAUSE_MS);
    } else if (store->is_void) {
        pack_end(store);
        store->has_news = true;
    }
    xtr_agent_kick(agent);
}

void xtr_store_news(struct xtr_agent *agent)
{
    struct xtr_store *store = &agent->store;
    uint64_t soon = em_now_ms() + DELAY_MS;
    if (!store->has_news && store->due_ms < soon)
        store->due_ms = soon;
    store->has_news = true;
}

void xtr_store_later(struct xtr_agent *agent)
{
    if (!agent->store.later_ms)
        agent->store.later_ms = em_now_ms() + LATER_MS;
}

static bool is_due(const struct xtr_store *store, uint64_t now_ms)
{
    return (store->has_news && now_ms >= store->due_ms) ||
           (store->later_ms && now_ms >= store->later_ms);
}

void xtr_store_void(struct xtr_agent *agent)
{
    xtr_store_news(agent);
    agent->store.is_void = true;
}

/* What a pass has not shown yet would be lost, and what it has shown has no place to resume
 * from: the old file is better. */
static bool is_in_pass(const struct xtr_agent *agent)
{
    EM_FOREACH (sub, &agent->subs, struct xtr_sub, item)
        if (sub->place.is_in_pass)
            return true;
    return agent->zero_place.is_in_pass;
}

/* What is on the map is first to be forwarded to, and then to be saved. */
static bool yields(const struct xtr_agent *agent)
{
    const struct xtr_store *store = &agent->store;
    uint64_t since_ms = store->has_news ? store->due_ms : store->later_ms;
    return xtr_mapcache_done(agent->cache) != xtr_mapcache_tail(agent->cache) &&
           em_now_ms() < since_ms + YIELD_MS;
}

void xtr_store_turn(struct xtr_agent *agent)
{
    struct xtr_store *store = &agent->store;
    struct em_buf bytes;
    if (store->saver.is_busy)
        return;
    store->is_void |= store->n_gone != xtr_mapcache_networks_gone(agent->cache);
    if (store->is_packing && store->is_void) {
        pack_end(store);
        store->has_news = true;
    }
    if (!store->is_packing) {
        if (!is_due(store, em_now_ms()) || is_in_pass(agent) || yields(agent))
            return;
        pack_begin(agent);
    }
    pack_piece(agent, &bytes);
    em_saver_start_take(&store->saver, &bytes);
}

static int write_all(struct xtr_agent *agent)
{
    struct xtr_store *store = &agent->store;
    int r = 0;
    pack_begin(agent);
    do {
        struct em_buf bytes;
        pack_piece(agent, &bytes);
        r = write_piece(store, &bytes);
        em_buf_fini(&bytes);
    } while (!r && !store->is_last);
    pack_end(store);
    return r;
}

void xtr_store_close(struct xtr_agent *agent)
{
    struct xtr_store *store = &agent->store;
    em_saver_fini(&store->saver);
    bool is_behind = store->has_news || store->later_ms || store->is_packing;
    if (store->is_packing)
        pack_end(store);
    if (is_behind && agent->cache && !is_in_pass(agent))
        note_result(agent, write_all(agent));
    xtr_cachefile_close(store->file);
    store->file = NULL;
}

void xtr_store_init(struct xtr_agent *agent)
{
    agent->store.dir = agent->config->state_dir;
    agent->store.fd = -1;
    em_saver_init(&agent->store.saver, agent->loop, write_piece, &agent->store, on_piece, agent);
}
