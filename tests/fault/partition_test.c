/* A cluster of three whose links are cut, one way and both, while agents move ports and
 * operators look.  The clients reach each server, cut off or not: what one alone with itself
 * tells them would be found out (history.h).
 *
 *        ms1 10.77.0.1      ms2 10.77.0.2      ms3 10.77.0.3     one namespace each,
 *          │ eth0             │ eth0             │ eth0          cut by nftables
 *        ──┴──────────────────┴──────────────────┴──  br0
 */
#include "base/mem.h"
#include "server/ordeal.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define N      ORDEAL_SERVERS
#define CUT_US 2500000 /* some elections long */

static struct ordeal ordeal;
static struct real_cluster *const cluster = &ordeal.cluster;
static char namespaces[N + 1][16]; /* the last one has the bridge */
static bool is_made;

/* Runs a shell command; false: it failed, and has said why. */
__attribute__((format(printf, 1, 2))) static bool shell(const char *format, ...)
{
    char command[512];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    return system(command) == 0;
}

static void remove_scene(void)
{
    for (unsigned i = 0; is_made && i <= N; i++)
        shell("ip netns del %s", namespaces[i]);
    is_made = false;
}

/* A server's namespace, with a table that drops nothing yet. */
static bool make_host(unsigned i)
{
    const char *ns = namespaces[i], *net = namespaces[N];
    return shell("ip netns add %s && ip -n %s link set lo up", ns, ns) &&
           shell("ip -n %s link add p%u type veth peer name eth0 netns %s", net, i, ns) &&
           shell("ip -n %s link set p%u master br0 up", net, i) &&
           shell("ip -n %s addr add 10.77.0.%u/24 dev eth0", ns, i + 1) &&
           shell("ip -n %s link set eth0 up", ns) &&
           shell("ip netns exec %s nft 'add table ip cut; add chain ip cut in "
                 "{ type filter hook input priority 0; }'",
                 ns);
}

static void make_scene(void)
{
    if (geteuid() != 0 || !shell("nft --version >/dev/null 2>&1"))
        cr_skip_test("needs root and nft");
    for (unsigned i = 0; i <= N; i++)
        snprintf(namespaces[i], sizeof(namespaces[i]), "cut%u%c", (unsigned)getpid() % 1000000,
                 'a' + (int)i);
    if (!shell("ip netns add %s", namespaces[N]))
        cr_skip_test("cannot make network namespaces");
    is_made = true;
    atexit(remove_scene);
    cr_assert(shell("ip -n %s link add br0 type bridge && ip -n %s link set br0 up", namespaces[N],
                    namespaces[N]));
    for (unsigned i = 0; i < N; i++)
        cr_assert(make_host(i), "no namespace for ms%u", i + 1);
}

static void setup(void)
{
    static const char *const addresses[N] = {"10.77.0.1", "10.77.0.2", "10.77.0.3"};
    make_scene();
    ordeal_init(&ordeal, "lease:\n  duration: 1h\n", addresses);
    for (unsigned i = 0; i < N; i++)
        cluster->servers[i].netns = namespaces[i];
    ordeal_start(&ordeal);
}

static void teardown(void)
{
    ordeal_fini(&ordeal);
    remove_scene();
}

TestSuite(partition, .init = setup, .fini = teardown, .timeout = 110);

/* What 'from' sends does not reach 'to' any more. */
static void cut(unsigned from, unsigned to)
{
    cr_assert(shell("ip netns exec %s nft add rule ip cut in ip saddr 10.77.0.%u drop",
                    namespaces[to], from + 1));
}

static void cut_both(unsigned a, unsigned b)
{
    cut(a, b);
    cut(b, a);
}

static void heal(void)
{
    for (unsigned i = 0; i < N; i++)
        cr_assert(shell("ip netns exec %s nft flush chain ip cut in", namespaces[i]));
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
    for (unsigned i = 0; i < 3; i++) {
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
    for (unsigned i = 0; i < 3; i++) {
        ordeal_expect_writes(&ordeal, "before the cut");
        struct roles r = roles();
        cut(r.a, r.leader);
        cut(r.b, r.leader);
        usleep(CUT_US);
        ordeal_expect_writes(&ordeal, "with a deaf leader");
        heal();
    }
    ordeal_end(&ordeal);
}

Test(partition, a_leader_that_nobody_hears_gives_way)
{
    for (unsigned i = 0; i < 3; i++) {
        ordeal_expect_writes(&ordeal, "before the cut");
        struct roles r = roles();
        cut(r.leader, r.a);
        cut(r.leader, r.b);
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
            cut(r.leader, r.a);
        else
            cut(r.a, r.leader);
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
