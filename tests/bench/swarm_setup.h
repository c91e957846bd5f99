/* What a swarm needs before it starts: certificates and networks. */
#ifndef SWARM_SETUP_H
#define SWARM_SETUP_H

#include "server/real_server.h"

/* Certificates of agents 0 .. n - 1, each its own, signed by the server's CA, in a new folder: in
 * memory, where nothing waits for a disk.  Its name; swarm_certs_remove() takes it. */
char *swarm_certs_make(const struct real_server *server, unsigned n);
void swarm_certs_remove(char *pki_take);

/* New networks, all asked for at once of the server at 'url'; their ids, to be freed. */
uint32_t *swarm_networks_make(const char *url, unsigned n);

#endif
