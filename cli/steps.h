/* A path told step by step, the first wrong one marked: what "trace" and "xtr trace" print. */
#ifndef CTL_STEPS_H
#define CTL_STEPS_H

#include "command.h"
#include "output.h"

struct ctl_steps {
    struct ctl *ctl;
    struct ctl_json json;
    bool has_signs; /* the terminal shows UTF-8 */
    char *wrong;    /* the first wrong step, as a sentence; NULL: none yet */
};

void ctl_steps_begin(struct ctl_steps *steps, struct ctl *ctl);

/* A line above the steps that follow; none in JSON. */
void ctl_steps_title(struct ctl_steps *steps, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* 'part' tells several paths apart in JSON, "" if there is one. */
void ctl_steps_add(struct ctl_steps *steps, const char *part, const char *name, bool is_wrong,
                   const char *found, const char *advice);

/* CTL_REFUSED, with a sentence about the first wrong step, or CTL_DONE. */
enum ctl_exit ctl_steps_end(struct ctl_steps *steps);

#endif
