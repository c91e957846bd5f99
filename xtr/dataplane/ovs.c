/* The Open vSwitch data plane: what the map says, as flows and groups of one bridge.
 *
 *   ovs.c         life                   ovs_flows.c    the pipeline
 *   ovs_flight.c  ops, until they are    ovs_send.c     flow-mods and their answers
 *                 done
 *   ovs_network.c networks               ovs_entry.c    MACs, addresses, broadcast, copies
 *   ovs_port.c    local ports, numbers   ovs_set.c      sets of locations, as groups
 *   ovs_tunnel.c  tunnel ports           ovs_db.c       the database, for both
 *   ovs_neigh.c   records of addresses   ovs_adopt.c    what an earlier run has left
 *                                        ovs_mirror.c   a dump, as hashes
 *   ovs_check.c   shadow against switch  ovs_miss.c     frames without a way; use of entries
 *   ovs_look.c    what a frame meets     ovs_device.c   what the kernel knows of devices
 *
 * The shadow is records; flows are worked out of a record when they are needed: to send them, to
 * take them back, to compare them with what stands.  One connection carries all, so the switch
 * sees everything in our order.  When it is lost, ops are refused with -ENOBUFS and nothing of
 * the shadow is given up; once it is back a check sends what is missing. */
#include "ovs.h"

#include "base/clock.h"
#include "base/mem.h"
#include "ovs/bridge.h"
#include "ovs/ovsdb.h"
#include "ovs_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define PATIENCE_MS 5000
#define RETRY_NS    50000000 /* between two attempts to reach the switch again, ... */
#define HANGS_MS    5000     /* ... and after one that has cost all patience */
#define A_TURN      262144   /* bytes */

/* ---- the connection */

static void set_timer(struct dp *dp, long ns)
{
    struct itimerspec spec = {.it_value.tv_nsec = ns, .it_interval.tv_nsec = ns};
    (void)timerfd_settime(dp->timer, 0, &spec, NULL);
}

static int dial(struct dp *dp)
{
    struct epoll_event event = {.events = EPOLLIN};
    int r = of_connect(dp->mgmt, ovs_on_message, dp, &dp->conn);

    if (r)
        return r;
    event.data.fd = of_fd(dp->conn);
    if (epoll_ctl(dp->epoll, EPOLL_CTL_ADD, of_fd(dp->conn), &event))
        r = -errno;
    return r ? r : ovs_read_ports(dp);
}

int ovs_write(struct dp *dp)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = of_fd(dp->conn)};
    int r = of_send(dp->conn);
    bool is_writing = em_buf_size(of_out(dp->conn)) > 0;

    if (is_writing == dp->is_writing)
        return r;
    dp->is_writing = is_writing;
    if (is_writing)
        event.events |= EPOLLOUT;
    (void)epoll_ctl(dp->epoll, EPOLL_CTL_MOD, event.data.fd, &event);
    return r;
}

/* Where there is no connection the timer ticks already. */
void ovs_alert(struct dp *dp)
{
    const struct itimerspec soon = {.it_value.tv_nsec = 1};
    if (dp->conn)
        (void)timerfd_settime(dp->timer, 0, &soon, NULL);
}

static void hang_up(struct dp *dp)
{
    of_close(dp->conn);
    dp->conn = NULL;
    dp->is_writing = false;
    ovs_flights_fail(dp);
    ovs_checks_fail(dp, -ENOTCONN);
    set_timer(dp, RETRY_NS);
}

/* A switch that comes back has other port numbers, and none of our flows or all of them. */
bool ovs_reconnect(struct dp *dp)
{
    if (dp->conn && (of_is_lost(dp->conn) || ovs_flights_are_overdue(dp)))
        hang_up(dp);
    if (dp->conn)
        return true;
    if (em_now_ms() < dp->retry_ms)
        return false;
    int r = dial(dp);
    if (r) {
        dp->retry_ms = r == -ETIMEDOUT ? em_now_ms() + HANGS_MS : 0;
        if (dp->conn)
            hang_up(dp);
        return false;
    }
    set_timer(dp, 0);
    dp->is_disturbed = true;
    return true;
}

/* ---- life */

static int prepare_bridge(struct dp *dp, const struct dp_config *config, char **ret_why)
{
    struct ovs_bridge bridge = {.name = dp->bridge,
                                .node_id = config->node_id ? config->node_id : "",
                                .datapath_type =
                                    config->datapath_type ? config->datapath_type : ""};
    struct ovsdb *db = NULL;
    int r = ovsdb_open(dp->db, PATIENCE_MS, &db, ret_why);

    if (r == 0)
        r = ovs_bridge_ensure(db, &bridge, ret_why);
    ovsdb_close(db);
    return r;
}

static void init_tables(struct dp *dp)
{
    dp_table_init(&dp->networks, sizeof(struct ovs_network_rec), sizeof(uint32_t));
    dp_table_init(&dp->ports, sizeof(struct ovs_port_rec), offsetof(struct ovs_port_rec, ofport));
    dp_table_init(&dp->sets, sizeof(struct ovs_set_rec), sizeof(uint32_t));
    dp_table_init(&dp->groups, sizeof(struct ovs_group_rec), sizeof(uint32_t));
    dp_table_init(&dp->floods, sizeof(struct ovs_flood_rec), offsetof(struct ovs_flood_rec, flags));
    dp_table_init(&dp->locals, sizeof(struct ovs_local_rec), offsetof(struct ovs_local_rec, pad));
    dp_table_init(&dp->copies, sizeof(struct ovs_copy_rec), offsetof(struct ovs_copy_rec, flags));
    dp_table_init(&dp->uses, sizeof(struct ovs_use_rec), offsetof(struct ovs_use_rec, pad));
    dp_table_init(&dp->macs, sizeof(struct dp_mac_rec), offsetof(struct dp_mac_rec, flags));
    dp_table_init(&dp->neighs4, sizeof(struct dp_neigh4_rec),
                  offsetof(struct dp_neigh4_rec, flags));
    dp_table_init(&dp->neighs6, sizeof(struct dp_neigh6_rec),
                  offsetof(struct dp_neigh6_rec, flags));
    for (size_t i = 0; i < 2; i++)
        em_index_init(&dp->by_mac[i]);
    dp_table_init(&dp->group_ids, sizeof(uint32_t), sizeof(uint32_t));
    dp_table_init(&dp->strangers, sizeof(uint64_t), sizeof(uint64_t));
    dp_table_init(&dp->numbers, sizeof(struct ovs_number_rec), IFNAMSIZ);
    dp_table_init(&dp->port_ids, sizeof(struct ovs_port_id_rec), sizeof(uint32_t));
}

static struct dp *new_dp(const struct dp_config *config)
{
    struct dp *dp = em_calloc(1, sizeof *dp);

    init_tables(dp);
    of_flow_init(&dp->flow);
    em_buf_init(&dp->scratch);
    memcpy(dp->rlocs, config->rlocs, sizeof dp->rlocs);
    dp->udp_port = config->udp_port;
    dp->is_secure = !config->is_open;
    dp->bridge = em_strdup(config->bridge ? config->bridge : "br-int");
    dp->db = em_strdup(config->database ? config->database : "unix:/run/openvswitch/db.sock");
    dp->mgmt = em_asprintf("%s/%s.mgmt", config->run_dir ? config->run_dir : "/run/openvswitch",
                           dp->bridge);
    dp->next_group_id = OVS_GROUP_FIRST;
    dp->epoll = epoll_create1(EPOLL_CLOEXEC);
    dp->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = dp->timer};
    (void)epoll_ctl(dp->epoll, EPOLL_CTL_ADD, dp->timer, &event);
    return dp;
}

static void ovs_close(struct dp *dp)
{
    if (!dp)
        return;
    ovs_flights_land(dp);
    struct dp_table *tables[] = {&dp->networks,  &dp->ports,   &dp->floods,  &dp->locals,
                                 &dp->copies,    &dp->uses,    &dp->macs,    &dp->neighs4,
                                 &dp->neighs6,   &dp->sets,    &dp->groups,  &dp->group_ids,
                                 &dp->strangers, &dp->numbers, &dp->port_ids};
    for (uint32_t i = 0; i < dp->networks.len; i++)
        ovs_miss_forget(dp, dp_table_at(&dp->networks, i));
    for (uint32_t i = 0; i < dp->sets.len; i++)
        ovs_set_fini(dp_table_at(&dp->sets, i));
    for (uint32_t i = 0; i < dp->groups.len; i++)
        em_buf_fini(&((struct ovs_group_rec *)dp_table_at(&dp->groups, i))->buckets);
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        dp_table_fini(tables[i]);
    for (size_t i = 0; i < 2; i++)
        em_index_fini(&dp->by_mac[i]);
    dp_lost_fini(&dp->lost);
    of_close(dp->conn);
    of_flow_fini(&dp->flow);
    em_buf_fini(&dp->scratch);
    close(dp->epoll);
    close(dp->timer);
    for (size_t i = 0; i < OVS_FLIGHTS; i++)
        free(dp->flights[i].senders);
    free(dp->mgmt);
    free(dp->bridge);
    free(dp->db);
    free(dp);
}

static int set_up(struct dp *dp, const struct dp_config *config, char **ret_why)
{
    int r = prepare_bridge(dp, config, ret_why);
    if (r)
        return r;
    r = dial(dp);
    if (r == 0)
        r = ovs_adopt_tunnels(dp, ret_why);
    if (r == 0)
        r = ovs_make_tunnel(dp, config->encap, 0, ret_why);
    if (r == 0)
        r = ovs_adopt(dp);
    if (r == 0) {
        ovs_base_flows(dp, ovs_add, NULL);
        r = of_barrier(dp->conn);
    }
    if (r && !*ret_why)
        *ret_why = em_asprintf("%s: OpenFlow 1.4: %s; is ovs-vswitchd running, and may xtr open "
                               "its sockets?",
                               dp->mgmt, strerror(-r));
    return r;
}

static int ovs_open(const struct dp_config *config, struct dp **ret_dp, char **ret_why)
{
    if (!config->rlocs[0].size && !config->rlocs[1].size) {
        *ret_why = em_strdup("no underlay address: set rloc");
        return -EADDRNOTAVAIL;
    }
    *ret_why = NULL;
    struct dp *dp = new_dp(config);
    int r = set_up(dp, config, ret_why);
    if (r) {
        ovs_close(dp);
        return r;
    }
    *ret_dp = dp;
    return 0;
}

static int ovs_set_rloc(struct dp *dp, const struct em_ip *rloc)
{
    for (size_t i = 0; i < 2; i++) {
        if (dp->rlocs[i].size != rloc->size)
            continue;
        char name[IFNAMSIZ];
        if (!ovs_device_of(rloc, name))
            return -EADDRNOTAVAIL;
        dp->rlocs[i] = *rloc; /* tunnels send as the route says */
        return 0;
    }
    return -EAFNOSUPPORT;
}

static bool ovs_is_disturbed(struct dp *dp)
{
    bool is_up = ovs_reconnect(dp);

    if (is_up && dp->has_port_news)
        (void)ovs_read_ports(dp);
    if (is_up && ovs_flush_floods(dp))
        (void)of_barrier(dp->conn);
    bool is_disturbed = dp->is_disturbed && is_up;
    dp->is_disturbed = dp->is_disturbed && !is_up;
    return is_disturbed;
}

/* ---- news */

static int ovs_fd(const struct dp *dp)
{
    return dp->epoll;
}

static bool ovs_serve(struct dp *dp)
{
    struct epoll_event events[16];
    uint64_t n_expired;
    int n = epoll_wait(dp->epoll, events, 16, 0);

    dp->is_serving = true;
    for (int i = 0; i < n; i++) {
        int fd = events[i].data.fd;
        if (fd == dp->timer)
            (void)!read(fd, &n_expired, sizeof n_expired);
        else if (!dp->conn || fd != of_fd(dp->conn))
            ovs_miss_serve(dp, fd);
        else
            (void)of_receive(dp->conn, A_TURN);
    }
    (void)ovs_reconnect(dp);
    if (dp->conn)
        (void)ovs_write(dp);
    dp->is_serving = false;
    return true;
}

static void ovs_limits(struct dp *dp, dp_limit_fn *visit, void *aux)
{
}

static bool ovs_lost(struct dp *dp, char ret_device[IFNAMSIZ])
{
    return dp_lost_next(&dp->lost, ret_device);
}

static uint64_t ovs_count(const struct dp *dp)
{
    return (uint64_t)dp->networks.len + dp->ports.len + dp->sets.len + dp->groups.len +
           dp->macs.len + dp->neighs4.len + dp->neighs6.len + dp->floods.len + dp->copies.len;
}

const struct dp_class dp_ovs = {
    .name = "ovs",
    .open = ovs_open,
    .close = ovs_close,
    .apply = ovs_apply,
    .start = ovs_start,
    .reached = ovs_reached,
    .sweep = ovs_sweep,
    .check_start = ovs_check_start,
    .check_step = ovs_check_step,
    .check_end = ovs_check_end,
    .set_rloc = ovs_set_rloc,
    .look = ovs_look,
    .is_disturbed = ovs_is_disturbed,
    .lost = ovs_lost,
    .fd = ovs_fd,
    .serve = ovs_serve,
    .limits = ovs_limits,
    .miss_open = ovs_miss_open,
    .miss_close = ovs_miss_close,
    .idle = ovs_idle,
    .adopted = ovs_adopted,
    .count = ovs_count,
};
