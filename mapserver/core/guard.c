#include "core/guard.h"

#include <assert.h>
#include <stdint.h>

unsigned ms_guard_split(const struct raft_append_entries *msg, unsigned at)
{
    unsigned n = 0;
    while (at + n < msg->n_entries && (n == 0 || msg->entries[at + n].type != RAFT_CHANGE))
        n++;
    return n;
}

bool ms_guard_is_stale(const struct raft *r, const struct raft_message *msg)
{
    if (msg->type == RAFT_APPEND_ENTRIES)
        return msg->append_entries.term < raft_current_term(r);
    return msg->type == RAFT_INSTALL_SNAPSHOT && msg->install_snapshot.term < raft_current_term(r);
}

void ms_guard_mend_reply(struct raft_message *reply)
{
    if (reply->type != RAFT_APPEND_ENTRIES_RESULT)
        return;
    reply->append_entries_result.rejected = 0;
    reply->append_entries_result.last_log_index = 0;
}

static unsigned count_voters(const struct raft_configuration *members)
{
    unsigned n = 0;
    for (unsigned i = 0; i < members->n; i++)
        n += members->servers[i].role == RAFT_VOTER;
    return n;
}

bool ms_guard_may_overlap(const struct raft *r)
{
    return raft_state((struct raft *)r) == RAFT_LEADER && count_voters(&r->configuration) > 1 &&
           count_voters(&r->configuration_committed) > 1;
}

const char *ms_guard_change(const struct raft *r, unsigned n_voters, raft_id changed, bool is_less)
{
    if (is_less && changed == r->id)
        return "this server is the leader: transfer leadership first, then ask again";
    if (is_less && n_voters < 2 && count_voters(&r->configuration) >= 2)
        return "two voters are the least that a cluster goes back to; to end with one server, "
               "stop the others and start it with --recover";
    return NULL;
}

raft_time ms_guard_due(const struct raft *r, raft_time last_tick)
{
    raft_time due = raft_timeout(r);
    return due > last_tick + 10 ? due : last_tick + 10;
}

void ms_guard_mend_reject(const struct raft *r, struct raft_message *msg)
{
    struct raft_append_entries_result *result = &msg->append_entries_result;
    raft_index match;
    if (msg->type != RAFT_APPEND_ENTRIES_RESULT || result->rejected == 0 ||
        raft_match_index(r, msg->server_id, &match))
        return;
    if (result->rejected <= match) {
        result->rejected = 0;
        result->last_log_index = 0;
    } else if (result->last_log_index < match) {
        result->last_log_index = match;
    }
}

void ms_guard_mend_pre_vote(const struct raft *r, raft_term asked, struct raft_message *reply)
{
    struct raft_request_vote_result *result = &reply->request_vote_result;
    if (reply->type == RAFT_REQUEST_VOTE_RESULT && result->pre_vote && !result->vote_granted &&
        asked < raft_current_term(r))
        result->term = raft_current_term(r);
}

static bool is_voter(const struct raft *r)
{
    for (unsigned i = 0; i < r->configuration.n; i++)
        if (r->configuration.servers[i].id == r->id)
            return r->configuration.servers[i].role == RAFT_VOTER;
    return false;
}

bool ms_guard_is_learner(const struct raft *r)
{
    return raft_state((struct raft *)r) == RAFT_FOLLOWER && !is_voter(r);
}

bool ms_guard_learner_votes(const struct raft *r, const struct raft_request_vote *msg,
                            raft_index last_index, raft_term last_term, bool *ret_granted)
{
    raft_term term = raft_current_term(r);
    if (!ms_guard_is_learner(r) || r->follower_state.current_leader.id != 0 || msg->term < term)
        return false;
    bool has_voted = msg->term == term && r->voted_for != 0 && r->voted_for != msg->candidate_id;
    bool is_newer = msg->last_log_term > last_term ||
                    (msg->last_log_term == last_term && msg->last_log_index >= last_index);
    *ret_granted = is_newer && (msg->pre_vote || !has_voted);
    return true;
}

unsigned ms_guard_cut(const struct raft *r, struct raft_append_entries *msg)
{
    raft_index snapshot = r->trail.snapshot.index;
    if (snapshot == 0 || msg->prev_log_index > r->trail.offset || msg->prev_log_index == snapshot)
        return 0;
    assert(msg->prev_log_index < snapshot);
    raft_index below = snapshot - msg->prev_log_index;
    unsigned n = below < msg->n_entries ? (unsigned)below : msg->n_entries;
    msg->prev_log_index = snapshot;
    msg->prev_log_term = r->trail.snapshot.term;
    return n;
}

void ms_guard_mend_offered(struct raft_message *msg)
{
    if (msg->type == RAFT_APPEND_ENTRIES_RESULT && msg->append_entries_result.rejected > 0)
        msg->append_entries_result.rejected = UINT64_MAX;
}

bool ms_guard_repeat_reject(const struct raft *r, raft_index offered, struct raft_message *msg)
{
    struct raft_append_entries_result *result = &msg->append_entries_result;
    if (offered == 0 || result->rejected != r->trail.snapshot.index || result->rejected == offered)
        return false;
    result->rejected = offered;
    if (result->last_log_index >= offered)
        result->last_log_index = offered - 1;
    return true;
}

raft_index ms_guard_appliable(const struct raft *r)
{
    raft_index commit = raft_commit_index(r);
    if (r->snapshot.installing)
        return 0;
    return commit < r->last_stored ? commit : r->last_stored;
}

void ms_guard_mend_commit(const struct raft *r, struct raft_append_entries *msg)
{
    raft_index commit = raft_commit_index(r);
    if (msg->prev_log_index + msg->n_entries < commit && msg->leader_commit > commit)
        msg->leader_commit = commit;
}

bool ms_guard_is_old_leader(const struct raft *r, raft_term term_before)
{
    return r->state == RAFT_FOLLOWER && r->current_term > term_before;
}
