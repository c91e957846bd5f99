/* A node that is not UP is asked once a second at most, as RFC 5880 section 6.8.3 has it: that
 * is also as often as a kernel says that a port is closed (icmp_ratelimit), so the silence of
 * a refused node takes 3 s to be noticed. */
#include "probe.h"

#include <assert.h>
#include <string.h>

#define SLOW_US 1000000u

/* Section 6.8.7 lets a sender with a multiplier of 1 wait 75 to 90 % of the interval; we all
 * do, so that the third probe has a tenth of the detection time for its answer. */
#define WAIT_MIN   75 /* percent */
#define WAIT_MAX   90
#define LAST_GRACE (XTR_PROBE_MULTIPLIER * (100 - WAIT_MAX)) /* percent of an interval */

enum event { EVENT_ANSWERED, EVENT_REFUSED, EVENT_MISSED };

static enum xtr_probe_state next_state(enum xtr_probe_state state, enum event event)
{
    /* 0: cannot be. */
    static const enum xtr_probe_state table[][3] = {
        [XTR_PROBE_UNKNOWN] = {XTR_PROBE_UP, XTR_PROBE_UNKNOWN, 0},
        [XTR_PROBE_UP] = {XTR_PROBE_UP, XTR_PROBE_REFUSED, XTR_PROBE_SILENT},
        [XTR_PROBE_REFUSED] = {XTR_PROBE_UP, XTR_PROBE_REFUSED, XTR_PROBE_SILENT},
        [XTR_PROBE_SILENT] = {XTR_PROBE_UP, XTR_PROBE_SILENT, 0},
    };
    enum xtr_probe_state next = table[state][event];
    assert(next);
    return next;
}

static bool is_alive(const struct xtr_probe *probe)
{
    return probe->state == XTR_PROBE_UP || probe->state == XTR_PROBE_REFUSED;
}

static uint32_t pace_us(const struct xtr_probe *probe)
{
    if (probe->state == XTR_PROBE_UP || probe->interval_us > SLOW_US)
        return probe->interval_us;
    return SLOW_US;
}

static uint32_t wait_us(const struct xtr_probe *probe, uint16_t jitter)
{
    uint32_t percent_of = pace_us(probe) / 100;
    return percent_of * WAIT_MIN +
           (uint32_t)((uint64_t)percent_of * (WAIT_MAX - WAIT_MIN) * jitter / UINT16_MAX);
}

static void turn(struct xtr_probe *probe, enum event event, uint64_t now_us)
{
    enum xtr_probe_state old = probe->state;
    probe->state = next_state(old, event);
    if (probe->state == old)
        return;
    probe->since_us = now_us;
    probe->n_answered = 0;
    if (probe->state == XTR_PROBE_UP && probe->due_us > now_us + wait_us(probe, 0))
        probe->due_us = now_us + wait_us(probe, 0); /* it was set at the slow pace */
}

void xtr_probe_start(struct xtr_probe *probe, uint32_t interval_ms, uint64_t now_us,
                     uint16_t jitter)
{
    assert(interval_ms > 0);
    *probe =
        (struct xtr_probe){.state = XTR_PROBE_UNKNOWN,
                           .since_us = now_us,
                           .interval_us = interval_ms * 1000,
                           .due_us = now_us + (uint64_t)interval_ms * 1000 * jitter / UINT16_MAX};
}

void xtr_probe_set_interval(struct xtr_probe *probe, uint32_t interval_ms, uint64_t now_us)
{
    assert(interval_ms > 0);
    probe->interval_us = interval_ms * 1000;
    if (probe->due_us > now_us + pace_us(probe))
        probe->due_us = now_us + pace_us(probe);
}

/* Three have to be missing, and the last of them must have had its time: after a pause of our
 * own, three intervals are over at once. */
static uint64_t verdict_us(const struct xtr_probe *probe)
{
    if (!is_alive(probe) || probe->n_unanswered < XTR_PROBE_MULTIPLIER)
        return UINT64_MAX;
    uint64_t silent_us = probe->heard_us + (uint64_t)XTR_PROBE_MULTIPLIER * pace_us(probe);
    uint64_t last_us = probe->enough_us + pace_us(probe) / 100 * LAST_GRACE;
    return silent_us > last_us ? silent_us : last_us;
}

uint64_t xtr_probe_next_us(const struct xtr_probe *probe)
{
    uint64_t verdict = verdict_us(probe);
    return verdict < probe->due_us ? verdict : probe->due_us;
}

bool xtr_probe_run(struct xtr_probe *probe, uint64_t now_us, uint64_t nonce, uint16_t jitter)
{
    if (now_us >= verdict_us(probe))
        turn(probe, EVENT_MISSED, now_us);
    if (now_us < probe->due_us)
        return false;
    if (probe->sent[probe->last].is_open)
        probe->n_answered = 0;
    probe->last = (probe->last + 1) % (XTR_PROBE_MULTIPLIER + 1);
    probe->sent[probe->last] = (struct xtr_probe_sent){nonce, now_us, true};
    if (++probe->n_unanswered == XTR_PROBE_MULTIPLIER)
        probe->enough_us = now_us;
    probe->due_us = now_us + wait_us(probe, jitter);
    return true;
}

static struct xtr_probe_sent *take(struct xtr_probe *probe, uint64_t nonce)
{
    for (uint32_t i = 0; i <= XTR_PROBE_MULTIPLIER; i++) {
        struct xtr_probe_sent *sent = &probe->sent[i];
        if (!sent->is_open || sent->nonce != nonce)
            continue;
        sent->is_open = false;
        return sent;
    }
    return NULL;
}

static void hear(struct xtr_probe *probe, enum event event, uint64_t now_us)
{
    probe->heard_us = now_us;
    probe->n_unanswered = 0;
    turn(probe, event, now_us);
}

bool xtr_probe_answered(struct xtr_probe *probe, uint64_t nonce, uint64_t now_us)
{
    const struct xtr_probe_sent *sent = take(probe, nonce);
    if (!sent)
        return false;
    probe->rtt_us = (uint32_t)(now_us - sent->sent_us);
    if (probe->state == XTR_PROBE_SILENT && ++probe->n_answered < XTR_PROBE_MULTIPLIER)
        return true;
    hear(probe, EVENT_ANSWERED, now_us);
    return true;
}

bool xtr_probe_refused(struct xtr_probe *probe, uint64_t nonce, uint64_t now_us)
{
    if (!take(probe, nonce))
        return false;
    if (is_alive(probe))
        hear(probe, EVENT_REFUSED, now_us);
    else
        probe->n_answered = 0;
    return true;
}

const char *xtr_probe_name(enum xtr_probe_state state)
{
    switch (state) {
    case XTR_PROBE_UNKNOWN:
        return "unknown";
    case XTR_PROBE_UP:
        return "up";
    case XTR_PROBE_REFUSED:
        return "refused";
    case XTR_PROBE_SILENT:
        return "silent";
    }
    assert(false);
    return "";
}
