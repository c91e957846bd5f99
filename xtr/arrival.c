/* Where a guest is about to arrive by live migration, its agent listens: the guest, or the machine
 * that runs it, announces itself to the bridges as soon as it runs (QEMU: by RARP; Linux: by
 * gratuitous ARP and unsolicited neighbour advertisements).  That is the evidence on which the
 * port is taken over.  Other frames are none: a device that is only made ready may send, too. */
#include "agent_state.h"
#include "tap.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#define RATE 100 /* frames a second of one guest */

struct xtr_arrival {
    struct em_list item;
    struct xtr_agent *agent;
    struct em_port_id port;
    uint32_t version;    /* of the port */
    struct xtr_tap *tap; /* NULL: it could not be opened */
    bool is_deaf;        /* its device is gone */
};

static const char *evidence(const struct xtr_frame *frame)
{
    switch (frame->kind) {
    case XTR_FRAME_RARP:
        return "RARP";
    case XTR_FRAME_ARP_GRATUITOUS:
        return "gratuitous ARP";
    case XTR_FRAME_ND_UNSOLICITED:
        return "unsolicited neighbour advertisement";
    case XTR_FRAME_OTHER:
    case XTR_FRAME_IPV4:
    case XTR_FRAME_IPV6:
    case XTR_FRAME_ARP_REQUEST:
    case XTR_FRAME_ARP_REPLY:
    case XTR_FRAME_ARP_PROBE:
    case XTR_FRAME_ND_SOLICIT:
    case XTR_FRAME_ND_PROBE:
    case XTR_FRAME_ND_ADVERT:
        break;
    }
    return NULL;
}

static bool has_mac(const struct xtr_port *port, const uint8_t *mac)
{
    for (size_t i = 0; i < port->n_eids; i++)
        if (port->eids[i].kind == EM_EID_MAC && !memcmp(port->eids[i].addr, mac, EM_MAC_SIZE))
            return true;
    return false;
}

static void on_frame(void *aux, const struct xtr_frame *frame, const uint8_t *bytes, size_t size)
{
    struct xtr_arrival *arrival = aux;
    struct xtr_agent *agent = arrival->agent;
    struct xtr_port *port = xtr_ports_find(&agent->ports, &arrival->port);
    const char *what = evidence(frame);
    if (!what || !port || !port->is_pending || port->version != arrival->version ||
        !has_mac(port, frame->src_mac))
        return;
    em_info("port %s: the guest has arrived on %s (%s)", xtr_agent_id_text(&port->id), port->device,
            what);
    xtr_port_arrive(port, em_now_us());
    xtr_agent_save_soon(agent);
}

/* A device that is down is heard again when it is up; for one that is gone, another of its name
 * may come. */
static void on_down(void *aux, int err)
{
    struct xtr_arrival *arrival = aux;
    arrival->is_deaf = err == -ENODEV;
}

static void arrival_free(struct xtr_arrival *arrival)
{
    em_list_remove(&arrival->item);
    xtr_tap_free(arrival->tap);
    free(arrival);
}

static void arrival_new(struct xtr_agent *agent, const struct xtr_port *port, uint32_t ifindex)
{
    struct xtr_arrival *arrival = em_calloc(1, sizeof *arrival);
    struct xtr_tap_config config = {.ifindex = ifindex,
                                    .device = port->device,
                                    .rate = RATE,
                                    .burst = RATE,
                                    .on_frame = on_frame,
                                    .on_down = on_down,
                                    .aux = arrival};
    char *why = NULL;
    arrival->agent = agent;
    arrival->port = port->id;
    arrival->version = port->version;
    em_list_append(&agent->arrivals, &arrival->item);
    arrival->is_deaf = xtr_tap_new(agent->loop, &config, &arrival->tap, &why) != 0;
    if (arrival->is_deaf)
        em_warn_limited(
            "port %s: the guest's arrival is not heard, trying again; attach or activate "
            "it where that is too late: %s",
            xtr_agent_id_text(&port->id), why);
    free(why);
}

static bool is_wanted(const struct xtr_port *port)
{
    return port && port->is_pending && port->is_plugged && !port->is_refused && !port->vlan;
}

static bool is_heard(const struct xtr_agent *agent, const struct xtr_port *port)
{
    EM_FOREACH (arrival, &agent->arrivals, struct xtr_arrival, item)
        if (em_port_id_equal(&arrival->port, &port->id))
            return true;
    return false;
}

void xtr_arrivals_update(struct xtr_agent *agent)
{
    EM_FOREACH (arrival, &agent->arrivals, struct xtr_arrival, item) {
        const struct xtr_port *port = xtr_ports_find(&agent->ports, &arrival->port);
        if (!is_wanted(port) || port->version != arrival->version || arrival->is_deaf)
            arrival_free(arrival);
    }
    XTR_FOREACH_AWAKE (port, &agent->ports) {
        uint32_t ifindex = 0;
        if (is_wanted(port) && !is_heard(agent, port))
            ifindex = if_nametoindex(port->device);
        if (ifindex)
            arrival_new(agent, port, ifindex);
    }
}

void xtr_arrivals_close(struct xtr_agent *agent)
{
    EM_FOREACH (arrival, &agent->arrivals, struct xtr_arrival, item)
        arrival_free(arrival);
}
