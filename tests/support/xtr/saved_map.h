/* A map-cache and its file, for tests and benchmarks. */
#ifndef TEST_SAVED_MAP_H
#define TEST_SAVED_MAP_H

#include "cachefile.h"

/* This node is "h0"; nodes "h1" .. "h9" and the networks "net1" .. "net3" are known, and those
 * are open. */
struct xtr_mapcache *saved_map_new(void);

/* Without nodes and networks, as an agent begins. */
struct xtr_mapcache *saved_map_new_empty(void);

/* The i-th port of a network: a UUID, a MAC and an IPv4 address, at one of the nodes.  A page of
 * 'n' of them from 'first' on. */
void saved_map_feed_ports(struct xtr_mapcache *cache, uint32_t network_id, uint32_t first,
                          uint32_t n, bool is_start_over, bool is_complete);

/* Packs the cache in pieces of about 'piece' bytes into one buffer; network 0 to 3 are at the
 * revisions 100 to 103. */
void saved_map_pack(const struct xtr_mapcache *cache, size_t piece, struct em_buf *ret_bytes);

/* Loads network 0, opens 1 to 3, and loads these. */
int saved_map_load(const char *path, struct xtr_mapcache *cache);

#endif
