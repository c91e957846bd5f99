/* Who leads, and who takes part. */
#include "core/engine_state.h"

#include "base/mem.h"
#include "eidmap/error.h"

#include <assert.h>
#include <stdlib.h>

/* All voters see a dead leader at nearly the same time; if they asked for votes then, none
 * would get them.  So they take turns: each comes after those with lower ids. */
static unsigned rank_without(const struct ms_engine *engine, uint64_t leader)
{
    const struct raft_configuration *members = &engine->raft.configuration;
    unsigned rank = 0;
    for (unsigned i = 0; i < members->n; i++)
        rank += members->servers[i].role == RAFT_VOTER && members->servers[i].id != leader &&
                members->servers[i].id < engine->config.id;
    return rank;
}

void ms_engine_leader_lost(struct ms_engine *engine, uint64_t now_ms, uint64_t replica)
{
    struct raft *r = &engine->raft;
    ms_engine_set_now(engine, now_ms);
    if (raft_state(r) != RAFT_FOLLOWER || r->follower_state.current_leader.id != replica)
        return;
    unsigned delay = (1 + rank_without(engine, replica)) * engine->config.election_ms / 8 +
                     raft_random(&r->random, 0, engine->config.election_ms / 20);
    unsigned wait = r->follower_state.randomized_election_timeout;
    if (engine->now_ms + delay >= r->election_timer_start + wait)
        return;
    r->election_timer_start = engine->now_ms + delay - wait;
}

static unsigned count_voters(const struct raft_configuration *members)
{
    unsigned n = 0;
    for (unsigned i = 0; i < members->n; i++)
        n += members->servers[i].role == RAFT_VOTER;
    return n;
}

static const struct raft_server *find_member(const struct raft_configuration *members, uint64_t id)
{
    for (unsigned i = 0; i < members->n; i++)
        if (members->servers[i].id == id)
            return &members->servers[i];
    return NULL;
}

/* The new list, with the others in their order: libraft keeps what it knows of them by
 * place. */
static void change_members(const struct raft_configuration *old, enum ms_engine_change change,
                           uint64_t replica, const char *address, struct raft_configuration *new)
{
    raft_configuration_init(new);
    for (unsigned i = 0; i < old->n; i++) {
        const struct raft_server *server = &old->servers[i];
        int role = server->role;
        if (server->id == replica && change == MS_REMOVE)
            continue;
        if (server->id == replica)
            role = change == MS_PROMOTE ? RAFT_VOTER : RAFT_STANDBY;
        raft_configuration_add(new, server->id, server->address, role);
    }
    if (change == MS_ADD)
        raft_configuration_add(new, replica, address, RAFT_STANDBY);
}

static int check_change(struct ms_engine *engine, enum ms_engine_change change, uint64_t replica,
                        const char **ret_why)
{
    const struct raft_server *member = find_member(&engine->raft.configuration, replica);
    if (!ms_engine_is_leader(engine)) {
        *ret_why = "this server is not the leader";
        return EM_E_NOT_LEADER;
    }
    if (ms_engine_has_rule(engine, MS_GUARD_BARRIER) && !ms_engine_is_ready(engine)) {
        *ret_why = "this server has become the leader just now; ask again";
        return EM_E_BUSY;
    }
    if (change == MS_ADD && member) {
        *ret_why = "this server is a member already";
        return EM_E_EXISTS;
    }
    if (change != MS_ADD && !member) {
        *ret_why = "there is no such member";
        return EM_E_NOT_FOUND;
    }
    if (change == MS_PROMOTE && ms_engine_has_rule(engine, MS_GUARD_LEARNER) &&
        ms_engine_match(engine, replica) != ms_engine_last_index(engine)) {
        *ret_why = "it does not have the whole log yet; ask again";
        return EM_E_BUSY;
    }
    return 0;
}

int ms_engine_change(struct ms_engine *engine, uint64_t now_ms, enum ms_engine_change change,
                     uint64_t replica, const char *address, uint64_t *ret_index, int *ret_err,
                     const char **ret_why)
{
    struct raft_configuration members;
    struct raft_buffer buf;
    const char *why = NULL;
    ms_engine_set_now(engine, now_ms);
    *ret_err = check_change(engine, change, replica, ret_why);
    if (*ret_err)
        return 0;
    change_members(&engine->raft.configuration, change, replica, address, &members);
    if (ms_engine_has_rule(engine, MS_GUARD_VOTERS))
        why = ms_guard_change(&engine->raft, count_voters(&members), replica,
                              change == MS_DEMOTE || change == MS_REMOVE);
    int rv = why ? 0 : raft_configuration_encode(&members, &buf);
    raft_configuration_close(&members);
    if (why || rv) {
        *ret_err = why ? EM_E_DENIED : EM_E_LIMIT;
        *ret_why = why ? why : "the list of members cannot be written";
        return 0;
    }
    struct ms_payload *payload = ms_payload_new(buf.base, buf.len);
    raft_free(buf.base);
    *ret_index = ms_tail_next(&engine->tail);
    int r = ms_engine_submit(engine, RAFT_CHANGE, payload);
    ms_payload_unref(payload);
    if (r > 0) {
        *ret_err = r == RAFT_NOTLEADER ? EM_E_NOT_LEADER : EM_E_BUSY;
        *ret_why = "another change of the members is under way; ask again";
    }
    return r < 0 ? r : 0;
}

int ms_engine_transfer(struct ms_engine *engine, uint64_t now_ms, uint64_t replica, int *ret_err)
{
    struct raft_event event = {.type = RAFT_TRANSFER, .transfer = {replica}};
    ms_engine_set_now(engine, now_ms);
    int r = ms_engine_step(engine, &event);
    *ret_err = 0;
    if (r > 0)
        *ret_err = r == RAFT_NOTLEADER ? EM_E_NOT_LEADER : EM_E_NOT_FOUND;
    return r < 0 ? r : 0;
}

unsigned ms_engine_n_voters(const struct ms_engine *engine)
{
    return count_voters(&engine->raft.configuration);
}
