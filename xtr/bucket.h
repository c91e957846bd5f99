/* A token bucket: 'rate' a second in the long run, 'burst' at once. */
#ifndef XTR_BUCKET_H
#define XTR_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct xtr_bucket {
    uint32_t rate, burst;
    uint64_t millis; /* thousandths of a token that are there */
    uint64_t last_ms;
};

static inline void xtr_bucket_init(struct xtr_bucket *bucket, uint32_t rate, uint32_t burst,
                                   uint64_t now_ms)
{
    *bucket = (struct xtr_bucket){rate, burst, burst * UINT64_C(1000), now_ms};
}

/* False: there is none, and nothing is taken. */
static inline bool xtr_bucket_take(struct xtr_bucket *bucket, uint64_t now_ms)
{
    uint64_t most = bucket->burst * UINT64_C(1000);
    uint64_t passed = now_ms > bucket->last_ms ? now_ms - bucket->last_ms : 0;
    bucket->last_ms += passed;
    if (passed > most) /* no product can overflow then */
        passed = most;
    bucket->millis += passed * bucket->rate;
    if (bucket->millis > most)
        bucket->millis = most;
    if (bucket->millis < 1000)
        return false;
    bucket->millis -= 1000;
    return true;
}

#endif
