/* The commands of this server that are on their way into the map: in order, each sent until
 * it is applied.
 *
 * A command gets the next number of this server's incarnation.  When a leader is lost nobody
 * knows what it logged, so all that are open are sent again, in order, to the next one; the
 * map applies each number once (state/apply.h).  A command that has found no leader for long
 * is given up: an empty one takes its number, so that either it or the command is applied,
 * and the proposer is told the truth. */
#ifndef MS_PROPOSALS_H
#define MS_PROPOSALS_H

#include "core/core.h"
#include "core/entry.h"

/* Bytes of a command as its server sends it: an entry of the log and the message that carries it
 * are a little larger, and one frame. */
#define MS_COMMAND_MAX (EM_FRAME_MAX - 3968)

struct ms_proposals;

struct ms_proposals *ms_proposals_new(uint64_t replica, uint64_t incarnation, size_t max_len,
                                      size_t max_size);

/* Every proposal that is left is answered EM_E_CLOSED. */
void ms_proposals_free(struct ms_proposals *proposals);

/* Any thread.  Takes the packed Command.  EM_E_BUSY: too many are open; EM_E_LIMIT: it does not
 * fit into a message between servers. */
int ms_proposals_add(struct ms_proposals *proposals, uint8_t *bytes_take, size_t size,
                     ms_core_done_fn *done, void *aux);

/* Any thread, in the order of the log: a command was applied (or given up); if it is the
 * oldest of these, its proposer is told. */
void ms_proposals_settle(struct ms_proposals *proposals, const struct ms_result *result);

/* Any thread: the map was replaced, and holds already all of ours up to 'seq'.  What is older
 * is answered EM_E_BUSY. */
void ms_proposals_skip(struct ms_proposals *proposals, uint64_t incarnation, uint64_t seq);

/* The next one that has not been sent, a reference; NULL: none, or it is larger than 'room'. */
struct ms_payload *ms_proposals_next(struct ms_proposals *proposals, uint64_t now_ms, size_t room);

/* All that are open are to be sent (again). */
void ms_proposals_rewind(struct ms_proposals *proposals);

/* Has the oldest one been on its way since before then? */
bool ms_proposals_is_stuck(struct ms_proposals *proposals, uint64_t before_ms);

/* Have all been sent? */
bool ms_proposals_is_sent(struct ms_proposals *proposals);

size_t ms_proposals_len(struct ms_proposals *proposals);

#endif
