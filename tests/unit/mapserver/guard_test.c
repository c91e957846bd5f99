/* One case for each rule of the guard: what libraft does without it, and that it does not with
 * it.  Where the harm is one of libraft's own assertions, a twin expects SIGABRT. */
#include "core/guard.h"

#include "eidmap/error.h"
#include "raft/stage.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

static struct stage s;

static void teardown(void)
{
    stage_close(&s);
}

TestSuite(guard, .fini = teardown, .timeout = 30);

static struct ms_engine *engine(uint64_t id)
{
    return stage_engine(&s, id);
}

/* So many founders are up, and 1 leads them. */
static void begin(unsigned n_founders, unsigned guards_off)
{
    stage_open(&s, n_founders, guards_off);
    stage_start_all(&s, n_founders);
    cr_assert(n_founders == 1 || stage_elect(&s, 1));
    stage_run(&s);
}

static void propose(uint64_t id, const char *text)
{
    cr_assert_neq(stage_propose(&s, id, text), 0);
    stage_flush(&s, id);
}

/* 'id' is a learner that has everything. */
static void add(uint64_t leader, uint64_t id)
{
    if (!engine(id))
        stage_start(&s, id);
    cr_assert_eq(stage_change(&s, leader, MS_ADD, id), 0);
    stage_flush(&s, leader);
    for (int i = 0; i < 5; i++) {
        stage_run(&s);
        stage_tick(&s, leader);
    }
    stage_run(&s);
    cr_assert_eq(ms_engine_match(engine(leader), id), ms_engine_last_index(engine(leader)));
}

static void shorten_the_log(void)
{
    uint64_t first = ms_engine_first_index(engine(1));
    for (int i = 0; i < 40; i++) {
        propose(1, "b");
        stage_run(&s);
    }
    stage_compact(&s, 1);
    cr_assert_gt(ms_engine_first_index(engine(1)), first);
}

static void isolate(uint64_t id, bool is_cut)
{
    for (uint64_t i = 1; i <= STAGE_MAX; i++)
        s.is_cut[id][i] = s.is_cut[i][id] = is_cut;
}

static struct raft_message append(uint64_t term, uint64_t prev_index, uint64_t prev_term,
                                  uint64_t commit, struct raft_entry *entries, unsigned n)
{
    return (struct raft_message){.type = RAFT_APPEND_ENTRIES,
                                 .append_entries = {.term = term,
                                                    .prev_log_index = prev_index,
                                                    .prev_log_term = prev_term,
                                                    .leader_commit = commit,
                                                    .entries = entries,
                                                    .n_entries = n}};
}

static struct raft_message result(uint64_t term, uint64_t rejected, uint64_t last)
{
    return (struct raft_message){
        .type = RAFT_APPEND_ENTRIES_RESULT,
        .append_entries_result = {
            .version = 2, .term = term, .rejected = rejected, .last_log_index = last}};
}

/* ---- BARRIER ----------------------------------------------------------------------------- */

static void elect_without_telling(unsigned guards_off)
{
    stage_open(&s, 3, guards_off);
    stage_start_all(&s, 3);
    cr_assert(stage_elect(&s, 1));
    stage_run(&s);
}

Test(guard, a_new_leader_begins_its_term_with_an_entry)
{
    elect_without_telling(0);
    cr_assert_eq(ms_engine_last_index(engine(1)), 2);
    cr_assert(ms_engine_is_ready(engine(1)));
    cr_assert_eq(ms_engine_commit_index(engine(3)), 2, "and the others hear of it at once");
}

Test(guard, without_barrier_a_new_leader_has_no_entry_of_its_term)
{
    elect_without_telling(MS_GUARD_BARRIER);
    cr_assert_eq(ms_engine_last_index(engine(1)), 1);
    cr_assert_eq(stage_change(&s, 1, MS_ADD, 4), 0, "and changes the members all the same");
}

Test(guard, a_change_waits_for_the_first_entry_of_the_term)
{
    stage_open(&s, 3, 0);
    stage_start_all(&s, 3);
    s.is_cut[2][1] = s.is_cut[3][1] = false;
    for (int i = 0; i < 50 && !ms_engine_is_leader(engine(1)); i++) {
        stage_tick(&s, 1);
        while (s.n_letters > 0 && !ms_engine_is_leader(engine(1)))
            stage_run_one(&s);
    }
    cr_assert(ms_engine_is_leader(engine(1)));
    cr_assert_not(ms_engine_is_ready(engine(1)));
    cr_assert_eq(stage_change(&s, 1, MS_ADD, 4), EM_E_BUSY);
}

/* ---- SPLIT ------------------------------------------------------------------------------- */

static struct raft_entry change_entry(uint64_t term, unsigned n_members)
{
    struct disk disk;
    const uint64_t ids[] = {1, 2, 3, 4, 5};
    disk_init(&disk);
    disk_found(&disk, ids, n_members);
    struct raft_entry entry =
        stage_entry(term, RAFT_CHANGE, disk.mark.members->data, disk.mark.members->size);
    disk_fini(&disk);
    return entry;
}

/* A change of the members, not the first of its message, is replaced by another leader. */
static unsigned members_after_truncation(unsigned guards_off)
{
    stage_open(&s, 3, guards_off);
    stage_start(&s, 2);
    struct raft_entry first[] = {stage_entry(2, RAFT_COMMAND, "a", 1), change_entry(2, 4)};
    struct raft_entry second[] = {stage_entry(3, RAFT_COMMAND, "b", 1)};
    struct raft_message message = append(2, 1, 1, 1, first, 2);
    stage_give(&s, 1, 2, &message);
    cr_assert_eq(ms_engine_members(engine(2))->n, 4);
    message = append(3, 2, 2, 1, second, 1);
    stage_give(&s, 3, 2, &message);
    cr_assert_eq(ms_engine_last_index(engine(2)), 3);
    return ms_engine_members(engine(2))->n;
}

Test(guard, a_change_that_is_truncated_is_rolled_back)
{
    cr_assert_eq(members_after_truncation(0), 3);
}

Test(guard, without_split_a_change_that_is_truncated_stays)
{
    cr_assert_eq(members_after_truncation(MS_GUARD_SPLIT), 4);
}

/* ---- STALE_REPLY ------------------------------------------------------------------------- */

static struct raft_append_entries_result reply_to_a_stale_one(unsigned guards_off)
{
    stage_open(&s, 3, guards_off);
    s.replicas[2].disk.term = 5;
    stage_start(&s, 2);
    struct raft_message message = append(2, 1, 1, 1, NULL, 0);
    stage_give(&s, 1, 2, &message);
    const struct raft_message *reply = stage_find(&s, 2, 1, RAFT_APPEND_ENTRIES_RESULT);
    cr_assert_not_null(reply);
    cr_assert_eq(reply->append_entries_result.term, 5);
    return reply->append_entries_result;
}

Test(guard, the_reply_to_a_stale_message_says_nothing_but_the_term)
{
    struct raft_append_entries_result reply = reply_to_a_stale_one(0);
    cr_assert_eq(reply.rejected, 0);
    cr_assert_eq(reply.last_log_index, 0);
}

Test(guard, without_stale_reply_it_is_as_libraft_left_it)
{
    cr_assert_eq(reply_to_a_stale_one(MS_GUARD_STALE_REPLY).rejected, 1);
}

/* What the uninitialised index would do to one that has been elected in that term. */
Test(guard, a_leader_takes_any_index_for_an_acknowledgement)
{
    begin(3, 0);
    isolate(2, true);
    isolate(3, true);
    propose(1, "only here");
    uint64_t index = ms_engine_last_index(engine(1));
    struct raft_message message = result(ms_engine_term(engine(1)), 0, 0);
    stage_give(&s, 2, 1, &message);
    cr_assert_lt(ms_engine_commit_index(engine(1)), index);
    message = result(ms_engine_term(engine(1)), 0, 0x561300000000);
    stage_give(&s, 2, 1, &message);
    cr_assert_eq(ms_engine_commit_index(engine(1)), index, "committed, and nobody else has it");
}

/* ---- WRITE_FIRST ------------------------------------------------------------------------- */

static unsigned early_letters(unsigned guards_off)
{
    begin(1, guards_off);
    add(1, 2);
    s.replicas[1].n_early = s.replicas[1].n_writes = 0;
    stage_propose(&s, 1, "a");
    stage_flush(&s, 1);
    cr_assert_gt(s.replicas[1].n_writes, 0);
    return s.replicas[1].n_early;
}

Test(guard, one_voter_writes_before_it_sends)
{
    cr_assert_eq(early_letters(0), 0);
}

Test(guard, without_write_first_one_voter_sends_what_it_may_forget)
{
    cr_assert_gt(early_letters(MS_GUARD_WRITE_FIRST), 0);
    uint64_t index = stage_propose(&s, 1, "b");
    s.replicas[1].is_full = true;
    stage_drop_letters(&s);
    cr_assert_neq(ms_engine_flush(engine(1), s.now_ms), 0);
    const struct raft_message *sent = stage_find(&s, 1, 2, RAFT_APPEND_ENTRIES);
    cr_assert_not_null(sent);
    uint64_t term = sent->append_entries.entries[0].term;
    stage_crash(&s, 1);
    s.replicas[1].is_full = false;
    stage_start(&s, 1);
    cr_assert(ms_engine_is_leader(engine(1)));
    const struct ms_entry *other = disk_at(&s.replicas[1].disk, index);
    cr_assert_not_null(other);
    cr_assert_eq(other->term, term);
    cr_assert_neq(other->type, RAFT_COMMAND, "two entries at one index and term");
}

Test(guard, several_voters_send_while_they_write)
{
    begin(3, 0);
    s.replicas[1].n_early = s.replicas[1].n_writes = 0;
    stage_propose(&s, 1, "a");
    stage_flush(&s, 1);
    cr_assert_eq(s.replicas[1].n_early, 2);
}

/* ---- VOTERS ------------------------------------------------------------------------------ */

Test(guard, a_leader_is_neither_removed_nor_demoted)
{
    begin(3, 0);
    cr_assert_eq(stage_change(&s, 1, MS_REMOVE, 1), EM_E_DENIED);
    cr_assert_eq(stage_change(&s, 1, MS_DEMOTE, 1), EM_E_DENIED);
    cr_assert_eq(stage_change(&s, 1, MS_REMOVE, 2), 0);
}

Test(guard, two_voters_do_not_become_one)
{
    begin(2, 0);
    cr_assert_eq(stage_change(&s, 1, MS_REMOVE, 2), EM_E_DENIED);
    cr_assert_eq(stage_change(&s, 1, MS_DEMOTE, 2), EM_E_DENIED);
    add(1, 3);
    cr_assert_eq(stage_change(&s, 1, MS_REMOVE, 3), 0, "a learner may go");
}

Test(guard, without_voters_a_term_has_two_leaders)
{
    begin(2, MS_GUARD_VOTERS);
    cr_assert_eq(stage_change(&s, 1, MS_REMOVE, 1), 0);
    s.is_cut[2][1] = true;
    stage_flush(&s, 1);
    stage_run(&s);
    for (int i = 0; i < 10 && !ms_engine_is_leader(engine(2)); i++)
        stage_tick(&s, 2);
    cr_assert(ms_engine_is_leader(engine(1)));
    cr_assert(ms_engine_is_leader(engine(2)));
    cr_assert_eq(ms_engine_term(engine(1)), ms_engine_term(engine(2)));
}

/* ---- TIMER ------------------------------------------------------------------------------- */

static uint64_t next_tick_in(unsigned guards_off)
{
    stage_open(&s, 2, guards_off);
    s.config.heartbeat_ms = 1;
    stage_start_all(&s, 2);
    cr_assert(stage_elect(&s, 1));
    stage_tick(&s, 1);
    return ms_engine_due_ms(engine(1)) - s.now_ms;
}

Test(guard, ticks_keep_a_distance)
{
    cr_assert_eq(next_tick_in(0), 10);
}

Test(guard, without_timer_ticks_come_as_fast_as_libraft_wants)
{
    cr_assert_lt(next_tick_in(MS_GUARD_TIMER), 10);
}

Test(guard, a_timer_that_lies_in_the_past_does_not_make_it_spin)
{
    struct raft r = {.state = RAFT_FOLLOWER, .election_timer_start = 100};
    r.follower_state.randomized_election_timeout = 50;
    cr_assert_eq(ms_guard_due(&r, 20), 150);
    cr_assert_eq(ms_guard_due(&r, 5000), 5010);
}

/* ---- STALE_REJECT ------------------------------------------------------------------------ */

/* A follower is not heard of for a while, and then an old rejection of it arrives. */
static void reject_what_matches(unsigned guards_off)
{
    begin(3, guards_off);
    propose(1, "a");
    stage_run(&s);
    uint64_t match = ms_engine_match(engine(1), 2);
    cr_assert_eq(match, ms_engine_last_index(engine(1)));
    s.is_cut[2][1] = true;
    for (int i = 0; i < 30; i++) {
        stage_tick(&s, 1);
        stage_run(&s);
    }
    cr_assert(ms_engine_is_leader(engine(1)));
    struct raft_message message = result(ms_engine_term(engine(1)), match, match - 1);
    stage_give(&s, 2, 1, &message);
}

Test(guard, a_rejection_of_what_matches_is_taken_for_an_old_one)
{
    reject_what_matches(0);
    s.is_cut[2][1] = false;
    propose(1, "b");
    for (int i = 0; i < 3; i++) {
        stage_tick(&s, 1);
        stage_run(&s);
    }
    cr_assert_eq(ms_engine_match(engine(1), 2), ms_engine_last_index(engine(1)));
}

Test(guard, without_stale_reject_libraft_asserts, .signal = SIGABRT)
{
    reject_what_matches(MS_GUARD_STALE_REJECT);
}

/* It is away for so long that only the state would help; and then comes what it said when its
 * log was shorter than it is now. */
static void reject_from_before(unsigned guards_off)
{
    begin(3, guards_off);
    for (int i = 0; i < 5; i++)
        propose(1, "a");
    stage_run(&s);
    uint64_t match = ms_engine_match(engine(1), 2);
    cr_assert_eq(match, 7);
    isolate(2, true);
    s.has_manual_offers = true;
    shorten_the_log();
    cr_assert_gt(ms_engine_first_index(engine(1)), match + 1);
    for (int i = 0; i < 20; i++) {
        stage_tick(&s, 1);
        stage_run(&s);
    }
    ms_engine_offer_ended(engine(1), 2);
    unsigned n_offers = s.replicas[1].n_offers;
    struct raft_message message =
        result(ms_engine_term(engine(1)), s.replicas[1].disk.mark.index, match - 1);
    stage_give(&s, 2, 1, &message);
    cr_assert_eq(s.replicas[1].n_offers, n_offers + 1);
    cr_assert_eq(ms_engine_match(engine(1), 2), match);
}

Test(guard, a_log_that_ends_below_what_matches_is_taken_for_an_old_one)
{
    reject_from_before(0);
}

Test(guard, without_stale_reject_libraft_asserts_here_too, .signal = SIGABRT)
{
    reject_from_before(MS_GUARD_STALE_REJECT);
}

/* ---- PRE_VOTE_TERM ----------------------------------------------------------------------- */

/* 1 has the shorter log and the higher term. */
static bool do_they_agree(unsigned guards_off)
{
    stage_open(&s, 2, guards_off);
    stage_start(&s, 2);
    struct raft_entry entries[] = {stage_entry(2, RAFT_COMMAND, "a", 1)};
    struct raft_message message = append(2, 1, 1, 1, entries, 1);
    stage_give(&s, 1, 2, &message);
    stage_drop_letters(&s);
    s.replicas[1].disk.term = 9;
    stage_start(&s, 1);
    for (int i = 0; i < 40; i++) {
        stage_tick(&s, 1 + i % 2);
        stage_run(&s);
        if (ms_engine_is_leader(engine(2)))
            return true;
        cr_assert_not(ms_engine_is_leader(engine(1)));
    }
    return false;
}

Test(guard, who_asks_for_a_pre_vote_learns_the_term)
{
    cr_assert(do_they_agree(0));
    cr_assert_gt(ms_engine_term(engine(2)), 9);
}

Test(guard, without_pre_vote_term_two_ask_each_other_for_ever)
{
    cr_assert_not(do_they_agree(MS_GUARD_PRE_VOTE_TERM));
}

/* ---- LEARNER ----------------------------------------------------------------------------- */

/* 1 promotes 3, which does not hear of it, and dies. */
static bool is_there_a_leader(unsigned guards_off)
{
    begin(2, guards_off);
    add(1, 3);
    s.is_cut[1][3] = true;
    cr_assert_eq(stage_change(&s, 1, MS_PROMOTE, 3), 0);
    stage_flush(&s, 1);
    stage_run(&s);
    stage_crash(&s, 1);
    isolate(1, true);
    for (int i = 0; i < 20; i++) {
        stage_tick(&s, 3);
        stage_tick(&s, 2);
        stage_run(&s);
        if (ms_engine_is_leader(engine(2)))
            return true;
    }
    return false;
}

Test(guard, who_does_not_know_that_it_is_a_voter_votes_when_there_is_no_leader)
{
    cr_assert(is_there_a_leader(0));
    cr_assert_eq(s.replicas[3].disk.voted_for, 2);
    cr_assert_eq(ms_engine_n_voters(engine(2)), 3);
}

Test(guard, without_learner_there_is_no_leader_any_more)
{
    cr_assert_not(is_there_a_leader(MS_GUARD_LEARNER));
}

Test(guard, a_learner_with_a_leader_does_not_vote)
{
    begin(2, 0);
    add(1, 3);
    struct raft_message message = {.type = RAFT_REQUEST_VOTE,
                                   .request_vote = {.version = 2,
                                                    .term = 99,
                                                    .candidate_id = 2,
                                                    .last_log_index = 99,
                                                    .last_log_term = 99}};
    stage_give(&s, 2, 3, &message);
    const struct raft_message *reply = stage_find(&s, 3, 2, RAFT_REQUEST_VOTE_RESULT);
    cr_assert_not_null(reply);
    cr_assert_not(reply->request_vote_result.vote_granted);
    cr_assert_lt(ms_engine_term(engine(3)), 99);
}

Test(guard, a_learner_votes_once_in_a_term_and_for_no_shorter_log)
{
    begin(2, 0);
    add(1, 3);
    stage_tick(&s, 3); /* its timer: there is no leader */
    uint64_t last = ms_engine_last_index(engine(3)), term = ms_engine_term(engine(3));
    struct raft_message ask = {.type = RAFT_REQUEST_VOTE,
                               .request_vote = {.version = 2,
                                                .term = term + 1,
                                                .candidate_id = 1,
                                                .last_log_index = last - 1,
                                                .last_log_term = term}};
    const bool expected[] = {false, true, false, true};
    const uint64_t candidates[] = {1, 2, 1, 2};
    for (int i = 0; i < 4; i++) {
        struct raft_message message = ask;
        message.request_vote.candidate_id = candidates[i];
        message.request_vote.last_log_index = i ? last : last - 1;
        stage_give(&s, candidates[i], 3, &message);
        const struct raft_message *reply =
            stage_find(&s, 3, candidates[i], RAFT_REQUEST_VOTE_RESULT);
        cr_assert_not_null(reply);
        cr_assert_eq(reply->request_vote_result.vote_granted, expected[i], "question %d", i);
    }
    cr_assert_eq(s.replicas[3].disk.voted_for, 2);
    cr_assert_eq(s.replicas[3].disk.term, term + 1);
}

Test(guard, a_learner_is_promoted_only_with_the_whole_log)
{
    begin(2, 0);
    add(1, 3);
    s.is_cut[3][1] = true;
    propose(1, "a");
    stage_run(&s);
    cr_assert_eq(stage_change(&s, 1, MS_PROMOTE, 3), EM_E_BUSY);
    s.is_cut[3][1] = false;
    for (int i = 0; i < 5; i++) {
        stage_tick(&s, 1);
        stage_run(&s);
    }
    cr_assert_eq(stage_change(&s, 1, MS_PROMOTE, 3), 0);
}

/* ---- CUT --------------------------------------------------------------------------------- */

/* The log of 2 begins behind 10; somebody who does not know sends it 6 to 12. */
static struct raft_append_entries_result append_below(unsigned guards_off)
{
    struct raft_entry entries[7];
    stage_open(&s, 3, guards_off);
    s.replicas[2].disk.mark.index = s.replicas[2].disk.state.index = 10;
    s.replicas[2].disk.first = 11;
    stage_start(&s, 2);
    for (int i = 0; i < 7; i++)
        entries[i] = stage_entry(1, RAFT_COMMAND, "x", 1);
    struct raft_message message = append(2, 5, 1, 10, entries, 7);
    stage_give(&s, 1, 2, &message);
    const struct raft_message *reply = stage_find(&s, 2, 1, RAFT_APPEND_ENTRIES_RESULT);
    cr_assert_not_null(reply);
    return reply->append_entries_result;
}

Test(guard, what_the_state_holds_already_is_cut_off)
{
    struct raft_append_entries_result reply = append_below(0);
    cr_assert_eq(reply.rejected, 0);
    cr_assert_eq(reply.last_log_index, 12);
    cr_assert_eq(disk_last(&s.replicas[2].disk), 12);
    cr_assert_eq(s.replicas[2].disk.n, 2);
}

Test(guard, without_cut_it_is_refused_for_ever)
{
    cr_assert_eq(append_below(MS_GUARD_CUT).rejected, 5);
}

/* ---- OFFER ------------------------------------------------------------------------------- */

/* 3 is added, and gets an offer; no state comes. */
static void offer_to_3(unsigned guards_off)
{
    begin(2, guards_off);
    shorten_the_log();
    s.has_manual_offers = true;
    stage_start(&s, 3);
    cr_assert_eq(stage_change(&s, 1, MS_ADD, 3), 0);
    for (int i = 0; i < 6; i++) {
        stage_tick(&s, 1);
        stage_run(&s);
    }
    cr_assert_eq(s.replicas[1].offered_to, 3);
    cr_assert_eq(s.replicas[1].offered_index, s.replicas[1].disk.mark.index);
    cr_assert_eq(s.replicas[1].offered_term, s.replicas[1].disk.mark.term);
}

Test(guard, a_founder_that_never_shortened_its_log_offers_its_state_too)
{
    begin(2, 0);
    s.has_manual_offers = true;
    stage_start(&s, 3);
    cr_assert_eq(stage_change(&s, 1, MS_ADD, 3), 0);
    for (int i = 0; i < 6; i++) {
        stage_tick(&s, 1);
        stage_run(&s);
    }
    cr_assert_eq(s.replicas[1].offered_to, 3);
    cr_assert_eq(s.replicas[1].offered_index, 1);
    cr_assert_eq(s.replicas[1].offered_term, 1, "the entry's, not the leader's");
    cr_assert_eq(s.replicas[1].n_offers, 1);
    ms_engine_offer_ended(engine(1), 3);
    stage_tick(&s, 1);
    cr_assert_eq(s.replicas[1].n_offers, 2);
    cr_assert(stage_bring(&s, 1, 3));
    stage_run(&s);
    propose(1, "a");
    stage_run(&s);
    cr_assert_eq(s.replicas[3].state.hash, s.replicas[1].state.hash);
}

Test(guard, an_offer_is_made_once_while_it_lasts)
{
    offer_to_3(0);
    cr_assert_eq(s.replicas[1].n_offers, 1);
    ms_engine_offer_ended(engine(1), 3);
    for (int i = 0; i < 3; i++) {
        stage_tick(&s, 1);
        stage_run(&s);
    }
    cr_assert_eq(s.replicas[1].n_offers, 2, "and again when it has come to nothing");
}

Test(guard, without_offer_each_heartbeat_makes_another)
{
    offer_to_3(MS_GUARD_OFFER);
    cr_assert_gt(s.replicas[1].n_offers, 3);
}

Test(guard, an_offer_is_repeated_when_the_log_was_shortened_meanwhile)
{
    offer_to_3(0);
    uint64_t offered = s.replicas[1].offered_index;
    shorten_the_log();
    ms_engine_offer_ended(engine(1), 3);
    for (int i = 0; i < 3; i++) {
        stage_tick(&s, 1);
        stage_run(&s);
    }
    cr_assert_eq(s.replicas[1].n_offers, 2);
    cr_assert_gt(s.replicas[1].offered_index, offered);
    cr_assert(stage_bring(&s, 1, 3));
    stage_run(&s);
    stage_tick(&s, 1);
    stage_run(&s);
    cr_assert_eq(s.replicas[3].state.hash, s.replicas[1].state.hash);
    cr_assert_eq(ms_engine_match(engine(1), 3), ms_engine_last_index(engine(1)));
}

/* ---- DURABLE ----------------------------------------------------------------------------- */

Test(guard, only_what_is_durable_is_applied)
{
    struct raft r = {.commit_index = 10, .last_stored = 7};
    cr_assert_eq(ms_guard_appliable(&r), 7);
    r.last_stored = 12;
    cr_assert_eq(ms_guard_appliable(&r), 10);
    r.snapshot.installing = true;
    cr_assert_eq(ms_guard_appliable(&r), 0, "nothing while the state is being replaced");
}

/* ---- COMMIT ------------------------------------------------------------------------------ */

static uint64_t commit_after_a_short_one(unsigned guards_off)
{
    struct raft_entry entries[3];
    stage_open(&s, 3, guards_off);
    stage_start(&s, 2);
    for (int i = 0; i < 3; i++)
        entries[i] = stage_entry(2, RAFT_COMMAND, "x", 1);
    struct raft_message message = append(2, 1, 1, 3, entries, 3);
    stage_give(&s, 1, 2, &message);
    cr_assert_eq(ms_engine_commit_index(engine(2)), 3);
    message = append(2, 2, 2, 4, NULL, 0);
    stage_give(&s, 1, 2, &message);
    return ms_engine_commit_index(engine(2));
}

Test(guard, the_commit_index_never_goes_back)
{
    cr_assert_eq(commit_after_a_short_one(0), 3);
}

Test(guard, without_commit_it_goes_back_to_the_end_of_the_message)
{
    cr_assert_eq(commit_after_a_short_one(MS_GUARD_COMMIT), 2);
}

/* ---- OLD_LEADER -------------------------------------------------------------------------- */

/* 1 gives leadership to 2, which asks for 3's vote and is not heard of again. */
static void begin_a_transfer(unsigned guards_off)
{
    begin(3, guards_off);
    cr_assert_eq(ms_engine_leader(engine(3)), 1);
    struct raft_message message = {
        .type = RAFT_REQUEST_VOTE,
        .request_vote = {.version = 2,
                         .term = ms_engine_term(engine(1)) + 1,
                         .candidate_id = 2,
                         .last_log_index = ms_engine_last_index(engine(1)),
                         .last_log_term = ms_engine_term(engine(1)),
                         .disrupt_leader = true}};
    stage_give(&s, 2, 3, &message);
    stage_drop_letters(&s);
    cr_assert_eq(s.replicas[3].disk.voted_for, 2);
    isolate(2, true);
}

Test(guard, a_new_term_has_no_leader_until_one_speaks)
{
    begin_a_transfer(0);
    cr_assert_eq(ms_engine_leader(engine(3)), 0);
}

Test(guard, without_old_leader_the_one_of_the_old_term_is_named)
{
    begin_a_transfer(MS_GUARD_OLD_LEADER);
    cr_assert_eq(ms_engine_leader(engine(3)), 1);
}
