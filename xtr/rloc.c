/* Without an rloc in the configuration the address is the one that the kernel's routes give
 * for packets to the first map server: right wherever control and underlay share a network. */
#include "rloc.h"

#include "base/mem.h"
#include "config.h"
#include "net/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A datagram socket that is connected sends nothing, but has chosen its source address. */
static int source_towards(const struct em_address *server, struct em_ip *ret_ip)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(server->port)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(server->port)};
    bool is_v4 = server->ip.size == 4;
    if (is_v4)
        memcpy(&v4.sin_addr, server->ip.addr, 4);
    else
        memcpy(&v6.sin6_addr, server->ip.addr, 16);
    struct sockaddr *address = is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
    socklen_t size = is_v4 ? sizeof v4 : sizeof v6;

    int fd = socket(address->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = 0;
    if (connect(fd, address, size) || getsockname(fd, address, &size))
        r = -errno;
    close(fd);
    if (r)
        return r;
    *ret_ip = (struct em_ip){.size = server->ip.size};
    memcpy(ret_ip->addr, is_v4 ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr, ret_ip->size);
    return 0;
}

static int find_default(const struct xtr_config *config, struct em_ip *ret_ip, char **ret_why)
{
    struct em_address server;
    char why[EM_ADDR_WHY];
    int r = em_address_parse(config->servers[0], &server, why);
    if (!r && server.transport == EM_UNIX)
        r = -EDESTADDRREQ;
    if (!r)
        r = source_towards(&server, ret_ip);
    if (!r && !em_ip_is_usable(ret_ip->addr, ret_ip->size))
        r = -EADDRNOTAVAIL;
    if (r)
        *ret_why = em_asprintf("no underlay address can be derived from the server %s; set rloc: "
                               "[ADDRESS] to an address of this host",
                               config->servers[0]);
    return r;
}

int xtr_rloc_find(const struct xtr_config *config, struct em_ip ret_ips[2], size_t *ret_n,
                  char **ret_why)
{
    if (!config->n_rlocs) {
        *ret_n = 1;
        return find_default(config, &ret_ips[0], ret_why);
    }
    for (size_t i = 0; i < config->n_rlocs; i++) {
        char why[EM_ADDR_WHY];
        if (em_ip_parse(config->rlocs[i], &ret_ips[i], why)) {
            *ret_why = em_strdup(why);
            return -EINVAL;
        }
    }
    *ret_n = config->n_rlocs;
    if (*ret_n == 2 && ret_ips[0].size == 16) {
        struct em_ip first = ret_ips[1];
        ret_ips[1] = ret_ips[0];
        ret_ips[0] = first;
    }
    return 0;
}
