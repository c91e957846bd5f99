/* One place for how records look, so that "port list", "port show", "xtr cache" and "watch"
 * show the same port the same way.  Cells separate words by spaces: that is where output.c may
 * break them.  JSON has every field whether it is set or not, so that programs need not guess. */
#include "record.h"

#include "base/clock.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const struct ctl_name ctl_network_types[] = {
    {EM_NETWORK_OVERLAY, "overlay"},
    {EM_NETWORK_FLAT, "flat"},
    {EM_NETWORK_VLAN, "vlan"},
    {EM_NETWORK_TRANSIT, "transit"},
    {0, NULL},
};

const struct ctl_name ctl_floods[] = {
    {EM_FLOOD_BROADCAST, "broadcast"},
    {EM_FLOOD_ALL, "all"},
    {EM_FLOOD_NONE, "none"},
    {0, NULL},
};

const struct ctl_name ctl_fills[] = {
    {EM_FILL_SUBSCRIBE, "subscribe"},
    {EM_FILL_RESOLVE, "resolve"},
    {0, NULL},
};

const struct ctl_name ctl_encaps[] = {
    {EM_ENCAP_VXLAN, "vxlan"},
    {EM_ENCAP_GENEVE, "geneve"},
    {EM_ENCAP_GRE, "gre"},
    {0, NULL},
};

const struct ctl_name ctl_node_states[] = {
    {EM_NODE_UNKNOWN, "unknown"},
    {EM_NODE_REACHABLE, "reachable"},
    {EM_NODE_UNREACHABLE, "unreachable"},
    {0, NULL},
};

const struct ctl_name ctl_actions[] = {
    {EM_ACTION_NONE, "none"},
    {EM_ACTION_NATIVELY_FORWARD, "natively-forward"},
    {EM_ACTION_SEND_REQUEST, "send-request"},
    {EM_ACTION_DROP, "drop"},
    {EM_ACTION_POLICY_DENIED, "policy-denied"},
    {EM_ACTION_AUTH_FAILURE, "auth-failure"},
    {0, NULL},
};

static const struct ctl_name eid_kinds[] = {
    {EM_EID_NONE, "none"},
    {EM_EID_MAC, "mac"},
    {EM_EID_IPV4, "ipv4"},
    {EM_EID_IPV6, "ipv6"},
    {EM_EID_IPV4_PREFIX, "ipv4_prefix"},
    {EM_EID_IPV6_PREFIX, "ipv6_prefix"},
    {EM_EID_NAME, "name"},
    {EM_EID_SERVICE, "service"},
    {EM_EID_PORT_ID, "port_id"},
    {0, NULL},
};

const char *ctl_name_of(const struct ctl_name *names, int value)
{
    for (; names->name; names++)
        if (names->value == value)
            return names->name;
    return "?";
}

int ctl_name_find(const struct ctl_name *names, const char *name)
{
    for (; names->name; names++)
        if (strcmp(names->name, name) == 0)
            return names->value;
    return -1;
}

/* A string that grows: a memory stream, and a space between words. */
struct words {
    FILE *stream;
    char *text;
    size_t size;
    size_t n;
};

static void words_begin(struct words *words)
{
    *words = (struct words){0};
    words->stream = open_memstream(&words->text, &words->size);
    if (!words->stream)
        abort(); /* memory is out */
}

static FILE *words_next(struct words *words)
{
    if (words->n++)
        fputc(' ', words->stream);
    return words->stream;
}

static char *words_end(struct words *words)
{
    if (!words->n)
        fputc('-', words->stream);
    fclose(words->stream);
    return words->text;
}

char *ctl_eids_text(const struct em_eid *eids, size_t n)
{
    struct words words;
    char text[EM_EID_TEXT];
    words_begin(&words);
    for (size_t i = 0; i < n; i++)
        fputs(em_eid_format(&eids[i], text), words_next(&words));
    return words_end(&words);
}

const char *ctl_place_name(const struct em_location *location)
{
    return em_location_is_any_local(location) ? "any-local" : location->node_id;
}

/* "(", then ",": before the next of the bracketed attributes. */
static void attribute(FILE *out, const char **separator)
{
    fputs(*separator, out);
    *separator = ",";
}

static void print_location(FILE *out, const struct em_location *l)
{
    const char *separator = "(";
    fprintf(out, "%s:%u", ctl_place_name(l), l->segmentation_id);
    if (l->priority)
        attribute(out, &separator), fprintf(out, "p%u", l->priority);
    if (l->weight)
        attribute(out, &separator), fprintf(out, "w%u", l->weight);
    if (l->is_pending)
        attribute(out, &separator), fputs("pending", out);
    if (l->view_node)
        attribute(out, &separator), fprintf(out, "for:%s", l->view_node);
    else if (l->view_label.key)
        attribute(out, &separator),
            fprintf(out, "for:%s=%s", l->view_label.key, l->view_label.value);
    if (*separator == ',')
        fputc(')', out);
}

char *ctl_locations_text(const struct em_location *locations, size_t n)
{
    struct words words;
    words_begin(&words);
    for (size_t i = 0; i < n; i++)
        print_location(words_next(&words), &locations[i]);
    return words_end(&words);
}

char *ctl_location_text(const struct em_location *location)
{
    return ctl_locations_text(location, 1);
}

char *ctl_places_text(const struct em_location *locations, size_t n)
{
    struct words words;
    words_begin(&words);
    for (size_t i = 0; i < n; i++)
        fputs(ctl_place_name(&locations[i]), words_next(&words));
    return words_end(&words);
}

static void print_rloc(FILE *out, const struct em_rloc *rloc)
{
    char ip[EM_IP_TEXT];
    em_ip_format(rloc->ip.addr, rloc->ip.size, ip);
    if (rloc->encap != EM_ENCAP_VXLAN)
        fprintf(out, "%s/", ctl_name_of(ctl_encaps, (int)rloc->encap));
    if (rloc->udp_port)
        fprintf(out, rloc->ip.size == 16 ? "[%s]:%u" : "%s:%u", ip, rloc->udp_port);
    else
        fputs(ip, out);
}

char *ctl_rlocs_text(const struct em_rloc *rlocs, size_t n)
{
    struct words words;
    words_begin(&words);
    for (size_t i = 0; i < n; i++)
        print_rloc(words_next(&words), &rlocs[i]);
    return words_end(&words);
}

char *ctl_labels_text(const struct em_label *labels, size_t n)
{
    struct words words;
    words_begin(&words);
    for (size_t i = 0; i < n; i++)
        fprintf(words_next(&words), "%s=%s", labels[i].key, labels[i].value);
    return words_end(&words);
}

char *ctl_words_text(const char *const *list, size_t n)
{
    struct words words;
    words_begin(&words);
    for (size_t i = 0; i < n; i++)
        fputs(list[i], words_next(&words));
    return words_end(&words);
}

char *ctl_port_flags_text(const struct em_port *port)
{
    struct words words;
    words_begin(&words);
    if (port->is_declared)
        fputs("declared", words_next(&words));
    if (port->is_multihomed)
        fputs("multihomed", words_next(&words));
    if (port->is_shared)
        fputs("shared", words_next(&words));
    return words_end(&words);
}

char *ctl_children_text(const struct em_port *port)
{
    struct words words;
    char id[EM_PORT_ID_TEXT];
    words_begin(&words);
    for (size_t i = 0; i < port->n_children; i++) {
        const struct em_child *child = &port->children[i];
        fprintf(words_next(&words), "%u:%s", child->tag,
                em_port_id_format(child->id.bytes, child->id.size, id));
    }
    return words_end(&words);
}

char *ctl_node_state_text(const struct em_node *node)
{
    const char *state = ctl_name_of(ctl_node_states, (int)node->state);
    return em_asprintf("%s%s", state, node->is_disabled ? ",disabled" : "");
}

char *ctl_port_id_text(const struct em_port_id *id)
{
    char text[EM_PORT_ID_TEXT];
    return em_strdup(em_port_id_format(id->bytes, id->size, text));
}

char *ctl_text(const char *text)
{
    return em_strdup(text && text[0] ? text : "-");
}

char *ctl_uint_text(uint64_t value)
{
    return em_asprintf("%" PRIu64, value);
}

char *ctl_duration_text(uint64_t ms)
{
    uint64_t s = ms / 1000;
    if (s < 10)
        return em_asprintf("%" PRIu64 ".%03us", s, (unsigned)(ms % 1000));
    if (s < 60)
        return em_asprintf("%" PRIu64 "s", s);
    if (s < 3600)
        return em_asprintf("%" PRIu64 "m%us", s / 60, (unsigned)(s % 60));
    if (s < 86400)
        return em_asprintf("%" PRIu64 "h%um", s / 3600, (unsigned)(s % 3600 / 60));
    return em_asprintf("%" PRIu64 "d%uh", s / 86400, (unsigned)(s % 86400 / 3600));
}

char *ctl_size_text(uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    for (; value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        value /= 1024;
    return em_asprintf("%.*f %s", unit ? 1 : 0, value, units[unit]);
}

char *ctl_clock_text(char text[CTL_CLOCK_TEXT])
{
    uint64_t ms = em_wall_ms();
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    localtime_r(&seconds, &tm);
    size_t size = strftime(text, CTL_CLOCK_TEXT, "%H:%M:%S", &tm);
    snprintf(text + size, CTL_CLOCK_TEXT - size, ".%03u", (unsigned)(ms % 1000));
    return text;
}

char *ctl_hex_text(const uint8_t bytes[16])
{
    char text[33];
    for (size_t i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return em_strdup(text);
}

void ctl_json_eid(struct ctl_json *json, const char *key, const struct em_eid *eid)
{
    char text[EM_EID_TEXT];
    ctl_json_begin(json, key, '{');
    ctl_json_text(json, "kind", ctl_name_of(eid_kinds, (int)eid->kind));
    ctl_json_text(json, "eid", em_eid_format(eid, text));
    ctl_json_end(json, '}');
}

void ctl_json_eids(struct ctl_json *json, const char *key, const struct em_eid *eids, size_t n)
{
    ctl_json_begin(json, key, '[');
    for (size_t i = 0; i < n; i++)
        ctl_json_eid(json, NULL, &eids[i]);
    ctl_json_end(json, ']');
}

void ctl_json_rlocs(struct ctl_json *json, const char *key, const struct em_rloc *rlocs, size_t n)
{
    char text[EM_IP_TEXT];
    ctl_json_begin(json, key, '[');
    for (size_t i = 0; i < n; i++) {
        ctl_json_begin(json, NULL, '{');
        ctl_json_text(json, "address", em_ip_format(rlocs[i].ip.addr, rlocs[i].ip.size, text));
        ctl_json_text(json, "encap", ctl_name_of(ctl_encaps, (int)rlocs[i].encap));
        ctl_json_uint(json, "udp_port", rlocs[i].udp_port);
        ctl_json_end(json, '}');
    }
    ctl_json_end(json, ']');
}

void ctl_json_words(struct ctl_json *json, const char *key, const char *const *words, size_t n)
{
    ctl_json_begin(json, key, '[');
    for (size_t i = 0; i < n; i++)
        ctl_json_text(json, NULL, words[i]);
    ctl_json_end(json, ']');
}

void ctl_json_port_id(struct ctl_json *json, const char *key, const struct em_port_id *id)
{
    char text[EM_PORT_ID_TEXT];
    ctl_json_text(json, key, em_port_id_format(id->bytes, id->size, text));
}

static void json_label(struct ctl_json *json, const char *key, const struct em_label *label)
{
    ctl_json_begin(json, key, '{');
    ctl_json_text(json, "key", label->key);
    ctl_json_text(json, "value", label->value);
    ctl_json_end(json, '}');
}

static void json_view(struct ctl_json *json, const struct em_location *location)
{
    if (!location->view_node && !location->view_label.key) {
        ctl_json_null(json, "view");
        return;
    }
    ctl_json_begin(json, "view", '{');
    if (location->view_node)
        ctl_json_text(json, "node_id", location->view_node);
    else
        json_label(json, "label", &location->view_label);
    ctl_json_end(json, '}');
}

static void json_location(struct ctl_json *json, const struct em_location *location)
{
    ctl_json_begin(json, NULL, '{');
    ctl_json_text(json, "node_id", location->node_id);
    ctl_json_uint(json, "segmentation_id", location->segmentation_id);
    ctl_json_uint(json, "priority", location->priority);
    ctl_json_uint(json, "weight", location->weight);
    json_view(json, location);
    ctl_json_text(json, "state", location->is_pending ? "pending" : "active");
    ctl_json_uint(json, "epoch", location->epoch);
    if (location->is_pending)
        ctl_json_uint(json, "until_ms", location->until_ms);
    ctl_json_end(json, '}');
}

static void json_family(struct ctl_json *json, const struct em_port *port)
{
    if (port->parent.size)
        ctl_json_port_id(json, "parent", &port->parent);
    else
        ctl_json_null(json, "parent");
    ctl_json_uint(json, "tag", port->tag);
    ctl_json_begin(json, "children", '[');
    for (size_t i = 0; i < port->n_children; i++) {
        const struct em_child *child = &port->children[i];
        ctl_json_begin(json, NULL, '{');
        ctl_json_port_id(json, "id", &child->id);
        ctl_json_uint(json, "tag", child->tag);
        ctl_json_uint(json, "network_id", child->network_id);
        ctl_json_end(json, '}');
    }
    ctl_json_end(json, ']');
}

void ctl_json_port(struct ctl_json *json, const char *key, const struct em_port *port)
{
    ctl_json_begin(json, key, '{');
    ctl_json_port_id(json, "id", &port->id);
    ctl_json_uint(json, "network_id", port->network_id);
    ctl_json_eids(json, "eids", port->eids, port->n_eids);
    ctl_json_begin(json, "locations", '[');
    for (size_t i = 0; i < port->n_locations; i++)
        json_location(json, &port->locations[i]);
    ctl_json_end(json, ']');
    ctl_json_uint(json, "revision", port->revision);
    ctl_json_bool(json, "declared", port->is_declared);
    ctl_json_bool(json, "multihomed", port->is_multihomed);
    ctl_json_bool(json, "shared", port->is_shared);
    ctl_json_words(json, "allowed_nodes", port->allowed_nodes, port->n_allowed_nodes);
    json_family(json, port);
    ctl_json_end(json, '}');
}

void ctl_json_node(struct ctl_json *json, const char *key, const struct em_node *node)
{
    ctl_json_begin(json, key, '{');
    ctl_json_text(json, "id", node->id);
    ctl_json_rlocs(json, "rlocs", node->rlocs, node->n_rlocs);
    ctl_json_begin(json, "labels", '{');
    for (size_t i = 0; i < node->n_labels; i++)
        ctl_json_text(json, node->labels[i].key, node->labels[i].value);
    ctl_json_end(json, '}');
    ctl_json_text(json, "state", ctl_name_of(ctl_node_states, (int)node->state));
    ctl_json_uint(json, "state_since_ms", node->state_since_ms);
    ctl_json_uint(json, "revision", node->revision);
    ctl_json_bool(json, "declared", node->is_declared);
    ctl_json_bool(json, "disabled", node->is_disabled);
    ctl_json_text(json, "version", node->version);
    ctl_json_end(json, '}');
}

void ctl_json_network(struct ctl_json *json, const char *key, const struct em_network *network)
{
    ctl_json_begin(json, key, '{');
    ctl_json_uint(json, "id", network->id);
    ctl_json_text(json, "name", network->name);
    ctl_json_text(json, "type", ctl_name_of(ctl_network_types, (int)network->type));
    ctl_json_uint(json, "segmentation_id", network->segmentation_id);
    ctl_json_uint(json, "mtu", network->mtu);
    ctl_json_eids(json, "subnets", network->subnets, network->n_subnets);
    ctl_json_text(json, "dns_domain", network->dns_domain);
    ctl_json_text(json, "flood", ctl_name_of(ctl_floods, (int)network->flood));
    ctl_json_text(json, "fill", ctl_name_of(ctl_fills, (int)network->fill));
    ctl_json_uint(json, "probe_ms", network->probe_ms);
    ctl_json_uint(json, "revision", network->revision);
    ctl_json_end(json, '}');
}
