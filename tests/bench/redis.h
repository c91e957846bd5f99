/* redis-server, as Debian has it, beside the map server: GETs of as many keys, by its own load
 * generator.  Memory only, nothing is written to the disk, no TLS.
 *
 * What goes wrong here ends the program with a sentence. */
#ifndef REDIS_H
#define REDIS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct redis {
    pid_t pid;
    uint16_t port; /* of 127.0.0.1 */
    char socket[96];
    uint32_t n_keys;
};

bool redis_is_there(void);

/* With its socket in 'dir', and 'n_keys' values of 'size' bytes. */
void redis_start(struct redis *ret_redis, const char *dir, uint32_t n_keys, unsigned size);

/* GETs a second over 'n_conns' connections with 'n_flight' under way on each. */
double redis_get(const struct redis *redis, bool is_unix, unsigned n_conns, unsigned n_flight,
                 double seconds);

void redis_stop(struct redis *redis);

#endif
