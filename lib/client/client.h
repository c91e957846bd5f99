/* What the files of the client share beyond the public header. */
#ifndef EM_CLIENT_H
#define EM_CLIENT_H

#include "client/dialer.h"
#include "client/pending.h"

struct em_arena;

/* em_client_new() with pauses of the caller's choice: for tests. */
int em_client_new_timed(struct ev_loop *loop, const struct em_client_config *config,
                        const struct em_dialer_times *times, const struct em_client_events *events,
                        void *aux, struct em_client **ret_client, char **ret_why);

/* A number for jitter. */
uint64_t em_client_random(void);

/* Queues a request: 'proto' has kind, flags, callback and what the answer must look like;
 * id, body and deadline are set here, in the envelope too.  A FEED is packed when it is sent, and
 * its envelope may be NULL; cursor.network is taken.  Returns the id; EM_E_LIMIT: the message is
 * larger than a frame;  EM_E_BUSY: too much waits for answers already. */
int64_t em_client_submit(struct em_client *client, const struct em_pending *proto,
                         Eidmap__Envelope *envelope);

/* Memory to build a request in, good until the next call of this. */
struct em_arena *em_client_scratch(struct em_client *client);

/* Is there a live subscription to this network?  'network': its name, or NULL. */
bool em_client_has_feed(const struct em_client *client, uint32_t network_id, const char *network);

#endif
