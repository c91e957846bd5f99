/* Checks and sweeps of a data plane from beginning to end, for tests. */
#ifndef TEST_CHECKS_H
#define TEST_CHECKS_H

#include "dataplane/dp.h"

struct dp_check_result check_all(const struct dp_class *class, struct dp *dp, bool repair,
                                 dp_visit_fn *visit, void *aux);

/* Sweeps until there is nothing left; the number of entries removed, or -errno. */
int sweep_all(const struct dp_class *class, struct dp *dp, uint32_t network_id);

#endif
