/* Short ways to write data plane ops in tests. */
#ifndef TEST_OPS_H
#define TEST_OPS_H

#include "dataplane/dp.h"

/* These abort the test on a text that is no address. */
struct em_ip test_ip(const char *text);
struct dp_target test_target(const char *ip, uint32_t segmentation_id, uint8_t weight);

struct dp_op op_network(uint32_t id, uint32_t vni);
struct dp_op op_network_delete(uint32_t id);
/* The targets are lent. */
struct dp_op op_set(uint32_t id, const struct dp_target *targets, size_t n);
struct dp_op op_set_delete(uint32_t id);
struct dp_op op_mac(uint32_t network_id, const char *mac, uint32_t set_id);
struct dp_op op_mac_delete(uint32_t network_id, const char *mac);
struct dp_op op_neigh(uint32_t network_id, const char *ip, const char *mac);
struct dp_op op_neigh_delete(uint32_t network_id, const char *ip);
struct dp_op op_flood(enum dp_verb verb, uint32_t network_id, struct dp_target target);
struct dp_op op_port(enum dp_verb verb, uint32_t network_id, const char *device);
struct dp_op op_borrowed(uint32_t network_id, const char *device);
struct dp_op op_local(enum dp_verb verb, uint32_t network_id, const char *device, const char *mac);

/* 'device' NULL: what leaves by the tunnel. */
struct dp_op op_copy(uint32_t network_id, const char *mac, struct dp_target target,
                     const char *device);
struct dp_op op_copy_delete(uint32_t network_id, const char *mac);

/* Applies one op; its result. */
int op_apply(const struct dp_class *class, struct dp *dp, struct dp_op op);

#endif
