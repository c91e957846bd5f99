/* A location in another node's view is in the map's record and never in the map-cache. */
#include "asked.h"

#include <string.h>

static bool has_eid(const struct em_port *port, const struct em_eid *eid)
{
    for (size_t i = 0; i < port->n_eids; i++)
        if (!em_eid_compare(&port->eids[i], eid))
            return true;
    return eid->kind == EM_EID_NONE;
}

static bool is_same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool is_same_place(const struct em_location *a, const struct em_location *b)
{
    return is_same_text(a->node_id, b->node_id) && a->segmentation_id == b->segmentation_id &&
           a->priority == b->priority && a->weight == b->weight && a->is_pending == b->is_pending &&
           is_same_text(a->view_node, b->view_node) &&
           is_same_text(a->view_label.key, b->view_label.key) &&
           is_same_text(a->view_label.value, b->view_label.value);
}

static bool has_place(const struct xtr_found *found, const struct em_location *location)
{
    for (size_t i = 0; i < found->n_places; i++)
        if (is_same_place(&found->places[i].location, location))
            return true;
    return false;
}

static bool has_places(const struct xtr_found *found, const struct em_port *port,
                       const char *node_id)
{
    size_t n = 0;
    for (size_t i = 0; i < port->n_locations; i++) {
        const struct em_location *location = &port->locations[i];
        if (location->view_node && strcmp(location->view_node, node_id) != 0)
            continue;
        if (!has_place(found, location))
            return false;
        n++;
    }
    return n == found->n_places;
}

static bool is_at(const struct em_port *port, const char *node_id)
{
    for (size_t i = 0; i < port->n_locations; i++)
        if (em_location_is_any_local(&port->locations[i]) ||
            !strcmp(port->locations[i].node_id, node_id))
            return true;
    return false;
}

enum xtr_asked_verdict xtr_asked_compare(const struct xtr_asked *asked,
                                         const struct xtr_found *found, const char *node_id)
{
    if (!asked->is_answered)
        return XTR_ASKED_NOTHING;
    if (!asked->port)
        return found->is_kept ? XTR_ASKED_KEPT : XTR_ASKED_GONE;
    if (!em_port_id_equal(&found->id, &asked->port->id))
        return XTR_ASKED_OTHER;
    if (found->is_local)
        return is_at(asked->port, node_id) ? XTR_ASKED_SAME : XTR_ASKED_ELSEWHERE;
    return has_eid(asked->port, &found->mac) && has_eid(asked->port, &found->ip) &&
                   has_places(found, asked->port, node_id)
               ? XTR_ASKED_SAME
               : XTR_ASKED_DIFFERS;
}
