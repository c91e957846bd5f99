/* The log as files: what a crash or a bad disk leaves of them. */
#include "base/clock.h"
#include "core/log.h"
#include "core/wal.h"
#include "eidmap/error.h"
#include "mapserver/wal_sums.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 160
#define MIB       ((size_t)1 << 20)

static char dir[64];
static struct ms_log *log_;
static struct ms_log_state state;

/* What the log must hold: entry 'i' has the payload that made() makes of its seed. */
struct model {
    uint64_t first, next;
    struct {
        uint64_t term;
        uint32_t seed, size;
    } entries[40000]; /* by index */
};

static struct model model;

static void must_open(void)
{
    bool is_new;
    char *why = NULL;
    cr_assert_eq(ms_log_open(dir, &log_, &is_new, &why), 0, "%s", why);
    cr_assert_eq(ms_log_load(log_, &state, &why), 0, "%s", why);
}

static void close_log(void)
{
    ms_log_state_fini(&state);
    ms_log_close(log_);
    log_ = NULL;
}

static void reopen(void)
{
    close_log();
    must_open();
}

static void setup(void)
{
    snprintf(dir, sizeof(dir), "%s/eidmap-wal-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    cr_assert_not_null(mkdtemp(dir));
    model.first = model.next = 1;
    must_open();
}

static void teardown(void)
{
    char command[PATH_SIZE];
    close_log();
    snprintf(command, sizeof(command), "rm -r %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(wal, .init = setup, .fini = teardown, .timeout = 120);

static struct ms_payload *made(uint32_t seed, size_t size)
{
    struct ms_payload *payload = ms_payload_new(NULL, size);
    for (size_t i = 0; i < size; i++)
        payload->data[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
    return payload;
}

static int put(uint64_t term, size_t n, size_t size)
{
    static struct ms_entry entries[1000];
    struct ms_log_write write = {.first = model.next, .entries = entries, .n_entries = n};
    for (size_t i = 0; i < n; i++) {
        uint32_t seed = (uint32_t)(term * 100000 + model.next + i);
        entries[i] = (struct ms_entry){term, RAFT_COMMAND, made(seed, size)};
        model.entries[model.next + i].term = term;
        model.entries[model.next + i].seed = seed;
        model.entries[model.next + i].size = (uint32_t)size;
    }
    int r = ms_log_write(log_, &write);
    if (r == 0)
        model.next += n;
    for (size_t i = 0; i < n; i++)
        ms_payload_unref(entries[i].payload);
    return r;
}

static void forget(uint64_t upto)
{
    const struct ms_mark mark = {upto, model.entries[upto].term, 1, "members", 7};
    const struct ms_log_write write = {.mark = &mark, .forget = upto};
    cr_assert_eq(ms_log_write(log_, &write), 0);
    model.first = upto + 1;
}

static void cut_off(uint64_t from)
{
    const struct ms_log_write write = {.truncate = from};
    cr_assert_eq(ms_log_write(log_, &write), 0);
    model.next = from;
}

static void expect_entry(uint64_t index)
{
    struct ms_payload *payload;
    uint32_t size = model.entries[index].size;
    cr_assert_eq(ms_log_read(log_, index, &payload), 0, "entry %zu", (size_t)index);
    struct ms_payload *expected = made(model.entries[index].seed, size);
    cr_assert_eq(payload->size, size);
    cr_assert_eq(memcmp(payload->data, expected->data, size), 0, "entry %zu", (size_t)index);
    ms_payload_unref(expected);
    ms_payload_unref(payload);
}

/* The state of a start, and what can be read. */
static void expect_model(void)
{
    struct ms_payload *payload;
    cr_assert_eq(state.n_entries, model.next - model.first);
    if (state.n_entries)
        cr_assert_eq(state.first, model.first);
    for (size_t i = 0; i < state.n_entries; i++) {
        cr_assert_eq(state.entries[i].term, model.entries[model.first + i].term);
        cr_assert_eq(state.entries[i].size, model.entries[model.first + i].size);
        expect_entry(model.first + i);
    }
    cr_assert_eq(ms_log_read(log_, model.first - 1, &payload), EM_E_NOT_FOUND);
    cr_assert_eq(ms_log_read(log_, model.next, &payload), EM_E_NOT_FOUND);
}

/* ---- files ------------------------------------------------------------------------------ */

static char *path_of(uint32_t number)
{
    static char path[PATH_SIZE];
    char name[MS_WAL_NAME];
    ms_wal_name(number, name);
    snprintf(path, sizeof(path), "%s/log/%s", dir, name);
    return path;
}

static int open_file(uint32_t number)
{
    int fd = open(path_of(number), O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0, "%s: %s", path_of(number), strerror(errno));
    return fd;
}

static size_t read_file(uint32_t number, uint8_t **ret_bytes)
{
    struct stat st;
    int fd = open_file(number);
    cr_assert_eq(fstat(fd, &st), 0);
    *ret_bytes = malloc((size_t)st.st_size);
    cr_assert_eq(ms_wal_pread(fd, *ret_bytes, (size_t)st.st_size, 0), 0);
    close(fd);
    return (size_t)st.st_size;
}

/* Puts back the first bytes of the only segment, and no more than them. */
static void put_file(const uint8_t *bytes, size_t size)
{
    int fd = open_file(1);
    cr_assert_eq(ftruncate(fd, (off_t)size), 0);
    cr_assert_eq(ms_wal_pwrite(fd, bytes, size, 0), 0);
    close(fd);
}

static uint64_t salt_of_first(void)
{
    struct ms_wal_segment segment;
    int fd = openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY);
    int log_fd = openat(fd, "log", O_RDONLY | O_DIRECTORY);
    cr_assert_eq(ms_wal_open(log_fd, 1, &segment), 0);
    close(segment.fd);
    close(log_fd);
    close(fd);
    return segment.salt;
}

/* Where the last record begins and ends. */
static size_t find_last(const uint8_t *bytes, size_t size, size_t *ret_end)
{
    struct ms_wal_record record;
    uint64_t salt = salt_of_first();
    size_t at = MS_WAL_HEAD, last = at;
    for (; ms_wal_decode(bytes + at, size - at, salt, &record); at += record.size)
        last = at;
    *ret_end = at;
    return last;
}

/* The segments' numbers; how many. */
static size_t list(uint32_t *numbers, size_t max)
{
    char path[PATH_SIZE];
    size_t n = 0;
    snprintf(path, sizeof(path), "%s/log", dir);
    DIR *files = opendir(path);
    for (struct dirent *entry; (entry = readdir(files));) {
        uint32_t number = ms_wal_number(entry->d_name);
        size_t i;
        if (number == 0)
            continue;
        cr_assert_lt(n, max);
        for (i = n++; i > 0 && numbers[i - 1] > number; i--)
            numbers[i] = numbers[i - 1];
        numbers[i] = number;
    }
    closedir(files);
    return n;
}

static void expect_refusal(const char *sentence)
{
    bool is_new;
    char *why = NULL;
    int r = ms_log_open(dir, &log_, &is_new, &why);
    if (r == 0)
        r = ms_log_load(log_, &state, &why);
    cr_assert_eq(r, EM_E_STORAGE, "%s: %s", sentence, em_strerror(r));
    cr_assert_not_null(strstr(why, sentence), "%s", why);
    free(why);
    close_log();
}

/* ---- what is written is there ----------------------------------------------------------- */

Test(wal, all_that_a_write_says_is_there_after_a_start)
{
    struct ms_entry entries[] = {{3, RAFT_COMMAND, made(1, 13)},
                                 {3, RAFT_BARRIER, made(2, 0)},
                                 {4, RAFT_CHANGE, made(3, 40)}};
    const struct ms_mark mark = {1, 2, 1, "members", 7};
    const struct ms_log_write write = {.has_vote = true,
                                       .term = 4,
                                       .voted_for = 77,
                                       .first = 2,
                                       .entries = entries,
                                       .n_entries = 3,
                                       .mark = &mark,
                                       .has_generation = true,
                                       .generation = 5};
    uint64_t replica = state.replica, incarnation = state.incarnation;
    cr_assert_neq(replica, 0);
    cr_assert_eq(ms_log_write(log_, &write), 0);
    reopen();
    cr_assert_eq(state.replica, replica);
    cr_assert_eq(state.incarnation, incarnation + 1);
    cr_assert_eq(state.term, 4);
    cr_assert_eq(state.voted_for, 77);
    cr_assert_eq(state.generation, 5);
    cr_assert(state.has_mark);
    cr_assert_eq(state.mark.term, 2);
    cr_assert_eq(state.mark.members_size, 7);
    cr_assert_arr_eq(state.mark.members, "members", 7);
    cr_assert_eq(state.first, 2);
    cr_assert_eq(state.n_entries, 3);
    cr_assert_null(state.entries[0].payload, "batches stay on the disk");
    cr_assert_eq(state.entries[1].type, RAFT_BARRIER);
    cr_assert_eq(state.entries[2].term, 4);
    cr_assert_arr_eq(state.entries[2].payload->data, entries[2].payload->data, 40);
    for (int i = 0; i < 3; i++)
        ms_payload_unref(entries[i].payload);
}

Test(wal, an_entry_of_a_mebibyte_and_groups_beyond_any_segment_so_far)
{
    cr_assert_eq(put(1, 1, MIB), 0);
    cr_assert_eq(put(1, 1, MIB), 0);
    cr_assert_eq(put(1, 5, MIB), 0, "more than a small segment holds");
    cr_assert_eq(put(1, 20, MIB), 0, "more than a large one");
    cr_assert_eq(put(1, 1, 1), 0);
    reopen();
    expect_model();
    cr_assert_gt(ms_log_size(log_), 27 * MIB);
}

Test(wal, a_new_list_of_entries_takes_the_place_of_the_old_one)
{
    const struct ms_mark mark = {1000, 9, 1000, "new", 3};
    const struct ms_log_write install = {.mark = &mark, .forget = UINT64_MAX};
    put(1, 50, 10);
    cr_assert_eq(ms_log_write(log_, &install), 0);
    model.first = model.next = 1001;
    reopen();
    cr_assert_eq(state.first, 1001);
    expect_model();
    put(9, 3, 10);
    reopen();
    expect_model();
    cr_assert_eq(state.mark.members_size, 3);
}

/* Groups of all sizes, cut off, forgotten, and read again after starts: segments begin in the
 * middle of it all, and are used again. */
Test(wal, a_long_life_in_few_files)
{
    uint32_t random = 1, numbers[64];
    for (int i = 0; i < 1500; i++) {
        random = random * 1664525 + 1013904223;
        size_t n = 1 + (random >> 8) % 5, size = (random >> 12) % 60000;
        cr_assert_eq(put((uint64_t)i / 100 + 1, n, size), 0);
        if (random >> 28 == 3 && model.next - model.first > 3)
            cut_off(model.next - 2);
        if (random >> 27 == 5 && model.next - model.first > 100)
            forget(model.next - 60);
        if (i % 250 == 249) {
            reopen();
            expect_model();
        }
    }
    size_t n = list(numbers, 64);
    cr_assert_gt(numbers[n - 1], 8, "it went through many segments: %u", numbers[n - 1]);
    cr_assert_leq(n, 6, "%zu files", n);
    cr_assert_lt(ms_log_size(log_), 100 * MIB);
}

Test(wal, a_write_that_does_not_follow_is_refused_and_is_the_last)
{
    put(1, 3, 10);
    model.next++;
    cr_assert_eq(put(1, 1, 10), EM_E_STORAGE);
    model.next--;
    cr_assert_eq(put(1, 1, 10), EM_E_STORAGE);
    reopen();
    expect_model();
}

/* ---- crashes ---------------------------------------------------------------------------- */

enum harm { CUT, ZEROS, GARBAGE, N_HARMS };

/* False: these bytes are what they were. */
static bool tear(const uint8_t *bytes, size_t size, size_t from, size_t end, enum harm harm)
{
    uint8_t *copy = malloc(size);
    memcpy(copy, bytes, size);
    for (size_t i = from; i < end; i++)
        copy[i] = harm == ZEROS ? 0 : (uint8_t)(bytes[i] ^ (0x55 + i % 7));
    bool is_torn = harm == CUT || memcmp(copy, bytes, size) != 0;
    put_file(copy, harm == CUT ? from : size);
    unlink(path_of(2)); /* where a file that was cut goes on */
    free(copy);
    return is_torn;
}

/* A sanitizer looks at the code, which a part of the bytes shows as well. */
#ifdef __SANITIZE_ADDRESS__
#define STRIDE 17
#else
#define STRIDE 1
#endif

Test(wal, a_last_write_that_was_cut_short_at_any_byte_never_was)
{
    uint8_t *bytes;
    size_t end;
    static struct model before;
    put(1, 1, 100);
    before = model;
    put(1, 2, 21);
    close_log();
    size_t size = read_file(1, &bytes), last = find_last(bytes, size, &end);
    cr_assert_gt(end - last, 100);
    size = 64u << 10; /* the rest is zeros, and takes its time */
    for (int harm = 0; harm < N_HARMS; harm++)
        for (size_t from = last; from < end; from += STRIDE) {
            if (!tear(bytes, size, from, end, (enum harm)harm))
                continue;
            model = before;
            must_open();
            expect_model();
            cr_assert_eq(put(2, 1, 30), 0);
            reopen();
            expect_model();
            close_log();
        }
    unlink(path_of(2));
    put_file(bytes, size);
    free(bytes);
    must_open();
}

Test(wal, records_that_a_client_wrote_into_a_payload_are_none)
{
    uint8_t *bytes;
    size_t end;
    static struct model before;
    put(1, 1, 100);
    before = model;
    size_t size = read_file(1, &bytes), last = find_last(bytes, size, &end);
    struct ms_wal_record record;
    cr_assert(ms_wal_decode(bytes + last, end - last, salt_of_first(), &record));
    struct ms_payload *fake = ms_payload_new(NULL, record.size);
    struct ms_payload *empty = ms_payload_new(NULL, 0);
    const struct ms_entry none = {1, RAFT_COMMAND, empty};
    record.seq += 2;
    record.n_entries = 1;
    ms_wal_measure(&record, &none);
    ms_wal_encode(fake->data, 12345, &record, &none, NULL);
    const struct ms_entry entry = {1, RAFT_COMMAND, fake};
    const struct ms_log_write write = {.first = model.next, .entries = &entry, .n_entries = 1};
    cr_assert_eq(ms_log_write(log_, &write), 0);
    free(bytes);
    close_log();
    size = read_file(1, &bytes);
    last = find_last(bytes, size, &end);
    bytes[last + 4] ^= 1;
    put_file(bytes, size);
    model = before;
    must_open();
    expect_model();
    free(bytes);
    ms_payload_unref(fake);
    ms_payload_unref(empty);
}

/* ---- damage ----------------------------------------------------------------------------- */

Test(wal, a_byte_that_changed_before_the_last_record_is_refused_with_what_to_do)
{
    uint8_t *bytes;
    size_t end;
    put(1, 1, 40);
    put(1, 1, 21);
    close_log();
    size_t size = read_file(1, &bytes), last = find_last(bytes, size, &end);
    size = 64u << 10;
    for (size_t at = 0; at < last; at++) {
        bytes[at] ^= 0x10;
        put_file(bytes, size);
        expect_refusal("move its data directory away and add it again");
        bytes[at] ^= 0x10;
    }
    put_file(bytes, size);
    free(bytes);
    must_open();
    expect_model();
}

/* As a program with an error, or of another version, writes it. */
static void expect_refusal_of(size_t at, uint8_t byte, const char *sentence)
{
    uint8_t *bytes;
    size_t size = read_file(1, &bytes);
    uint8_t old = bytes[at];
    bytes[at] = byte;
    wal_set_sums(bytes, size);
    put_file(bytes, size);
    expect_refusal(sentence);
    bytes[at] = old;
    wal_set_sums(bytes, size);
    put_file(bytes, size);
    free(bytes);
}

Test(wal, whole_records_that_make_no_sense_are_refused)
{
    uint8_t *bytes;
    size_t end;
    put(1, 1, 100);
    close_log();
    size_t size = read_file(1, &bytes), last = find_last(bytes, size, &end);
    free(bytes);
    size_t first_low = last + 8 + offsetof(struct ms_wal_record, first) + 7;
    expect_refusal_of(8 + 7, 9, "not a log of eidmap");
    expect_refusal_of(last + MS_WAL_ENTRIES + 8 + 7, 99, "makes no sense");
    expect_refusal_of(first_low, 9, "makes no sense");
    expect_refusal_of(first_low, 0, "is missing before it");
    expect_refusal_of(last + 8 + 8 + 7, 99, "records are missing");
    must_open();
    expect_model();
}

static void fill_segments(uint32_t n)
{
    uint32_t numbers[64];
    do {
        put(1, 4, 200000);
        reopen();
    } while (numbers[list(numbers, 64) - 1] <= n);
    close_log();
}

Test(wal, a_segment_that_is_lost_is_damage)
{
    char hidden[PATH_SIZE];
    fill_segments(3);
    for (uint32_t i = 1; i < 3; i++) {
        snprintf(hidden, sizeof(hidden), "%s/hidden", dir);
        cr_assert_eq(rename(path_of(i), hidden), 0);
        expect_refusal("is missing before it");
        cr_assert_eq(rename(hidden, path_of(i)), 0);
    }
    must_open();
    expect_model();
}

Test(wal, a_byte_that_changed_in_the_last_record_of_an_older_segment_is_refused)
{
    uint8_t *bytes;
    size_t end;
    fill_segments(3);
    size_t size = read_file(1, &bytes), last = find_last(bytes, size, &end);
    bytes[last + 1] ^= 1;
    put_file(bytes, size);
    expect_refusal("records are missing");
    bytes[last + 1] ^= 1;
    put_file(bytes, size);
    free(bytes);
    must_open();
}

Test(wal, a_payload_that_the_disk_has_spoilt_is_not_given_out)
{
    struct ms_payload *payload;
    size_t end;
    uint8_t *bytes;
    put(1, 1, 100);
    size_t size = read_file(1, &bytes);
    find_last(bytes, size, &end);
    bytes[end - 8] ^= 1;
    put_file(bytes, size);
    cr_assert_eq(ms_log_read(log_, 1, &payload), EM_E_STORAGE);
    free(bytes);
}

Test(wal, a_log_of_lmdb_is_left_alone)
{
    char path[PATH_SIZE];
    close_log();
    snprintf(path, sizeof(path), "%s/log/" MS_WAL_LMDB, dir);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    expect_refusal("development version");
    unlink(path);
    must_open();
}

Test(wal, one_process_at_a_time)
{
    struct ms_log *second;
    bool is_new;
    char *why = NULL;
    cr_assert_eq(ms_log_open(dir, &second, &is_new, &why), -EBUSY);
    cr_assert_not_null(strstr(why, "another map server uses"), "%s", why);
    free(why);
}

Test(wal, a_full_disk_ends_the_log_for_good_and_loses_nothing)
{
    char big[PATH_SIZE];
    int r;
    close_log();
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("tmpfs", dir, "tmpfs", 0, "size=7m")) {
        must_open();
        cr_skip_test("needs the right to mount");
    }
    must_open();
    snprintf(big, sizeof(big), "%s/big", dir);
    int fd = open(big, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    cr_assert_eq(posix_fallocate(fd, 0, 4 << 20), 0);
    close(fd);
    while ((r = put(1, 1, 50000)) == 0)
        cr_assert_lt(model.next, 1000);
    cr_assert_eq(r, EM_E_NO_SPACE);
    cr_assert_gt(model.next, 20);
    cr_assert_eq(unlink(big), 0);
    cr_assert_eq(put(1, 1, 10), EM_E_NO_SPACE, "no write comes after one that failed");
    reopen();
    expect_model();
    cr_assert_eq(put(1, 10, 50000), 0);
    reopen();
    expect_model();
    close_log();
    cr_assert_eq(umount2(dir, MNT_DETACH), 0);
    must_open();
}

/* ---- size ------------------------------------------------------------------------------- */

Test(wal, a_million_entries_load_in_moments)
{
    static struct ms_entry entries[1000];
    struct ms_payload *payload = made(1, 60);
    for (int i = 0; i < 1000; i++)
        entries[i] = (struct ms_entry){1, RAFT_COMMAND, payload};
    for (uint64_t i = 0; i < 1000; i++) {
        const struct ms_log_write write = {
            .first = 1 + i * 1000, .entries = entries, .n_entries = 1000};
        cr_assert_eq(ms_log_write(log_, &write), 0);
    }
    ms_payload_unref(payload);
    close_log();
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    uint64_t start_ms = em_now_ms();
    must_open();
    uint64_t took_ms = em_now_ms() - start_ms;
    size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
    before += state.n_entries * sizeof(*state.entries);
    printf("1000000 entries: %u ms, %.1f MiB of memory, %.1f MiB on the disk\n", (unsigned)took_ms,
           ((double)after - (double)before) / (double)MIB, (double)ms_log_size(log_) / (double)MIB);
    cr_assert_eq(state.n_entries, 1000000);
    cr_assert_lt(after, before + 64 * MIB);
}
