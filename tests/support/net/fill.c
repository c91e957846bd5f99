/* fill SERVER NETWORK COUNT NODE NODE: registers COUNT ports at both nodes, the first one with
 * priority 0 and the second with priority 1, as an operator, and says in how many ms.
 *
 * The i-th has the port-id fill-I, the MAC 06:01:a:b:c:d and the address 10.a.b.c + 1 of I. */
#include "eidmap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH      2000
#define TIMEOUT_MS 60000

struct fill {
    struct em_call *call;
    const char *network;
    unsigned n_asked, n_answered;
};

struct fill_port {
    struct em_eid eids[2];
    struct em_location locations[2];
};

static void die(const char *what)
{
    fprintf(stderr, "fill: %s\n", what);
    exit(1);
}

static void on_reply(void *aux, const struct em_reply *reply)
{
    struct fill *fill = aux;
    if (reply->err)
        die(reply->message);
    if (++fill->n_answered == fill->n_asked)
        em_call_done(fill->call);
}

static void number_put(uint8_t *bytes, uint32_t number)
{
    for (unsigned i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(number >> (24 - 8 * i));
}

static void claim_init(struct em_claim *claim, struct fill_port *port, uint32_t number,
                       char *const *nodes)
{
    port->eids[0] = (struct em_eid){.kind = EM_EID_MAC, .size = EM_MAC_SIZE, .addr = {6, 1}};
    port->eids[1] = (struct em_eid){.kind = EM_EID_IPV4, .size = 4};
    number_put(port->eids[0].addr + 2, number);
    number_put(port->eids[1].addr, (10u << 24) + 1 + number);
    for (uint8_t i = 0; i < 2; i++)
        port->locations[i] = (struct em_location){.node_id = nodes[i], .priority = i};
    *claim = (struct em_claim){.is_attach = true,
                               .port = {.eids = port->eids,
                                        .n_eids = 2,
                                        .locations = port->locations,
                                        .n_locations = 2,
                                        .is_multihomed = true}};
    claim->port.id.size = (uint8_t)snprintf((char *)claim->port.id.bytes, EM_PORT_ID_SIZE,
                                            "fill-%u", (unsigned)number);
}

static void ask(struct fill *fill, uint32_t first, uint32_t n, char *const *nodes)
{
    static struct em_claim claims[BATCH];
    static struct fill_port ports[BATCH];
    for (uint32_t i = 0; i < n; i++)
        claim_init(&claims[i], &ports[i], first + i, nodes);
    if (em_client_register(em_call_client(fill->call), claims, n, fill->network, on_reply, fill) <=
        0)
        die("the client takes no more");
    fill->n_asked++;
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        die("usage: fill SERVER NETWORK COUNT NODE NODE");
    const char *servers[] = {argv[1]};
    struct em_client_config config = {
        .servers = servers, .n_servers = 1, .timeout_ms = TIMEOUT_MS};
    struct fill fill = {.network = argv[2]};
    uint32_t count = (uint32_t)strtoul(argv[3], NULL, 10);
    char *why = NULL;
    if (em_call_open(&config, &fill.call, &why))
        die(why);
    double begin = now_ms();
    for (uint32_t i = 0; i < count; i += BATCH)
        ask(&fill, i, count - i < BATCH ? count - i : BATCH, argv + 4);
    if (fill.n_asked && em_call_wait(fill.call, TIMEOUT_MS))
        die("the map server does not answer");
    printf("%u ports registered in %.0f ms\n", (unsigned)count, now_ms() - begin);
    em_call_close(fill.call);
    return 0;
}
