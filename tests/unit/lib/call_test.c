/* The blocking form against a server in another thread; and clients of several threads,
 * which must share nothing (the thread sanitizer watches). */
#include "base/clock.h"
#include "base/mem.h"
#include "lib/fake_server.h"

#include "eidmap.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct stage {
    struct ev_loop *loop;
    ev_async stop;
    struct fake_server server;
    pthread_t thread;
};

static struct stage stage;

/* Status is never answered; everything else is done. */
static void answer(struct fake_server *server, const Eidmap__Envelope *envelope)
{
    if (envelope->body_case != EIDMAP__ENVELOPE__BODY_STATUS)
        fake_send_done(server, envelope->id, 42);
}

static void on_stop(struct ev_loop *loop, ev_async *w, int revents)
{
    ev_break(loop, EVBREAK_ALL);
}

static void *serve(void *arg)
{
    struct stage *s = arg;
    ev_run(s->loop, 0);
    return NULL;
}

static void start(struct stage *s, const char *name, int hello_error)
{
    s->loop = ev_loop_new(EVFLAG_AUTO);
    ev_async_init(&s->stop, on_stop);
    ev_async_start(s->loop, &s->stop);
    fake_start(&s->server, s->loop, name);
    s->server.handler = answer;
    s->server.hello_error = hello_error;
    cr_assert_eq(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stop(struct stage *s)
{
    ev_async_send(s->loop, &s->stop);
    pthread_join(s->thread, NULL);
    fake_stop(&s->server);
    ev_async_stop(s->loop, &s->stop);
    ev_loop_destroy(s->loop);
}

static int open_call(const char *server, uint32_t timeout_ms, struct em_call **ret_call,
                     char **ret_why)
{
    struct em_client_config config = {.servers = &server, .n_servers = 1, .timeout_ms = timeout_ms};
    return em_call_open(&config, ret_call, ret_why);
}

static void on_done(void *aux, const struct em_reply *reply)
{
    cr_assert_eq(reply->err, 0);
    cr_assert_eq(reply->revision, 42);
    em_call_done(aux);
}

static void on_error(void *aux, const struct em_reply *reply)
{
    cr_assert_eq(reply->err, EM_E_TIMEOUT);
    em_call_done(aux);
}

Test(call, asks_and_waits_for_the_answer, .timeout = 60)
{
    struct em_call *call = NULL;
    char *why = NULL;
    start(&stage, "call", 0);
    cr_assert_eq(open_call(stage.server.url, 0, &call, &why), 0);
    for (int i = 0; i < 3; i++) {
        em_client_remove_node(em_call_client(call), "hv1", on_done, call);
        cr_assert_eq(em_call_wait(call, 0), 0);
    }
    em_call_close(call);
    stop(&stage);
}

Test(call, does_not_wait_longer_than_it_was_told, .timeout = 60)
{
    struct em_call *call = NULL;
    char *why = NULL;
    start(&stage, "call", 0);
    cr_assert_eq(open_call(stage.server.url, 0, &call, &why), 0);
    em_client_status(em_call_client(call), false, on_done, call);
    uint64_t begin_ms = em_now_ms();
    cr_assert_eq(em_call_wait(call, 30), EM_E_TIMEOUT);
    cr_assert_geq(em_now_ms() - begin_ms + 1, 30);
    em_client_remove_node(em_call_client(call), "hv1", on_done, call);
    cr_assert_eq(em_call_wait(call, 0), 0, "and can be used again");
    em_call_close(call);
    stop(&stage);
}

Test(call, request_has_the_time_of_the_configuration, .timeout = 60)
{
    struct em_call *call = NULL;
    char *why = NULL;
    start(&stage, "call", 0);
    cr_assert_eq(open_call(stage.server.url, 500, &call, &why), 0);
    em_client_status(em_call_client(call), false, on_error, call);
    cr_assert_eq(em_call_wait(call, -1), 0);
    em_call_close(call);
    stop(&stage);
}

Test(call, no_server_is_explained, .timeout = 60)
{
    struct em_call *call = NULL;
    char *why = NULL;
    cr_assert_lt(open_call("unix:/nowhere/at/all", 40, &call, &why), 0);
    cr_assert_null(call);
    cr_assert(strstr(why, "unix:/nowhere/at/all"), "%s", why);
    cr_assert(strstr(why, "No such file"), "%s", why);
    free(why);
}

Test(call, refusal_is_told_at_once, .timeout = 60)
{
    struct em_call *call = NULL;
    char *why = NULL;
    start(&stage, "call", EM_E_DENIED);
    uint64_t begin_ms = em_now_ms();
    cr_assert_eq(open_call(stage.server.url, 20000, &call, &why), EM_E_DENIED);
    cr_assert_lt(em_now_ms() - begin_ms, 10000);
    cr_assert(strstr(why, "not wanted here"), "%s", why);
    free(why);
    stop(&stage);
}

Test(call, wrong_address_is_refused_before_anything_is_tried, .timeout = 60)
{
    struct em_call *call = NULL;
    char *why = NULL;
    cr_assert_lt(open_call("tcp://192.0.2.1:1", 20000, &call, &why), 0);
    cr_assert(strstr(why, "loopback"), "%s", why);
    free(why);
}

static void *ask_often(void *arg)
{
    struct stage *s = arg;
    struct em_call *call = NULL;
    char *why = NULL;
    for (int i = 0; i < 5; i++) {
        if (open_call(s->server.url, 0, &call, &why))
            return why;
        for (int k = 0; k < 20; k++) {
            em_client_remove_node(em_call_client(call), "hv1", on_done, call);
            if (em_call_wait(call, 0))
                return em_strdup("no answer");
        }
        em_call_close(call);
    }
    return NULL;
}

Test(call, clients_of_two_threads_share_nothing, .timeout = 60)
{
    static struct stage stages[2];
    pthread_t threads[2];
    start(&stages[0], "left", 0);
    start(&stages[1], "right", 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, ask_often, &stages[i]), 0);
    for (int i = 0; i < 2; i++) {
        void *why;
        pthread_join(threads[i], &why);
        cr_assert_null(why, "%s", (char *)why);
        stop(&stages[i]);
    }
}
