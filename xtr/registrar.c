/* A session's order on the wire is: announce begin, registers, announce end, and from then on
 * whatever is due.  Answers to requests of a session that has ended do not arrive: the
 * agent cancels them, and everything is told again.
 *
 *   MOVED, CONFLICT, DENIED ...   the record that was named is refused, the rest goes again
 *   BUSY, NO_SPACE, TIMEOUT ...   the same batch again, a second later
 *   NOT_FOUND                     the network has just gone: the feed will say so
 */
#include "registrar.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MS  1000
#define UNSURE_MS 10000 /* more than the patience with a data plane that hangs */

void xtr_registrar_init(struct xtr_registrar *registrar)
{
    memset(registrar, 0, sizeof *registrar);
}

void xtr_registrar_fini(struct xtr_registrar *registrar)
{
    free(registrar->gone);
}

void xtr_registrar_up(struct xtr_registrar *registrar, struct xtr_ports *ports)
{
    xtr_registrar_down(registrar);
    registrar->session = XTR_SESSION_BEGIN;
    for (uint32_t i = 0; i < ports->n_items; i++) {
        struct xtr_port *port = ports->items[i];
        if (!port)
            continue;
        xtr_port_ask_again(port);
        if (!port->is_pending && !xtr_port_is_child(port))
            xtr_port_due(port);
        else
            port->is_due = false;
    }
}

void xtr_registrar_down(struct xtr_registrar *registrar)
{
    registrar->session = XTR_SESSION_DOWN;
    registrar->is_busy = false;
    registrar->retry_ms = 0;
    registrar->n = registrar->n_gone = registrar->n_withdrawing = 0;
}

void xtr_registrar_withdraw(struct xtr_registrar *registrar, const struct em_port_id *id,
                            uint64_t epoch)
{
    if (registrar->session == XTR_SESSION_DOWN)
        return;
    if (registrar->n_gone == registrar->gone_size) {
        registrar->gone_size = registrar->gone_size ? registrar->gone_size * 2 : 16;
        registrar->gone =
            em_realloc(registrar->gone, registrar->gone_size * sizeof *registrar->gone);
    }
    registrar->gone[registrar->n_gone++] = (struct em_port_ref){*id, epoch};
}

bool xtr_registrar_is_withdrawn(const struct xtr_registrar *registrar, const struct em_port_id *id)
{
    for (size_t i = 0; i < registrar->n_gone; i++)
        if (em_port_id_equal(&registrar->gone[i].id, id))
            return false;
    return registrar->session == XTR_SESSION_STEADY;
}

static struct em_claim claim_of(const struct xtr_port *port, struct em_location *location)
{
    *location = (struct em_location){.node_id = "",
                                     .segmentation_id = port->segmentation_id,
                                     .priority = port->priority,
                                     .weight = port->weight};
    return (struct em_claim){
        .port = {.id = port->id,
                 .network_id = port->network_id,
                 .eids = port->eids,
                 .n_eids = port->n_eids,
                 .locations = location,
                 .n_locations = 1,
                 .is_multihomed = port->is_multihomed},
        .is_attach = port->is_attach,
        .epoch = port->epoch,
    };
}

static bool may_register(const struct xtr_port *port)
{
    return !port->is_refused && !port->is_pending && port->network_id && !port->is_kept &&
           !xtr_port_is_child(port);
}

static bool has_device(const struct xtr_port *port)
{
    return port->is_plugged || (port->is_early && !port->device_err);
}

static size_t take_batch(struct xtr_registrar *registrar, const struct xtr_ports *ports,
                         struct em_claim *claims, struct em_location *locations)
{
    size_t n = 0;
    XTR_FOREACH_AWAKE (port, ports) {
        if (n == XTR_BATCH)
            break;
        if (!port->is_due || !may_register(port) || !has_device(port))
            continue;
        claims[n] = claim_of(port, &locations[n]);
        registrar->sent[n++] =
            (struct xtr_sent){port->id, port->version, port->network_id, port->segmentation_id};
        port->is_due = false;
    }
    registrar->n = n;
    return n;
}

/* Can it still turn out that the port belongs into the announce?  A data plane that has not
 * answered does so soon, or not at all. */
static bool is_undecided(const struct xtr_port *port, bool is_soon)
{
    return may_register(port) && !has_device(port) &&
           (!port->device_err || (port->device_err == -ENOBUFS && is_soon));
}

static bool has_undecided(const struct xtr_ports *ports, bool is_soon)
{
    for (uint32_t i = 0; i < ports->n_items; i++)
        if (ports->items[i] && is_undecided(ports->items[i], is_soon))
            return true;
    return false;
}

/* Withdrawals first: a port that was detached and attached again must be left last. */
enum xtr_step xtr_registrar_next(struct xtr_registrar *registrar, struct xtr_ports *ports,
                                 bool knows_map, uint64_t now_ms,
                                 struct em_claim ret_claims[XTR_BATCH],
                                 struct em_location ret_locations[XTR_BATCH],
                                 const struct em_port_ref **ret_refs, size_t *ret_n)
{
    if (registrar->session == XTR_SESSION_DOWN || registrar->is_busy ||
        now_ms < registrar->retry_ms)
        return XTR_STEP_NONE;
    if (registrar->session == XTR_SESSION_BEGIN) {
        registrar->session = XTR_SESSION_ANNOUNCE;
        registrar->announce_ms = now_ms;
        return XTR_STEP_BEGIN;
    }
    if (registrar->n_gone) {
        registrar->n_withdrawing =
            registrar->n_gone < XTR_BATCH ? registrar->n_gone : (size_t)XTR_BATCH;
        *ret_refs = registrar->gone;
        *ret_n = registrar->n_withdrawing;
        registrar->is_busy = true;
        return XTR_STEP_WITHDRAW;
    }
    if (!knows_map)
        return XTR_STEP_NONE;
    *ret_n = take_batch(registrar, ports, ret_claims, ret_locations);
    if (*ret_n) {
        registrar->is_busy = true;
        return XTR_STEP_REGISTER;
    }
    if (registrar->session == XTR_SESSION_ANNOUNCE &&
        !has_undecided(ports, now_ms < registrar->announce_ms + UNSURE_MS)) {
        registrar->is_busy = true;
        return XTR_STEP_END;
    }
    return XTR_STEP_NONE;
}

static void refuse(struct xtr_port *port, const struct em_reply *reply)
{
    char why[EM_ADDR_WHY];
    if (reply->err == EM_E_MOVED && reply->current && reply->current->n_locations)
        snprintf(why, sizeof why, "moved to %s", reply->current->locations[0].node_id);
    else
        snprintf(why, sizeof why, "%s",
                 reply->message && reply->message[0] ? reply->message : em_strerror(reply->err));
    if (reply->err == EM_E_DENIED)
        xtr_port_deny(port, why);
    else
        xtr_port_refuse(port, why);
}

/* One that has changed meanwhile is due again, whatever became of the claim. */
static bool is_as_sent(const struct xtr_port *port, const struct xtr_sent *sent)
{
    return port->version == sent->version && port->network_id == sent->network_id &&
           port->segmentation_id == sent->segmentation_id;
}

/* All or nothing: when one was refused the others are tried again without it. */
void xtr_registrar_registered(struct xtr_registrar *registrar, struct xtr_ports *ports,
                              const struct em_reply *reply, uint64_t now_ms)
{
    assert(registrar->is_busy);
    registrar->is_busy = false;
    bool is_later = em_error_is_retryable(reply->err) || reply->err == EM_E_NOT_FOUND;
    for (size_t i = 0; i < registrar->n; i++) {
        const struct xtr_sent *sent = &registrar->sent[i];
        struct xtr_port *port = xtr_ports_find(ports, &sent->id);
        if (!port || !is_as_sent(port, sent))
            continue;
        if (!reply->err && i < reply->n_epochs)
            xtr_port_acked(port, reply->epochs[i]);
        else if (reply->err && !is_later && i == reply->record)
            refuse(port, reply);
        else
            xtr_port_due(port);
    }
    /* A record that nobody has would be tried for ever. */
    if (is_later || (reply->err && reply->record >= registrar->n))
        registrar->retry_ms = now_ms + RETRY_MS;
    registrar->n = 0;
}

void xtr_registrar_withdrawn(struct xtr_registrar *registrar, int err, uint64_t now_ms)
{
    assert(registrar->is_busy);
    registrar->is_busy = false;
    if (err && em_error_is_retryable(err)) {
        registrar->retry_ms = now_ms + RETRY_MS;
        return;
    }
    registrar->n_gone -= registrar->n_withdrawing;
    memmove(registrar->gone, registrar->gone + registrar->n_withdrawing,
            registrar->n_gone * sizeof *registrar->gone);
    registrar->n_withdrawing = 0;
}

void xtr_registrar_ended(struct xtr_registrar *registrar, int err, uint64_t now_ms)
{
    assert(registrar->is_busy);
    registrar->is_busy = false;
    if (err && em_error_is_retryable(err))
        registrar->retry_ms = now_ms + RETRY_MS;
    else
        registrar->session = XTR_SESSION_STEADY;
}
