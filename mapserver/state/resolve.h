/* Where is this EID now?  (LISP: Map-Request to Map-Reply.)
 *
 * Exact for hosts, MACs, names, services and port-ids; hosts and prefixes fall back to the
 * longest prefix that covers them.  A hit on a MAC or host address costs two lookups, or one in
 * memory (recent.h). */
#ifndef MS_RESOLVE_H
#define MS_RESOLVE_H

#include "eidmap/model.h"
#include "state/store.h"

struct ms_answer {
    struct ms_blob port;   /* packed Port, lent until ms_reader_end() or the next ms_resolve();
                            * NULL: negative */
    bool has_view;         /* some of its locations are not for everyone */
    struct em_eid matched; /* the port's EID that covers the asked one; positive only */
    struct em_eid covers;  /* widest range around the asked EID for which this holds, without
                            * a more specific mapping in it (RFC 9301 section 5.5);
                            * EM_EID_NONE: a mapping lies even at its first address */
    enum em_action action; /* negative only: RFC 9301 section 5.4 */
    uint32_t ttl_s;        /* seconds */
    const char *reason;    /* a sentence, static storage; "" in a positive answer */
};

#define MS_TTL_FOUND    86400u /* RFC 9301 section 5.4 counts minutes: 1440 */
#define MS_TTL_NO_RANGE 900u   /* RFC 9301 section 8.4: 15 minutes */
#define MS_TTL_NOBODY   60u    /* there, 1 minute */

/* 'eid' must be well-formed (em_eid_from_msg()); network 0 is right for a port-id only, and
 * then means any.  An unknown network is a negative answer.  0 or EM_E_STORAGE. */
int ms_resolve(struct ms_reader *reader, uint32_t network_id, const struct em_eid *eid,
               struct ms_answer *ret_answer);

/* Questions that lie at hand together: the memory that their answers are in is fetched for all of
 * them while the first is being answered.  'eid' is a MAC or an address. */
struct ms_question {
    uint64_t hash; /* set by ms_resolve_prepare() */
    uint32_t network_id;
    struct em_eid eid;
};

void ms_resolve_prepare(struct ms_reader *reader, struct ms_question *questions, size_t n);

/* As ms_resolve(). */
int ms_resolve_prepared(struct ms_reader *reader, const struct ms_question *question,
                        struct ms_answer *ret_answer);

#endif
