/* A cluster of three whose links are cut, one way and both, while agents move ports and
 * operators look.  The clients reach each server, cut off or not: what one alone with itself
 * tells them would be found out (history.h). */
#include "server/links.h"
#include "server/ordeal.h"

#include <criterion/criterion.h>
#include <unistd.h>

#define N      ORDEAL_SERVERS
#define CUT_US 2500000 /* some elections long */
#define N_CUTS 3

static struct ordeal ordeal;
static struct real_cluster *const cluster = &ordeal.cluster;

static void setup(void)
{
    if (!ordeal_start_linked(&ordeal))
        cr_skip_test("no network namespaces, or no nft");
}

static void teardown(void)
{
    ordeal_fini(&ordeal);
    links_remove();
}

TestSuite(partition, .init = setup, .fini = teardown, .timeout = 110);

static void cut_both(unsigned a, unsigned b)
{
    links_cut(a, b);
    links_cut(b, a);
}

static void heal(void)
{
    links_heal();
    real_cluster_settle(cluster);
    ordeal_expect_writes(&ordeal, "when the links are back");
}

/* The three of this moment. */
struct roles {
    unsigned leader, a, b;
};

static struct roles roles(void)
{
    unsigned leader = real_cluster_leader(cluster);
    return (struct roles){leader, (leader + 1) % N, (leader + 2) % N};
}

Test(partition, a_leader_on_its_own_gives_way)
{
    for (unsigned i = 0; i < real_rounds(N_CUTS); i++) {
        ordeal_expect_writes(&ordeal, "before the cut");
        struct roles r = roles();
        cut_both(r.leader, r.a);
        cut_both(r.leader, r.b);
        usleep(CUT_US);
        ordeal_expect_writes(&ordeal, "with two of three");
        cr_assert_neq(real_cluster_leader(cluster), r.leader, "the majority has a leader");
        heal();
    }
    ordeal_end(&ordeal);
}

Test(partition, a_leader_that_hears_nobody_gives_way)
{
    for (unsigned i = 0; i < real_rounds(N_CUTS); i++) {
        ordeal_expect_writes(&ordeal, "before the cut");
        struct roles r = roles();
        links_cut(r.a, r.leader);
        links_cut(r.b, r.leader);
        usleep(CUT_US);
        ordeal_expect_writes(&ordeal, "with a deaf leader");
        heal();
    }
    ordeal_end(&ordeal);
}

Test(partition, a_leader_that_nobody_hears_gives_way)
{
    for (unsigned i = 0; i < real_rounds(N_CUTS); i++) {
        ordeal_expect_writes(&ordeal, "before the cut");
        struct roles r = roles();
        links_cut(r.leader, r.a);
        links_cut(r.leader, r.b);
        usleep(CUT_US);
        ordeal_expect_writes(&ordeal, "with a mute leader");
        heal();
    }
    ordeal_end(&ordeal);
}

/* Whatever a single link does, two servers see each other and a third sees one of them. */
Test(partition, one_link_is_not_needed)
{
    for (unsigned i = 0; i < 4; i++) {
        ordeal_expect_writes(&ordeal, "before the cut");
        struct roles r = roles();
        if (i == 0)
            cut_both(r.a, r.b);
        else if (i == 1)
            cut_both(r.leader, r.a);
        else if (i == 2)
            links_cut(r.leader, r.a);
        else
            links_cut(r.a, r.leader);
        usleep(CUT_US);
        ordeal_expect_writes(&ordeal, "with a link less");
        heal();
    }
    ordeal_end(&ordeal);
}

Test(partition, three_on_their_own_acknowledge_nothing)
{
    ordeal_expect_writes(&ordeal, "before the cut");
    cut_both(0, 1);
    cut_both(1, 2);
    cut_both(0, 2);
    usleep(CUT_US);
    uint64_t n = traffic_n_written(ordeal.traffic);
    usleep(CUT_US);
    cr_assert_eq(traffic_n_written(ordeal.traffic), n, "a minority has acknowledged a write");
    heal();
    ordeal_end(&ordeal);
}
