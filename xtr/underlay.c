/* A change of address is several events: the old one goes, the new one comes, routes follow.
 * Looking after the first would find the host without any. */
#include "underlay.h"

#include "dataplane/news.h"

#define SETTLE_S 0.05

static void on_news(struct ev_loop *loop, ev_io *w, int revents)
{
    struct xtr_underlay *underlay = w->data;
    dp_news_drain(underlay->news);
    if (ev_is_active(&underlay->settle))
        return;
    ev_timer_set(&underlay->settle, SETTLE_S, 0);
    ev_timer_start(loop, &underlay->settle);
}

static void on_settled(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct xtr_underlay *underlay = w->data;
    underlay->on_change(underlay->aux);
}

int xtr_underlay_start(struct xtr_underlay *underlay, struct ev_loop *loop, bool has_routes,
                       void (*on_change)(void *aux), void *aux)
{
    *underlay = (struct xtr_underlay){.loop = loop, .on_change = on_change, .aux = aux};
    int r = dp_news_open(has_routes, &underlay->news);
    if (r)
        return r;
    ev_timer_init(&underlay->settle, on_settled, 0, 0);
    ev_io_init(&underlay->io, on_news, dp_news_fd(underlay->news), EV_READ);
    underlay->settle.data = underlay->io.data = underlay;
    ev_io_start(loop, &underlay->io);
    return 0;
}

void xtr_underlay_stop(struct xtr_underlay *underlay)
{
    if (!underlay->news)
        return;
    ev_io_stop(underlay->loop, &underlay->io);
    ev_timer_stop(underlay->loop, &underlay->settle);
    dp_news_close(underlay->news);
    underlay->news = NULL;
}

bool xtr_underlay_has(const struct xtr_underlay *underlay, const struct em_ip *ip)
{
    return !underlay->news || dp_news_has_address(underlay->news, ip);
}
