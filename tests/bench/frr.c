#include "frr.h"

#include "base/mem.h"
#include "bare.h"
#include "bench.h"

#include <errno.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DAEMONS   "/usr/lib/frr"
#define REFLECTOR "10.99.0.10"
#define START_MS  20000
#define BUFFER    "90000000" /* of zebra's netlink socket, as Debian's own configuration has it */

bool frr_is_there(void)
{
    return access(DAEMONS "/zebra", X_OK) == 0 && access(DAEMONS "/bgpd", X_OK) == 0 &&
           access("/usr/bin/vtysh", X_OK) == 0;
}

/* ---- configuration ---- */

static void write_host(const struct frr *frr, unsigned i)
{
    char *path = em_asprintf("%s/%u.conf", frr->dir, i);
    FILE *file = fopen(path, "w");
    if (!file)
        real_fail("%s: %s", path, strerror(errno));
    fprintf(file,
            "router bgp 65000\n bgp router-id 10.99.0.%u\n no bgp default ipv4-unicast\n"
            " neighbor " REFLECTOR " remote-as 65000\n address-family l2vpn evpn\n"
            "  neighbor " REFLECTOR " activate\n  advertise-all-vni\n exit-address-family\n",
            i);
    fclose(file);
    free(path);
}

static void write_reflector(const struct frr *frr)
{
    char *path = em_asprintf("%s/0.conf", frr->dir);
    FILE *file = fopen(path, "w");
    if (!file)
        real_fail("%s: %s", path, strerror(errno));
    fprintf(file, "router bgp 65000\n bgp router-id " REFLECTOR "\n no bgp default ipv4-unicast\n");
    for (unsigned i = 1; i < FRR_HOSTS; i++)
        fprintf(file, " neighbor 10.99.0.%u remote-as 65000\n", i);
    fprintf(file, " address-family l2vpn evpn\n");
    for (unsigned i = 1; i < FRR_HOSTS; i++)
        fprintf(file,
                "  neighbor 10.99.0.%u activate\n  neighbor 10.99.0.%u route-reflector-client\n", i,
                i);
    fprintf(file, " exit-address-family\n");
    fclose(file);
    free(path);
}

static void add_network(const struct frr *frr, unsigned i)
{
    const char *netns = frr->hosts->names[i];
    bench_run("ip -n %s link add br100 type bridge && ip -n %s link add vx100 type vxlan id 100 "
              "dstport 4789 local 10.99.0.%u nolearning && ip -n %s link set vx100 master br100 up "
              "&& ip -n %s link set br100 up && bridge -n %s link set dev vx100 neigh_suppress on "
              "learning off",
              netns, netns, i, netns, netns, netns);
    bench_run("ip -n %s link add t0 type veth peer name p0 && ip -n %s link set t0 master br100 up "
              "&& ip -n %s link set p0 up",
              netns, netns, netns);
}

/* ---- daemons ---- */

static pid_t spawn(const struct frr *frr, unsigned i, const char *name, const char *config)
{
    char *program = em_asprintf(DAEMONS "/%s", name), *run = em_asprintf("%s/%u", frr->dir, i);
    char *zserv = em_asprintf("%s/zserv.api", run), *log = em_asprintf("%s.%s.log", run, name);
    char *pid_file = em_asprintf("%s/%s.pid", run, name);
    const char *argv[] = {
        program, "-u",     "frr",         "-g",           "frr",
        "-z",    zserv,    "-i",          pid_file,       "-f",
        config,  "-P",     "0",           "--vty_socket", run,
        "--log", "stdout", "--log-level", "warn",         strcmp(name, "zebra") == 0 ? "-s" : NULL,
        BUFFER,  NULL};
    pid_t pid = real_spawn((char *const *)argv, frr->hosts->names[i], log);
    free(program);
    free(run);
    free(zserv);
    free(log);
    free(pid_file);
    return pid;
}

static void await(const struct frr *frr, const char *what, const char *command)
{
    uint64_t end = bench_now_ns() + START_MS * 1000000ull;
    while (system(command)) {
        if (bench_now_ns() > end) {
            bench_run("cat %s/*.log >&2", frr->dir);
            real_fail("FRR: %s after %d s", what, START_MS / 1000);
        }
        usleep(100000);
    }
}

static void start_daemons(struct frr *frr, unsigned i)
{
    char *config = em_asprintf("%s/%u.conf", frr->dir, i);
    char *command = em_asprintf("test -S %s/%u/zserv.api", frr->dir, i);
    bench_run("mkdir %s/%u && chown frr:frr %s/%u %s", frr->dir, i, frr->dir, i, config);
    frr->zebra[i] = spawn(frr, i, "zebra", "/dev/null");
    await(frr, "zebra does not listen", command);
    frr->bgpd[i] = spawn(frr, i, "bgpd", config);
    free(command);
    free(config);
}

void frr_start(struct frr *ret_frr, const struct hosts *hosts)
{
    struct frr *frr = ret_frr;
    *frr = (struct frr){.hosts = hosts};
    snprintf(frr->dir, sizeof(frr->dir), "/tmp/frr-XXXXXX"); /* the user frr gets there */
    if (!mkdtemp(frr->dir) || chmod(frr->dir, 0755))
        real_fail("%s: %s", frr->dir, strerror(errno));
    write_reflector(frr);
    for (unsigned i = 1; i < FRR_HOSTS; i++) {
        write_host(frr, i);
        add_network(frr, i);
    }
    for (unsigned i = 0; i < FRR_HOSTS; i++)
        start_daemons(frr, i);
    char *command = em_asprintf("vtysh --vty_socket %s/2 -c 'show evpn vni 100' 2>&1 | "
                                "grep -q '10.99.0.1 flood'",
                                frr->dir);
    await(frr, "host b does not know host a", command);
    free(command);
}

uint64_t frr_attach(const struct frr *frr, uint32_t first, uint32_t n)
{
    int home = hosts_enter(frr->hosts->names[1]);
    uint64_t start = bare_learn(if_nametoindex("t0"), if_nametoindex("br100"), first, n);
    hosts_leave(home);
    return start;
}

static void end(pid_t *pid)
{
    if (*pid <= 0)
        return;
    kill(*pid, SIGKILL);
    waitpid(*pid, NULL, 0);
    *pid = 0;
}

uint64_t frr_kill(struct frr *frr)
{
    uint64_t start = bench_now_ns();
    end(&frr->bgpd[1]);
    return start;
}

void frr_stop(struct frr *frr)
{
    for (unsigned i = 0; i < FRR_HOSTS; i++) {
        end(&frr->bgpd[i]);
        end(&frr->zebra[i]);
    }
    if (frr->dir[0])
        real_remove_tree(frr->dir);
    *frr = (struct frr){.hosts = NULL};
}
