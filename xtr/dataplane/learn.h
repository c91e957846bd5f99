/* What happens on the networks' bridges by other hands: devices that are put into them, MACs
 * that the kernel learns there, neighbours that the host itself finds.  For the bridge watch.
 *
 * Never shown is what is eidmap's own: its vxlan devices, and so every frame that came out of
 * a tunnel; entries that it has made (extern_learn, permanent), which a filter in the kernel
 * drops, so that a big network that is programmed costs nothing here. */
#ifndef DP_LEARN_H
#define DP_LEARN_H

#include "eidmap/addr.h"

#include <net/if.h>

struct dp_learn;

enum dp_learned_kind {
    DP_LEARNED_PORT,    /* the device is in the network's bridge */
    DP_LEARNED_NO_PORT, /* it is not any more */
    DP_LEARNED_MAC,     /* the MAC is behind the device */
    DP_LEARNED_IP,      /* the address is at the MAC, says a neighbour entry of the host */
};

struct dp_learned {
    enum dp_learned_kind kind;
    uint32_t network_id;
    uint32_t ifindex; /* of the device; with DP_LEARNED_IP 0 */
    char device[IFNAMSIZ];
    uint8_t mac[EM_MAC_SIZE];
    struct em_ip ip;
};

/* Lent for the call, which must not use the dp_learn. */
typedef void dp_learned_fn(void *aux, const struct dp_learned *learned);

/* 0 or -errno.  Nothing is known before dp_learn_all(). */
int dp_learn_open(dp_learned_fn *on_learned, void *aux, struct dp_learn **ret_learn);
void dp_learn_close(struct dp_learn *learn);

/* Readable when dp_learn_read() has something to do. */
int dp_learn_fd(const struct dp_learn *learn);

/* Shows what has happened, a bounded number of things; never waits.  -ENOBUFS: something was
 * lost, and dp_learn_all() is due; or -errno. */
int dp_learn_read(struct dp_learn *learn);

/* Shows all that stands, some of it twice; ports that have gone unseen, too.  It dumps, and FDB
 * dumps are quadratic, so not often.  0 or -errno. */
int dp_learn_all(struct dp_learn *learn);

/* Lets the network's bridge learn so many MACs at most, so that a guest that makes them up does
 * not fill the kernel's memory; once for each bridge.  -ENODEV while there is none. */
int dp_learn_limit(struct dp_learn *learn, uint32_t network_id, uint32_t most);

/* When did the kernel last get a frame from 'mac' behind the device?  -ENOENT. */
int dp_learn_age(struct dp_learn *learn, const char *device, const uint8_t mac[EM_MAC_SIZE],
                 uint64_t *ret_age_ms);

#endif
