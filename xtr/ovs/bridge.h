/* The bridge in Open vSwitch's database and what it takes to join it to others: tunnel ports, patch
 * ports, devices.
 *
 * What is made here carries external_ids:eidmap; what does not carry it is somebody else's and
 * stays as it is.  Every call waits until ovs-vswitchd has done the change, and may be repeated.
 * Errors as those of ovsdb.h. */
#ifndef OVS_BRIDGE_H
#define OVS_BRIDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ovsdb;

#define OVS_MARK    "eidmap" /* the key in external_ids */
#define OVS_NAME    64       /* bytes of a port's name; a device's has at most 15 */
#define OVS_PROBLEM 160

struct ovs_bridge {
    /* In */
    const char *name;
    const char *node_id;       /* for the mark */
    const char *datapath_type; /* "system", "netdev"; "": as it is, and OVS's own for a new one */

    /* Out */
    bool is_new;
    bool is_ours;       /* made here, now or by an earlier run */
    bool is_standalone; /* somebody else's with another fail_mode than secure: it may have a flow
                         * that makes a learning switch of it */
};

/* Makes the bridge, or puts one that is ours right: fail_mode secure, and OpenFlow 1.3 to 1.5
 * spoken. Of one that is somebody else's only the missing versions of OpenFlow are added: its
 * fail_mode is part of how others use it. -EEXIST: the name is a port's on another bridge, or the
 * bridge has another datapath_type (to change that would make it anew). */
int ovs_bridge_ensure(struct ovsdb *db, struct ovs_bridge *bridge, char **ret_why);

struct ovs_port {
    /* In */
    const char *name;
    const char *type;     /* as OVS says: "" a device that is there, "internal", "vxlan", "geneve",
                           * "gre", "patch" */
    const char *mark;     /* what it is for */
    const char *local_ip; /* of a tunnel: sends from here; NULL: as the route says */
    uint16_t udp_port;    /* of a tunnel; 0: its protocol's */
    const char *peer;     /* of a patch port */

    /* Out */
    bool was_there;
    bool is_ours;              /* has our mark; what we make has */
    uint16_t ofport;           /* OpenFlow's number; 0: it has none, and 'problem' says why */
    char problem[OVS_PROBLEM]; /* as ovs-vswitchd says it */
};

/* Adds those of the ports that are not there.  Tunnels take any remote address and key from the
 * flow. One of ours that is there gets the type and the options that it should have.  One of
 * somebody else's is left as it is.  -EEXIST: a port of that name is on another bridge; -ENOENT:
 * there is no such bridge. */
int ovs_bridge_add_ports(struct ovsdb *db, const char *bridge, struct ovs_port *ports, size_t n,
                         char **ret_why);

/* Takes those of the ports that are there and have our mark off the bridge. */
int ovs_bridge_del_ports(struct ovsdb *db, const char *bridge, const char *const *names, size_t n,
                         char **ret_why);

/* A port of the bridge with our mark. */
struct ovs_port_seen {
    char name[OVS_NAME];
    char type[16];
    char mark[OVS_NAME];
    char local_ip[48]; /* "": none */
    char peer[OVS_NAME];
    uint16_t udp_port; /* 0: none said */
    uint16_t ofport;   /* 0: none */
};

/* free(*ret_ports). */
int ovs_bridge_ports(struct ovsdb *db, const char *bridge, struct ovs_port_seen **ret_ports,
                     size_t *ret_n, char **ret_why);

#endif
