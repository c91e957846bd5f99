/* A data plane in memory: keeps the contract of dp.h, records every op, refuses on request. */
#ifndef TEST_DP_FAKE_H
#define TEST_DP_FAKE_H

#include "dataplane/dp.h"

extern const struct dp_class dp_fake;

/* Ops that were applied, in order, since open or the last reset; lent until the next call
 * here.  The targets of sets are copies. */
const struct dp_op *dp_fake_ops(const struct dp *dp, size_t *ret_n);
void dp_fake_reset_ops(struct dp *dp);

/* Ops that changed something: what a real plane would have sent. */
uint64_t dp_fake_n_changes(const struct dp *dp);

/* The k-th op from now (0: the next) is refused with 'err'; once. */
void dp_fake_refuse(struct dp *dp, size_t k, int err);

/* And every op of this verb, from now on. */
void dp_fake_refuse_always(struct dp *dp, enum dp_verb verb, int err);

/* Is this standing?  For a set, all targets must be the same, in this order. */
bool dp_fake_has(const struct dp *dp, const struct dp_op *put);

/* Devices that exist; every name does as long as none is given. */
void dp_fake_add_device(struct dp *dp, const char *name);

/* Somebody else puts the device into the network's bridge, whence it can be borrowed. */
void dp_fake_plug(uint32_t network_id, const char *device);

/* What close leaves behind and open adopts is kept per process; this forgets it. */
void dp_fake_wipe(void);

#endif
