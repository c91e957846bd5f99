/* The blocking form: a client whose loop runs only while somebody waits. */
#include "base/mem.h"
#include "eidmap.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>

#define DEFAULT_MS 5000

struct em_call {
    struct ev_loop *loop;
    struct em_client *client;
    uint32_t timeout_ms;
    ev_timer timer;
    bool is_done;
    bool is_opening;
    size_t n_servers, n_failed; /* attempts while opening */
    int down_err; /* why the last attempt failed, 0: none has yet */
    char *down_why;
};

static void on_up(void *aux, const struct em_welcome *welcome)
{
    struct em_call *call = aux;
    if (call->is_opening)
        em_call_done(call);
}

static void on_down(void *aux, int err, const char *why)
{
    struct em_call *call = aux;
    free(call->down_why);
    call->down_why = em_strdup(why);
    call->down_err = err;
    bool is_hopeless = err == EM_E_DENIED || err == EM_E_SUPERSEDED;
    if (call->is_opening && (is_hopeless || ++call->n_failed == call->n_servers))
        ev_break(call->loop, EVBREAK_ONE); /* a person waits: each server had its chance */
}

static void on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    ev_break(loop, EVBREAK_ONE);
}

int em_call_open(const struct em_client_config *config, struct em_call **ret_call, char **ret_why)
{
    static const struct em_client_events events = {on_up, on_down};
    struct em_call *call = em_calloc(1, sizeof(*call));
    call->timeout_ms = config->timeout_ms ? config->timeout_ms : DEFAULT_MS;
    call->loop = ev_loop_new(EVFLAG_AUTO);
    if (!call->loop) {
        free(call);
        *ret_why = em_strdup("no event loop could be made");
        return -EMFILE;
    }
    call->n_servers = config->n_servers;
    ev_timer_init(&call->timer, on_timer, 0, 0);
    int r = em_client_new(call->loop, config, &events, call, &call->client, ret_why);
    if (r)
        goto out;
    call->is_opening = true;
    r = em_call_wait(call, 0);
    call->is_opening = false;
    if (r == 0) {
        *ret_call = call;
        return 0;
    }
    if (call->down_err)
        r = call->down_err;
    *ret_why = em_strdup(call->down_why ? call->down_why : em_strerror(r));
out:
    em_call_close(call);
    return r;
}

void em_call_close(struct em_call *call)
{
    if (!call)
        return;
    em_client_free(call->client);
    ev_timer_stop(call->loop, &call->timer);
    ev_loop_destroy(call->loop);
    free(call->down_why);
    free(call);
}

struct em_client *em_call_client(struct em_call *call)
{
    return call->client;
}

struct ev_loop *em_call_loop(struct em_call *call)
{
    return call->loop;
}

int em_call_wait(struct em_call *call, int timeout_ms)
{
    if (timeout_ms == 0)
        timeout_ms = (int)call->timeout_ms;
    if (timeout_ms > 0) {
        ev_now_update(call->loop);
        ev_timer_set(&call->timer, timeout_ms / 1000.0, 0);
        ev_timer_start(call->loop, &call->timer);
    }
    if (!call->is_done)
        ev_run(call->loop, 0);
    ev_timer_stop(call->loop, &call->timer);
    bool is_done = call->is_done;
    call->is_done = false;
    return is_done ? 0 : EM_E_TIMEOUT;
}

void em_call_done(struct em_call *call)
{
    call->is_done = true;
    ev_break(call->loop, EVBREAK_ONE);
}
