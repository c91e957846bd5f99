/* The way into a data plane: the agent calls these, not the class.  Counting and logging
 * are here and nowhere below. */
#ifndef DP_DATAPLANE_H
#define DP_DATAPLANE_H

#include "dp.h"

struct dataplane;

struct dataplane_stats {
    const char *plane;  /* name of the class */
    uint64_t n_ops;     /* applied */
    uint64_t n_failed;  /* of these, refused */
    uint64_t n_entries; /* that stand, by the shadow */
    uint64_t apply_us;  /* the caller has spent in apply and start */
};

/* As dp_class.open: 0 or -errno with a sentence in *ret_why (free() it). */
int dataplane_open(const struct dp_class *class, const struct dp_config *config,
                   struct dataplane **ret_plane, char **ret_why);
void dataplane_close(struct dataplane *plane);

/* Applies the ops, sets each op's 'err' and logs what failed, rate-limited.  Returns the
 * number of ops that failed. */
size_t dataplane_apply(struct dataplane *plane, struct dp_op *ops, size_t n);

/* The same, but the ops may be done later: they are lent until dataplane_finish() is true for what
 * this returns, and what failed is logged then. */
uint64_t dataplane_start(struct dataplane *plane, struct dp_op *ops, size_t n);
bool dataplane_finish(struct dataplane *plane, uint64_t start, const struct dp_op *ops, size_t n);

/* As in dp_class.  A check is of one plane and ends before that is closed. */
int dataplane_sweep(struct dataplane *plane, uint32_t network_id);
int dataplane_set_rloc(struct dataplane *plane, const struct em_ip *rloc);
void dataplane_look(struct dataplane *plane, const struct dp_path *path, dp_step_fn *visit,
                    void *aux);

int dataplane_miss_open(struct dataplane *plane, uint32_t network_id, int *ret_fd);
void dataplane_miss_close(struct dataplane *plane, uint32_t network_id);
int dataplane_idle(struct dataplane *plane, uint32_t network_id, const uint8_t *mac,
                   uint64_t *ret_ms);
void dataplane_adopted(struct dataplane *plane, uint32_t network_id, dp_eid_fn *visit, void *aux);

struct dp_check *dataplane_check_start(struct dataplane *plane, bool repair, dp_visit_fn *visit,
                                       void *aux);
bool dataplane_check_step(struct dataplane *plane, struct dp_check *check, uint64_t budget_us);
struct dp_check_result dataplane_check_end(struct dataplane *plane, struct dp_check *check);
bool dataplane_is_disturbed(struct dataplane *plane);
bool dataplane_lost(struct dataplane *plane, char ret_device[IFNAMSIZ]);
int dataplane_fd(const struct dataplane *plane); /* -1: there is nothing to watch */
bool dataplane_serve(struct dataplane *plane);
void dataplane_limits(struct dataplane *plane, dp_limit_fn *visit, void *aux);

struct dataplane_stats dataplane_stats(const struct dataplane *plane);

/* "MAC put", for messages; static storage. */
const char *dataplane_verb(enum dp_verb verb);

/* What 'op' is about, as a person reads it ("02:00:00:00:00:01 in network 7"); returns
 * 'text' of DATAPLANE_TEXT bytes. */
#define DATAPLANE_TEXT 128
char *dataplane_describe(const struct dp_op *op, char text[DATAPLANE_TEXT]);

#endif
