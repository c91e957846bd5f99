/* Does the map-cache have what the map has? */
#include "asked.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct xtr_found found;
static struct em_location locations[3];
static struct em_eid eids[2];
static struct em_port port;
static struct xtr_asked asked;

static struct em_eid eid(const char *text)
{
    static char buf[EM_EID_TEXT];
    struct em_eid e;
    cr_assert(eq(int, em_eid_parse(text, &e, buf, NULL), 0), "%s", text);
    return e;
}

/* The map's record, and what the map-cache would hold of it. */
static void setup(void)
{
    locations[0] = (struct em_location){.node_id = "h1", .segmentation_id = 100, .epoch = 3};
    locations[1] = (struct em_location){
        .node_id = "h2", .segmentation_id = 100, .view_label = {.key = "rack", .value = "7"}};
    locations[2] =
        (struct em_location){.node_id = "h3", .segmentation_id = 100, .view_node = "h9"};
    eids[0] = eid("02:00:00:00:00:01");
    eids[1] = eid("10.0.0.1");
    port = (struct em_port){.id = {1, "p"},
                            .eids = eids,
                            .n_eids = 2,
                            .locations = locations,
                            .n_locations = 3,
                            .revision = 7};
    asked = (struct xtr_asked){.is_answered = true, .port = &port, .revision = 9};
    found = (struct xtr_found){.id = port.id, .mac = eids[0], .ip = eids[1], .n_places = 2};
    found.places[0].location = locations[1];
    found.places[1].location = locations[0];
    found.places[1].location.epoch = 0; /* the map-cache does not keep it */
}

TestSuite(asked, .init = setup);

static enum xtr_asked_verdict verdict(void)
{
    return xtr_asked_compare(&asked, &found, "h0");
}

Test(asked, no_answer_says_nothing)
{
    asked = (struct xtr_asked){.why = "there is no map server to ask"};
    cr_assert(eq(int, verdict(), XTR_ASKED_NOTHING));
}

Test(asked, the_same_locations_in_another_order_are_the_same)
{
    cr_assert(eq(int, verdict(), XTR_ASKED_SAME), "and one in another node's view is not ours");
}

Test(asked, a_location_in_our_own_view_has_to_be_there)
{
    locations[2].view_node = "h0";
    cr_assert(eq(int, verdict(), XTR_ASKED_DIFFERS));
    found.places[2].location = locations[2];
    found.n_places = 3;
    cr_assert(eq(int, verdict(), XTR_ASKED_SAME));
}

Test(asked, each_part_of_a_location_counts)
{
    struct em_location *l = &locations[1];
    l->node_id = "h5";
    cr_assert(eq(int, verdict(), XTR_ASKED_DIFFERS));
    setup();
    l->segmentation_id = 101;
    cr_assert(eq(int, verdict(), XTR_ASKED_DIFFERS));
    setup();
    l->priority = 1;
    cr_assert(eq(int, verdict(), XTR_ASKED_DIFFERS));
    setup();
    l->weight = 1;
    cr_assert(eq(int, verdict(), XTR_ASKED_DIFFERS));
    setup();
    l->is_pending = true;
    cr_assert(eq(int, verdict(), XTR_ASKED_DIFFERS));
    setup();
    l->view_label.value = "8";
    cr_assert(eq(int, verdict(), XTR_ASKED_DIFFERS));
}

Test(asked, a_location_too_many_differs)
{
    port.n_locations = 1;
    cr_assert(eq(int, verdict(), XTR_ASKED_DIFFERS));
}

Test(asked, another_mac_or_address_differs)
{
    found.mac.addr[5]++;
    cr_assert(eq(int, verdict(), XTR_ASKED_DIFFERS));
    setup();
    found.ip.addr[3]++;
    cr_assert(eq(int, verdict(), XTR_ASKED_DIFFERS));
    setup();
    found.ip = (struct em_eid){.kind = EM_EID_NONE};
    cr_assert(eq(int, verdict(), XTR_ASKED_SAME), "a port without an address");
}

Test(asked, the_map_may_have_another_port_or_nobody)
{
    port.id.bytes[0] = 'q';
    cr_assert(eq(int, verdict(), XTR_ASKED_OTHER));
    asked.port = NULL;
    cr_assert(eq(int, verdict(), XTR_ASKED_GONE));
    found.is_kept = true;
    cr_assert(eq(int, verdict(), XTR_ASKED_KEPT));
}

Test(asked, a_local_port_is_at_this_node_by_the_map_too)
{
    found.is_local = true;
    found.n_places = 0;
    cr_assert(eq(int, verdict(), XTR_ASKED_ELSEWHERE));
    locations[0].node_id = "h0";
    cr_assert(eq(int, verdict(), XTR_ASKED_SAME));
    locations[0].node_id = "";
    cr_assert(eq(int, verdict(), XTR_ASKED_SAME), "any-local");
}
