/* Who is connected, and which of two sessions of one node stays. */
#include "front/registry.h"

#include "eidmap/error.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct ms_registry *registry;

static void setup(void)
{
    registry = ms_registry_new();
}

static void teardown(void)
{
    ms_registry_free(registry);
}

TestSuite(registry, .init = setup, .fini = teardown);

static struct ms_member session_of(enum em_role role, const char *name, uint64_t boot_epoch,
                                   uint8_t instance)
{
    struct ms_member member = {.boot_epoch = boot_epoch, .instance = {instance}, .refs = 1};
    member.identity.role = role;
    snprintf(member.identity.name, sizeof(member.identity.name), "%s", name);
    return member;
}

#define MEMBER(var, ...)                                                                           \
    struct ms_member var = session_of(__VA_ARGS__);                                                \
    em_list_init(&var.all)

static int add(struct ms_member *member)
{
    struct ms_member *displaced;
    return ms_registry_add(registry, member, &displaced);
}

Test(registry, finds_the_session_of_a_node)
{
    MEMBER(a, EM_ROLE_NODE, "hv1", 1, 1);
    MEMBER(b, EM_ROLE_NODE, "hv2", 1, 2);
    cr_assert_eq(add(&a), 0);
    cr_assert_eq(add(&b), 0);
    cr_assert_eq(ms_registry_find(registry, "hv2"), &b);
    cr_assert_eq(b.refs, 2, "what is found is referenced");
    cr_assert_null(ms_registry_find(registry, "hv3"));
    cr_assert_eq(ms_registry_count(registry), 2);
    cr_assert(ms_registry_remove(registry, &a));
    cr_assert(ms_registry_remove(registry, &b));
    cr_assert_null(ms_registry_find(registry, "hv2"));
    cr_assert_eq(ms_registry_count(registry), 0);
}

Test(registry, an_operator_may_have_many_sessions_and_is_not_found_as_a_node)
{
    MEMBER(a, EM_ROLE_OPERATOR, "ann", 0, 0);
    MEMBER(b, EM_ROLE_OPERATOR, "ann", 0, 0);
    cr_assert_eq(add(&a), 0);
    cr_assert_eq(add(&b), 0);
    cr_assert_null(ms_registry_find(registry, "ann"));
    cr_assert_eq(ms_registry_count(registry), 2);
    ms_registry_remove(registry, &a);
    ms_registry_remove(registry, &b);
}

Test(registry, what_is_warm_waits_beside_the_session_and_is_not_counted)
{
    MEMBER(a, EM_ROLE_NODE, "hv1", 1, 1);
    MEMBER(b, EM_ROLE_NODE, "hv1", 1, 1);
    MEMBER(c, EM_ROLE_NODE, "hv1", 1, 1);
    struct ms_member *displaced;
    b.is_warm = c.is_warm = true;
    cr_assert_eq(add(&b), 0);
    cr_assert_eq(ms_registry_count(registry), 0);
    cr_assert_null(ms_registry_find(registry, "hv1"));
    cr_assert_eq(ms_registry_add(registry, &a, &displaced), 0);
    cr_assert_null(displaced);
    cr_assert_eq(ms_registry_add(registry, &c, &displaced), 0);
    cr_assert_eq(displaced, &b);
    cr_assert_eq(ms_registry_count(registry), 1);
    cr_assert_not(ms_registry_remove(registry, &b));
    cr_assert(ms_registry_remove(registry, &c));
    cr_assert_eq(ms_registry_find(registry, "hv1"), &a);
    cr_assert(ms_registry_remove(registry, &a));
}

Test(registry, an_older_or_equal_agent_of_the_same_node_is_refused)
{
    MEMBER(live, EM_ROLE_NODE, "hv1", 7, 1);
    MEMBER(older, EM_ROLE_NODE, "hv1", 6, 2);
    MEMBER(twin, EM_ROLE_NODE, "hv1", 7, 3);
    add(&live);
    cr_assert_eq(add(&older), EM_E_SUPERSEDED);
    cr_assert_eq(add(&twin), EM_E_SUPERSEDED);
    cr_assert_eq(ms_registry_count(registry), 1);
    cr_assert(ms_registry_is_live(registry, &live));
    cr_assert_not(ms_registry_remove(registry, &twin), "it was never there");
    ms_registry_remove(registry, &live);
}

Test(registry, a_newer_agent_takes_over_and_the_old_session_is_handed_out_to_be_closed)
{
    MEMBER(old, EM_ROLE_NODE, "hv1", 7, 1);
    MEMBER(newer, EM_ROLE_NODE, "hv1", 8, 2);
    struct ms_member *displaced = NULL;
    add(&old);
    cr_assert_eq(ms_registry_add(registry, &newer, &displaced), 0);
    cr_assert_eq(displaced, &old);
    cr_assert_eq(old.refs, 2);
    cr_assert_not(ms_registry_is_live(registry, &old));
    cr_assert(ms_registry_is_live(registry, &newer));
    cr_assert_eq(ms_registry_count(registry), 1);
    cr_assert_not(ms_registry_remove(registry, &old), "its end does not end the newer one");
    cr_assert_eq(ms_registry_find(registry, "hv1"), &newer);
    ms_registry_remove(registry, &newer);
}

Test(registry, the_same_process_connecting_again_displaces_its_own_session)
{
    MEMBER(before, EM_ROLE_NODE, "hv1", 7, 9);
    MEMBER(after, EM_ROLE_NODE, "hv1", 7, 9);
    struct ms_member *displaced = NULL;
    add(&before);
    cr_assert_eq(ms_registry_add(registry, &after, &displaced), 0);
    cr_assert_eq(displaced, &before);
    ms_registry_remove(registry, &after);
}

Test(registry, a_node_is_found_after_any_order_of_departures)
{
    enum { N = 200 };
    static struct ms_member members[N];
    char name[16];
    for (unsigned i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "hv%u", i);
        members[i] = session_of(EM_ROLE_NODE, name, 1, 0);
        em_list_init(&members[i].all);
        cr_assert_eq(add(&members[i]), 0);
    }
    for (unsigned i = 0; i < N; i++) {
        unsigned k = i * 77 % N; /* each once, since 77 and 200 share no factor */
        cr_assert(ms_registry_remove(registry, &members[k]));
        for (unsigned j = i + 1; j < N; j++) {
            unsigned left = j * 77 % N;
            cr_assert_eq(ms_registry_find(registry, members[left].identity.name), &members[left]);
        }
    }
}

static void count_one(void *aux, const struct ms_member *member)
{
    ++*(unsigned *)aux;
}

Test(registry, a_visit_shows_each_session_once)
{
    MEMBER(a, EM_ROLE_NODE, "hv1", 1, 1);
    MEMBER(b, EM_ROLE_OPERATOR, "ann", 0, 0);
    unsigned n = 0;
    add(&a);
    add(&b);
    ms_registry_visit(registry, count_one, &n);
    cr_assert_eq(n, 2);
    ms_registry_remove(registry, &a);
    ms_registry_remove(registry, &b);
}

/* ---- two threads: what the thread sanitizer judges -------------------------------------- */

#define ROUNDS 20000

/* Sessions of one node from two workers; each newer than all before it. */
static _Atomic uint64_t next_epoch = 1;
static atomic_uint n_displaced, n_refused, n_removed;

static void *compete(void *aux)
{
    struct ms_member *members = aux;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct ms_member *displaced;
        members[i] = session_of(EM_ROLE_NODE, "hv1", next_epoch++, 0);
        members[i].instance[0] = (uint8_t)(i + 1);
        memcpy(members[i].instance + 1, &members, sizeof(members));
        em_list_init(&members[i].all);
        if (ms_registry_add(registry, &members[i], &displaced)) {
            n_refused++;
            continue;
        }
        if (displaced)
            n_displaced++;
        struct ms_member *live = ms_registry_find(registry, "hv1");
        if (live)
            live->installed_revision = i;
        if (i % 2)
            n_removed += ms_registry_remove(registry, &members[i]);
    }
    return NULL;
}

Test(registry, two_threads_never_make_two_live_sessions_of_one_node)
{
    static struct ms_member members[2][ROUNDS];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, compete, members[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    uint32_t n_live = ms_registry_count(registry);
    cr_assert_leq(n_live, 1);
    cr_assert_eq(n_refused + n_displaced + n_removed + n_live, 2 * ROUNDS,
                 "every session has one end");
    for (int i = 0; i < 2; i++)
        for (unsigned k = 0; k < ROUNDS; k++)
            ms_registry_remove(registry, &members[i][k]);
    cr_assert_eq(ms_registry_count(registry), 0);
}
