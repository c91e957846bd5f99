#include "meter.h"

#include "bench.h"

#include <string.h>

#define WARM_UP   0.1 /* of the measured time */
#define GIVE_UP_S 30  /* more than the measured time */

static void arm(struct meter *meter, double seconds)
{
    ev_timer_stop(meter->loop, &meter->timer);
    ev_timer_set(&meter->timer, seconds, 0);
    ev_timer_start(meter->loop, &meter->timer);
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct meter *meter = w->data;
    uint64_t now = bench_now_ns();
    if (!meter->is_started)
        real_fail("%s: no session in time", meter->name);
    if (!meter->is_measuring) {
        meter->is_measuring = true;
        meter->start_ns = now;
        arm(meter, meter->seconds);
        return;
    }
    if (!meter->result->hist.n) {
        if (now - meter->start_ns > (uint64_t)GIVE_UP_S * 1000000000u)
            real_fail("%s: no answer in %d s", meter->name, GIVE_UP_S);
        arm(meter, meter->seconds);
        return;
    }
    meter->result->rate = (double)meter->result->hist.n * 1e9 / (double)(now - meter->start_ns);
    meter->is_over = true;
    ev_break(loop, EVBREAK_ALL);
}

void meter_init(struct meter *meter, struct ev_loop *loop, const char *name, double seconds,
                struct load_result *ret_result)
{
    *meter = (struct meter){.loop = loop, .name = name, .seconds = seconds, .result = ret_result};
    memset(ret_result, 0, sizeof(*ret_result));
    ev_timer_init(&meter->timer, on_timer, GIVE_UP_S, 0);
    meter->timer.data = meter;
    ev_timer_start(loop, &meter->timer);
}

void meter_start(struct meter *meter)
{
    meter->is_started = true;
    arm(meter, meter->seconds * WARM_UP);
}

void meter_add(struct meter *meter, uint64_t sent_ns)
{
    if (meter->is_measuring)
        hist_add(&meter->result->hist, bench_now_ns() - sent_ns);
}
