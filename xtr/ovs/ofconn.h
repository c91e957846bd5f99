/* A connection to a bridge's management socket (BRIDGE.mgmt in Open vSwitch's run directory),
 * where OpenFlow is spoken without a controller being set.
 *
 * Requests are appended to the connection's output and go out with the next call; everything
 * that comes in meanwhile is handed to one function of the owner, in the order in which the switch
 * sent it.  A switch that for eight seconds neither takes nor answers anything counts as gone,
 * whatever it sends of its own accord: its connection is lost and every call returns -ENOTCONN from
 * then on. */
#ifndef OVS_OFCONN_H
#define OVS_OFCONN_H

#include "openflow.h"

struct of_conn;

/* 'message' is lent for the call.  Echo requests are answered by the connection itself. */
typedef void of_message_fn(void *aux, const struct of_message *message);

/* Connects and agrees on the version.  0, or -errno: -ENOENT and -ECONNREFUSED where nobody
 * listens, -EPROTO where the bridge does not speak OpenFlow 1.4, -ETIMEDOUT, -ENOTCONN where it
 * closes. */
int of_connect(const char *path, of_message_fn *on_message, void *aux, struct of_conn **ret_conn);
void of_close(struct of_conn *conn);

/* Of the socket, for poll(2). */
int of_fd(const struct of_conn *conn);
bool of_is_lost(const struct of_conn *conn);

/* To append to, each request with an xid of its own. */
struct em_buf *of_out(struct of_conn *conn);
uint32_t of_xid(struct of_conn *conn);

/* Sends what was appended, and a barrier, and waits until the switch has done all of it. */
int of_barrier(struct of_conn *conn);

/* Waits until a message with this xid has come that is no part with more to follow.  Of an error,
 * which the owner's function has seen, what it means (of_error_errno()). */
int of_wait(struct of_conn *conn, uint32_t xid);

/* An answer is waited for from now on.  Has it been for too long, with no sign of the switch since?
 * Then the connection is lost. */
void of_expect(struct of_conn *conn);
bool of_is_overdue(struct of_conn *conn);

/* Sends what was appended as far as the socket takes it. */
int of_send(struct of_conn *conn);

/* Reads what is there, at most 'budget' bytes or so, and does not wait.  The number of bytes,
 * or -errno. */
int of_receive(struct of_conn *conn, size_t budget);

#endif
