/* Route netlink: batches of messages in, one result for each out; dumps and single reads.
 *
 * One socket, one thread; a batch can be built for a socket that is another thread's.  Messages are
 * appended to a batch and go to the kernel in one sendmsg, with an acknowledgement asked for the
 * last one only: the kernel reports errors in any case (notes in netlink.c).  libmnl stays behind
 * this header and link.h, entry.h. */
#ifndef DP_NETLINK_H
#define DP_NETLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nlmsghdr;
struct dp_nl;
struct dp_nl_batch;

#define DP_NL_BATCH   128  /* messages in one sendmsg; the kernel lets others in after each */
#define DP_NL_MESSAGE 1024 /* most bytes of one message */

/* 0 or -errno.  The socket belongs to the network namespace of the caller. */
int dp_nl_open(struct dp_nl **ret_nl);
void dp_nl_close(struct dp_nl *nl);

/* What happens to links and nexthops is kept from now on, for dp_nl_events().  -errno. */
int dp_nl_listen(struct dp_nl *nl);

/* Appends a message of 'type' with 'extra' zeroed bytes behind its header; NLM_F_REQUEST
 * is set.  There must be room.  The pointer is good until the next call here. */
struct nlmsghdr *dp_nl_begin(struct dp_nl *nl, uint16_t type, uint16_t flags, size_t extra);

/* Messages in the batch, and whether 'n' more fit. */
size_t dp_nl_len(const struct dp_nl *nl);
bool dp_nl_has_room(const struct dp_nl *nl, size_t n);

/* Sends the batch and empties it.  errs[i] is the result of message i: 0 or -errno; a
 * delete of what is absent counts as done.  A result that was lost is -ENOBUFS.  'errs'
 * has DP_NL_BATCH places.  Returns the first error. */
int dp_nl_send(struct dp_nl *nl, int *errs);

/* Sends the batch when only its first error matters. */
int dp_nl_commit(struct dp_nl *nl);

/* An empty batch, with memory of its own. */
struct dp_nl_batch *dp_nl_batch_new(void);
void dp_nl_batch_free(struct dp_nl_batch *batch);

/* Takes the batch out, for dp_nl_send_batch(); messages are appended to 'empty_take' from now on.
 */
struct dp_nl_batch *dp_nl_swap_take(struct dp_nl *nl, struct dp_nl_batch *empty_take);

/* As dp_nl_send(), over this socket, with a batch that any has built. */
int dp_nl_send_batch(struct dp_nl *nl, struct dp_nl_batch *batch, int *errs);

/* Shown in the order of the requests; 'i' is the request's place in the batch. */
typedef void dp_nl_answer_fn(void *aux, size_t i, const struct nlmsghdr *message);

/* Sends a batch of requests to read one thing each, and shows the answers.  errs[] as with
 * dp_nl_send(): -ENOENT and the like where there is nothing to show. */
int dp_nl_ask(struct dp_nl *nl, int *errs, dp_nl_answer_fn *on_answer, void *aux);

typedef void dp_nl_fn(void *aux, const struct nlmsghdr *message);

/* Sends the one message in the batch, a request to read, and shows each answer to
 * 'on_message'; lent for the call, which must not use 'nl'.  With NLM_F_DUMP all that is
 * dumped is shown; a dump that the kernel found inconsistent is -EAGAIN. */
int dp_nl_read(struct dp_nl *nl, dp_nl_fn *on_message, void *aux);

/* The same, but a dump of much more than 'most' entries is broken off: -EFBIG. */
int dp_nl_read_most(struct dp_nl *nl, size_t most, dp_nl_fn *on_message, void *aux);

/* Messages that changed something or tried to, since open. */
uint64_t dp_nl_n_sent(const struct dp_nl *nl);

/* Shows what has happened since the last call, never waits.  False: some of it is lost. */
bool dp_nl_events(struct dp_nl *nl, dp_nl_fn *on_message, void *aux);

#endif
