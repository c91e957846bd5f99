/* Runs mapctl's commands inside the test, against a map server or xTR that answers from a
 * script in another thread. */
#ifndef CTL_STAGE_H
#define CTL_STAGE_H

#include "command.h"
#include "lib/fake_server.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>

/* What one run printed; lent until the next run. */
struct ctl_run {
    enum ctl_exit code;
    char *out;
    char *err;
};

/* Splits 'line' at spaces and runs it; "mapctl" itself is left out of it. */
struct ctl_run ctl_run(const char *line);

/* Has the run that goes on flushed any output yet?  For other threads. */
bool ctl_has_printed(void);
/* Bytes of errors that it has flushed. */
size_t ctl_complaints(void);

/* The script's side.  The server is on ctl_stage.url; run lines say "-s @ ..." for it, and
 * "-S @ ..." for its socket as that of an xTR. */
struct ctl_stage {
    struct ev_loop *loop;
    ev_async stop;
    struct fake_server server;
    pthread_t thread;
};

extern struct ctl_stage ctl_stage;

void ctl_stage_start(void (*handler)(struct fake_server *server, const Eidmap__Envelope *envelope));
void ctl_stage_stop(void);

/* Parses, and fails the test on anything but one whole document. */
json_t *ctl_parse_json(const char *text);

/* One error line that begins with "mapctl: " and holds 'part'. */
void ctl_assert_error(const struct ctl_run *run, enum ctl_exit code, const char *part);
void ctl_assert_has(const char *text, const char *part);

#endif
