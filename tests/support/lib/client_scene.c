#include "lib/client_scene.h"

#include <stdio.h>
#include <string.h>

struct scene scene;

const struct em_dialer_times scene_times = {
    .first_ms = 5, .max_ms = 20, .refused_ms = 60, .stable_ms = 10000, .spread_ms = 5};
const struct em_client_events scene_events = {scene_on_up, scene_on_down};

static void on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
}

void scene_setup(void)
{
    scene.loop = ev_loop_new(EVFLAG_AUTO);
    ev_timer_init(&scene.tick, on_tick, 0.01, 0.01);
    ev_timer_start(scene.loop, &scene.tick);
    fake_start(&scene.one, scene.loop, "one");
    fake_start(&scene.two, scene.loop, "two");
}

void scene_teardown(void)
{
    em_client_free(scene.client);
    fake_stop(&scene.one);
    fake_stop(&scene.two);
    ev_loop_destroy(scene.loop);
}

void scene_settle(void)
{
    for (int i = 0; i < 20; i++)
        ev_run(scene.loop, EVRUN_ONCE);
}

void scene_on_up(void *aux, const struct em_welcome *welcome)
{
    scene.seen.n_up++;
    snprintf(scene.seen.server, sizeof(scene.seen.server), "%s", welcome->server);
}

void scene_on_down(void *aux, int err, const char *why)
{
    scene.seen.n_down++;
    scene.seen.down_err = err;
    snprintf(scene.seen.down_why, sizeof(scene.seen.down_why), "%s", why);
}

void scene_on_reply(void *aux, const struct em_reply *reply)
{
    scene.seen.order[scene.seen.n_replies++ % 64] = (uintptr_t)aux;
    scene.seen.err = reply->err;
    scene.seen.revision = reply->revision;
    snprintf(scene.seen.message, sizeof(scene.seen.message), "%s", reply->message);
}

void scene_connect(size_t n_servers, const struct em_client_config *more)
{
    const char *servers[] = {scene.one.url, scene.two.url};
    struct em_client_config config = more ? *more : (struct em_client_config){0};
    char *why = NULL;
    config.servers = servers;
    config.n_servers = n_servers;
    cr_assert_eq(em_client_new_timed(scene.loop, &config, &scene_times, &scene_events, NULL,
                                     &scene.client, &why),
                 0);
}

void scene_up(size_t n_servers, const struct em_client_config *more)
{
    scene_connect(n_servers, more);
    UNTIL(scene.seen.n_up == 1);
}

struct fake_server *scene_here(void)
{
    return strcmp(scene.seen.server, scene.one.url) == 0 ? &scene.one : &scene.two;
}

struct fake_server *scene_there(void)
{
    return scene_here() == &scene.one ? &scene.two : &scene.one;
}
