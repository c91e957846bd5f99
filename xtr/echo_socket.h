/* UDP sockets for echo packets, of either family. */
#ifndef XTR_ECHO_SOCKET_H
#define XTR_ECHO_SOCKET_H

#include "eidmap/addr.h"

#include <sys/socket.h>

/* UDP port that agents answer on, by default: none of IANA's assigned or reserved ones (4775
 * to 4783 are free), below Linux's ephemeral ports, and not 3784, 3785 or 4784, which a BFD
 * daemon of the same host uses (RFC 5881 section 4, RFC 5883 section 5). */
#define XTR_ECHO_PORT 4783

/* A non-blocking one at this address and port (0: any), or -errno.  The address need not be
 * there yet. */
int xtr_echo_socket(const struct em_ip *ip, uint16_t port);

/* Of a name that the kernel gave. */
struct em_ip xtr_echo_ip(const struct sockaddr_storage *name);

#endif
