#include "core/log.h"

#include "base/mem.h"
#include "eidmap/error.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[128];
static struct ms_log *journal;
static struct ms_log_state state;
static char *why;

static void start(void)
{
    bool is_new;
    cr_assert_eq(ms_log_open(dir, &journal, &is_new, &why), 0, "%s", why);
    cr_assert_eq(ms_log_load(journal, &state, &why), 0, "%s", why);
}

static void stop(void)
{
    ms_log_state_fini(&state);
    ms_log_close(journal);
    journal = NULL;
}

static void restart(void)
{
    stop();
    start();
}

static void setup(void)
{
    snprintf(dir, sizeof(dir), "%s/eidmap-log-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    cr_assert_not_null(mkdtemp(dir));
    start();
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void teardown(void)
{
    if (journal)
        stop();
    free(why);
    nftw(dir, remove_one, 4, FTW_DEPTH | FTW_PHYS);
}

TestSuite(ms_log, .init = setup, .fini = teardown, .timeout = 60);

/* Entries first .. last of a term, each with its index as text. */
static int append_from(uint64_t truncate, uint64_t first, uint64_t last, uint64_t term)
{
    struct ms_entry entries[64];
    size_t n = last - first + 1;
    char text[32];
    for (size_t i = 0; i < n; i++) {
        int size = snprintf(text, sizeof(text), "%d/%d", (int)(first + i), (int)term);
        entries[i] = (struct ms_entry){
            .term = term, .type = RAFT_COMMAND, .payload = ms_payload_new(text, (size_t)size)};
    }
    const struct ms_log_write write = {
        .truncate = truncate, .first = first, .entries = entries, .n_entries = n};
    int r = ms_log_write(journal, &write);
    for (size_t i = 0; i < n; i++)
        ms_payload_unref(entries[i].payload);
    return r;
}

static void append(uint64_t first, uint64_t last, uint64_t term)
{
    cr_assert_eq(append_from(0, first, last, term), 0);
}

static void set_mark(uint64_t index, uint64_t forget)
{
    const struct ms_mark mark = {index, 2, 1, "members", 7};
    const struct ms_log_write write = {.mark = &mark, .forget = forget};
    cr_assert_eq(ms_log_write(journal, &write), 0);
}

static void assert_entry(uint64_t index, const char *text)
{
    struct ms_payload *payload;
    cr_assert_eq(ms_log_read(journal, index, &payload), 0);
    cr_assert_eq(payload->size, strlen(text));
    cr_assert_eq(memcmp(payload->data, text, payload->size), 0);
    ms_payload_unref(payload);
}

static void assert_none(uint64_t index)
{
    struct ms_payload *payload;
    cr_assert_eq(ms_log_read(journal, index, &payload), EM_E_NOT_FOUND);
}

Test(ms_log, new_one_is_empty_and_has_an_id)
{
    cr_assert_neq(state.replica, 0);
    cr_assert_eq(state.incarnation, 1);
    cr_assert_eq(state.term, 0);
    cr_assert_not(state.has_mark);
    cr_assert_eq(state.n_entries, 0);
    cr_assert_eq(state.first, 1);
}

Test(ms_log, is_new_once)
{
    bool is_new;
    stop();
    cr_assert_eq(ms_log_open(dir, &journal, &is_new, &why), 0);
    cr_assert_not(is_new);
}

Test(ms_log, incarnation_grows_with_each_start_and_the_id_stays)
{
    uint64_t replica = state.replica;
    for (uint64_t i = 2; i < 5; i++) {
        restart();
        cr_assert_eq(state.incarnation, i);
        cr_assert_eq(state.replica, replica);
    }
}

Test(ms_log, vote_and_entries_come_back)
{
    const struct ms_log_write vote = {.has_vote = true, .term = 7, .voted_for = 99};
    cr_assert_eq(ms_log_write(journal, &vote), 0);
    append(1, 5, 6);
    append(6, 6, 7);
    restart();
    cr_assert_eq(state.term, 7);
    cr_assert_eq(state.voted_for, 99);
    cr_assert_eq(state.n_entries, 6);
    cr_assert_eq(state.entries[4].term, 6);
    cr_assert_eq(state.entries[5].term, 7);
    cr_assert_eq(state.entries[5].size, 3);
    cr_assert_null(state.entries[5].payload, "batches stay on the disk");
    assert_entry(3, "3/6");
    assert_entry(6, "6/7");
    assert_none(7);
    assert_none(0);
}

Test(ms_log, changes_of_the_members_are_loaded_and_barriers_are_empty)
{
    struct ms_entry entries[] = {{3, RAFT_BARRIER, ms_payload_new("", 0), 0},
                                 {3, RAFT_CHANGE, ms_payload_new("who", 3), 0}};
    const struct ms_log_write write = {.first = 1, .entries = entries, .n_entries = 2};
    cr_assert_eq(ms_log_write(journal, &write), 0);
    ms_payload_unref(entries[0].payload);
    ms_payload_unref(entries[1].payload);
    restart();
    cr_assert_eq(state.entries[0].type, RAFT_BARRIER);
    cr_assert_eq(state.entries[0].size, 0);
    cr_assert_eq(state.entries[1].type, RAFT_CHANGE);
    cr_assert_eq(memcmp(state.entries[1].payload->data, "who", 3), 0);
}

Test(ms_log, entries_give_way_to_a_later_term)
{
    append(1, 10, 1);
    cr_assert_eq(append_from(4, 4, 5, 2), 0);
    restart();
    cr_assert_eq(state.n_entries, 5);
    assert_entry(3, "3/1");
    assert_entry(4, "4/2");
    assert_none(6);
}

/* An index that is there is not overwritten: that would be our own mistake. */
Test(ms_log, nothing_is_overwritten)
{
    append(1, 5, 1);
    cr_assert_eq(append_from(0, 3, 4, 2), EM_E_STORAGE);
    assert_entry(3, "3/1");
}

Test(ms_log, is_shortened_up_to_the_mark_or_less)
{
    append(1, 10, 2);
    set_mark(8, 6);
    restart();
    cr_assert(state.has_mark);
    cr_assert_eq(state.mark.index, 8);
    cr_assert_eq(state.mark.term, 2);
    cr_assert_eq(state.mark.members_index, 1);
    cr_assert_eq(state.mark.members_size, 7);
    cr_assert_eq(memcmp(state.mark.members, "members", 7), 0);
    cr_assert_eq(state.first, 7);
    cr_assert_eq(state.n_entries, 4);
    assert_none(6);
    assert_entry(7, "7/2");
    set_mark(10, 10);
    restart();
    cr_assert_eq(state.n_entries, 0);
    cr_assert_eq(state.first, 11);
}

Test(ms_log, is_replaced_by_a_received_state_in_one_step)
{
    const struct ms_mark mark = {1000, 9, 900, "them", 4};
    const struct ms_log_write write = {.has_vote = true,
                                       .term = 9,
                                       .voted_for = 3,
                                       .mark = &mark,
                                       .forget = UINT64_MAX,
                                       .has_generation = true,
                                       .generation = 5};
    append(1, 20, 1);
    cr_assert_eq(ms_log_write(journal, &write), 0);
    restart();
    cr_assert_eq(state.generation, 5);
    cr_assert_eq(state.mark.index, 1000);
    cr_assert_eq(state.first, 1001);
    cr_assert_eq(state.n_entries, 0);
    cr_assert_eq(state.term, 9);
    append(1001, 1002, 9);
    restart();
    cr_assert_eq(state.first, 1001);
    cr_assert_eq(state.n_entries, 2);
    cr_assert_eq(state.generation, 5);
}

Test(ms_log, size_is_that_of_the_file)
{
    char path[160];
    struct stat st;
    append(1, 64, 1);
    snprintf(path, sizeof(path), "%s/log/%016x.wal", dir, 1);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(ms_log_size(journal), (uint64_t)st.st_size);
}

/* ---- damage ----------------------------------------------------------------------------- */

static void assert_refused(const char *part)
{
    bool is_new;
    stop();
    free(why);
    why = NULL;
    int r = ms_log_open(dir, &journal, &is_new, &why);
    if (r == 0)
        r = ms_log_load(journal, &state, &why);
    cr_assert_neq(r, 0);
    cr_assert_not_null(why);
    cr_assert(strstr(why, part), "%s", why);
}

/* What is inside of the files is wal_test's. */
Test(ms_log, file_that_is_no_segment_is_refused)
{
    char path[160], page[8192];
    append(1, 5, 1);
    snprintf(path, sizeof(path), "%s/log/%016x.wal", dir, 1);
    stop();
    memset(page, 'x', sizeof(page));
    int fd = open(path, O_WRONLY);
    cr_assert_eq(write(fd, page, sizeof(page)), (ssize_t)sizeof(page));
    close(fd);
    assert_refused("not a log of eidmap");
    cr_assert(strstr(why, "add it again"), "%s", why);
}

/* ---- disks ------------------------------------------------------------------------------- */

/* A small disk in place of 'dir', in a mount namespace of the test's own. */
static void mount_small(void)
{
    stop();
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("tmpfs", dir, "tmpfs", 0, "size=5m")) {
        start();
        cr_skip_test("needs the right to mount");
    }
}

Test(ms_log, full_disk_fails_the_write_and_keeps_what_was_written)
{
    uint64_t n = 0;
    mount_small();
    start();
    int r = 0;
    while (n < 10000 && (r = append_from(0, n * 64 + 1, n * 64 + 64, 1)) == 0)
        n++;
    cr_assert_eq(r, EM_E_NO_SPACE);
    cr_assert_gt(n, 2);
    stop();
    cr_assert_eq(mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=32m"), 0);
    start();
    cr_assert_eq(state.n_entries, n * 64);
    append(n * 64 + 1, n * 64 + 2, 1);
    stop();
    umount2(dir, MNT_DETACH);
}

Test(ms_log, no_room_for_a_new_one_is_said_so)
{
    char path[160], bytes[4096] = {0};
    bool is_new;
    mount_small();
    snprintf(path, sizeof(path), "%s/ballast", dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    while (write(fd, bytes, sizeof(bytes)) > 0)
        ;
    close(fd);
    cr_assert_neq(ms_log_open(dir, &journal, &is_new, &why), 0);
    cr_assert(strstr(why, "free disk space"), "%s", why);
    umount2(dir, MNT_DETACH);
}

Test(ms_log, read_only_disk_is_said_so)
{
    bool is_new;
    mount_small();
    start();
    append(1, 5, 1);
    stop();
    cr_assert_eq(mount("tmpfs", dir, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=5m"), 0);
    cr_assert_neq(ms_log_open(dir, &journal, &is_new, &why), 0);
    cr_assert_null(strstr(why, "damaged"), "%s", why);
    cr_assert(strstr(why, "Read-only"), "%s", why);
    umount2(dir, MNT_DETACH);
}
