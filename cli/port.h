/* What the commands on one port share: it is read as it is, and then shown, or asked about.
 *
 * A port is found by its id alone: Resolve with an EID of kind port-id knows every network. */
#ifndef CTL_PORT_H
#define CTL_PORT_H

#include "command.h"

struct ctl_port_job {
    struct ctl *ctl;
    struct em_port_id id;
    /* Shows the port, or sends a request about it: its id, or 0 and perhaps a code. */
    int64_t (*on_port)(struct ctl_port_job *job, const struct em_reply *reply,
                       const struct em_port *port);
    bool is_local; /* as the server that answers knows it; else as a majority does */
    int64_t request;
    enum ctl_exit code; /* without a request */
    bool is_found;
    char *network; /* its name */
    uint32_t network_id;
    char *before; /* where it was, or what was done */
    enum em_migration migration;
    uint32_t pending_ms;
    struct em_location target;
};

/* Parses the port-id, which is the command's first word, names the subject, opens. */
enum ctl_exit ctl_port_begin(struct ctl_port_job *job, struct ctl *ctl);

/* Reads the port as it is, hands it to job->on_port, and waits for what that has sent. */
enum ctl_exit ctl_port_read(struct ctl_port_job *job);

/* An em_reply_fn, of a registration: 'aux' is the job. */
void ctl_port_on_registered(void *aux, const struct em_reply *reply);

/* Rows of the table of commands. */
enum ctl_exit ctl_port_run_move(struct ctl *ctl);
enum ctl_exit ctl_port_run_locate(struct ctl *ctl);

#endif
