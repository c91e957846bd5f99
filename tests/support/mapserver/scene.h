/* A whole map server inside a test: a store in a new directory, the core, the front on a unix
 * socket, its main loop in a thread.  And clients of it that block. */
#ifndef MS_SCENE_H
#define MS_SCENE_H

#include "eidmap.h"
#include "front/front.h"
#include "wire/msg.h"

#include <stddef.h>
#include <stdint.h>

#define SCENE_EPOCHS 64

struct scene;

/* 'lease_ms' 0: 15 s.  Ends the test when it cannot start. */
struct scene *scene_start(uint32_t lease_ms);

/* As scene_start(0), but deletions stay in the feed for no longer than this. */
struct scene *scene_start_forgetful(uint64_t tombstones_ms);

/* Stops the server, and starts it again on the same directory. */
void scene_restart(struct scene *scene);

/* As a reload that changes the lease. */
void scene_set_lease(struct scene *scene, uint32_t lease_ms);

/* Stops it and removes the directory. */
void scene_stop(struct scene *scene);

/* A command that came in elsewhere: applies it, and returns when it is visible. */
void scene_apply(struct scene *scene, const Eidmap__Command *command);

/* "unix:PATH" of the server. */
const char *scene_address(const struct scene *scene);

/* A connected client: of a node, or of an operator (NULL). */
struct em_call *scene_client(struct scene *scene, const char *node_id, uint64_t boot_epoch);

/* What a reply said, copied. */
struct scene_reply {
    int err;
    char message[256];
    char field[64];
    uint32_t record;
    uint64_t revision;
    uint64_t epochs[SCENE_EPOCHS];
    size_t n_epochs;
    uint32_t n_withdrawn;
    uint32_t network_id;
    char current_node[64]; /* first location of 'current' */
    /* Of the first answer: */
    size_t n_answers;
    bool is_positive;
    char port[EM_PORT_ID_TEXT];
    char node[64]; /* of its first location */
    char matched[EM_EID_TEXT], covers[EM_EID_TEXT];
    enum em_action action;
    uint32_t ttl_s;
    unsigned n_calls; /* how often the callback was called */
};

/* An em_reply_fn: 'aux' is a scene_wait. */
struct scene_wait {
    struct em_call *call;
    struct scene_reply reply;
};
void scene_on_reply(void *aux, const struct em_reply *reply);

/* Waits for one more call of scene_on_reply; at most 5 s. */
struct scene_reply scene_await(struct scene_wait *wait);

/* The usual requests, blocking. */
struct scene_reply scene_put_network(struct em_call *call, const char *name, const char *subnet);
struct scene_reply scene_claim(struct em_call *call, const char *network, const char *port,
                               const char *mac, const char *ip, bool is_attach, uint64_t epoch);
struct scene_reply scene_resolve(struct em_call *call, const char *network, const char *eid);
struct scene_reply scene_withdraw(struct em_call *call, const char *port);

/* What a subscription has shown: changes are kept as "+id" and "-id", in order. */
struct scene_feed {
    struct em_call *call;
    char log[8192];
    uint64_t revision;
    unsigned n_pages, n_changes, n_start_over, n_complete;
    bool is_removed;
    int err;
};
void scene_on_feed(void *aux, const struct em_feed *page);

/* Waits until the log holds 'text'; at most 5 s. */
void scene_feed_await(struct scene_feed *feed, const char *text);

#endif
