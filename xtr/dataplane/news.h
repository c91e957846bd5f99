/* News of the host's own addresses and routes: an underlay address that changes. */
#ifndef DP_NEWS_H
#define DP_NEWS_H

#include "eidmap/addr.h"

struct dp_news;

/* Of addresses, or of routes too; in the caller's network namespace.  0 or -errno. */
int dp_news_open(bool has_routes, struct dp_news **ret_news);
void dp_news_close(struct dp_news *news);

/* Becomes readable when there are news; then dp_news_drain() takes them, whatever they are:
 * what matters is how things stand now.  Never waits, and takes no more than some at once. */
int dp_news_fd(const struct dp_news *news);
void dp_news_drain(struct dp_news *news);

/* Does a device of this host hold the address?  True if that cannot be found out. */
bool dp_news_has_address(struct dp_news *news, const struct em_ip *ip);

#endif
