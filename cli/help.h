/* What --help prints, from the command rows. */
#ifndef CTL_HELP_H
#define CTL_HELP_H

#include "command.h"

/* The most that is known: of ctl->command, else of ctl->family, else of all. */
void ctl_help(const struct ctl *ctl);

#endif
