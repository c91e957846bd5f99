#include "tables.h"

#include "base/mem.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row {
    char *key;   /* "mac 1 02:..": what a put replaces */
    char *value; /* the rest of the line; for a MAC "set N" until it is shown */
};

struct tables {
    struct row *rows;
    size_t n, size;
    size_t n_ops;
};

struct tables *tables_new(void)
{
    return em_calloc(1, sizeof(struct tables));
}

static void row_free(struct row *row)
{
    free(row->key);
    free(row->value);
}

void tables_free(struct tables *t)
{
    for (size_t i = 0; i < t->n; i++)
        row_free(&t->rows[i]);
    free(t->rows);
    free(t);
}

static struct row *find(const struct tables *t, const char *key)
{
    for (size_t i = 0; i < t->n; i++)
        if (!strcmp(t->rows[i].key, key))
            return &t->rows[i];
    return NULL;
}

static void put_row(struct tables *t, const char *key, const char *value)
{
    struct row *row = find(t, key);
    if (!row) {
        if (t->n == t->size) {
            t->size = t->size ? t->size * 2 : 64;
            t->rows = em_realloc(t->rows, t->size * sizeof *t->rows);
        }
        row = &t->rows[t->n++];
        *row = (struct row){em_strdup(key), NULL};
    }
    free(row->value);
    row->value = em_strdup(value);
}

static void delete_row(struct tables *t, const char *key)
{
    struct row *row = find(t, key);
    if (!row)
        return;
    row_free(row);
    *row = t->rows[--t->n];
}

void tables_expect(struct tables *t, const char *format, ...)
{
    char *line = NULL;
    va_list args;
    va_start(args, format);
    cr_assert(vasprintf(&line, format, args) >= 0);
    va_end(args);
    put_row(t, line, "");
    free(line);
}

char *tables_target(const struct dp_target *target, bool with_weight, char text[96])
{
    char ip[EM_IP_TEXT];
    em_ip_format(target->ip.addr, target->ip.size, ip);
    int n = snprintf(text, 96, "%s:%u/%u", ip, target->udp_port, target->segmentation_id);
    if (with_weight)
        snprintf(text + n, 96 - (size_t)n, "*%u", target->weight);
    return text;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

char *tables_targets(const struct dp_target *targets, size_t n, char *text)
{
    char each[16][96];
    cr_assert(n <= 16);
    for (size_t i = 0; i < n; i++)
        tables_target(&targets[i], true, each[i]);
    qsort(each, n, sizeof each[0], compare_text);
    text[0] = 0;
    for (size_t i = 0; i < n; i++)
        strcat(strcat(text, i ? " " : ""), each[i]);
    return text;
}

static bool begins(const char *text, const char *start)
{
    return !strncmp(text, start, strlen(start));
}

/* "VERB ID " is the beginning of what belongs to a network. */
static void delete_network(struct tables *t, uint32_t id)
{
    const char *const kinds[] = {"net", "dev", "local", "mac", "ip", "flood", "copy"};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        char start[32];
        snprintf(start, sizeof start, "%s %u ", kinds[k], id);
        for (size_t i = t->n; i-- > 0;)
            if (begins(t->rows[i].key, start)) {
                row_free(&t->rows[i]);
                t->rows[i] = t->rows[--t->n];
            }
    }
}

static void check_set_unused(const struct tables *t, uint32_t id)
{
    char value[32];
    snprintf(value, sizeof value, "set %u", id);
    for (size_t i = 0; i < t->n; i++)
        cr_assert(strcmp(t->rows[i].value, value), "set %u is deleted but %s uses it", id,
                  t->rows[i].key);
}

static void apply_one(struct tables *t, const struct dp_op *op)
{
    char mac[EM_MAC_TEXT], ip[EM_IP_TEXT] = "", target[96] = "", key[256], local[256], set[32];
    char value[16 * 100], at[IFNAMSIZ + 8]; /* a device, or a tag on it */
    unsigned id = op->network.id;
    snprintf(at, sizeof at, op->vlan ? "%s.%u" : "%s", op->device, op->vlan);
    em_mac_format(op->mac, mac);
    if (op->ip.size)
        em_ip_format(op->ip.addr, op->ip.size, ip);
    if (op->target.ip.size)
        tables_target(&op->target, false, target);
    snprintf(set, sizeof set, "set %u", op->set.id);
    snprintf(local, sizeof local, "local %u %s", id, mac);

    char network[32];
    snprintf(network, sizeof network, "net %u ", id);
    bool is_put = op->verb == DP_MAC_PUT || op->verb == DP_NEIGHBOUR_PUT ||
                  op->verb == DP_FLOOD_PUT || op->verb == DP_PORT_PUT || op->verb == DP_LOCAL_PUT ||
                  op->verb == DP_COPY_PUT;
    cr_assert(!is_put || find(t, network), "verb %d before its network %u", op->verb, id);

    switch (op->verb) {
    case DP_NETWORK_PUT:
        snprintf(value, sizeof value, "vni %u", op->network.segmentation_id);
        put_row(t, network, value);
        break;
    case DP_NETWORK_DELETE:
        delete_network(t, id);
        break;
    case DP_SET_PUT:
        put_row(t, set, tables_targets(op->set.targets, op->set.n_targets, value));
        break;
    case DP_SET_DELETE:
        check_set_unused(t, op->set.id);
        delete_row(t, set);
        break;
    case DP_MAC_PUT:
        cr_assert(find(t, set), "mac %s before its set %u", mac, op->set.id);
        delete_row(t, local);
        snprintf(key, sizeof key, "mac %u %s", id, mac);
        put_row(t, key, set);
        break;
    case DP_MAC_DELETE:
        snprintf(key, sizeof key, "mac %u %s", id, mac);
        delete_row(t, key);
        break;
    case DP_NEIGHBOUR_PUT:
        snprintf(key, sizeof key, "ip %u %s", id, ip);
        put_row(t, key, mac);
        break;
    case DP_NEIGHBOUR_DELETE:
        snprintf(key, sizeof key, "ip %u %s", id, ip);
        delete_row(t, key);
        break;
    case DP_FLOOD_PUT:
        snprintf(key, sizeof key, "flood %u %s", id, target);
        put_row(t, key, "");
        break;
    case DP_FLOOD_DELETE:
        snprintf(key, sizeof key, "flood %u %s", id, target);
        delete_row(t, key);
        break;
    case DP_PORT_PUT:
        snprintf(key, sizeof key, "dev %u %s", id, at);
        put_row(t, key, "");
        break;
    case DP_PORT_DELETE:
        snprintf(key, sizeof key, "dev %u %s", id, at);
        delete_row(t, key);
        break;
    case DP_LOCAL_PUT:
        snprintf(key, sizeof key, "dev %u %s", id, at);
        cr_assert(find(t, key), "local %s before its device %s", mac, at);
        snprintf(key, sizeof key, "mac %u %s", id, mac);
        delete_row(t, key);
        put_row(t, local, at);
        break;
    case DP_LOCAL_DELETE: {
        const struct row *row = find(t, local);
        if (row && !strcmp(row->value, at))
            delete_row(t, local);
        break;
    }
    case DP_COPY_PUT: {
        snprintf(key, sizeof key, "copy %u %s", id, mac);
        snprintf(value, sizeof value, "%s%s%s", target, op->device[0] ? " " : "", at);
        put_row(t, key, value);
        break;
    }
    case DP_COPY_DELETE:
        snprintf(key, sizeof key, "copy %u %s", id, mac);
        delete_row(t, key);
        break;
    }
}

void tables_apply(struct tables *t, const struct dp_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++)
        apply_one(t, &ops[i]);
    t->n_ops += n;
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *show_row(const struct tables *t, const struct row *row)
{
    if (begins(row->key, "mac "))
        if (begins(row->value, "set "))
            return em_asprintf("%s -> %s", row->key, find(t, row->value)->value);
    return row->value[0]
               ? em_asprintf("%s%s%s", row->key, begins(row->key, "net ") ? "" : " ", row->value)
               : em_strdup(row->key);
}

char *tables_show(const struct tables *t)
{
    char **lines = em_calloc(t->n, sizeof *lines);
    size_t n = 0, size = 1;
    for (size_t i = 0; i < t->n; i++)
        if (!begins(t->rows[i].key, "set ")) {
            lines[n] = show_row(t, &t->rows[i]);
            size += strlen(lines[n++]) + 1;
        }
    qsort(lines, n, sizeof *lines, compare_lines);
    char *text = em_calloc(size, 1), *at = text;
    for (size_t i = 0; i < n; i++) {
        at += sprintf(at, "%s\n", lines[i]);
        free(lines[i]);
    }
    free(lines);
    return text;
}

size_t tables_n_sets(const struct tables *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        n += begins(t->rows[i].key, "set ");
    return n;
}

size_t tables_n_ops(const struct tables *t)
{
    return t->n_ops;
}
