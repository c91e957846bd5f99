/* The agent's unix socket: mapctl and whoever attaches ports talk to it, with the frames and
 * messages of the protocol.
 *
 * Who may: root, the agent's own user, and members of the socket's group where its mode lets
 * them connect.  Long answers go out as the peer takes them. */
#ifndef XTR_CONTROL_H
#define XTR_CONTROL_H

struct em_net;
struct xtr_agent;
struct xtr_config;
struct xtr_control;

/* 0, or -errno with a sentence in *ret_why (free() it). */
int xtr_control_new(struct em_net *net, struct xtr_agent *agent, const struct xtr_config *config,
                    struct xtr_control **ret_control, char **ret_why);

/* Closes all connections.  NULL is fine. */
void xtr_control_free(struct xtr_control *control);

#endif
