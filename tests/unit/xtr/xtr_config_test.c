#include "config.h"

#include "base/log.h"
#include "rloc.h"
#include "static.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct xtr_config config;
static char *why;

static int load(const char *text)
{
    char file[] = "/tmp/eidmap-config-XXXXXX";
    int fd = mkstemp(file);
    cr_assert(eq(int, (int)write(fd, text, strlen(text)), (int)strlen(text)));
    close(fd);
    why = NULL;
    int r = xtr_config_load(file, &config, &why);
    unlink(file);
    return r;
}

static void refused(const char *text, const char *sentence)
{
    cr_assert(ne(int, load(text), 0), "%s", text);
    cr_assert(strstr(why, sentence) != NULL, "%s", why);
    free(why);
}

Test(xtr_config, without_a_file_everything_has_a_value)
{
    cr_assert(eq(int, xtr_config_load(NULL, &config, &why), 0));
    cr_assert(config.node_id != NULL);
    cr_assert(eq(sz, config.n_servers, 1));
    cr_assert(eq(u16, config.udp_port, 4789));
    cr_assert(eq(u32, config.reconcile_ms, 60000));
    cr_assert(eq(str, config.control_path, "/run/eidmap/xtr.sock"));
    cr_assert(eq(str, config.state_dir, "/var/lib/eidmap/xtr"));
    cr_assert(eq(int, config.log_level, EM_LOG_INFO));
    cr_assert(eq(int, config.plane, XTR_PLANE_KERNEL));
    xtr_config_free(&config);
}

Test(xtr_config, the_data_plane_is_chosen_by_name)
{
    cr_assert(eq(int, load("dataplane: null\n"), 0), "%s", why);
    cr_assert(eq(int, config.plane, XTR_PLANE_NULL));
    xtr_config_free(&config);
    cr_assert(eq(int, load("dataplane: kernel\n"), 0), "%s", why);
    cr_assert(eq(int, config.plane, XTR_PLANE_KERNEL));
    xtr_config_free(&config);
    cr_assert(eq(int, load("dataplane: ovs\n"), 0), "%s", why);
    cr_assert(eq(int, config.plane, XTR_PLANE_OVS));
    xtr_config_free(&config);
    refused("dataplane: none\n", "kernel");
}

Test(xtr_config, open_vswitch_is_where_debian_has_it)
{
    cr_assert(eq(int, load("dataplane: ovs\n"), 0), "%s", why);
    cr_assert(eq(str, config.ovs_bridge, "br-int"));
    cr_assert(eq(str, config.ovs_db, "unix:/run/openvswitch/db.sock"));
    cr_assert(eq(str, config.ovs_run_dir, "/run/openvswitch"));
    cr_assert(config.ovs_datapath_type == NULL);
    cr_assert(not(config.has_ovs_ports));
    xtr_config_free(&config);
    cr_assert(eq(int, load("ovs: {datapath_type: netdev, ports: true}\n"), 0), "%s", why);
    cr_assert(eq(str, config.ovs_datapath_type, "netdev"));
    cr_assert(config.has_ovs_ports);
    xtr_config_free(&config);
    refused("ovs: {db: \"10.0.0.1:6640\"}\n", "expected unix:PATH");
    refused("ovs: {datapath_type: dpdk}\n", "expected system or netdev");
}

Test(xtr_config, a_port_of_the_file_becomes_a_wish)
{
    cr_assert(eq(int,
                 load("node_id: h1\n"
                      "networks: [{name: blue, segmentation_id: 77}]\n"
                      "ports:\n"
                      "- {id: p1, network: blue, device: tap0, mac: '02:00:00:00:00:01',\n"
                      "   ips: [10.0.0.1, '2001:db8::1'], priority: 2, multihomed: true}\n"),
                 0),
              "%s", why);
    struct em_eid eids[XTR_PORT_EIDS];
    struct xtr_wish wish;
    char sentence[EM_ADDR_WHY], text[EM_EID_TEXT];
    cr_assert(eq(int, xtr_static_wish(&config.ports[0], eids, &wish, sentence), 0));
    cr_assert(eq(sz, wish.n_eids, 3));
    cr_assert(eq(str, em_eid_format(&eids[0], text), "02:00:00:00:00:01"));
    cr_assert(eq(str, em_eid_format(&eids[1], text), "10.0.0.1"));
    cr_assert(eq(str, em_eid_format(&eids[2], text), "2001:db8::1"));
    cr_assert(wish.priority == 2 && wish.is_multihomed && wish.source == XTR_SOURCE_CONFIG);
    cr_assert(eq(u32, xtr_config_segment(&config, "blue"), 77));
    cr_assert(eq(u32, xtr_config_segment(&config, "red"), 0));
    xtr_config_free(&config);
}

Test(xtr_config, a_watch_has_its_defaults)
{
    cr_assert(
        eq(int, load("node_id: h1\nwatch: [{network: blue}, {network: red, idle: 30s}]\n"), 0),
        "%s", why);
    const struct xtr_config_watch *w = config.watches;
    cr_assert(eq(sz, config.n_watches, 2));
    cr_assert(eq(str, w->devices, "*"));
    cr_assert(w->idle_ms == 300000 && w->max_ports == 256 && !w->takes_any);
    cr_assert(eq(u64, w[1].idle_ms, 30000));
    xtr_config_free(&config);
    cr_assert(eq(int,
                 load("node_id: h1\nwatch: [{network: blue, devices: 'vnet*', max_ports: 8, "
                      "take_over: any}]\n"),
                 0),
              "%s", why);
    w = config.watches;
    cr_assert(eq(str, w->devices, "vnet*"));
    cr_assert(w->max_ports == 8 && w->takes_any);
    xtr_config_free(&config);
}

Test(xtr_config, faults_are_told_with_their_key)
{
    refused("watch: [{devices: '*'}]\n", "network");
    refused("watch: [{network: blue, take_over: all}]\n", "take_over");
    refused("watch: [{network: blue, max_ports: 0}]\n", "max_ports");
    refused("watch: [{network: blue}, {network: blue}]\n", "watch[1].network");
    refused("node_id: a2345678901234567890123456789012\nwatch: [{network: blue}]\n", "node_id");
    refused("node_id: 'no node'\n", "node_id");
    refused("rloc: [127.0.0.1]\n", "underlay");
    refused("rloc: [192.0.2.1, 192.0.2.2]\n", "one address of each family");
    refused("tls: {ca: /x}\n", "tls.cert");
    refused("servers: ['ftp://x']\n", "servers");
    refused("ports: [{id: p1, network: blue, device: tap0}]\n", "mac");
    refused("ports: [{id: p1, network: blue, device: tap0, mac: 'x'}]\n", "mac");
    refused(
        "ports: [{id: p1, network: blue, device: a-name-too-long-x, mac: '02:00:00:00:00:01'}]\n",
        "device");
    refused("ports:\n- {id: p1, network: b, device: a, mac: '02:00:00:00:00:01'}\n"
            "- {id: p1, network: b, device: c, mac: '02:00:00:00:00:02'}\n",
            "ports[1].id");
    refused("udp_port: 0\n", "udp_port");
    refused("reconcile: 10ms\n", "reconcile");
    refused("no_such_key: 1\n", "no_such_key");
}

static void count(void *aux, const char *key)
{
    strcat(strcat(aux, key), " ");
}

Test(xtr_config, a_reload_names_what_needs_a_restart)
{
    char keys[200] = "";
    struct xtr_config old;
    cr_assert(eq(int, load("node_id: h1\nudp_port: 4789\nlog: info\n"), 0));
    old = config;
    cr_assert(eq(int, load("node_id: h1\nudp_port: 8472\nlog: debug\n"), 0));
    xtr_config_restarts(&old, &config, count, keys);
    cr_assert(eq(str, keys, "udp_port "));
    xtr_config_free(&old);
    xtr_config_free(&config);
}

Test(xtr_config, rlocs_are_the_configured_ones_with_ipv4_first)
{
    struct em_ip ips[2];
    size_t n;
    cr_assert(eq(int, load("rloc: ['2001:db8::1', 192.0.2.1]\n"), 0));
    cr_assert(eq(int, xtr_rloc_find(&config, ips, &n, &why), 0));
    cr_assert(eq(sz, n, 2));
    cr_assert(eq(u8, ips[0].size, 4));
    cr_assert(eq(u8, ips[1].size, 16));
    xtr_config_free(&config);
}

Test(xtr_config, a_local_server_tells_no_rloc)
{
    struct em_ip ips[2] = {0};
    size_t n;
    cr_assert(eq(int, load("servers: ['unix:/run/x.sock']\n"), 0));
    cr_assert(ne(int, xtr_rloc_find(&config, ips, &n, &why), 0));
    cr_assert(strstr(why, "set rloc") != NULL, "%s", why);
    free(why);
    xtr_config_free(&config);
    cr_assert(eq(int, load("servers: ['tcp://127.0.0.1:4342']\n"), 0));
    cr_assert(ne(int, xtr_rloc_find(&config, ips, &n, &why), 0), "loopback is no underlay");
    free(why);
    xtr_config_free(&config);
}
