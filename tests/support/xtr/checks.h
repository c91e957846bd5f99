/* A check of a data plane from its beginning to its end, for tests. */
#ifndef TEST_CHECKS_H
#define TEST_CHECKS_H

#include "dataplane/dp.h"

struct dp_check_result check_all(const struct dp_class *class, struct dp *dp, bool repair,
                                 dp_visit_fn *visit, void *aux);

#endif
