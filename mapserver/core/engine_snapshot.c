/* The log becomes shorter, or begins anew behind a state that was received. */
#include "core/engine_state.h"

#include "base/mem.h"
#include "eidmap/error.h"

#include <assert.h>
#include <stdlib.h>

#define TRAILING_FACTOR 16 /* small entries: compaction leaves so many times 'trailing' at most */
#define TRAILING_LEAST  64 /* large ones: so many at least, or 'trailing' if that is less */

int ms_engine_metadata(struct ms_engine *engine, const struct ms_mark *mark,
                       struct raft_snapshot_metadata *ret_metadata)
{
    const struct raft_buffer buf = {(void *)mark->members, mark->members_size};
    ret_metadata->index = mark->index;
    ret_metadata->term = mark->term;
    ret_metadata->configuration_index = mark->members_index;
    if (raft_configuration_decode(&buf, &ret_metadata->configuration))
        return ms_engine_stop(engine, "state", "the list of members in it is damaged");
    return 0;
}

/* The last entry that goes: 'trailing' ones stay, more while they are small, fewer if large. */
static uint64_t forgettable(const struct ms_engine *engine, uint64_t upto)
{
    const struct ms_engine_config *config = &engine->config;
    uint64_t least = config->trailing < TRAILING_LEAST ? config->trailing : TRAILING_LEAST;
    uint64_t most = (uint64_t)config->trailing * TRAILING_FACTOR;
    uint64_t index = upto, n = 0;
    size_t size = 0;
    while (index >= engine->tail.first) {
        size += ms_tail_at(&engine->tail, index)->size;
        if (n >= most || (n >= least && size > config->trailing_size))
            return index;
        index--;
        n++;
    }
    return 0;
}

/* Half as many as stay, or a quarter of the bytes. */
static bool is_worth(const struct ms_engine *engine, uint64_t forget)
{
    const struct ms_engine_config *config = &engine->config;
    return forget >= engine->tail.first + config->trailing / 2 ||
           engine->tail.size > config->trailing_size + config->trailing_size / 4;
}

int ms_engine_compact(struct ms_engine *engine, uint64_t now_ms, const struct ms_mark *mark)
{
    int r = ms_engine_flush(engine, now_ms);
    if (r || mark->index <= engine->mark || mark->index > engine->handed ||
        mark->index < engine->tail.first)
        return r;
    uint64_t forget = forgettable(engine, mark->index);
    if (forget == 0 || !is_worth(engine, forget))
        return 0;
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    const struct ms_log_write write = {.mark = mark, .forget = forget};
    r = ms_engine_metadata(engine, mark, &event.snapshot.metadata);
    if (r)
        return r;
    event.snapshot.trailing = (unsigned)(mark->index - forget);
    if (engine->config.io->write(engine->config.aux, &write)) {
        raft_configuration_close(&event.snapshot.metadata.configuration);
        return ms_engine_stop(engine, "log", "it cannot be shortened");
    }
    r = ms_engine_step(engine, &event);
    ms_tail_forget(&engine->tail, forget);
    engine->mark = mark->index;
    return r;
}

/* libraft has forgotten its log; so do we, on the disk at once, and the state is another. */
static int replace(struct ms_engine *engine, const struct ms_mark *mark, uint64_t generation)
{
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT, .persisted_snapshot.last = true};
    const struct ms_log_write write = {
        .has_vote = engine->has_vote,
        .term = raft_current_term(&engine->raft),
        .voted_for = raft_voted_for(&engine->raft),
        .mark = mark,
        .forget = UINT64_MAX,
        .has_generation = true,
        .generation = generation,
    };
    int r = ms_engine_metadata(engine, mark, &event.persisted_snapshot.metadata);
    if (r)
        return r;
    r = engine->config.io->write(engine->config.aux, &write);
    if (r == 0)
        r = engine->config.io->install(engine->config.aux, mark, generation);
    if (r) {
        raft_configuration_close(&event.persisted_snapshot.metadata.configuration);
        return ms_engine_stop(engine, "state", "the one that was received cannot be put in place");
    }
    ms_tail_reset(&engine->tail, mark->index + 1);
    engine->has_vote = false;
    engine->truncate = engine->dirty = 0;
    engine->mark = engine->handed = mark->index;
    return ms_engine_step(engine, &event);
}

int ms_engine_install(struct ms_engine *engine, uint64_t now_ms, const struct ms_mark *mark,
                      uint64_t generation, bool *ret_done)
{
    struct raft_message message = {.type = RAFT_INSTALL_SNAPSHOT, .server_address = ""};
    struct raft_event event = {.type = RAFT_RECEIVE, .receive = {&message}};
    struct raft_snapshot_metadata metadata;
    *ret_done = false;
    int r = ms_engine_flush(engine, now_ms);
    message.server_id = ms_engine_leader(engine);
    if (r || message.server_id == 0 || raft_state(&engine->raft) != RAFT_FOLLOWER ||
        mark->index <= engine->handed)
        return r;
    r = ms_engine_metadata(engine, mark, &metadata);
    if (r)
        return r;
    /* The state is committed, so it is as good from today's leader as from the one that sent
     * it. */
    message.install_snapshot = (struct raft_install_snapshot){
        .term = raft_current_term(&engine->raft),
        .last_index = mark->index,
        .last_term = mark->term,
        .conf = metadata.configuration,
        .conf_index = metadata.configuration_index,
        .data = {raft_malloc(1), 1},
    };
    engine->is_replaced = false;
    r = ms_engine_step(engine, &event);
    if (r || !engine->is_replaced)
        return r;
    *ret_done = true;
    return replace(engine, mark, generation);
}

void ms_engine_offer_ended(struct ms_engine *engine, uint64_t replica)
{
    ms_engine_peer(engine, replica)->is_offered = false;
}
