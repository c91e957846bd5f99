#include "base/saver.h"

#include "save.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[] = "/tmp/eidmap-saver-XXXXXX";
static struct ev_loop *loop;
static struct em_saver saver;
static int n_answers, last_err;

static void on_saved(void *aux, int err)
{
    n_answers++;
    last_err = err;
    ev_break(loop, EVBREAK_ALL);
}

static void setup(void)
{
    cr_assert(mkdtemp(dir) != NULL);
    loop = ev_loop_new(0);
}

static void teardown(void)
{
    char path[64];
    snprintf(path, sizeof path, "%s/ports", dir);
    unlink(path);
    rmdir(dir);
    ev_loop_destroy(loop);
}

/* A state without ports. */
static void start(uint64_t boot_epoch)
{
    struct xtr_ports ports;
    struct em_buf bytes;
    xtr_ports_init(&ports);
    xtr_save_pack(&ports, boot_epoch, &bytes);
    em_saver_start_take(&saver, &bytes);
    xtr_ports_fini(&ports);
}

static uint64_t boot_on_disk(void)
{
    struct xtr_saved saved;
    cr_assert(eq(int, xtr_save_read(dir, &saved), 0));
    uint64_t boot = saved.boot_epoch;
    xtr_saved_free(&saved);
    return boot;
}

TestSuite(saver, .init = setup, .fini = teardown, .timeout = 20);

Test(saver, the_answer_comes_on_the_loop_when_the_bytes_are_on_disk)
{
    em_saver_init(&saver, loop, xtr_save_put, dir, on_saved, NULL);
    for (uint64_t boot = 1; boot <= 20; boot++) {
        start(boot);
        cr_assert(saver.is_busy);
        ev_run(loop, 0);
        cr_assert(not(saver.is_busy));
        cr_assert(eq(int, last_err, 0));
        cr_assert(eq(u64, boot_on_disk(), boot));
    }
    cr_assert(eq(int, n_answers, 20));
    em_saver_fini(&saver);
}

Test(saver, a_failure_is_told)
{
    em_saver_init(&saver, loop, xtr_save_put, "/nonexistent/eidmap", on_saved, NULL);
    start(1);
    ev_run(loop, 0);
    cr_assert(eq(int, last_err, -ENOENT));
    em_saver_fini(&saver);
}

Test(saver, an_end_waits_for_the_write_and_not_for_its_answer)
{
    em_saver_init(&saver, loop, xtr_save_put, dir, on_saved, NULL);
    start(7);
    em_saver_fini(&saver);
    cr_assert(eq(u64, boot_on_disk(), 7));
    ev_run(loop, EVRUN_NOWAIT);
    cr_assert(eq(int, n_answers, 0));
}
