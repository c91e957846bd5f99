#include "core/reads.h"

#include "eidmap/error.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define START_MS 1000 /* time 0 is "never" */

/* What went out, as text: "ping 3/1", "ask 2/1", "reply 2/7=10". */
static struct ms_reads *reads;
static char sent[512];
static int answers[16]; /* by number of the read; 1: not yet */
static char message[128];
static unsigned n_voters;

static void note(const char *format, uint64_t a, uint64_t b, uint64_t c)
{
    size_t n = strlen(sent);
    snprintf(sent + n, sizeof(sent) - n, format, (unsigned long long)a, (unsigned long long)b,
             (unsigned long long)c);
}

static void ping(void *aux, uint64_t term, uint64_t nonce)
{
    note("ping %llu/%llu ", term, nonce, 0);
}

static void ask(void *aux, uint64_t leader, uint64_t nonce)
{
    note("ask %llu/%llu ", leader, nonce, 0);
}

static void reply(void *aux, uint64_t replica, uint64_t nonce, uint64_t index)
{
    note("reply %llu/%llu=%llu ", replica, nonce, index);
}

static bool is_majority(void *aux, const uint64_t *replicas, unsigned n)
{
    return n + 1 > n_voters / 2;
}

static void on_answer(void *aux, int err, const char *why)
{
    int *answer = aux;
    cr_assert_eq(*answer, 1, "answered twice");
    *answer = err;
    snprintf(message, sizeof(message), "%s", why ? why : "");
}

static void setup(void)
{
    static const struct ms_reads_io io = {ping, ask, reply, is_majority};
    sent[0] = '\0';
    n_voters = 3;
    for (size_t i = 0; i < 16; i++)
        answers[i] = 1;
    reads = ms_reads_new(&io, NULL);
}

static void teardown(void)
{
    ms_reads_free(reads);
}

TestSuite(reads, .init = setup, .fini = teardown, .timeout = 20);

static void add(int n)
{
    ms_reads_add(reads, on_answer, &answers[n]);
}

static struct ms_reads_now leader_at(uint64_t now_ms, uint64_t commit, uint64_t applied)
{
    return (struct ms_reads_now){.now_ms = START_MS + now_ms,
                                 .term = 3,
                                 .commit = commit,
                                 .applied = applied,
                                 .leader = 1,
                                 .is_leader = true,
                                 .is_ready = true,
                                 .n_voters = n_voters};
}

static struct ms_reads_now follower_of(uint64_t leader, uint64_t now_ms, uint64_t applied)
{
    return (struct ms_reads_now){.now_ms = START_MS + now_ms,
                                 .term = 3,
                                 .commit = applied,
                                 .applied = applied,
                                 .leader = leader,
                                 .n_voters = n_voters};
}

static void run(struct ms_reads_now now)
{
    ms_reads_run(reads, &now);
}

Test(reads, single_voter_needs_no_round)
{
    n_voters = 1;
    add(0);
    run(leader_at(0, 10, 10));
    cr_assert_eq(answers[0], 0);
    cr_assert_str_eq(sent, "");
    cr_assert(ms_reads_is_idle(reads));
}

Test(reads, single_voter_waits_for_its_map)
{
    n_voters = 1;
    add(0);
    run(leader_at(0, 10, 9));
    cr_assert_eq(answers[0], 1);
    run(leader_at(1, 11, 10));
    cr_assert_eq(answers[0], 0);
}

Test(reads, leader_answers_when_a_majority_follows_it)
{
    n_voters = 5;
    add(0);
    run(leader_at(0, 10, 10));
    cr_assert_str_eq(sent, "ping 3/1 ");
    ms_reads_on_pong(reads, 2, 3, 1);
    ms_reads_on_pong(reads, 2, 3, 1);
    run(leader_at(1, 10, 10));
    cr_assert_eq(answers[0], 1, "one that says it twice is one");
    ms_reads_on_pong(reads, 3, 3, 1);
    run(leader_at(2, 10, 10));
    cr_assert_eq(answers[0], 0);
}

Test(reads, pongs_of_other_rounds_and_terms_do_not_count)
{
    add(0);
    run(leader_at(0, 10, 10));
    ms_reads_on_pong(reads, 2, 2, 1);
    ms_reads_on_pong(reads, 2, 3, 0);
    ms_reads_on_pong(reads, 2, 3, 2);
    run(leader_at(1, 10, 10));
    cr_assert_eq(answers[0], 1);
}

/* The commit index may have grown for reasons that the later read has seen. */
Test(reads, who_comes_during_a_round_waits_for_the_next)
{
    add(0);
    run(leader_at(0, 10, 10));
    add(1);
    run(leader_at(1, 20, 10));
    ms_reads_on_pong(reads, 2, 3, 1);
    run(leader_at(2, 20, 10));
    cr_assert_eq(answers[0], 0, "the index of its own round is enough");
    cr_assert_eq(answers[1], 1);
    cr_assert_str_eq(sent, "ping 3/1 ping 3/2 ");
    ms_reads_on_pong(reads, 2, 3, 2);
    run(leader_at(3, 20, 19));
    cr_assert_eq(answers[1], 1);
    run(leader_at(4, 20, 20));
    cr_assert_eq(answers[1], 0);
}

Test(reads, all_who_wait_share_a_round)
{
    for (int i = 0; i < 10; i++)
        add(i);
    run(leader_at(0, 10, 10));
    ms_reads_on_pong(reads, 3, 3, 1);
    run(leader_at(1, 10, 10));
    for (int i = 0; i < 10; i++)
        cr_assert_eq(answers[i], 0);
    cr_assert_str_eq(sent, "ping 3/1 ");
}

Test(reads, new_leader_waits_until_its_term_has_an_entry)
{
    struct ms_reads_now now = leader_at(0, 10, 10);
    now.is_ready = false;
    add(0);
    run(now);
    cr_assert_str_eq(sent, "");
    run(leader_at(1, 11, 10));
    cr_assert_str_eq(sent, "ping 3/1 ");
}

Test(reads, round_of_a_lost_term_is_void)
{
    struct ms_reads_now later = leader_at(1, 12, 12);
    later.term = 5;
    add(0);
    run(leader_at(0, 10, 10));
    run(later);
    ms_reads_on_pong(reads, 2, 3, 1);
    run(later);
    cr_assert_eq(answers[0], 1, "it was said to the leader of term 3");
    cr_assert_str_eq(sent, "ping 3/1 ping 5/2 ");
    ms_reads_on_pong(reads, 2, 5, 2);
    run(later);
    cr_assert_eq(answers[0], 0);
}

Test(reads, leader_that_loses_its_office_in_a_round_asks_the_next_one)
{
    add(0);
    run(leader_at(0, 10, 10));
    run(follower_of(2, 1, 10));
    cr_assert_str_eq(sent, "ping 3/1 ask 2/2 ");
    ms_reads_on_pong(reads, 3, 3, 1);
    run(follower_of(2, 2, 10));
    cr_assert_eq(answers[0], 1);
    ms_reads_on_reply(reads, 2, 12);
    run(follower_of(2, 3, 11));
    cr_assert_eq(answers[0], 1, "its map is not there yet");
    run(follower_of(2, 4, 12));
    cr_assert_eq(answers[0], 0);
}

Test(reads, follower_asks_again_when_the_leader_changes_or_is_none)
{
    add(0);
    run(follower_of(2, 0, 10));
    run(follower_of(3, 1, 10));
    cr_assert_str_eq(sent, "ask 2/1 ask 3/2 ");
    ms_reads_on_reply(reads, 1, 99);
    run(follower_of(3, 2, 10));
    cr_assert_eq(answers[0], 1, "the answer of the old leader");
    ms_reads_on_reply(reads, 2, 0);
    run(follower_of(3, 3, 10));
    cr_assert_str_eq(sent, "ask 2/1 ask 3/2 ask 3/3 ", "it said that it is none");
    ms_reads_on_reply(reads, 3, 10);
    run(follower_of(3, 4, 10));
    cr_assert_eq(answers[0], 0);
}

Test(reads, what_gets_no_answer_is_asked_again)
{
    add(0);
    run(leader_at(0, 10, 10));
    run(leader_at(300, 10, 10));
    cr_assert_str_eq(sent, "ping 3/1 ");
    run(leader_at(301, 10, 10));
    cr_assert_str_eq(sent, "ping 3/1 ping 3/2 ");
    ms_reads_on_pong(reads, 2, 3, 1);
    run(leader_at(302, 10, 10));
    cr_assert_eq(answers[0], 1, "the old round is over");
}

Test(reads, follower_without_a_leader_gives_up_in_time)
{
    add(0);
    run(follower_of(0, 100, 10));
    run(follower_of(0, 3100, 10));
    cr_assert_eq(answers[0], 1);
    run(follower_of(0, 3101, 10));
    cr_assert_eq(answers[0], EM_E_BUSY);
    cr_assert(strstr(message, "no leader"), "%s", message);
    cr_assert_str_eq(sent, "");
}

Test(reads, rounds_without_a_majority_are_given_up)
{
    add(0);
    for (uint64_t now = 0; now < 3500; now += 50)
        run(leader_at(now, 10, 10));
    cr_assert_eq(answers[0], EM_E_BUSY);
    cr_assert(ms_reads_is_idle(reads));
}

Test(reads, questions_without_an_answer_are_given_up)
{
    add(0);
    for (uint64_t now = 0; now < 3500; now += 50)
        run(follower_of(2, now, 10));
    cr_assert_eq(answers[0], EM_E_BUSY);
    cr_assert(ms_reads_is_idle(reads));
}

Test(reads, map_that_lags_is_given_up)
{
    add(0);
    run(follower_of(2, 0, 10));
    ms_reads_on_reply(reads, 1, 20);
    run(follower_of(2, 3001, 19));
    cr_assert_eq(answers[0], EM_E_BUSY);
    cr_assert(strstr(message, "lags"), "%s", message);
}

Test(reads, several_followers_are_told_each_by_its_own_nonce)
{
    ms_reads_on_ask(reads, 2, 7);
    ms_reads_on_ask(reads, 3, 9);
    ms_reads_on_ask(reads, 2, 8);
    run(leader_at(0, 10, 4));
    ms_reads_on_pong(reads, 2, 3, 1);
    cr_assert(strstr(sent, "reply 2/7=10 "), "%s", sent);
    cr_assert(strstr(sent, "reply 3/9=10 "), "%s", sent);
    cr_assert(strstr(sent, "reply 2/8=10 "), "the leader's own map does not matter: %s", sent);
    cr_assert(ms_reads_is_idle(reads));
}

Test(reads, follower_that_is_asked_says_that_it_is_no_leader)
{
    ms_reads_on_ask(reads, 3, 9);
    run(follower_of(2, 0, 10));
    cr_assert_str_eq(sent, "reply 3/9=0 ");
}

Test(reads, reply_to_no_question_is_nothing)
{
    ms_reads_on_reply(reads, 0, 10);
    add(0);
    run(leader_at(0, 10, 10));
    ms_reads_on_reply(reads, 1, 10);
    run(leader_at(1, 10, 10));
    cr_assert_eq(answers[0], 1, "a round is confirmed by pongs alone");
}

Test(reads, end_answers_all_that_wait)
{
    add(0);
    run(leader_at(0, 10, 10)); /* asked */
    add(1);
    run(leader_at(1, 10, 10)); /* waiting */
    add(2);                    /* new */
    ms_reads_on_ask(reads, 2, 7);
    ms_reads_free(reads);
    reads = NULL;
    for (int i = 0; i < 3; i++)
        cr_assert_eq(answers[i], EM_E_CLOSED);
    cr_assert_null(strstr(sent, "reply"));
}
