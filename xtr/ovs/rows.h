/* What is known of the interfaces on one bridge, as a monitor of OVSDB tells it row by row.
 *
 * An interface hangs on a port, the port on the bridge, and in an update any of the three may come
 * first: what has changed is shown when all of the update has been taken.  Other bridges are passed
 * over.  No I/O, and nothing of what comes is believed to be well-formed. */
#ifndef OVS_ROWS_H
#define OVS_ROWS_H

#include "eidmap/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_t;
struct ovs_rows;

#define OVS_UUID_TEXT 37

struct ovs_pair {
    char *key, *value;
};

struct ovs_interface {
    char uuid[OVS_UUID_TEXT];
    char *name;
    uint16_t ofport; /* 0: none yet, or none to be had, or the bridge's own */
    bool has_mac;
    uint8_t mac[EM_MAC_SIZE]; /* mac_in_use */
    char *error;              /* NULL: none */
    struct ovs_pair *ids;     /* external_ids */
    size_t n_ids;
    uint64_t age; /* of the update that brought it, in their order: more is newer */
    void *owner;  /* of whoever is shown it; NULL at first */
};

/* The value, NULL if there is no such key; lent. */
const char *ovs_interface_id(const struct ovs_interface *interface, const char *key);

/* An interface has come to the bridge or is another now; or ('is_there' false) has left it.  It is
 * lent until it has left, and only its 'owner' may be changed; the call must not change the rows.
 */
typedef void ovs_rows_fn(void *aux, struct ovs_interface *interface, bool is_there);

struct ovs_rows *ovs_rows_new(const char *bridge, ovs_rows_fn *on_interface, void *aux);
void ovs_rows_free(struct ovs_rows *rows);

/* What to monitor: <monitor-cond-requests> of "monitor_cond_since"; the caller's. */
struct json_t *ovs_rows_requests(void);

/* Takes <table-updates2>; 'is_all': that is all there is, and what it does not have is gone.
 * -EBADMSG: malformed, or it changes what is not there; some of it has been taken then, but
 * nothing is shown until all that there is has put that right. */
int ovs_rows_update(struct ovs_rows *rows, const struct json_t *updates, bool is_all);

/* Is the bridge there? */
bool ovs_rows_has_bridge(const struct ovs_rows *rows);

/* Does the switch wait until its operator has restored its flows (other_config:flow-restore-wait),
 * and how often has that ended? */
bool ovs_rows_is_restoring(const struct ovs_rows *rows);
uint32_t ovs_rows_n_restored(const struct ovs_rows *rows);

/* The interfaces on the bridge one by one: NULL after the last; *at is 0 at first.  Lent until the
 * next update. */
const struct ovs_interface *ovs_rows_next(const struct ovs_rows *rows, uint32_t *at);

#endif
