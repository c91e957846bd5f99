#include "base/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char line[4096];
static int pipe_fds[2];

/* The log writes to descriptor 2: a pipe takes its place. */
static void redirect(void)
{
    cr_assert_eq(pipe(pipe_fds), 0);
    cr_assert_geq(dup2(pipe_fds[1], STDERR_FILENO), 0);
    em_log_init("testd");
}

static const char *read_line(void)
{
    ssize_t n = read(pipe_fds[0], line, sizeof(line) - 1);
    cr_assert_gt(n, 0);
    line[n] = 0;
    return line;
}

TestSuite(log, .init = redirect);

Test(log, line_has_priority_time_program_and_level)
{
    int year, end = 0;
    em_warn("%s is %d", "answer", 42);
    cr_assert_eq(sscanf(read_line(), "<4>%d-%*d-%*dT%*d:%*d:%*fZ testd[%*d] warn: answer is 42%n",
                        &year, &end),
                 1);
    cr_assert_geq(year, 2024);
    cr_assert_str_eq(line + end, "\n");
}

Test(log, peer_cannot_forge_a_line)
{
    em_error("name is %s", "x\n<3>forged\x1b[1m\x7f");
    cr_assert_not_null(strstr(read_line(), "name is x?<3>forged?[1m?\n"));
}

Test(log, long_line_is_cut_and_still_ends)
{
    char text[3000];
    memset(text, 'y', sizeof(text));
    text[sizeof(text) - 1] = 0;
    em_error("%s", text);
    size_t n = strlen(read_line());
    cr_assert_leq(n, 1024);
    cr_assert_eq(line[n - 1], '\n');
    cr_assert_eq(line[n - 2], 'y');
}

Test(log, level_decides_what_is_written)
{
    em_log_set_level(EM_LOG_WARN);
    em_info("hidden");
    em_debug("hidden");
    em_warn("shown");
    cr_assert_null(strstr(read_line(), "hidden"));
    em_log_set_level(EM_LOG_DEBUG);
    em_debug("seen");
    cr_assert_not_null(strstr(read_line(), "debug: seen"));
}

Test(log, limit_lets_a_burst_through_and_counts_the_rest)
{
    struct em_log_limit limit = {0};
    unsigned dropped = 9, n_allowed = 0;
    for (int i = 0; i < 30; i++)
        n_allowed += em_log_allowed(&limit, 5, &dropped);
    /* A window may end once in between. */
    cr_assert(n_allowed == 5 || n_allowed == 10);
    limit.window = 0;
    limit.dropped = 25;
    cr_assert(em_log_allowed(&limit, 5, &dropped));
    cr_assert_eq(dropped, 25);
    cr_assert(em_log_allowed(&limit, 5, &dropped));
    cr_assert_eq(dropped, 0, "told once");
}

Test(log, limited_warning_is_a_line)
{
    em_warn_limited("peer %d", 7);
    cr_assert_not_null(strstr(read_line(), "warn: peer 7\n"));
}
