/* Whether one node's RLOC answers: the state machine of a probe, without clock, dice or
 * socket.
 *
 * The idea is that of BFD (RFC 5880) with its echo function, the packets are our own
 * (echo.h).  A probe goes out every interval, a little earlier by chance (section 6.8.7);
 * three that stay without any sign of life for three intervals make the node silent.
 *
 *               answer                    refused
 *    UNKNOWN ───────────> UP  <──────────────────────> REFUSED
 *                         │ ^        answer               │
 *            3 unanswered │ │ 3 answers in a row          │ 3 unanswered
 *                         v │                             │
 *                       SILENT <──────────────────────────┘
 *
 * UNKNOWN is no verdict: an older version or a firewall does not answer either, so only who
 * has been UP can be SILENT.  REFUSED is a node whose kernel says that nobody listens: its
 * agent is dead or restarts, and its data plane, which is that kernel, lives.  A kernel
 * without agent does not end a silence: a host that comes back from a power failure has no
 * ports yet. */
#ifndef XTR_PROBE_H
#define XTR_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#define XTR_PROBE_MULTIPLIER 3

enum xtr_probe_state {
    XTR_PROBE_UNKNOWN = 1,
    XTR_PROBE_UP,
    XTR_PROBE_REFUSED,
    XTR_PROBE_SILENT,
};

/* One that went out and may still be answered, once. */
struct xtr_probe_sent {
    uint64_t nonce;
    uint64_t sent_us;
    bool is_open;
};

struct xtr_probe {
    enum xtr_probe_state state;
    uint64_t since_us; /* of the state */
    uint32_t interval_us;
    uint64_t due_us;       /* of the next one */
    uint64_t heard_us;     /* last sign of life */
    uint32_t n_unanswered; /* sent since then ... */
    uint64_t enough_us;    /* ... and when the last of three of them was */
    uint32_t n_answered;   /* in a row, while SILENT */
    uint32_t rtt_us;       /* of the last answer */
    struct xtr_probe_sent sent[XTR_PROBE_MULTIPLIER + 1];
    uint32_t last; /* of 'sent' */
};

/* 'jitter' is a fresh random number, here and below: the first one goes out within an
 * interval. */
void xtr_probe_start(struct xtr_probe *probe, uint32_t interval_ms, uint64_t now_us,
                     uint16_t jitter);

/* The state stays. */
void xtr_probe_set_interval(struct xtr_probe *probe, uint32_t interval_ms, uint64_t now_us);

/* When xtr_probe_run() has something to do again. */
uint64_t xtr_probe_next_us(const struct xtr_probe *probe);

/* Judges, and says whether a probe goes out now: then it has to carry 'nonce', a fresh random
 * number, by which its answer is known.  Early calls do no harm; late ones do no injustice,
 * since what was not sent is not missed. */
bool xtr_probe_run(struct xtr_probe *probe, uint64_t now_us, uint64_t nonce, uint16_t jitter);

/* An answer with this nonce has come from the node; or its kernel's word that nobody takes
 * such a probe.  False: it answers none of the last probes. */
bool xtr_probe_answered(struct xtr_probe *probe, uint64_t nonce, uint64_t now_us);
bool xtr_probe_refused(struct xtr_probe *probe, uint64_t nonce, uint64_t now_us);

/* For people: "up". */
const char *xtr_probe_name(enum xtr_probe_state state);

#endif
