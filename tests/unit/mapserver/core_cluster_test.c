/* Three map servers in one process that agree. */
#include "base/mem.h"
#include "eidmap/error.h"
#include "mapserver/cluster.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct cluster c;

static void setup(void)
{
    cluster_start(&c, 0);
}

static void setup_short(void)
{
    cluster_start(&c, 32);
}

static void teardown(void)
{
    cluster_stop(&c);
}

TestSuite(cluster, .init = setup, .fini = teardown, .timeout = 110);
TestSuite(short_log, .init = setup_short, .fini = teardown, .timeout = 110);

static void put(unsigned i, const char *network)
{
    struct cluster_answer answer = cluster_put(&c, i, network);
    cr_assert_eq(answer.err, 0, "%s", answer.message);
    cr_assert(cluster_has(&c, i, network), "it is told when its own map has it");
}

static void put_many(unsigned i, const char *prefix, unsigned n)
{
    char name[32];
    for (unsigned k = 0; k < n; k++) {
        snprintf(name, sizeof(name), "%s%u", prefix, k);
        put(i, name);
    }
}

static void read_at(unsigned i, const char *network)
{
    struct cluster_answer answer = cluster_read(&c, i);
    cr_assert_eq(answer.err, 0, "%s", answer.message);
    cr_assert(cluster_has(&c, i, network), "%s at %s", network, cluster_name(i));
}

static void change(unsigned i, enum ms_member_change what, unsigned of)
{
    struct cluster_answer answer = cluster_change(
        &c, i, what, cluster_name(of), what == MS_MEMBER_ADD ? cluster_peers(&c, of) : "");
    cr_assert_eq(answer.err, 0, "%s", answer.message);
}

static void assert_refused(unsigned i, enum ms_member_change what, const char *name,
                           const char *address, int err, const char *part)
{
    struct cluster_answer answer = cluster_change(&c, i, what, name, address);
    cr_assert_eq(answer.err, err, "%s", answer.message);
    cr_assert(strstr(answer.message, part), "%s", answer.message);
}

Test(cluster, what_is_proposed_anywhere_is_read_everywhere)
{
    put(0, "before");
    cluster_grow(&c, 3);
    for (unsigned i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof(name), "from%u", i);
        put(i, name);
        for (unsigned k = 0; k < 3; k++)
            read_at(k, name);
    }
    for (unsigned k = 0; k < 3; k++)
        cr_assert(cluster_has(&c, k, "before"));
    cr_assert_eq(cluster_put(&c, 1, "before").err, EM_E_EXISTS,
                 "refusals come back to where it was proposed");
}

static void *propose_many(void *aux)
{
    unsigned i = *(unsigned *)aux;
    char name[32];
    for (unsigned k = 0; k < 60; k++) {
        snprintf(name, sizeof(name), "t%u-%u", i, k);
        struct cluster_answer answer = cluster_put(&c, i, name);
        cr_assert(answer.err == 0 || answer.err == EM_E_BUSY, "%s: %d %s", name, answer.err,
                  answer.message);
    }
    return NULL;
}

/* The results of the old leader's are lost with it; those who live find the next one. */
Test(cluster, proposals_of_followers_survive_their_leader)
{
    pthread_t threads[2];
    unsigned at[2];
    cluster_grow(&c, 3);
    unsigned leader = cluster_leader(&c);
    for (unsigned i = 0, n = 0; i < 3; i++)
        if (i != leader)
            at[n++] = i;
    for (unsigned i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, propose_many, &at[i]);
    CLUSTER_UNTIL(cluster_has(&c, at[0], at[0] == 0 ? "t0-20" : at[0] == 1 ? "t1-20" : "t2-20"));
    cluster_down(&c, leader);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    cr_assert_neq(cluster_leader(&c), leader);
    for (unsigned i = 0; i < 2; i++)
        for (unsigned k = 0; k < 60; k++) {
            char name[32];
            snprintf(name, sizeof(name), "t%u-%u", at[i], k);
            read_at(at[1 - i], name);
        }
    cluster_up(&c, leader);
    put(leader, "back");
    read_at(at[0], "back");
    read_at(leader, "t1-59");
}

static void count_answer(void *aux, const struct ms_result *result)
{
    atomic_fetch_add((atomic_int *)aux, 1);
}

/* A command that nobody accepts, as large as it is wanted. */
static void submit(unsigned i, size_t size, atomic_int *n_answers)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    Eidmap__Origin origin = EIDMAP__ORIGIN__INIT;
    Eidmap__PutNetwork body = EIDMAP__PUT_NETWORK__INIT;
    Eidmap__Network record = EIDMAP__NETWORK__INIT;
    const char *why = NULL;
    char *name = em_calloc(1, size + 1);
    memset(name, 'n', size);
    origin.role = EIDMAP__ROLE__ROLE_OPERATOR;
    origin.name = (char *)"root";
    record.name = name;
    body.network = &record;
    command.schema = 1;
    command.origin = &origin;
    command.body_case = EIDMAP__COMMAND__BODY_PUT_NETWORK;
    command.put_network = &body;
    size_t packed = eidmap__command__get_packed_size(&command);
    uint8_t *bytes = em_malloc(packed);
    eidmap__command__pack(&command, bytes);
    cr_assert_eq(
        ms_core_submit(cluster_core(&c, i), bytes, packed, true, count_answer, n_answers, &why), 0,
        "%s", why);
    free(name);
}

/* What waits at a follower goes to the leader in as many messages as it takes. */
Test(cluster, small_and_large_commands_are_forwarded)
{
    static atomic_int n_answers;
    cluster_grow(&c, 3);
    unsigned follower = (cluster_leader(&c) + 1) % 3;
    for (int i = 0; i < 3; i++) {
        submit(follower, 8000, &n_answers);
        submit(follower, EM_FRAME_MAX - 4096 - 64, &n_answers);
    }
    ms_core_wake(cluster_core(&c, follower));
    CLUSTER_UNTIL(n_answers == 6);
    put(follower, "after");
}

Test(cluster, leader_that_stops_in_order_hands_over)
{
    cluster_grow(&c, 3);
    unsigned leader = cluster_leader(&c);
    cluster_down(&c, leader);
    unsigned next = cluster_leader(&c);
    cr_assert_neq(next, leader);
    put(next, "after");
}

Test(cluster, without_a_majority_reads_and_changes_are_given_up)
{
    cluster_grow(&c, 3);
    unsigned leader = cluster_leader(&c), alone = leader == 0 ? 1 : 0;
    for (unsigned i = 0; i < 3; i++)
        if (i != alone)
            cluster_down(&c, i);
    cr_assert_eq(cluster_read(&c, alone).err, EM_E_BUSY);
    CLUSTER_UNTIL(ms_core_no_leader_ms(cluster_core(&c, alone)) > 0);
    assert_refused(alone, MS_MEMBER_DEMOTE, "ms3", "", EM_E_BUSY, "no leader");
}

/* ---- members ------------------------------------------------------------------------------- */

Test(cluster, members_come_and_go_through_any_server)
{
    cluster_grow(&c, 2);
    cluster_up(&c, 2);
    change(1, MS_MEMBER_ADD, 2);
    CLUSTER_UNTIL(cluster_role(&c, 1, 2) == EIDMAP__MEMBER_ROLE__MEMBER_STANDBY ||
                  cluster_role(&c, 1, 2) == EIDMAP__MEMBER_ROLE__MEMBER_SPARE);
    change(1, MS_MEMBER_PROMOTE, 2);
    change(1, MS_MEMBER_PROMOTE, 2); /* it is one */
    CLUSTER_UNTIL(cluster_role(&c, 2, 2) == EIDMAP__MEMBER_ROLE__MEMBER_VOTER);
    put(2, "three");
    change(2, MS_MEMBER_DEMOTE, 1);
    put(1, "by-a-standby");
    read_at(1, "three");
    CLUSTER_UNTIL(cluster_role(&c, 0, 1) == EIDMAP__MEMBER_ROLE__MEMBER_STANDBY);
    change(0, MS_MEMBER_PROMOTE, 1);
    change(0, MS_MEMBER_TRANSFER, 2);
    CLUSTER_UNTIL(cluster_leader(&c) == 2);
    change(0, MS_MEMBER_REMOVE, 1);
    CLUSTER_UNTIL(cluster_role(&c, 0, 1) == 0);
    put(0, "two");
}

Test(cluster, leadership_goes_to_whoever_is_best_when_nobody_is_named)
{
    cluster_grow(&c, 3);
    unsigned leader = cluster_leader(&c);
    struct cluster_answer answer = cluster_change(&c, leader, MS_MEMBER_TRANSFER, "", "");
    cr_assert_eq(answer.err, 0, "%s", answer.message);
    CLUSTER_UNTIL(!ms_core_is_leader(cluster_core(&c, leader)));
    cluster_leader(&c);
    put(leader, "after");
}

Test(cluster, leadership_is_not_offered_to_who_cannot_be_reached)
{
    cluster_grow(&c, 3);
    unsigned leader = cluster_leader(&c), away = leader == 2 ? 1 : 2;
    cluster_down(&c, away);
    assert_refused(leader, MS_MEMBER_TRANSFER, cluster_name(away), "", EM_E_NOT_FOUND,
                   "this member cannot be reached");
    cr_assert_eq(cluster_leader(&c), leader);
    cluster_up(&c, away);
    CLUSTER_UNTIL(cluster_change(&c, leader, MS_MEMBER_TRANSFER, cluster_name(away), "").err == 0);
    CLUSTER_UNTIL(cluster_leader(&c) == away);
}

Test(cluster, changes_that_make_no_sense_are_refused)
{
    char nowhere[40];
    authority_address(nowhere, sizeof(nowhere));
    cluster_grow(&c, 2);
    unsigned leader = cluster_leader(&c), other = 1 - leader;
    assert_refused(other, MS_MEMBER_ADD, "ms3", nowhere, EM_E_NOT_FOUND, "nobody to add");
    assert_refused(leader, MS_MEMBER_ADD, "ms3", "", EM_E_NOT_FOUND, "nobody to add");
    assert_refused(leader, MS_MEMBER_ADD, cluster_name(other), cluster_peers(&c, other),
                   EM_E_EXISTS, "already");
    assert_refused(leader, MS_MEMBER_ADD, cluster_name(other), nowhere, EM_E_EXISTS,
                   "another address");
    assert_refused(other, MS_MEMBER_PROMOTE, "ms9", "", EM_E_NOT_FOUND, "no member");
    assert_refused(other, MS_MEMBER_REMOVE, "ms9", "", EM_E_NOT_FOUND, "no member");
    assert_refused(other, MS_MEMBER_TRANSFER, "ms9", "", EM_E_NOT_FOUND, "no member");
    cr_assert_neq(cluster_change(&c, other, MS_MEMBER_REMOVE, cluster_name(leader), "").err, 0,
                  "the leader");
    cr_assert_neq(cluster_change(&c, other, MS_MEMBER_DEMOTE, cluster_name(leader), "").err, 0,
                  "the leader");
    cluster_up(&c, 2);
    assert_refused(leader, MS_MEMBER_ADD, "ms7", cluster_peers(&c, 2), EM_E_DENIED,
                   "certificate for ms3, not for ms7");
    put(other, "after");
}

Test(cluster, server_of_another_cluster_is_not_added)
{
    static struct cluster others;
    cluster_start(&others, 0);
    assert_refused(0, MS_MEMBER_ADD, "ms1", cluster_peers(&others, 0), EM_E_EXISTS, "remove it");
    assert_refused(0, MS_MEMBER_ADD, "ms9", cluster_peers(&others, 0), EM_E_NOT_FOUND, "");
    cluster_stop(&others);
}

/* ---- the whole map --------------------------------------------------------------------------- */

static uint64_t log_size_of(unsigned i, uint64_t *ret_last)
{
    struct ms_core_status status;
    ms_core_status(cluster_core(&c, i), &status);
    *ret_last = status.last_index;
    uint64_t size = status.log_size;
    ms_core_status_fini(&status);
    return size;
}

Test(short_log, one_that_was_away_too_long_gets_the_whole_map)
{
    cluster_grow(&c, 3);
    unsigned leader = cluster_leader(&c), away = leader == 2 ? 1 : 2;
    put(away, "seen");
    cluster_down(&c, away);
    put_many(leader, "a", 400);
    cluster_up(&c, away);
    CLUSTER_UNTIL(cluster_has(&c, away, "a399"));
    cr_assert(cluster_has(&c, away, "seen") && cluster_has(&c, away, "a0"));
    put(away, "again");
    read_at(leader, "again");
    cluster_down(&c, away);
    cluster_up(&c, away);
    read_at(away, "again");
}

Test(short_log, it_may_happen_again_and_again)
{
    cluster_grow(&c, 3);
    for (unsigned round = 0; round < 3; round++) {
        char prefix[8], last[16];
        unsigned leader = cluster_leader(&c), away = leader == 2 ? 1 : 2;
        snprintf(prefix, sizeof(prefix), "r%u-", round);
        snprintf(last, sizeof(last), "r%u-199", round);
        cluster_down(&c, away);
        put_many(leader, prefix, 200);
        cluster_up(&c, away);
        CLUSTER_UNTIL(cluster_has(&c, away, last));
    }
}

Test(short_log, new_member_gets_what_the_log_has_forgotten)
{
    uint64_t last;
    put_many(0, "a", 300);
    CLUSTER_UNTIL(log_size_of(0, &last) > 0 && last > 300);
    cluster_grow(&c, 3);
    read_at(1, "a0");
    read_at(2, "a299");
}
