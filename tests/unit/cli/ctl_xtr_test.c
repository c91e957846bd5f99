/* The commands on an xTR's socket: what they send, what they print, and how they end. */
#include "cli/ctl_stage.h"

#include "eidmap/error.h"

#include <stdlib.h>
#include <string.h>

#define BODY(name) EIDMAP__ENVELOPE__BODY_##name
#define BYTES(s)                                                                                   \
    (ProtobufCBinaryData)                                                                          \
    {                                                                                              \
        sizeof(s) - 1, (uint8_t *)(s)                                                              \
    }

static Eidmap__Eid ip = {.base = PROTOBUF_C_MESSAGE_INIT(&eidmap__eid__descriptor),
                         .kind = EIDMAP__EID_KIND__EID_IPV4,
                         .address = {4, (uint8_t *)"\x0a\x01\x00\x05"}};
static Eidmap__Eid broken = {.base = PROTOBUF_C_MESSAGE_INIT(&eidmap__eid__descriptor),
                             .kind = EIDMAP__EID_KIND__EID_IPV4,
                             .address = {3, (uint8_t *)"\x0a\x01\x00"}};
static Eidmap__Eid *eids[] = {&ip, &broken};
static Eidmap__LocalPort local;
static char *server_name = "tls://192.0.2.10:4342";
static size_t n_differences = 2;
static uint64_t n_reconciled = 3;
static uint64_t n_omitted;
static uint32_t n_undumped;
static int refuse;

static void make_local(void)
{
    eidmap__local_port__init(&local);
    local.id = BYTES("web-1");
    local.network_name = "blue";
    local.eids = eids;
    local.n_eids = 2;
    local.device = "tap0";
    local.phase = EIDMAP__PORT_PHASE__PHASE_INSTALLED;
    local.segmentation_id = 5001;
    local.epoch = 40;
    local.source = "socket";
    local.attach_us = 3200;
}

static void answer_status(Eidmap__Envelope *reply, struct fake_server *server)
{
    Eidmap__XtrStatusReply body = EIDMAP__XTR_STATUS_REPLY__INIT;
    char *problems[] = {"the underlay has an MTU of 1400"};
    body.node_id = "hv1";
    body.software = "xtr 1";
    body.dataplane = "kernel";
    body.server = server_name;
    body.headless_ms = 61000;
    body.revision = 50;
    body.installed_revision = 49;
    body.n_entries = 7;
    body.n_probed = 3;
    body.n_silent = 1;
    body.problems = problems;
    body.n_problems = 1;
    body.n_reconciled = n_reconciled;
    body.reconciled_ms = 31000;
    body.reconcile_took_ms = 12;
    body.n_misses = 1000;
    body.n_miss_dropped = 300;
    body.n_resolved = 20;
    body.n_negative = 30;
    body.n_miss_entries = 10;
    body.n_miss_aged = 7;
    reply->body_case = BODY(XTR_STATUS_REPLY);
    reply->xtr_status_reply = &body;
    fake_send(server, reply);
}

/* Two parts, a port each. */
static void answer_ports(Eidmap__Envelope *reply, struct fake_server *server)
{
    Eidmap__XtrPortsReply body = EIDMAP__XTR_PORTS_REPLY__INIT;
    Eidmap__LocalPort second = local;
    Eidmap__LocalPort *list[] = {&second};
    body.ports = list;
    body.n_ports = 1;
    second.id = BYTES("web-2");
    second.phase = EIDMAP__PORT_PHASE__PHASE_WAITING;
    second.problem = "tap1 does not exist";
    body.more = true;
    reply->body_case = BODY(XTR_PORTS_REPLY);
    reply->xtr_ports_reply = &body;
    fake_send(server, reply);
    list[0] = &local;
    body.more = false;
    fake_send(server, reply);
}

static void answer_cache(Eidmap__Envelope *reply, struct fake_server *server)
{
    Eidmap__XtrCacheReply body = EIDMAP__XTR_CACHE_REPLY__INIT;
    Eidmap__Port good = EIDMAP__PORT__INIT;
    Eidmap__Port bad = EIDMAP__PORT__INIT;
    Eidmap__Network network = EIDMAP__NETWORK__INIT;
    Eidmap__Port *ports[] = {&good, &bad};
    Eidmap__Network *networks[] = {&network};
    network.id = 7;
    network.name = "blue";
    good.id = BYTES("web-1");
    good.network_id = 7;
    good.eids = eids;
    good.n_eids = 1;
    bad.id = BYTES("web-2");
    bad.eids = &eids[1];
    bad.n_eids = 1;
    body.ports = ports;
    body.n_ports = 2;
    body.networks = networks;
    body.n_networks = 1;
    reply->body_case = BODY(XTR_CACHE_REPLY);
    reply->xtr_cache_reply = &body;
    fake_send(server, reply);
}

static char difference[] = "missing";

static void answer_check(Eidmap__Envelope *reply, struct fake_server *server)
{
    Eidmap__XtrCheckReply body = EIDMAP__XTR_CHECK_REPLY__INIT;
    Eidmap__XtrDifference d = EIDMAP__XTR_DIFFERENCE__INIT;
    Eidmap__XtrDifference *list[] = {&d, &d};
    d.network_name = "blue";
    d.table = "fdb";
    d.kind = difference;
    d.entry = "52:54:00:00:00:02 dev emv7 nhid 3";
    body.checked = 40;
    body.differences = list;
    body.n_differences = n_differences;
    body.omitted = n_omitted;
    body.undumped = n_undumped;
    reply->body_case = BODY(XTR_CHECK_REPLY);
    reply->xtr_check_reply = &body;
    fake_send(server, reply);
}

static void answer_accept(Eidmap__Envelope *reply, struct fake_server *server)
{
    Eidmap__XtrAcceptReply body = EIDMAP__XTR_ACCEPT_REPLY__INIT;
    body.n_gone = 7;
    reply->body_case = BODY(XTR_ACCEPT_REPLY);
    reply->xtr_accept_reply = &body;
    fake_send(server, reply);
}

static void answer_trace(Eidmap__Envelope *reply, struct fake_server *server)
{
    Eidmap__XtrTraceReply body = EIDMAP__XTR_TRACE_REPLY__INIT;
    Eidmap__XtrTraceStep good = EIDMAP__XTR_TRACE_STEP__INIT, bad = EIDMAP__XTR_TRACE_STEP__INIT;
    Eidmap__XtrTraceStep *list[] = {&good, &bad};
    good.name = "map-cache";
    good.found = "port web-1";
    bad.name = "vxlan-fdb";
    bad.wrong = true;
    bad.found = "missing";
    bad.advice = "repair it";
    body.steps = list;
    body.n_steps = n_differences ? 2 : 1;
    reply->body_case = BODY(XTR_TRACE_REPLY);
    reply->xtr_trace_reply = &body;
    fake_send(server, reply);
}

/* Two parts, a node each. */
static void answer_nodes(Eidmap__Envelope *reply, struct fake_server *server)
{
    Eidmap__XtrNodesReply body = EIDMAP__XTR_NODES_REPLY__INIT;
    Eidmap__XtrNode node = EIDMAP__XTR_NODE__INIT;
    Eidmap__Rloc rloc = EIDMAP__RLOC__INIT;
    Eidmap__XtrNode *list[] = {&node};
    rloc.address = (ProtobufCBinaryData){4, (uint8_t *)"\x0a\x00\x00\x02"};
    node.id = "hv2";
    node.rloc = &rloc;
    node.state = EIDMAP__NODE_STATE__NODE_REACHABLE;
    node.probe = EIDMAP__PROBE_STATE__PROBE_SILENT;
    node.probe_ms = 300;
    node.rtt_us = 1234;
    node.since_ms = 5000;
    node.n_locations = 3;
    body.nodes = list;
    body.n_nodes = 1;
    body.more = true;
    reply->body_case = BODY(XTR_NODES_REPLY);
    reply->xtr_nodes_reply = &body;
    fake_send(server, reply);
    eidmap__xtr_node__init(&node);
    node.id = "hv3";
    node.state = EIDMAP__NODE_STATE__NODE_UNREACHABLE;
    body.more = false;
    fake_send(server, reply);
}

static void answer_attach(Eidmap__Envelope *reply, struct fake_server *server)
{
    Eidmap__XtrAttachReply body = EIDMAP__XTR_ATTACH_REPLY__INIT;
    body.port = &local;
    reply->body_case = BODY(XTR_ATTACH_REPLY);
    reply->xtr_attach_reply = &body;
    fake_send(server, reply);
}

static void answer(struct fake_server *server, const Eidmap__Envelope *e)
{
    Eidmap__Envelope reply = EIDMAP__ENVELOPE__INIT;
    reply.id = e->id;
    if (refuse)
        fake_send_error(server, e->id, refuse, "there is no such port here");
    else if (e->body_case == BODY(XTR_STATUS))
        answer_status(&reply, server);
    else if (e->body_case == BODY(XTR_PORTS))
        answer_ports(&reply, server);
    else if (e->body_case == BODY(XTR_CACHE))
        answer_cache(&reply, server);
    else if (e->body_case == BODY(XTR_CHECK))
        answer_check(&reply, server);
    else if (e->body_case == BODY(XTR_ACCEPT))
        answer_accept(&reply, server);
    else if (e->body_case == BODY(XTR_TRACE))
        answer_trace(&reply, server);
    else if (e->body_case == BODY(XTR_NODES))
        answer_nodes(&reply, server);
    else if (e->body_case == BODY(XTR_ATTACH))
        answer_attach(&reply, server);
    else
        fake_send_done(server, e->id, 53);
}

static void setup(void)
{
    make_local();
    ctl_stage_start(answer);
}

TestSuite(ctl_xtr, .init = setup, .fini = ctl_stage_stop);

static struct ctl_run succeed(const char *line)
{
    struct ctl_run run = ctl_run(line);
    cr_assert_eq(run.code, CTL_DONE, "%s", run.err);
    cr_assert_str_eq(run.err, "");
    return run;
}

Test(ctl_xtr, status_shows_server_revisions_and_problems)
{
    struct ctl_run run = succeed("xtr status -S @");
    ctl_assert_has(run.out, "hv1 (xtr 1)");
    ctl_assert_has(run.out, "tls://192.0.2.10:4342");
    ctl_assert_has(run.out, "50, installed 49");
    ctl_assert_has(run.out, "3 nodes, 1 silent");
    ctl_assert_has(run.out, "an MTU of 1400");
    ctl_assert_has(run.out, "1000, dropped 300; 20 resolved, 30 negative; 10 entries, aged 7");
    ctl_assert_has(run.out, "31s ago, in 12 ms");
    n_reconciled = 0;
    run = succeed("xtr status -S @");
    ctl_assert_has(run.out, "not yet");
}

Test(ctl_xtr, headless_is_said_with_its_duration)
{
    server_name = "";
    struct ctl_run run = succeed("xtr status -S @");
    ctl_assert_has(run.out, "none for 1m1s");
}

Test(ctl_xtr, status_in_json_has_every_field)
{
    struct ctl_run run = succeed("xtr status -S @ -o json");
    json_t *json = ctl_parse_json(run.out);
    cr_assert_eq(json_object_size(json), 30);
    json_decref(json);
}

Test(ctl_xtr, ports_of_all_parts_are_listed_and_broken_eids_left_out)
{
    struct ctl_run run = succeed("xtr ports -S @");
    cr_assert_str_eq(
        run.out, "PORT   NETWORK  DEVICE  EIDS       VNI  SOURCE  PHASE\n"
                 "web-1  blue     tap0    10.1.0.5  5001  socket  installed\n"
                 "web-2  blue     tap0    10.1.0.5  5001  socket  waiting: tap1 does not exist\n");
    run = succeed("xtr ports -S @ -o json");
    json_t *json = ctl_parse_json(run.out);
    cr_assert_eq(json_array_size(json), 2);
    cr_assert_eq(json_object_size(json_array_get(json, 0)), 16);
    json_decref(json);
}

Test(ctl_xtr, cache_names_networks_and_passes_over_what_is_not_valid)
{
    struct ctl_run run = succeed("xtr cache blue -S @");
    cr_assert_str_eq(run.out, "PORT   NETWORK  EIDS      LOCATIONS\n"
                              "web-1  blue     10.1.0.5  -\n");
    const Eidmap__Envelope *e = fake_nth(&ctl_stage.server, BODY(XTR_CACHE), 0);
    cr_assert_str_eq(e->xtr_cache->network_name, "blue");
    run = succeed("xtr cache -S @ -o json");
    json_t *json = ctl_parse_json(run.out);
    cr_assert_eq(json_array_size(json), 2);
    cr_assert_str_eq(json_string_value(json_object_get(json_array_get(json, 0), "kind")),
                     "network");
    json_decref(json);
}

Test(ctl_xtr, nodes_are_shown_as_the_map_and_the_probes_say)
{
    struct ctl_run run = succeed("xtr nodes -S @");
    cr_assert_str_eq(run.out,
                     "NODE  RLOC      MAP          PROBE    SINCE  EVERY    RTT  LOCATIONS\n"
                     "hv2   10.0.0.2  reachable    silent  5.000s  300ms  1.2ms          3\n"
                     "hv3   -         unreachable  -            -      -      -          0\n");
    run = succeed("xtr nodes -S @ -o json");
    json_t *json = ctl_parse_json(run.out);
    cr_assert_eq(json_array_size(json), 2);
    cr_assert_eq(json_object_size(json_array_get(json, 0)), 8);
    json_decref(json);
}

Test(ctl_xtr, check_with_differences_is_code_1)
{
    struct ctl_run run = ctl_run("xtr check -S @");
    cr_assert_eq(run.code, CTL_REFUSED);
    ctl_assert_has(run.out, "blue     fdb    missing  52:54:00:00:00:02 dev emv7 nhid 3\n");
    ctl_assert_has(run.out, "40 entries checked, 2 different, 0 foreign\n");
}

Test(ctl_xtr, check_that_repairs_or_finds_nothing_is_code_0)
{
    struct ctl_run run = succeed("xtr check --repair -S @");
    ctl_assert_has(run.out, "2 repaired");
    cr_assert(fake_nth(&ctl_stage.server, BODY(XTR_CHECK), 0)->xtr_check->repair);
    n_differences = 0;
    run = succeed("xtr check -S @");
    cr_assert_str_eq(run.out, "40 entries checked, 0 different, 0 foreign\n");
}

Test(ctl_xtr, check_that_finds_only_strangers_is_code_0)
{
    strcpy(difference, "foreign");
    struct ctl_run run = succeed("xtr check -S @");
    ctl_assert_has(run.out, "blue     fdb    foreign  52:54:00:00:00:02 dev emv7 nhid 3\n");
    ctl_assert_has(run.out, "40 entries checked, 0 different, 2 foreign\n");
}

Test(ctl_xtr, accept_is_for_all_or_one_network_and_says_how_much_went)
{
    struct ctl_run run = succeed("xtr accept -S @");
    cr_assert_str_eq(run.out, "accepted: 7 ports, nodes and networks that were kept are gone\n");
    cr_assert_str_eq(fake_nth(&ctl_stage.server, BODY(XTR_ACCEPT), 0)->xtr_accept->network_name,
                     "");
    run = succeed("xtr accept blue -S @ -o json");
    json_t *json = ctl_parse_json(run.out);
    cr_assert_eq(json_integer_value(json_object_get(json, "n_gone")), 7);
    json_decref(json);
    cr_assert_str_eq(fake_nth(&ctl_stage.server, BODY(XTR_ACCEPT), 1)->xtr_accept->network_name,
                     "blue");
}

Test(ctl_xtr, trace_without_a_fault_is_code_0)
{
    n_differences = 0;
    struct ctl_run run = succeed("xtr trace blue 10.1.0.5 --from web-1 -S @");
    cr_assert_str_eq(run.out, "10.1.0.5 in network blue, on this host:\n"
                              "  ok     map-cache    port web-1\n");
    const Eidmap__XtrTrace *t = fake_nth(&ctl_stage.server, BODY(XTR_TRACE), 0)->xtr_trace;
    cr_assert_str_eq(t->network_name, "blue");
    cr_assert_eq(t->eid->address.len, 4);
    cr_assert_eq(t->from.len, 5);
}

Test(ctl_xtr, trace_marks_the_first_wrong_step_and_is_code_1)
{
    struct ctl_run run = ctl_run("xtr trace blue 52:54:00:00:00:01 -S @");
    ctl_assert_error(&run, CTL_REFUSED, "wrong at vxlan-fdb: missing; repair it");
    ctl_assert_has(run.out, "  WRONG  vxlan-fdb    missing\n"
                            "                      -> repair it\n");
    run = ctl_run("xtr trace blue port:web-1 -S @ -o json");
    cr_assert_eq(run.code, CTL_REFUSED);
    json_t *json = ctl_parse_json(run.out);
    cr_assert_eq(json_array_size(json), 2);
    cr_assert(json_is_true(json_object_get(json_array_get(json, 1), "wrong")));
    json_decref(json);
}

Test(ctl_xtr, trace_of_what_has_no_path_is_a_usage_error)
{
    static const char *const lines[] = {"xtr trace blue web.example -S @",
                                        "xtr trace blue 10.0.0.0/8 -S @",
                                        "xtr trace blue tcp/x -S @"};
    for (size_t i = 0; i < 3; i++) {
        struct ctl_run run = ctl_run(lines[i]);
        ctl_assert_error(&run, CTL_USAGE, "EID ");
    }
    cr_assert_eq(fake_count(&ctl_stage.server, BODY(HELLO)), 0);
}

Test(ctl_xtr, check_says_what_it_does_not_show)
{
    n_differences = 0;
    n_omitted = 7;
    n_undumped = 2;
    struct ctl_run run = ctl_run("xtr check -S @");
    cr_assert_eq(run.code, CTL_REFUSED);
    ctl_assert_has(run.out, "7 more differences are not listed\n");
    ctl_assert_has(run.out, "2 networks are too large to be dumped");
}

Test(ctl_xtr, attach_sends_what_was_given_and_waits)
{
    struct ctl_run run =
        succeed("xtr attach web-1 -S @ -n blue --mac 52:54:00:00:00:01 --ip 10.1.0.5 "
                "--dev tap0 --priority 1 --weight 9 --multihomed");
    cr_assert_str_eq(run.out, "port web-1: installed on tap0 after 0.004s, VNI 5001, epoch 40\n");
    const Eidmap__XtrAttach *a = fake_nth(&ctl_stage.server, BODY(XTR_ATTACH), 0)->xtr_attach;
    cr_assert(a->wait);
    cr_assert_eq(a->port->n_eids, 2);
    cr_assert_str_eq(a->port->device, "tap0");
    cr_assert_str_eq(a->port->network_name, "blue");
    cr_assert_eq(a->port->priority, 1);
    cr_assert_eq(a->port->weight, 9);
    cr_assert(a->port->multihomed);
}

Test(ctl_xtr, attach_that_need_not_wait_says_how_far_it_is)
{
    local.phase = EIDMAP__PORT_PHASE__PHASE_REGISTERING;
    struct ctl_run run =
        succeed("xtr attach web-1 -S @ -n blue --ip 10.1.0.5 --dev tap0 --no-wait");
    cr_assert_str_eq(run.out, "port web-1: accepted; registering\n");
    cr_assert_not(fake_nth(&ctl_stage.server, BODY(XTR_ATTACH), 0)->xtr_attach->wait);
}

Test(ctl_xtr, attach_of_a_guest_that_is_about_to_arrive)
{
    local.phase = EIDMAP__PORT_PHASE__PHASE_PENDING;
    struct ctl_run run =
        succeed("xtr attach web-1 -S @ -n blue --ip 10.1.0.5 --dev tap0 --pending");
    cr_assert_str_eq(run.out, "port web-1: pending on tap0 until the guest is there\n");
    cr_assert(fake_nth(&ctl_stage.server, BODY(XTR_ATTACH), 0)->xtr_attach->port->pending);
}

Test(ctl_xtr, refused_attach_is_code_1_with_the_problem)
{
    local.phase = EIDMAP__PORT_PHASE__PHASE_REFUSED;
    local.problem = "10.1.0.5 is held by port web-9";
    struct ctl_run run = ctl_run("xtr attach web-1 -S @ -n blue --ip 10.1.0.5 --dev tap0");
    ctl_assert_error(&run, CTL_REFUSED, "port web-1: 10.1.0.5 is held by port web-9");
}

Test(ctl_xtr, attach_without_network_or_device_is_a_usage_error)
{
    struct ctl_run run = ctl_run("xtr attach web-1 -S @ -n blue --ip 10.1.0.5");
    ctl_assert_error(&run, CTL_USAGE, "--dev DEVICE");
    cr_assert_eq(fake_count(&ctl_stage.server, BODY(HELLO)), 0);
}

Test(ctl_xtr, detach_reports_and_unknown_port_is_code_1)
{
    struct ctl_run run = succeed("xtr detach web-1 -S @");
    cr_assert_str_eq(run.out, "port web-1: detached\n");
    refuse = EM_E_NOT_FOUND;
    run = ctl_run("xtr detach web-1 -S @");
    ctl_assert_error(&run, CTL_REFUSED, "port web-1: there is no such port here");
}
