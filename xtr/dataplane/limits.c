/* Two limits that a large network meets, and that the kernel does not speak of.
 *
 * A vxlan device keeps its entries in 256 hash buckets before Linux 6.16 (a resizable table
 * since commit 1f763fa808e9): at 16,000 entries a lookup walks 60 of them, for each frame.
 *
 * A neighbour table refuses entries above gc_thresh3 (1024 by default), for all namespaces
 * together.  Since Linux 5.0 (commits 58956317c8de, e997f8a20a57) permanent entries, as ours
 * are, neither count nor are refused; the underlay's neighbours are, and the host's own.
 * What the kernel has of these is not told: all entries but our own is what is known. */
#include "limits.h"

#include <stdio.h>

#define VXLAN_MACS 16000u
#define NEAR_SHARE 5 /* within a fifth of the limit */

struct dp_version dp_version_parse(const char *release)
{
    struct dp_version version = {0};

    if (sscanf(release, "%u.%u", &version.major, &version.minor) != 2)
        return (struct dp_version){0};
    return version;
}

static bool is_before(struct dp_version version, unsigned major, unsigned minor)
{
    return version.major < major || (version.major == major && version.minor < minor);
}

const char *dp_limit_vxlan(struct dp_version version, const char *device, uint32_t n_macs,
                           char text[DP_LIMIT_TEXT])
{
    if (n_macs <= VXLAN_MACS || version.major == 0 || !is_before(version, 6, 16))
        return NULL;
    snprintf(text, DP_LIMIT_TEXT,
             "vxlan device %s has %u entries, and Linux %u.%u keeps them in 256 hash buckets: "
             "every frame searches %u of them; use Linux 6.16 or newer, or split the network",
             device, n_macs, version.major, version.minor, n_macs / 256);
    return text;
}

/* A power of two, as people set it, and at least twice what there is. */
static uint32_t advise(uint32_t n_counted, uint32_t thresh)
{
    uint32_t advised = 1024;

    while ((advised / 2 < n_counted || advised / 2 < thresh) && advised < 1u << 30)
        advised *= 2;
    return advised;
}

const char *dp_limit_neigh(struct dp_version version, const struct dp_neigh_table *table,
                           char text[DP_LIMIT_TEXT])
{
    bool is_all = version.major != 0 && is_before(version, 5, 0);
    uint32_t ours = is_all || table->n_ours > table->n_entries ? 0 : table->n_ours;
    uint32_t n = table->n_entries - ours;
    const char *family = table->is_v6 ? "IPv6" : "IPv4", *name = table->is_v6 ? "ipv6" : "ipv4";

    if (n < table->n_rlocs)
        n = table->n_rlocs;
    bool is_near = n >= table->thresh - table->thresh / NEAR_SHARE;
    if (table->thresh == 0 || (!is_near && table->n_refused == 0))
        return NULL;
    snprintf(text, DP_LIMIT_TEXT,
             "the kernel's %s neighbour table takes %u entries%s and up to %u "
             "are needed%s: set net.%s.neigh.default.gc_thresh3=%u on the host, with sysctl",
             family, table->thresh, is_all ? "" : " beside permanent ones", n,
             table->n_refused ? " (some have been refused)" : "", name, advise(n, table->thresh));
    return text;
}
