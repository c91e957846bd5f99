/* Watches: resolve answers that are pushed again when they change.
 *
 * A set of watches of one session in one network has a cursor into that network's feed, like
 * a subscription; what the feed shows tells which answers to look at again. */
#ifndef MS_WATCH_H
#define MS_WATCH_H

#include "front/requests.h"
#include "state/resolve.h"

struct em_buf;

/* Begins to watch the EIDs of a Resolve that has just been answered, in the same reader's
 * transaction.  EM_E_LIMIT: too many. */
int ms_watch_begin(struct ms_session *session, uint64_t id, uint32_t network_id,
                   const Eidmap__Resolve *resolve);

/* Unwatch. */
ms_handler_fn ms_watch_end;

/* Is there anything for ms_watch_run() to look at? */
bool ms_watch_is_due(const struct ms_session *session);

/* Pushes what has changed, inside a reader's transaction, as much as the connection takes.
 * 0 or EM_E_STORAGE. */
int ms_watch_run(struct ms_session *session);

/* Ends all watches of a session. */
void ms_watch_close(struct ms_session *session);

/* Writes one answer into a ResolveReply. */
void ms_watch_put_answer(struct ms_session *session, struct em_buf *out, const struct em_eid *eid,
                         const struct ms_answer *answer);

#endif
