/* What all connections of one loop share: the loop, the reaper, the pending list. */
#ifndef EM_NET_H
#define EM_NET_H

struct ev_loop;
struct em_net;

/* One per loop.  It belongs to the thread that runs the loop. */
struct em_net *em_net_new(struct ev_loop *loop);

/* Every connection must be closed before; those that died are freed here.  NULL is fine. */
void em_net_free(struct em_net *net);

struct ev_loop *em_net_loop(const struct em_net *net);

/* Runs 'free_fn' on 'object' once the stack has unwound: before the loop next waits, or
 * in em_net_free(). */
void em_net_reap(struct em_net *net, void *object, void (*free_fn)(void *object));

#endif
