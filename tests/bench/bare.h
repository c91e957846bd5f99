/* A bare netlink loop: the same entries as the kernel data plane makes for remote endpoints,
 * with nothing around it.  What it reaches is what the kernel allows. */
#ifndef BARE_H
#define BARE_H

#include <stdint.h>

/* In the namespace of the caller, on devices that are there: 'n_groups' nexthops, each with a
 * group; 'n' endpoints, each one message for both FDBs and one for the IPv4 neighbour; 64
 * messages a batch, the last one acknowledged.  Ends the program when the kernel refuses. */
void bare_install(unsigned vxlan, unsigned bridge, uint32_t n, uint32_t n_groups);

/* The devices for it, "x0" in bridge "b0", in the namespace of the caller. */
void bare_devices(void);

/* What a host has of its own guests, in the namespace of the caller: the bridge's FDB entry of each
 * numbered port on 'device', and its neighbour on the bridge.  When the first was sent. */
uint64_t bare_learn(unsigned device, unsigned bridge, uint32_t first, uint32_t n);

/* Endpoint i, which is the numbered port i + 1, and group k, as both installers number them;
 * addresses in network order. */
void bare_mac(uint32_t i, uint8_t mac[6]);
uint32_t bare_ip_be(uint32_t i);
uint32_t bare_rloc_be(uint32_t k);

#endif
