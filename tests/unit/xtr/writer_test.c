/* The thread that sends batches, against a kernel of its own. */
#include "dataplane/writer.h"

#include "dataplane/entry.h"
#include "xtr/netns.h"
#include "xtr/ops.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <poll.h>

#define N 8

static struct dp_nl *nl; /* that batches are built with, and the witness */
static struct dp_writer *writer;
static struct dp_sending sendings[N];

static void open_writer(void)
{
    if (!netns_is_permitted())
        cr_skip_test("no permission to make a network namespace");
    netns_new();
    cr_assert_eq(dp_nl_open(&nl), 0);
    cr_assert_eq(dp_writer_new(&writer), 0);
}

static void close_writer(void)
{
    dp_writer_free(writer);
    for (int i = 0; i < N; i++)
        dp_nl_batch_free(sendings[i].batch);
    dp_nl_close(nl);
}

TestSuite(writer, .init = open_writer, .fini = close_writer);

static void add(uint16_t type, uint32_t id)
{
    struct dp_nexthop entry = {
        .id = id, .protocol = DP_PROTOCOL, .is_fdb = true, .ip = test_ip("192.0.2.2")};
    uint16_t flags = type == RTM_NEWNEXTHOP ? NLM_F_CREATE | NLM_F_EXCL : 0;
    dp_nexthop_message(nl, type, flags, &entry);
}

static void put(int i)
{
    sendings[i].batch = dp_nl_swap_take(nl, dp_nl_batch_new());
    dp_writer_put(writer, &sendings[i]);
}

static void count_message(void *aux, const struct nlmsghdr *message)
{
    struct dp_nexthop entry;
    if (dp_nexthop_parse(message, &entry))
        (*(int *)aux)++;
}

static int count_nexthops(void)
{
    int n = 0;
    dp_nexthop_dump_message(nl);
    cr_assert_eq(dp_nl_read(nl, count_message, &n), 0);
    return n;
}

Test(writer, batches_are_sent_in_order_and_each_has_its_results)
{
    for (int i = 0; i < N; i++) {
        add(RTM_NEWNEXTHOP, 1); /* stands already, but for the first and after a delete */
        add(i % 2 ? RTM_DELNEXTHOP : RTM_NEWNEXTHOP, i % 2 ? 1 : (uint32_t)i + 10);
        put(i);
    }
    dp_writer_wait(writer, N);
    for (int i = 0; i < N; i++) {
        cr_expect_eq(sendings[i].errs[0], i % 2 ? -EEXIST : 0, "batch %d: %d", i,
                     sendings[i].errs[0]);
        cr_expect_eq(sendings[i].errs[1], 0);
    }
    cr_assert_eq(count_nexthops(), N / 2, "nexthop 1 went with the last");
}

Test(writer, its_descriptor_tells_when_all_has_been_sent)
{
    struct pollfd descriptor = {.fd = dp_writer_fd(writer), .events = POLLIN};

    cr_assert_eq(poll(&descriptor, 1, 0), 0);
    for (int i = 0; i < N; i++) {
        add(RTM_NEWNEXTHOP, (uint32_t)i + 1);
        put(i);
    }
    while (dp_writer_sent(writer) < N) {
        cr_assert_eq(poll(&descriptor, 1, 10000), 1);
        dp_writer_serve(writer);
    }
    cr_assert_eq(count_nexthops(), N);
}

Test(writer, ends_when_all_that_was_put_has_been_sent)
{
    for (int i = 0; i < N; i++) {
        add(RTM_NEWNEXTHOP, (uint32_t)i + 1);
        put(i);
    }
    dp_writer_free(writer);
    writer = NULL;
    cr_assert_eq(count_nexthops(), N);
}
