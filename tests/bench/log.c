/* What a durable write into the log costs: one entry of 300 bytes and of 64 KiB, beside the
 * least that a disk can do: pwrite() and fdatasync() in a file that is written already.
 *
 * The two take turns, so that what else the disk does meets both. */
#include "base/mem.h"
#include "bench.h"
#include "core/log.h"
#include "eidmap/error.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_IN_TURN 16
#define N_KEPT    500 /* entries; then those before are forgotten */
#define FILE_SIZE ((size_t)16 << 20)

struct side {
    struct hist hist;
    uint64_t busy_ns;
};

static struct ms_log *log_;
static uint64_t next_index = 1;
static int bare_fd;
static size_t bare_at;

static void must(int r, const char *why)
{
    if (r)
        real_fail("%s", why ? why : em_strerror(r));
}

static void open_bare(const char *dir)
{
    char *path = em_asprintf("%s/bare", dir);
    void *zeros = em_calloc(1, FILE_SIZE);
    bare_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (bare_fd < 0 || write(bare_fd, zeros, FILE_SIZE) != (ssize_t)FILE_SIZE || fsync(bare_fd))
        real_fail("%s cannot be written", path);
    free(zeros);
    free(path);
}

static void write_bare(const void *data, size_t size)
{
    if (bare_at + size > FILE_SIZE)
        bare_at = 0;
    if (pwrite(bare_fd, data, size, (off_t)bare_at) != (ssize_t)size || fdatasync(bare_fd))
        real_fail("the bare file cannot be written");
    bare_at += size;
}

static void write_entry(struct ms_payload *payload)
{
    const struct ms_entry entry = {1, RAFT_COMMAND, payload};
    const struct ms_log_write write = {.first = next_index, .entries = &entry, .n_entries = 1};
    must(ms_log_write(log_, &write), NULL);
    next_index++;
}

static void forget(void)
{
    const struct ms_mark mark = {next_index - 1, 1, 1, "members", 7};
    const struct ms_log_write write = {.mark = &mark, .forget = next_index - N_KEPT};
    must(ms_log_write(log_, &write), NULL);
}

static void add(struct side *side, uint64_t since_ns)
{
    uint64_t ns = bench_now_ns() - since_ns;
    hist_add(&side->hist, ns);
    side->busy_ns += ns;
}

static void report(const struct bench *bench, const char *name, const struct side *side,
                   const char *what)
{
    bench_latency(bench, name, &side->hist, (double)side->hist.n / ((double)side->busy_ns / 1e9),
                  what);
}

static void measure(const struct bench *bench, const char *name, size_t size)
{
    struct side *sides = em_calloc(2, sizeof(*sides));
    struct ms_payload *payload = ms_payload_new(NULL, size);
    char full[32];
    memset(payload->data, 'x', size);
    uint64_t end_ns = bench_now_ns() + (uint64_t)(2 * bench->seconds * 1e9);
    while (bench_now_ns() < end_ns) {
        for (int i = 0; i < N_IN_TURN; i++) {
            uint64_t start_ns = bench_now_ns();
            write_entry(payload);
            add(&sides[0], start_ns);
        }
        for (int i = 0; i < N_IN_TURN; i++) {
            uint64_t start_ns = bench_now_ns();
            write_bare(payload->data, size);
            add(&sides[1], start_ns);
        }
        if (next_index % (2 * N_KEPT) < N_IN_TURN && next_index > N_KEPT)
            forget();
    }
    snprintf(full, sizeof(full), "write.%s", name);
    report(bench, full, &sides[0], "writes of the log, one entry each");
    snprintf(full, sizeof(full), "bare.%s", name);
    report(bench, full, &sides[1], "as many bytes written and synced without a log");
    ms_payload_unref(payload);
    free(sides);
}

int main(int argc, char **argv)
{
    struct bench bench = bench_parse(argc, argv, "log", "what a durable write of the log costs");
    struct ms_log_state state;
    const char *tmp = getenv("TMPDIR");
    char *dir = em_asprintf("%s/eidmap-XXXXXX", tmp ? tmp : "/tmp"), *why = NULL;
    bool is_new;
    if (!mkdtemp(dir))
        real_fail("no directory in %s", tmp ? tmp : "/tmp");
    must(ms_log_open(dir, &log_, &is_new, &why), why);
    must(ms_log_load(log_, &state, &why), why);
    open_bare(dir);
    measure(&bench, "300", 300);
    measure(&bench, "64k", 64u << 10);
    ms_log_state_fini(&state);
    ms_log_close(log_);
    close(bare_fd);
    real_remove_tree(dir);
    free(dir);
    return 0;
}
