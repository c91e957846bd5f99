#include "sources/ovs.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_IDS 8

/* An interface as the monitor shows it. */
struct plug {
    struct ovs_interface data;
    struct ovs_pair ids[MAX_IDS];
};

static struct xtr_ovs *ovs;
static struct xtr_ovs_action action;
static struct plug tap0, tap1;
static struct xtr_port port; /* as the agent has it */
static uint64_t now, age;
static char told[1024];
static char *problem;

static void on_tell(void *aux, const char *text)
{
    snprintf(told, sizeof told, "%s", text);
}

static void setup(void)
{
    now = 1000000;
    ovs = xtr_ovs_new(on_tell, NULL);
}

static void teardown(void)
{
    xtr_ovs_free(ovs);
    free(problem);
}

TestSuite(ovs_source, .init = setup, .fini = teardown);

/* Pairs of keys and values, NULL behind the last. */
static void set_ids(struct plug *plug, const char *const *ids)
{
    size_t n = 0;
    for (; ids[2 * n]; n++)
        plug->ids[n] = (struct ovs_pair){(char *)ids[2 * n], (char *)ids[2 * n + 1]};
    plug->data.ids = plug->ids;
    plug->data.n_ids = n;
}

static void show(struct plug *plug)
{
    xtr_ovs_interface(ovs, &plug->data, true);
}

static void plug_in(struct plug *plug, const char *name, const char *const *ids)
{
    plug->data = (struct ovs_interface){.name = (char *)name, .ofport = 7, .age = ++age};
    snprintf(plug->data.uuid, sizeof plug->data.uuid, "uuid-of-%s", name);
    set_ids(plug, ids);
    show(plug);
}

static void unplug(struct plug *plug)
{
    xtr_ovs_interface(ovs, &plug->data, false);
}

#define IDS(...)                                                                                   \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL, NULL                                                                    \
    }
#define MAC "02:00:00:00:00:01"
#define FULL                                                                                       \
    IDS("iface-id", "p1", "attached-mac", MAC, "eidmap-network", "red", "eidmap-ips",              \
        "10.0.0.1, fd00::1")
#define NOVA IDS("iface-id", "p1", "attached-mac", MAC, "vm-id", "v", "iface-status", "active")

static enum xtr_ovs_step next(void)
{
    return xtr_ovs_next(ovs, now, &action);
}

static void wants_eids(const char *expected)
{
    char text[512] = "", eid[EM_EID_TEXT];
    for (size_t i = 0; i < action.wish.n_eids; i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof text - n, "%s%s", i ? " " : "",
                 em_eid_format(&action.wish.eids[i], eid));
    }
    cr_assert_str_eq(text, expected);
}

static struct em_port_id id_of(const char *text)
{
    struct em_port_id id;
    cr_assert_eq(em_port_id_parse(text, &id, NULL), 0);
    return id;
}

static struct em_eid eid_of(const char *text)
{
    static char name[EM_EID_TEXT];
    struct em_eid eid;
    cr_assert_eq(em_eid_parse(text, &eid, name, NULL), 0);
    return eid;
}

static void record(const char *network, const char *const *texts)
{
    struct em_eid eids[8];
    struct em_port_id id = id_of("p1");
    struct em_port answer = {.id = id, .eids = eids};
    for (; *texts; texts++)
        eids[answer.n_eids++] = eid_of(*texts);
    xtr_ovs_record(ovs, &id, &answer, network, now);
}

static void no_record(void)
{
    struct em_port_id id = id_of("p1");
    xtr_ovs_record(ovs, &id, NULL, NULL, now);
}

/* The agent has taken the attach, and has come to this phase. */
static void is_at(enum xtr_phase phase, enum xtr_source source, const char *device)
{
    port = (struct xtr_port){.id = id_of("p1"), .phase = phase, .source = source};
    snprintf(port.device, sizeof port.device, "%s", device);
    port.is_attach = phase == XTR_REGISTERING;
    xtr_ovs_port(ovs, &port.id, &port);
}

static void attaches(const char *device, bool is_fresh)
{
    cr_assert_eq(next(), XTR_OVS_ATTACH);
    cr_assert_str_eq(action.wish.device, device);
    cr_assert_eq(action.is_fresh, is_fresh);
    cr_assert_eq(action.wish.source, XTR_SOURCE_OVS);
}

static void marks(struct plug *plug, bool is_installed)
{
    struct xtr_ovs_mark mark;
    uint32_t at = 0;
    cr_assert(xtr_ovs_next_mark(ovs, &at, &mark));
    cr_assert_str_eq(mark.uuid, plug->data.uuid);
    cr_assert_eq(mark.is_installed, is_installed);
    cr_assert(!xtr_ovs_next_mark(ovs, &at, &mark));
}

static void marks_nothing(void)
{
    struct xtr_ovs_mark mark;
    uint32_t at = 0;
    cr_assert(!xtr_ovs_next_mark(ovs, &at, &mark), "%s", mark.uuid);
}

static void has_problem(const char *text)
{
    free(problem);
    problem = xtr_ovs_problem(ovs, 0);
    cr_assert(text ? problem && strstr(problem, text) : !problem, "%s", problem);
}

static void start_installed(void)
{
    xtr_ovs_synced(ovs);
    plug_in(&tap0, "tap0", FULL);
    attaches("tap0", true);
    is_at(XTR_INSTALLED, XTR_SOURCE_OVS, "tap0");
    cr_assert_eq(next(), XTR_OVS_NONE);
}

Test(ovs_source, an_interface_that_says_all_is_attached_at_once)
{
    xtr_ovs_synced(ovs);
    plug_in(&tap0, "tap0", FULL);
    attaches("tap0", true);
    cr_assert_str_eq(action.wish.network, "red");
    wants_eids(MAC " 10.0.0.1 fd00::1");
    cr_assert(!action.wish.is_pending);
    cr_assert_eq(next(), XTR_OVS_NONE);
}

Test(ovs_source, an_interface_without_iface_id_is_none_of_ours)
{
    plug_in(&tap0, "tap0", IDS("attached-mac", MAC));
    cr_assert_eq(next(), XTR_OVS_NONE);
    unplug(&tap0);
    plug_in(&tap0, "tap0", IDS("iface-id", "two words"));
    cr_assert_eq(next(), XTR_OVS_NONE);
    cr_assert(strstr(told, "is no port-id"), "%s", told);
    unplug(&tap0);
}

Test(ovs_source, what_it_does_not_say_is_asked_for)
{
    plug_in(&tap0, "tap0", NOVA);
    cr_assert_eq(next(), XTR_OVS_ASK);
    cr_assert_eq(action.wish.id.size, 2);
    cr_assert_eq(next(), XTR_OVS_NONE);
    record("red", (const char *[]){"02:00:00:00:00:09", "10.0.0.1", "10.1.0.0/16", "vm1.example",
                                   "tcp/10.0.0.1:443", NULL});
    attaches("tap0", true);
    cr_assert_str_eq(action.wish.network, "red");
    wants_eids(MAC " 10.0.0.1 tcp/10.0.0.1:443");
}

Test(ovs_source, what_the_map_has_nowhere_is_registered_early)
{
    struct em_location location = {.node_id = "hv9", .epoch = 4};
    struct em_eid mac = eid_of(MAC);
    struct em_port_id id = id_of("p1");
    struct em_port answer = {.id = id, .eids = &mac, .n_eids = 1};
    plug_in(&tap0, "tap0", NOVA);
    cr_assert_eq(next(), XTR_OVS_ASK);
    xtr_ovs_record(ovs, &id, &answer, "red", now);
    attaches("tap0", true);
    cr_assert(action.wish.is_early);
    plug_in(&tap1, "tap1", NOVA); /* a newer one: the record is asked for again */
    cr_assert_eq(next(), XTR_OVS_ASK);
    answer.locations = &location;
    answer.n_locations = 1;
    xtr_ovs_record(ovs, &id, &answer, "red", now);
    attaches("tap1", true);
    cr_assert(!action.wish.is_early, "others send to hv9, and it can still deliver");
}

Test(ovs_source, what_need_not_be_asked_for_is_not_registered_early)
{
    plug_in(&tap0, "tap0", FULL);
    attaches("tap0", true);
    cr_assert(!action.wish.is_early);
}

Test(ovs_source, its_own_words_go_before_the_record)
{
    plug_in(&tap0, "tap0",
            IDS("iface-id", "p1", "eidmap-ips", "10.0.0.5\t10.0.0.5,10.0.0.6", "eidmap-pending",
                "true"));
    cr_assert_eq(next(), XTR_OVS_ASK);
    record("red", (const char *[]){"02:00:00:00:00:09", "10.0.0.1", NULL});
    attaches("tap0", true);
    wants_eids("02:00:00:00:00:09 10.0.0.5 10.0.0.6");
    cr_assert(action.wish.is_pending);
}

Test(ovs_source, a_record_of_another_network_gives_no_addresses)
{
    plug_in(&tap0, "tap0", IDS("iface-id", "p1", "attached-mac", MAC, "eidmap-network", "blue"));
    cr_assert_eq(next(), XTR_OVS_ASK);
    record("red", (const char *[]){"10.0.0.1", NULL});
    attaches("tap0", true);
    cr_assert_str_eq(action.wish.network, "blue");
    wants_eids(MAC);
}

Test(ovs_source, without_a_record_it_waits_and_asks_more_and_more_rarely)
{
    plug_in(&tap0, "tap0", NOVA);
    for (uint64_t pause = 1000; pause <= 16000; pause *= 2) {
        cr_assert_eq(next(), XTR_OVS_ASK);
        no_record();
        cr_assert_eq(next(), XTR_OVS_NONE);
        has_problem("port p1 on tap0: no network");
        now += pause - 1;
        cr_assert_eq(next(), XTR_OVS_NONE);
        now++;
    }
    cr_assert_eq(next(), XTR_OVS_ASK);
    record("red", (const char *[]){NULL});
    attaches("tap0", true);
    has_problem(NULL);
}

Test(ovs_source, an_answer_that_does_not_come_is_asked_for_again)
{
    struct em_port_id id = id_of("p1");
    plug_in(&tap0, "tap0", NOVA);
    cr_assert_eq(next(), XTR_OVS_ASK);
    xtr_ovs_unanswered(ovs, &id, now);
    cr_assert_eq(next(), XTR_OVS_NONE);
    now += 1000;
    cr_assert_eq(next(), XTR_OVS_ASK);
    struct em_port unnamed = {.id = id};
    xtr_ovs_record(ovs, &id, &unnamed, NULL, now); /* in a network that is not known yet */
    now += 1000;
    cr_assert_eq(next(), XTR_OVS_ASK);
}

Test(ovs_source, the_devices_own_mac_is_the_last_resort)
{
    plug_in(&tap0, "tap0", IDS("iface-id", "p1", "eidmap-network", "red", "eidmap-ips", ""));
    cr_assert_eq(next(), XTR_OVS_ASK);
    no_record();
    cr_assert_eq(next(), XTR_OVS_NONE);
    has_problem("no MAC");
    tap0.data.has_mac = true;
    memcpy(tap0.data.mac, (uint8_t[]){2, 0, 0, 0, 0, 5}, EM_MAC_SIZE);
    show(&tap0);
    attaches("tap0", true);
    wants_eids("02:00:00:00:00:05");
    is_at(XTR_INSTALLED, XTR_SOURCE_OVS, "tap0");
    tap0.data.has_mac = false; /* a database that was restarted has forgotten it */
    show(&tap0);
    cr_assert_eq(next(), XTR_OVS_NONE);
}

Test(ovs_source, what_cannot_be_read_is_a_problem)
{
    plug_in(&tap0, "tap0",
            IDS("iface-id", "p1", "attached-mac", "x", "eidmap-network", "red", "eidmap-ips", ""));
    cr_assert_eq(next(), XTR_OVS_NONE);
    has_problem("attached-mac");
    set_ids(&tap0, IDS("iface-id", "p1", "attached-mac", MAC, "eidmap-network", "red", "eidmap-ips",
                       "10.0.0.1,10.0.0.0/8"));
    show(&tap0);
    cr_assert_eq(next(), XTR_OVS_NONE);
    has_problem("eidmap-ips");
}

Test(ovs_source, an_interface_without_an_openflow_port_waits)
{
    plug_in(&tap0, "tap0", IDS("iface-id", "none"));
    unplug(&tap0);
    plug_in(&tap1, "tap1", IDS("iface-id", "none"));
    unplug(&tap1);
    plug_in(&tap0, "tap0", FULL);
    tap0.data.ofport = 0;
    tap0.data.error = "could not open network device tap0";
    show(&tap0);
    cr_assert_eq(next(), XTR_OVS_NONE);
    has_problem("could not open network device");
    tap0.data.ofport = 3;
    show(&tap0);
    attaches("tap0", true);
    is_at(XTR_INSTALLED, XTR_SOURCE_OVS, "tap0");
    tap0.data.ofport = 0; /* ovs-vswitchd starts anew */
    show(&tap0);
    cr_assert_eq(next(), XTR_OVS_NONE);
}

Test(ovs_source, what_is_unplugged_is_detached)
{
    start_installed();
    unplug(&tap0);
    cr_assert_eq(next(), XTR_OVS_DETACH);
    cr_assert_eq(action.wish.id.size, 2);
    cr_assert_eq(next(), XTR_OVS_NONE);
}

Test(ovs_source, what_never_was_attached_is_not_detached)
{
    plug_in(&tap0, "tap0", NOVA);
    cr_assert_eq(next(), XTR_OVS_ASK);
    unplug(&tap0);
    cr_assert_eq(next(), XTR_OVS_NONE);
    no_record();
    cr_assert_eq(next(), XTR_OVS_NONE);
}

Test(ovs_source, a_change_that_changes_nothing_takes_no_step)
{
    start_installed();
    show(&tap0);
    cr_assert_eq(next(), XTR_OVS_NONE);
    set_ids(&tap0, IDS("iface-id", "p1", "attached-mac", MAC, "eidmap-network", "red", "eidmap-ips",
                       "10.0.0.1"));
    show(&tap0);
    attaches("tap0", false);
    wants_eids(MAC " 10.0.0.1");
}

Test(ovs_source, a_record_that_changes_changes_the_port)
{
    plug_in(&tap0, "tap0", NOVA);
    cr_assert_eq(next(), XTR_OVS_ASK);
    record("red", (const char *[]){"10.0.0.1", NULL});
    attaches("tap0", true);
    is_at(XTR_INSTALLED, XTR_SOURCE_OVS, "tap0");
    record("red", (const char *[]){"10.0.0.2", MAC, NULL});
    attaches("tap0", false);
    wants_eids(MAC " 10.0.0.2");
}

Test(ovs_source, a_row_that_gets_another_iface_id_is_another_port)
{
    start_installed();
    set_ids(&tap0, IDS("iface-id", "p2", "attached-mac", MAC, "eidmap-network", "red", "eidmap-ips",
                       "10.0.0.1"));
    show(&tap0);
    cr_assert_eq(next(), XTR_OVS_DETACH);
    attaches("tap0", true);
    cr_assert_eq(action.wish.id.bytes[1], '2');
}

/* Two interfaces with one iface-id */

Test(ovs_source, the_newer_of_two_counts_and_the_log_says_so)
{
    start_installed();
    plug_in(&tap1, "tap1",
            IDS("iface-id", "p1", "attached-mac", MAC, "eidmap-network", "red", "eidmap-ips", "",
                "vm-uuid", "new"));
    cr_assert(strstr(told, "tap1 (vm-id new") && strstr(told, "tap0 (vm-id -"), "%s", told);
    attaches("tap1", true);
    is_at(XTR_INSTALLED, XTR_SOURCE_OVS, "tap1");
    unplug(&tap0);
    cr_assert_eq(next(), XTR_OVS_NONE);
    unplug(&tap1);
    cr_assert_eq(next(), XTR_OVS_DETACH);
}

Test(ovs_source, one_with_an_openflow_port_goes_before_a_newer_one_without)
{
    start_installed();
    tap1.data.ofport = 0;
    plug_in(&tap1, "tap1", IDS("iface-id", "p2"));
    tap1.data.ofport = 0;
    set_ids(&tap1, FULL);
    show(&tap1);
    cr_assert(strstr(told, "has an OpenFlow port"), "%s", told);
    while (next() != XTR_OVS_NONE)
        cr_assert_neq(action.step, XTR_OVS_ATTACH);
    tap1.data.ofport = 8;
    show(&tap1);
    attaches("tap1", true);
}

Test(ovs_source, when_the_newer_goes_the_older_counts_again)
{
    start_installed();
    plug_in(&tap1, "tap1", FULL);
    attaches("tap1", true);
    is_at(XTR_INSTALLED, XTR_SOURCE_OVS, "tap1");
    unplug(&tap1);
    attaches("tap0", false);
}

/* Evidence */

static void restore(const char *device)
{
    struct xtr_port old = {.id = id_of("p1"), .source = XTR_SOURCE_OVS};
    snprintf(old.device, sizeof old.device, "%s", device);
    xtr_ovs_restore(ovs, &old);
}

Test(ovs_source, what_an_earlier_run_has_left_is_no_fresh_evidence)
{
    restore("tap0");
    cr_assert_eq(next(), XTR_OVS_NONE);
    plug_in(&tap0, "tap0", FULL);
    attaches("tap0", false);
    is_at(XTR_REFUSED, XTR_SOURCE_OVS, "tap0");
    xtr_ovs_synced(ovs);
    cr_assert_eq(next(), XTR_OVS_NONE);
}

Test(ovs_source, what_an_earlier_run_has_left_and_is_not_there_goes_when_all_has_been_seen)
{
    restore("tap0");
    cr_assert_eq(next(), XTR_OVS_NONE);
    xtr_ovs_synced(ovs);
    cr_assert_eq(next(), XTR_OVS_DETACH);
}

/* The map may answer before Open vSwitch's database has. */
Test(ovs_source, what_an_earlier_run_has_left_waits_for_the_database_whatever_the_map_shows)
{
    struct em_port record = {.id = id_of("p1")};
    restore("tap0");
    xtr_ovs_record(ovs, &record.id, &record, "red", now);
    cr_assert_eq(next(), XTR_OVS_NONE);
    plug_in(&tap0, "tap0", FULL);
    attaches("tap0", false);
}

Test(ovs_source, what_is_plugged_again_is_fresh_evidence)
{
    restore("tap0");
    plug_in(&tap0, "tap0", FULL);
    attaches("tap0", false);
    xtr_ovs_synced(ovs);
    is_at(XTR_REFUSED, XTR_SOURCE_OVS, "tap0");
    unplug(&tap0);
    plug_in(&tap1, "tap0", FULL);
    attaches("tap0", true);
}

/* Others */

Test(ovs_source, what_somebody_detaches_stays_so_until_it_is_plugged_again)
{
    start_installed();
    xtr_ovs_port(ovs, &port.id, NULL);
    show(&tap0);
    cr_assert_eq(next(), XTR_OVS_NONE);
    plug_in(&tap1, "tap1", FULL);
    attaches("tap1", true);
}

Test(ovs_source, a_port_of_another_source_is_left_to_it)
{
    xtr_ovs_synced(ovs);
    plug_in(&tap0, "tap0", FULL);
    attaches("tap0", true);
    is_at(XTR_INSTALLED, XTR_SOURCE_SOCKET, "tap0");
    marks(&tap0, true);
    show(&tap0);
    cr_assert_eq(next(), XTR_OVS_NONE);
    xtr_ovs_port(ovs, &port.id, NULL);
    attaches("tap0", false);
    is_at(XTR_INSTALLED, XTR_SOURCE_SOCKET, "tap0");
    unplug(&tap0);
    cr_assert_eq(next(), XTR_OVS_NONE);
}

Test(ovs_source, what_the_agent_does_not_take_is_tried_again)
{
    struct em_port_id id = id_of("p1");
    xtr_ovs_synced(ovs);
    plug_in(&tap0, "tap0", FULL);
    attaches("tap0", true);
    xtr_ovs_refused(ovs, &id, MAC " belongs to port p9 of this host", now);
    has_problem("belongs to port p9");
    cr_assert_eq(next(), XTR_OVS_NONE);
    now += 5000;
    attaches("tap0", true);
}

Test(ovs_source, what_was_no_fresh_evidence_is_none_when_it_is_tried_again)
{
    struct em_port_id id = id_of("p1");
    restore("tap0");
    plug_in(&tap0, "tap0", FULL);
    xtr_ovs_synced(ovs);
    attaches("tap0", false);
    xtr_ovs_refused(ovs, &id, MAC " belongs to port p9 of this host", now);
    now += 5000;
    attaches("tap0", false);
}

/* Marks */

#define MARKED                                                                                     \
    IDS("iface-id", "p1", "attached-mac", MAC, "eidmap-network", "red", "eidmap-ips",              \
        "10.0.0.1, fd00::1", "eidmap-installed", "true", "eidmap-installed-ts", "1")

Test(ovs_source, only_what_is_installed_is_marked)
{
    xtr_ovs_synced(ovs);
    plug_in(&tap0, "tap0", FULL);
    attaches("tap0", true);
    is_at(XTR_REGISTERING, XTR_SOURCE_OVS, "tap0");
    marks_nothing();
    is_at(XTR_INSTALLING, XTR_SOURCE_OVS, "tap0");
    marks_nothing();
    is_at(XTR_INSTALLED, XTR_SOURCE_OVS, "tap0");
    marks(&tap0, true);
    set_ids(&tap0, MARKED);
    show(&tap0);
    marks_nothing();
}

Test(ovs_source, a_mark_goes_when_the_port_is_out)
{
    start_installed();
    set_ids(&tap0, MARKED);
    show(&tap0);
    is_at(XTR_INSTALLING, XTR_SOURCE_OVS, "tap0"); /* as in each new session */
    marks_nothing();
    is_at(XTR_REFUSED, XTR_SOURCE_OVS, "tap0");
    marks(&tap0, false);
    is_at(XTR_INSTALLED, XTR_SOURCE_OVS, "tap0");
    marks_nothing();
    xtr_ovs_port(ovs, &port.id, NULL);
    marks(&tap0, false);
}

Test(ovs_source, a_mark_of_an_earlier_run_stays_while_the_port_comes_back)
{
    restore("tap0");
    is_at(XTR_WAITING, XTR_SOURCE_OVS, "tap0");
    plug_in(&tap0, "tap0", MARKED);
    marks_nothing();
    attaches("tap0", false);
    is_at(XTR_WAITING, XTR_SOURCE_OVS, "tap0");
    marks_nothing();
    is_at(XTR_INSTALLED, XTR_SOURCE_OVS, "tap0");
    marks_nothing();
}

Test(ovs_source, a_mark_that_came_with_a_new_interface_is_not_believed)
{
    xtr_ovs_synced(ovs);
    plug_in(&tap0, "tap0", MARKED);
    marks(&tap0, false);
    unplug(&tap0);
    plug_in(&tap1, "tap1", IDS("eidmap-installed", "true"));
    marks(&tap1, false);
    unplug(&tap1);
}

Test(ovs_source, the_loser_of_two_is_not_marked)
{
    start_installed();
    set_ids(&tap0, MARKED);
    show(&tap0);
    plug_in(&tap1, "tap1", FULL);
    marks(&tap0, false);
    attaches("tap1", true);
    is_at(XTR_INSTALLED, XTR_SOURCE_OVS, "tap1");
    set_ids(&tap0, FULL);
    show(&tap0);
    marks(&tap1, true);
}
