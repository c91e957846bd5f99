/* What stands in the switch, as a dump shows it, brought up to date with what was sent since.
 * For the files of the Open vSwitch data plane. */
#ifndef DP_OVS_CHECK_H
#define DP_OVS_CHECK_H

#include "ovs.h"

/* Asks for all flows and groups; reads what has come, for about that many bytes; false: all has
 * been read, or the switch is lost (then 'err' is set). */
void ovs_mirror_ask(struct dp_check *check);
bool ovs_mirror_read(struct dp_check *check, size_t budget);

/* How a flow of ours stands. */
enum ovs_verdict { OVS_STANDS, OVS_MISSING, OVS_WRONG, OVS_FOREIGN };
enum ovs_verdict ovs_mirror_judge(struct dp_check *check, const struct of_flow *flow);

struct dp_check *ovs_check_start(struct dp *dp, bool repair, dp_visit_fn *visit, void *aux);
bool ovs_check_step(struct dp_check *check, uint64_t budget_us);
struct dp_check_result ovs_check_end(struct dp_check *check);

/* A flow was sent, or its removal. */
void ovs_checks_note(struct dp *dp, const struct of_flow *flow, bool is_there);

/* What all checks under way wait for does not come. */
void ovs_checks_fail(struct dp *dp, int err);

/* An answer in parts has come. */
void ovs_on_parts(struct dp *dp, const struct of_message *message);

/* ovs_miss.c: an answer about one flow. */
void ovs_on_single(struct dp *dp, struct of_parts *parts);

/* Is told of each flow and group of a dump, before the mirror is; 'aux' is the check. */
typedef void ovs_seen_flow_fn(struct dp *dp, void *aux, const struct of_seen_flow *flow);
typedef void ovs_seen_group_fn(struct dp *dp, void *aux, const struct of_seen_group *group);

struct dp_check {
    struct dp *dp;
    struct dp_check *next;
    bool is_repair;
    dp_visit_fn *visit;
    void *aux;
    struct dp_check_result result;
    int trouble; /* the first that does not end the walk */
    int phase;
    uint32_t at;

    uint32_t xid_flows, xid_groups; /* of dumps under way; 0: read to the end */
    uint32_t serial;                /* groups sent later than this are not compared */
    bool is_asked;
    struct dp_table flows;  /* struct ovs_seen_rec */
    struct dp_table groups; /* struct ovs_seen_rec, key: group id */
    ovs_seen_flow_fn *on_flow;
    ovs_seen_group_fn *on_group;
    enum ovs_verdict worst; /* of the flows of one record */
};

#endif
