#include "pump.h"

#include "base/log.h"
#include "xtr/dp_fake.h"
#include "xtr/ops.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct xtr_mapcache *cache;
static struct xtr_ports ports;
static struct xtr_pump pump;

static void setup(void)
{
    struct xtr_mapcache_config config = {.node_id = "h0", .has_ipv4 = true, .udp_port = 4789};
    cache = xtr_mapcache_new(&config);
    xtr_ports_init(&ports);
    pump = (struct xtr_pump){.cache = cache, .ports = &ports};
}

static void teardown(void)
{
    xtr_pump_fini(&pump);
    xtr_ports_fini(&ports);
    xtr_mapcache_free(cache);
}

/* A data plane whose every operation ends with 'err'; with -EMSGSIZE as the kernel would have
 * it: the network is not made, and then everything else lacks it. */
static int answer;
static unsigned n_told[DP_COPY_DELETE + 1]; /* of each verb, in the last run */

static void refuse_all(struct dp *dp, struct dp_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        n_told[ops[i].verb]++;
    for (size_t i = 0; i < n; i++)
        ops[i].err = answer == -EMSGSIZE && ops[i].verb != DP_NETWORK_PUT ? -ENOENT : answer;
}

static int open_nothing(const struct dp_config *config, struct dp **ret_dp, char **ret_why)
{
    *ret_dp = NULL;
    return 0;
}

static void close_nothing(struct dp *dp)
{
}

static uint64_t count_nothing(const struct dp *dp)
{
    return 0;
}

static const struct dp_class refusing = {.name = "refusing",
                                         .open = open_nothing,
                                         .close = close_nothing,
                                         .apply = refuse_all,
                                         .count = count_nothing};

/* An open network with one remote and one local port, told to a plane that says 'err'. */
static void run(int err)
{
    struct dp_config config = {0};
    char *why;
    answer = err;
    memset(n_told, 0, sizeof n_told);
    cr_assert(eq(int, dataplane_open(&refusing, &config, &pump.plane, &why), 0));
    while (xtr_pump_turn(&pump, 1000))
        ;
    dataplane_close(pump.plane);
}

static void feed(uint32_t network, const struct em_change *change)
{
    struct em_feed page = {
        .network_id = network, .changes = change, .n_changes = 1, .is_complete = true};
    xtr_mapcache_feed(cache, &page);
}

static void open_network(void)
{
    struct em_network network = {.id = 1, .name = "red", .segmentation_id = 100};
    feed(0, &(struct em_change){.object = EM_OBJECT_NETWORK, .network = &network});
    cr_assert(eq(int, xtr_mapcache_open(cache, 1, 0), 0));
}

static void feed_port(void)
{
    struct em_eid mac = {.kind = EM_EID_MAC, .size = 6, .addr = {2, 0, 0, 0, 0, 1}};
    struct em_location l = {.node_id = "h1", .segmentation_id = 100};
    struct em_port port = {
        .network_id = 1, .eids = &mac, .n_eids = 1, .locations = &l, .n_locations = 1};
    em_port_id_parse("p1", &port.id, NULL);
    feed(1, &(struct em_change){.object = EM_OBJECT_PORT, .port = &port});
}

static void attach(void)
{
    struct em_eid mac = {.kind = EM_EID_MAC, .size = 6, .addr = {2, 0, 0, 0, 0, 2}};
    struct em_port_id id;
    em_port_id_parse("p2", &id, NULL);
    xtr_mapcache_attach(cache, &id, 1, "tap0", &mac, 1);
}

/* The port of attach(), in an open network. */
static struct xtr_port *attached_port(void)
{
    struct em_eid mac = {.kind = EM_EID_MAC, .size = 6, .addr = {2, 0, 0, 0, 0, 2}};
    struct xtr_wish wish = {.network = "red", .device = "tap0", .eids = &mac, .n_eids = 1};
    bool is_changed;
    em_port_id_parse("p2", &wish.id, NULL);
    struct xtr_port *port = xtr_ports_attach(&ports, &wish, 0, &is_changed);
    xtr_port_network(port, 1, 100);
    port->plane_network = 1;
    open_network();
    attach();
    return port;
}

TestSuite(pump, .init = setup, .fini = teardown);

/* A data plane that does what it is told when the test says so. */
static uint64_t n_started, n_reached;
static struct dp_op *lent[XTR_PUMP_FLIGHTS + 1]; /* of each start, its first op */

static uint64_t start_later(struct dp *dp, struct dp_op *ops, size_t n)
{
    cr_assert(lt(u64, n_started, XTR_PUMP_FLIGHTS + 1));
    lent[n_started] = ops;
    return ++n_started;
}

static uint64_t reach(struct dp *dp)
{
    return n_reached;
}

static const struct dp_class later = {.name = "later",
                                      .open = open_nothing,
                                      .close = close_nothing,
                                      .start = start_later,
                                      .reached = reach,
                                      .count = count_nothing};

static void open_later(void)
{
    struct dp_config config = {0};
    char *why;
    n_started = n_reached = 0;
    cr_assert(eq(int, dataplane_open(&later, &config, &pump.plane, &why), 0));
}

static void feed_ports(uint32_t first, uint32_t n)
{
    for (uint32_t i = first; i < first + n; i++) {
        struct em_eid mac = {.kind = EM_EID_MAC, .size = 6, .addr = {2, 0, 0, 1, i >> 8, i & 255}};
        struct em_location l = {.node_id = "h1", .segmentation_id = 100};
        struct em_port port = {.id.size = 16,
                               .network_id = 1,
                               .eids = &mac,
                               .n_eids = 1,
                               .locations = &l,
                               .n_locations = 1};
        memcpy(port.id.bytes, &i, sizeof i);
        feed(1, &(struct em_change){.object = EM_OBJECT_PORT, .port = &port});
    }
}

Test(pump, what_is_under_way_is_not_done)
{
    open_network();
    open_later();
    cr_assert(not(xtr_pump_turn(&pump, 1000000)));
    uint64_t network = xtr_mapcache_tail(cache);
    feed_port();
    cr_assert(not(xtr_pump_turn(&pump, 1000000)), "all has been told");
    cr_assert(eq(u64, n_started, 2));
    cr_assert(eq(u64, xtr_mapcache_taken(cache), xtr_mapcache_tail(cache)));
    cr_assert(eq(u64, xtr_mapcache_done(cache), 0));
    n_reached = 1;
    (void)xtr_pump_turn(&pump, 1000000);
    cr_assert(eq(u64, xtr_mapcache_done(cache), network), "the port is still on its way");
    n_reached = 2;
    (void)xtr_pump_turn(&pump, 1000000);
    cr_assert(eq(u64, xtr_mapcache_done(cache), xtr_mapcache_tail(cache)));
    dataplane_close(pump.plane);
}

Test(pump, only_so_much_is_under_way_and_more_when_there_is_room)
{
    open_network();
    open_later();
    feed_ports(0, (XTR_PUMP_FLIGHTS + 3) * XTR_OPS_MAX);
    cr_assert(not(xtr_pump_turn(&pump, 1000000)), "it has to wait for the data plane");
    cr_assert(eq(u64, n_started, XTR_PUMP_FLIGHTS));
    n_reached = 1;
    cr_assert(not(xtr_pump_turn(&pump, 1000000)));
    cr_assert(eq(u64, n_started, XTR_PUMP_FLIGHTS + 1));
    dataplane_close(pump.plane);
}

Test(pump, what_fails_later_is_tried_again_all_the_same)
{
    open_network();
    open_later();
    (void)xtr_pump_turn(&pump, 1000000);
    feed_port();
    (void)xtr_pump_turn(&pump, 1000000);
    cr_assert(eq(sz, pump.n_failed, 0));
    lent[1][0].err = -ENOBUFS;
    n_reached = 2;
    (void)xtr_pump_turn(&pump, 1000000);
    cr_assert(eq(sz, pump.n_failed, 1));
    dataplane_close(pump.plane);
}

/* ---- tried again: all of it, and no more */

static void retry(int err)
{
    xtr_pump_retry(&pump);
    run(err);
}

Test(pump, the_end_of_a_network_and_of_its_sets_is_told_until_it_is_taken)
{
    open_network();
    feed_port();
    run(0);
    xtr_mapcache_close(cache, 1);
    run(-ENOBUFS);
    for (int i = 0; i < 2; i++) {
        retry(i ? 0 : -ENOBUFS);
        cr_assert(eq(uint, n_told[DP_NETWORK_DELETE], 1));
        cr_assert(eq(uint, n_told[DP_SET_DELETE], 1));
    }
    retry(0);
    cr_assert(eq(uint, n_told[DP_NETWORK_DELETE] + n_told[DP_SET_DELETE], 0));
}

Test(pump, the_end_of_a_network_that_is_open_again_is_not_told)
{
    open_network();
    feed_port();
    run(0);
    xtr_mapcache_close(cache, 1);
    run(-ENOBUFS);
    cr_assert(eq(int, xtr_mapcache_open(cache, 1, 0), 0));
    feed_port();
    retry(0);
    cr_assert(eq(uint, n_told[DP_NETWORK_DELETE] + n_told[DP_SET_DELETE], 0));
}

static void feed_gone(uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct em_change gone = {.object = EM_OBJECT_PORT, .is_gone = true, .gone_port.size = 16};
        memcpy(gone.gone_port.bytes, &i, sizeof i);
        feed(1, &gone);
    }
}

Test(pump, no_delete_is_forgotten_however_many_fail)
{
    const uint32_t n = 2 * XTR_PUMP_RETRIES;
    open_network();
    feed_ports(0, n);
    run(0);
    feed_gone(n);
    run(-ENOBUFS);
    cr_assert(eq(uint, n_told[DP_MAC_DELETE], n));
    retry(0);
    cr_assert(eq(uint, n_told[DP_MAC_DELETE], n));
    retry(0);
    cr_assert(eq(uint, n_told[DP_MAC_DELETE], 0));
}

Test(pump, a_network_that_cannot_be_made_does_not_have_all_told_again)
{
    open_network();
    feed_ports(0, 2 * XTR_PUMP_RETRIES);
    run(-EMSGSIZE);
    cr_assert(eq(sz, pump.n_failed, 1), "%zu", pump.n_failed);
    retry(-EMSGSIZE);
    cr_assert(eq(uint, n_told[DP_NETWORK_PUT], 1));
    cr_assert(eq(uint, n_told[DP_MAC_PUT], 0));
    retry(0);
    cr_assert(eq(uint, n_told[DP_MAC_PUT], 2 * XTR_PUMP_RETRIES));
    retry(0);
    cr_assert(eq(uint, n_told[DP_NETWORK_PUT] + n_told[DP_MAC_PUT], 0));
}

Test(pump, a_kernel_without_our_devices_asks_for_a_repair)
{
    open_network();
    run(0);
    feed_port();
    run(-ENODEV);
    cr_assert(pump.is_shaken);
    cr_assert(gt(sz, pump.n_failed, 0));
    pump.is_shaken = false;
    attach();
    run(-EINVAL);
    cr_assert(pump.is_shaken, "the bridge is gone");
}

Test(pump, a_guests_device_that_is_not_there_asks_for_none)
{
    open_network();
    run(0);
    attach();
    run(-ENODEV);
    cr_assert(not(pump.is_shaken));
}

Test(pump, a_network_in_a_strangers_way_is_tried_again_and_an_entry_when_a_person_has_looked)
{
    open_network();
    run(-EEXIST);
    cr_assert(eq(sz, pump.n_failed, 1));
    xtr_pump_retry(&pump);
    run(0);
    feed_port();
    run(-EEXIST);
    cr_assert(gt(u64, pump.n_foreign, 0));
    cr_assert(eq(u64, xtr_mapcache_done(cache), xtr_mapcache_tail(cache)));
    xtr_pump_forgive(&pump);
    cr_assert(eq(u64, pump.n_foreign, 0));
    cr_assert(lt(u64, xtr_mapcache_done(cache), xtr_mapcache_tail(cache)));
}

Test(pump, a_port_says_why_its_network_cannot_be_made)
{
    struct xtr_facts facts = {.is_up = true, .knows_map = true};
    struct xtr_port *port = attached_port();
    run(-EMSGSIZE);
    xtr_port_update(port, &facts);
    cr_assert(eq(str, port->problem, "the mtu of network red does not fit the underlay"));
    xtr_pump_retry(&pump);
    run(0);
    xtr_port_update(port, &facts);
    cr_assert(eq(int, port->phase, XTR_REGISTERING));
}

/* A network that stands, and whose next put is refused: its ports' puts are taken all the same. */
static void refuse_network(struct dp *dp, struct dp_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ops[i].err = ops[i].verb == DP_NETWORK_PUT ? -EMSGSIZE : 0;
}

static const struct dp_class narrow = {.name = "narrow",
                                       .open = open_nothing,
                                       .close = close_nothing,
                                       .apply = refuse_network,
                                       .count = count_nothing};

Test(pump, a_port_of_a_refused_network_does_not_come_and_go)
{
    struct dp_config config = {0};
    char *why;
    struct xtr_port *port = attached_port();
    cr_assert(eq(int, dataplane_open(&narrow, &config, &pump.plane, &why), 0));
    for (int i = 0; i < 3; i++) {
        while (xtr_pump_turn(&pump, 1000))
            ;
        cr_assert(eq(int, port->device_err, -EMSGSIZE), "round %d", i);
        cr_assert(port->is_plugged, "it was, and is to be registered");
        xtr_pump_retry(&pump);
    }
    dataplane_close(pump.plane);
}

/* The kernel's bridge has no such port, since another one has it. */
static void refuse_device(struct dp *dp, struct dp_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ops[i].err = ops[i].verb == DP_PORT_PUT    ? -EBUSY
                     : ops[i].verb == DP_LOCAL_PUT ? -ENODEV
                                                   : 0;
}

static const struct dp_class crowded = {.name = "crowded",
                                        .open = open_nothing,
                                        .close = close_nothing,
                                        .apply = refuse_device,
                                        .count = count_nothing};

Test(pump, a_port_says_why_its_device_cannot_be_put_and_not_what_comes_of_that)
{
    struct dp_config config = {0};
    char *why;
    struct xtr_port *port = attached_port();
    cr_assert(eq(int, dataplane_open(&crowded, &config, &pump.plane, &why), 0));
    while (xtr_pump_turn(&pump, 1000))
        ;
    cr_assert(eq(int, port->device_err, -EBUSY));
    dataplane_close(pump.plane);
}

static void refuse_tagged(struct dp *dp, struct dp_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ops[i].err = ops[i].vlan ? -EOPNOTSUPP : 0;
}

static const struct dp_class untagged = {.name = "untagged",
                                         .open = open_nothing,
                                         .close = close_nothing,
                                         .apply = refuse_tagged,
                                         .count = count_nothing};

static struct xtr_port *attach_port(const char *id, uint8_t mac, uint16_t vlan)
{
    struct em_eid eid = {.kind = EM_EID_MAC, .size = 6, .addr = {2, 0, 0, 0, 0, mac}};
    struct xtr_wish wish = {.network = "red",
                            .device = "tap0",
                            .eids = &eid,
                            .n_eids = 1,
                            .vlan = vlan,
                            .source = vlan ? XTR_SOURCE_TRUNK : XTR_SOURCE_SOCKET};
    bool is_changed;
    em_port_id_parse(id, &wish.id, NULL);
    struct xtr_port *port = xtr_ports_attach(&ports, &wish, 0, &is_changed);
    xtr_port_network(port, 1, 100);
    port->plane_network = 1;
    return port;
}

Test(pump, a_child_and_its_parent_are_told_apart_by_the_tag)
{
    struct dp_config config = {0};
    struct em_eid mac = {.kind = EM_EID_MAC, .size = 6, .addr = {2, 0, 0, 0, 0, 3}};
    char *why;
    struct xtr_port *parent = attach_port("p2", 2, 0), *child = attach_port("c1", 3, 7);
    open_network();
    attach();
    xtr_mapcache_attach_child(cache, &child->id, 1, "tap0", 7, false, &mac, 1);
    cr_assert(eq(int, dataplane_open(&untagged, &config, &pump.plane, &why), 0));
    while (xtr_pump_turn(&pump, 1000))
        ;
    dataplane_close(pump.plane);
    cr_assert(eq(int, parent->device_err, 0));
    cr_assert(parent->is_plugged);
    cr_assert(eq(int, child->device_err, -EOPNOTSUPP));
    cr_assert(not(pump.is_shaken), "the kernel is as it always was");
}

/* ---- a kernel that cannot copy */

static struct dp *fake;

/* The fake, so that a test can reach it. */
static int open_fake(const struct dp_config *config, struct dp **ret_dp, char **ret_why)
{
    int r = dp_fake.open(config, ret_dp, ret_why);
    fake = *ret_dp;
    return r;
}

static void feed_node(const char *id, const char *ip)
{
    struct em_rloc rloc = {.ip = test_ip(ip), .encap = EM_ENCAP_VXLAN};
    struct em_node node = {.id = id, .rlocs = &rloc, .n_rlocs = 1, .state = EM_NODE_REACHABLE};
    feed(0, &(struct em_change){.object = EM_OBJECT_NODE, .node = &node});
}

/* At h1, and perhaps on its way to h2; or at h2. */
static void feed_guest(bool is_at_h1, bool is_at_h2)
{
    struct em_eid mac = {.kind = EM_EID_MAC, .size = 6, .addr = {2, 0, 0, 0, 0, 1}};
    struct em_location l[] = {{.node_id = "h1", .segmentation_id = 100},
                              {.node_id = "h2", .segmentation_id = 100, .is_pending = is_at_h1}};
    struct em_port port = {.network_id = 1,
                           .eids = &mac,
                           .n_eids = 1,
                           .locations = l + !is_at_h1,
                           .n_locations = (size_t)is_at_h1 + is_at_h2};
    em_port_id_parse("p1", &port.id, NULL);
    feed(1, &(struct em_change){.object = EM_OBJECT_PORT, .port = &port});
}

static void pump_all(void)
{
    while (xtr_pump_turn(&pump, 1000))
        ;
}

/* Does a MAC of the guest lead to that address, alone? */
static bool leads_to(const char *ip)
{
    struct dp_target target = test_target(ip, 100, 1);
    struct dp_op set = op_set(1, &target, 1);
    size_t n;
    const struct dp_op *ops = dp_fake_ops(fake, &n);
    for (size_t i = 0; i < n; i++)
        if (ops[i].verb == DP_MAC_PUT)
            set.set.id = ops[i].set.id;
    struct dp_op mac = op_mac(1, "02:00:00:00:00:01", set.set.id);
    return dp_fake_has(fake, &mac) && dp_fake_has(fake, &set);
}

static unsigned n_copies_refused(void)
{
    unsigned found = 0;
    size_t n;
    const struct dp_op *ops = dp_fake_ops(fake, &n);
    for (size_t i = 0; i < n; i++)
        found += ops[i].verb == DP_COPY_PUT && ops[i].err == -EOPNOTSUPP;
    return found;
}

/* Lines that the log has written since the pipe was read. */
static unsigned n_lines(int fd, const char *with)
{
    char text[4096];
    unsigned found = 0;
    em_warn("the end"); /* so that there is something to be read */
    ssize_t size = read(fd, text, sizeof text - 1);
    cr_assert(gt(long, size, 0));
    text[size] = 0;
    for (const char *at = text; (at = strstr(at, with)); at++)
        found++;
    return found;
}

Test(pump, without_copies_a_migration_goes_on_and_that_is_said_once)
{
    struct dp_class class = dp_fake;
    struct dp_config config = {.rlocs = {test_ip("192.0.2.9")}};
    int fds[2];
    char *why;
    class.open = open_fake;
    cr_assert(eq(int, pipe(fds), 0));
    cr_assert(ge(int, dup2(fds[1], STDERR_FILENO), 0));
    cr_assert(eq(int, dataplane_open(&class, &config, &pump.plane, &why), 0));
    dp_fake_refuse_always(fake, DP_COPY_PUT, -EOPNOTSUPP);
    feed_node("h1", "192.0.2.1");
    feed_node("h2", "192.0.2.2");
    open_network();
    for (unsigned i = 1; i <= 3; i++) {
        feed_guest(true, false);
        pump_all();
        cr_assert(leads_to("192.0.2.1"));
        feed_guest(true, true);
        pump_all();
        cr_assert(eq(u32, n_copies_refused(), i));
        cr_assert(leads_to("192.0.2.1"), "the guest is where it was");
        feed_guest(false, true);
        pump_all();
        cr_assert(leads_to("192.0.2.2"), "it has moved");
        cr_assert(eq(u64, xtr_mapcache_done(cache), xtr_mapcache_tail(cache)));
    }
    cr_assert(eq(sz, pump.n_failed, 0), "nothing is tried again");
    cr_assert(not(pump.is_shaken), "no repair makes it better");
    cr_assert(eq(u32, n_lines(fds[0], "no cls_u32 or act_mirred"), 1));
    dataplane_close(pump.plane);
    dp_fake_wipe();
}
