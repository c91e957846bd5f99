/* What a status says of the cluster: its members, how far each is, and what is wrong. */
#ifndef CTL_CLUSTER_H
#define CTL_CLUSTER_H

#include "eidmap.h"
#include "output.h"

#define CTL_FAR_BEHIND 10000 /* log entries: more is worth a sentence */
#define CTL_SILENT_MS  5000  /* so is a member that was not heard for this long */

/* "voter"; "?" for one that is not known. */
const char *ctl_member_role(enum em_member_role role);

/* "connected", "unreachable", "receiving the map". */
const char *ctl_member_state(const struct em_member *member);

/* How many log entries it does not have yet, as the leader knows it, else without those that
 * it has applied; false: it was never heard. */
bool ctl_member_lag(const struct em_status *status, const struct em_member *member,
                    uint64_t *ret_lag);

/* How long ago: "0.080s", "never", "-" of the one that answers. */
char *ctl_member_heard(const struct em_member *member);

/* NULL: no such member. */
const struct em_member *ctl_member_find(const struct em_status *status, const char *name);

size_t ctl_voters(const struct em_status *status);

/* One member, in one line: "voter, connected, 12 entries behind, heard 0.080s ago". */
char *ctl_member_text(const struct em_status *status, const struct em_member *member);
void ctl_json_member(struct ctl_json *json, const char *key, const struct em_status *status,
                     const struct em_member *member);

struct ctl_sentences {
    char **texts;
    size_t n;
};

/* The server's own problems, and those that follow from what it says of the members. */
struct ctl_sentences ctl_cluster_problems(const struct em_status *status);
/* What is not wrong, but could be better. */
struct ctl_sentences ctl_cluster_hints(const struct em_status *status);
void ctl_sentences_fini(struct ctl_sentences *sentences);

#endif
