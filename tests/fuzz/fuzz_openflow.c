/* What a switch sends, as one stream of messages: each is taken for all that it may be, and parts
 * that were found lie within it. */
#include "target.h"

#include "ovs/openflow.h"

#include <string.h>

static bool lies_in(const struct of_message *message, const uint8_t *part, size_t size)
{
    const uint8_t *end = message->data + message->size;
    return part >= message->data && part <= end && size <= (size_t)(end - part);
}

static void check_match(const uint8_t *match, size_t size)
{
    uint8_t sorted[OF_MATCH_MAX], again[OF_MATCH_MAX];
    size_t n = of_sort_match(match, size, sorted);

    FUZZ_CHECK(n == 0 || n == size);
    FUZZ_CHECK(of_sort_match(sorted, n, again) == n && memcmp(sorted, again, n) == 0);
    for (int field = 0; field < OF_N_FIELDS; field++)
        (void)of_seen_int(match, size, (enum of_field)field);
}

static void check_actions(const uint8_t *instructions, size_t size)
{
    struct of_parts parts = of_applied(instructions, size);
    struct of_action action;

    FUZZ_CHECK(parts.at >= instructions && parts.end <= instructions + size);
    while (of_next_action(&parts, &action)) {
        FUZZ_CHECK(parts.at <= parts.end);
        if (action.kind == OF_ACT_SET && action.field == OF_TUN_ID)
            FUZZ_CHECK(action.value + 8 <= parts.at);
        if (action.kind == OF_ACT_SET && action.field == OF_TUN_IPV6_DST)
            FUZZ_CHECK(action.value + 16 <= parts.at);
    }
}

static void take_flows(const struct of_message *message)
{
    struct of_parts parts;
    struct of_seen_flow flow;
    bool has_more;

    if (!of_parse_multipart(message, OF_MULTIPART_FLOW, &parts, &has_more))
        return;
    while (of_next_flow(&parts, &flow)) {
        FUZZ_CHECK(lies_in(message, flow.match, flow.match_size));
        FUZZ_CHECK(lies_in(message, flow.instructions, flow.instructions_size));
        check_match(flow.match, flow.match_size);
        check_actions(flow.instructions, flow.instructions_size);
    }
}

static void take_parts(const struct of_message *message)
{
    struct of_parts parts;
    struct of_seen_group group;
    struct of_port port;
    bool has_more;

    take_flows(message);
    if (of_parse_multipart(message, OF_MULTIPART_GROUP_DESC, &parts, &has_more))
        while (of_next_group(&parts, &group))
            FUZZ_CHECK(lies_in(message, group.buckets, group.size));
    if (of_parse_multipart(message, OF_MULTIPART_PORT_DESC, &parts, &has_more))
        while (of_next_port(&parts, &port))
            FUZZ_CHECK(strlen(port.name) < sizeof port.name);
}

static void take(const struct of_message *message)
{
    struct of_packet_in packet;
    struct of_port port;
    uint16_t type, code;
    uint8_t reason;

    take_parts(message);
    if (of_parse_error(message, &type, &code))
        FUZZ_CHECK(of_error_errno(type, code) < 0);
    if (of_parse_port_status(message, &reason, &port))
        FUZZ_CHECK(strlen(port.name) < sizeof port.name);
    if (of_parse_packet_in(message, &packet)) {
        FUZZ_CHECK(lies_in(message, packet.frame, packet.size));
        FUZZ_CHECK(lies_in(message, packet.match, packet.match_size));
        check_match(packet.match, packet.match_size);
    }
}

/* Each in memory of its own: what is read behind its end is then seen. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct of_message message;
    int n;

    while ((n = of_parse(data, size, &message)) > 0) {
        FUZZ_CHECK((size_t)n <= size && message.size == (size_t)n);
        uint8_t *copy = malloc(message.size);
        FUZZ_CHECK(copy);
        memcpy(copy, message.data, message.size);
        message.data = copy;
        take(&message);
        free(copy);
        data += n;
        size -= (size_t)n;
    }
    return 0;
}
