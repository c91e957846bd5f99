#include "server/verdict.h"

#include "base/clock.h"
#include "base/mem.h"
#include "server/caller.h"
#include "server/raw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE    262144
#define LIMIT_MS 90000
#define PAUSE_US 20000

/* ---- digests -------------------------------------------------------------------------------- */

static const Eidmap__Chunk *fetch(struct raw *raw, uint64_t copy, uint64_t offset,
                                  uint64_t min_index)
{
    Eidmap__Envelope request = EIDMAP__ENVELOPE__INIT;
    Eidmap__Fetch body = EIDMAP__FETCH__INIT;
    body.snapshot = copy;
    body.offset = offset;
    body.size = PIECE;
    body.min_index = copy ? 0 : min_index;
    request.id = 2 + offset;
    request.body_case = EIDMAP__ENVELOPE__BODY_FETCH;
    request.fetch = &body;
    const Eidmap__Envelope *reply = raw_send(raw, &request) ? raw_read(raw) : NULL;
    return reply && reply->body_case == EIDMAP__ENVELOPE__BODY_CHUNK ? reply->chunk : NULL;
}

/* The digest is the end of the file: its last bytes are kept as the pieces come. */
static bool read_digest(struct raw *raw, uint64_t min_index, uint8_t last[VERDICT_DIGEST])
{
    uint64_t copy = 0, offset = 0, total = 1;
    while (offset < total) {
        const Eidmap__Chunk *chunk = fetch(raw, copy, offset, min_index);
        if (!chunk || chunk->data.len == 0 || chunk->offset != offset)
            return false;
        for (size_t i = chunk->data.len > VERDICT_DIGEST ? chunk->data.len - VERDICT_DIGEST : 0;
             i < chunk->data.len; i++) {
            memmove(last, last + 1, VERDICT_DIGEST - 1);
            last[VERDICT_DIGEST - 1] = chunk->data.data[i];
        }
        copy = chunk->snapshot;
        total = chunk->total;
        offset += chunk->data.len;
    }
    return true;
}

bool verdict_digest(const struct real_server *server, uint64_t min_index,
                    uint8_t ret_digest[VERDICT_DIGEST])
{
    struct raw raw;
    if (!raw_try_open(&raw, server->unix_url))
        return false;
    bool is_read = raw_hello(&raw, NULL) && read_digest(&raw, min_index, ret_digest);
    raw_close(&raw);
    return is_read;
}

static bool is_same(struct real_cluster *cluster)
{
    uint8_t first[VERDICT_DIGEST], other[VERDICT_DIGEST];
    uint64_t index = real_cluster_last_index(cluster);
    if (!verdict_digest(&cluster->servers[0], index, first))
        return false;
    for (unsigned i = 1; i < cluster->n; i++)
        if (!verdict_digest(&cluster->servers[i], index, other) ||
            memcmp(first, other, VERDICT_DIGEST) != 0)
            return false;
    return true;
}

bool verdict_await_same(struct real_cluster *cluster)
{
    uint64_t end = em_now_ms() + LIMIT_MS;
    while (!is_same(cluster)) {
        if (em_now_ms() > end)
            return false;
        usleep(PAUSE_US);
    }
    return true;
}

/* ---- the last reads ---------------------------------------------------------------------------
 */

static char *read_all(struct real_server *server, struct history *history, uint32_t network_id,
                      uint32_t n_keys)
{
    struct caller caller;
    char *why = NULL;
    caller_open(&caller, server->unix_url, NULL);
    for (uint32_t key = 0; key < n_keys && !why; key++) {
        struct history_op op = {.kind = HISTORY_READ, .key = key, .begin = em_now_us()};
        if (caller_resolve_now(&caller, network_id, key + 1))
            why = em_asprintf("%s does not resolve: %s", server->id, caller.message);
        op.end = em_now_us();
        op.node = caller.n_positive ? (uint32_t)strtoul(caller.node + 1, NULL, 10) : HISTORY_NOBODY;
        op.epoch = caller.n_positive ? caller.epoch : 0;
        history_add(history, &op);
    }
    caller_close(&caller);
    return why;
}

char *verdict_of(struct real_cluster *cluster, struct traffic *traffic, uint32_t network_id,
                 uint32_t n_keys)
{
    struct history *history = traffic_history(traffic);
    char *why = traffic_stop(traffic);
    if (why)
        return em_strdup(why);
    real_cluster_settle(cluster);
    for (unsigned i = 0; i < cluster->n && !why; i++)
        why = read_all(&cluster->servers[i], history, network_id, n_keys);
    if (!why && !verdict_await_same(cluster))
        why = em_strdup("the servers do not come to hold the same map");
    fprintf(stderr, "%zu operations, %lu acknowledged writes\n", history->n,
            (unsigned long)traffic_n_written(traffic));
    return why ? why : history_check(history);
}
