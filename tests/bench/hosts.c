#include "hosts.h"

#include "base/mem.h"
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE "/dev/shm/%s" /* of the agent in this namespace */

static const char *add(struct hosts *hosts, char name)
{
    char *netns = hosts->names[hosts->n];
    snprintf(netns, sizeof(hosts->names[0]), "eb%d%c", (int)getpid(), name);
    bench_run("ip netns add %s", netns);
    hosts->n++;
    return netns;
}

void hosts_open(struct hosts *ret_hosts)
{
    *ret_hosts = (struct hosts){.n = 0};
    const char *netns = add(ret_hosts, 's');
    bench_run("ip -n %s link set lo up", netns);
    bench_run("ip -n %s link add br0 type bridge", netns);
    bench_run("ip -n %s address add 10.99.0.10/24 dev br0", netns);
    bench_run("ip -n %s link set br0 up", netns);
}

const char *hosts_add(struct hosts *hosts)
{
    unsigned number = hosts->n;
    char name = (char)('a' + number - 1);
    const char *netns = add(hosts, name), *servers = hosts->names[0];
    bench_run("ip -n %s link set lo up", netns);
    bench_run("ip -n %s link add to-%c type veth peer name eth0 netns %s", servers, name, netns);
    bench_run("ip -n %s link set to-%c master br0 up", servers, name);
    bench_run("ip -n %s address add 10.99.0.%u/24 dev eth0", netns, number);
    bench_run("ip -n %s link set eth0 up", netns);
    return netns;
}

void hosts_remove(struct hosts *hosts)
{
    unsigned last = --hosts->n;
    bench_run("ip -n %s link del to-%c", hosts->names[0], (char)('a' + last - 1));
    bench_run("ip netns del %s && rm -rf " STATE, hosts->names[last], hosts->names[last]);
}

pid_t hosts_start_agent(const struct hosts *hosts, unsigned i, const char *xtr,
                        const struct real_server *server, const char *servers, const char *lines)
{
    char name[2] = {(char)('a' + i - 1), '\0'}, config[96], log[96];
    const char *dir = server->dir, *pki = server->pki;
    snprintf(config, sizeof(config), "%s/%s.yaml", dir, name);
    snprintf(log, sizeof(log), "%s/%s.log", dir, name);
    real_server_issue(server, EM_ROLE_NODE, name);
    bench_run("rm -rf " STATE, hosts->names[i]); /* of another map */
    FILE *file = fopen(config, "w");
    if (!file)
        real_fail("%s: %s", config, strerror(errno));
    fprintf(file,
            "node_id: %s\nservers: %s\nrloc:\n  - 10.99.0.%u\n"
            "tls:\n  ca: %s/ca.crt\n  cert: %s/node-%s.crt\n  key: %s/node-%s.key\n"
            "control:\n  path: %s/%s.sock\nstate_dir: " STATE "\n%s",
            name, servers, i, pki, pki, name, pki, name, dir, name, hosts->names[i], lines);
    fclose(file);
    char *argv[] = {(char *)xtr, (char *)"--config", config, NULL};
    return real_spawn(argv, hosts->names[i], log);
}

char *hosts_start_servers(const struct hosts *hosts, struct real_cluster *ret_cluster, unsigned n,
                          const char *program, const char *yaml)
{
    static const char *const addresses[] = {"10.99.0.10", "10.99.0.11", "10.99.0.12"};
    char *servers = em_strdup("");
    for (unsigned i = 1; i < n; i++)
        bench_run("ip -n %s address replace %s/24 dev br0", hosts->names[0], addresses[i]);
    real_cluster_init_at(ret_cluster, n, yaml, addresses);
    for (unsigned i = 0; i < n; i++) {
        struct real_server *server = &ret_cluster->servers[i];
        server->netns = hosts->names[0];
        server->program = program;
        char *more = em_asprintf("%s%s\"%s\"", servers, i ? ", " : "[", server->tls_url);
        free(servers);
        servers = more;
    }
    real_cluster_start(ret_cluster);
    char *list = em_asprintf("%s]", servers);
    free(servers);
    return list;
}

int hosts_enter(const char *netns)
{
    char path[64];
    snprintf(path, sizeof(path), "/run/netns/%s", netns);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (there < 0 || home < 0 || setns(there, CLONE_NEWNET))
        real_fail("%s: %s", path, strerror(errno));
    close(there);
    return home;
}

void hosts_leave(int home)
{
    if (setns(home, CLONE_NEWNET))
        real_fail("cannot go back to the own namespace: %s", strerror(errno));
    close(home);
}

void hosts_close(struct hosts *hosts)
{
    for (unsigned i = 0; i < hosts->n; i++)
        bench_run("ip netns del %s && rm -rf " STATE, hosts->names[i], hosts->names[i]);
    hosts->n = 0;
}
