/* The map of another server, piece by piece into a file, then into an environment of its own.
 *
 *   IDLE --offer--> FETCHING --last piece--> LOADING (a thread) --> READY --engine--> IDLE
 *
 * The pieces come over a client's connection to the server that offered: a lost one is made
 * again by libeidmap and the fetch goes on where it was.  A server that does not know its copy
 * any more begins anew; when nothing comes for a while the fetch is given up, and the leader
 * offers again.  The old map answers meanwhile. */
#include "core/core_state.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/request.h"
#include "eidmap.h"
#include "eidmap/error.h"
#include "state/snapshot.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE      (256u << 10)
#define WINDOW     8 /* pieces that are asked for at once */
#define SILENCE_MS 10000
#define COPY_MS    120000 /* for the sender to make its copy of a large map */

enum fetch_state { IDLE, FETCHING, LOADING, READY };

struct ms_fetch {
    struct ms_core *core;
    enum fetch_state state;
    struct em_client *client;
    char *path;
    int fd;
    uint64_t min_index;
    uint64_t copy;           /* the sender's name of it; 0: not known yet */
    uint64_t total;          /* bytes */
    uint64_t asked, written; /* bytes */
    uint64_t alive_ms;
    uint64_t began_ms;

    pthread_t loader;
    atomic_bool is_loaded; /* the thread is done with what follows */
    uint64_t generation;
    struct ms_snapshot_info info;
    struct ms_snapshot_job job;
    int err;
    char *why;
};

struct ms_fetch *ms_fetch_new(struct ms_core *core)
{
    struct ms_fetch *fetch = em_calloc(1, sizeof(*fetch));
    fetch->core = core;
    fetch->fd = -1;
    fetch->path = em_asprintf("%s/incoming", core->config.dir);
    unlink(fetch->path);
    return fetch;
}

static void stop_fetching(struct ms_fetch *fetch)
{
    em_client_free(fetch->client);
    fetch->client = NULL;
    if (fetch->fd >= 0)
        close(fetch->fd);
    fetch->fd = -1;
}

static void give_up(struct ms_fetch *fetch, const char *why)
{
    em_warn("the map cannot be fetched: %s; it is asked for again", why);
    stop_fetching(fetch);
    unlink(fetch->path);
    fetch->state = IDLE;
}

void ms_fetch_free(struct ms_fetch *fetch)
{
    if (!fetch)
        return;
    stop_fetching(fetch);
    if (fetch->state == LOADING) {
        fetch->job.is_cancelled = true;
        pthread_join(fetch->loader, NULL);
        free(fetch->why);
    }
    if (fetch->state == LOADING || fetch->state == READY)
        ms_snapshot_info_fini(&fetch->info);
    unlink(fetch->path);
    free(fetch->path);
    free(fetch);
}

bool ms_fetch_is_busy(const struct ms_fetch *fetch)
{
    return fetch->state != IDLE;
}

/* ---- loading ------------------------------------------------------------------------------ */

static void *load(void *aux)
{
    struct ms_fetch *fetch = aux;
    const struct ms_snapshot_target target = {
        .dir = fetch->core->config.dir,
        .generation = fetch->generation,
        .map_size = fetch->core->config.map_size,
        .disk_reserve = fetch->core->config.disk_reserve,
    };
    pthread_setname_np(pthread_self(), "load map");
    fetch->err = ms_snapshot_load(fetch->path, &target, &fetch->job, &fetch->info, &fetch->why);
    fetch->is_loaded = true;
    ev_async_send(fetch->core->loop, &fetch->core->wake);
    return NULL;
}

static void begin_loading(struct ms_fetch *fetch)
{
    em_info("the whole map has come: %" PRIu64 " MiB in %.1f s; putting it in place",
            fetch->total >> 20, (double)(em_now_ms() - fetch->began_ms) / 1e3);
    stop_fetching(fetch);
    fetch->generation = fetch->core->generation + 1;
    fetch->is_loaded = false;
    fetch->job = (struct ms_snapshot_job){0};
    fetch->info = (struct ms_snapshot_info){0};
    fetch->why = NULL;
    fetch->state = LOADING;
    int r = pthread_create(&fetch->loader, NULL, load, fetch);
    if (r) {
        fetch->state = IDLE;
        give_up(fetch, strerror(r));
    }
}

static void install(struct ms_fetch *fetch)
{
    struct ms_core *core = fetch->core;
    const struct ms_identity *identity = &fetch->info.identity;
    const struct ms_mark mark = {identity->applied, identity->applied_term, identity->members_index,
                                 identity->members, identity->members_size};
    bool is_done = false;
    if (ms_engine_leader(core->engine) == 0 &&
        em_now_ms() < fetch->alive_ms + SILENCE_MS) /* soon there will be one */
        return;
    int r = ms_engine_install(core->engine, em_now_ms(), &mark, fetch->generation, &is_done);
    if (r) {
        ms_core_fail(core, r, ms_engine_why(core->engine));
    } else if (is_done) {
        em_info("the map is in place at log index %" PRIu64 ", revision %" PRIu64, mark.index,
                fetch->info.revision);
    } else {
        em_info("the map that was fetched is not needed any more");
        ms_snapshot_discard(core->config.dir, fetch->generation); /* the next takes its place */
    }
    ms_snapshot_info_fini(&fetch->info);
    unlink(fetch->path);
    fetch->state = IDLE;
}

/* ---- fetching ----------------------------------------------------------------------------- */

static void ask(struct ms_fetch *fetch);

static void begin_again(struct ms_fetch *fetch)
{
    fetch->copy = fetch->asked = fetch->written = fetch->total = 0;
    if (ftruncate(fetch->fd, 0))
        give_up(fetch, strerror(errno));
    else
        ask(fetch);
}

/* 0, or why the piece is no good. */
static const char *take_piece(struct ms_fetch *fetch, const Eidmap__Chunk *chunk)
{
    if (chunk->data.len == 0 || chunk->offset != fetch->written ||
        chunk->offset + chunk->data.len > chunk->total)
        return "the pieces do not fit";
    if (em_crc32c(0, chunk->data.data, chunk->data.len) != chunk->crc32c)
        return "a piece was damaged on its way";
    if (fetch->copy == 0) {
        fetch->copy = chunk->snapshot;
        fetch->total = chunk->total;
        fetch->asked = chunk->data.len;
        em_info("fetching the map: %" PRIu64 " MiB at log index %" PRIu64, chunk->total >> 20,
                chunk->index);
    }
    if (chunk->snapshot != fetch->copy || chunk->total != fetch->total)
        return "the pieces are of two copies";
    ssize_t n = pwrite(fetch->fd, chunk->data.data, chunk->data.len, (off_t)chunk->offset);
    if (n != (ssize_t)chunk->data.len)
        return n < 0 ? strerror(errno) : "no space left on the disk";
    fetch->written += chunk->data.len;
    fetch->alive_ms = em_now_ms();
    return NULL;
}

static void on_piece(void *aux, int err, const Eidmap__Envelope *reply)
{
    struct ms_fetch *fetch = aux;
    if (fetch->state != FETCHING || err == EM_E_CLOSED)
        return;
    if (err || reply->body_case == EIDMAP__ENVELOPE__BODY_ERROR) {
        if (!err && reply->error->code == EIDMAP__ERROR_CODE__ERROR_NOT_FOUND && fetch->copy)
            begin_again(fetch);
        else
            give_up(fetch, err ? em_strerror(err) : reply->error->message);
        return;
    }
    if (reply->body_case != EIDMAP__ENVELOPE__BODY_CHUNK) {
        give_up(fetch, "the sender answers something else");
        return;
    }
    if (fetch->copy && reply->chunk->snapshot != fetch->copy)
        return; /* late, of a copy that was begun again */
    const char *why = take_piece(fetch, reply->chunk);
    if (why)
        give_up(fetch, why);
    else if (fetch->written == fetch->total)
        begin_loading(fetch);
    else
        ask(fetch);
}

static void ask_piece(struct ms_fetch *fetch, uint64_t offset, uint32_t size)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Fetch msg = EIDMAP__FETCH__INIT;
    msg.snapshot = fetch->copy;
    msg.offset = offset;
    msg.size = size;
    msg.min_index = fetch->min_index;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_FETCH;
    envelope.fetch = &msg;
    if (em_client_send(fetch->client, &envelope, false, on_piece, fetch) < 0)
        give_up(fetch, "the request cannot be sent");
}

/* The first piece alone names the copy. */
static void ask(struct ms_fetch *fetch)
{
    if (fetch->copy == 0) {
        ask_piece(fetch, 0, PIECE);
        return;
    }
    while (fetch->state == FETCHING && fetch->asked < fetch->total &&
           fetch->asked - fetch->written < WINDOW * PIECE) {
        uint64_t left = fetch->total - fetch->asked;
        uint32_t size = left < PIECE ? (uint32_t)left : PIECE;
        ask_piece(fetch, fetch->asked, size);
        fetch->asked += size;
    }
}

void ms_fetch_begin(struct ms_fetch *fetch, const Eidmap__SnapshotOffer *offer)
{
    const struct ms_core_config *config = &fetch->core->config;
    const char *why = "the sender tells no address where it serves clients by TLS";
    char *err_why = NULL;
    const char *servers[8];
    const struct em_client_config client = {
        .servers = servers,
        .ca_file = config->tls_ca,
        .cert_file = config->tls_cert,
        .key_file = config->tls_key,
        .software = "mapserver " EM_VERSION,
        .timeout_ms = COPY_MS,
    };
    struct em_client_config filled = client;
    if (fetch->state != IDLE)
        return;
    for (size_t i = 0; i < offer->n_servers && filled.n_servers < 8; i++)
        if (strncmp(offer->servers[i], "tls://", 6) == 0)
            servers[filled.n_servers++] = offer->servers[i];
    fetch->fd = open(fetch->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fetch->fd < 0)
        why = strerror(errno);
    else if (filled.n_servers > 0 &&
             em_client_new(fetch->core->loop, &filled, NULL, NULL, &fetch->client, &err_why) == 0)
        why = NULL;
    if (why) {
        give_up(fetch, err_why ? err_why : why);
        free(err_why);
        return;
    }
    fetch->state = FETCHING;
    fetch->min_index = offer->index;
    fetch->copy = fetch->asked = fetch->written = fetch->total = 0;
    fetch->began_ms = fetch->alive_ms = em_now_ms();
    ask(fetch);
}

/* The address that was offered may serve another cluster by now. */
static bool is_foreign(const struct ms_fetch *fetch)
{
    const struct ms_core *core = fetch->core;
    return ms_engine_members(core->engine)->n > 0 &&
           memcmp(fetch->info.identity.cluster_id, core->cluster_id, sizeof(core->cluster_id)) != 0;
}

static void finish_loading(struct ms_fetch *fetch)
{
    pthread_join(fetch->loader, NULL);
    fetch->alive_ms = em_now_ms();
    if (fetch->err) {
        give_up(fetch, fetch->why ? fetch->why : em_strerror(fetch->err));
        free(fetch->why);
    } else if (is_foreign(fetch)) {
        give_up(fetch, "the server that was asked is of another cluster");
        ms_snapshot_discard(fetch->core->config.dir, fetch->generation);
        ms_snapshot_info_fini(&fetch->info);
    } else {
        fetch->state = READY;
    }
}

void ms_fetch_run(struct ms_fetch *fetch)
{
    uint64_t limit = fetch->copy ? SILENCE_MS : COPY_MS;
    if (fetch->state == FETCHING && em_now_ms() > fetch->alive_ms + limit)
        give_up(fetch, "nothing comes any more");
    if (fetch->state == LOADING && fetch->is_loaded)
        finish_loading(fetch);
    if (fetch->state == READY)
        install(fetch);
}
