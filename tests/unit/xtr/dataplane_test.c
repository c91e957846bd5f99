/* The wrapper that the agent calls: counting, and words for what failed. */
#include "dataplane/dataplane.h"
#include "xtr/dp_fake.h"
#include "xtr/ops.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct dataplane *plane;

static void open_plane(void)
{
    struct dp_config config = {.rlocs = {test_ip("192.0.2.1")}, .udp_port = 4789};
    char *why = NULL;
    cr_assert_eq(dataplane_open(&dp_fake, &config, &plane, &why), 0);
}

static void close_plane(void)
{
    dataplane_close(plane);
    dp_fake_wipe();
}

TestSuite(dataplane, .init = open_plane, .fini = close_plane);

Test(dataplane, failed_ops_are_counted_and_the_rest_is_done)
{
    struct dp_op ops[] = {op_network(1, 100), op_mac(1, "02:00:00:00:00:01", 9),
                          op_set(9, NULL, 0)};

    cr_assert_eq(dataplane_apply(plane, ops, 3), 1);
    cr_assert_eq(ops[1].err, -ENOENT);
    struct dataplane_stats stats = dataplane_stats(plane);
    cr_assert_eq(stats.n_ops, 3);
    cr_assert_eq(stats.n_failed, 1);
    cr_assert_eq(stats.n_entries, 2);
}

Test(dataplane, open_that_fails_hands_the_sentence_on)
{
    struct dp_config config = {.udp_port = 4789};
    struct dataplane *other = NULL;
    char *why = NULL;

    cr_assert_eq(dataplane_open(&dp_fake, &config, &other, &why), -EADDRNOTAVAIL);
    cr_assert(why && strstr(why, "RLOC"));
    cr_assert_null(other);
    free(why);
    dataplane_close(NULL);
}

Test(dataplane, ops_are_described_as_a_person_reads_them)
{
    char text[DATAPLANE_TEXT];
    struct dp_op ops[] = {op_network(7, 1),
                          op_set_delete(8),
                          op_mac(7, "02:00:00:00:00:01", 1),
                          op_neigh(7, "2001:db8::1", "02:00:00:00:00:01"),
                          op_flood(DP_FLOOD_PUT, 7, test_target("192.0.2.2", 1, 1)),
                          op_port(DP_PORT_PUT, 7, "tap0"),
                          op_local(DP_LOCAL_DELETE, 7, "tap0", "02:00:00:00:00:01")};
    const char *texts[] = {"network 7",
                           "set 8",
                           "02:00:00:00:00:01 in network 7",
                           "2001:db8::1 in network 7",
                           "192.0.2.2 in network 7",
                           "device tap0 in network 7",
                           "02:00:00:00:00:01 on device tap0 in network 7"};

    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        cr_expect_str_eq(dataplane_describe(&ops[i], text), texts[i]);
    cr_assert_str_eq(dataplane_verb(DP_LOCAL_PUT), "local MAC put");
}

static void count_wrong(void *aux, const struct dp_step *step)
{
    *(unsigned *)aux += step->is_wrong;
}

Test(dataplane, the_null_plane_takes_everything_and_has_nothing)
{
    struct dp_target target = test_target("192.0.2.2", 100, 1);
    struct dp_op ops[] = {
        op_network(1, 100), op_set(1, &target, 1), op_mac(1, "02:00:00:00:00:01", 1),
        op_neigh(1, "10.0.0.1", "02:00:00:00:00:01"), op_port(DP_PORT_PUT, 1, "none0")};
    struct dp_config config = {.udp_port = 4789};
    struct dataplane *null = NULL;
    char *why = NULL;

    ops[0].err = -EINVAL;
    cr_assert_eq(dataplane_open(&dp_null, &config, &null, &why), 0);
    cr_assert_eq(dataplane_apply(null, ops, 5), 0);
    cr_assert_eq(dataplane_sweep(null, 0), 0);
    struct dp_check *check = dataplane_check_start(null, true, NULL, NULL);
    cr_assert(!dataplane_check_step(null, check, 1000));
    (void)dataplane_check_end(null, check);
    cr_assert(!dataplane_is_disturbed(null));
    unsigned n_wrong = 0;
    dataplane_look(null, &(struct dp_path){.network.id = 1}, count_wrong, &n_wrong);
    cr_assert_eq(n_wrong, 1, "a packet gets nowhere");
    cr_assert_eq(dataplane_set_rloc(null, &config.rlocs[0]), 0);
    struct dataplane_stats stats = dataplane_stats(null);
    cr_assert_str_eq(stats.plane, "null");
    cr_assert_eq(stats.n_ops, 5);
    cr_assert_eq(stats.n_entries, 0);
    dataplane_close(null);
}
