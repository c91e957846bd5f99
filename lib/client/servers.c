/* Each server has its own TLS session ticket, since a ticket of one means nothing to another;
 * the certificate is read once.  Hello is packed once too, in both of its forms: its instance
 * tells a server that requests of two connections come from one process. */
#include "client/servers.h"

#include "base/buf.h"
#include "base/mem.h"
#include "client/pending.h"
#include "net/socket.h"
#include "wire/convert.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define INSTANCE    16 /* bytes of Hello.instance */
#define MAX_SERVERS 64
#define MAX_RLOCS   8 /* of a node: proto/eidmap.proto */

struct em_server {
    char *text;
    struct em_address address;
    struct em_tls_resume *resume; /* NULL without TLS */
};

static int take_addresses(struct em_servers *servers, const struct em_client_config *config,
                          char **ret_why)
{
    if (!config->n_servers || config->n_servers > MAX_SERVERS) {
        *ret_why =
            em_asprintf("expected 1 to %d map servers, got %zu", MAX_SERVERS, config->n_servers);
        return -EINVAL;
    }
    servers->list = em_calloc(config->n_servers, sizeof(servers->list[0]));
    for (size_t i = 0; i < config->n_servers; i++) {
        struct em_server *server = &servers->list[i];
        char why[EM_ADDR_WHY];
        int r = em_address_parse(config->servers[i], &server->address, why);
        if (r) {
            *ret_why = em_asprintf("server \"%s\": %s", config->servers[i], why);
            return r;
        }
        server->text = em_strdup(config->servers[i]);
        if (server->address.transport == EM_TLS)
            server->resume = em_tls_resume_new();
        servers->len++;
    }
    return 0;
}

static int load_tls(struct em_servers *servers, const struct em_client_config *config,
                    char **ret_why)
{
    bool is_needed = false;
    for (size_t i = 0; i < servers->len; i++)
        is_needed |= servers->list[i].address.transport == EM_TLS;
    if (!is_needed)
        return 0;
    if (!config->ca_file || !config->cert_file || !config->key_file) {
        *ret_why = em_strdup("a tls:// server needs a CA, a certificate and a key");
        return -EINVAL;
    }
    return em_tls_new(config->ca_file, config->cert_file, config->key_file, &servers->tls, ret_why);
}

static int check_node(const struct em_client_config *config, char **ret_why)
{
    char why[EM_ADDR_WHY];
    if (config->node_id && em_ident_check(config->node_id, why)) {
        *ret_why = em_asprintf("node-id: %s", why);
        return -EINVAL;
    }
    if (config->n_rlocs > MAX_RLOCS) {
        *ret_why = em_asprintf("a node has at most %d RLOCs, got %zu", MAX_RLOCS, config->n_rlocs);
        return EM_E_LIMIT;
    }
    return 0;
}

static int pack(const Eidmap__Envelope *envelope, uint8_t **ret_frame, size_t *ret_size)
{
    struct em_buf out;
    em_buf_init(&out);
    int r = em_msg_append(&out, envelope);
    if (r == 0) {
        *ret_size = em_buf_size(&out);
        *ret_frame = em_memdup(em_buf_head(&out), *ret_size);
    }
    em_buf_fini(&out);
    return r;
}

/* In both forms. */
static int pack_both(struct em_servers *servers, Eidmap__Hello *hello)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    envelope.id = EM_HELLO_ID;
    envelope.body_case = EIDMAP__ENVELOPE__BODY_HELLO;
    envelope.hello = hello;
    hello->warm = false;
    int r = pack(&envelope, &servers->hello, &servers->hello_size);
    if (r)
        return r;
    envelope.id = EM_WARM_ID;
    hello->warm = true;
    return pack(&envelope, &servers->warm_hello, &servers->warm_hello_size);
}

static int make_hellos(struct em_servers *servers, const struct em_client_config *config,
                       struct em_arena *arena)
{
    Eidmap__Hello hello = EIDMAP__HELLO__INIT;
    Eidmap__Rloc *rlocs[MAX_RLOCS];
    uint8_t instance[INSTANCE];
    if (getrandom(instance, sizeof(instance), 0) != sizeof(instance))
        return -EIO;
    for (size_t i = 0; i < config->n_rlocs; i++)
        rlocs[i] = em_rloc_to_msg(arena, &config->rlocs[i]);
    hello.protocol = EM_PROTOCOL;
    hello.software = (char *)(config->software ? config->software : "libeidmap " EM_VERSION);
    if (config->node_id)
        hello.node_id = (char *)config->node_id;
    hello.boot_epoch = config->boot_epoch;
    hello.instance = (ProtobufCBinaryData){sizeof(instance), instance};
    hello.rlocs = rlocs;
    hello.n_rlocs = config->n_rlocs;
    return pack_both(servers, &hello);
}

static int pack_hellos(struct em_servers *servers, const struct em_client_config *config)
{
    struct em_arena arena;
    em_arena_init(&arena, 0);
    int r = make_hellos(servers, config, &arena);
    em_arena_fini(&arena);
    return r;
}

int em_servers_init(struct em_servers *servers, const struct em_client_config *config,
                    char **ret_why)
{
    char *why = NULL;
    *servers = (struct em_servers){0};
    int r = take_addresses(servers, config, &why);
    if (r == 0)
        r = load_tls(servers, config, &why);
    if (r == 0)
        r = check_node(config, &why);
    if (r == 0)
        r = pack_hellos(servers, config);
    if (r) {
        em_servers_fini(servers);
        *ret_why = why ? why : em_strdup(em_strerror(r));
    }
    return r;
}

void em_servers_fini(struct em_servers *servers)
{
    for (size_t i = 0; i < servers->len; i++) {
        em_tls_resume_free(servers->list[i].resume);
        free(servers->list[i].text);
    }
    free(servers->list);
    em_tls_free(servers->tls);
    free(servers->hello);
    free(servers->warm_hello);
    *servers = (struct em_servers){0};
}

void em_servers_set_rlocs(struct em_servers *servers, const struct em_rloc *rlocs, size_t n)
{
    struct em_arena arena;
    Eidmap__Rloc *list[MAX_RLOCS];
    uint8_t *old = servers->hello, *old_warm = servers->warm_hello;
    assert(n <= MAX_RLOCS);
    em_arena_init(&arena, 0);
    Eidmap__Hello *hello =
        em_msg_unpack(&arena, old + EM_FRAME_HEADER, servers->hello_size - EM_FRAME_HEADER)->hello;
    for (size_t i = 0; i < n; i++)
        list[i] = em_rloc_to_msg(&arena, &rlocs[i]);
    hello->rlocs = list;
    hello->n_rlocs = n;
    int r = pack_both(servers, hello);
    assert(r == 0); /* no larger than it may be at the start */
    (void)r;
    free(old);
    free(old_warm);
    em_arena_fini(&arena);
}

const char *em_servers_name(const struct em_servers *servers, size_t i)
{
    return servers->list[i].text;
}

int em_servers_connect(const struct em_servers *servers, size_t i, struct em_net *net,
                       const struct em_conn_events *events, void *aux, struct em_conn **ret_conn)
{
    const struct em_server *server = &servers->list[i];
    struct em_conn_config config = {
        .events = events,
        .tls = server->address.transport == EM_TLS ? servers->tls : NULL,
        .resume = server->resume,
        .is_client = true,
        .idle_ms = EM_WELCOME_MS,
    };
    int fd = em_socket_connect(&server->address);
    if (fd < 0)
        return fd;
    struct em_conn *conn = em_conn_new(net, fd, &config, aux);
    if (!conn)
        return EM_E_TLS;
    *ret_conn = conn;
    return 0;
}
