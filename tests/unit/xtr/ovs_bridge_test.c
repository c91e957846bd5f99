/* Bridges and ports in a real Open vSwitch with the userspace datapath. */
#include "ovs/bridge.h"
#include "ovs/ovsdb.h"
#include "xtr/netns.h"
#include "xtr/ovs.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 20000

static struct ovs *ovs;
static struct ovsdb *db;
static char *why;

static void start_ovs(void)
{
    if (!ovs_is_permitted())
        cr_skip_test("no Open vSwitch, or no permission to make a network namespace");
    ovs = ovs_new();
    cr_assert_eq(ovsdb_open(ovs->remote, TIMEOUT_MS, &db, &why), 0, "%s", why);
}

static void stop_ovs(void)
{
    ovsdb_close(db);
    ovs_stop(ovs);
    free(why);
}

TestSuite(ovs_bridge, .init = start_ovs, .fini = stop_ovs, .timeout = 100);

static struct ovs_bridge br_int(void)
{
    return (struct ovs_bridge){.name = "br-int", .node_id = "h1", .datapath_type = "netdev"};
}

static struct ovs_bridge ensure(void)
{
    struct ovs_bridge bridge = br_int();
    cr_assert_eq(ovs_bridge_ensure(db, &bridge, &why), 0, "%s", why);
    return bridge;
}

static struct ovs_port tunnel(const char *name, const char *type)
{
    return (struct ovs_port){.name = name, .type = type, .mark = "tunnel"};
}

static void add(struct ovs_port *ports, size_t n)
{
    cr_assert_eq(ovs_bridge_add_ports(db, "br-int", ports, n, &why), 0, "%s", why);
}

Test(ovs_bridge, a_new_bridge_is_ours_and_does_not_forward_by_itself)
{
    struct ovs_bridge bridge = ensure();
    cr_assert(bridge.is_new && bridge.is_ours && !bridge.is_standalone);
    cr_assert(ovs_vsctl_shows(ovs, "get Bridge br-int fail_mode", "secure"));
    cr_assert(ovs_vsctl_shows(ovs, "get Bridge br-int datapath_type", "netdev"));
    cr_assert(ovs_vsctl_shows(ovs, "get Bridge br-int external_ids:eidmap", "h1"));
    cr_assert(netns_shows("ip link show br-int", "br-int"), "ovs-vswitchd has not made it");
    char *flows = netns_run("ovs-ofctl -O OpenFlow15 dump-flows unix:%s/br-int.mgmt", ovs->dir);
    cr_assert(!strstr(flows, "NORMAL") && !strstr(flows, "connection failed"), "%s", flows);
    free(flows);
}

Test(ovs_bridge, one_that_is_ours_is_put_right)
{
    ensure();
    cr_assert(ovs_vsctl_ok(ovs, "set Bridge br-int fail_mode=standalone protocols=OpenFlow10 "
                                "external_ids:eidmap=h0 external_ids:other=x"));
    struct ovs_bridge bridge = ensure();
    cr_assert(!bridge.is_new && bridge.is_ours);
    cr_assert(ovs_vsctl_shows(ovs, "get Bridge br-int fail_mode", "secure"));
    cr_assert(ovs_vsctl_shows(ovs, "get Bridge br-int protocols", "OpenFlow13"));
    cr_assert(ovs_vsctl_shows(ovs, "get Bridge br-int protocols", "OpenFlow10"));
    cr_assert(ovs_vsctl_shows(ovs, "get Bridge br-int external_ids", "eidmap=h1, other=x"));
}

Test(ovs_bridge, one_of_somebody_else_keeps_its_settings)
{
    cr_assert(ovs_vsctl_ok(ovs, "add-br br-int -- set Bridge br-int datapath_type=netdev "
                                "protocols=OpenFlow10"));
    struct ovs_bridge bridge = ensure();
    cr_assert(!bridge.is_new && !bridge.is_ours && bridge.is_standalone);
    cr_assert(ovs_vsctl_shows(ovs, "get Bridge br-int fail_mode", "[]"));
    cr_assert(ovs_vsctl_shows(ovs, "get Bridge br-int external_ids", "{}"));
    cr_assert(ovs_vsctl_shows(ovs, "get Bridge br-int protocols",
                              "[OpenFlow10, OpenFlow13, OpenFlow14, OpenFlow15]"));
}

Test(ovs_bridge, the_datapath_type_of_a_bridge_is_not_changed)
{
    ensure();
    struct ovs_bridge bridge = br_int();
    bridge.datapath_type = "system";
    cr_assert_eq(ovs_bridge_ensure(db, &bridge, &why), -EEXIST);
    cr_assert(strstr(why, "datapath_type netdev, not system"), "%s", why);
    free(why);
    why = NULL;
    bridge.datapath_type = "";
    cr_assert_eq(ovs_bridge_ensure(db, &bridge, &why), 0, "%s", why);
    cr_assert(ovs_vsctl_shows(ovs, "get Bridge br-int datapath_type", "netdev"));
}

Test(ovs_bridge, tunnels_take_address_and_key_from_the_flow)
{
    struct ovs_port ports[] = {tunnel("em-vxlan", "vxlan"), tunnel("em-geneve", "geneve"),
                               tunnel("em-gre", "gre")};
    ports[0].udp_port = 4790;
    ports[1].local_ip = "192.0.2.1";
    ensure();
    add(ports, 3);
    for (int i = 0; i < 3; i++)
        cr_assert(ports[i].ofport && !ports[i].was_there && ports[i].is_ours, "%s",
                  ports[i].problem);
    cr_assert(ovs_vsctl_shows(ovs, "get Interface em-vxlan options",
                              "{dst_port=\"4790\", key=flow, remote_ip=flow}"));
    cr_assert(ovs_vsctl_shows(ovs, "get Interface em-geneve options", "local_ip=\"192.0.2.1\""));
    cr_assert(ovs_vsctl_shows(ovs, "get Interface em-gre type", "gre"));
    cr_assert(ovs_vsctl_shows(ovs, "get Port em-gre external_ids", "{eidmap=tunnel}"));
}

Test(ovs_bridge, a_port_that_is_there_is_taken_as_it_is_or_put_right)
{
    struct ovs_port ports[] = {tunnel("em-vxlan", "vxlan"), {.name = "tap0", .type = ""}};
    ensure();
    add(ports, 1);
    cr_assert(netns_ok("ip tuntap add tap0 mode tap"));
    cr_assert(ovs_vsctl_ok(ovs, "add-port br-int tap0 -- set Interface tap0 options:x=y"));
    ports[0].udp_port = 4790;
    add(ports, 2);
    cr_assert(ports[0].was_there && ports[0].is_ours && ports[0].ofport);
    cr_assert(ports[1].was_there && !ports[1].is_ours && ports[1].ofport);
    cr_assert(ovs_vsctl_shows(ovs, "get Interface em-vxlan options", "dst_port=\"4790\""));
    cr_assert(ovs_vsctl_shows(ovs, "get Interface tap0 options", "{x=y}"));
}

Test(ovs_bridge, two_bridges_are_joined_by_patch_ports)
{
    struct ovs_port here = {.name = "to-phy", .type = "patch", .mark = "patch", .peer = "to-int"};
    ensure();
    cr_assert(ovs_vsctl_ok(ovs, "add-br br-phy -- set Bridge br-phy datapath_type=netdev "
                                "-- add-port br-phy to-int -- set Interface to-int type=patch "
                                "options:peer=to-phy"));
    add(&here, 1);
    cr_assert(here.ofport, "%s", here.problem);
    struct ovs_port there = {.name = "to-int", .type = "patch", .peer = "to-phy"};
    cr_assert_eq(ovs_bridge_add_ports(db, "br-int", &there, 1, &why), -EEXIST);
    cr_assert(strstr(why, "on another bridge"), "%s", why);
}

Test(ovs_bridge, a_device_that_is_missing_is_the_ports_problem)
{
    struct ovs_port ports[] = {{.name = "nowhere", .type = "", .mark = "device"},
                               tunnel("em-vxlan", "vxlan")};
    ensure();
    add(ports, 2);
    cr_assert_eq(ports[0].ofport, 0);
    cr_assert(strstr(ports[0].problem, "No such device"), "%s", ports[0].problem);
    cr_assert(ports[1].ofport);
}

Test(ovs_bridge, only_what_is_ours_is_taken_away)
{
    static const char *const names[] = {"em-vxlan", "theirs", "absent"};
    struct ovs_port port = tunnel("em-vxlan", "vxlan");
    ensure();
    add(&port, 1);
    cr_assert(ovs_vsctl_ok(ovs, "add-port br-int theirs -- set Interface theirs type=internal"));
    cr_assert_eq(ovs_bridge_del_ports(db, "br-int", names, 3, &why), 0, "%s", why);
    char *ports = ovs_vsctl(ovs, "list-ports br-int");
    cr_assert_str_eq(ports, "theirs\n");
    free(ports);
}

Test(ovs_bridge, what_is_ours_is_listed)
{
    struct ovs_port ports[] = {tunnel("em-geneve", "geneve"),
                               {.name = "to-phy", .type = "patch", .mark = "p", .peer = "to-int"}};
    struct ovs_port_seen *seen;
    size_t n;
    ensure();
    ports[0].udp_port = 6082;
    ports[0].local_ip = "2001:db8::1";
    add(ports, 2);
    cr_assert(ovs_vsctl_ok(ovs, "add-port br-int theirs -- set Interface theirs type=internal"));
    cr_assert_eq(ovs_bridge_ports(db, "br-int", &seen, &n, &why), 0, "%s", why);
    cr_assert_eq(n, 2);
    const struct ovs_port_seen *geneve = &seen[strcmp(seen[0].name, "em-geneve") != 0];
    const struct ovs_port_seen *patch = &seen[geneve == seen];
    cr_assert_str_eq(geneve->name, "em-geneve");
    cr_assert_str_eq(geneve->type, "geneve");
    cr_assert_str_eq(geneve->mark, "tunnel");
    cr_assert_str_eq(geneve->local_ip, "2001:db8::1");
    cr_assert_eq(geneve->udp_port, 6082);
    cr_assert_eq(geneve->ofport, ports[0].ofport);
    cr_assert_str_eq(patch->peer, "to-int");
    free(seen);
}

Test(ovs_bridge, without_ovs_vswitchd_the_wait_ends_and_says_so)
{
    struct ovs_bridge bridge = br_int();
    ovsdb_close(db);
    ovs_kill_vswitchd(ovs);
    cr_assert_eq(ovsdb_open(ovs->remote, 200, &db, &why), 0, "%s", why);
    cr_assert_eq(ovs_bridge_ensure(db, &bridge, &why), -ETIMEDOUT);
    cr_assert(strstr(why, "ovs-vswitchd does not answer"), "%s", why);
    free(why);
    why = NULL;
    ovs_start_vswitchd(ovs);
    ovsdb_close(db);
    cr_assert_eq(ovsdb_open(ovs->remote, TIMEOUT_MS, &db, &why), 0, "%s", why);
    cr_assert(!ensure().is_new);
    cr_assert(netns_shows("ip link show br-int", "br-int"));
}

Test(ovs_bridge, ports_need_a_bridge)
{
    struct ovs_port port = tunnel("em-vxlan", "vxlan");
    cr_assert_eq(ovs_bridge_add_ports(db, "br-int", &port, 1, &why), -ENOENT);
    cr_assert(strstr(why, "no bridge br-int"), "%s", why);
}
