/* See ops.h. */
#include "xtr/ops.h"

#include <criterion/criterion.h>
#include <stdio.h>

struct em_ip test_ip(const char *text)
{
    struct em_ip ip;
    cr_assert_eq(em_ip_parse(text, &ip, NULL), 0, "%s", text);
    return ip;
}

struct dp_target test_target(const char *ip, uint32_t segmentation_id, uint8_t weight)
{
    return (struct dp_target){
        .ip = test_ip(ip), .segmentation_id = segmentation_id, .weight = weight};
}

static struct dp_op new_op(enum dp_verb verb, uint32_t network_id)
{
    return (struct dp_op){.verb = verb, .network = {.id = network_id}, .err = 1};
}

static struct dp_op mac_op(enum dp_verb verb, uint32_t network_id, const char *mac)
{
    struct dp_op op = new_op(verb, network_id);
    cr_assert_eq(em_mac_parse(mac, op.mac, NULL), 0, "%s", mac);
    return op;
}

struct dp_op op_network(uint32_t id, uint32_t vni)
{
    struct dp_op op = new_op(DP_NETWORK_PUT, id);
    op.network.segmentation_id = vni;
    op.network.flood = EM_FLOOD_BROADCAST;
    return op;
}

struct dp_op op_network_delete(uint32_t id)
{
    return new_op(DP_NETWORK_DELETE, id);
}

struct dp_op op_set(uint32_t id, const struct dp_target *targets, size_t n)
{
    struct dp_op op = new_op(DP_SET_PUT, 0);
    op.set = (struct dp_set){.id = id, .targets = targets, .n_targets = n};
    return op;
}

struct dp_op op_set_delete(uint32_t id)
{
    struct dp_op op = new_op(DP_SET_DELETE, 0);
    op.set.id = id;
    return op;
}

struct dp_op op_mac(uint32_t network_id, const char *mac, uint32_t set_id)
{
    struct dp_op op = mac_op(DP_MAC_PUT, network_id, mac);
    op.set.id = set_id;
    return op;
}

struct dp_op op_mac_delete(uint32_t network_id, const char *mac)
{
    return mac_op(DP_MAC_DELETE, network_id, mac);
}

struct dp_op op_neigh(uint32_t network_id, const char *ip, const char *mac)
{
    struct dp_op op = mac_op(DP_NEIGHBOUR_PUT, network_id, mac);
    op.ip = test_ip(ip);
    return op;
}

struct dp_op op_neigh_delete(uint32_t network_id, const char *ip)
{
    struct dp_op op = new_op(DP_NEIGHBOUR_DELETE, network_id);
    op.ip = test_ip(ip);
    return op;
}

struct dp_op op_flood(enum dp_verb verb, uint32_t network_id, struct dp_target target)
{
    struct dp_op op = new_op(verb, network_id);
    op.target = target;
    return op;
}

struct dp_op op_port(enum dp_verb verb, uint32_t network_id, const char *device)
{
    struct dp_op op = new_op(verb, network_id);
    snprintf(op.device, sizeof(op.device), "%s", device);
    return op;
}

struct dp_op op_borrowed(uint32_t network_id, const char *device)
{
    struct dp_op op = op_port(DP_PORT_PUT, network_id, device);
    op.is_borrowed = true;
    return op;
}

struct dp_op op_local(enum dp_verb verb, uint32_t network_id, const char *device, const char *mac)
{
    struct dp_op op = mac_op(verb, network_id, mac);
    snprintf(op.device, sizeof(op.device), "%s", device);
    return op;
}

struct dp_op op_copy(uint32_t network_id, const char *mac, struct dp_target target,
                     const char *device)
{
    struct dp_op op = mac_op(DP_COPY_PUT, network_id, mac);
    op.target = target;
    snprintf(op.device, sizeof(op.device), "%s", device ? device : "");
    return op;
}

struct dp_op op_copy_delete(uint32_t network_id, const char *mac)
{
    return mac_op(DP_COPY_DELETE, network_id, mac);
}

int op_apply(const struct dp_class *class, struct dp *dp, struct dp_op op)
{
    class->apply(dp, &op, 1);
    return op.err;
}
