/* The map of another server, from one that is honest and from one that is not. */
#include "core/core_state.h"

#include "base/clock.h"
#include "base/crc32c.h"
#include "lib/fake_server.h"
#include "mapserver/authority.h"
#include "mapserver/map.h"
#include "raft/stage.h"
#include "state/snapshot.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST       100 /* bytes of the first piece: there are two */
#define PATIENCE_MS 30000

static struct map m;
static struct authority authority;
static struct authority_files files;
static struct stage stage;
static struct ms_core core;
static struct fake_server sender;
static ev_timer pulse;
static uint8_t *copy;
static size_t copy_size;
static unsigned n_asked, n_forgotten;
static void (*lie)(Eidmap__Envelope *reply, Eidmap__Chunk *chunk); /* NULL: it is honest */

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t end_ = em_now_ms() + PATIENCE_MS;                                                 \
        while (!(condition)) {                                                                     \
            cr_assert_lt(em_now_ms(), end_, "in vain: %s", #condition);                            \
            ev_run(core.loop, EVRUN_ONCE);                                                         \
            ms_fetch_run(core.fetch);                                                              \
        }                                                                                          \
    } while (0)

/* What is logged goes into a file from here on. */
static int log_fd;

static void open_log(void)
{
    char *path = em_asprintf("%s/stderr", m.dir);
    log_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
    free(path);
    cr_assert_geq(log_fd, 0);
    cr_assert_geq(dup2(log_fd, STDERR_FILENO), 0);
}

static void assert_logged(const char *words)
{
    char text[4096];
    ssize_t n = pread(log_fd, text, sizeof(text) - 1, 0);
    cr_assert_geq(n, 0);
    text[n] = '\0';
    cr_assert(strstr(text, words), "\"%s\" is not in: %s", words, text);
    cr_assert_eq(ftruncate(log_fd, 0), 0);
}

static void on_pulse(struct ev_loop *loop, ev_timer *w, int revents)
{
}

static void on_wake(struct ev_loop *loop, ev_async *w, int revents)
{
}

static void read_copy(const char *path)
{
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    cr_assert_eq(fseek(file, 0, SEEK_END), 0);
    copy_size = (size_t)ftell(file);
    rewind(file);
    copy = em_malloc(copy_size);
    cr_assert_eq(fread(copy, 1, copy_size, file), copy_size);
    fclose(file);
}

static void write_copy(void)
{
    struct ms_snapshot_info info;
    char *path = em_asprintf("%s/copy", m.dir), *why = NULL;
    cr_assert_eq(ms_snapshot_write(m.store, path, false, NULL, &info, &why), 0, "%s", why);
    memcpy(core.cluster_id, info.identity.cluster_id, sizeof(core.cluster_id));
    ms_snapshot_info_fini(&info);
    read_copy(path);
    free(path);
}

static void answer(struct fake_server *server, const Eidmap__Envelope *request)
{
    if (request->body_case != EIDMAP__ENVELOPE__BODY_FETCH)
        return;
    Eidmap__Envelope reply = EIDMAP__ENVELOPE__INIT;
    Eidmap__Chunk chunk = EIDMAP__CHUNK__INIT;
    uint64_t offset = request->fetch->offset;
    cr_assert_lt(offset, copy_size);
    n_asked++;
    if (offset > 0 && n_forgotten > 0) {
        n_forgotten--;
        fake_send_error(server, request->id, EM_E_NOT_FOUND, "no such copy");
        return;
    }
    uint8_t data[FIRST];
    chunk.snapshot = 7;
    chunk.offset = offset;
    chunk.data = (ProtobufCBinaryData){offset ? copy_size - offset : FIRST, copy + offset};
    if (offset == 0)
        chunk.data.data = memcpy(data, copy, FIRST);
    chunk.crc32c = em_crc32c(0, chunk.data.data, chunk.data.len);
    chunk.total = copy_size;
    reply.id = request->id;
    reply.body_case = EIDMAP__ENVELOPE__BODY_CHUNK;
    reply.chunk = &chunk;
    if (lie)
        lie(&reply, &chunk);
    fake_send(server, &reply);
}

static void setup(void)
{
    map_open(&m, 0);
    open_log();
    map_network(&m, "blue", NULL, NULL);
    authority_open(&authority);
    files = authority_issue(&authority, EM_ROLE_SERVER, "ms1");
    core.config.dir = m.dir;
    core.config.map_size = 64u << 20;
    core.config.disk_reserve = 4096;
    core.config.tls_ca = files.ca;
    core.config.tls_cert = files.cert;
    core.config.tls_key = files.key;
    core.loop = ev_loop_new(0);
    ev_async_init(&core.wake, on_wake);
    ev_async_start(core.loop, &core.wake);
    ev_timer_init(&pulse, on_pulse, 0.02, 0.02);
    ev_timer_start(core.loop, &pulse);
    stage_open(&stage, 3, 0);
    stage_start_all(&stage, 3);
    core.engine = stage_engine(&stage, 1);
    core.fetch = ms_fetch_new(&core);
    write_copy();
    fake_start_tls(&sender, core.loop, authority_tls(&authority, EM_ROLE_SERVER, "ms2"));
    sender.handler = answer;
}

static void teardown(void)
{
    ms_fetch_free(core.fetch);
    em_tls_free(sender.tls);
    fake_stop(&sender);
    stage_close(&stage);
    ev_loop_destroy(core.loop);
    free(copy);
    authority_files_free(&files);
    authority_close(&authority);
    close(log_fd);
    map_close(&m);
}

TestSuite(fetch, .init = setup, .fini = teardown, .timeout = 100);

static void offer(const char *url)
{
    Eidmap__SnapshotOffer msg = EIDMAP__SNAPSHOT_OFFER__INIT;
    char *servers[] = {(char *)url};
    msg.servers = servers;
    msg.n_servers = 1;
    ms_fetch_begin(core.fetch, &msg);
}

static bool is_there(const char *name)
{
    char *path = em_asprintf("%s/%s", m.dir, name);
    bool is = access(path, F_OK) == 0;
    free(path);
    return is;
}

/* The map is built; it waits for a leader to tell whether it is of use. */
static void assert_comes(void)
{
    offer(sender.url);
    UNTIL(is_there("state-1/data.mdb"));
    cr_assert(ms_fetch_is_busy(core.fetch));
}

static void assert_given_up(const char *why)
{
    offer(sender.url);
    cr_assert(ms_fetch_is_busy(core.fetch));
    UNTIL(!ms_fetch_is_busy(core.fetch));
    assert_logged(why);
    cr_assert_not(is_there("incoming"));
    cr_assert_not(is_there("state-1"));
}

Test(fetch, honest_sender)
{
    assert_comes();
    cr_assert_eq(n_asked, 2);
}

Test(fetch, sender_that_forgot_its_copy_is_asked_from_the_start)
{
    n_forgotten = 1;
    assert_comes();
    cr_assert_eq(n_asked, 4);
}

Test(fetch, offer_without_an_address_is_not_taken)
{
    offer("unix:/nowhere");
    cr_assert_not(ms_fetch_is_busy(core.fetch));
    cr_assert_not(is_there("incoming"));
}

Test(fetch, map_of_another_cluster_is_not_taken)
{
    core.cluster_id[0] ^= 1;
    assert_given_up("of another cluster");
}

/* ---- lies ---- */

static void damaged(Eidmap__Envelope *reply, Eidmap__Chunk *chunk)
{
    chunk->crc32c ^= 1;
}

static void empty(Eidmap__Envelope *reply, Eidmap__Chunk *chunk)
{
    chunk->data.len = 0;
}

static void elsewhere(Eidmap__Envelope *reply, Eidmap__Chunk *chunk)
{
    chunk->offset -= chunk->offset > 0;
}

static void too_long(Eidmap__Envelope *reply, Eidmap__Chunk *chunk)
{
    chunk->total = chunk->offset + chunk->data.len - 1;
}

static void growing(Eidmap__Envelope *reply, Eidmap__Chunk *chunk)
{
    chunk->total += chunk->offset;
}

static void something_else(Eidmap__Envelope *reply, Eidmap__Chunk *chunk)
{
    static Eidmap__Done done;
    eidmap__done__init(&done);
    reply->body_case = EIDMAP__ENVELOPE__BODY_DONE;
    reply->done = &done;
}

/* Right in each piece, and no map: what was loaded of it goes. */
static void no_map(Eidmap__Envelope *reply, Eidmap__Chunk *chunk)
{
    chunk->data.data[chunk->data.len / 2] ^= 1;
    chunk->crc32c = em_crc32c(0, chunk->data.data, chunk->data.len);
}

Test(fetch, lies_are_seen_and_the_next_offer_is_taken)
{
    static const struct {
        void (*tell)(Eidmap__Envelope *, Eidmap__Chunk *);
        const char *why;
    } lies[] = {
        {damaged, "a piece was damaged on its way"},
        {empty, "the pieces do not fit"},
        {elsewhere, "the pieces do not fit"},
        {too_long, "the pieces do not fit"},
        {growing, "the pieces are of two copies"},
        {something_else, "the sender answers something else"},
        {no_map, "the sum of its content is wrong"},
    };
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        lie = lies[i].tell;
        assert_given_up(lies[i].why);
    }
    lie = NULL;
    free(copy);
    write_copy();
    assert_comes();
}
