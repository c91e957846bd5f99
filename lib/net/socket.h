/* Sockets that listen and sockets that connect, from the text form of an address. */
#ifndef EM_SOCKET_H
#define EM_SOCKET_H

#include "eidmap/addr.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#define EM_DEFAULT_PORT 4342 /* RFC 9301 section 4: the LISP control port, here over TCP */

enum em_transport { EM_TLS, EM_TCP, EM_UNIX };

struct em_address {
    enum em_transport transport;
    struct em_ip ip;
    uint16_t port;
    char path[108]; /* unix */
};

/* "tls://ADDRESS:PORT", "ADDRESS:PORT" (TLS), "tcp://127.0.0.1:PORT", "unix:PATH".  0 or -EINVAL
 * with 'why' (EM_ADDR_WHY bytes).  tcp:// to anything but loopback is refused. */
int em_address_parse(const char *text, struct em_address *ret_address, char *why);

/* As the kernel's calls want it; returns its size. */
socklen_t em_socket_name(const struct em_ip *ip, uint16_t port, struct sockaddr_storage *ret_ss);

/* Non-blocking listening socket, or -errno.  A stale unix socket file is replaced, one that
 * somebody serves is -EADDRINUSE.  'mode' is the unix socket's. */
int em_socket_listen(const struct em_address *address, mode_t mode);

/* Non-blocking socket, connecting; or -errno. */
int em_socket_connect(const struct em_address *address);

/* Options of every TCP connection, made or accepted: no delay, and a dead peer is noticed in
 * 25 s. */
void em_socket_tune(int fd);

/* The port a listening TCP socket got (for port 0). */
uint16_t em_socket_port(int fd);

#endif
