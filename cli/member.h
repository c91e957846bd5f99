/* Changes of the cluster's membership, one request each. */
#ifndef CTL_MEMBER_H
#define CTL_MEMBER_H

#include "call.h"
#include "client/request.h"

#define CTL_PEER_PORT    4343 /* where map servers take each other, unless configured */
#define CTL_ADDRESS_TEXT 64

/* What the cluster said to a change. */
struct ctl_verdict {
    int err;           /* 0: done; EM_E_TIMEOUT: nobody answered */
    char message[512]; /* sentence of the server for 'err' */
    uint64_t revision;
};

/* Sends without waiting; the id, or an error.  Its callback may use the other. */
int64_t ctl_member_send(struct ctl *ctl, Eidmap__MemberChange change, const char *name,
                        const char *address, em_envelope_fn *on_answer, void *aux);
void ctl_verdict_take(struct ctl_verdict *verdict, int err, const Eidmap__Envelope *reply);

/* Asks and waits; tells nothing. */
void ctl_member_ask(struct ctl *ctl, Eidmap__MemberChange change, const char *name,
                    const char *address, struct ctl_verdict *ret_verdict);

/* "ADDRESS", "ADDRESS:PORT" or "tls://ADDRESS:PORT" of a peer listener into "tls://ADDRESS:PORT".
 * 0, or -EINVAL with 'why' (EM_ADDR_WHY bytes). */
int ctl_peer_address(const char *text, char ret_address[CTL_ADDRESS_TEXT], char *why);

/* "member add" and "member promote". */
enum ctl_exit ctl_join_add(struct ctl *ctl);
enum ctl_exit ctl_join_promote(struct ctl *ctl);

#endif
