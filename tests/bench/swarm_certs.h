/* Certificates for many agents, in little time: each has its own, as a map server wants it. */
#ifndef SWARM_CERTS_H
#define SWARM_CERTS_H

#include "server/real_server.h"

/* Those of agents 0 .. n - 1, signed by the server's CA, in a new folder in memory, whose name
 * is given back; swarm_certs_remove() takes it. */
char *swarm_certs_make(const struct real_server *server, unsigned n);
void swarm_certs_remove(char *pki_take);

#endif
