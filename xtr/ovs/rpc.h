/* JSON-RPC as OVSDB speaks it (RFC 7047 section 4): requests, answers to the server's probes, what
 * the server's replies say.  No I/O. */
#ifndef OVS_RPC_H
#define OVS_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_t;

/* 'params' (an array) is taken; NULL, if it is. */
struct json_t *ovs_rpc_request(const char *method, int64_t id, struct json_t *params);

/* The request to do 'ops', as ovsdb_transact() takes them. */
struct json_t *ovs_rpc_transact(int64_t id, struct json_t *ops);

/* The answer if the message is a probe, else NULL. */
struct json_t *ovs_rpc_echo(const struct json_t *message);

bool ovs_rpc_is_reply(const struct json_t *message, int64_t id);

/* What a reply says of a transaction of 'n_ops' operations: 0, then its result is an array with an
 * object for each; or an error of ovsdb.h with a sentence. */
int ovs_rpc_check(const struct json_t *reply, size_t n_ops, char **ret_why);

#endif
