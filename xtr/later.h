/* Requests of the control socket that cannot be answered at once: a check of the data plane takes
 * many turns of the loop, a trace asks a map server.  At most one of each for a connection. */
#ifndef XTR_LATER_H
#define XTR_LATER_H

#include "agent.h"
#include "wire/msg.h"

struct em_arena;
struct xtr_checking;
struct xtr_tracing;

/* False: the connection is closed. */
typedef bool xtr_later_answer_fn(void *aux, Eidmap__Envelope *envelope, uint64_t id);

/* Of one connection. */
struct xtr_later {
    struct xtr_agent *agent;
    struct em_arena *arena; /* for what an answer is made of; 'answer' resets it */
    xtr_later_answer_fn *answer;
    void *aux;
    struct xtr_checking *checking; /* under way; NULL: none */
    struct xtr_tracing *tracing;
};

void xtr_later_check(struct xtr_later *later, uint64_t id, const Eidmap__XtrCheckRequest *request);
void xtr_later_trace(struct xtr_later *later, uint64_t id, const Eidmap__XtrTrace *request);

/* Nothing is answered any more. */
void xtr_later_cancel(struct xtr_later *later);

#endif
