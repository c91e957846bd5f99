/* Hosts of a benchmark: network namespaces on one bridge.
 *
 *     ebNs: br0, 10.99.0.10     servers
 *       ebNa: eth0, 10.99.0.1   and so on
 *
 * What goes wrong here ends the program with a sentence. */
#ifndef HOSTS_H
#define HOSTS_H

#include "server/real_cluster.h"

#define HOSTS_MAX 4

struct hosts {
    char names[HOSTS_MAX][32]; /* of the namespaces, the servers' first */
    unsigned n;
};

/* Makes that of the servers. */
void hosts_open(struct hosts *ret_hosts);

/* Makes the next host, with 10.99.0.1 and so on; its namespace. */
const char *hosts_add(struct hosts *hosts);

/* Takes the last host away again. */
void hosts_remove(struct hosts *hosts);

/* Starts an agent on host 'i' (1, 2, ...) as the node "a", "b", ...; 'servers' is a list of YAML,
 * 'lines' are more of its configuration.  Its files are in the server's folder: a.log, a.sock.
 * Its state is in memory: hosts have disks of their own, here they would share the servers'. */
pid_t hosts_start_agent(const struct hosts *hosts, unsigned i, const char *xtr,
                        const struct real_server *server, const char *servers, const char *lines);

/* Makes and starts 'n' (up to 3) map servers in the servers' namespace; the list of YAML for
 * hosts_start_agent(): free() it. */
char *hosts_start_servers(const struct hosts *hosts, struct real_cluster *ret_cluster, unsigned n,
                          const char *program, const char *yaml);

/* This process goes into a namespace, and back again; sockets stay where they were made. */
int hosts_enter(const char *netns);
void hosts_leave(int home);

void hosts_close(struct hosts *hosts);

#endif
