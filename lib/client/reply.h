/* From a server's messages to the plain records that callbacks are given.
 *
 * A server is not trusted to be well-formed: what a caller indexes by (answers, epochs)
 * has the length that the request implies, or the message is refused. */
#ifndef EM_REPLY_H
#define EM_REPLY_H

#include "client/pending.h"

struct em_arena;

/* The answer to 'request', or what its watch pushes.  Lives in the arena and points into the
 * envelope.  EM_E_MALFORMED: no answer to such a request. */
int em_reply_from_msg(struct em_arena *arena, const struct em_pending *request,
                      const Eidmap__Envelope *envelope, struct em_reply *ret_reply);

/* A page of the feed, from the bytes of a Changes; as above.  The subscription's cursor is not
 * moved. */
int em_reply_feed_page(struct em_arena *arena, const struct em_pending *request, const void *data,
                       size_t size, struct em_feed *ret_page);
/* And its refusal. */
void em_reply_feed_refused(const struct em_pending *request, const Eidmap__Error *error,
                           struct em_feed *ret_page);

/* The changes of such a page alone; 'page' is what is known of it already. */
int em_reply_changes(struct em_arena *arena, const void *data, size_t size, struct em_feed *page);

/* The server's code and sentence. */
int em_reply_error(const Eidmap__Error *error, const char **ret_message);

#endif
