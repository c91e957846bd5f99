/* A lasting connection to OVSDB, on libev: connects, monitors (monitor.h), connects again when it
 * breaks or falls silent, after a pause that grows.  What is known stays known meanwhile. */
#ifndef OVS_CLIENT_H
#define OVS_CLIENT_H

#include "ovs/monitor.h"

struct ev_loop;
struct ovs_client;

/* A callback may call anything here but ovs_client_free(). */
struct ovs_client_events {
    ovs_rows_fn *on_interface;
    void (*on_synced)(void *aux);                /* everything that there is has been shown */
    void (*on_down)(void *aux, const char *why); /* each time that a connection goes or fails */
};

/* 'remote' is "unix:PATH", and connected to from the loop; 'events' are lent for ever. */
struct ovs_client *ovs_client_new(struct ev_loop *loop, const char *remote, const char *bridge,
                                  const struct ovs_client_events *events, void *aux);

/* For tests: how long the server may be silent before it is asked whether it is there, and then
 * before it is given up; 5 s. */
void ovs_client_set_patience(struct ovs_client *client, double seconds);

/* Calls under way are dropped.  NULL is fine. */
void ovs_client_free(struct ovs_client *client);

/* As ovsdb_transact(): 'ops' is taken; 0, then 'on_reply' (NULL: no interest) is called, never from
 * here.  -ENOTCONN: there is no connection; -EINVAL: 'ops' is NULL. */
int ovs_client_transact(struct ovs_client *client, struct json_t *ops, ovs_reply_fn *on_reply,
                        void *aux);

bool ovs_client_is_synced(const struct ovs_client *client);
const struct ovs_rows *ovs_client_rows(const struct ovs_client *client);

#endif
