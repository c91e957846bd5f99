/* The commands of "xtr", by subject: xtr_status.c, xtr_ports.c, xtr_map.c, xtr_check.c,
 * xtr_trace.c; their table is in xtr.c. */
#ifndef CTL_XTR_H
#define CTL_XTR_H

#include "command.h"

enum ctl_exit ctl_xtr_run_status(struct ctl *ctl);
enum ctl_exit ctl_xtr_run_ports(struct ctl *ctl);
enum ctl_exit ctl_xtr_run_attach(struct ctl *ctl);
enum ctl_exit ctl_xtr_run_detach(struct ctl *ctl);
enum ctl_exit ctl_xtr_run_cache(struct ctl *ctl);
enum ctl_exit ctl_xtr_run_nodes(struct ctl *ctl);
enum ctl_exit ctl_xtr_run_accept(struct ctl *ctl);
enum ctl_exit ctl_xtr_run_check(struct ctl *ctl);
enum ctl_exit ctl_xtr_run_trace(struct ctl *ctl);

#endif
