/* How much of the log a compaction leaves: it goes by number and by bytes. */
#include "raft/stage.h"

#include "base/mem.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define TRAILING 100
#define SIZE     40000u /* bytes that stay */
#define N        3000

static struct stage s;

static void teardown(void)
{
    stage_close(&s);
}

TestSuite(compact, .fini = teardown, .timeout = 60);

/* How many entries stay when N of 'size' bytes were agreed on. */
static uint64_t left_of(size_t size)
{
    char *text = em_calloc(1, size + 1);
    memset(text, 'x', size);
    stage_open(&s, 1, 0);
    s.config.trailing = TRAILING;
    s.config.trailing_size = SIZE;
    stage_start(&s, 1);
    cr_assert(stage_elect(&s, 1));
    for (int i = 0; i < N; i++) {
        (void)stage_propose(&s, 1, text);
        stage_flush(&s, 1);
    }
    stage_compact(&s, 1);
    free(text);
    const struct ms_engine *engine = stage_engine(&s, 1);
    return ms_engine_last_index(engine) - ms_engine_first_index(engine) + 1;
}

Test(compact, small_entries_are_kept_by_number)
{
    cr_assert_eq(left_of(10), 16 * TRAILING);
}

Test(compact, large_entries_are_kept_by_bytes)
{
    uint64_t n = left_of(500);
    cr_assert_geq(n * 500, SIZE);
    cr_assert_lt(n * 500, SIZE + 1000, "%llu stay", (unsigned long long)n);
}

Test(compact, some_are_kept_however_large_they_are)
{
    cr_assert_eq(left_of(SIZE), 64);
}
