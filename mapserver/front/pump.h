/* The feed pump: sends each subscriber what its networks' feeds hold beyond its cursor.
 *
 * There is one mechanism for the first snapshot, for a resume, for pushes and for slow
 * readers: read on from the cursor, as much as the connection takes.  Nothing is queued for
 * a subscriber, so a slow one costs no memory and skips what was overwritten meanwhile. */
#ifndef MS_PUMP_H
#define MS_PUMP_H

#include "front/requests.h"

struct ms_feed_cursor;
struct ms_worker;

ms_handler_fn ms_pump_subscribe;
ms_handler_fn ms_pump_unsubscribe;

/* Something has come up, or the connection has drained: what it takes now will be sent. */
void ms_pump_run(struct ms_session *session);

/* The session has something to send: its turn comes with ms_pump_run_hot(). */
void ms_pump_wake(struct ms_session *session);

/* Sends pages to those whose turn it is, one each at a time, in one transaction; and only so many
 * that others, who ask, need not wait for long.  What is left comes in the loop's next turn. */
void ms_pump_run_hot(struct ms_worker *worker);

/* When news come for a feed that had been read to its end: it stood still until just before
 * them.  Else the cursor would stay where a quiet network left it, and be stale as soon as
 * the deletions of other networks are trimmed. */
void ms_pump_catch_up(const struct ms_worker *worker, struct ms_feed_cursor *cursor);

/* Tells a subscriber now and then, by an empty page, how far the feeds are that it has read to the
 * end.  Else who has heard nothing of a quiet network for as long as deletions are kept would get
 * all of it again when it comes back.  Agents ask by their heartbeats, each at a time of its own.
 */
void ms_pump_refresh(struct ms_session *session, uint64_t now_ms);

/* Ends all subscriptions. */
void ms_pump_close(struct ms_session *session);

#endif
