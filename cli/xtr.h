/* Printing what an xTR says, apart from the connection that it came on. */
#ifndef CTL_XTR_H
#define CTL_XTR_H

#include "command.h"

#include "wire/msg.h"

void ctl_xtr_print_status(struct ctl *ctl, const Eidmap__XtrStatusReply *status);

/* How an attach went; CTL_REFUSED, with the reason told, if it was refused. */
enum ctl_exit ctl_xtr_print_port(struct ctl *ctl, const Eidmap__LocalPort *port);

/* "xtr trace": the command, and printing its answer. */
enum ctl_exit ctl_xtr_run_trace(struct ctl *ctl);
enum ctl_exit ctl_xtr_print_trace(struct ctl *ctl, const Eidmap__XtrTraceReply *reply);

#endif
