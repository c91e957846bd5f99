/* What a session can be asked: one handler per body, in read.c and write.c. */
#ifndef MS_REQUESTS_H
#define MS_REQUESTS_H

#include "wire/msg.h"

struct ms_session;
struct ms_reader;

/* Answers, proposes, or refuses; the message is lent. */
typedef void ms_handler_fn(struct ms_session *session, const Eidmap__Envelope *request);

/* read.c */
ms_handler_fn ms_read_resolve;
ms_handler_fn ms_read_status;

/* write.c */
ms_handler_fn ms_write_register;
ms_handler_fn ms_write_withdraw;
ms_handler_fn ms_write_announce_begin;
ms_handler_fn ms_write_announce_end;
ms_handler_fn ms_write_put_network;
ms_handler_fn ms_write_remove_network;
ms_handler_fn ms_write_put_node;
ms_handler_fn ms_write_remove_node;
ms_handler_fn ms_write_change_member;

/* copies.c */
ms_handler_fn ms_copy_fetch;
ms_handler_fn ms_copy_restore;

/* A proposal of the session has been answered: an AnnounceEnd may be waiting for it. */
void ms_write_settled(struct ms_session *session);
void ms_write_close(struct ms_session *session);

/* Network by id or by name, inside a reader's transaction.  0 or EM_E_NOT_FOUND; no network
 * of that id is no error here. */
int ms_read_network_id(struct ms_reader *reader, uint32_t id, const char *name, uint32_t *ret_id);

#endif
