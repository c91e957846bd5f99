/* The commands on a map server, which answers from a script: what they send, what they
 * print, and how they end. */
#include "cli/ctl_stage.h"

#include "base/clock.h"
#include "eidmap/error.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BODY(name) EIDMAP__ENVELOPE__BODY_##name
#define BYTES(s)                                                                                   \
    (ProtobufCBinaryData)                                                                          \
    {                                                                                              \
        sizeof(s) - 1, (uint8_t *)(s)                                                              \
    }

/* The map of the script: two networks, two nodes, two ports. */
static Eidmap__Eid mac = {.base = PROTOBUF_C_MESSAGE_INIT(&eidmap__eid__descriptor),
                          .kind = EIDMAP__EID_KIND__EID_MAC,
                          .address = {6, (uint8_t *)"\x52\x54\x00\x00\x00\x01"}};
static Eidmap__Eid ip = {.base = PROTOBUF_C_MESSAGE_INIT(&eidmap__eid__descriptor),
                         .kind = EIDMAP__EID_KIND__EID_IPV4,
                         .address = {4, (uint8_t *)"\x0a\x01\x00\x05"}};
static Eidmap__Eid *eids[] = {&mac, &ip};
static Eidmap__Location location = {.base = PROTOBUF_C_MESSAGE_INIT(&eidmap__location__descriptor),
                                    .node_id = "hv1",
                                    .segmentation_id = 5001,
                                    .epoch = 40};
static Eidmap__Location *locations[] = {&location};
static Eidmap__Rloc rloc = {.base = PROTOBUF_C_MESSAGE_INIT(&eidmap__rloc__descriptor),
                            .address = {4, (uint8_t *)"\xc0\x00\x02\x01"},
                            .encap = EIDMAP__ENCAP__ENCAP_VXLAN};
static Eidmap__Rloc *rlocs[] = {&rloc};
static Eidmap__Label label = {
    .base = PROTOBUF_C_MESSAGE_INIT(&eidmap__label__descriptor), .key = "rack", .value = "r7"};
static Eidmap__Label *labels[] = {&label};
static Eidmap__Port port;
static Eidmap__Network blue, red;
static Eidmap__Node node;
static int refuse;     /* an ErrorCode: the answer to every write */
static bool goes_away; /* at the next request, until its hello_error is taken back */

static void make_map(void)
{
    eidmap__port__init(&port);
    port.id = BYTES("web-1");
    port.network_id = 7;
    port.eids = eids;
    port.n_eids = 2;
    port.locations = locations;
    port.n_locations = 1;
    port.revision = 41;
    port.declared = true;
    eidmap__network__init(&blue);
    blue.id = 7;
    blue.name = "blue";
    blue.segmentation_id = 5001;
    blue.mtu = 1400;
    blue.probe_ms = 300;
    blue.dns_domain = "blue.example";
    blue.revision = 12;
    eidmap__network__init(&red);
    red.id = 10;
    red.name = "red";
    red.segmentation_id = 5002;
    red.revision = 13;
    eidmap__node__init(&node);
    node.id = "hv1";
    node.rlocs = rlocs;
    node.n_rlocs = 1;
    node.labels = labels;
    node.n_labels = 1;
    node.state = EIDMAP__NODE_STATE__NODE_REACHABLE;
    node.state_since_ms = 1;
    node.revision = 14;
    node.version = "xtr 1";
}

static void send_changes(struct fake_server *server, uint64_t id, Eidmap__Change *changes, size_t n,
                         uint32_t network_id)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Changes body = EIDMAP__CHANGES__INIT;
    Eidmap__Change *list[8];
    for (size_t i = 0; i < n; i++)
        list[i] = &changes[i];
    body.network_id = network_id;
    body.revision = 50;
    body.changes = list;
    body.n_changes = n;
    body.start_over = true;
    body.complete = true;
    envelope.id = id;
    envelope.body_case = BODY(CHANGES);
    envelope.changes = &body;
    fake_send(server, &envelope);
}

static void answer_subscribe(struct fake_server *server, const Eidmap__Envelope *e)
{
    const Eidmap__Subscribe *s = e->subscribe;
    Eidmap__Change changes[8];
    Eidmap__Gone gone = EIDMAP__GONE__INIT;
    for (size_t i = 0; i < 8; i++)
        eidmap__change__init(&changes[i]);
    if (s->network_name[0] && strcmp(s->network_name, "blue") != 0 &&
        strcmp(s->network_name, "red") != 0) {
        fake_send_error(server, e->id, EM_E_NOT_FOUND, "no such network");
    } else if (s->network_id == 7 || strcmp(s->network_name, "blue") == 0) {
        gone.kind = EIDMAP__OBJECT_KIND__OBJECT_PORT;
        gone.id = BYTES("old-1");
        changes[0].port = &port;
        changes[1].gone = &gone;
        changes[2].port = &port; /* changed while the pass went on: shown again */
        send_changes(server, e->id, changes, 3, 7);
    } else if (s->network_id == 10 || s->network_name[0]) {
        send_changes(server, e->id, changes, 0, 10);
    } else {
        changes[0].network = &red;
        changes[1].network = &blue;
        changes[2].node = &node;
        send_changes(server, e->id, changes, 3, 0);
    }
}

static void answer_resolve(struct fake_server *server, const Eidmap__Envelope *e)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__ResolveReply body = EIDMAP__RESOLVE_REPLY__INIT;
    Eidmap__Answer answers[8];
    Eidmap__Answer *list[8];
    Eidmap__Node *nodes[] = {&node};
    for (size_t i = 0; i < e->resolve->n_eids && i < 8; i++) {
        const Eidmap__Eid *asked = e->resolve->eids[i];
        eidmap__answer__init(&answers[i]);
        list[i] = &answers[i];
        answers[i].eid = (Eidmap__Eid *)asked;
        answers[i].ttl_s = 60;
        if (asked->address.len == 5 && memcmp(asked->address.data, "web-1", 5) == 0) {
            answers[i].port = &port;
            answers[i].matched = (Eidmap__Eid *)asked;
        } else if (asked->address.len == 4 && asked->address.data[3] == 5) {
            answers[i].port = &port;
            answers[i].matched = &ip;
        } else {
            answers[i].action = EIDMAP__ACTION__ACTION_DROP;
            answers[i].reason = "nobody has registered it";
        }
    }
    body.revision = 50;
    body.answers = list;
    body.n_answers = e->resolve->n_eids;
    body.nodes = nodes;
    body.n_nodes = 1;
    envelope.id = e->id;
    envelope.body_case = BODY(RESOLVE_REPLY);
    envelope.resolve_reply = &body;
    fake_send(server, &envelope);
}

static void answer_status(struct fake_server *server, const Eidmap__Envelope *e)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__StatusReply body = EIDMAP__STATUS_REPLY__INIT;
    Eidmap__Session session = EIDMAP__SESSION__INIT;
    Eidmap__Session second = EIDMAP__SESSION__INIT;
    Eidmap__Session *sessions[] = {&session, &second};
    char *problems[] = {"the disk is nearly full; remove something"};
    session.name = "hv1";
    session.role = EIDMAP__ROLE__ROLE_NODE;
    session.peer = "192.0.2.1:40000";
    second.name = "me";
    second.role = EIDMAP__ROLE__ROLE_OPERATOR;
    second.peer = "192.0.2.10:40001";
    second.software = "mapctl 0.1.0";
    session.connected_ms = second.connected_ms = em_wall_ms() - 754000;
    session.installed_revision = 49;
    body.server_id = "ms1";
    body.software = "mapserver 1";
    body.cluster_id = BYTES("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10");
    body.revision = 50;
    body.n_ports = 2;
    body.store_used = 1 << 20;
    body.store_size = 1 << 30;
    body.n_sessions = 1;
    body.problems = problems;
    body.n_problems = 1;
    if (e->status->with_sessions) {
        body.listed = sessions;
        body.n_listed = 2;
    }
    envelope.id = e->id;
    envelope.body_case = BODY(STATUS_REPLY);
    envelope.status_reply = &body;
    fake_send(server, &envelope);
}

static void answer_put(struct fake_server *server, const Eidmap__Envelope *e)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Done done = EIDMAP__DONE__INIT;
    done.revision = 51;
    if (e->body_case == BODY(PUT_NETWORK))
        done.network = e->put_network->network;
    else
        done.node = e->put_node->node;
    envelope.id = e->id;
    envelope.body_case = BODY(DONE);
    envelope.done = &done;
    fake_send(server, &envelope);
}

static void answer_register(struct fake_server *server, const Eidmap__Envelope *e)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__RegisterReply reply = EIDMAP__REGISTER_REPLY__INIT;
    uint64_t epoch = 52;
    reply.revision = 52;
    reply.epochs = &epoch;
    reply.n_epochs = 1;
    envelope.id = e->id;
    envelope.body_case = BODY(REGISTER_REPLY);
    envelope.register_reply = &reply;
    fake_send(server, &envelope);
}

static void send_refusal(struct fake_server *server, uint64_t id)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Error error = EIDMAP__ERROR__INIT;
    error.code = (Eidmap__ErrorCode)refuse;
    error.message = "it may not be";
    error.current = &port;
    envelope.id = id;
    envelope.body_case = BODY(ERROR);
    envelope.error = &error;
    fake_send(server, &envelope);
}

static void go_away(struct fake_server *server)
{
    goes_away = false;
    server->hello_error = EM_E_BUSY;
    fake_cut(server);
}

static void answer(struct fake_server *server, const Eidmap__Envelope *e)
{
    if (goes_away)
        go_away(server);
    else if (e->body_case == BODY(SUBSCRIBE))
        answer_subscribe(server, e);
    else if (e->body_case == BODY(RESOLVE))
        answer_resolve(server, e);
    else if (e->body_case == BODY(STATUS))
        answer_status(server, e);
    else if (e->body_case == BODY(UNSUBSCRIBE) || e->body_case == BODY(UNWATCH))
        return;
    else if (refuse)
        send_refusal(server, e->id);
    else if (e->body_case == BODY(REGISTER))
        answer_register(server, e);
    else if (e->body_case == BODY(PUT_NETWORK) || e->body_case == BODY(PUT_NODE))
        answer_put(server, e);
    else
        fake_send_done(server, e->id, 53);
}

static void setup(void)
{
    make_map();
    ctl_stage_start(answer);
}

TestSuite(ctl_map, .init = setup, .fini = ctl_stage_stop, .timeout = 60);

static const Eidmap__Envelope *sent(Eidmap__Envelope__BodyCase body)
{
    const Eidmap__Envelope *e = fake_nth(&ctl_stage.server, body, 0);
    cr_assert(e, "no message with body %d came", (int)body);
    return e;
}

static struct ctl_run succeed(const char *line)
{
    struct ctl_run run = ctl_run(line);
    cr_assert_eq(run.code, CTL_DONE, "%s", run.err);
    cr_assert_str_eq(run.err, "");
    return run;
}

Test(ctl_map, status_shows_the_server_and_its_problems)
{
    struct ctl_run run = succeed("-s @ status --sessions");
    ctl_assert_has(run.out, "ms1 (mapserver 1)");
    ctl_assert_has(run.out, "0102030405060708090a0b0c0d0e0f10");
    ctl_assert_has(run.out, "1.0 MiB of 1.0 GiB (0.1 %)");
    ctl_assert_has(run.out, "the disk is nearly full");
    ctl_assert_has(run.out, "192.0.2.1:40000");
    const char *line = strstr(run.out, "NAME");
    cr_assert(line);
    cr_assert_leq(strcspn(strstr(line, "\nme") + 1, "\n"), 80, "wider than a terminal: %s", line);
}

Test(ctl_map, status_in_json_has_every_field)
{
    struct ctl_run run = succeed("-s @ -o json status --sessions");
    json_t *json = ctl_parse_json(run.out);
    cr_assert_eq(json_object_size(json), 27);
    cr_assert_eq(json_integer_value(json_object_get(json, "revision")), 50);
    json_t *session = json_array_get(json_object_get(json, "sessions"), 0);
    cr_assert_eq(json_object_size(session), 9);
    cr_assert_eq(json_integer_value(json_object_get(session, "installed_revision")), 49);
    json_decref(json);
}

Test(ctl_map, server_that_says_why_it_refuses_is_not_asked_whether_it_runs)
{
    ctl_stage.server.hello_error = EM_E_DENIED;
    struct ctl_run run = ctl_run("-s @ status");
    ctl_assert_error(&run, CTL_REFUSED, "you are not wanted here\n");
    ctl_stage.server.hello_error = EM_E_BUSY;
    run = ctl_run("-s @ status");
    ctl_assert_error(&run, CTL_NO_SERVER, "you are not wanted here\n");
}

Test(ctl_map, socket_that_may_not_be_used_says_who_may)
{
    cr_assert_eq(chmod(ctl_stage.server.path, 0), 0);
    cr_assert(geteuid() != 0 || seteuid(65534) == 0);
    struct ctl_run run = ctl_run("-s @ status");
    cr_assert(getuid() != 0 || seteuid(0) == 0);
    ctl_assert_error(&run, CTL_REFUSED, "Permission denied; run it as root or as the server's");
}

Test(ctl_map, network_add_sends_what_was_given_and_tells_what_came)
{
    struct ctl_run run = succeed("-s @ network add green --vni 99 --mtu 1450 --subnet 10.1.0.0/24 "
                                 "--subnet 2001:db8::/64 --flood none --type vlan "
                                 "--dns-domain green.example --probe 1s");
    ctl_assert_has(run.out, "network green: id 0, VNI 99, revision 51");
    const Eidmap__Network *n = sent(BODY(PUT_NETWORK))->put_network->network;
    cr_assert_str_eq(n->name, "green");
    cr_assert_eq(n->segmentation_id, 99);
    cr_assert_eq(n->mtu, 1450);
    cr_assert_eq(n->n_subnets, 2);
    cr_assert_eq(n->subnets[0]->prefix_len, 24);
    cr_assert_eq(n->flood, EIDMAP__FLOOD__FLOOD_NONE);
    cr_assert_eq(n->type, EIDMAP__NETWORK_TYPE__NETWORK_VLAN);
    cr_assert_str_eq(n->dns_domain, "green.example");
    cr_assert_eq(n->probe_ms, 1000);
    cr_assert_eq(n->id, 0);
}

Test(ctl_map, network_set_keeps_the_rest_and_names_the_revision_it_read)
{
    succeed("-s @ network set blue --mtu 9000");
    const Eidmap__Network *n = sent(BODY(PUT_NETWORK))->put_network->network;
    cr_assert_eq(n->id, 7);
    cr_assert_eq(n->mtu, 9000);
    cr_assert_eq(n->segmentation_id, 5001);
    cr_assert_str_eq(n->dns_domain, "blue.example");
    cr_assert_eq(n->revision, 12);
}

Test(ctl_map, network_probe_can_be_put_and_taken_back)
{
    cr_assert_eq(blue.probe_ms, 300);
    succeed("-s @ network set blue --mtu 9000");
    cr_assert_eq(sent(BODY(PUT_NETWORK))->put_network->network->probe_ms, 300);
    struct ctl_run run = succeed("-s @ network show blue");
    ctl_assert_has(run.out, "300ms");
}

Test(ctl_map, network_probe_0_is_none)
{
    succeed("-s @ network set blue --probe 0");
    cr_assert_eq(sent(BODY(PUT_NETWORK))->put_network->network->probe_ms, 0);
}

Test(ctl_map, stale_set_says_to_look_again)
{
    refuse = EIDMAP__ERROR_CODE__ERROR_STALE;
    struct ctl_run run = ctl_run("-s @ network set blue --mtu 9000");
    ctl_assert_error(&run, CTL_REFUSED, "network blue: it may not be; somebody else changed it");
}

Test(ctl_map, network_list_is_in_order_of_names)
{
    struct ctl_run run = succeed("-s @ network list");
    ctl_assert_has(run.out,
                   "NETWORK  ID  TYPE      VNI   MTU  SUBNETS  FLOOD      PROBE  REVISION\n"
                   "blue      7  overlay  5001  1400  -        broadcast  300ms        12\n"
                   "red      10  overlay  5002     -  -        broadcast      -        13\n");
}

Test(ctl_map, network_list_in_json_has_every_field)
{
    struct ctl_run run = succeed("-s @ -o json network list");
    json_t *json = ctl_parse_json(run.out);
    cr_assert_eq(json_array_size(json), 2);
    cr_assert_eq(json_object_size(json_array_get(json, 0)), 11);
    json_decref(json);
}

Test(ctl_map, network_show_finds_one_or_says_so)
{
    struct ctl_run run = succeed("-s @ network show blue");
    ctl_assert_has(run.out, "blue.example");
    run = ctl_run("-s @ network show green");
    ctl_assert_error(&run, CTL_REFUSED, "network green: not found; \"mapctl network list\"");
    cr_assert_str_eq(run.out, "");
}

Test(ctl_map, network_remove_reports_or_passes_on_the_refusal)
{
    struct ctl_run run = succeed("-s @ network remove blue");
    cr_assert_str_eq(run.out, "network blue: removed, revision 53\n");
    refuse = EIDMAP__ERROR_CODE__ERROR_IN_USE;
    run = ctl_run("-s @ network remove blue");
    ctl_assert_error(&run, CTL_REFUSED, "network blue: it may not be");
}

Test(ctl_map, node_list_shows_state_and_rlocs)
{
    struct ctl_run run = succeed("-s @ node list");
    ctl_assert_has(run.out, "hv1   reachable");
    ctl_assert_has(run.out, "192.0.2.1");
    ctl_assert_has(run.out, "rack=r7");
    cr_assert_null(strstr(run.out, "blue"), "a network is in the list of nodes");
}

Test(ctl_map, node_show_in_json_has_every_field)
{
    struct ctl_run run = succeed("-s @ -o json node show hv1");
    json_t *json = ctl_parse_json(run.out);
    cr_assert_eq(json_object_size(json), 9);
    cr_assert_str_eq(json_string_value(json_object_get(json_object_get(json, "labels"), "rack")),
                     "r7");
    json_decref(json);
}

Test(ctl_map, node_set_adds_changes_and_removes_labels)
{
    succeed("-s @ node set hv1 --label zone=a --label rack=r8 --disable");
    const Eidmap__Node *n = sent(BODY(PUT_NODE))->put_node->node;
    cr_assert_eq(n->n_labels, 2);
    cr_assert_str_eq(n->labels[0]->key, "zone");
    cr_assert_str_eq(n->labels[1]->value, "r8");
    cr_assert(n->disabled);
    cr_assert_eq(n->revision, 14);
    succeed("-s @ node set hv1 --label rack=");
    n = fake_nth(&ctl_stage.server, BODY(PUT_NODE), 1)->put_node->node;
    cr_assert_eq(n->n_labels, 0);
}

Test(ctl_map, node_set_makes_a_node_that_is_not_known)
{
    succeed("-s @ node set hv9 --label rack=r9");
    const Eidmap__Node *n = sent(BODY(PUT_NODE))->put_node->node;
    cr_assert_str_eq(n->id, "hv9");
    cr_assert_str_eq(n->labels[0]->value, "r9");
    cr_assert_eq(n->revision, 0);
}

Test(ctl_map, node_set_without_a_label_needs_one_that_is_known)
{
    struct ctl_run run = ctl_run("-s @ node set hvl --disable");
    ctl_assert_error(&run, CTL_REFUSED, "node hvl: not found; \"mapctl node list\"");
    run = ctl_run("-s @ node set hvl --label rack=");
    ctl_assert_error(&run, CTL_REFUSED, "node hvl: not found");
    cr_assert_null(fake_nth(&ctl_stage.server, BODY(PUT_NODE), 0));
}

Test(ctl_map, port_list_shows_each_port_once)
{
    struct ctl_run run = succeed("-s @ port list blue");
    cr_assert_str_eq(run.out, "PORT   NETWORK  EIDS                        LOCATIONS\n"
                              "web-1  blue     52:54:00:00:00:01 10.1.0.5  hv1:5001\n");
    run = succeed("-s @ -o json port list blue");
    json_t *json = ctl_parse_json(run.out);
    cr_assert_eq(json_array_size(json), 1);
    cr_assert_eq(json_object_size(json_array_get(json, 0)), 12);
    json_decref(json);
}

Test(ctl_map, port_list_without_a_network_walks_all_of_them)
{
    struct ctl_run run = succeed("-s @ port list");
    ctl_assert_has(run.out, "web-1  blue");
    cr_assert_eq(fake_count(&ctl_stage.server, BODY(SUBSCRIBE)), 3);
}

Test(ctl_map, port_that_is_nowhere_is_shown_moved_and_removed)
{
    port.n_locations = 0;
    struct ctl_run run = succeed("-s @ port show web-1");
    ctl_assert_has(run.out, "port        web-1\n");
    run = succeed("-s @ port move web-1 --to hv7");
    cr_assert_str_eq(run.out, "port web-1: nowhere -> hv7, revision 52\n");
    run = succeed("-s @ port remove web-1");
    cr_assert_str_eq(run.out, "port web-1: removed, revision 53\n");
}

Test(ctl_map, port_list_of_an_unknown_network_is_refused)
{
    struct ctl_run run = ctl_run("-s @ port list green");
    ctl_assert_error(&run, CTL_REFUSED, "network green: no such network");
}

Test(ctl_map, port_show_names_network_locations_and_nodes)
{
    struct ctl_run run = succeed("-s @ port show web-1");
    ctl_assert_has(run.out, "network     blue\n");
    ctl_assert_has(run.out, "hv1       5001");
    ctl_assert_has(run.out, "192.0.2.1");
    ctl_assert_has(run.out, "declared");
    run = ctl_run("-s @ port show web-2");
    ctl_assert_error(&run, CTL_REFUSED, "port web-2: not found");
}

Test(ctl_map, port_register_claims_what_was_given)
{
    struct ctl_run run = succeed("-s @ port register web-2 -n blue --mac 52:54:00:00:00:02 "
                                 "--ip 10.1.0.6 --eid web.blue.example --eid tcp/10.1.0.6:443 "
                                 "--node hv1 --node hv2:77 --priority 1 --weight 50 --allow hv1 "
                                 "--multihomed --shared");
    cr_assert_str_eq(run.out, "port web-2: registered, revision 52\n");
    const Eidmap__Register *r = sent(BODY(REGISTER))->register_;
    const Eidmap__Port *p = r->claims[0]->port;
    cr_assert_str_eq(r->network_name, "blue");
    cr_assert(r->claims[0]->attach);
    cr_assert_eq(p->n_eids, 4);
    cr_assert_eq(p->eids[2]->kind, EIDMAP__EID_KIND__EID_NAME);
    cr_assert_eq(p->eids[3]->l4_port, 443);
    cr_assert_eq(p->n_locations, 2);
    cr_assert_eq(p->locations[0]->segmentation_id, 0);
    cr_assert_str_eq(p->locations[1]->node_id, "hv2");
    cr_assert_eq(p->locations[1]->segmentation_id, 77);
    cr_assert_eq(p->locations[1]->priority, 1);
    cr_assert_eq(p->locations[1]->weight, 50);
    cr_assert(p->declared && p->multihomed && p->shared);
    cr_assert_eq(p->n_allowed_nodes, 1);
}

Test(ctl_map, port_show_names_a_parent_and_children)
{
    Eidmap__Child child = EIDMAP__CHILD__INIT, *list[] = {&child};
    child.id = BYTES("web-1-c1");
    child.tag = 101;
    child.network_id = 7;
    port.children = list;
    port.n_children = 1;
    struct ctl_run run = succeed("-s @ port show web-1");
    ctl_assert_has(run.out, "children    101:web-1-c1\n");
    run = succeed("-s @ -o json port show web-1");
    ctl_assert_has(run.out, "\"id\": \"web-1-c1\"");
    port.n_children = 0;
    port.parent = BYTES("vm");
    port.tag = 7;
    run = succeed("-s @ port show web-1");
    ctl_assert_has(run.out, "child of    vm, tag 7\n");
}

Test(ctl_map, port_register_makes_a_child)
{
    succeed("-s @ port register c1 -n blue --mac 52:54:00:00:00:02 --parent web-1 --tag 101");
    const Eidmap__Port *p = sent(BODY(REGISTER))->register_->claims[0]->port;
    cr_assert_eq(p->parent.len, 5);
    cr_assert_eq(p->tag, 101);
    cr_assert_eq(p->n_locations, 0);
    struct ctl_run run = ctl_run("-s @ port register c1 -n blue --ip 10.1.0.9 --parent web-1");
    ctl_assert_error(&run, CTL_USAGE, "both --parent PORT and --tag N");
    run = ctl_run("-s @ port register c1 -n blue --ip 10.1.0.9 --parent web-1 --tag 4095");
    ctl_assert_error(&run, CTL_USAGE, "4094");
}

Test(ctl_map, conflict_names_the_holder_and_its_place)
{
    refuse = EIDMAP__ERROR_CODE__ERROR_CONFLICT;
    struct ctl_run run = ctl_run("-s @ port register web-2 -n blue --ip 10.1.0.5");
    ctl_assert_error(&run, CTL_REFUSED, "the holder is port web-1 at hv1");
}

Test(ctl_map, port_move_keeps_the_port_and_replaces_its_place)
{
    struct ctl_run run = succeed("-s @ port move web-1 --to hv7");
    cr_assert_str_eq(run.out, "port web-1: hv1 -> hv7, revision 52\n");
    const Eidmap__Claim *claim = sent(BODY(REGISTER))->register_->claims[0];
    cr_assert_eq(claim->port->n_eids, 2);
    cr_assert_eq(claim->port->network_id, 7);
    cr_assert(claim->port->declared);
    cr_assert_eq(claim->port->n_locations, 1);
    cr_assert_str_eq(claim->port->locations[0]->node_id, "hv7");
    cr_assert_eq(claim->port->locations[0]->segmentation_id, 0);
    cr_assert(claim->attach);
    run = ctl_run("-s @ port move web-2 --to hv7");
    ctl_assert_error(&run, CTL_REFUSED, "port web-2: not found");
}

Test(ctl_map, port_move_prepares_activates_and_cancels)
{
    struct ctl_run run = succeed("-s @ port move web-1 --to hv7:5003 --prepare --minutes 2");
    cr_assert_str_eq(run.out, "port web-1: prepared to move to hv7, revision 52\n");
    const Eidmap__Claim *claim = sent(BODY(REGISTER))->register_->claims[0];
    cr_assert_eq(claim->migration, EIDMAP__MIGRATION_STEP__MIGRATION_PREPARE);
    cr_assert_eq(claim->pending_ms, 120000);
    cr_assert_not(claim->attach);
    cr_assert_eq(claim->port->network_id, 7);
    cr_assert_eq(claim->port->n_eids, 0);
    cr_assert_str_eq(claim->port->locations[0]->node_id, "hv7");
    cr_assert_eq(claim->port->locations[0]->segmentation_id, 5003);
    run = succeed("-s @ port move web-1 --activate");
    cr_assert_str_eq(run.out, "port web-1: activated, revision 52\n");
    claim = fake_nth(&ctl_stage.server, BODY(REGISTER), 1)->register_->claims[0];
    cr_assert_eq(claim->migration, EIDMAP__MIGRATION_STEP__MIGRATION_ACTIVATE);
    cr_assert_eq(claim->port->n_locations, 0);
    run = succeed("-s @ port move web-1 --cancel");
    cr_assert_str_eq(run.out, "port web-1: its migration is cancelled, revision 52\n");
}

Test(ctl_map, port_move_wants_one_step_and_what_belongs_to_it)
{
    struct ctl_run run = ctl_run("-s @ port move web-1 --prepare");
    ctl_assert_error(&run, CTL_USAGE, "give --to NODE");
    run = ctl_run("-s @ port move web-1 --activate --cancel");
    ctl_assert_error(&run, CTL_USAGE, "give one of");
    run = ctl_run("-s @ port move web-1 --to hv7 --minutes 3");
    ctl_assert_error(&run, CTL_USAGE, "--minutes belongs to --prepare");
    run = ctl_run("-s @ port move web-1 --to hv7 --prepare --minutes 0");
    ctl_assert_error(&run, CTL_USAGE, "minutes");
}

Test(ctl_map, port_remove_withdraws_the_port_itself)
{
    struct ctl_run run = succeed("-s @ port remove web-1 -o json");
    json_t *json = ctl_parse_json(run.out);
    cr_assert_eq(json_integer_value(json_object_get(json, "revision")), 53);
    json_decref(json);
    const Eidmap__Withdraw *w = sent(BODY(WITHDRAW))->withdraw;
    cr_assert_str_eq(w->node_id, "");
    cr_assert_eq(w->ports[0]->epoch, 0);
    run = ctl_run("-s @ port remove web-2");
    ctl_assert_error(&run, CTL_REFUSED, "port web-2: not found");
}

Test(ctl_map, resolve_prints_where_an_eid_is)
{
    struct ctl_run run = succeed("-s @ resolve blue 10.1.0.5");
    cr_assert_str_eq(run.out, "EID       PORT   LOCATION  RLOCS      STATE\n"
                              "10.1.0.5  web-1  hv1:5001  192.0.2.1  reachable\n");
    cr_assert_str_eq(sent(BODY(RESOLVE))->resolve->network_name, "blue");
}

Test(ctl_map, one_negative_answer_makes_the_code_1_and_says_why)
{
    struct ctl_run run = ctl_run("-s @ resolve blue 10.1.0.5 10.1.0.9");
    cr_assert_eq(run.code, CTL_REFUSED);
    ctl_assert_has(run.out, "10.1.0.9: nobody has registered it (drop, ttl 60s)\n");
    run = ctl_run("-s @ resolve blue 10.1.0.9 -o json");
    cr_assert_eq(run.code, CTL_REFUSED);
    json_t *json = ctl_parse_json(run.out);
    json_t *first = json_array_get(json_object_get(json, "answers"), 0);
    cr_assert(json_is_null(json_object_get(first, "port")));
    cr_assert_str_eq(json_string_value(json_object_get(first, "action")), "drop");
    json_decref(json);
}

/* Ends this process's watch as Ctrl-C does, once it has printed something; or, where it has
 * nothing to print, once the server has its request. */
static void *interrupt(void *arg)
{
    const bool *prints = arg;
    while (*prints ? !ctl_has_printed() : !fake_count(&ctl_stage.server, BODY(SUBSCRIBE)))
        usleep(5000);
    kill(getpid(), SIGINT);
    return NULL;
}

static struct ctl_run run_until_interrupt(const char *line, bool prints)
{
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, interrupt, &prints), 0);
    struct ctl_run run = ctl_run(line);
    pthread_join(thread, NULL);
    return run;
}

Test(ctl_map, watch_prints_changes_until_interrupted)
{
    struct ctl_run run = run_until_interrupt("-s @ watch blue --since 0", true);
    cr_assert_eq(run.code, CTL_DONE, "%s", run.err);
    ctl_assert_has(run.out,
                   "revision 41  port web-1  at hv1:5001, EIDs 52:54:00:00:00:01 10.1.0.5\n");
    ctl_assert_has(run.out, "revision -  port old-1  gone\n");
}

Test(ctl_map, watch_without_since_begins_at_the_present)
{
    run_until_interrupt("-s @ watch", false);
    cr_assert_eq(sent(BODY(SUBSCRIBE))->subscribe->cursor, 50);
}

Test(ctl_map, watch_says_that_it_starts_over)
{
    struct ctl_run run = run_until_interrupt("-s @ watch blue --since 999", true);
    ctl_assert_has(run.err, "network blue: this map server does not know what changed after "
                            "revision 999, ");
    run = run_until_interrupt("-s @ watch blue --since 0", true);
    cr_assert_str_eq(run.err, "", "all is what was asked for");
}

/* The server goes, is missed, comes back, and the watch goes on. */
static void *let_it_come_back(void *arg)
{
    size_t before;
    while (!(before = ctl_complaints()))
        usleep(5000);
    ctl_stage.server.hello_error = 0;
    while (!ctl_has_printed() || ctl_complaints() == before)
        usleep(5000);
    kill(getpid(), SIGINT);
    return NULL;
}

Test(ctl_map, watch_says_when_there_is_no_server_and_goes_on)
{
    pthread_t thread;
    goes_away = true;
    cr_assert_eq(pthread_create(&thread, NULL, let_it_come_back, NULL), 0);
    struct ctl_run run = ctl_run("-s @ watch blue --since 0");
    pthread_join(thread, NULL);
    cr_assert_eq(run.code, CTL_DONE);
    cr_assert_str_eq(run.err, "mapctl: network blue: no map server; trying again\n"
                              "mapctl: network blue: a map server is there again\n");
    ctl_assert_has(run.out, "port web-1");
}

Test(ctl_map, watch_in_json_is_an_object_a_line)
{
    struct ctl_run run = run_until_interrupt("-s @ watch --since 0 -o json", true);
    size_t n = 0;
    for (char *save, *line = strtok_r(run.out, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save), n++) {
        json_t *json = ctl_parse_json(line);
        cr_assert(json_object_get(json, "record"));
        bool is_gone = json_is_true(json_object_get(json, "gone"));
        cr_assert_eq(json_is_null(json_object_get(json, "revision")), is_gone, "%s", line);
        json_decref(json);
    }
    cr_assert_eq(n, 3);
}

Test(ctl_map, resolve_can_go_on_watching)
{
    struct ctl_run run = run_until_interrupt("-s @ resolve blue 10.1.0.5 -w", true);
    cr_assert_eq(run.code, CTL_DONE);
    ctl_assert_has(run.out, "10.1.0.5  port web-1 at hv1:5001, RLOC 192.0.2.1, revision 41\n");
    cr_assert(sent(BODY(RESOLVE))->resolve->watch);
}

Test(ctl_map, denied_is_code_1_with_the_servers_sentence)
{
    refuse = EIDMAP__ERROR_CODE__ERROR_DENIED;
    struct ctl_run run = ctl_run("-s @ network add green");
    ctl_assert_error(&run, CTL_REFUSED, "network green: it may not be");
}

/* ---- locations */

static const Eidmap__Port *claimed(size_t k)
{
    return fake_nth(&ctl_stage.server, BODY(REGISTER), k)->register_->claims[0]->port;
}

Test(ctl_map, locate_adds_a_location_beside_the_others)
{
    struct ctl_run run = ctl_run("port locate web-1 hv2:77 --view label=rack=7 --weight 3 -s @");
    cr_assert_eq(run.code, CTL_DONE, "%s", run.err);
    ctl_assert_has(run.out, "hv1:5001 -> hv1:5001 hv2:77(w3,for:rack=7), revision 52");
    const Eidmap__Port *p = claimed(0);
    cr_assert_eq(p->n_locations, 2);
    cr_assert_str_eq(p->locations[1]->view->label->key, "rack");
    cr_assert_str_eq(p->locations[1]->view->label->value, "7");
    cr_assert(p->multihomed);
    cr_assert_eq(p->n_eids, 2);
}

Test(ctl_map, locate_changes_the_location_of_that_node)
{
    struct ctl_run run = ctl_run("port locate web-1 hv1 --view node=hv1 -s @");
    cr_assert_eq(run.code, CTL_DONE, "%s", run.err);
    cr_assert_eq(claimed(0)->n_locations, 1);
    cr_assert_str_eq(claimed(0)->locations[0]->view->node_id, "hv1");
    cr_assert_eq(claimed(0)->locations[0]->segmentation_id, 5001);
    cr_assert_not(claimed(0)->multihomed);
}

Test(ctl_map, any_local_takes_the_place_of_all_locations)
{
    struct ctl_run run = ctl_run("port locate web-1 --any-local -s @");
    cr_assert_eq(run.code, CTL_DONE, "%s", run.err);
    ctl_assert_has(run.out, "-> any-local:0");
    cr_assert_eq(claimed(0)->n_locations, 1);
    cr_assert_str_eq(claimed(0)->locations[0]->node_id, "");
    run = ctl_run("port register gw -n blue --ip 10.1.0.1 --any-local -s @");
    cr_assert_eq(run.code, CTL_DONE, "%s", run.err);
    cr_assert_eq(claimed(1)->n_locations, 1);
    cr_assert(claimed(1)->declared);
}

Test(ctl_map, locate_remove_withdraws_that_node)
{
    struct ctl_run run = ctl_run("port locate web-1 hv1 --remove -s @");
    cr_assert_eq(run.code, CTL_DONE, "%s", run.err);
    cr_assert_str_eq(fake_nth(&ctl_stage.server, BODY(WITHDRAW), 0)->withdraw->node_id, "hv1");
    cr_assert_null(strstr(run.out, "removed"), "the port is not: %s", run.out);
    run = ctl_run("port locate web-1 hv9 --remove -s @");
    ctl_assert_error(&run, CTL_REFUSED, "it is not at hv9");
}

Test(ctl_map, locate_says_what_it_expects)
{
    static const char *const lines[][2] = {
        {"port locate web-1 -s @", "give NODE, or --any-local"},
        {"port locate web-1 hv1 --any-local -s @", "give NODE, or --any-local"},
        {"port locate web-1 --any-local --view node=hv1 -s @", "no view"},
        {"port locate web-1 hv1 --view hv1 -s @", "--view hv1: expected node=NAME"},
        {"port locate web-1 hv1 --view node= -s @", "--view node=: expected node=NAME"},
        {"port locate web-1 hv1 --view label=rack -s @", "expected node=NAME, label=KEY=VALUE"},
        {"port locate web-1 hv1 --view label==7 -s @", "expected node=NAME, label=KEY=VALUE"},
        {"port locate web-1 hv1 --priority 256 -s @", "--priority 256"},
        {"port locate web-1 hv1:x -s @", "node hv1:x"},
        {"port register gw -n blue --ip 10.1.0.1 --any-local --node hv1 -s @", "--any-local"},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct ctl_run run = ctl_run(lines[i][0]);
        ctl_assert_error(&run, CTL_USAGE, lines[i][1]);
    }
    cr_assert_eq(fake_count(&ctl_stage.server, BODY(HELLO)), 0);
}

static void assert_asks(const char *line, bool is_consistent)
{
    size_t n = 0;
    while (fake_nth(&ctl_stage.server, BODY(RESOLVE), n))
        n++;
    ctl_run(line);
    const Eidmap__Envelope *e = fake_nth(&ctl_stage.server, BODY(RESOLVE), n);
    cr_assert(e, "%s", line);
    cr_assert_eq(e->resolve->consistent, is_consistent, "%s", line);
}

Test(ctl_map, what_only_shows_needs_no_majority_and_what_changes_does)
{
    assert_asks("-s @ port show web-1", false);
    assert_asks("-s @ port show web-1 --consistent", true);
    assert_asks("-s @ trace blue web-1 10.1.0.5", false);
    assert_asks("-s @ trace blue web-1 10.1.0.5 --consistent", true);
    assert_asks("-s @ port move web-1 --to hv7", true);
    assert_asks("-s @ port locate web-1 hv7", true);
    assert_asks("-s @ port remove web-1", true);
}

/* ---- trace */

Test(ctl_map, trace_of_two_that_can_talk_is_code_0)
{
    struct ctl_run run = ctl_run("trace blue web-1 10.1.0.5 -s @");
    cr_assert_eq(run.code, CTL_DONE, "%s", run.err);
    ctl_assert_has(run.out, "web-1 at hv1 -> 10.1.0.5\n");
    ctl_assert_has(run.out, "  ok     sees         hv1:5001, epoch 40: on the same node\n");
    ctl_assert_has(run.out, "  ok     installed    hv1 has installed revision 49, needs 41\n");
    run = ctl_run("trace blue web-1 10.1.0.5 -s @ -o json");
    json_t *json = ctl_parse_json(run.out);
    cr_assert_eq(json_array_size(json), 9);
    json_decref(json);
}

Test(ctl_map, trace_names_the_first_wrong_step)
{
    struct ctl_run run = ctl_run("trace blue web-1 10.1.0.6 -s @");
    ctl_assert_error(&run, CTL_REFUSED, "wrong at port: 10.1.0.6: nobody has registered it; ");
    node.state = EIDMAP__NODE_STATE__NODE_UNREACHABLE;
    run = ctl_run("trace blue web-1 10.1.0.5 -s @");
    ctl_assert_error(&run, CTL_REFUSED, "wrong at node: hv1: unreachable");
    node.state = EIDMAP__NODE_STATE__NODE_REACHABLE;
    node.revision = 60;
    run = ctl_run("trace blue web-1 10.1.0.5 -s @ -t 1");
    ctl_assert_error(&run, CTL_REFUSED,
                     "wrong at installed: hv1 has installed revision 49, needs 60");
    location.state = EIDMAP__LOCATION_STATE__LOCATION_PENDING;
    run = ctl_run("trace blue web-1 10.1.0.5 -s @ -t 1");
    cr_assert_eq(run.code, CTL_DONE, "nobody sends from a pending location: %s", run.err);
}

Test(ctl_map, trace_in_a_network_that_is_not_there_is_code_1)
{
    struct ctl_run run = ctl_run("trace green web-1 web-1 -s @");
    ctl_assert_error(&run, CTL_REFUSED, "network green: not found");
    run = ctl_run("trace blue web-1 -s @");
    ctl_assert_error(&run, CTL_USAGE, "too few words");
}
