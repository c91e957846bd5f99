/* A network of servers for fault tests, in namespaces, whose links can be cut and slowed down.
 *
 *      10.77.0.1          10.77.0.2          10.77.0.3         one namespace each,
 *          │ eth0             │ eth0             │ eth0          cut by nftables
 *        ──┴──────────────────┴──────────────────┴──  br0
 *
 * One per process.  Failures as in real_server.h. */
#ifndef LINKS_H
#define LINKS_H

#include <stdbool.h>
#include <stdint.h>

#define LINKS_MAX 5

/* False: this process may make no namespaces, or has no nft.  They go with links_remove(), or
 * when the process exits. */
bool links_make(unsigned n);
void links_remove(void);

const char *const *links_addresses(void);
const char *links_netns(unsigned i);

/* What 'from' sends does not reach 'to' any more. */
void links_cut(unsigned from, unsigned to);

/* What comes to 'to' from that TCP port of 'from' is held to about so many KiB a second. */
void links_slow(unsigned from, uint16_t port, unsigned to, unsigned kib);

/* All as it was. */
void links_heal(void);

#endif
