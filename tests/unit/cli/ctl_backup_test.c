/* Copies of the map: what comes out of "backup" is what the server has, whatever happens on the
 * way; what goes into "restore" is what the file has, or nothing. */
#include "cli/ctl_stage.h"

#include "base/crc32c.h"
#include "base/mem.h"
#include "eidmap/error.h"
#include "snapfile.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BODY(name) EIDMAP__ENVELOPE__BODY_##name
#define HEAD                                                                                       \
    "\x89"                                                                                         \
    "eidmap\r\n\x1a\n\0\0\0\0\1"
#define SIZE     (5 * 262144u + 1000)
#define MAX_SIZE 262144u

static char dir[64];
static uint8_t map[SIZE];  /* a copy, as the server has it */
static uint64_t copy = 77; /* its id */
static uint32_t most;      /* bytes that the server gives at a time */
static unsigned cut_at;    /* the fetch at which the connection is cut, once */
static unsigned forget_at; /* the fetch from which on the copy is another */
static unsigned damage_at; /* the fetch whose answer has a wrong byte */
static unsigned n_fetches;

static uint8_t restored[SIZE];
static size_t n_restored;
static int refuse; /* an em_error: the answer to the second piece */
static uint64_t n_networks;
static size_t n_members;

static void put_u32(uint8_t *at, uint32_t n)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(n >> (24 - 8 * i));
}

/* The last piece: numbers of three databases and the digest, all 0xd1. */
static void put_tail(uint8_t *end)
{
    const uint32_t content = 3 * 8 + 32;
    uint8_t *at = end - content - 16;
    memset(end - 32, 0xd1, 32);
    memcpy(at, "TAIL", 4);
    put_u32(at + 4, content);
    put_u32(at + 8, em_crc32c(0, at + 16, content));
    put_u32(at + 12, em_crc32c(0, at, 12));
}

static void answer_fetch(struct fake_server *server, const Eidmap__Envelope *e)
{
    const Eidmap__Fetch *fetch = e->fetch;
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__Chunk chunk = EIDMAP__CHUNK__INIT;
    uint8_t data[MAX_SIZE];
    n_fetches++;
    if (n_fetches == cut_at) {
        fake_cut(server);
        return;
    }
    if (n_fetches == forget_at) {
        copy++;
        map[100] ^= 1;
    }
    if (fetch->snapshot && fetch->snapshot != copy) {
        fake_send_error(server, e->id, EM_E_NOT_FOUND, "no such copy");
        return;
    }
    size_t rest = SIZE - fetch->offset, size = fetch->size < most ? fetch->size : most;
    size = size < rest ? size : rest;
    memcpy(data, map + fetch->offset, size);
    chunk.snapshot = copy;
    chunk.offset = fetch->offset;
    chunk.data = (ProtobufCBinaryData){size, data};
    chunk.crc32c = em_crc32c(0, data, size);
    chunk.total = SIZE;
    chunk.index = 4711;
    chunk.revision = 815;
    if (n_fetches == damage_at)
        data[0] ^= 1;
    envelope.id = e->id;
    envelope.body_case = BODY(CHUNK);
    envelope.chunk = &chunk;
    fake_send(server, &envelope);
}

static void answer_restore(struct fake_server *server, const Eidmap__Envelope *e)
{
    const Eidmap__Restore *piece = e->restore;
    bool is_good = piece->offset == n_restored && piece->total == SIZE &&
                   piece->crc32c == em_crc32c(0, piece->data.data, piece->data.len);
    if (refuse && n_restored) {
        fake_send_error(server, e->id, refuse, "it may not be");
    } else if (!is_good) {
        fake_send_error(server, e->id, EM_E_MALFORMED, "not the next piece");
    } else {
        memcpy(restored + n_restored, piece->data.data, piece->data.len);
        n_restored += piece->data.len;
        fake_send_done(server, e->id, 815);
    }
}

static void answer_status(struct fake_server *server, const Eidmap__Envelope *e)
{
    Eidmap__Envelope envelope = EIDMAP__ENVELOPE__INIT;
    Eidmap__StatusReply body = EIDMAP__STATUS_REPLY__INIT;
    Eidmap__Member member = EIDMAP__MEMBER__INIT, *members[] = {&member, &member};
    body.server_id = (char *)"ms1";
    body.n_networks = n_networks;
    body.members = members;
    body.n_members = n_members;
    envelope.id = e->id;
    envelope.body_case = BODY(STATUS_REPLY);
    envelope.status_reply = &body;
    fake_send(server, &envelope);
}

static void answer(struct fake_server *server, const Eidmap__Envelope *e)
{
    if (e->body_case == BODY(FETCH))
        answer_fetch(server, e);
    else if (e->body_case == BODY(RESTORE))
        answer_restore(server, e);
    else
        answer_status(server, e);
}

static void setup(void)
{
    strcpy(dir, "/tmp/eidmap-copy-XXXXXX");
    cr_assert(mkdtemp(dir));
    for (size_t i = 0; i < SIZE; i++)
        map[i] = (uint8_t)(i * 2654435761u >> 13);
    memcpy(map, HEAD, 16);
    put_tail(map + SIZE);
    most = MAX_SIZE;
    n_members = 1;
    ctl_stage_start(answer);
}

static void teardown(void)
{
    char command[128];
    ctl_stage_stop();
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(ctl_backup, .init = setup, .fini = teardown);

static struct ctl_run run_on(const char *options, const char *command, const char *file)
{
    char line[256];
    snprintf(line, sizeof(line), "-s @ %s %s %s/%s", options, command, dir, file);
    return ctl_run(line);
}

static char *path_of(const char *file)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, file);
    return path;
}

static void assert_is_copy(const char *file)
{
    static uint8_t data[SIZE + 1];
    int fd = open(path_of(file), O_RDONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(read(fd, data, sizeof(data)), SIZE);
    cr_assert(memcmp(data, map, SIZE) == 0);
    close(fd);
}

static void write_file(const char *file, const void *data, size_t size)
{
    int fd = open(path_of(file), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_eq(write(fd, data, size), (ssize_t)size);
    close(fd);
}

static struct ctl_run back_up(void)
{
    struct ctl_run run = run_on("", "backup", "map");
    cr_assert_eq(run.code, CTL_DONE, "%s", run.err);
    assert_is_copy("map");
    cr_assert_neq(access(path_of("map.part"), F_OK), 0);
    return run;
}

Test(ctl_backup, file_is_the_copy_and_nobody_elses)
{
    struct stat st;
    struct ctl_run run = back_up();
    cr_assert_eq(stat(path_of("map"), &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600);
    ctl_assert_has(run.out, "map: 1.3 MiB in ");
    ctl_assert_has(run.out,
                   "revision 815, log index 4711\n"
                   "sha256 of the map: d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1"
                   "d1d1d1d1d1d1\n");
    cr_assert_eq(n_fetches, 6);
    cr_assert_eq(fake_nth(&ctl_stage.server, BODY(FETCH), 0)->fetch->snapshot, 0);
    cr_assert_eq(fake_nth(&ctl_stage.server, BODY(FETCH), 1)->fetch->snapshot, 77);
}

Test(ctl_backup, report_in_json_has_every_field)
{
    struct ctl_run run = run_on("-o json", "backup", "map");
    cr_assert_str_eq(run.err, "");
    json_t *json = ctl_parse_json(run.out);
    cr_assert_eq(json_object_size(json), 6);
    cr_assert_eq(json_integer_value(json_object_get(json, "bytes")), SIZE);
    cr_assert_eq(json_integer_value(json_object_get(json, "index")), 4711);
    json_decref(json);
}

Test(ctl_backup, server_may_give_less_than_was_asked_for)
{
    most = 100001;
    back_up();
}

Test(ctl_backup, cut_connection_is_resumed)
{
    cut_at = 4;
    back_up();
    cr_assert_eq(ctl_stage.server.n_accepted, 2);
}

Test(ctl_backup, lost_copy_is_begun_anew_and_never_mixed)
{
    forget_at = 4;
    struct ctl_run run = back_up();
    ctl_assert_has(run.err, "the server has lost its copy; starting over\n");
}

Test(ctl_backup, damaged_piece_leaves_no_file)
{
    damage_at = 3;
    struct ctl_run run = run_on("-o json", "backup", "map");
    ctl_assert_error(&run, CTL_REFUSED, "the piece at byte 524288: it was damaged");
    cr_assert_neq(access(path_of("map"), F_OK), 0);
    cr_assert_neq(access(path_of("map.part"), F_OK), 0);
}

Test(ctl_backup, file_that_cannot_be_made_is_named)
{
    struct ctl_run run = run_on("-o json", "backup", "missing/map");
    ctl_assert_error(&run, CTL_REFUSED, "missing/map.part: No such file or directory");
}

Test(ctl_backup, another_backup_to_the_same_name_is_left_alone)
{
    struct stat st;
    write_file("map.part", "begun", 5);
    int fd = open(path_of("map.part"), O_WRONLY);
    cr_assert_eq(flock(fd, LOCK_EX), 0);
    struct ctl_run run = run_on("-o json", "backup", "map");
    ctl_assert_error(&run, CTL_REFUSED, "another backup writes ");
    cr_assert_eq(fstat(fd, &st), 0);
    cr_assert_eq(st.st_size, 5);
    cr_assert_eq(st.st_nlink, 1);
    close(fd); /* it was killed: what it left is written over */
    back_up();
}

Test(ctl_backup, what_is_no_plain_file_is_left_alone)
{
    struct stat st;
    cr_assert_eq(symlink("/dev/null", path_of("map")), 0);
    struct ctl_run run = run_on("-o json", "backup", "map");
    ctl_assert_error(&run, CTL_REFUSED, "it is there, and no plain file; \"-\" is standard output");
    cr_assert_eq(lstat(path_of("map"), &st), 0);
    cr_assert(S_ISLNK(st.st_mode));
}

Test(ctl_backup, standard_output_has_the_copy_alone)
{
    struct ctl_run run = ctl_run("-s @ backup -");
    cr_assert_eq(run.code, CTL_DONE, "%s", run.err);
    cr_assert(memcmp(run.out, map, SIZE) == 0);
    ctl_assert_has(run.err, "log index 4711");
}

Test(ctl_backup, digest_is_found_only_in_a_whole_tail)
{
    uint8_t digest[CTL_SNAP_DIGEST];
    const uint8_t *tail = map + SIZE - CTL_SNAP_TAIL;
    cr_assert(ctl_snap_digest(tail, CTL_SNAP_TAIL, digest));
    cr_assert(ctl_snap_digest(map + SIZE - 72, 72, digest));
    cr_assert_not(ctl_snap_digest(map + SIZE - 71, 71, digest));
    cr_assert_not(ctl_snap_digest(tail, CTL_SNAP_TAIL - 1, digest));
    map[SIZE - 1] ^= 1;
    cr_assert_not(ctl_snap_digest(tail, CTL_SNAP_TAIL, digest));
}

Test(ctl_backup, restore_sends_the_file_in_order)
{
    write_file("map", map, SIZE);
    struct ctl_run run = run_on("", "restore", "map");
    cr_assert_eq(run.code, CTL_DONE, "%s", run.err);
    cr_assert_eq(n_restored, SIZE);
    cr_assert(memcmp(restored, map, SIZE) == 0);
    ctl_assert_has(run.out, "map: 1.3 MiB in ");
    ctl_assert_has(run.out, "\"mapctl member add\" makes the cluster larger");
}

static void assert_not_sent(const char *part)
{
    struct ctl_run run = run_on("-o json", "restore", "map");
    ctl_assert_error(&run, CTL_REFUSED, part);
    cr_assert_eq(fake_count(&ctl_stage.server, BODY(RESTORE)), 0);
}

Test(ctl_backup, what_is_no_copy_is_not_sent)
{
    assert_not_sent("cannot be read: No such file");
    write_file("map", "hello", 5);
    assert_not_sent("too short");
    write_file("map", "hello, this is some other file", 30);
    assert_not_sent("it is no copy of a map");
    map[15] = 9;
    write_file("map", map, SIZE);
    assert_not_sent("a format that only another version");
    map[8] = '\r';
    write_file("map", map, SIZE);
    assert_not_sent("was it sent as text?");
}

Test(ctl_backup, only_a_new_cluster_is_restored)
{
    write_file("map", map, SIZE);
    n_members = 2;
    assert_not_sent("the cluster of ms1 has 2 members");
    n_members = 1;
    n_networks = 3;
    assert_not_sent("the map of ms1 is not empty (3 networks, 0 nodes, 0 ports)");
}

static void assert_refused(int err, const char *hint)
{
    n_restored = 0;
    refuse = err;
    struct ctl_run run = run_on("-o json", "restore", "map");
    ctl_assert_error(&run, CTL_REFUSED, "it may not be");
    ctl_assert_error(&run, CTL_REFUSED, hint);
}

Test(ctl_backup, refused_piece_ends_it_with_what_to_do)
{
    write_file("map", map, SIZE);
    assert_refused(EM_E_IN_USE, "a copy goes only into a new cluster");
    assert_refused(EM_E_NO_SPACE, "give the map server more room");
    assert_refused(EM_E_UNSUPPORTED, "must be at least as new");
    assert_refused(EM_E_MALFORMED, "it may not be\n"); /* the server says what to do */
}
