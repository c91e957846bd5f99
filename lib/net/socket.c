#include "net/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024

static bool is_loopback(const struct em_ip *ip)
{
    static const uint8_t v6[16] = {[15] = 1};
    return ip->size == 4 ? ip->addr[0] == 127 : memcmp(ip->addr, v6, sizeof(v6)) == 0;
}

static int parse_unix(const char *path, struct em_address *ret_address, char *why)
{
    if (path[0] == '\0' || strlen(path) >= sizeof(ret_address->path)) {
        snprintf(why, EM_ADDR_WHY, "expected unix:PATH with a path of 1 to %zu bytes",
                 sizeof(ret_address->path) - 1);
        return -EINVAL;
    }
    ret_address->transport = EM_UNIX;
    strcpy(ret_address->path, path);
    return 0;
}

int em_address_parse(const char *text, struct em_address *ret_address, char *why)
{
    struct em_address address = {.transport = EM_TLS};
    char unused[EM_ADDR_WHY];
    if (!why)
        why = unused;
    if (strncmp(text, "unix:", 5) == 0) {
        int r = parse_unix(text + 5, &address, why);
        if (r == 0)
            *ret_address = address;
        return r;
    }
    if (strncmp(text, "tcp://", 6) == 0)
        address.transport = EM_TCP;
    const char *host = strstr(text, "://");
    if (host && strncmp(text, "tls://", 6) != 0 && address.transport == EM_TLS) {
        snprintf(why, EM_ADDR_WHY,
                 "expected tls://ADDRESS:PORT, ADDRESS:PORT, unix:PATH or tcp://127.0.0.1:PORT");
        return -EINVAL;
    }
    int r =
        em_endpoint_parse(host ? host + 3 : text, EM_DEFAULT_PORT, &address.ip, &address.port, why);
    if (r)
        return r;
    if (address.transport == EM_TCP && !is_loopback(&address.ip)) {
        snprintf(why, EM_ADDR_WHY, "tcp:// is not encrypted and only for loopback; use tls://");
        return -EINVAL;
    }
    *ret_address = address;
    return 0;
}

socklen_t em_socket_name(const struct em_ip *ip, uint16_t port, struct sockaddr_storage *ret_ss)
{
    memset(ret_ss, 0, sizeof(*ret_ss));
    if (ip->size == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)ret_ss;
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        memcpy(&in->sin_addr, ip->addr, 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret_ss;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    memcpy(&in6->sin6_addr, ip->addr, 16);
    return sizeof(*in6);
}

static socklen_t to_sockaddr(const struct em_address *address, struct sockaddr_storage *ss)
{
    if (address->transport != EM_UNIX)
        return em_socket_name(&address->ip, address->port, ss);
    memset(ss, 0, sizeof(*ss));
    struct sockaddr_un *un = (struct sockaddr_un *)ss;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, address->path, sizeof(un->sun_path));
    return sizeof(*un);
}

static int open_socket(const struct sockaddr_storage *ss)
{
    int fd = socket(ss->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

/* A socket file that nobody serves was left by a process that was killed. */
static int remove_stale(const struct sockaddr_storage *ss, socklen_t size, const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    int fd = open_socket(ss);
    if (fd < 0)
        return fd;
    int r = connect(fd, (const struct sockaddr *)ss, size);
    int err = errno;
    close(fd);
    if (r == 0 || (err != ECONNREFUSED && err != ENOENT))
        return -EADDRINUSE;
    return unlink(path) == 0 || errno == ENOENT ? 0 : -errno;
}

static int bind_unix(int fd, const struct sockaddr_storage *ss, socklen_t size, const char *path,
                     mode_t mode)
{
    int r = remove_stale(ss, size, path);
    if (r)
        return r;
    if (bind(fd, (const struct sockaddr *)ss, size) != 0)
        return -errno;
    return chmod(path, mode) == 0 ? 0 : -errno; /* nobody connects before listen() */
}

static int bind_ip(int fd, const struct sockaddr_storage *ss, socklen_t size)
{
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (ss->ss_family == AF_INET6) {
        static const uint8_t any[16] = {0};
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
        int only = memcmp(&in6->sin6_addr, any, sizeof(any)) != 0; /* [::] takes IPv4 too */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
    }
    return bind(fd, (const struct sockaddr *)ss, size) == 0 ? 0 : -errno;
}

int em_socket_listen(const struct em_address *address, mode_t mode)
{
    struct sockaddr_storage ss;
    socklen_t size = to_sockaddr(address, &ss);
    int fd = open_socket(&ss);
    if (fd < 0)
        return fd;
    int r = address->transport == EM_UNIX ? bind_unix(fd, &ss, size, address->path, mode)
                                          : bind_ip(fd, &ss, size);
    if (r == 0 && listen(fd, BACKLOG) != 0)
        r = -errno;
    if (r) {
        close(fd);
        return r;
    }
    return fd;
}

void em_socket_tune(int fd)
{
    static const struct {
        int level, option, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 10}, /* seconds */
        {IPPROTO_TCP, TCP_KEEPINTVL, 5}, /* seconds */
        {IPPROTO_TCP, TCP_KEEPCNT, 3},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, 25000}, /* ms that sent data may stay unacknowledged */
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        setsockopt(fd, options[i].level, options[i].option, &options[i].value, sizeof(int));
}

int em_socket_connect(const struct em_address *address)
{
    struct sockaddr_storage ss;
    socklen_t size = to_sockaddr(address, &ss);
    int fd = open_socket(&ss);
    if (fd < 0)
        return fd;
    if (address->transport != EM_UNIX)
        em_socket_tune(fd);
    if (connect(fd, (const struct sockaddr *)&ss, size) == 0 || errno == EINPROGRESS)
        return fd;
    int r = -errno;
    close(fd);
    return r;
}

uint16_t em_socket_port(int fd)
{
    struct sockaddr_storage ss;
    socklen_t size = sizeof(ss);
    if (getsockname(fd, (struct sockaddr *)&ss, &size) != 0)
        return 0;
    if (ss.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)&ss)->sin_port);
    return ss.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&ss)->sin6_port) : 0;
}
