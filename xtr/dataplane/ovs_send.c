/* Flow-mods on their way to the switch, and their answers. */
#include "ovs.h"

#include "base/mem.h"
#include "ovs_check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ENOUGH (256 * 1024) /* bytes to write at once */

uint64_t ovs_flow_key(uint8_t table, uint16_t priority, const uint8_t *match, size_t size)
{
    uint8_t sorted[3 + OF_MATCH_MAX] = {table, (uint8_t)(priority >> 8), (uint8_t)priority};
    size_t n = of_sort_match(match, size, sorted + 3);
    return n || !size ? em_hash(sorted, 3 + n) : 0;
}

static uint64_t value_of(uint64_t cookie, const uint8_t *instructions, size_t size)
{
    return em_hash_more(em_hash(&cookie, sizeof cookie), instructions, size);
}

uint64_t ovs_flow_value(struct dp *dp, const struct of_flow *flow)
{
    struct em_buf *out = &dp->scratch;

    em_buf_take(out, em_buf_size(out));
    of_instructions(out, flow);
    return value_of(flow->cookie, em_buf_head(out), em_buf_size(out));
}

uint64_t ovs_seen_value(const struct of_seen_flow *flow)
{
    return value_of(flow->cookie, flow->instructions, flow->instructions_size);
}

static void sent(struct dp *dp)
{
    if (em_buf_size(of_out(dp->conn)) > ENOUGH)
        (void)ovs_write(dp);
}

static bool is_strangers(struct dp *dp, const struct of_flow *flow)
{
    if (dp->strangers.len == 0)
        return false;
    uint64_t key = ovs_flow_key(flow->table, flow->priority, flow->match, flow->match_size);
    return dp_table_find(&dp->strangers, &key);
}

/* The refusal of a bundle is no single op's. */
static void put_control(struct dp *dp, enum of_bundle type)
{
    uint32_t at = dp->at;

    dp->at = dp->filling ? (uint32_t)dp->filling->n : 0;
    of_put_bundle_control(of_out(dp->conn), ovs_xid(dp), dp->bundle_id, type);
    dp->at = at;
}

void ovs_bundle_open(struct dp *dp)
{
    dp->bundle_id = ++dp->last_bundle_id;
    put_control(dp, OF_BUNDLE_OPEN);
}

void ovs_bundle_commit(struct dp *dp)
{
    put_control(dp, OF_BUNDLE_COMMIT);
    dp->bundle_id = 0;
}

void ovs_bundle_interrupt(struct dp *dp)
{
    if (dp->is_bundling && dp->bundle_id)
        ovs_bundle_commit(dp);
}

/* Each is false if it is too long. */

static bool put_plain(struct dp *dp, enum of_flow_command command, const struct of_flow *flow)
{
    return of_put_flow(of_out(dp->conn), ovs_xid(dp), command, flow, OVS_COOKIE_MASK);
}

static bool put_bundled(struct dp *dp, enum of_flow_command command, const struct of_flow *flow)
{
    struct em_buf *inner = &dp->scratch;
    uint32_t xid = ovs_xid(dp);

    em_buf_take(inner, em_buf_size(inner));
    return of_put_flow(inner, xid, command, flow, OVS_COOKIE_MASK) &&
           of_put_bundle_add(of_out(dp->conn), xid, dp->bundle_id, em_buf_head(inner),
                             em_buf_size(inner));
}

static bool put(struct dp *dp, enum of_flow_command command, const struct of_flow *flow)
{
    if (dp->is_bundling && !dp->bundle_id) {
        ovs_bundle_open(dp);
        dp->filling->is_bundled = true;
    }
    if (!dp->bundle_id)
        return put_plain(dp, command, flow);
    if (put_bundled(dp, command, flow))
        return true;
    ovs_bundle_interrupt(dp);
    return !dp->bundle_id && put_plain(dp, command, flow);
}

void ovs_add(struct dp *dp, void *aux, struct of_flow *flow)
{
    if (!dp->conn)
        return;
    if (is_strangers(dp, flow)) {
        dp->is_blocked = true;
        return;
    }
    if (put(dp, OF_FLOW_ADD, flow))
        ovs_checks_note(dp, flow, true);
    else if (dp->filling && dp->at < dp->filling->n)
        dp->filling->ops[dp->at].err = -E2BIG; /* what stood before goes on standing */
    sent(dp);
}

void ovs_remove(struct dp *dp, void *aux, struct of_flow *flow)
{
    if (!dp->conn)
        return;
    flow->cookie = OVS_COOKIE;
    put(dp, OF_FLOW_DELETE_STRICT, flow);
    ovs_checks_note(dp, flow, false);
    sent(dp);
}

/* An error shows the beginning of what it is about.  A frame that the switch does not take is lost,
 * and nothing else. */
static bool is_about_a_packet(const struct of_message *message)
{
    return message->size >= OF_HEADER_SIZE + 4 + OF_HEADER_SIZE &&
           message->data[OF_HEADER_SIZE + 4 + 1] == OF_PACKET_OUT;
}

static void on_error(struct dp *dp, const struct of_message *message)
{
    uint16_t type, code;
    if (!of_parse_error(message, &type, &code) || is_about_a_packet(message))
        return;
    int err = of_error_errno(type, code);
    if (!ovs_flight_refused(dp, message->xid, err) && dp->checks) {
        /* To try what it has repaired again would end as this has. */
        ovs_checks_fail(dp, err);
        return;
    }
    dp->is_disturbed = true;
}

void ovs_on_message(void *aux, const struct of_message *message)
{
    struct dp *dp = aux;

    switch (message->type) {
    case OF_ERROR:
        on_error(dp, message);
        break;
    case OF_BARRIER_REPLY:
        ovs_flight_landed(dp, message->xid);
        break;
    case OF_MULTIPART_REPLY:
        ovs_on_parts(dp, message);
        break;
    case OF_PORT_STATUS:
        ovs_on_port_status(dp, message);
        break;
    case OF_PACKET_IN:
        ovs_on_packet(dp, message);
        break;
    default:
        break;
    }
}
