/* One conversation with a server: open, ask, wait, close.
 *
 * A command opens once, sends requests, and waits; a reply's callback ends the wait with
 * ctl_finish().  Every failure is told on ctl->err where it is seen, once. */
#ifndef CTL_CALL_H
#define CTL_CALL_H

#include "command.h"
#include "eidmap.h"

struct ctl_servers;

/* What refusals are about, for the error line: "port web-1". */
void ctl_subject(struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));

enum ctl_exit ctl_open(struct ctl *ctl);
/* One server of several, without a word if it cannot be reached. */
bool ctl_open_quietly(struct ctl *ctl, const struct ctl_servers *servers, size_t i);
enum ctl_exit ctl_open_xtr(struct ctl *ctl);
void ctl_close(struct ctl *ctl);

/* After a request was sent ('id' is what em_client_*() gave): waits for ctl_finish(), as
 * long as an answer may take. */
enum ctl_exit ctl_wait(struct ctl *ctl, int64_t id);
/* The same without a limit, for what goes on until a signal: SIGINT and SIGTERM give CTL_DONE. */
enum ctl_exit ctl_follow(struct ctl *ctl, int64_t id);
void ctl_finish(struct ctl *ctl, enum ctl_exit code);

/* For commands that try again: gives 0 or EM_E_TIMEOUT (or 'id', when it is an error) and says
 * nothing; what ctl_finish() was given is not looked at. */
int ctl_wait_quietly(struct ctl *ctl, int64_t id);
/* Lets time pass. */
void ctl_pause(struct ctl *ctl, unsigned ms);

/* How long answers may take when --timeout does not say; before ctl_open(). */
void ctl_set_patience(struct ctl *ctl, uint32_t timeout_ms);

/* Tells why a request was refused and ends the wait. */
void ctl_refused(struct ctl *ctl, const struct em_reply *reply);
void ctl_refused_with(struct ctl *ctl, int err, const char *message);

/* For replies that only succeed or fail: aux is the ctl; 'reply' 0 finishes with CTL_DONE. */
void ctl_on_reply(void *aux, const struct em_reply *reply);

/* For removals: says that the subject is gone. */
void ctl_on_removed(void *aux, const struct em_reply *reply);

/* "SUBJECT: WHAT, revision N", or {"revision": N}. */
void ctl_report(struct ctl *ctl, const char *what, uint64_t revision);
/* "SUBJECT: not found; ..." */
enum ctl_exit ctl_not_found(struct ctl *ctl);

/* Shows one record of a network as it is; true: that is enough. */
typedef bool ctl_visit_fn(void *aux, const struct em_change *change);

/* Opens, looks for one node or network, and closes: 'visit' shows it and sets *is_found. */
enum ctl_exit ctl_show(struct ctl *ctl, ctl_visit_fn *visit, void *aux, const bool *is_found);

/* Visits each object of a network once, as it was when it was read, in feed order.  Network
 * 0 (with 'network' NULL) has the nodes and networks. */
enum ctl_exit ctl_snapshot(struct ctl *ctl, uint32_t network_id, const char *network,
                           ctl_visit_fn *visit, void *aux);

#endif
