#include "server/links.h"

#include "server/real_server.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char namespaces[LINKS_MAX + 1][16]; /* the one behind the last has the bridge */
static char addresses[LINKS_MAX][24];
static const char *address_list[LINKS_MAX];
static unsigned n_hosts; /* 0: there is no scene */

/* Runs a shell command; false: it failed, and has said why. */
__attribute__((format(printf, 1, 2))) static bool shell(const char *format, ...)
{
    char command[512];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    return system(command) == 0;
}

void links_remove(void)
{
    for (unsigned i = 0; n_hosts && i <= n_hosts; i++)
        shell("ip netns del %s", namespaces[i]);
    n_hosts = 0;
}

/* A server's namespace, with a table that drops nothing yet. */
static bool make_host(unsigned i)
{
    const char *ns = namespaces[i], *net = namespaces[n_hosts];
    return shell("ip netns add %s && ip -n %s link set lo up", ns, ns) &&
           shell("ip -n %s link add p%u type veth peer name eth0 netns %s", net, i, ns) &&
           shell("ip -n %s link set p%u master br0 up", net, i) &&
           shell("ip -n %s addr add %s/24 dev eth0", ns, addresses[i]) &&
           shell("ip -n %s link set eth0 up", ns) &&
           shell("ip netns exec %s nft 'add table ip cut; add chain ip cut in "
                 "{ type filter hook input priority 0; }'",
                 ns);
}

bool links_make(unsigned n)
{
    if (geteuid() != 0 || !shell("nft --version >/dev/null 2>&1"))
        return false;
    for (unsigned i = 0; i <= n; i++)
        snprintf(namespaces[i], sizeof(namespaces[i]), "cut%u%c", (unsigned)getpid() % 10000000,
                 'a' + (int)i);
    if (!shell("ip netns add %s", namespaces[n]))
        return false;
    n_hosts = n;
    atexit(links_remove);
    if (!shell("ip -n %s link add br0 type bridge && ip -n %s link set br0 up", namespaces[n],
               namespaces[n]))
        real_fail("no bridge");
    for (unsigned i = 0; i < n; i++) {
        snprintf(addresses[i], sizeof(addresses[i]), "10.77.0.%u", i + 1);
        address_list[i] = addresses[i];
        if (!make_host(i))
            real_fail("no namespace for %s", addresses[i]);
    }
    return true;
}

const char *const *links_addresses(void)
{
    return address_list;
}

const char *links_netns(unsigned i)
{
    return namespaces[i];
}

void links_cut(unsigned from, unsigned to)
{
    if (!shell("ip netns exec %s nft add rule ip cut in ip saddr %s drop", namespaces[to],
               addresses[from]))
        real_fail("cannot cut %s from %s", addresses[from], addresses[to]);
}

void links_slow(unsigned from, uint16_t port, unsigned to, unsigned kib)
{
    if (!shell("ip netns exec %s nft add rule ip cut in ip saddr %s tcp sport %u limit rate over "
               "%u kbytes/second drop",
               namespaces[to], addresses[from], port, kib))
        real_fail("cannot slow down %s to %s", addresses[from], addresses[to]);
}

void links_heal(void)
{
    for (unsigned i = 0; i < n_hosts; i++)
        if (!shell("ip netns exec %s nft flush chain ip cut in", namespaces[i]))
            real_fail("cannot heal %s", addresses[i]);
}
