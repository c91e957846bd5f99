/* Rules around libraft 0.22.1 that close its defects from outside.  Each rule can be switched
 * off, for the test that shows what happens then.
 *
 * What is kept here is pure: libraft's structure and messages in, a decision out.  The engine
 * asks at the right places. */
#ifndef MS_GUARD_H
#define MS_GUARD_H

#include <raft.h>
#include <stdbool.h>
#include <stddef.h>

enum ms_guard_rule {
    MS_GUARD_BARRIER = 1 << 0,
    MS_GUARD_SPLIT = 1 << 1,
    MS_GUARD_STALE_REPLY = 1 << 2,
    MS_GUARD_WRITE_FIRST = 1 << 3,
    MS_GUARD_VOTERS = 1 << 4,
    MS_GUARD_TIMER = 1 << 5,
    MS_GUARD_STALE_REJECT = 1 << 6,
    MS_GUARD_PRE_VOTE_TERM = 1 << 7,
    MS_GUARD_LEARNER = 1 << 8,
    MS_GUARD_CUT = 1 << 9,
    MS_GUARD_OFFER = 1 << 10,
    MS_GUARD_DURABLE = 1 << 11,
    MS_GUARD_COMMIT = 1 << 12,
    MS_GUARD_OLD_LEADER = 1 << 13,
};

/* SPLIT.  libraft notes the index of the first new entry for a change of the members that
 * stands anywhere in an AppendEntries: its commit is not recognised, and when it is truncated
 * it stays active.  So a change is always the first entry of a step.  Returns how many
 * entries from 'at' on go into the next step. */
unsigned ms_guard_split(const struct raft_append_entries *msg, unsigned at);

/* STALE_REPLY.  The reply to an AppendEntries or InstallSnapshot of an older term has an
 * uninitialised last_log_index and, without a previous entry, no rejection.  Its sender may
 * have been elected meanwhile, and would take it for an acknowledgement: a commit without a
 * majority.  First: is this message one of them?  Second: takes the promise out of the reply. */
bool ms_guard_is_stale(const struct raft *r, const struct raft_message *msg);
void ms_guard_mend_reply(struct raft_message *reply);

/* WRITE_FIRST.  One voter elects itself without a vote and in the same term after a restart.
 * What it had sent and not written would then stand at the same index and term as something
 * else.  So with one voter (before or after an open change) nothing leaves before it is
 * durable. */
bool ms_guard_may_overlap(const struct raft *r);

/* VOTERS.  For the same reason a cluster does not shrink to one voter, and a leader is neither
 * removed nor demoted: two leaders of one term could follow.  'n_voters': after the change.
 * NULL, or why the change is refused. */
const char *ms_guard_change(const struct raft *r, unsigned n_voters, raft_id changed, bool is_less);

/* TIMER.  raft_timeout() counts servers that get nothing, and may lie in the past for ever;
 * and each tick resets the window in which followers count as reachable. */
raft_time ms_guard_due(const struct raft *r, raft_time last_tick);

/* STALE_REJECT.  A rejection of what is known to match is old or a duplicate; in probe state
 * it trips an assertion, or without assertions underflows the window: the follower gets
 * nothing any more. */
void ms_guard_mend_reject(const struct raft *r, struct raft_message *msg);

/* PRE_VOTE_TERM.  A refused pre-vote is answered with the asker's own term, so that one with
 * the shorter log and the lower term never learns the higher one, and two may ask each other
 * for ever. */
void ms_guard_mend_pre_vote(const struct raft *r, raft_term asked, struct raft_message *reply);

/* LEARNER.  Who does not know yet that it is a voter refuses its vote: when a leader dies
 * while it promotes somebody, nobody may be electable.  So a replica that is no voter by its
 * own lights and has no leader votes as Raft says, by the log alone; who counts it is for the
 * candidate to know.  learner_votes() is true in this case, with the answer in *ret_granted.
 * libraft does not see that a learner's leader is gone: the engine forgets it when the
 * learner's election timer fires. */
bool ms_guard_is_learner(const struct raft *r);
bool ms_guard_learner_votes(const struct raft *r, const struct raft_request_vote *msg,
                            raft_index last_index, raft_term last_term, bool *ret_granted);

/* CUT.  An AppendEntries that begins below the own log is appended at its end if it begins at
 * 0, and refused for ever otherwise.  All up to the snapshot is committed and so the same
 * everywhere: that part is cut off.  Returns how many entries. */
unsigned ms_guard_cut(const struct raft *r, struct raft_append_entries *msg);

/* OFFER.  While a replica is being sent the state, its rejections must not start that anew. */
void ms_guard_mend_offered(struct raft_message *msg);

/* Once it is over they must.  libraft waits for a rejection of the snapshot that it offered
 * ('offered'), but asks about its newest one: a leader that has shortened its log meanwhile
 * would never offer anything again.  True: 'msg' is now the answer that libraft waits for, to
 * be stepped after the original one. */
bool ms_guard_repeat_reject(const struct raft *r, raft_index offered, struct raft_message *msg);

/* DURABLE.  The commit index may be beyond what is durable here; the state must never be ahead
 * of the log.  Returns up to where entries may be applied. */
raft_index ms_guard_appliable(const struct raft *r);

/* COMMIT.  An AppendEntries that ends below the own commit index and tells of a higher one
 * sets it back to its own end. */
void ms_guard_mend_commit(const struct raft *r, struct raft_append_entries *msg);

/* OLD_LEADER.  A follower that is asked for its vote in a new term, as when leadership is
 * transferred, keeps the leader of the old one: it names a leader that the term does not have,
 * and refuses everybody else's pre-votes until its timer fires.  Is that leader to be
 * forgotten, now that a request has been stepped which came in 'term_before'? */
bool ms_guard_is_old_leader(const struct raft *r, raft_term term_before);

#endif
