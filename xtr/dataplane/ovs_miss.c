/* What the switch has no way for: frames come as packet-ins, are handed to the agent through a
 * pair of sockets, one frame a message, and those that the agent writes go out as packet-outs.
 *
 * Everything on the way is bounded: the switch drops packet-ins that nobody reads, and the pair
 * of sockets those that the agent does not take. */
#include "ovs.h"

#include "base/clock.h"
#include "ovs_check.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRAME_MAX 65535
#define A_TURN    64 /* frames */

static void remove_miss(struct dp *dp, void *aux, struct of_flow *flow)
{
    if (flow->priority == 5)
        ovs_remove(dp, aux, flow);
}

int ovs_miss_open(struct dp *dp, uint32_t network_id, int *ret_fd)
{
    struct ovs_network_rec *network = ovs_network(dp, network_id);
    int fds[2];

    if (!network || dp_is_nobodys(network->flags))
        return -ENOENT;
    if (network->miss_in >= 0) {
        *ret_fd = network->miss_fd;
        return 0;
    }
    if (!dp->conn)
        return -ENOTCONN;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds))
        return -errno;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[1]};
    if (epoll_ctl(dp->epoll, EPOLL_CTL_ADD, fds[1], &event)) {
        int r = -errno;
        close(fds[0]);
        close(fds[1]);
        return r;
    }
    *ret_fd = network->miss_fd = fds[0];
    network->miss_in = fds[1];
    ovs_flood_flows(dp, network, ovs_add, NULL);
    (void)of_barrier(dp->conn); /* if it is lost, a check sends them when it is back */
    return 0;
}

void ovs_miss_forget(struct dp *dp, struct ovs_network_rec *network)
{
    if (network->miss_in < 0)
        return;
    close(network->miss_in);
    close(network->miss_fd);
    network->miss_in = network->miss_fd = -1;
}

void ovs_miss_close(struct dp *dp, uint32_t network_id)
{
    struct ovs_network_rec *network = ovs_network(dp, network_id);

    if (!network || network->miss_in < 0)
        return;
    ovs_flood_flows(dp, network, remove_miss, NULL);
    ovs_miss_forget(dp, network);
    ovs_flood_flows(dp, network, ovs_add, NULL);
    if (dp->conn)
        (void)of_barrier(dp->conn);
}

/* The pipeline's registers come with the packet. */
void ovs_on_packet(struct dp *dp, const struct of_message *message)
{
    struct of_packet_in packet;

    if (!of_parse_packet_in(message, &packet) || (packet.cookie & OVS_COOKIE_MASK) != OVS_COOKIE)
        return;
    uint32_t id = (uint32_t)of_seen_int(packet.match, packet.match_size, OF_REG0);
    const struct ovs_network_rec *network = ovs_network(dp, id);
    if (network && network->miss_in >= 0)
        (void)!send(network->miss_in, packet.frame, packet.size, MSG_NOSIGNAL);
}

static void inject(struct dp *dp, uint32_t network_id, const uint8_t *frame, size_t size)
{
    struct em_buf actions;

    em_buf_init(&actions);
    of_set_int(&actions, OF_REG0, network_id);
    of_resubmit(&actions, OVS_FORWARD);
    of_put_packet_out(of_out(dp->conn), of_xid(dp->conn), &actions, frame, size);
    em_buf_fini(&actions);
}

void ovs_miss_serve(struct dp *dp, int fd)
{
    static uint8_t frame[FRAME_MAX];

    for (uint32_t i = 0; i < dp->networks.len && dp->conn; i++) {
        const struct ovs_network_rec *network = dp_table_at(&dp->networks, i);
        if (network->miss_in != fd)
            continue;
        for (int n = 0; n < A_TURN; n++) {
            ssize_t size = recv(fd, frame, sizeof frame - 256, 0);
            if (size <= 0)
                break;
            inject(dp, network->network_id, frame, (size_t)size);
        }
        (void)of_send(dp->conn);
        return;
    }
}

/* ---- one flow */

void ovs_on_single(struct dp *dp, struct of_parts *parts)
{
    struct of_seen_flow flow;

    while (of_next_flow(parts, &flow))
        if (ovs_flow_key(flow.table, flow.priority, flow.match, flow.match_size) == dp->single.key)
            dp->single = (struct ovs_single){dp->single.key, true, flow.cookie, flow.n_packets};
}

int ovs_ask(struct dp *dp)
{
    const struct of_flow *flow = &dp->flow; /* another, as soon as anything has come */

    if (!dp->conn)
        return -ENOTCONN;
    dp->single = (struct ovs_single){
        .key = ovs_flow_key(flow->table, flow->priority, flow->match, flow->match_size)};
    uint32_t xid = of_xid(dp->conn);
    of_put_flow_dump(of_out(dp->conn), xid, flow->table, 0, 0, flow);
    int r = of_wait(dp->conn, xid);
    return r ? r : dp->single.is_there ? 0 : -ENOENT;
}

static void nothing(struct dp *dp, void *aux, struct of_flow *flow)
{
}

void ovs_forget_use(struct dp *dp, const struct dp_mac_rec *rec)
{
    struct ovs_use_rec *use = dp_table_find(&dp->uses, rec);
    if (use)
        dp_table_remove(&dp->uses, use);
}

/* The switch counts packets and keeps no time of the last: the time is that of the first question
 * that found the count as it is. */
int ovs_idle(struct dp *dp, uint32_t network_id, const uint8_t *mac, uint64_t *ret_ms)
{
    const struct dp_mac_rec *rec = ovs_mac(dp, network_id, mac);
    uint64_t now_ms = em_now_ms();

    if (!rec || rec->flags & (DP_LOCAL | DP_FOREIGN))
        return -ENOENT;
    ovs_mac_flows(dp, rec, nothing, NULL); /* leaves its flow in dp->flow */
    int r = ovs_ask(dp);
    if (r)
        return r;
    struct ovs_use_rec *use = dp_table_find(&dp->uses, rec);
    if (!use) {
        use = dp_table_put(&dp->uses, rec);
        use->since_ms = now_ms;
    } else if (use->n_packets != dp->single.n_packets) {
        use->since_ms = now_ms;
    }
    use->n_packets = dp->single.n_packets;
    *ret_ms = now_ms - use->since_ms;
    return 0;
}
