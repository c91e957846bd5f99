/* Nexthops and groups, looked up by their ids. */
#include "check.h"

#include <linux/rtnetlink.h>
#include <string.h>

struct answers {
    struct dp_nexthop stands[DP_NL_BATCH];
    bool is_there[DP_NL_BATCH];
    int errs[DP_NL_BATCH];
};

static bool is_same_nexthop(const struct dp_nexthop *a, const struct dp_nexthop *b)
{
    if (a->ip.size != b->ip.size || memcmp(a->ip.addr, b->ip.addr, a->ip.size) != 0 ||
        a->n_members != b->n_members || a->is_fdb != b->is_fdb)
        return false;
    for (size_t i = 0; i < a->n_members; i++)
        if (a->members[i].id != b->members[i].id || a->members[i].weight != b->members[i].weight)
            return false;
    return true;
}

static void take(void *aux, size_t i, const struct nlmsghdr *message)
{
    struct answers *answers = aux;

    answers->is_there[i] = dp_nexthop_parse(message, &answers->stands[i]);
    if (answers->is_there[i])
        dp_set_sort(answers->stands[i].members, answers->stands[i].n_members);
}

/* Asks for those with these ids; at most a batch. */
static void ask(struct dp_check *check, const struct dp_nexthop *wanted, uint32_t n,
                struct answers *answers)
{
    memset(answers->is_there, 0, sizeof(answers->is_there));
    for (uint32_t i = 0; i < n; i++) {
        struct dp_nexthop key = {.id = wanted[i].id};
        dp_nexthop_message(check->dp->nl, RTM_GETNEXTHOP, 0, &key);
    }
    (void)dp_nl_ask(check->dp->nl, answers->errs, take, answers);
}

/* NULL: as it should be, or not known. */
static const char *judge(const struct dp_nexthop *want, const struct answers *answers, uint32_t i)
{
    switch (dp_check_found(answers->errs[i], answers->is_there[i])) {
    case DP_FOUND_NONE:
        return "missing";
    case DP_FOUND_UNKNOWN:
        return NULL;
    case DP_FOUND_ONE:
        break;
    }
    if (answers->stands[i].protocol != DP_PROTOCOL)
        return "foreign";
    return is_same_nexthop(&answers->stands[i], want) ? NULL : "wrong";
}

static void settle(struct dp_check *check, const struct dp_nexthop *want,
                   const struct answers *answers, uint32_t i, uint16_t *flags)
{
    char text[DP_ENTRY_TEXT];
    const char *kind = judge(want, answers, i);

    check->result.n_compared++;
    if (kind)
        dp_check_tell(check, 0, "nexthop", kind,
                      dp_nexthop_format(*kind == 'm' ? want : &answers->stands[i], text));
    if (kind && *kind != 'f')
        *flags |= DP_DIRTY;
    if (!check->is_repair || !(*flags & DP_DIRTY))
        return;
    dp_nexthop_message(check->dp->nl, RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_REPLACE, want);
    int r = dp_nl_commit(check->dp->nl);
    dp_check_note(check, r);
    if (r == 0)
        *flags &= (uint16_t)~DP_DIRTY;
}

static struct dp_nexthop wanted_of(const struct dp_shadow *shadow, const struct dp_table *table,
                                   uint32_t i)
{
    const void *rec = dp_table_at(table, i);
    return table == &shadow->sets ? dp_set_group_entry(rec) : dp_set_nexthop_entry(rec);
}

static uint16_t *flags_of(const struct dp_shadow *shadow, const struct dp_table *table, uint32_t i)
{
    void *rec = dp_table_at(table, i);

    if (table == &shadow->sets)
        return &((struct dp_set_rec *)rec)->flags;
    return &((struct dp_nexthop_rec *)rec)->flags;
}

static void look_at(struct dp_check *check, const struct dp_table *table)
{
    const struct dp_shadow *shadow = &check->dp->shadow;
    uint32_t n = dp_check_share(check, table, 1);
    struct dp_nexthop wanted[DP_NL_BATCH];
    struct answers answers;

    check->at -= n;
    for (uint32_t i = 0; i < n; i++)
        wanted[i] = wanted_of(shadow, table, check->at + i);
    ask(check, wanted, n, &answers);
    for (uint32_t i = 0; i < n; i++)
        settle(check, &wanted[i], &answers, i, flags_of(shadow, table, check->at + i));
}

void dp_check_nexthops(struct dp_check *check)
{
    look_at(check, &check->dp->shadow.nexthops);
}

void dp_check_sets(struct dp_check *check)
{
    look_at(check, &check->dp->shadow.sets);
}
