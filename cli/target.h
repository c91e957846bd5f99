/* Which server to ask, and with which credentials. */
#ifndef CTL_TARGET_H
#define CTL_TARGET_H

#include "command.h"
#include "eidmap.h"

#define CTL_DEFAULT_SERVER "unix:/run/eidmap/mapserver.sock"
#define CTL_DEFAULT_XTR    "/run/eidmap/xtr.sock"
#define CTL_MAX_SERVERS    16

/* What em_client_config lends. */
struct ctl_servers {
    char *list; /* the others point into it, or are NULL */
    const char *servers[CTL_MAX_SERVERS];
    size_t n_servers;
    char *ca, *cert, *key;
};

/* --pki, or $EIDMAP_PKI, or NULL. */
const char *ctl_target_pki(const struct ctl *ctl);

/* --xtr, or $EIDMAP_XTR, or the default. */
const char *ctl_target_xtr(const struct ctl *ctl);

/* From options and environment.  Complains itself; fini in either case. */
enum ctl_exit ctl_servers_init(struct ctl *ctl, struct ctl_servers *servers);
/* Can the files be read, and do they belong together?  Complains itself. */
enum ctl_exit ctl_servers_check(struct ctl *ctl, const struct ctl_servers *servers);
void ctl_servers_fini(struct ctl_servers *servers);

#endif
