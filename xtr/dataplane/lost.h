/* Devices of ports that somebody else has taken away: told one by one, see dp_class.lost. */
#ifndef DP_LOST_H
#define DP_LOST_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

struct dp_lost {
    char (*names)[IFNAMSIZ];
    size_t n, size;
};

/* Once, however often it comes before it is told. */
void dp_lost_add(struct dp_lost *lost, const char *device);
bool dp_lost_next(struct dp_lost *lost, char ret_device[IFNAMSIZ]);
void dp_lost_fini(struct dp_lost *lost);

#endif
