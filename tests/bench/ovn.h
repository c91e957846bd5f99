/* OVN, as Debian has it: databases, ovn-northd, and ovn-controller on hosts with an Open vSwitch.
 *
 * What goes wrong here ends the program with a sentence. */
#ifndef OVN_H
#define OVN_H

#include "vswitch.h"

#define OVN_CHASSIS      2
#define OVN_REMOTE_TABLE 39 /* where a port of another chassis has its flow; OVN 23.03 */
#define OVN_FIRST        4 /* flows there with the first: a default and two of multicast beside it */

struct ovn {
    struct vswitch central; /* its folder only */
    pid_t nb, sb, northd, controllers[OVN_CHASSIS];
};

bool ovn_is_there(void);

/* The central part in namespace 'netns', which has 10.99.0.10; plain TCP on it. */
void ovn_start(struct ovn *ret_ovn, const char *dir, const char *netns);

/* Makes a chassis of the host: br-int and ovn-controller. */
void ovn_join(struct ovn *ovn, unsigned i, const struct vswitch *vswitch);

/* A switch with numbered ports 1 .. n; comes back when ovn-northd has them. */
void ovn_declare(struct ovn *ovn, uint32_t n);

/* Waits until all chassis have what is declared. */
void ovn_sync(const struct ovn *ovn);

void ovn_stop(struct ovn *ovn);

#endif
