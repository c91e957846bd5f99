#include "ovn.h"

#include "base/buf.h"
#include "bench.h"
#include "eidmap/addr.h"
#include "server/numbered.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NB_SCHEMA "/usr/share/ovn/ovn-nb.ovsschema"
#define SB_SCHEMA "/usr/share/ovn/ovn-sb.ovsschema"
#define REMOTE    "10.99.0.10:6642"
#define A_COMMAND 400 /* ports: an argument has at most 128 KiB */

bool ovn_is_there(void)
{
    return access(NB_SCHEMA, R_OK) == 0 && access("/usr/bin/ovn-northd", X_OK) == 0 &&
           access("/usr/bin/ovn-controller", X_OK) == 0;
}

static pid_t start_database(const struct ovn *ovn, const char *name, const char *schema,
                            const char *remote)
{
    char database[96], local[112], control[112], socket[16];
    const char *dir = ovn->central.dir;
    snprintf(database, sizeof(database), "%s/%s.db", dir, name);
    snprintf(local, sizeof(local), "--remote=punix:%s/%s.sock", dir, name);
    snprintf(control, sizeof(control), "--unixctl=%s/%s.ctl", dir, name);
    snprintf(socket, sizeof(socket), "%s.sock", name);
    bench_run("ovsdb-tool create %s %s", database, schema);
    const char *const args[] = {"ovsdb-server", database,         local,  control,
                                "-vsyslog:off", "-vconsole:warn", remote, NULL};
    pid_t pid = vswitch_spawn(&ovn->central, name, args);
    vswitch_await(&ovn->central, socket);
    return pid;
}

void ovn_start(struct ovn *ret_ovn, const char *dir, const char *netns)
{
    struct ovn *ovn = ret_ovn;
    char nb[112], sb[112], control[112];
    *ovn = (struct ovn){.central.netns = netns};
    snprintf(ovn->central.dir, sizeof(ovn->central.dir), "%s", dir);
    snprintf(nb, sizeof(nb), "--ovnnb-db=unix:%s/nb.sock", dir);
    snprintf(sb, sizeof(sb), "--ovnsb-db=unix:%s/sb.sock", dir);
    snprintf(control, sizeof(control), "--unixctl=%s/northd.ctl", dir);
    bench_run("mkdir %s", dir);
    ovn->nb = start_database(ovn, "nb", NB_SCHEMA, NULL);
    ovn->sb = start_database(ovn, "sb", SB_SCHEMA, "--remote=ptcp:6642:10.99.0.10");
    const char *const args[] = {"ovn-northd",     nb,  sb, control, "-vsyslog:off",
                                "-vconsole:warn", NULL};
    ovn->northd = vswitch_spawn(&ovn->central, "northd", args);
    bench_run("ovn-nbctl --db=unix:%s/nb.sock init", dir);
}

/* A minute until a silent database counts as gone: many ports keep it busy for longer than the
 * usual five seconds. */
void ovn_join(struct ovn *ovn, unsigned i, const struct vswitch *vswitch)
{
    bench_run("ovs-vsctl --db=%s add-br br-int -- set Bridge br-int datapath_type=netdev "
              "fail-mode=secure -- set Open_vSwitch . external_ids:system-id=chassis%u "
              "external_ids:ovn-remote=tcp:" REMOTE " external_ids:ovn-encap-type=geneve "
              "external_ids:ovn-remote-probe-interval=60000 "
              "external_ids:ovn-encap-ip=10.99.0.%u",
              vswitch->remote, i, i + 1);
    const char *const args[] = {"ovn-controller", vswitch->remote, "-vsyslog:off", "-vconsole:warn",
                                NULL};
    ovn->controllers[i] = vswitch_spawn(vswitch, "controller", args);
}

/* ovn-nbctl looks at all ports there are for each that it adds; ovsdb-client does not. */
static void append_port(struct em_buf *ops, struct em_buf *names, uint32_t number)
{
    struct numbered_port port;
    char text[384], name[48], id[EM_PORT_ID_TEXT], mac[EM_MAC_TEXT], ip[EM_IP_TEXT];
    numbered_port_init(&port, 0, number, NULL);
    int n = snprintf(text, sizeof(text),
                     ",{\"op\":\"insert\",\"table\":\"Logical_Switch_Port\",\"uuid-name\":\"p%u\","
                     "\"row\":{\"name\":\"%s\",\"addresses\":\"%s %s\"}}",
                     number, em_port_id_format(port.port.id.bytes, port.port.id.size, id),
                     em_mac_format(port.eids[0].addr, mac), em_ip_format(port.eids[1].addr, 4, ip));
    em_buf_append(ops, text, (size_t)n);
    n = snprintf(name, sizeof(name), "%s[\"named-uuid\",\"p%u\"]", em_buf_size(names) ? "," : "",
                 number);
    em_buf_append(names, name, (size_t)n);
}

static void declare(const struct ovn *ovn, uint32_t first, uint32_t n)
{
    struct em_buf ops, names;
    em_buf_init(&ops);
    em_buf_init(&names);
    for (uint32_t i = 0; i < n; i++)
        append_port(&ops, &names, first + i);
    bench_run("ovsdb-client transact unix:%s/nb.sock '[\"OVN_Northbound\"%.*s,{\"op\":\"mutate\","
              "\"table\":\"Logical_Switch\",\"where\":[],\"mutations\":[[\"ports\",\"insert\","
              "[\"set\",[%.*s]]]]}]' >/dev/null",
              ovn->central.dir, (int)em_buf_size(&ops), (const char *)em_buf_head(&ops),
              (int)em_buf_size(&names), (const char *)em_buf_head(&names));
    em_buf_fini(&ops);
    em_buf_fini(&names);
}

void ovn_declare(struct ovn *ovn, uint32_t n)
{
    bench_run("ovn-nbctl --db=unix:%s/nb.sock ls-add bench", ovn->central.dir);
    for (uint32_t i = 1; i <= n; i += A_COMMAND)
        declare(ovn, i, n - i + 1 < A_COMMAND ? n - i + 1 : A_COMMAND);
    bench_run("ovn-nbctl --db=unix:%s/nb.sock --wait=sb sync", ovn->central.dir);
}

void ovn_sync(const struct ovn *ovn)
{
    bench_run("ovn-nbctl --db=unix:%s/nb.sock --wait=hv sync", ovn->central.dir);
}

void ovn_stop(struct ovn *ovn)
{
    pid_t pids[] = {ovn->controllers[0], ovn->controllers[1], ovn->northd, ovn->sb, ovn->nb};
    for (size_t i = 0; i < sizeof(pids) / sizeof(pids[0]); i++) {
        if (pids[i] <= 0)
            continue;
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    *ovn = (struct ovn){.nb = 0};
}
