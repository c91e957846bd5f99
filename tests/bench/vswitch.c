#include "vswitch.h"

#include "base/clock.h"
#include "bench.h"
#include "ovs/ofconn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SCHEMA    "/usr/share/openvswitch/vswitch.ovsschema"
#define START_MS  20000
#define MAX_ARGS  16
#define READ_SIZE 65536
#define AGGREGATE 2  /* OFPMP_AGGREGATE: asked for as flows are, OpenFlow 1.4, section 7.3.5.3 */
#define MONITOR   16 /* OFPMP_FLOW_MONITOR, section 7.3.5.17 */

bool vswitch_is_there(void)
{
    return access(SCHEMA, R_OK) == 0 && access("/dev/net/tun", R_OK | W_OK) == 0;
}

pid_t vswitch_spawn(const struct vswitch *vswitch, const char *name, const char *const *args)
{
    char ovs[96], ovn[96], log[96];
    const char *all[MAX_ARGS + 6] = {"/usr/bin/env", "PATH=/usr/sbin:/usr/bin", ovs, ovn};
    snprintf(ovs, sizeof(ovs), "OVS_RUNDIR=%s", vswitch->dir);
    snprintf(ovn, sizeof(ovn), "OVN_RUNDIR=%s", vswitch->dir);
    snprintf(log, sizeof(log), "%s/%s.log", vswitch->dir, name);
    for (size_t i = 0; args[i] && i < MAX_ARGS; i++)
        all[4 + i] = args[i];
    return real_spawn((char *const *)all, vswitch->netns, log);
}

void vswitch_await(const struct vswitch *vswitch, const char *name)
{
    char path[128];
    struct stat unused;
    uint64_t end = em_now_ms() + START_MS;
    snprintf(path, sizeof(path), "%s/%s", vswitch->dir, name);
    while (stat(path, &unused)) {
        if (em_now_ms() > end)
            real_fail("%s does not appear", path);
        usleep(5000);
    }
}

void vswitch_start(struct vswitch *ret_vswitch, const char *dir, const char *netns)
{
    struct vswitch *vswitch = ret_vswitch;
    char database[96], remote[112], control[96];
    *vswitch = (struct vswitch){.netns = netns};
    snprintf(vswitch->dir, sizeof(vswitch->dir), "%s", dir);
    snprintf(vswitch->remote, sizeof(vswitch->remote), "unix:%s/db.sock", dir);
    snprintf(database, sizeof(database), "%s/conf.db", dir);
    snprintf(remote, sizeof(remote), "--remote=p%s", vswitch->remote);
    snprintf(control, sizeof(control), "--unixctl=%s/server.ctl", dir);
    bench_run("mkdir %s && ovsdb-tool create %s " SCHEMA, dir, database);
    const char *const server[] = {"ovsdb-server", database,         remote, control,
                                  "-vsyslog:off", "-vconsole:warn", NULL};
    vswitch->server = vswitch_spawn(vswitch, "ovsdb-server", server);
    vswitch_await(vswitch, "db.sock");
    bench_run("ovs-vsctl --db=%s --no-wait init", vswitch->remote);
    snprintf(control, sizeof(control), "--unixctl=%s/vswitchd.ctl", dir);
    const char *const daemon[] = {"ovs-vswitchd", vswitch->remote, control, "--enable-dummy=system",
                                  "-vsyslog:off", "-vconsole:err", NULL};
    vswitch->daemon = vswitch_spawn(vswitch, "vswitchd", daemon);
    vswitch_await(vswitch, "vswitchd.ctl");
}

void vswitch_stop(struct vswitch *vswitch)
{
    pid_t *pids[] = {&vswitch->daemon, &vswitch->server};
    for (size_t i = 0; i < 2; i++) {
        if (*pids[i] <= 0)
            continue;
        kill(*pids[i], SIGKILL);
        waitpid(*pids[i], NULL, 0);
        *pids[i] = 0;
    }
    real_remove_tree(vswitch->dir);
}

double vswitch_cpu_us(const struct vswitch *vswitch)
{
    char path[48];
    unsigned long long ns = 0;
    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)vswitch->daemon);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%llu", &ns) != 1)
        real_fail("%s: %s", path, strerror(errno));
    fclose(file);
    return (double)ns / 1e3;
}

/* ---- OpenFlow ---- */

static uint64_t last_count, last_change_ns;

static void on_message(void *aux, const struct of_message *message)
{
    uint16_t type, code;
    if (of_parse_error(message, &type, &code))
        real_fail("the switch refuses a request: type %u, code %u", type, code);
    if (message->type == OF_MULTIPART_REPLY && message->data[9] == MONITOR)
        last_change_ns = bench_now_ns();
    if (message->type == OF_MULTIPART_REPLY && message->data[9] == AGGREGATE && message->size >= 36)
        last_count = (uint64_t)message->data[32] << 24 | (uint64_t)message->data[33] << 16 |
                     (uint64_t)message->data[34] << 8 | message->data[35];
}

struct of_conn *vswitch_connect(const struct vswitch *vswitch)
{
    char path[96];
    struct of_conn *conn;
    uint64_t end = em_now_ms() + START_MS;
    int r;
    snprintf(path, sizeof(path), "%s/br-int.mgmt", vswitch->dir);
    while ((r = of_connect(path, on_message, NULL, &conn))) {
        if (em_now_ms() > end)
            real_fail("%s: %s", path, strerror(-r));
        usleep(5000);
    }
    return conn;
}

uint64_t vswitch_count(struct of_conn *conn, uint8_t table, uint32_t group)
{
    uint32_t xid = of_xid(conn), group_be = htonl(group);
    size_t at = em_buf_size(of_out(conn));
    of_put_flow_dump(of_out(conn), xid, table, 0, 0, NULL);
    em_buf_head(of_out(conn))[at + 9] = AGGREGATE;
    memcpy(em_buf_head(of_out(conn)) + at + 24, &group_be, sizeof(group_be));
    if (of_wait(conn, xid))
        real_fail("the switch does not answer");
    return last_count;
}

void vswitch_watch(struct of_conn *conn, uint8_t table)
{
    enum { SIZE = 40, ADD = 1 << 1, REMOVED = 1 << 2, MODIFY = 1 << 3 };
    uint8_t message[SIZE] = {
        OF_VERSION,    OF_MULTIPART_REQUEST,          [3] = SIZE,
        [9] = MONITOR, [29] = ADD | REMOVED | MODIFY, [30] = table,
        [33] = 1, /* an empty OXM match of four bytes */
        [35] = 4,
    };
    uint32_t xid_be = htonl(of_xid(conn));
    memcpy(message + 4, &xid_be, sizeof(xid_be));
    memset(message + 20, 0xff, 8); /* any port, any group */
    em_buf_append(of_out(conn), message, SIZE);
    if (of_barrier(conn))
        real_fail("the switch does not answer");
}

uint64_t vswitch_await_change(struct of_conn *conn, int ms)
{
    struct pollfd fd = {.fd = of_fd(conn), .events = POLLIN};
    last_change_ns = 0;
    if (poll(&fd, 1, ms) > 0 && of_receive(conn, READ_SIZE) < 0)
        real_fail("the switch has closed a connection");
    return last_change_ns;
}
