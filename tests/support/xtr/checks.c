/* See checks.h. */
#include "xtr/checks.h"

int sweep_all(const struct dp_class *class, struct dp *dp, uint32_t network_id)
{
    int n = 0, r;

    while ((r = class->sweep(dp, network_id)) > 0)
        n += r;
    return r < 0 ? r : n;
}

struct dp_check_result check_all(const struct dp_class *class, struct dp *dp, bool repair,
                                 dp_visit_fn *visit, void *aux)
{
    struct dp_check *check = class->check_start(dp, repair, visit, aux);

    while (class->check_step(check, 1000))
        continue;
    return class->check_end(check);
}
