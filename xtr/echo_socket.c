#include "echo_socket.h"

#include "net/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <string.h>
#include <unistd.h>

/* Neither may fail the socket: without the first, packets share the queue of bulk traffic
 * and are lost with it; without the second, an address has to be there first. */
static void tune(int fd, bool is_ipv4)
{
    int class = IPTOS_CLASS_CS6, on = 1;
    if (is_ipv4) {
        (void)setsockopt(fd, IPPROTO_IP, IP_TOS, &class, sizeof class);
        (void)setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof on);
    } else {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &class, sizeof class);
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &on, sizeof on);
    }
}

int xtr_echo_socket(const struct em_ip *ip, uint16_t port)
{
    struct sockaddr_storage name;
    socklen_t size = em_socket_name(ip, port, &name);
    int fd = socket(name.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    tune(fd, ip->size == 4);
    if (!bind(fd, (const struct sockaddr *)&name, size))
        return fd;
    int r = -errno;
    close(fd);
    return r;
}

struct em_ip xtr_echo_ip(const struct sockaddr_storage *name)
{
    struct em_ip ip = {.size = name->ss_family == AF_INET ? 4 : 16};
    if (ip.size == 4)
        memcpy(ip.addr, &((const struct sockaddr_in *)name)->sin_addr, 4);
    else
        memcpy(ip.addr, &((const struct sockaddr_in6 *)name)->sin6_addr, 16);
    return ip;
}
