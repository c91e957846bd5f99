#include "sources/watch.h"

#include "xtr/ops.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

#define IDLE 10000u
#define BAR  60000u

static char blue[] = "blue", red[] = "red", any[] = "*", vnets[] = "vnet*";
static struct xtr_config_watch rules[] = {
    {.network = blue, .devices = any, .idle_ms = IDLE, .max_ports = 3},
    {.network = red, .devices = vnets, .idle_ms = IDLE, .max_ports = 100, .takes_any = 1},
};
static struct xtr_watch *watch;
static struct xtr_ports ports;
static struct xtr_watch_action action;
static uint64_t now;
static char told[1024];
static unsigned n_told;

static void on_tell(void *aux, const char *text)
{
    n_told++;
    snprintf(told, sizeof told, "%s", text);
}

static void setup(void)
{
    now = 1000000;
    xtr_ports_init(&ports);
    watch = xtr_watch_new("h1", rules, 2, on_tell, NULL);
    xtr_watch_number(watch, "blue", 0xb);
    xtr_watch_number(watch, "red", 0xed);
}

static void teardown(void)
{
    xtr_watch_free(watch);
    xtr_ports_fini(&ports);
}

TestSuite(watch, .init = setup, .fini = teardown);

static void see(const char *network, const char *device, uint8_t mac)
{
    xtr_watch_mac(watch, &ports, network, device, (uint8_t[]){2, 0, 0, 0, 0, mac}, now);
}

static void claim(const char *network, uint8_t mac, const char *text)
{
    struct em_ip ip = test_ip(text);
    xtr_watch_claim(watch, &ports, network, (uint8_t[]){2, 0, 0, 0, 0, mac}, &ip, now);
}

static struct em_port_id id_of(const char *text)
{
    struct em_port_id id;
    em_port_id_parse(text, &id, NULL);
    return id;
}

/* "attach auto:h1:02:... eth0 02:... 10.0.0.1" */
static const char *next(void)
{
    static const char *const verbs[] = {"none", "attach", "detach", "ask", "probe"};
    static char text[1024];
    char id[EM_PORT_ID_TEXT], eid[EM_EID_TEXT];
    enum xtr_watch_step step = xtr_watch_next(watch, now, &action);
    if (step == XTR_WATCH_NONE)
        return "none";
    int n = snprintf(text, sizeof text, "%s %s", verbs[step],
                     em_port_id_format(action.wish.id.bytes, action.wish.id.size, id));
    if (step == XTR_WATCH_PROBE)
        em_ip_format(action.ip.addr, action.ip.size, text + snprintf(text, sizeof text, "probe "));
    for (size_t i = 0; i < action.wish.n_eids && step == XTR_WATCH_ATTACH; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, " %s",
                      em_eid_format(&action.wish.eids[i], eid));
    return text;
}

#define A1 "auto:h1:02:00:00:00:00:01:b"
#define R1 "auto:h1:02:00:00:00:00:01:ed"
#define M1 "02:00:00:00:00:01"

#define NEXT_IS(text) cr_assert(eq(str, (char *)(uintptr_t)next(), text))

/* As the agent does it. */
static void attach_wish(void)
{
    char why[EM_ADDR_WHY];
    bool is_changed;
    cr_assert(eq(int, xtr_ports_check(&ports, &action.wish, why), 0), "%s", why);
    xtr_ports_attach(&ports, &action.wish, 1, &is_changed);
}

static void attach_next(void)
{
    cr_assert(eq(int, xtr_watch_next(watch, now, &action), XTR_WATCH_ATTACH));
    attach_wish();
}

/* A port that somebody else has attached. */
static void attach_other(const char *id, const char *device, uint8_t mac, const char *text)
{
    struct em_ip ip = test_ip(text);
    struct em_eid eids[2] = {{.kind = EM_EID_MAC, .size = 6, .addr = {2, 0, 0, 0, 0, mac}},
                             {.kind = ip.size == 4 ? EM_EID_IPV4 : EM_EID_IPV6, .size = ip.size}};
    memcpy(eids[1].addr, ip.addr, ip.size);
    action.wish = (struct xtr_wish){.id = id_of(id),
                                    .network = "blue",
                                    .device = device,
                                    .eids = eids,
                                    .n_eids = 2,
                                    .source = XTR_SOURCE_SOCKET};
    attach_wish();
}

Test(watch, a_mac_that_is_seen_becomes_a_port_with_what_it_claims)
{
    see("blue", "tap0", 1);
    NEXT_IS("attach " A1 " " M1);
    cr_assert(eq(str, (char *)(uintptr_t)action.wish.device, "tap0"));
    cr_assert(eq(int, action.wish.source, XTR_SOURCE_WATCH));
    NEXT_IS("none");
    claim("blue", 1, "10.0.0.1");
    claim("blue", 1, "fd00::1");
    claim("blue", 1, "10.0.0.1");
    NEXT_IS("attach " A1 " " M1 " 10.0.0.1 fd00::1");
    see("blue", "tap0", 1);
    claim("blue", 1, "10.0.0.1");
    NEXT_IS("none");
}

Test(watch, what_is_no_station_or_address_is_ignored)
{
    see("blue", "tap0", 1);
    NEXT_IS("attach " A1 " " M1);
    xtr_watch_mac(watch, &ports, "blue", "tap0", (uint8_t[]){1, 0, 0x5e, 0, 0, 1}, now);
    xtr_watch_mac(watch, &ports, "blue", "tap0", (uint8_t[]){0, 0, 0, 0, 0, 0}, now);
    claim("blue", 1, "127.0.0.1");
    claim("blue", 1, "224.0.0.1");
    claim("blue", 1, "ff02::1");
    claim("blue", 9, "10.0.0.9");
    see("green", "tap0", 5);
    claim("green", 1, "10.0.0.1");
    NEXT_IS("none");
}

Test(watch, only_devices_of_the_pattern_are_believed)
{
    see("red", "tap0", 1);
    NEXT_IS("none");
    see("red", "vnet7", 1);
    NEXT_IS("attach " R1 " " M1);
    see("red", "tap0", 1);
    NEXT_IS("none");
}

Test(watch, one_mac_in_two_networks_is_two_guests)
{
    see("blue", "tap0", 1);
    see("red", "vnet0", 1);
    claim("red", 1, "10.0.0.1");
    NEXT_IS("attach " A1 " " M1);
    cr_assert(eq(str, (char *)(uintptr_t)action.wish.network, "blue"));
    NEXT_IS("attach " R1 " " M1 " 10.0.0.1");
    cr_assert(eq(str, (char *)(uintptr_t)action.wish.network, "red"));
}

Test(watch, an_idle_guest_goes_when_the_kernel_has_not_heard_it_either)
{
    see("blue", "tap0", 1);
    NEXT_IS("attach " A1 " " M1);
    now += IDLE - 1;
    NEXT_IS("none");
    now++;
    NEXT_IS("ask " A1);
    xtr_watch_heard(watch, "blue", action.mac, 1000, now);
    NEXT_IS("none");
    now += IDLE - 1001;
    NEXT_IS("none");
    now++;
    NEXT_IS("ask " A1);
    xtr_watch_heard(watch, "blue", action.mac, UINT64_MAX, now);
    NEXT_IS("detach " A1);
    NEXT_IS("none");
    cr_assert(eq(u32, xtr_watch_stats(watch, "blue").n_ports, 0));
    see("blue", "tap0", 1);
    NEXT_IS("attach " A1 " " M1);
}

Test(watch, the_cap_holds_and_is_told_once)
{
    for (uint8_t mac = 1; mac <= 3; mac++)
        see("blue", "tap0", mac);
    for (int i = 0; i < 3; i++)
        attach_next();
    for (uint8_t mac = 4; mac < 100; mac++)
        see("blue", "tap0", mac);
    NEXT_IS("none");
    cr_assert(eq(uint, n_told, 1));
    cr_assert(strstr(told, "max_ports") != NULL, "%s", told);
    cr_assert(eq(u64, xtr_watch_stats(watch, "blue").n_over, 96));
    xtr_watch_forget(watch, &ports.items[0]->id);
    see("blue", "tap0", 50);
    NEXT_IS("attach auto:h1:02:00:00:00:00:32:b 02:00:00:00:00:32");
}

Test(watch, what_another_source_has_is_not_believed)
{
    attach_other("vm1", "tap0", 1, "10.0.0.1");
    see("blue", "tap0", 2);
    NEXT_IS("none");
    see("blue", "tap1", 1);
    NEXT_IS("none");
    see("blue", "tap1", 3);
    claim("blue", 3, "10.0.0.1");
    NEXT_IS("attach auto:h1:02:00:00:00:00:03:b 02:00:00:00:00:03");
    cr_assert(strstr(told, "10.0.0.1") != NULL, "%s", told);
    cr_assert(eq(u64, xtr_watch_stats(watch, "blue").n_conflicts, 1));
}

Test(watch, a_lie_is_told_once_and_believed_again_after_a_minute)
{
    attach_other("vm1", "tap0", 1, "10.0.0.1");
    see("blue", "tap1", 3);
    attach_next();
    for (int i = 0; i < 50; i++)
        claim("blue", 3, "10.0.0.1");
    cr_assert(eq(uint, n_told, 1));
    struct em_port_id id = id_of("vm1");
    xtr_ports_remove(&ports, xtr_ports_find(&ports, &id));
    claim("blue", 3, "10.0.0.1");
    NEXT_IS("none");
    now += BAR;
    see("blue", "tap1", 3);
    claim("blue", 3, "10.0.0.1");
    NEXT_IS("attach auto:h1:02:00:00:00:00:03:b 02:00:00:00:00:03 10.0.0.1");
}

Test(watch, an_address_that_the_map_gives_to_another_is_dropped)
{
    struct em_eid eid = {.kind = EM_EID_IPV4, .size = 4, .addr = {10, 0, 0, 1}};
    struct em_port_id id = id_of(A1);
    see("blue", "tap0", 1);
    claim("blue", 1, "10.0.0.1");
    claim("blue", 1, "10.0.0.2");
    attach_next();
    cr_assert(not(xtr_watch_conflict(watch, &id, &eid, NULL, now)));
    NEXT_IS("attach " A1 " " M1 " 10.0.0.2");
    claim("blue", 1, "10.0.0.1");
    NEXT_IS("none");
}

static struct em_port holder_of_mac(const char *id)
{
    static struct em_eid eids[3] = {{.kind = EM_EID_MAC, .size = 6, .addr = {2, 0, 0, 0, 0, 1}},
                                    {.kind = EM_EID_IPV4, .size = 4, .addr = {10, 0, 0, 7}}};
    return (struct em_port){.id = id_of(id), .eids = eids, .n_eids = 2};
}

Test(watch, an_automatic_port_of_another_node_is_taken_over_as_it_is)
{
    struct em_port holder = holder_of_mac("auto:h2:02:00:00:00:00:01");
    struct em_port_id id = id_of(A1);
    see("blue", "tap0", 1);
    claim("blue", 1, "10.0.0.1");
    attach_next();
    cr_assert(xtr_watch_conflict(watch, &id, &holder.eids[0], &holder, now));
    NEXT_IS("attach auto:h2:02:00:00:00:00:01 " M1 " 10.0.0.1 10.0.0.7");
}

Test(watch, any_other_port_is_taken_over_only_if_the_rule_says_so)
{
    struct em_port holder = holder_of_mac("vm1");
    struct em_port_id id = id_of(A1);
    see("blue", "tap0", 1);
    attach_next();
    cr_assert(not(xtr_watch_conflict(watch, &id, &holder.eids[0], &holder, now)));
    cr_assert(strstr(told, M1) != NULL, "%s", told);
    NEXT_IS("detach " A1);
    cr_assert(xtr_watch_is_away(watch, "blue", holder.eids[0].addr));
    cr_assert(not(xtr_watch_is_away(watch, "red", holder.eids[0].addr)));
    see("blue", "tap0", 1);
    NEXT_IS("none");
    see("red", "vnet0", 1);
    NEXT_IS("attach " R1 " " M1);
    struct em_port_id red_id = action.wish.id;
    cr_assert(xtr_watch_conflict(watch, &red_id, &holder.eids[0], &holder, now));
    NEXT_IS("attach vm1 " M1 " 10.0.0.7");
}

Test(watch, a_guest_that_has_gone_elsewhere_is_believed_more_and_more_rarely)
{
    struct em_port_id id = id_of(A1);
    uint64_t bars[] = {2000, 4000, 8000, 16000, 32000, 64000, 64000};
    see("blue", "tap0", 1);
    for (size_t i = 0; i < 7; i++) {
        NEXT_IS("attach " A1 " " M1);
        xtr_watch_refused(watch, &id, now);
        cr_assert(eq(uint, n_told, i >= 3), "told once, by the fourth time");
        NEXT_IS("detach " A1);
        now += bars[i] - 1;
        see("blue", "tap0", 1);
        NEXT_IS("none");
        now++;
        NEXT_IS("none");
        see("blue", "tap0", 1);
    }
    NEXT_IS("attach " A1 " " M1);
}

Test(watch, one_that_has_gone_for_good_is_forgotten)
{
    struct em_port_id id = id_of(A1);
    see("blue", "tap0", 1);
    NEXT_IS("attach " A1 " " M1);
    xtr_watch_refused(watch, &id, now);
    NEXT_IS("detach " A1);
    now += IDLE;
    NEXT_IS("none");
    cr_assert(eq(u32, xtr_watch_stats(watch, "blue").n_ports, 0));
}

Test(watch, a_guest_on_another_device_of_the_host_moves)
{
    see("blue", "tap0", 1);
    claim("blue", 1, "10.0.0.1");
    attach_next();
    see("blue", "tap1", 1);
    NEXT_IS("attach " A1 " " M1 " 10.0.0.1");
    cr_assert(eq(str, (char *)(uintptr_t)action.wish.device, "tap1"));
    xtr_watch_unplugged(watch, "blue", "tap0");
    NEXT_IS("none");
}

Test(watch, ports_go_with_their_device_and_come_back_with_the_guest)
{
    see("blue", "tap0", 1);
    see("blue", "tap1", 2);
    attach_next();
    attach_next();
    xtr_watch_unplugged(watch, "red", "tap0");
    NEXT_IS("none");
    xtr_watch_unplugged(watch, "blue", "tap0");
    NEXT_IS("detach " A1);
    NEXT_IS("none");
    xtr_watch_unplugged(watch, "blue", "tap1");
    see("blue", "tap1", 2);
    NEXT_IS("detach auto:h1:02:00:00:00:00:02:b");
    NEXT_IS("attach auto:h1:02:00:00:00:00:02:b 02:00:00:00:00:02");
}

/* What DHCP gives to another one day. */
Test(watch, an_address_is_asked_for_and_dropped_without_an_answer)
{
    see("blue", "tap0", 1);
    claim("blue", 1, "10.0.0.1");
    claim("blue", 1, "10.0.0.2");
    attach_next();
    for (int i = 0; i < 3; i++) { /* it goes on sending, and claims one of them */
        now += IDLE / 3;
        see("blue", "tap0", 1);
        claim("blue", 1, "10.0.0.2");
        NEXT_IS("none");
    }
    now++;
    see("blue", "tap0", 1);
    for (int i = 0; i < 3; i++) {
        NEXT_IS("probe 10.0.0.1");
        NEXT_IS("none");
        now += 1000;
    }
    NEXT_IS("attach " A1 " " M1 " 10.0.0.2");
}

Test(watch, an_address_that_is_answered_for_stays)
{
    see("blue", "tap0", 1);
    claim("blue", 1, "10.0.0.1");
    attach_next();
    now += IDLE - 1;
    see("blue", "tap0", 1);
    now++;
    NEXT_IS("probe 10.0.0.1");
    see("blue", "tap0", 1);
    claim("blue", 1, "10.0.0.1");
    now += 1000;
    NEXT_IS("none");
}

Test(watch, a_silent_guest_is_not_kept_by_questions)
{
    see("blue", "tap0", 1);
    claim("blue", 1, "10.0.0.1");
    attach_next();
    now += IDLE;
    NEXT_IS("ask " A1);
    NEXT_IS("detach " A1);
}

Test(watch, a_guest_has_so_many_addresses_at_most)
{
    see("blue", "tap0", 1);
    for (unsigned i = 1; i < 250; i++) {
        char text[EM_IP_TEXT];
        snprintf(text, sizeof text, "10.0.0.%u", i);
        claim("blue", 1, text);
    }
    attach_next();
    cr_assert(eq(sz, action.wish.n_eids, 1 + XTR_WATCH_IPS));
    NEXT_IS("none");
}

Test(watch, what_an_earlier_run_left_is_watched_on)
{
    see("blue", "tap0", 1);
    claim("blue", 1, "10.0.0.1");
    attach_next();
    xtr_watch_free(watch);
    watch = xtr_watch_new("h1", rules, 2, on_tell, NULL);
    xtr_watch_number(watch, "blue", 0xb);
    xtr_watch_number(watch, "red", 0xed);
    xtr_watch_restore(watch, ports.items[0], now);
    NEXT_IS("none");
    claim("blue", 1, "10.0.0.2");
    NEXT_IS("attach " A1 " " M1 " 10.0.0.1 10.0.0.2");
    now += IDLE;
    NEXT_IS("ask " A1);
    NEXT_IS("detach " A1);
}

/* Whatever happens, the table stays as it should. */
Test(watch, many_guests_come_and_go)
{
    rules[1].max_ports = 100;
    for (unsigned round = 0; round < 2000; round++) {
        now += 137;
        see("red", round % 3 ? "vnet1" : "vnet2", (uint8_t)(round * 31));
        if (round % 50 == 0)
            xtr_watch_unplugged(watch, "red", "vnet1");
        enum xtr_watch_step step;
        while ((step = xtr_watch_next(watch, now, &action)) != XTR_WATCH_NONE)
            if (step == XTR_WATCH_ATTACH && action.mac[5] % 7 == 0)
                xtr_watch_refused(watch, &action.wish.id, now);
        cr_assert(le(u32, xtr_watch_stats(watch, "red").n_ports, 100));
    }
    now += 1000 * IDLE;
    while (xtr_watch_next(watch, now, &action) != XTR_WATCH_NONE)
        ;
    cr_assert(eq(u32, xtr_watch_stats(watch, "red").n_ports, 0));
}
