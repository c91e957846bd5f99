/* The client's own way to send any message; for what only mapctl asks: of an xTR's unix socket,
 * of the cluster's members, for copies of the map. */
#ifndef EM_REQUEST_H
#define EM_REQUEST_H

#include "eidmap.h"
#include "wire/msg.h"

/* Called with the reply, lent for the call; or with 'err' (and 'reply' NULL) when the
 * client gave up.  A reply with an Error body comes as 'reply'. */
typedef void em_envelope_fn(void *aux, int err, const Eidmap__Envelope *reply);

/* Sends a copy of 'envelope' under a new id, which is returned (> 0), or EM_E_LIMIT.
 * With 'keep' the callback stays until em_client_cancel(): for answers in many parts. */
int64_t em_client_send(struct em_client *client, Eidmap__Envelope *envelope, bool keep,
                       em_envelope_fn *on_reply, void *aux);

#endif
