/* One client's talk with OVSDB: it asks for everything that rows.h keeps, takes the changes, does
 * transactions.
 *
 *   down --up()--> asks with monitor_cond_since --> synced <-- changes
 *                    | refused: a server before 2.12     ^
 *                    +--> asks with monitor_cond --------+
 *
 * After a break it goes on from the last transaction that it has seen, where the server still knows
 * that one; else all is sent again, and what is not in it is gone.
 *
 * No I/O: messages go in and come out. */
#ifndef OVS_MONITOR_H
#define OVS_MONITOR_H

#include "ovs/rows.h"

struct json_t;
struct ovs_monitor;

/* 'results' is lent, as ovs_rpc_check() has found it; on failure 'why' is a sentence and lent.
 * -ECONNRESET: the connection went first, and whether it was done is not known. */
typedef void ovs_reply_fn(void *aux, int err, const struct json_t *results, const char *why);

/* As ovs_rows_new(). */
struct ovs_monitor *ovs_monitor_new(const char *bridge, ovs_rows_fn *on_interface, void *aux);

/* Calls under way are dropped.  NULL is fine. */
void ovs_monitor_free(struct ovs_monitor *monitor);

/* A connection stands: what to send first.  It has gone: calls that are under way have failed. */
struct json_t *ovs_monitor_up(struct ovs_monitor *monitor);
void ovs_monitor_down(struct ovs_monitor *monitor);

/* A message from the server; *ret_answer is one to send, or NULL.  On failure the connection is of
 * no use any more: -EBADMSG, malformed; or -EPROTO, the server refuses to be monitored; then
 * *ret_why is a sentence (free() it). */
int ovs_monitor_take(struct ovs_monitor *monitor, const struct json_t *message,
                     struct json_t **ret_answer, char **ret_why);

/* The request for 'ops' (taken); NULL, and no reply will come: no connection, or 'ops' is NULL. */
struct json_t *ovs_monitor_transact(struct ovs_monitor *monitor, struct json_t *ops,
                                    ovs_reply_fn *on_reply, void *aux);

/* Has the server shown all that there is, on this connection? */
bool ovs_monitor_is_synced(const struct ovs_monitor *monitor);
const struct ovs_rows *ovs_monitor_rows(const struct ovs_monitor *monitor);

#endif
