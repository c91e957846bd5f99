/* How long it takes from the attach of a port on one hypervisor until the kernel of another
 * one has its entries: the way through both agents and the map server, with its disk.
 *
 *     +--------------------- namespace s: mapserver, bridge 10.99.0.10 ----------------+
 *     |                                                                                |
 *   namespace a: xtr, 10.99.0.1, devices t0 ..                namespace b: xtr, 10.99.0.2
 *   a port is attached through a's control socket             rtnetlink tells of FDB and
 *                                                             neighbour entries
 *
 * A port counts as installed when b's kernel has told of both the vxlan device's FDB entry
 * and the neighbour entry. */
#include "base/mem.h"
#include "bench.h"
#include "client/request.h"
#include "hosts.h"
#include "server/caller.h"
#include "server/numbered.h"
#include "wire/convert.h"

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef NDA_NH_ID
#define NDA_NH_ID 13 /* Linux 5.8 */
#endif

#define SERVER_URL "tls://10.99.0.10:4342"
#define NETWORK    "bench"
#define LIMIT_MS   15000
#define SKIPPED    77

/* ---- the scene ------------------------------------------------------------------------- */

static struct real_server server;
static struct hosts hosts;
static pid_t agents[2];

static void remove_scene(void)
{
    for (int i = 0; i < 2; i++) {
        if (agents[i] <= 0)
            continue;
        kill(agents[i], SIGKILL);
        waitpid(agents[i], NULL, 0);
    }
    real_server_fini(&server);
    hosts_close(&hosts);
}

static void add_devices(unsigned i, unsigned n)
{
    char *path = em_asprintf("%s/devices", server.dir);
    FILE *file = fopen(path, "w");
    if (!file)
        real_fail("%s: %s", path, strerror(errno));
    for (unsigned k = 0; k <= n; k++)
        fprintf(file, "link add t%u type veth peer name p%u\n", k, k);
    fclose(file);
    bench_run("ip -n %s -batch %s", hosts.names[i], path);
    free(path);
}

static void make_scene(const struct bench *bench)
{
    struct caller caller;
    real_server_init(&server, NULL);
    atexit(remove_scene);
    hosts_open(&hosts);
    hosts_add(&hosts);
    hosts_add(&hosts);
    add_devices(1, bench->n_times);
    add_devices(2, 0);
    server.program = bench->mapserver;
    server.netns = hosts.names[0];
    snprintf(server.tls_url, sizeof(server.tls_url), SERVER_URL);
    real_server_configure(&server, NULL);
    real_server_start(&server);
    caller_open(&caller, server.unix_url, NULL);
    if (caller_put_network(&caller, NETWORK))
        real_fail("network: %s", caller.message);
    caller_close(&caller);
    for (int i = 0; i < 2; i++)
        agents[i] =
            hosts_start_agent(&hosts, (unsigned)i + 1, bench->xtr, &server, "[" SERVER_URL "]", "");
}

/* ---- b's kernel -------------------------------------------------------------------------- */

/* An rtnetlink socket stays in the namespace in which it was made. */
static int watch_neighbours(unsigned i)
{
    const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_NEIGH};
    char path[64];
    int size = 1 << 20;
    snprintf(path, sizeof(path), "/run/netns/%s", hosts.names[i]);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (there < 0 || here < 0 || setns(there, CLONE_NEWNET))
        real_fail("%s: %s", path, strerror(errno));
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) ||
        setns(here, CLONE_NEWNET))
        real_fail("rtnetlink: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    close(there);
    close(here);
    return fd;
}

/* One attach under way. */
struct install {
    struct em_call *call; /* to a */
    const struct numbered_port *port;
    uint64_t start_ns, installed_ns; /* a has said so; 0: not yet */
    uint64_t fdb_ns, neighbour_ns;   /* b's kernel has told; 0: not yet */
};

static void check_done(struct install *install)
{
    if (install->installed_ns && install->fdb_ns && install->neighbour_ns)
        em_call_done(install->call);
}

static bool holds(const struct rtattr *attr, const struct em_eid *eid)
{
    return attr && RTA_PAYLOAD(attr) == eid->size &&
           memcmp(RTA_DATA(attr), eid->addr, eid->size) == 0;
}

static void on_neighbour(struct install *install, const struct nlmsghdr *header)
{
    struct ndmsg *message = NLMSG_DATA(header);
    struct rtattr *attrs[NDA_NH_ID + 1] = {NULL};
    int size = (int)(header->nlmsg_len - NLMSG_LENGTH(sizeof(*message)));
    for (struct rtattr *attr = (struct rtattr *)(message + 1); RTA_OK(attr, size);
         attr = RTA_NEXT(attr, size))
        if (attr->rta_type <= NDA_NH_ID)
            attrs[attr->rta_type] = attr;
    const struct em_eid *mac = &install->port->eids[0], *ip = &install->port->eids[1];
    if (!holds(attrs[NDA_LLADDR], mac))
        return;
    uint64_t now = bench_now_ns();
    if (message->ndm_family == AF_BRIDGE && (attrs[NDA_NH_ID] || attrs[NDA_DST]))
        install->fdb_ns = install->fdb_ns ? install->fdb_ns : now;
    else if (message->ndm_family == AF_INET && holds(attrs[NDA_DST], ip))
        install->neighbour_ns = install->neighbour_ns ? install->neighbour_ns : now;
    check_done(install);
}

static void on_netlink(struct ev_loop *loop, ev_io *w, int revents)
{
    struct install *install = w->data;
    _Alignas(struct nlmsghdr) char bytes[16384];
    ssize_t n;
    while ((n = recv(w->fd, bytes, sizeof(bytes), 0)) > 0) {
        unsigned left = (unsigned)n;
        for (struct nlmsghdr *header = (struct nlmsghdr *)bytes; NLMSG_OK(header, left);
             header = NLMSG_NEXT(header, left))
            if (header->nlmsg_type == RTM_NEWNEIGH)
                on_neighbour(install, header);
    }
}

/* ---- attaching ------------------------------------------------------------------------------ */

static void on_attached(void *aux, int err, const Eidmap__Envelope *reply)
{
    struct install *install = aux;
    if (err)
        real_fail("attach: %s", em_strerror(err));
    if (reply->body_case != EIDMAP__ENVELOPE__BODY_XTR_ATTACH_REPLY)
        real_fail("attach: %s", reply->body_case == EIDMAP__ENVELOPE__BODY_ERROR
                                    ? reply->error->message
                                    : "an answer to something else");
    if (reply->xtr_attach_reply->port->phase != EIDMAP__PORT_PHASE__PHASE_INSTALLED)
        real_fail("attach: not installed: %s", reply->xtr_attach_reply->port->problem);
    install->installed_ns = bench_now_ns();
    check_done(install);
}

static void attach(struct install *install, unsigned device)
{
    struct em_arena arena;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__XtrAttach body = EIDMAP__XTR_ATTACH__INIT;
    Eidmap__LocalPort port = EIDMAP__LOCAL_PORT__INIT;
    Eidmap__Eid *eids[2];
    char name[16];
    em_arena_init(&arena, 0);
    for (int i = 0; i < 2; i++)
        eids[i] = em_eid_to_msg(&arena, &install->port->eids[i]);
    snprintf(name, sizeof(name), "t%u", device);
    port.id =
        (ProtobufCBinaryData){install->port->port.id.size, (uint8_t *)install->port->port.id.bytes};
    port.network_name = (char *)NETWORK;
    port.eids = eids;
    port.n_eids = 2;
    port.device = name;
    body.port = &port;
    body.wait = true;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_XTR_ATTACH;
    envelope.xtr_attach = &body;
    install->start_ns = bench_now_ns();
    int64_t id =
        em_client_send(em_call_client(install->call), &envelope, false, on_attached, install);
    em_arena_fini(&arena);
    if (id < 0 || em_call_wait(install->call, LIMIT_MS))
        real_fail("port %u: installed on a: %s, FDB entry on b: %s, neighbour on b: %s", device,
                  install->installed_ns ? "yes" : "no", install->fdb_ns ? "yes" : "no",
                  install->neighbour_ns ? "yes" : "no");
}

static struct em_call *open_agent(int i)
{
    char *url = em_asprintf("unix:%s/%c.sock", server.dir, 'a' + i);
    const char *servers[] = {url};
    const struct em_client_config config = {
        .servers = servers, .n_servers = 1, .timeout_ms = LIMIT_MS};
    struct em_call *call = NULL;
    uint64_t end = bench_now_ns() + LIMIT_MS * 1000000ull;
    while (!call) {
        char *why = NULL;
        if (em_call_open(&config, &call, &why) && bench_now_ns() > end) {
            bench_run("cat %s/%c.log >&2", server.dir, 'a' + i);
            real_fail("%s: %s", url, why);
        }
        free(why);
        if (!call)
            usleep(10000);
    }
    free(url);
    return call;
}

/* b takes part in the network when it has a port there itself. */
static void attach_to_b(void)
{
    struct numbered_port port;
    numbered_port_init(&port, 0, 1, NULL);
    struct install install = {.call = open_agent(1), .port = &port, .fdb_ns = 1, .neighbour_ns = 1};
    attach(&install, 0);
    em_call_close(install.call);
}

int main(int argc, char **argv)
{
    struct bench bench =
        bench_parse(argc, argv, "install", "from an attach to the kernel of another host");
    struct hist *remote = em_calloc(1, sizeof(*remote)), *local = em_calloc(1, sizeof(*local));
    if (geteuid() != 0) {
        puts("skipped: only root can make network namespaces");
        return SKIPPED;
    }
    make_scene(&bench);
    attach_to_b();
    struct em_call *call = open_agent(0);
    ev_io io;
    ev_io_init(&io, on_netlink, watch_neighbours(2), EV_READ);
    ev_io_start(em_call_loop(call), &io);
    for (unsigned i = 0; i <= bench.n_times; i++) {
        struct numbered_port port;
        struct install install = {.call = call, .port = &port};
        numbered_port_init(&port, 0, 2 + i, NULL);
        io.data = &install;
        attach(&install, i);
        uint64_t end =
            install.fdb_ns > install.neighbour_ns ? install.fdb_ns : install.neighbour_ns;
        if (i == 0)
            continue; /* the first one makes the devices on a */
        hist_add(remote, end - install.start_ns);
        hist_add(local, install.installed_ns - install.start_ns);
    }
    bench_figure(&bench, "times", bench.n_times, "", "ports, one after the other");
    bench_latency(&bench, "remote", remote, 0,
                  "attach on a until b's kernel has FDB and neighbour");
    bench_latency(&bench, "local", local, 0, "attach on a until a says that it is installed");
    em_call_close(call);
    close(io.fd);
    free(remote);
    free(local);
    return 0;
}
