/* Notes for the data plane: "look at this again".  entries.c answers them. */
#ifndef XTR_NOTES_H
#define XTR_NOTES_H

#include "cache_state.h"

/* The open network in this slot has to be put; or it is closed, and goes behind all that
 * names its slot. */
void xtr_notes_network(struct xtr_mapcache *cache, uint32_t slot);
void xtr_notes_closed(struct xtr_mapcache *cache, uint32_t slot);

/* Once while it waits; a set without references as often as it lost the last one. */
void xtr_notes_set(struct xtr_mapcache *cache, struct xtr_set *set);

/* The same for a set with references that was sent, before anything that waits. */
void xtr_notes_set_first(struct xtr_mapcache *cache, struct xtr_set *set);

/* A record of the network's table; once while it waits. */
void xtr_notes_port(struct xtr_mapcache *cache, uint32_t slot, uint32_t index);

/* The addresses of the local port that hides this record, if one does: where copies of their
 * frames go is for the map to say. */
void xtr_notes_hiding(struct xtr_mapcache *cache, uint32_t slot, uint32_t index);

/* The ports whose target of a migration this location of their set is. */
void xtr_notes_pending(struct xtr_mapcache *cache, const struct xtr_setloc *loc);

/* Addresses of the map's ports. */
void xtr_notes_eids(struct xtr_mapcache *cache, uint32_t slot, const struct em_eid *eids, size_t n);

/* Addresses of a local port; 'device' that they were behind, NULL: they are new. */
void xtr_notes_locals(struct xtr_mapcache *cache, uint32_t slot, const struct em_eid *eids,
                      size_t n, const char *device, uint16_t vlan);

/* 'device' has room for IFNAMSIZ. */
void xtr_notes_device(struct xtr_mapcache *cache, uint32_t slot, const char *device, uint16_t vlan);

/* A set or a network that is here no more, and stands yet. */
void xtr_notes_gone(struct xtr_mapcache *cache, enum xtr_key_kind kind, uint32_t id);

/* A place for broadcast; of a node: nothing if frames cannot go there. */
void xtr_notes_flood(struct xtr_mapcache *cache, uint32_t slot, const struct dp_target *target);
void xtr_notes_node_flood(struct xtr_mapcache *cache, uint32_t slot, const struct xtr_node *node,
                          uint32_t segmentation_id);

#endif
