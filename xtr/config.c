/* One table describes the file; xtr --help prints it. */
#include "config.h"

#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "eidmap/addr.h"
#include "net/socket.h"
#include "resolver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct em_config_choice log_levels[] = {
    {"info", EM_LOG_INFO},
    {"error", EM_LOG_ERROR},
    {"warn", EM_LOG_WARN},
    {"debug", EM_LOG_DEBUG},
    {0},
};

static const struct em_config_choice planes[] = {
    {"kernel", XTR_PLANE_KERNEL},
    {"ovs", XTR_PLANE_OVS},
    {"null", XTR_PLANE_NULL},
    {0},
};

static const struct em_config_choice encaps[] = {
    {"vxlan", EM_ENCAP_VXLAN},
    {"geneve", EM_ENCAP_GENEVE},
    {"gre", EM_ENCAP_GRE},
    {0},
};

static const struct em_config_choice port_securities[] = {{"on", 0}, {"off", 1}, {0}};

static int check_ident(const char *text, char *why)
{
    return em_ident_check(text, why);
}

static int check_server(const char *text, char *why)
{
    struct em_address address;
    return em_address_parse(text, &address, why);
}

static int check_rloc(const char *text, char *why)
{
    struct em_ip ip;
    int r = em_ip_parse(text, &ip, why);
    if (!r && !em_ip_is_usable(ip.addr, ip.size)) {
        snprintf(why, EM_CONFIG_WHY, "expected a unicast address of the underlay, got \"%.46s\"",
                 text);
        r = -EINVAL;
    }
    return r;
}

static int check_ovs_db(const char *text, char *why)
{
    struct em_address address;
    int r = em_address_parse(text, &address, why);
    if (!r && address.transport != EM_UNIX) {
        snprintf(why, EM_CONFIG_WHY, "expected unix:PATH, got \"%.80s\"", text);
        r = -EINVAL;
    }
    return r;
}

static int check_datapath_type(const char *text, char *why)
{
    if (!strcmp(text, "system") || !strcmp(text, "netdev"))
        return 0;
    snprintf(why, EM_CONFIG_WHY, "expected system or netdev, got \"%.80s\"", text);
    return -EINVAL;
}

static int check_port_id(const char *text, char *why)
{
    struct em_port_id id;
    return em_port_id_parse(text, &id, why);
}

static int check_mac(const char *text, char *why)
{
    uint8_t mac[EM_MAC_SIZE];
    return em_mac_parse(text, mac, why);
}

static int check_ip(const char *text, char *why)
{
    struct em_ip ip;
    return em_ip_parse(text, &ip, why);
}

#define NETWORK(member) EM_CONFIG_AT(struct xtr_config_network, member)
#define PORT(member)    EM_CONFIG_AT(struct xtr_config_port, member)
#define WATCH(member)   EM_CONFIG_AT(struct xtr_config_watch, member)
#define CONF(member)    EM_CONFIG_AT(struct xtr_config, member)

static const struct em_config_option network_options[] = {
    {"name", EM_CONFIG_STRING, NETWORK(name), .is_required = true, .check = check_ident,
     .help = "Name of the network in the map."},
    {"segmentation_id", EM_CONFIG_UINT, NETWORK(segmentation_id), .is_required = true, .min = 1,
     .max = EM_SEGMENT_MAX, .help = "VNI that this node receives on, in place of the network's."},
};
static const struct em_config_table network_table =
    EM_CONFIG_TABLE(struct xtr_config_network, network_options);

static const struct em_config_option port_options[] = {
    {"id", EM_CONFIG_STRING, PORT(id), .is_required = true, .check = check_port_id,
     .help = "Port-id: a UUID or any text of 1 to 63 bytes."},
    {"network", EM_CONFIG_STRING, PORT(network), .is_required = true, .check = check_ident,
     .help = "Name of its network."},
    {"device", EM_CONFIG_STRING, PORT(device), .is_required = true, .max = 15,
     .help = "Network device of the port on this host."},
    {"mac", EM_CONFIG_STRING, PORT(mac), .check = check_mac, .help = "Its MAC address."},
    {"macs", EM_CONFIG_STRINGS, EM_CONFIG_LIST_AT(struct xtr_config_port, macs, n_macs), .max = 32,
     .check = check_mac, .help = "Its MAC addresses, where it has several."},
    {"ips", EM_CONFIG_STRINGS, EM_CONFIG_LIST_AT(struct xtr_config_port, ips, n_ips), .max = 31,
     .check = check_ip, .help = "Its IPv4 and IPv6 addresses."},
    {"priority", EM_CONFIG_UINT, PORT(priority), .max = 255,
     .help = "Of this location; the lowest is used, 255 never."},
    {"weight", EM_CONFIG_UINT, PORT(weight), .max = 255,
     .help = "Share among locations of equal priority."},
    {"multihomed", EM_CONFIG_BOOL, PORT(is_multihomed),
     .help = "Registered beside the port's other locations."},
};
static const struct em_config_table port_table =
    EM_CONFIG_TABLE(struct xtr_config_port, port_options);

static const struct em_config_choice takeovers[] = {{"automatic", 0}, {"any", 1}, {0}};

static const struct em_config_option watch_options[] = {
    {"network", EM_CONFIG_STRING, WATCH(network), .is_required = true, .check = check_ident,
     .help = "Name of the network, whose bridge is made even without a port."},
    {"devices", EM_CONFIG_STRING, WATCH(devices), .fallback = "*", .max = 63,
     .help = "Devices on the bridge whose guests become ports, as a pattern (vnet*)."},
    {"idle", EM_CONFIG_DURATION, WATCH(idle_ms), .fallback = "5m", .min = 1000, .max = 604800000,
     .help = "A guest that has been silent for so long is no port any more."},
    {"max_ports", EM_CONFIG_UINT, WATCH(max_ports), .fallback = "256", .min = 1, .max = 4096,
     .help = "So many guests at most; more are left out, and the log says so."},
    {"take_over", EM_CONFIG_CHOICE, WATCH(takes_any), .choices = takeovers,
     .help = "Whose MAC a guest may bring here from another node: that of an automatic port, or "
             "of any."},
};
static const struct em_config_table watch_table =
    EM_CONFIG_TABLE(struct xtr_config_watch, watch_options);

static const struct em_config_option options[] = {
    {"node_id", EM_CONFIG_STRING, CONF(node_id), .max = 63, .check = check_ident,
     .help = "Name of this node in the map; by default the host's name."},
    {"servers", EM_CONFIG_STRINGS, EM_CONFIG_LIST_AT(struct xtr_config, servers, n_servers),
     .min = 1, .max = 64, .fallback = "unix:/run/eidmap/mapserver.sock", .check = check_server,
     .help = "Map servers: ADDRESS:PORT, tls://ADDRESS:PORT or unix:PATH."},
    {"tls.ca", EM_CONFIG_STRING, CONF(tls_ca), .help = "Certificate of the cluster's CA (PEM)."},
    {"tls.cert", EM_CONFIG_STRING, CONF(tls_cert),
     .help = "This node's certificate, with the URI eidmap://node/ID (PEM)."},
    {"tls.key", EM_CONFIG_STRING, CONF(tls_key), .help = "Its private key (PEM)."},
    {"rloc", EM_CONFIG_STRINGS, EM_CONFIG_LIST_AT(struct xtr_config, rlocs, n_rlocs), .max = 2,
     .check = check_rloc,
     .help = "Underlay addresses, at most one of a family; by default the one that this host uses "
             "towards the first server, whichever that is at the time."},
    {"udp_port", EM_CONFIG_UINT, CONF(udp_port), .fallback = "4789", .min = 1, .max = 65535,
     .help = "UDP port of VXLAN on this node."},
    {"dataplane", EM_CONFIG_CHOICE, CONF(plane), .choices = planes,
     .help = "What forwards on this host: the Linux kernel; ovs, Open vSwitch; or null, which "
             "installs nothing, for monitoring and for measuring."},
    {"encapsulation", EM_CONFIG_CHOICE, CONF(encap), .choices = encaps,
     .help = "That frames to this node are to be sent in; geneve and gre with dataplane: ovs."},
    {"ovs.bridge", EM_CONFIG_STRING, CONF(ovs_bridge), .fallback = "br-int", .max = 15,
     .help = "The bridge that ports are plugged into; it is made if it is not there."},
    {"ovs.db", EM_CONFIG_STRING, CONF(ovs_db), .fallback = "unix:/run/openvswitch/db.sock",
     .max = 112, .check = check_ovs_db, .help = "Where Open vSwitch's database is served."},
    {"ovs.run_dir", EM_CONFIG_STRING, CONF(ovs_run_dir), .fallback = "/run/openvswitch", .max = 80,
     .help = "Where Open vSwitch has the bridge's socket, BRIDGE.mgmt."},
    {"ovs.datapath_type", EM_CONFIG_STRING, CONF(ovs_datapath_type),
     .check = check_datapath_type,
     .help = "Of the bridge: system, that of Linux, or netdev, in userspace; by default as it is, "
             "and system for a new one."},
    {"ovs.port_security", EM_CONFIG_CHOICE, CONF(is_ovs_open), .choices = port_securities,
     .help = "on: a guest sends from the MAC of its port, and if that has addresses, from these; "
             "off: from any."},
    {"ovs.ports", EM_CONFIG_BOOL, CONF(has_ovs_ports),
     .help =
         "Interfaces of the bridge with external_ids:iface-id become ports even where something "
         "else forwards; with dataplane: ovs they do in any case."},
    {"probe_port", EM_CONFIG_UINT, CONF(probe_port), .fallback = "4783", .min = 1, .max = 65535,
     .help = "UDP port of probes, the same on every node; it is answered in any case, and used "
             "for networks that ask for probes."},
    {"control.path", EM_CONFIG_STRING, CONF(control_path), .fallback = "/run/eidmap/xtr.sock",
     .max = 107, .help = "Unix socket for mapctl and for whoever attaches ports."},
    {"control.mode", EM_CONFIG_MODE, CONF(control_mode), .fallback = "0660",
     .help = "Its access mode."},
    {"control.group", EM_CONFIG_STRING, CONF(control_group),
     .help = "Its group, of which the agent's user is a member: with a mode of 0660 its members "
             "may attach ports."},
    {"state_dir", EM_CONFIG_STRING, CONF(state_dir), .fallback = "/var/lib/eidmap/xtr",
     .help = "Where the attached ports and the map-cache are remembered."},
    {"guard.shrink_percent", EM_CONFIG_UINT, CONF(shrink_percent), .fallback = "50", .min = 1,
     .max = 100,
     .help = "A snapshot that lacks more than so many percent of what was known is doubted: what "
             "it lacks is kept until 'mapctl xtr accept', or until another map server shows the "
             "same; 100: never."},
    {"reconcile", EM_CONFIG_DURATION, CONF(reconcile_ms), .fallback = "60s", .min = 1000,
     .max = 86400000,
     .help = "How often the kernel's tables are compared with what they should be, and repaired."},
    {"misses.rate", EM_CONFIG_UINT, CONF(miss_rate), .fallback = "100", .min = 1, .max = 100000,
     .help = "Misses a second that one port may cause in networks with fill: resolve; twice that "
             "in a burst."},
    {"misses.entries", EM_CONFIG_UINT, CONF(miss_entries), .fallback = "8192", .min = 2,
     .max = XTR_FOUND_MAX, .help = "Resolved addresses of one such network at a time."},
    {"misses.idle", EM_CONFIG_DURATION, CONF(miss_idle_ms), .fallback = "10m", .min = 2000,
     .max = 86400000, .help = "Without a frame for so long such an address is forgotten."},
    {"log", EM_CONFIG_CHOICE, CONF(log_level), .choices = log_levels, .is_live = true,
     .help = "What is logged on standard error."},
    {"networks", EM_CONFIG_LIST, EM_CONFIG_LIST_AT(struct xtr_config, networks, n_networks),
     .max = 4096, .item = &network_table, .help = "Networks with a label of this node's own."},
    {"ports", EM_CONFIG_LIST, EM_CONFIG_LIST_AT(struct xtr_config, ports, n_ports), .max = 4096,
     .is_live = true, .item = &port_table, .help = "Ports that are always attached."},
    {"watch", EM_CONFIG_LIST, EM_CONFIG_LIST_AT(struct xtr_config, watches, n_watches), .max = 4096,
     .item = &watch_table, .help = "Networks whose guests become ports when they speak."},
};

static int complain(char *key, char *why, const char *sentence, const char *format, size_t i)
{
    snprintf(key, EM_CONFIG_KEY, format, i);
    snprintf(why, EM_CONFIG_WHY, "%s", sentence);
    return -EINVAL;
}

static int check_watches(const struct xtr_config *c, char *key, char *why)
{
    for (size_t i = 0; i < c->n_watches; i++)
        for (size_t k = 0; k < i; k++)
            if (!strcmp(c->watches[i].network, c->watches[k].network))
                return complain(key, why, "expected another network: this one is there already",
                                "watch[%zu].network", i);
    return 0;
}

static int check_config(const void *conf, char *key, char *why)
{
    const struct xtr_config *c = conf;
    if (!c->tls_ca != !c->tls_cert || !c->tls_cert != !c->tls_key) {
        snprintf(key, EM_CONFIG_KEY, "tls");
        snprintf(why, EM_CONFIG_WHY, "expected all of tls.ca, tls.cert and tls.key, or none");
        return -EINVAL;
    }
    if (c->encap != EM_ENCAP_VXLAN && c->plane != XTR_PLANE_OVS)
        return complain(key, why, "expected vxlan, or dataplane: ovs", "encapsulation", 0);
    struct em_ip a, b;
    if (c->n_rlocs == 2 && !em_ip_parse(c->rlocs[0], &a, NULL) &&
        !em_ip_parse(c->rlocs[1], &b, NULL) && a.size == b.size)
        return complain(key, why, "expected at most one address of each family", "rloc[%zu]", 1);
    for (size_t i = 0; i < c->n_ports; i++) {
        const struct xtr_config_port *p = &c->ports[i];
        if (!p->mac == !p->n_macs)
            return complain(key, why, "expected either mac or macs", "ports[%zu].mac", i);
        for (size_t k = 0; k < i; k++)
            if (!strcmp(p->id, c->ports[k].id))
                return complain(key, why, "expected another port-id: this one is there already",
                                "ports[%zu].id", i);
    }
    return check_watches(c, key, why);
}

static const struct em_config_table table = {
    .options = options,
    .n_options = sizeof options / sizeof options[0],
    .size = sizeof(struct xtr_config),
    .check = check_config,
};

static char *host_name(void)
{
    char name[64];
    if (gethostname(name, sizeof name) || !memchr(name, 0, sizeof name) ||
        em_ident_check(name, NULL))
        return NULL;
    return em_strdup(name);
}

int xtr_config_load(const char *file, struct xtr_config *config, char **ret_why)
{
    struct xtr_config fresh;
    int r = em_config_load(&table, file, &fresh, ret_why);
    if (r)
        return r;
    if (!fresh.node_id)
        fresh.node_id = host_name();
    if (!fresh.node_id) {
        em_config_free(&table, &fresh);
        *ret_why = em_strdup("node_id: the host's name is no valid node-id; set node_id");
        return -EINVAL;
    }
    if (fresh.n_watches && strlen(fresh.node_id) > XTR_WATCH_NODE) {
        em_config_free(&table, &fresh);
        *ret_why = em_strdup("node_id: at most 31 bytes with watch, whose ports are named by it");
        return -EINVAL;
    }
    *config = fresh;
    return 0;
}

void xtr_config_free(struct xtr_config *config)
{
    em_config_free(&table, config);
}

struct visitor {
    void (*visit)(void *aux, const char *key);
    void *aux;
};

static void visit_option(void *aux, const struct em_config_option *option)
{
    const struct visitor *visitor = aux;
    if (!option->is_live)
        visitor->visit(visitor->aux, option->key);
}

void xtr_config_restarts(const struct xtr_config *old_config, const struct xtr_config *new_config,
                         void (*visit)(void *aux, const char *key), void *aux)
{
    struct visitor visitor = {visit, aux};
    em_config_diff(&table, old_config, new_config, visit_option, &visitor);
}

uint32_t xtr_config_segment(const struct xtr_config *config, const char *network)
{
    for (size_t i = 0; i < config->n_networks; i++)
        if (!strcmp(config->networks[i].name, network))
            return config->networks[i].segmentation_id;
    return 0;
}

void xtr_config_print(FILE *out)
{
    em_config_print(&table, out);
}
