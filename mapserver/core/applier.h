/* The thread that turns committed entries into the map.
 *
 * It takes whole entries in order, as many as wait, into one transaction; it tells the front
 * what changed, and each proposer on this server what became of its command. */
#ifndef MS_APPLIER_H
#define MS_APPLIER_H

#include "core/entry.h"
#include "state/apply.h"

struct ms_applier;

/* On the applier's thread, but for on_synced. */
struct ms_applier_events {
    /* Readers see it.  Before the on_result calls of the same entries. */
    void (*on_commit)(void *aux, uint64_t revision, const uint32_t *networks, size_t n);
    /* Of every command; lent. */
    void (*on_result)(void *aux, const struct ms_result *result);
    /* All up to this point of the log is in the map, and has been told. */
    void (*on_applied)(void *aux, struct ms_point point);
    /* The map is durable up to here; lent.  Any thread, one at a time. */
    void (*on_synced)(void *aux, const struct ms_mark *mark);
    void (*on_fatal)(void *aux, int err, const char *why); /* any thread */
};

/* 'members': of the log's mark, for a map that has none.  *ret_point: what is in the map. */
int ms_applier_start(struct ms_store *store, const struct ms_mark *mark,
                     const struct ms_applier_events *events, void *aux,
                     struct ms_applier **ret_applier, struct ms_point *ret_point);

/* Applies what was put, ends the thread, frees.  NULL is fine. */
void ms_applier_stop(struct ms_applier *applier);

/* The next entry; those that the map has already are skipped.  Takes a reference. */
void ms_applier_put(struct ms_applier *applier, uint64_t index, const struct ms_entry *entry);

/* Whether anybody here waits for the map: if not, entries are collected for a heartbeat or so,
 * and take fewer transactions and syncs. */
void ms_applier_set_lazy(struct ms_applier *applier, bool is_lazy);

/* Makes the map durable up to what is applied then, and tells; what is applied meanwhile does
 * not wait for it. */
void ms_applier_sync(struct ms_applier *applier);

/* Drops what was put, and takes the map of this generation; returns when that is done.  0, or
 * an error with a sentence (free() it). */
int ms_applier_switch(struct ms_applier *applier, uint64_t generation, char **ret_why);

/* Any thread: entries that wait, and how many were ever applied; for the watchdog. */
size_t ms_applier_backlog(struct ms_applier *applier, uint64_t *ret_n_done);

#endif
