/* Accepts connections on the addresses that a program serves. */
#ifndef EM_LISTENER_H
#define EM_LISTENER_H

#include "net/socket.h"

struct ev_loop;
struct em_listener;

/* Takes the accepted, tuned, non-blocking socket. */
typedef void em_accept_fn(void *aux, const struct em_address *address, int fd_take);

/* 0, or -errno with a sentence in *ret_why (free() it).  'mode' is a unix socket's. */
int em_listener_new(struct ev_loop *loop, const char *address, mode_t mode, em_accept_fn *on_accept,
                    void *aux, struct em_listener **ret_listener, char **ret_why);

/* Closes the socket and removes a unix socket's file.  NULL is fine. */
void em_listener_free(struct em_listener *listener);

/* Leaves new connections in the kernel's queue, and takes them again. */
void em_listener_pause(struct em_listener *listener);
void em_listener_resume(struct em_listener *listener);

const struct em_address *em_listener_address(const struct em_listener *listener);

#endif
