/* The servers of a client and what it says to them: addresses, certificate, Hello. */
#ifndef EM_SERVERS_H
#define EM_SERVERS_H

#include "eidmap.h"
#include "net/conn.h"

struct em_servers {
    struct em_server *list;
    size_t len;
    struct em_tls *tls; /* NULL when no server needs it */
    uint8_t *hello;     /* the same frame on every connection */
    size_t hello_size;
    uint8_t *warm_hello; /* as that, but no session begins */
    size_t warm_hello_size;
};

#define EM_WELCOME_MS 10000 /* a server that takes a Hello answers in this time */

/* Everything of 'config' that names servers or ourselves, copied.  On failure 'servers' is
 * empty and *ret_why a sentence. */
int em_servers_init(struct em_servers *servers, const struct em_client_config *config,
                    char **ret_why);
void em_servers_fini(struct em_servers *servers);

/* Other RLOCs in the Hellos to come; all else in them stays.  At most 8. */
void em_servers_set_rlocs(struct em_servers *servers, const struct em_rloc *rlocs, size_t n);

/* As in the configuration. */
const char *em_servers_name(const struct em_servers *servers, size_t i);

/* Begins to connect to the i-th server.  0 with the connection, or why it cannot be tried. */
int em_servers_connect(const struct em_servers *servers, size_t i, struct em_net *net,
                       const struct em_conn_events *events, void *aux, struct em_conn **ret_conn);

#endif
