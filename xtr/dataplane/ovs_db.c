/* What the bridge's database is asked to do: ports put on the bridge, taken off, read.
 *
 * Each call has a connection of its own: they are rare.  The database, or ovs-vswitchd behind it,
 * may hang: then the call fails after its patience, and all others of the same turn at once. */
#include "ovs.h"

#include "ovs/bridge.h"
#include "ovs/ovsdb.h"

#include <errno.h>
#include <stdlib.h>

#define PATIENCE_MS 5000

static int begin(struct dp *dp, struct ovsdb **ret_db, char **ret_why)
{
    if (dp->is_db_slow)
        return -ENOBUFS;
    int r = ovsdb_open(dp->db, PATIENCE_MS, ret_db, ret_why);
    dp->is_db_slow = r != 0;
    return r ? -ENOBUFS : 0;
}

static int end(struct dp *dp, struct ovsdb *db, int r)
{
    ovsdb_close(db);
    bool is_unknown = r == -ETIMEDOUT || r == -ECONNRESET;
    dp->is_db_slow |= is_unknown;
    return is_unknown ? -ENOBUFS : r;
}

int ovs_db_add_port(struct dp *dp, struct ovs_port *port, char **ret_why)
{
    struct ovsdb *db = NULL;
    int r = begin(dp, &db, ret_why);
    return r ? r : end(dp, db, ovs_bridge_add_ports(db, dp->bridge, port, 1, ret_why));
}

int ovs_db_del_port(struct dp *dp, const char *device)
{
    struct ovsdb *db = NULL;
    char *why = NULL;
    int r = begin(dp, &db, &why);
    if (r == 0)
        r = end(dp, db, ovs_bridge_del_ports(db, dp->bridge, &device, 1, &why));
    free(why);
    return r;
}

int ovs_db_ports(struct dp *dp, struct ovs_port_seen **ret_ports, size_t *ret_n, char **ret_why)
{
    struct ovsdb *db = NULL;
    int r = begin(dp, &db, ret_why);
    return r ? r : end(dp, db, ovs_bridge_ports(db, dp->bridge, ret_ports, ret_n, ret_why));
}
