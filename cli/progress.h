/* How far something long is: one line that is written over on a terminal, else a plain line now
 * and then.  On ctl->err, so that the output stays what the command's result is. */
#ifndef CTL_PROGRESS_H
#define CTL_PROGRESS_H

#include "command.h"

/* Shows a line; 'phase' names what goes on: a new one is shown at once, else there is one line
 * in 5 s (a terminal: ten a second).  Silent for JSON, but on a terminal. */
void ctl_progress(struct ctl *ctl, const char *phase, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Takes the line off the terminal; ctl_fail() and ctl_say() do so themselves. */
void ctl_progress_clear(struct ctl *ctl);

#endif
