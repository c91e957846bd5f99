/* What a copy of the whole map costs: time, size, and memory above what an idle server has.
 *
 * A child makes the map, so that this process begins without a page of it. */
#include "base/mem.h"
#include "bench.h"
#include "eidmap/error.h"
#include "server/numbered.h"
#include "state/apply.h"
#include "state/snapshot.h"
#include "wire/convert.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_NODES  10
#define AT_ONCE  1000 /* ports in a command */
#define MIB      1048576.0
#define MAP_SIZE ((uint64_t)8 << 30)

struct source {
    struct ms_store *store;
    struct ms_apply *apply;
    struct em_arena arena;
    uint32_t network_id;
};

static void open_store(const char *dir, uint64_t generation, struct ms_store **ret_store)
{
    char *why = NULL;
    const struct ms_store_config config = {
        .dir = dir, .generation = generation, .map_size = MAP_SIZE};
    if (ms_store_open(&config, ret_store, &why))
        real_fail("%s", why);
}

/* ------------------------------------------------------------------------------ the map */

static const struct ms_result *run(struct source *source, const char *node,
                                   Eidmap__Command *command)
{
    Eidmap__Origin origin = EIDMAP__ORIGIN__INIT;
    struct ms_batch batch;
    const char *why = "";
    origin.role = node[0] ? EIDMAP__ROLE__ROLE_NODE : EIDMAP__ROLE__ROLE_OPERATOR;
    origin.name = (char *)(node[0] ? node : "root");
    command->schema = MS_SCHEMA;
    command->max_node_ports = UINT32_MAX;
    command->origin = &origin;
    size_t size = eidmap__command__get_packed_size(command);
    uint8_t *bytes = em_malloc(size);
    struct ms_blob blob = {bytes, eidmap__command__pack(command, bytes)};
    const struct ms_point at = {ms_apply_point(source->apply).index + 1, 1};
    if (ms_apply_batch(source->apply, &blob, 1, at, &batch, &why))
        real_fail("%s", why);
    free(bytes);
    if (batch.results[0].err)
        real_fail("%s", batch.results[0].message);
    return &batch.results[0];
}

static void add_network(struct source *source)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    Eidmap__PutNetwork body = EIDMAP__PUT_NETWORK__INIT;
    Eidmap__Network network = EIDMAP__NETWORK__INIT;
    network.name = (char *)"bench";
    body.network = &network;
    command.body_case = EIDMAP__COMMAND__BODY_PUT_NETWORK;
    command.put_network = &body;
    source->network_id = run(source, "", &command)->network->id;
}

static void add_node(struct source *source, unsigned number, char *name)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    Eidmap__NodeUp body = EIDMAP__NODE_UP__INIT;
    Eidmap__Rloc rloc = EIDMAP__RLOC__INIT, *rlocs[] = {&rloc};
    uint8_t address[] = {192, 0, 2, (uint8_t)number};
    sprintf(name, "hv%u", number);
    rloc.address = (ProtobufCBinaryData){sizeof(address), address};
    rloc.encap = EIDMAP__ENCAP__ENCAP_VXLAN;
    body.rlocs = rlocs;
    body.n_rlocs = 1;
    body.version = (char *)"xtr";
    command.body_case = EIDMAP__COMMAND__BODY_NODE_UP;
    command.node_up = &body;
    run(source, name, &command);
}

static void add_ports(struct source *source, uint32_t first, uint32_t n, const char *node)
{
    Eidmap__Command command = EIDMAP__COMMAND__INIT;
    Eidmap__Register body = EIDMAP__REGISTER__INIT;
    Eidmap__Claim claims[AT_ONCE], *list[AT_ONCE];
    static struct numbered_port ports[AT_ONCE];
    em_arena_reset(&source->arena);
    for (uint32_t i = 0; i < n; i++) {
        numbered_port_init(&ports[i], source->network_id, first + i, node);
        eidmap__claim__init(&claims[i]);
        claims[i].port = em_port_to_msg(&source->arena, &ports[i].port);
        list[i] = &claims[i];
    }
    body.claims = list;
    body.n_claims = n;
    command.body_case = EIDMAP__COMMAND__BODY_REGISTER;
    command.register_ = &body;
    run(source, node, &command);
}

static void make_map(const char *dir, uint32_t n_ports)
{
    struct source source;
    char nodes[N_NODES][16];
    open_store(dir, 0, &source.store);
    source.apply = ms_apply_new(source.store);
    em_arena_init(&source.arena, 0);
    add_network(&source);
    for (unsigned i = 0; i < N_NODES; i++)
        add_node(&source, i + 1, nodes[i]);
    for (uint32_t n = 0, turn = 0; n < n_ports; n += AT_ONCE, turn++)
        add_ports(&source, n + 1, n_ports - n < AT_ONCE ? n_ports - n : AT_ONCE,
                  nodes[turn % N_NODES]);
    em_arena_fini(&source.arena);
    ms_apply_free(source.apply);
    ms_store_close(source.store);
}

static void make_map_in_child(const char *dir, uint32_t n_ports)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        make_map(dir, n_ports);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status)
        real_fail("the map could not be made");
}

/* ------------------------------------------------------------------------------- figures */

static double memory_mib(const char *field)
{
    char line[256];
    double kib = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof(line), file))
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtod(line + strlen(field) + 1, NULL);
    if (file)
        fclose(file);
    return kib / 1024;
}

static void forget_peak(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "5", 1) != 1)
        real_fail("the kernel does not reset the peak of memory");
    close(fd);
}

struct step {
    uint64_t start_ns;
    double start_mib;
};

static struct step begin(void)
{
    forget_peak();
    return (struct step){bench_now_ns(), memory_mib("VmRSS")};
}

static void end(const struct bench *bench, struct step step, const char *name, const char *what)
{
    double seconds = (double)(bench_now_ns() - step.start_ns) / 1e9;
    double mib = memory_mib("VmHWM") - step.start_mib;
    char full[64];
    snprintf(full, sizeof(full), "%s.time", name);
    bench_figure(bench, full, seconds, "s", what);
    snprintf(full, sizeof(full), "%s.peak", name);
    bench_figure(bench, full, mib, "MiB", "resident memory at its peak, above the start");
}

static void must(int r, const char *why)
{
    if (r)
        real_fail("%s", why ? why : em_strerror(r));
}

static void measure(const struct bench *bench, const char *dir)
{
    struct ms_snapshot_target target = {.dir = dir, .generation = 1, .map_size = MAP_SIZE};
    struct ms_snapshot_info written, checked, loaded;
    struct ms_store *store;
    char *why = NULL, *path = em_asprintf("%s/copy", dir);
    open_store(dir, 0, &store);
    struct step step = begin();
    must(ms_snapshot_write(store, path, true, NULL, &written, &why), why);
    end(bench, step, "write", "from the map to a durable file");
    step = begin();
    must(ms_snapshot_check(path, NULL, &checked, &why), why);
    end(bench, step, "check", "the file's sums and order");
    step = begin();
    must(ms_snapshot_load(path, &target, NULL, &loaded, &why), why);
    end(bench, step, "load", "from the file to a durable map");
    step = begin();
    must(ms_store_switch(store, 1, &why), why);
    end(bench, step, "switch", "to that map, the old one removed");
    bench_figure(bench, "ports", (double)loaded.n_ports, "", "endpoints in the map");
    bench_figure(bench, "rows", (double)loaded.n_rows, "", "rows of all databases");
    bench_figure(bench, "size", (double)loaded.n_bytes / MIB, "MiB", "the file");
    if (memcmp(written.digest, loaded.digest, sizeof(loaded.digest)) != 0 ||
        memcmp(written.digest, checked.digest, sizeof(checked.digest)) != 0)
        real_fail("the digests differ");
    ms_snapshot_info_fini(&written);
    ms_snapshot_info_fini(&checked);
    ms_snapshot_info_fini(&loaded);
    ms_store_close(store);
    unlink(path);
    free(path);
}

int main(int argc, char **argv)
{
    struct bench bench = bench_parse(argc, argv, "snapshot", "what a copy of the map costs");
    const char *tmp = getenv("TMPDIR");
    char *dir = em_asprintf("%s/eidmap-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir))
        real_fail("no directory in %s", tmp ? tmp : "/tmp");
    make_map_in_child(dir, bench.n_ports);
    measure(&bench, dir);
    char *command = em_asprintf("rm -r %s", dir);
    int status = system(command);
    free(command);
    free(dir);
    return status ? 1 : 0;
}
