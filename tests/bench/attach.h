/* Ports attached at an agent through its control socket.
 *
 * What goes wrong here ends the program with a sentence. */
#ifndef ATTACH_H
#define ATTACH_H

#include "eidmap.h"

#include <stdbool.h>
#include <stdint.h>

struct attacher {
    struct em_call *call;
    const char *network;
    uint32_t next, end; /* numbers of ports that are still to be attached */
    const char *device; /* for all of them; NULL: "d1" for number 1, and so on */
    bool is_waiting;    /* each answer says that the port is installed */
    uint32_t n_under_way;
    uint64_t answered_ns; /* when the last answer came; 0: not yet */
};

/* Waits until the agent listens at "DIR/NAME.sock"; 'network' is lent. */
void attach_open(struct attacher *ret_attacher, const char *dir, char name, const char *network);
void attach_close(struct attacher *attacher);

struct ev_loop *attach_loop(const struct attacher *attacher);

/* Asks for numbered ports first .. first + n - 1 on 'device' (lent; NULL: each on
 * one of its own, by its number), some at a time; goes on while
 * the loop runs, and breaks it with the last answer.  With 'wait' that is when they are installed.
 * When the first was asked for. */
uint64_t attach_start(struct attacher *attacher, uint32_t first, uint32_t n, const char *device,
                      bool wait);

/* Runs the loop until the last answer. */
void attach_await(struct attacher *attacher);

#endif
