/* The stage for tests of the client: two scripted servers, one client, one loop, and what
 * the client's callbacks have seen. */
#ifndef CLIENT_SCENE_H
#define CLIENT_SCENE_H

#include "base/clock.h"
#include "client/client.h"
#include "lib/fake_server.h"

#include <criterion/criterion.h>

#define PATIENCE_MS 10000
#define BODY(name)  EIDMAP__ENVELOPE__BODY_##name

extern struct scene {
    struct ev_loop *loop;
    ev_timer tick; /* so that a turn of the loop always ends */
    struct fake_server one, two;
    struct em_client *client;
    struct {
        unsigned n_up, n_down, n_replies;
        int down_err;
        char down_why[256];
        char server[80];
        int err; /* this and the next are of the last reply */
        char message[128];
        uint64_t revision;
        uint64_t order[64]; /* 'aux' of each reply */
    } seen;
} scene;

/* Pauses of a client that is in a hurry; everything else is as always. */
extern const struct em_dialer_times scene_times;
extern const struct em_client_events scene_events;

void scene_setup(void);
void scene_teardown(void);

/* For what must not happen: gives both sides their turns. */
void scene_settle(void);

/* Makes the client; scene_up() waits for its session as well. */
void scene_connect(size_t n_servers, const struct em_client_config *more);
void scene_up(size_t n_servers, const struct em_client_config *more);

/* The server that has the session, and the other one. */
struct fake_server *scene_here(void);
struct fake_server *scene_there(void);

void scene_on_up(void *aux, const struct em_welcome *welcome);
void scene_on_down(void *aux, int err, const char *why);
void scene_on_reply(void *aux, const struct em_reply *reply);

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t end_ = em_now_ms() + PATIENCE_MS;                                                 \
        while (!(condition)) {                                                                     \
            cr_assert_lt(em_now_ms(), end_, "in vain: %s", #condition);                            \
            ev_run(scene.loop, EVRUN_ONCE);                                                        \
        }                                                                                          \
    } while (0)

#endif
