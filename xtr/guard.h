/* Whether to believe a map server that shows much less than was known.
 *
 * What a full pass of a feed does not show is gone.  But a server that was wiped, or has been
 * given another database, shows just as well that nothing is there; and a host that obeys cuts
 * off its guests.  So a pass that lacks much of what was known is doubted, and one of another
 * map whatever it lacks: for there the ports and nodes of an older copy, or of none, come back
 * one by one.  What it shows is taken, what it lacks is kept, until a person says that it is
 * right, or another server of the same map shows the same, or all is shown again.  A removal in
 * the feed is somebody's deed and never doubted; only what a pass leaves out is.
 *
 * Pure: no I/O and no clock.  The map-cache asks at the end of each pass; the agent says whose
 * passes these are, and looks for another server. */
#ifndef XTR_GUARD_H
#define XTR_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XTR_GUARD_SERVER 64 /* of a server's id, with its end */

enum xtr_verdict {
    XTR_BELIEVED,
    XTR_DOUBTED,
    XTR_CONFIRMED, /* was doubted, and is shown by another server as well */
};

/* A feed whose last pass was doubted. */
struct xtr_doubt {
    uint32_t network_id; /* 0: nodes and networks */
    char server_id[XTR_GUARD_SERVER];
    bool is_other_map; /* the server's map is another than that which this was known from */
};

struct xtr_guard {
    unsigned shrink_percent;
    char server_id[XTR_GUARD_SERVER];
    bool is_other_map;
    bool is_waived; /* a person has said that what comes is right */
    struct xtr_doubt *doubts;
    size_t n_doubts;
};

/* More than 'shrink_percent' of what was known has to be missing for a doubt; 0 or 100: there is
 * never one. */
void xtr_guard_init(struct xtr_guard *guard, unsigned shrink_percent);
void xtr_guard_fini(struct xtr_guard *guard);

/* Passes are this server's from here on. */
void xtr_guard_session(struct xtr_guard *guard, const char *server_id);

/* What a pass lacks of what was known before it: of one sort. */
struct xtr_loss {
    uint64_t n_known;
    uint64_t n_missing;
    bool is_vital; /* something here stands on what is missing */
};

/* Of a few ports most may well go while an agent is away, and a warning that is usual warns
 * nobody.  So a loss of no more is believed, as long as anything else is shown and nothing
 * stands on what is missing. */
#define XTR_GUARD_FEW 3

/* The verdict on the pass of a network's feed that has ended, and lacks 'losses' (n of them, one
 * for each sort).  A doubt is noted, or ends. */
enum xtr_verdict xtr_guard_judge(struct xtr_guard *guard, uint32_t network_id,
                                 const struct xtr_loss *losses, size_t n);

/* Nothing is kept in doubt there any more. */
void xtr_guard_forget(struct xtr_guard *guard, uint32_t network_id);

/* A doubt of an earlier run. */
void xtr_guard_restore(struct xtr_guard *guard, const struct xtr_doubt *doubt);

/* NULL: there is none.  Lent until the next change. */
const struct xtr_doubt *xtr_guard_find(const struct xtr_guard *guard, uint32_t network_id);

/* May the server of the session show something about this doubt that its own server has not? */
bool xtr_guard_can_ask(const struct xtr_guard *guard, const struct xtr_doubt *doubt);

/* Is there a doubt that another server of the same map may end? */
bool xtr_guard_wants_other(const struct xtr_guard *guard);

#endif
