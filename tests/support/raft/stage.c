#include "raft/stage.h"

#include "base/mem.h"
#include "eidmap/error.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_ROUNDS 50 /* of an election */

static struct stage_replica *replica_of(struct stage *stage, uint64_t id)
{
    assert(id >= 1 && id <= STAGE_MAX);
    return &stage->replicas[id];
}

static void must(const struct stage_replica *replica, int r)
{
    if (r == 0)
        return;
    fprintf(stderr, "replica %llu: %s\n", (unsigned long long)replica->id,
            replica->engine ? ms_engine_why(replica->engine) : em_strerror(r));
    abort();
}

/* ---- what engines call ------------------------------------------------------------------- */

static int on_write(void *aux, const struct ms_log_write *write)
{
    struct stage_replica *replica = aux;
    replica->n_writes++;
    if (replica->is_full)
        return EM_E_NO_SPACE;
    const char *why = disk_write(&replica->disk, write);
    if (why) {
        fprintf(stderr, "replica %llu: %s\n", (unsigned long long)replica->id, why);
        abort();
    }
    return 0;
}

static int on_read(void *aux, uint64_t index, struct ms_payload **ret_payload)
{
    struct stage_replica *replica = aux;
    *ret_payload = ms_payload_ref(disk_at(&replica->disk, index)->payload);
    return 0;
}

static void on_send(void *aux, uint64_t to, const struct raft_message *message)
{
    struct stage_replica *replica = aux;
    struct stage *stage = replica->stage;
    struct stage_letter *letter = &stage->letters[stage->n_letters];
    replica->n_early += replica->n_writes == 0;
    if (stage->is_cut[replica->id][to])
        return;
    assert(stage->n_letters < sizeof(stage->letters) / sizeof(stage->letters[0]));
    *letter = (struct stage_letter){.from = replica->id, .to = to, .message = *message};
    stage->n_letters++;
    if (message->type != RAFT_APPEND_ENTRIES || message->append_entries.n_entries == 0)
        return;
    unsigned n = message->append_entries.n_entries;
    letter->entries = em_memdup(message->append_entries.entries, n * sizeof(*letter->entries));
    letter->message.append_entries.entries = letter->entries;
    for (unsigned i = 0; i < n; i++)
        ms_payload_ref(ms_payload_of(&letter->entries[i].buf));
}

static void on_flush(void *aux)
{
    (void)aux;
}

static void on_apply(void *aux, uint64_t index, const struct ms_entry *entry)
{
    struct stage_replica *replica = aux;
    if (index > replica->state.index)
        disk_state_apply(&replica->state, index, entry);
}

static void on_offer(void *aux, uint64_t to, uint64_t index, uint64_t term)
{
    struct stage_replica *replica = aux;
    replica->n_offers++;
    replica->offered_to = to;
    replica->offered_index = index;
    replica->offered_term = term;
}

static int on_install(void *aux, const struct ms_mark *mark, uint64_t generation)
{
    struct stage_replica *replica = aux;
    (void)mark;
    (void)generation;
    disk_state_set(&replica->state, &replica->disk.state);
    return 0;
}

static const struct ms_engine_io engine_io = {on_write, on_read,  on_send,   on_flush,
                                              on_apply, on_offer, on_install};

/* ---- life -------------------------------------------------------------------------------- */

void stage_open(struct stage *stage, unsigned n_founders, unsigned guards_off)
{
    static const uint64_t ids[] = {1, 2, 3, 4, 5};
    *stage = (struct stage){.now_ms = 1000};
    stage->config = (struct ms_engine_config){.election_ms = 100,
                                              .heartbeat_ms = 20,
                                              .max_inflight = 8,
                                              .trailing = 9,
                                              .memory_size = 1000,
                                              .message_size = 1000,
                                              .guards_off = guards_off,
                                              .io = &engine_io};
    for (uint64_t id = 1; id <= STAGE_MAX; id++) {
        struct stage_replica *replica = replica_of(stage, id);
        replica->stage = stage;
        replica->id = id;
        disk_init(&replica->disk);
        if (id <= n_founders)
            disk_found(&replica->disk, ids, n_founders);
    }
}

static void unref_entries(const struct stage_letter *letter)
{
    for (unsigned i = 0; letter->entries && i < letter->message.append_entries.n_entries; i++)
        ms_payload_unref(ms_payload_of(&letter->entries[i].buf));
}

void stage_drop_letters(struct stage *stage)
{
    for (size_t i = 0; i < stage->n_letters; i++) {
        unref_entries(&stage->letters[i]);
        free(stage->letters[i].entries);
    }
    stage->n_letters = 0;
}

void stage_close(struct stage *stage)
{
    stage_drop_letters(stage);
    for (uint64_t id = 1; id <= STAGE_MAX; id++) {
        stage_crash(stage, id);
        disk_fini(&replica_of(stage, id)->disk);
    }
}

void stage_start(struct stage *stage, uint64_t id)
{
    struct stage_replica *replica = replica_of(stage, id);
    struct ms_engine_config config = stage->config;
    config.id = id;
    config.seed = (unsigned)id;
    config.aux = replica;
    disk_state_set(&replica->state, &replica->disk.state);
    must(replica, disk_start(&replica->disk, &config, stage->now_ms, true, &replica->engine));
}

void stage_start_all(struct stage *stage, unsigned n)
{
    for (uint64_t id = 1; id <= n; id++)
        stage_start(stage, id);
}

void stage_crash(struct stage *stage, uint64_t id)
{
    struct stage_replica *replica = replica_of(stage, id);
    ms_engine_free(replica->engine);
    replica->engine = NULL;
    disk_state_fini(&replica->state);
}

struct ms_engine *stage_engine(struct stage *stage, uint64_t id)
{
    return replica_of(stage, id)->engine;
}

/* ---- events ------------------------------------------------------------------------------ */

void stage_flush(struct stage *stage, uint64_t id)
{
    struct stage_replica *replica = replica_of(stage, id);
    must(replica, ms_engine_flush(replica->engine, stage->now_ms));
}

void stage_tick(struct stage *stage, uint64_t id)
{
    struct stage_replica *replica = replica_of(stage, id);
    uint64_t due_ms = ms_engine_due_ms(replica->engine);
    if (stage->now_ms < due_ms)
        stage->now_ms = due_ms;
    must(replica, ms_engine_tick(replica->engine, stage->now_ms));
    stage_flush(stage, id);
}

void stage_give(struct stage *stage, uint64_t from, uint64_t to, struct raft_message *message)
{
    struct stage_replica *replica = replica_of(stage, to);
    must(replica, ms_engine_receive(replica->engine, stage->now_ms, from, message));
    stage_flush(stage, to);
}

/* As the core does: at the end of its transfer. */
static void bring_states(struct stage *stage)
{
    for (uint64_t id = 1; id <= STAGE_MAX; id++) {
        struct stage_replica *replica = replica_of(stage, id);
        uint64_t to = replica->offered_to;
        replica->offered_to = 0;
        if (!to || !replica->engine)
            continue;
        stage_bring(stage, id, to);
        ms_engine_offer_ended(replica->engine, to);
    }
}

void stage_run_one(struct stage *stage)
{
    struct stage_letter letter = stage->letters[0];
    memmove(stage->letters, stage->letters + 1, --stage->n_letters * sizeof(stage->letters[0]));
    if (replica_of(stage, letter.to)->engine && !stage->is_cut[letter.from][letter.to])
        stage_give(stage, letter.from, letter.to, &letter.message);
    else
        unref_entries(&letter);
    free(letter.entries);
    if (!stage->has_manual_offers)
        bring_states(stage);
}

void stage_run(struct stage *stage)
{
    while (stage->n_letters > 0)
        stage_run_one(stage);
}

bool stage_elect(struct stage *stage, uint64_t id)
{
    for (unsigned i = 0; i < MOST_ROUNDS; i++) {
        stage_tick(stage, id);
        stage_run(stage);
        if (ms_engine_is_leader(stage_engine(stage, id)))
            return true;
    }
    return false;
}

uint64_t stage_propose(struct stage *stage, uint64_t id, const char *text)
{
    struct stage_replica *replica = replica_of(stage, id);
    uint64_t index;
    must(replica, ms_engine_propose(replica->engine, stage->now_ms,
                                    ms_payload_new(text, strlen(text)), &index));
    return index;
}

bool stage_bring(struct stage *stage, uint64_t from, uint64_t to)
{
    struct stage_replica *replica = replica_of(stage, to);
    const struct disk_state *state = &replica_of(stage, from)->state;
    const struct ms_mark mark = disk_mark(state);
    uint64_t generation = replica->disk.incoming_generation + 1;
    bool is_done;
    if (!replica->engine)
        return false;
    disk_state_receive(&replica->disk, generation, state);
    must(replica, ms_engine_install(replica->engine, stage->now_ms, &mark, generation, &is_done));
    stage_flush(stage, to);
    return is_done;
}

void stage_compact(struct stage *stage, uint64_t id)
{
    struct stage_replica *replica = replica_of(stage, id);
    disk_state_set(&replica->disk.state, &replica->state);
    const struct ms_mark mark = disk_mark(&replica->state);
    must(replica, ms_engine_compact(replica->engine, stage->now_ms, &mark));
}

int stage_change(struct stage *stage, uint64_t id, enum ms_engine_change change, uint64_t replica)
{
    struct stage_replica *leader = replica_of(stage, id);
    char address[8];
    const char *why;
    uint64_t index;
    int err;
    snprintf(address, sizeof(address), "s%u", (unsigned)replica);
    must(leader, ms_engine_change(leader->engine, stage->now_ms, change, replica, address, &index,
                                  &err, &why));
    return err;
}

const struct raft_message *stage_find(const struct stage *stage, uint64_t from, uint64_t to,
                                      enum raft_message_type type)
{
    for (size_t i = stage->n_letters; i-- > 0;)
        if (stage->letters[i].from == from && stage->letters[i].to == to &&
            stage->letters[i].message.type == type)
            return &stage->letters[i].message;
    return NULL;
}

struct raft_entry stage_entry(uint64_t term, enum raft_entry_type type, const void *data,
                              size_t size)
{
    struct ms_payload *payload = ms_payload_new(data, size);
    return (struct raft_entry){.term = term, .type = type, .buf = {payload->data, payload->size}};
}
