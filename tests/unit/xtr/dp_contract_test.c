/* The contract of dp.h, over every data plane: the fake that other tests rely on must not
 * promise what the kernel does not keep.  Each claim runs once per class. */
#include "xtr/checks.h"
#include "xtr/dp_fake.h"
#include "xtr/netns.h"
#include "xtr/ops.h"
#include "xtr/ovs.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define M1 "02:00:00:00:00:01"
#define M2 "02:00:00:00:00:02"

struct plane {
    const struct dp_class *class;
    struct dp *dp;
    struct ovs *ovs; /* NULL: another class */
};

static void reopen(struct plane *plane)
{
    struct dp_config config = {.rlocs = {test_ip("192.0.2.1")}, .udp_port = 4789};
    char *why = NULL;

    if (plane->ovs) {
        config.database = plane->ovs->remote;
        config.run_dir = plane->ovs->dir;
        config.datapath_type = "netdev";
    }
    plane->class->close(plane->dp);
    cr_assert_eq(plane->class->open(&config, &plane->dp, &why), 0, "%s", why);
}

/* A host with the RLOC and two devices, p0 and p1; the fake is told of these. */
static struct plane open_plane(const struct dp_class *class)
{
    struct plane plane = {.class = class};

    if (class == &dp_ovs && !ovs_is_permitted())
        cr_skip_test("no Open vSwitch, or no permission to make a network namespace");
    if (class == &dp_kernel && !netns_is_permitted())
        cr_skip_test("no permission to make a network namespace");
    if (class == &dp_ovs)
        plane.ovs = ovs_new();
    if (class == &dp_kernel)
        netns_new();
    if (class != &dp_fake) {
        cr_assert(netns_ok("ip link add u0 type veth peer name u1 && ip link set u0 up && "
                           "ip link set u1 up && ip addr add 192.0.2.1/24 dev u0 && "
                           "ip link add p0 type veth peer name p1"));
    }
    reopen(&plane);
    if (class == &dp_fake) {
        dp_fake_add_device(plane.dp, "p0");
        dp_fake_add_device(plane.dp, "p1");
    }
    return plane;
}

static int apply(struct plane *plane, struct dp_op op)
{
    return op_apply(plane->class, plane->dp, op);
}

static uint64_t count(const struct plane *plane)
{
    return plane->class->count(plane->dp);
}

static void put_basics(struct plane *plane)
{
    struct dp_target target = test_target("192.0.2.2", 100, 1);

    cr_assert_eq(apply(plane, op_network(1, 100)), 0);
    cr_assert_eq(apply(plane, op_set(1, &target, 1)), 0);
    cr_assert_eq(apply(plane, op_port(DP_PORT_PUT, 1, "p0")), 0);
}

static void close_plane(struct plane *plane)
{
    plane->class->close(plane->dp);
    ovs_stop(plane->ovs);
}

/* Runs a claim over all classes, each in a process of its own. */
#define CLAIM(name)                                                                                \
    static void name(struct plane *plane);                                                         \
    Test(dp_contract_fake, name)                                                                   \
    {                                                                                              \
        struct plane plane = open_plane(&dp_fake);                                                 \
        name(&plane);                                                                              \
        plane.class->close(plane.dp);                                                              \
        dp_fake_wipe();                                                                            \
    }                                                                                              \
    Test(dp_contract_kernel, name)                                                                 \
    {                                                                                              \
        struct plane plane = open_plane(&dp_kernel);                                               \
        name(&plane);                                                                              \
        close_plane(&plane);                                                                       \
    }                                                                                              \
    Test(dp_contract_ovs, name)                                                                    \
    {                                                                                              \
        struct plane plane = open_plane(&dp_ovs);                                                  \
        name(&plane);                                                                              \
        close_plane(&plane);                                                                       \
    }                                                                                              \
    static void name(struct plane *plane)

CLAIM(open_without_an_rloc_says_why)
{
    struct dp_config config = {.udp_port = 4789};
    struct dp *dp = NULL;
    char *why = NULL;

    cr_assert_eq(plane->class->open(&config, &dp, &why), -EADDRNOTAVAIL);
    cr_assert(why && *why);
    cr_assert_null(dp);
    free(why);
}

CLAIM(close_of_nothing_is_fine)
{
    plane->class->close(NULL);
    cr_assert_eq(count(plane), 0);
}

CLAIM(put_twice_counts_once)
{
    put_basics(plane);
    uint64_t n = count(plane);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(apply(plane, op_mac(1, M1, 1)), 0);
        cr_assert_eq(apply(plane, op_neigh(1, "10.0.0.1", M1)), 0);
        cr_assert_eq(apply(plane, op_neigh(1, "2001:db8::1", M1)), 0);
        cr_assert_eq(apply(plane, op_flood(DP_FLOOD_PUT, 1, test_target("192.0.2.2", 100, 1))), 0);
        cr_assert_eq(apply(plane, op_local(DP_LOCAL_PUT, 1, "p0", M2)), 0);
        put_basics(plane);
        cr_assert_eq(count(plane), n + 5);
    }
}

CLAIM(delete_of_what_is_absent_succeeds)
{
    cr_assert_eq(apply(plane, op_network_delete(1)), 0);
    cr_assert_eq(apply(plane, op_set_delete(1)), 0);
    put_basics(plane);
    uint64_t n = count(plane);
    cr_assert_eq(apply(plane, op_mac_delete(1, M1)), 0);
    cr_assert_eq(apply(plane, op_neigh_delete(1, "10.0.0.1")), 0);
    cr_assert_eq(apply(plane, op_flood(DP_FLOOD_DELETE, 1, test_target("192.0.2.2", 100, 1))), 0);
    cr_assert_eq(apply(plane, op_local(DP_LOCAL_DELETE, 1, "p0", M1)), 0);
    cr_assert_eq(apply(plane, op_port(DP_PORT_DELETE, 1, "p1")), 0);
    cr_assert_eq(count(plane), n);
}

CLAIM(delete_undoes_put)
{
    put_basics(plane);
    uint64_t n = count(plane);
    struct dp_target target = test_target("192.0.2.2", 100, 1);
    cr_assert_eq(apply(plane, op_mac(1, M1, 1)), 0);
    cr_assert_eq(apply(plane, op_neigh(1, "10.0.0.1", M1)), 0);
    cr_assert_eq(apply(plane, op_flood(DP_FLOOD_PUT, 1, target)), 0);
    cr_assert_eq(apply(plane, op_local(DP_LOCAL_PUT, 1, "p0", M2)), 0);
    cr_assert_eq(count(plane), n + 4);
    cr_assert_eq(apply(plane, op_mac_delete(1, M1)), 0);
    cr_assert_eq(apply(plane, op_neigh_delete(1, "10.0.0.1")), 0);
    cr_assert_eq(apply(plane, op_flood(DP_FLOOD_DELETE, 1, target)), 0);
    cr_assert_eq(apply(plane, op_local(DP_LOCAL_DELETE, 1, "p0", M2)), 0);
    cr_assert_eq(count(plane), n);
}

CLAIM(copies_are_put_replaced_and_deleted)
{
    struct dp_target to = test_target("192.0.2.3", 300, 1);

    cr_assert_eq(apply(plane, op_copy_delete(1, M1)), 0, "nothing to delete");
    cr_assert_eq(apply(plane, op_copy(1, M1, to, NULL)), -ENOENT, "no network");
    put_basics(plane);
    uint64_t n = count(plane);
    cr_assert_eq(apply(plane, op_copy(1, M1, to, "p1")), -ENODEV, "no port of the network");
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(apply(plane, op_copy(1, M1, to, NULL)), 0);
        cr_assert_eq(apply(plane, op_copy(1, M2, to, "p0")), 0);
        cr_assert_eq(count(plane), n + 2);
    }
    cr_assert_eq(apply(plane, op_copy(1, M1, test_target("192.0.2.4", 300, 1), NULL)), 0);
    cr_assert_eq(apply(plane, op_copy(1, M1, to, "p0")), 0, "it is local by now");
    cr_assert_eq(count(plane), n + 2);
    cr_assert_eq(apply(plane, op_copy_delete(1, M1)), 0);
    cr_assert_eq(apply(plane, op_copy_delete(1, M1)), 0);
    cr_assert_eq(count(plane), n + 1);
}

CLAIM(copies_go_with_their_port_and_with_their_network)
{
    struct dp_target to = test_target("192.0.2.3", 300, 1);

    put_basics(plane);
    uint64_t n = count(plane);
    cr_assert_eq(apply(plane, op_copy(1, M1, to, "p0")), 0);
    cr_assert_eq(apply(plane, op_copy(1, M2, to, NULL)), 0);
    cr_assert_eq(apply(plane, op_port(DP_PORT_DELETE, 1, "p0")), 0);
    cr_assert_eq(count(plane), n, "less the port, but with one copy");
    cr_assert_eq(apply(plane, op_network_delete(1)), 0);
    cr_assert_eq(count(plane), 1, "the set");
}

CLAIM(copies_do_not_outlive_their_run)
{
    put_basics(plane);
    uint64_t n = count(plane);
    cr_assert_eq(apply(plane, op_copy(1, M1, test_target("192.0.2.3", 300, 1), NULL)), 0);
    reopen(plane);
    cr_assert_eq(count(plane), n);
}

CLAIM(what_hangs_on_nothing_is_refused)
{
    cr_assert_eq(apply(plane, op_mac(1, M1, 1)), -ENOENT, "no network");
    cr_assert_eq(apply(plane, op_neigh(1, "10.0.0.1", M1)), -ENOENT);
    cr_assert_eq(apply(plane, op_flood(DP_FLOOD_PUT, 1, test_target("192.0.2.2", 1, 1))), -ENOENT);
    cr_assert_eq(apply(plane, op_port(DP_PORT_PUT, 1, "p0")), -ENOENT);
    cr_assert_eq(apply(plane, op_local(DP_LOCAL_PUT, 1, "p0", M1)), -ENOENT);
    put_basics(plane);
    cr_assert_eq(apply(plane, op_mac(1, M1, 9)), -ENOENT, "no set");
    cr_assert_eq(apply(plane, op_local(DP_LOCAL_PUT, 1, "p1", M1)), -ENODEV, "no port");
    cr_assert_eq(apply(plane, op_port(DP_PORT_PUT, 1, "p9")), -ENODEV, "no device");
    cr_assert_eq(apply(plane, op_network(2, 0)), -EINVAL, "no VNI");
}

CLAIM(one_mac_is_remote_or_local)
{
    put_basics(plane);
    cr_assert_eq(apply(plane, op_mac(1, M1, 1)), 0);
    uint64_t n = count(plane);
    cr_assert_eq(apply(plane, op_local(DP_LOCAL_PUT, 1, "p0", M1)), 0);
    cr_assert_eq(count(plane), n);
    cr_assert_eq(apply(plane, op_mac_delete(1, M1)), 0, "not remote any more");
    cr_assert_eq(count(plane), n);
    cr_assert_eq(apply(plane, op_mac(1, M1, 1)), 0);
    cr_assert_eq(apply(plane, op_local(DP_LOCAL_DELETE, 1, "p0", M1)), 0, "not local any more");
    cr_assert_eq(count(plane), n);
}

CLAIM(set_that_a_mac_names_is_busy)
{
    put_basics(plane);
    cr_assert_eq(apply(plane, op_mac(1, M1, 1)), 0);
    cr_assert_eq(apply(plane, op_set_delete(1)), -EBUSY);
    cr_assert_eq(apply(plane, op_network_delete(1)), 0);
    cr_assert_eq(apply(plane, op_set_delete(1)), 0);
    cr_assert_eq(count(plane), 0);
}

CLAIM(port_takes_its_macs_along)
{
    put_basics(plane);
    cr_assert_eq(apply(plane, op_port(DP_PORT_PUT, 1, "p1")), 0);
    uint64_t n = count(plane);
    cr_assert_eq(apply(plane, op_local(DP_LOCAL_PUT, 1, "p0", M1)), 0);
    cr_assert_eq(apply(plane, op_local(DP_LOCAL_PUT, 1, "p1", M2)), 0);
    cr_assert_eq(apply(plane, op_port(DP_PORT_DELETE, 1, "p0")), 0);
    cr_assert_eq(count(plane), n, "p0 and its MAC are gone, the other MAC is there");
    cr_assert_eq(apply(plane, op_local(DP_LOCAL_DELETE, 1, "p0", M2)), 0, "it is behind p1");
    cr_assert_eq(count(plane), n);
}

/* Who owns the device puts it into the network's bridge. */
static void plug(const struct plane *plane, const char *device)
{
    if (plane->class == &dp_fake)
        dp_fake_plug(1, device);
    else if (plane->class == &dp_ovs)
        cr_assert(ovs_vsctl_ok(plane->ovs, "add-port br-int %s", device));
    else
        cr_assert(netns_ok("ip link set %s master emb1", device));
}

/* Open vSwitch tells of a new port when it comes to it. */
static int borrow(struct plane *plane, const char *device)
{
    int r = apply(plane, op_borrowed(1, device));
    for (int i = 0; i < 1000 && r == -ENODEV && plane->class == &dp_ovs; i++) {
        usleep(5000);
        (void)plane->class->is_disturbed(plane->dp);
        r = apply(plane, op_borrowed(1, device));
    }
    return r;
}

CLAIM(borrowed_port_is_there_before_and_stays_there_afterwards)
{
    put_basics(plane);
    uint64_t n = count(plane);
    cr_assert_eq(apply(plane, op_borrowed(1, "p1")), -ENODEV, "it is in no bridge");
    plug(plane, "p1");
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(borrow(plane, "p1"), 0);
        cr_assert_eq(apply(plane, op_local(DP_LOCAL_PUT, 1, "p1", M1)), 0);
        cr_assert_eq(count(plane), n + 2);
        cr_assert_eq(apply(plane, op_port(DP_PORT_DELETE, 1, "p1")), 0);
        cr_assert_eq(count(plane), n, "its MAC goes with it, and it could be borrowed again");
    }
}

CLAIM(borrowed_port_that_becomes_an_owned_one_goes_with_its_delete)
{
    put_basics(plane);
    plug(plane, "p1");
    uint64_t n = count(plane);
    cr_assert_eq(borrow(plane, "p1"), 0);
    cr_assert_eq(apply(plane, op_port(DP_PORT_PUT, 1, "p1")), 0);
    cr_assert_eq(count(plane), n + 1);
    cr_assert_eq(apply(plane, op_port(DP_PORT_DELETE, 1, "p1")), 0);
    if (plane->class != &dp_ovs) /* there it stays with who has added it to the bridge */
        cr_assert_eq(apply(plane, op_borrowed(1, "p1")), -ENODEV, "it has been taken out");
}

CLAIM(borrowed_port_of_an_earlier_run_can_be_borrowed_again)
{
    put_basics(plane);
    plug(plane, "p1");
    cr_assert_eq(borrow(plane, "p1"), 0);
    cr_assert_eq(apply(plane, op_local(DP_LOCAL_PUT, 1, "p1", M1)), 0);
    cr_assert_eq(apply(plane, op_local(DP_LOCAL_PUT, 1, "p1", M2)), 0);
    uint64_t n = count(plane);
    reopen(plane);
    put_basics(plane);
    cr_assert_eq(apply(plane, op_borrowed(1, "p1")), 0);
    cr_assert_eq(apply(plane, op_local(DP_LOCAL_PUT, 1, "p1", M1)), 0);
    cr_assert_eq(count(plane), n);
    cr_assert_eq(sweep_all(plane->class, plane->dp, 1), 1, "the other MAC");
    cr_assert_eq(apply(plane, op_port(DP_PORT_DELETE, 1, "p1")), 0);
    cr_assert_eq(apply(plane, op_borrowed(1, "p1")), 0, "it is still there");
}

CLAIM(ops_of_one_call_are_applied_in_order)
{
    struct dp_target target = test_target("192.0.2.2", 100, 1);
    struct dp_op ops[] = {op_network(1, 100),         op_set(1, &target, 1),
                          op_mac(1, M1, 1),           op_mac_delete(1, M1),
                          op_set_delete(1),           op_set(1, NULL, 0),
                          op_mac(1, M2, 1),           op_neigh(1, "10.0.0.1", M1),
                          op_neigh(1, "10.0.0.1", M2)};
    size_t n = sizeof(ops) / sizeof(ops[0]);

    plane->class->apply(plane->dp, ops, n);
    for (size_t i = 0; i < n; i++)
        cr_expect_eq(ops[i].err, 0, "op %zu: %d", i, ops[i].err);
    cr_assert_eq(count(plane), 4);
}

CLAIM(reopened_plane_has_what_stood_and_sweeps_only_that)
{
    put_basics(plane);
    cr_assert_eq(apply(plane, op_mac(1, M1, 1)), 0);
    cr_assert_eq(apply(plane, op_neigh(1, "10.0.0.1", M1)), 0);
    uint64_t n = count(plane);
    reopen(plane);
    cr_assert_eq(count(plane), n);
    put_basics(plane);
    cr_assert_eq(apply(plane, op_mac(1, M1, 1)), 0);
    cr_assert_eq(apply(plane, op_mac(1, M2, 1)), 0);
    cr_assert_eq(plane->class->sweep(plane->dp, 0), 0, "network and set have been put");
    cr_assert_eq(plane->class->sweep(plane->dp, 1), 1, "the neighbour has not");
    cr_assert_eq(plane->class->sweep(plane->dp, 1), 0);
    cr_assert_eq(count(plane), n);
}

struct list {
    struct em_eid eids[4];
    size_t n;
};

static void add_eid(void *aux, const struct em_eid *eid)
{
    struct list *list = aux;
    cr_assert_lt(list->n, 4);
    list->eids[list->n++] = *eid;
}

CLAIM(what_was_adopted_is_visited_until_it_is_put)
{
    struct list list = {0};

    put_basics(plane);
    cr_assert_eq(apply(plane, op_mac(1, M1, 1)), 0);
    cr_assert_eq(apply(plane, op_neigh(1, "10.0.0.1", M1)), 0);
    plane->class->adopted(plane->dp, 1, add_eid, &list);
    cr_assert_eq(list.n, 0);
    reopen(plane);
    plane->class->adopted(plane->dp, 2, add_eid, &list);
    cr_assert_eq(list.n, 0);
    plane->class->adopted(plane->dp, 1, add_eid, &list);
    cr_assert_eq(list.n, 2);
    cr_assert_eq((int)list.eids[0].kind, EM_EID_IPV4);
    cr_assert_eq((int)list.eids[1].kind, EM_EID_MAC);
    list.n = 0;
    put_basics(plane);
    cr_assert_eq(apply(plane, op_neigh(1, "10.0.0.1", M1)), 0);
    plane->class->adopted(plane->dp, 1, add_eid, &list);
    cr_assert_eq(list.n, 1);
    cr_assert_eq((int)list.eids[0].kind, EM_EID_MAC);
}

CLAIM(only_a_remote_mac_that_stands_can_be_idle)
{
    static const uint8_t m1[] = {2, 0, 0, 0, 0, 1}, m2[] = {2, 0, 0, 0, 0, 2};
    uint64_t ms = 0;

    put_basics(plane);
    cr_assert_eq(plane->class->idle(plane->dp, 1, m1, &ms), -ENOENT);
    cr_assert_eq(apply(plane, op_mac(1, M1, 1)), 0);
    cr_assert_eq(apply(plane, op_port(DP_PORT_PUT, 1, "p0")), 0);
    cr_assert_eq(apply(plane, op_local(DP_LOCAL_PUT, 1, "p0", M2)), 0);
    cr_assert_eq(plane->class->idle(plane->dp, 1, m1, &ms), 0);
    cr_assert_lt(ms, 60000);
    cr_assert_eq(plane->class->idle(plane->dp, 1, m2, &ms), -ENOENT);
    cr_assert_eq(plane->class->idle(plane->dp, 2, m1, &ms), -ENOENT);
}

static void count_difference(void *aux, const struct dp_difference *difference)
{
    (*(int *)aux)++;
}

CLAIM(check_agrees_with_what_was_put)
{
    int n = 0;

    put_basics(plane);
    cr_assert_eq(apply(plane, op_mac(1, M1, 1)), 0);
    struct dp_check_result result = check_all(plane->class, plane->dp, false, count_difference, &n);
    cr_assert_geq(result.n_compared, 4);
    cr_assert_eq(result.err, 0);
    cr_assert_eq(n, 0);
}

CLAIM(what_is_applied_between_the_turns_of_a_check_is_no_difference)
{
    char mac[EM_MAC_TEXT];
    int n = 0;
    bool has_more = true;

    put_basics(plane);
    struct dp_check *check = plane->class->check_start(plane->dp, true, count_difference, &n);
    for (int i = 0; has_more || i < 100; i++) {
        has_more = has_more && plane->class->check_step(check, 0);
        snprintf(mac, sizeof(mac), "02:00:00:00:01:%02x", i & 255);
        cr_assert_eq(apply(plane, op_mac(1, mac, 1)), 0);
        if (i % 3)
            cr_assert_eq(apply(plane, op_mac_delete(1, mac)), 0);
        if (i == 50)
            cr_assert_eq(apply(plane, op_network_delete(1)), 0);
        if (i == 50)
            put_basics(plane);
        has_more = has_more && i < 1000;
    }
    cr_assert_eq(plane->class->check_end(check).err, 0);
    cr_assert_eq(n, 0);
}

CLAIM(check_that_is_given_up_half_way_leaves_all_as_it_was)
{
    int n = 0;

    put_basics(plane);
    cr_assert_eq(apply(plane, op_mac(1, M1, 1)), 0);
    uint64_t n_entries = count(plane);
    struct dp_check *check = plane->class->check_start(plane->dp, false, count_difference, &n);
    (void)plane->class->check_step(check, 0);
    cr_assert_lt(plane->class->check_end(check).n_compared, n_entries);
    cr_assert_eq(count(plane), n_entries);
    (void)check_all(plane->class, plane->dp, false, count_difference, &n);
    cr_assert_eq(n, 0);
}

static void count_wrong(void *aux, const struct dp_step *step)
{
    cr_assert(step->name && step->found && step->advice);
    cr_assert_eq(step->is_wrong, step->advice[0] != '\0', "%s: %s", step->name, step->found);
    *(unsigned *)aux += step->is_wrong;
}

static unsigned n_wrong(struct plane *plane, const struct dp_target *target)
{
    struct dp_path path = {.network = {.id = 1, .segmentation_id = 100},
                           .mac = {0x02, 0, 0, 0, 0, 0x01},
                           .targets = target,
                           .n_targets = 1};
    unsigned n = 0;

    plane->class->look(plane->dp, &path, count_wrong, &n);
    return n;
}

CLAIM(a_look_finds_no_fault_in_what_was_put_and_one_in_what_was_not)
{
    struct dp_target target = test_target("192.0.2.2", 100, 1);
    struct dp_target other = test_target("192.0.2.3", 100, 1);

    put_basics(plane);
    cr_assert_neq(n_wrong(plane, &target), 0);
    cr_assert_eq(apply(plane, op_mac(1, M1, 1)), 0);
    cr_assert_eq(n_wrong(plane, &target), 0);
    cr_assert_neq(n_wrong(plane, &other), 0);
    uint64_t n = count(plane);
    cr_assert_eq(apply(plane, op_mac_delete(1, M1)), 0);
    cr_assert_eq(count(plane), n - 1);
    cr_assert_neq(n_wrong(plane, &target), 0);
}

static struct dp_op tagged(struct dp_op op, uint16_t vlan)
{
    op.vlan = vlan;
    return op;
}

static int n_differences(struct plane *plane)
{
    int n = 0;
    check_all(plane->class, plane->dp, false, count_difference, &n);
    return n;
}

CLAIM(a_tagged_port_is_one_of_its_own_or_refused)
{
    int answer = plane->class == &dp_kernel ? -EOPNOTSUPP : 0;

    put_basics(plane);
    cr_assert_eq(apply(plane, op_network(2, 200)), 0);
    cr_assert_eq(apply(plane, op_local(DP_LOCAL_PUT, 1, "p0", M1)), 0);
    for (uint32_t net = 1; net <= 2; net++) {
        uint64_t before = count(plane);
        struct dp_op port = tagged(op_port(DP_PORT_PUT, net, "p0"), 101);
        struct dp_op mac = tagged(op_local(DP_LOCAL_PUT, net, "p0", M2), 101);
        cr_assert_eq(apply(plane, port), answer);
        cr_assert_eq(apply(plane, mac), answer);
        uint64_t n = count(plane);
        cr_assert_eq(n > before, answer == 0);
        cr_assert_eq(apply(plane, port), answer);
        cr_assert_eq(apply(plane, mac), answer);
        cr_assert_eq(count(plane), n);
        cr_assert_eq(n_differences(plane), 0);
        cr_assert_eq(apply(plane, tagged(op_port(DP_PORT_DELETE, net, "p0"), 101)), 0);
        cr_assert_eq(count(plane), before, "with the MAC behind it, and with nothing else");
        cr_assert_eq(n_differences(plane), 0);
    }
    uint64_t n = count(plane);
    cr_assert_eq(apply(plane, op_local(DP_LOCAL_PUT, 1, "p0", M1)), 0);
    cr_assert_eq(count(plane), n, "what is untagged has stayed");
}

CLAIM(a_tagged_port_outlives_its_parent)
{
    if (plane->class == &dp_kernel)
        return;
    put_basics(plane);
    cr_assert_eq(apply(plane, op_network(2, 200)), 0);
    cr_assert_eq(apply(plane, tagged(op_port(DP_PORT_PUT, 2, "p0"), 7)), 0);
    cr_assert_eq(apply(plane, op_port(DP_PORT_DELETE, 1, "p0")), 0);
    cr_assert_eq(apply(plane, tagged(op_local(DP_LOCAL_PUT, 2, "p0", M2), 7)), 0);
    cr_assert_eq(n_differences(plane), 0);
}

CLAIM(an_rloc_of_another_family_is_refused)
{
    struct em_ip same = test_ip("192.0.2.1"), other = test_ip("2001:db8::1");

    put_basics(plane);
    cr_assert_eq(plane->class->set_rloc(plane->dp, &other), -EAFNOSUPPORT);
    cr_assert_eq(plane->class->set_rloc(plane->dp, &same), 0);
}

Test(fake, refuses_the_op_it_is_told_to_and_records_all)
{
    struct plane plane = open_plane(&dp_fake);
    struct dp_op ops[] = {op_network(1, 100), op_set(1, NULL, 0), op_mac(1, M1, 1)};
    size_t n;

    dp_fake_refuse(plane.dp, 1, -ENOBUFS);
    plane.class->apply(plane.dp, ops, 3);
    cr_assert_eq(ops[0].err, 0);
    cr_assert_eq(ops[1].err, -ENOBUFS);
    cr_assert_eq(ops[2].err, -ENOENT);
    const struct dp_op *seen = dp_fake_ops(plane.dp, &n);
    cr_assert_eq(n, 3);
    cr_assert_eq(seen[1].err, -ENOBUFS);
    cr_assert(dp_fake_has(plane.dp, &ops[0]));
    cr_assert_not(dp_fake_has(plane.dp, &ops[1]));
    cr_assert_eq(dp_fake_n_changes(plane.dp), 1);
    plane.class->close(plane.dp);
    dp_fake_wipe();
}
