/* Printing answers, apart from the connection that they came on. */
#ifndef CTL_RESOLVE_H
#define CTL_RESOLVE_H

#include "command.h"
#include "eidmap.h"

/* A table, or lines when watching; or a JSON document.  CTL_REFUSED if any is negative. */
enum ctl_exit ctl_resolve_print(struct ctl *ctl, const struct em_reply *reply, bool is_watching);

#endif
