/* Printing a page of the feed, apart from the connection that it came on. */
#ifndef CTL_WATCH_H
#define CTL_WATCH_H

#include "command.h"
#include "eidmap.h"

/* One line for each change; ends the wait when the subscription is over. */
void ctl_watch_page(struct ctl *ctl, const struct em_feed *page);

#endif
