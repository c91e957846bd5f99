/* The thread that drives the engine.
 *
 * All input (frames of other servers, calls of other threads, time) is taken in as the loop
 * delivers it; the turn, run once before the loop waits, proposes what has collected, lets the
 * engine write and send, and acts on what came of it.  It blocks in the log's fsync, and while
 * it does the next batch collects. */
#include "core/core_state.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "core/codec.h"
#include "eidmap/error.h"
#include "net/net.h"
#include "wire/writer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define DEFAULT_WAITING      16384
#define DEFAULT_WAITING_SIZE (64u << 20)
#define DEFAULT_ELECTION_MS  500
#define HEARTBEATS           5 /* in an election timeout */
#define TRAILING             2048
#define TRAILING_SIZE        (24u << 20)
#define MEMORY_SIZE          (2u << 20) /* of the log; what a cache holds costs least */
#define MESSAGE_SIZE         (512u << 10)
#define PIPELINE             8 /* entries in flight, if full ones wait */
#define TURN_ROUNDS          8
#define FORWARD_SIZE         (256u << 10) /* commands in one message */
#define FORWARD_AHEAD        (1u << 20)   /* bytes that wait for the leader to take them */
#define TICK_S               0.05
#define LOG_HELD_MAX         (2ull << 30) /* the log is not shortened while the map is sent */
#define SYNC_ENTRIES         1024
#define INSTALLING_MS        10000 /* a server that says no more that it takes the map in */
#define ROOM_MS              20
#define FINISH_MS            1000
#define HEARD_MAX            200000
#define COMMAND_LIMIT        (80u << 20) /* as state/apply.c unpacks one into */

void ms_core_fail(struct ms_core *core, int err, const char *why)
{
    if (core->is_broken)
        return;
    core->is_broken = true;
    core->events.on_fatal(core->aux, err, why);
}

/* 'r': what a call of the engine said.  True: go on. */
static bool is_well(struct ms_core *core, int r)
{
    if (r)
        ms_core_fail(core, r, ms_engine_why(core->engine));
    return r == 0;
}

/* ---- the engine's disk, network and map ---------------------------------------------------- */

static int io_write(void *aux, const struct ms_log_write *write)
{
    struct ms_core *core = aux;
    return ms_log_write(core->config.log, write);
}

static int io_read(void *aux, uint64_t index, struct ms_payload **ret_payload)
{
    struct ms_core *core = aux;
    return ms_log_read(core->config.log, index, ret_payload);
}

static void io_send(void *aux, uint64_t replica, const struct raft_message *message)
{
    struct ms_core *core = aux;
    struct em_buf *out = ms_peers_out(core->peers, replica);
    if (!out)
        return;
    ms_codec_append(out, message);
    ms_peers_sent(core->peers, replica);
}

static void io_flush(void *aux)
{
    struct ms_core *core = aux;
    ms_peers_flush(core->peers);
}

static void io_apply(void *aux, uint64_t index, const struct ms_entry *entry)
{
    struct ms_core *core = aux;
    ms_applier_put(core->applier, index, entry);
}

static void io_offer(void *aux, uint64_t replica, uint64_t index, uint64_t term)
{
    struct ms_core *core = aux;
    struct ms_peer_info *info = ms_peers_info(core->peers, replica);
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__SnapshotOffer offer = EIDMAP__SNAPSHOT_OFFER__INIT;
    offer.index = index;
    offer.term = term;
    offer.servers = (char **)core->config.servers;
    offer.n_servers = core->config.n_servers;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_SNAPSHOT_OFFER;
    envelope.snapshot_offer = &offer;
    if (info)
        info->offered_ms = em_now_ms();
    ms_peers_send(core->peers, replica, &envelope);
}

static int learn_map(struct ms_core *core)
{
    struct ms_identity identity;
    struct ms_stats stats;
    int r = ms_store_stats(core->config.store, &stats);
    if (r == 0)
        r = ms_identity_get(core->config.store, &identity);
    if (r)
        return r;
    core->revision = stats.revision;
    memcpy(core->cluster_id, identity.cluster_id, sizeof(core->cluster_id));
    core->recovery = identity.recovery;
    core->applied = identity.applied;
    ms_identity_fini(&identity);
    return 0;
}

static int io_install(void *aux, const struct ms_mark *mark, uint64_t generation)
{
    struct ms_core *core = aux;
    char *why = NULL;
    uint64_t incarnation, seq;
    int r = ms_applier_switch(core->applier, generation, &why);
    if (r) {
        em_error("%s", why ? why : em_strerror(r));
        free(why);
        return r;
    }
    core->generation = generation;
    r = learn_map(core);
    if (r == 0)
        r = ms_apply_proposer(core->config.store, core->replica, &incarnation, &seq);
    if (r)
        return r;
    ms_proposals_skip(core->proposals, incarnation, seq);
    core->events.on_replaced(core->aux);
    return 0;
}

static const struct ms_engine_io engine_io = {io_write, io_read,  io_send,   io_flush,
                                              io_apply, io_offer, io_install};

/* ---- the applier's word, on its thread ------------------------------------------------------ */

static void on_commit(void *aux, uint64_t revision, const uint32_t *networks, size_t n)
{
    struct ms_core *core = aux;
    core->revision = revision;
    core->events.on_commit(core->aux, revision, networks, n);
}

static void on_result(void *aux, const struct ms_result *result)
{
    struct ms_core *core = aux;
    ms_proposals_settle(core->proposals, result);
}

static void on_applied(void *aux, struct ms_point point)
{
    struct ms_core *core = aux;
    core->applied = point.index;
    if (core->events.on_settled)
        core->events.on_settled(core->aux);
    if (core->is_awaited || core->is_gathering)
        ms_core_wake(core);
}

static void on_synced(void *aux, const struct ms_mark *mark)
{
    struct ms_core *core = aux;
    struct ms_mark *copy = em_memdup(mark, sizeof(*mark));
    copy->members = em_memdup(mark->members, mark->members_size);
    pthread_mutex_lock(&core->lock);
    struct ms_mark *old = core->synced;
    core->synced = copy;
    pthread_mutex_unlock(&core->lock);
    if (old)
        free((void *)old->members);
    free(old);
    ev_async_send(core->loop, &core->wake);
}

static void on_map_fatal(void *aux, int err, const char *why)
{
    ms_core_fail(aux, err, why);
}

/* ---- messages of other servers -------------------------------------------------------------- */

static void take_consensus(struct ms_core *core, uint64_t from, const Eidmap__Consensus *msg)
{
    struct raft_message message;
    struct raft_entry *entries;
    if (ms_codec_from_msg(msg, &message, &entries)) {
        em_warn_limited("a message of another map server makes no sense and is left out");
        return;
    }
    is_well(core, ms_engine_receive(core->engine, em_now_ms(), from, &message));
    free(entries);
}

/* What is logged must be applied by every server, or it stops: no sender is believed blindly,
 * and each speaks for itself alone. */
static bool is_of(struct ms_core *core, uint64_t from, const ProtobufCBinaryData *bytes)
{
    em_arena_reset(&core->arena);
    if (bytes->len > MS_COMMAND_MAX)
        return false;
    const Eidmap__Command *command =
        em_msg_unpack_as(&core->arena, &eidmap__command__descriptor, bytes->data, bytes->len);
    return command && command->schema <= MS_SCHEMA && command->proposer &&
           command->proposer->replica == from;
}

static void take_forward(struct ms_core *core, uint64_t from, const Eidmap__Batch *batch)
{
    if (!ms_engine_is_leader(core->engine))
        return; /* its sender will see who is */
    for (size_t i = 0; i < batch->n_commands; i++) {
        if (is_of(core, from, &batch->commands[i]))
            ms_batcher_add_take(&core->batcher,
                                ms_payload_new(batch->commands[i].data, batch->commands[i].len));
        else
            em_warn_limited("a command that another map server forwards makes no sense and is "
                            "left out");
    }
}

static void take_ping(struct ms_core *core, uint64_t from, const Eidmap__Ping *ping)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Pong pong = EIDMAP__PONG__INIT;
    pong.term = ping->term;
    pong.nonce = ping->nonce;
    pong.is_following =
        ms_engine_term(core->engine) == ping->term && ms_engine_leader(core->engine) == from;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_PONG;
    envelope.pong = &pong;
    ms_peers_send(core->peers, from, &envelope);
}

static void take_report(struct ms_core *core, uint64_t from, const Eidmap__Report *report)
{
    struct ms_peer_info *info = ms_peers_info(core->peers, from);
    if (info) {
        info->applied = report->applied;
        info->revision = report->revision;
        info->is_installing = report->is_installing;
        info->has_no_room = report->has_no_room;
    }
    for (size_t i = 0; core->is_leader && i < report->n_heard; i++)
        core->events.on_heard(core->aux, report->heard[i]->node_id, report->heard[i]->lease_ms);
}

static void on_message(void *aux, uint64_t from, const Eidmap__Envelope *envelope)
{
    struct ms_core *core = aux;
    if (core->is_broken)
        return;
    switch (envelope->body_case) {
    case EIDMAP__ENVELOPE__BODY_CONSENSUS:
        take_consensus(core, from, envelope->consensus);
        return;
    case EIDMAP__ENVELOPE__BODY_FORWARD:
        take_forward(core, from, envelope->forward);
        return;
    case EIDMAP__ENVELOPE__BODY_READ_INDEX:
        ms_reads_on_ask(core->reads, from, envelope->read_index->nonce);
        return;
    case EIDMAP__ENVELOPE__BODY_READ_INDEX_REPLY:
        ms_reads_on_reply(core->reads, envelope->read_index_reply->nonce,
                          envelope->read_index_reply->index);
        return;
    case EIDMAP__ENVELOPE__BODY_PING:
        take_ping(core, from, envelope->ping);
        return;
    case EIDMAP__ENVELOPE__BODY_PONG:
        if (envelope->pong->is_following)
            ms_reads_on_pong(core->reads, from, envelope->pong->term, envelope->pong->nonce);
        return;
    case EIDMAP__ENVELOPE__BODY_REPORT:
        take_report(core, from, envelope->report);
        return;
    case EIDMAP__ENVELOPE__BODY_SNAPSHOT_OFFER:
        if (from == ms_engine_leader(core->engine))
            ms_fetch_begin(core->fetch, envelope->snapshot_offer);
        return;
    case EIDMAP__ENVELOPE__BODY_FORWARD_CHANGE:
        ms_changes_on_forward(core->changes, from, envelope->forward_change);
        return;
    case EIDMAP__ENVELOPE__BODY_FORWARD_CHANGE_REPLY:
        ms_changes_on_reply(core->changes, envelope->forward_change_reply);
        return;
    default: /* of a newer server */
        return;
    }
}

static void tell_self(void *aux, struct ms_peers_self *ret_self)
{
    struct ms_core *core = aux;
    const struct ms_core_config *config = &core->config;
    *ret_self = (struct ms_peers_self){
        .name = config->server_id,
        .replica = core->replica,
        .cluster_id = ms_engine_members(core->engine)->n > 0 ? core->cluster_id : NULL,
        .recovery = core->recovery,
        .address = config->peers_advertise ? config->peers_advertise : "",
        .servers = config->servers,
        .n_servers = config->n_servers,
    };
}

static void on_peer_up(void *aux, uint64_t replica)
{
    struct ms_core *core = aux;
    if (replica == core->sent_leader)
        ms_proposals_rewind(core->proposals);
}

static void on_peer_gone(void *aux, uint64_t replica)
{
    struct ms_core *core = aux;
    ms_engine_leader_lost(core->engine, em_now_ms(), replica);
}

/* ---- reads ------------------------------------------------------------------------------------
 */

static void reads_ping(void *aux, uint64_t term, uint64_t nonce)
{
    struct ms_core *core = aux;
    const struct raft_configuration *members = ms_engine_members(core->engine);
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Ping ping = EIDMAP__PING__INIT;
    ping.term = term;
    ping.nonce = nonce;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_PING;
    envelope.ping = &ping;
    for (unsigned i = 0; i < members->n; i++)
        if (members->servers[i].role == RAFT_VOTER && members->servers[i].id != core->replica)
            ms_peers_send(core->peers, members->servers[i].id, &envelope);
}

static void reads_ask(void *aux, uint64_t leader, uint64_t nonce)
{
    struct ms_core *core = aux;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__ReadIndex msg = EIDMAP__READ_INDEX__INIT;
    msg.nonce = nonce;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_READ_INDEX;
    envelope.read_index = &msg;
    ms_peers_send(core->peers, leader, &envelope);
}

static void reads_reply(void *aux, uint64_t replica, uint64_t nonce, uint64_t index)
{
    struct ms_core *core = aux;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__ReadIndexReply msg = EIDMAP__READ_INDEX_REPLY__INIT;
    msg.nonce = nonce;
    msg.index = index;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_READ_INDEX_REPLY;
    envelope.read_index_reply = &msg;
    ms_peers_send(core->peers, replica, &envelope);
}

static bool reads_is_majority(void *aux, const uint64_t *replicas, unsigned n)
{
    struct ms_core *core = aux;
    const struct raft_configuration *members = ms_engine_members(core->engine);
    unsigned n_voters = 0, n_yes = 0;
    for (unsigned i = 0; i < members->n; i++) {
        const struct raft_server *server = &members->servers[i];
        bool is_yes = server->id == core->replica;
        for (unsigned k = 0; k < n; k++)
            is_yes |= replicas[k] == server->id;
        n_voters += server->role == RAFT_VOTER;
        n_yes += server->role == RAFT_VOTER && is_yes;
    }
    return n_yes > n_voters / 2;
}

static void run_reads(struct ms_core *core, uint64_t now_ms)
{
    uint64_t leader = ms_engine_leader(core->engine);
    const struct ms_reads_now now = {
        .now_ms = now_ms,
        .term = ms_engine_term(core->engine),
        .commit = ms_engine_commit_index(core->engine),
        .applied = core->applied,
        .leader = leader && ms_peers_out(core->peers, leader) ? leader : 0,
        .is_leader = ms_engine_is_leader(core->engine),
        .is_ready = ms_engine_is_ready(core->engine),
        .n_voters = ms_engine_n_voters(core->engine),
    };
    core->is_awaited = true; /* before the map is looked at: what it reaches later wakes us */
    ms_reads_run(core->reads, &now);
    core->is_awaited = !ms_reads_is_idle(core->reads) || !core->has_caught_up;
}

/* ---- the turn ---------------------------------------------------------------------------------
 */

/* Before the last entry is in the map, its proposers have no answers, and nothing new to say: what
 * waits meanwhile is what came too late for it.  To send that on at once makes entries smaller and
 * smaller, down to the cost of a sync for each.  When nobody waits for the map, it takes its time.
 */
static bool is_early(struct ms_core *core)
{
    core->is_gathering = true; /* before the map is looked at: what it reaches later wakes us */
    core->is_gathering = !core->is_lazy && ms_batcher_is_small(&core->batcher) &&
                         core->applied < ms_engine_last_index(core->engine);
    return core->is_gathering;
}

static void lead(struct ms_core *core, uint64_t now_ms)
{
    struct ms_payload *command;
    while ((command = ms_proposals_next(core->proposals, now_ms, SIZE_MAX)))
        ms_batcher_add_take(&core->batcher, command);
    while (core->batcher.n > 0 && !core->is_holding && !core->is_broken) {
        uint64_t index,
            n_open = ms_engine_last_index(core->engine) - ms_engine_commit_index(core->engine);
        if (ms_engine_is_transferring(core->engine) || n_open >= PIPELINE ||
            (n_open > 0 && !ms_batcher_is_full(&core->batcher)) || is_early(core))
            return;
        struct ms_payload *entry = ms_batcher_next(&core->batcher);
        is_well(core, ms_engine_propose(core->engine, now_ms, entry, &index));
        if (index == 0) /* cannot be: a leader that transfers nothing takes entries */
            ms_proposals_rewind(core->proposals);
    }
}

static void forward(struct ms_core *core, uint64_t leader, uint64_t now_ms)
{
    struct ms_payload *command = NULL;
    while (ms_peers_pending(core->peers, leader) < FORWARD_AHEAD) {
        struct em_buf *out = ms_peers_out(core->peers, leader);
        if (!out)
            return;
        command = ms_proposals_next(core->proposals, now_ms, SIZE_MAX);
        if (!command)
            return;
        size_t begin = em_buf_size(out), frame = em_frame_begin(out, 0);
        size_t body = em_nest_begin(out, EIDMAP__ENVELOPE__BODY_FORWARD), size = 0;
        while (command) {
            em_put_bytes(out, 1, command->data, command->size); /* Batch.commands */
            ms_payload_unref(command);
            size = em_buf_size(out) - begin;
            command = size < FORWARD_SIZE
                          ? ms_proposals_next(core->proposals, now_ms, MS_COMMAND_MAX - size)
                          : NULL;
        }
        em_nest_end(out, body);
        int r = em_frame_end(out, frame);
        assert(r == 0); /* a command is bounded, and so is what comes with it */
        (void)r;
        ms_peers_sent(core->peers, leader);
    }
}

static void move_proposals(struct ms_core *core, uint64_t now_ms)
{
    uint64_t leader = ms_engine_leader(core->engine), term = ms_engine_term(core->engine);
    core->is_gathering = false;
    if (leader != core->sent_leader || term != core->sent_term) {
        core->sent_leader = leader;
        core->sent_term = term;
        ms_batcher_clear(&core->batcher);
        ms_proposals_rewind(core->proposals);
    }
    if (ms_engine_is_leader(core->engine))
        lead(core, now_ms);
    else if (leader)
        forward(core, leader, now_ms);
}

static void note_leader(struct ms_core *core, uint64_t now_ms)
{
    bool is_leader = ms_engine_is_leader(core->engine);
    bool has_leader = ms_engine_leader(core->engine) != 0;
    if (has_leader)
        core->no_leader_since_ms = 0;
    else if (!core->no_leader_since_ms)
        core->no_leader_since_ms = now_ms;
    if (is_leader == core->is_leader)
        return;
    core->is_leader = is_leader;
    em_info(is_leader ? "this server is the leader now, term %llu"
                      : "this server is not the leader any more, term %llu",
            (unsigned long long)ms_engine_term(core->engine));
    core->events.on_lead(core->aux, is_leader);
}

bool ms_core_is_installing(const struct ms_peer_info *info, uint64_t now_ms)
{
    return info->is_installing && now_ms < info->heard_ms + INSTALLING_MS;
}

static bool is_sending_map(struct ms_core *core, uint64_t now_ms)
{
    const struct raft_configuration *members = ms_engine_members(core->engine);
    for (unsigned i = 0; i < members->n; i++) {
        const struct ms_peer_info *info = ms_peers_info(core->peers, members->servers[i].id);
        if (info && (info->offered_ms || ms_core_is_installing(info, now_ms)))
            return true;
    }
    return false;
}

static void compact(struct ms_core *core, uint64_t now_ms)
{
    pthread_mutex_lock(&core->lock);
    struct ms_mark *mark = core->synced;
    core->synced = NULL;
    pthread_mutex_unlock(&core->lock);
    if (!mark)
        return;
    if (!is_sending_map(core, now_ms) || ms_log_size(core->config.log) > LOG_HELD_MAX)
        is_well(core, ms_engine_compact(core->engine, now_ms, mark));
    free((void *)mark->members);
    free(mark);
}

/* A part of the log may not hold: a leader says what does.  When it sends its whole map, that
 * takes a while. */
static void note_caught_up(struct ms_core *core)
{
    uint64_t last = ms_engine_last_index(core->engine);
    if (core->has_caught_up || !ms_engine_leader(core->engine))
        return;
    bool knows = !core->is_leader || ms_engine_is_ready(core->engine);
    bool has_all = core->applied >= ms_engine_commit_index(core->engine) &&
                   (core->applied >= core->first_last || core->applied >= last);
    core->has_caught_up = (knows && has_all) || ms_fetch_is_busy(core->fetch);
}

/* The map may lag when nobody waits for it: neither a client, nor a command of this server,
 * nor a read. */
static void pace_applier(struct ms_core *core)
{
    bool is_lazy = !core->is_serving && !core->is_awaited &&
                   ms_proposals_len(core->proposals) == 0 && ms_engine_n_voters(core->engine) > 1;
    if (is_lazy == core->is_lazy)
        return;
    core->is_lazy = is_lazy;
    ms_applier_set_lazy(core->applier, is_lazy);
}

/* Time for its own affairs, then for what the others want. */
static void run_turn(struct ms_core *core)
{
    uint64_t now_ms = em_now_ms();
    if (!is_well(core, ms_engine_tick(core->engine, now_ms)))
        return;
    pace_applier(core);
    for (int i = 0; i < TURN_ROUNDS && !core->is_broken; i++) {
        move_proposals(core, now_ms);
        ms_changes_run(core->changes, now_ms);
        if (!core->is_broken && !is_well(core, ms_engine_flush(core->engine, now_ms)))
            return;
        now_ms = em_now_ms();
        note_leader(core, now_ms);
        run_reads(core, now_ms);
        if (core->batcher.n == 0 || !core->is_leader || core->is_gathering)
            break;
    }
    ms_fetch_run(core->fetch);
    note_caught_up(core);
    compact(core, now_ms);
    if (!core->is_broken) /* a round of reads, an install */
        is_well(core, ms_engine_flush(core->engine, now_ms));
}

static void arm(struct ms_core *core)
{
    uint64_t due = ms_engine_due_ms(core->engine), now_ms = em_now_ms();
    ev_timer_stop(core->loop, &core->timer);
    ev_timer_set(&core->timer, due > now_ms ? (double)(due - now_ms) / 1e3 : 0, 0);
    ev_timer_start(core->loop, &core->timer);
}

static void on_turn(struct ev_loop *loop, ev_prepare *w, int revents)
{
    struct ms_core *core = w->data;
    core->is_probed = false;
    if (core->is_broken)
        return;
    run_turn(core);
    if (core->is_broken)
        return;
    ms_peers_flush(core->peers); /* the connections' own flush has its turn before ours */
    ev_now_update(loop);         /* the log may have taken its time */
    arm(core);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
}

static void on_wake(struct ev_loop *loop, ev_async *w, int revents)
{
}

static void on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct ms_core *core = w->data;
    if (!core->is_broken)
        ms_core_upkeep(core);
}

/* ---- any thread ---------------------------------------------------------------------------------
 */

void ms_core_wake(struct ms_core *core)
{
    ev_async_send(core->loop, &core->wake);
}

int ms_core_submit(struct ms_core *core, uint8_t *bytes_take, size_t size, bool is_growing,
                   ms_core_done_fn *done, void *aux, const char **ret_why)
{
    int r = 0;
    *ret_why = NULL;
    if (is_growing && core->leader_has_no_room) {
        *ret_why = "the leader's disk or map is nearly full; free space there";
        r = EM_E_NO_SPACE;
    } else if (is_growing && (core->has_no_room || em_now_ms() > core->room_checked_ms + ROOM_MS)) {
        r = ms_store_check_room(core->config.store, ret_why);
        core->has_no_room = r != 0;
        core->room_checked_ms = em_now_ms();
    }
    if (r == 0)
        r = ms_proposals_add(core->proposals, bytes_take, size, done, aux);
    else
        free(bytes_take);
    if (r == EM_E_LIMIT)
        *ret_why = "the request is too large; send it in parts";
    return r;
}

int ms_core_propose(struct ms_core *core, uint8_t *bytes_take, size_t size, bool is_growing,
                    ms_core_done_fn *done, void *aux, const char **ret_why)
{
    int r = ms_core_submit(core, bytes_take, size, is_growing, done, aux, ret_why);
    if (r == 0)
        ms_core_wake(core);
    return r;
}

void ms_core_read(struct ms_core *core, ms_core_answer_fn *answer, void *aux)
{
    ms_reads_add(core->reads, answer, aux);
    ev_async_send(core->loop, &core->wake);
}

void ms_core_set_tls(struct ms_core *core, struct em_tls *tls)
{
    pthread_mutex_lock(&core->lock);
    struct em_tls *old = core->new_tls;
    core->new_tls = em_tls_ref(tls);
    pthread_mutex_unlock(&core->lock);
    em_tls_free(old);
}

bool ms_core_has_caught_up(const struct ms_core *core)
{
    return core->has_caught_up || core->is_broken;
}

void ms_core_set_serving(struct ms_core *core, bool is_serving)
{
    if (core->is_serving == is_serving)
        return;
    core->is_serving = is_serving;
    ev_async_send(core->loop, &core->wake);
}

void ms_core_heard(struct ms_core *core, const char *node_id, uint32_t lease_ms)
{
    pthread_mutex_lock(&core->lock);
    if (core->n_heard == core->room_heard && core->n_heard < HEARD_MAX) {
        core->room_heard = core->room_heard ? core->room_heard * 2 : 64;
        core->heard = em_realloc(core->heard, core->room_heard * sizeof(*core->heard));
    }
    if (core->n_heard < core->room_heard) {
        Eidmap__Heard *heard = &core->heard[core->n_heard++];
        eidmap__heard__init(heard);
        heard->node_id = em_strdup(node_id);
        heard->lease_ms = lease_ms;
    }
    pthread_mutex_unlock(&core->lock);
}

bool ms_core_is_leader(struct ms_core *core)
{
    return core->is_leader;
}

uint64_t ms_core_no_leader_ms(struct ms_core *core)
{
    uint64_t since_ms = core->no_leader_since_ms;
    return since_ms ? em_now_ms() - since_ms : 0;
}

uint64_t ms_core_applied(struct ms_core *core)
{
    return core->applied;
}

bool ms_core_is_alive(struct ms_core *core)
{
    bool was_probed = atomic_exchange(&core->is_probed, true);
    uint64_t n_done;
    size_t n_waiting = ms_applier_backlog(core->applier, &n_done);
    bool is_moving = n_waiting == 0 || n_done != core->n_done_seen;
    core->n_done_seen = n_done;
    ev_async_send(core->loop, &core->wake);
    return !was_probed && is_moving;
}

/* ---- start and end
 * ------------------------------------------------------------------------------- */

static void init_watchers(struct ms_core *core)
{
    ev_async_init(&core->wake, on_wake);
    ev_prepare_init(&core->turn, on_turn);
    ev_timer_init(&core->timer, on_timer, 0, 0);
    ev_timer_init(&core->tick, on_tick, 0, TICK_S);
    core->wake.data = core->turn.data = core->timer.data = core->tick.data = core;
    ev_async_start(core->loop, &core->wake);
    ev_prepare_start(core->loop, &core->turn);
    ev_timer_start(core->loop, &core->tick);
}

/* What was proposed before the stop is still committed, if a majority is there. */
static void finish_proposals(struct ms_core *core)
{
    uint64_t until_ms = em_now_ms() + FINISH_MS;
    while (!core->is_broken && core->is_leader && em_now_ms() < until_ms &&
           (!ms_proposals_is_sent(core->proposals) || core->batcher.n > 0 ||
            ms_engine_commit_index(core->engine) < ms_engine_last_index(core->engine)))
        ev_run(core->loop, EVRUN_ONCE);
}

/* A leader that goes in order does not leave the others to find out. */
static void give_away(struct ms_core *core)
{
    uint64_t until_ms = em_now_ms() + 2ull * core->config.election_ms;
    int err;
    if (core->is_broken || !ms_engine_is_leader(core->engine) ||
        ms_engine_n_voters(core->engine) < 2)
        return;
    if (!is_well(core, ms_engine_transfer(core->engine, em_now_ms(), 0, &err)) || err)
        return;
    while (!core->is_broken && ms_engine_is_leader(core->engine) && em_now_ms() < until_ms)
        ev_run(core->loop, EVRUN_ONCE);
}

static void stop_watchers(struct ms_core *core)
{
    ev_async_stop(core->loop, &core->wake);
    ev_prepare_stop(core->loop, &core->turn);
    ev_timer_stop(core->loop, &core->timer);
    ev_timer_stop(core->loop, &core->tick);
}

static void *run(void *aux)
{
    struct ms_core *core = aux;
    pthread_setname_np(pthread_self(), "core");
    while (!core->is_stopping)
        ev_run(core->loop, EVRUN_ONCE);
    finish_proposals(core);
    give_away(core);
    ms_peers_free(core->peers);
    core->peers = NULL;
    ms_fetch_free(core->fetch);
    ms_changes_free(core->changes);
    stop_watchers(core);
    em_net_free(core->net);
    return NULL;
}

static void destroy(struct ms_core *core)
{
    if (core->loop)
        ev_loop_destroy(core->loop);
    ms_engine_free(core->engine);
    ms_batcher_fini(&core->batcher);
    em_arena_fini(&core->arena);
    em_tls_free(core->new_tls);
    ms_reads_free(core->reads);
    ms_proposals_free(core->proposals);
    for (size_t i = 0; i < core->n_heard; i++)
        free(core->heard[i].node_id);
    free(core->heard);
    if (core->synced)
        free((void *)core->synced->members);
    free(core->synced);
    ms_core_status_fini(&core->status);
    pthread_mutex_destroy(&core->lock);
    free(core);
}

static int start_engine(struct ms_core *core, const struct ms_log_state *state, char **ret_why)
{
    struct ms_engine_config config = {
        .id = core->replica,
        .election_ms = core->config.election_ms,
        .heartbeat_ms = core->config.election_ms / HEARTBEATS,
        .max_inflight = core->config.trailing / 4,
        .trailing = core->config.trailing,
        .trailing_size = core->config.trailing_bytes,
        .memory_size = MEMORY_SIZE,
        .message_size = MESSAGE_SIZE,
        .io = &engine_io,
        .aux = core,
    };
    const struct ms_engine_start from = {
        .term = state->term,
        .voted_for = state->voted_for,
        .mark = state->has_mark ? &state->mark : NULL,
        .first = state->first,
        .entries = state->entries,
        .n_entries = state->n_entries,
    };
    if (getrandom(&config.seed, sizeof(config.seed), 0) != sizeof(config.seed))
        config.seed = (unsigned)em_now_us();
    int r = ms_engine_new(&config, em_now_ms(), &from, &core->engine);
    if (r)
        *ret_why = em_strdup("the log cannot be taken up: it is damaged, or the disk fails");
    return r;
}

/* Map and log must be of one history: the map not behind the mark, not ahead of the log. */
static int check_point(const struct ms_log_state *state, struct ms_point point, char **ret_why)
{
    uint64_t last = state->n_entries ? state->first + state->n_entries - 1 : state->mark.index;
    if (!state->has_mark || (point.index >= state->mark.index && point.index <= last))
        return 0;
    *ret_why = em_asprintf("the map is at log index %llu, but the log has %llu to %llu: one of the "
                           "two is not of this server or was put back from a copy; remove this "
                           "server from the cluster, move its data directory away and add it again",
                           (unsigned long long)point.index, (unsigned long long)state->mark.index,
                           (unsigned long long)last);
    return EM_E_STORAGE;
}

static int start_parts(struct ms_core *core, const struct ms_log_state *state, char **ret_why)
{
    static const struct ms_applier_events applier = {on_commit, on_result, on_applied, on_synced,
                                                     on_map_fatal};
    static const struct ms_peers_events peers = {tell_self, on_message, on_peer_up, on_peer_gone};
    struct ms_point point;
    int r = ms_applier_start(core->config.store, state->has_mark ? &state->mark : NULL, &applier,
                             core, &core->applier, &point);
    if (r == 0)
        r = check_point(state, point, ret_why);
    if (r == 0)
        r = learn_map(core);
    if (r)
        return r;
    core->applied = core->sync_from = point.index;
    core->first_last = state->n_entries ? state->first + state->n_entries - 1 : point.index;
    core->has_caught_up = core->applied >= core->first_last;
    core->fetch = ms_fetch_new(core);
    core->changes = ms_changes_new(core);
    r = ms_peers_new(core->net, core->config.peers_listen, core->config.tls, &peers, core,
                     &core->peers, ret_why);
    return r ? r : start_engine(core, state, ret_why);
}

static void fill_defaults(struct ms_core_config *config)
{
    if (!config->max_waiting)
        config->max_waiting = DEFAULT_WAITING;
    if (!config->max_waiting_bytes)
        config->max_waiting_bytes = DEFAULT_WAITING_SIZE;
    if (!config->election_ms)
        config->election_ms = DEFAULT_ELECTION_MS;
    if (!config->trailing)
        config->trailing = TRAILING;
    if (!config->trailing_bytes)
        config->trailing_bytes = TRAILING_SIZE;
    if (!config->sync_entries)
        config->sync_entries = SYNC_ENTRIES;
    if (!config->peers_advertise)
        config->peers_advertise = config->peers_listen;
}

int ms_core_start(const struct ms_core_config *config, const struct ms_core_events *events,
                  void *aux, struct ms_core **ret_core, char **ret_why)
{
    static const struct ms_reads_io reads = {reads_ping, reads_ask, reads_reply, reads_is_majority};
    struct ms_core *core = em_calloc(1, sizeof(*core));
    core->config = *config;
    core->events = *events;
    core->aux = aux;
    fill_defaults(&core->config);
    core->replica = config->state->replica;
    core->incarnation = config->state->incarnation;
    core->generation = config->state->generation;
    pthread_mutex_init(&core->lock, NULL);
    em_arena_init(&core->arena, COMMAND_LIMIT);
    core->proposals = ms_proposals_new(core->replica, core->incarnation, core->config.max_waiting,
                                       core->config.max_waiting_bytes);
    core->reads = ms_reads_new(&reads, core);
    core->loop = ev_loop_new(EVFLAG_AUTO);
    core->net = em_net_new(core->loop);
    init_watchers(core);
    int r = start_parts(core, config->state, ret_why);
    if (r == 0) {
        ms_core_keep_peers(core);
        note_leader(core, em_now_ms());
        ms_core_publish(core);
        r = -pthread_create(&core->thread, NULL, run, core);
    }
    if (r == 0) {
        *ret_core = core;
        return 0;
    }
    core->is_stopping = core->is_broken = true;
    if (!*ret_why)
        *ret_why = em_strdup(em_strerror(r));
    run(core);
    ms_applier_stop(core->applier);
    destroy(core);
    return r;
}

void ms_core_stop(struct ms_core *core)
{
    if (!core)
        return;
    core->is_stopping = true;
    ev_async_send(core->loop, &core->wake);
    pthread_join(core->thread, NULL);
    ms_applier_stop(core->applier);
    destroy(core);
}
