/* A data plane of plain lists: what a sequence of operations leaves standing, as text.
 *
 * It insists on the order of dependence that the contract of dataplane/dp.h asks for: an
 * operation that comes before what it needs, or takes away what is in use, fails the test. */
#ifndef TEST_TABLES_H
#define TEST_TABLES_H

#include "dataplane/dp.h"

struct tables;

struct tables *tables_new(void);
void tables_free(struct tables *tables);
void tables_apply(struct tables *tables, const struct dp_op *ops, size_t n);

/* Adds a line as if it stood, for building what is expected. */
void tables_expect(struct tables *tables, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Lines "net 1 vni 100", "dev 1 tap0", "local 1 MAC tap0", "mac 1 MAC -> TARGETS",
 * "ip 1 IP MAC", "flood 1 TARGET", "copy 1 MAC TARGET" with the device behind it where there is
 * one, sorted; TARGETS in order.  For the caller to free. */
char *tables_show(const struct tables *tables);

char *tables_target(const struct dp_target *target, bool with_weight, char text[96]);
char *tables_targets(const struct dp_target *targets, size_t n, char *text);

/* Number of sets that stand, and operations applied. */
size_t tables_n_sets(const struct tables *tables);
size_t tables_n_ops(const struct tables *tables);

#endif
