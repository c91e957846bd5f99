/* Who hears which network's news, and who may leave while it is told. */
#include "front/topics.h"

#include <criterion/criterion.h>

struct ear {
    struct ms_listener listener;
    unsigned n_heard;
    bool leaves;
};

static struct ms_topics *topics;

static void setup(void)
{
    topics = ms_topics_new();
}

static void teardown(void)
{
    ms_topics_free(topics); /* asserts that nobody listens */
}

TestSuite(topics, .init = setup, .fini = teardown);

static void on_news(struct ms_listener *listener)
{
    struct ear *ear = em_container_of(listener, struct ear, listener);
    ear->n_heard++;
    if (ear->leaves)
        ms_topics_leave(topics, listener);
}

static void listen_to(struct ear *ear, uint32_t network_id)
{
    ms_topics_listen(topics, network_id, &ear->listener, on_news);
}

Test(topics, news_reach_the_listeners_of_that_network_and_no_others)
{
    struct ear a = {.n_heard = 0}, b = {.n_heard = 0}, other = {.n_heard = 0};
    listen_to(&a, 5);
    listen_to(&b, 5);
    listen_to(&other, 6);
    ms_topics_news(topics, 5);
    cr_assert_eq(a.n_heard, 1);
    cr_assert_eq(b.n_heard, 1);
    cr_assert_eq(other.n_heard, 0);
    ms_topics_leave(topics, &a.listener);
    ms_topics_news(topics, 5);
    cr_assert_eq(a.n_heard, 1);
    cr_assert_eq(b.n_heard, 2);
    ms_topics_leave(topics, &b.listener);
    ms_topics_leave(topics, &other.listener);
}

Test(topics, alone_is_who_shares_its_network_with_nobody)
{
    struct ear a = {.n_heard = 0}, b = {.n_heard = 0}, other = {.n_heard = 0};
    listen_to(&a, 5);
    listen_to(&other, 6);
    cr_assert(ms_topics_is_alone(&a.listener));
    listen_to(&b, 5);
    cr_assert_not(ms_topics_is_alone(&a.listener));
    cr_assert_not(ms_topics_is_alone(&b.listener));
    ms_topics_leave(topics, &a.listener);
    cr_assert(ms_topics_is_alone(&b.listener));
    ms_topics_leave(topics, &b.listener);
    ms_topics_leave(topics, &other.listener);
}

Test(topics, news_of_a_network_that_nobody_wants_are_no_error)
{
    ms_topics_news(topics, 77);
}

Test(topics, network_zero_is_a_topic_like_any_other)
{
    struct ear ear = {.n_heard = 0};
    listen_to(&ear, 0);
    ms_topics_news(topics, 0);
    cr_assert_eq(ear.n_heard, 1);
    ms_topics_leave(topics, &ear.listener);
}

Test(topics, a_listener_may_leave_when_it_is_told)
{
    struct ear ears[3] = {{.leaves = true}, {.leaves = false}, {.leaves = true}};
    for (int i = 0; i < 3; i++)
        listen_to(&ears[i], 5);
    ms_topics_news(topics, 5);
    ms_topics_news(topics, 5);
    cr_assert_eq(ears[0].n_heard, 1);
    cr_assert_eq(ears[1].n_heard, 2);
    cr_assert_eq(ears[2].n_heard, 1);
    ms_topics_leave(topics, &ears[1].listener);
}

Test(topics, all_may_leave_and_the_topic_goes_under_the_walk)
{
    struct ear ears[4] = {{.leaves = true}, {.leaves = true}, {.leaves = true}, {.leaves = true}};
    for (int i = 0; i < 4; i++)
        listen_to(&ears[i], 5);
    ms_topics_news(topics, 5);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(ears[i].n_heard, 1);
    ms_topics_news(topics, 5);
    cr_assert_eq(ears[0].n_heard, 1);
}

Test(topics, a_topic_that_was_left_can_be_listened_to_again)
{
    struct ear ear = {.n_heard = 0};
    for (unsigned i = 1; i <= 3; i++) {
        listen_to(&ear, 5);
        ms_topics_news(topics, 5);
        cr_assert_eq(ear.n_heard, i);
        ms_topics_leave(topics, &ear.listener);
    }
}

Test(topics, topics_are_found_after_any_order_of_departures)
{
    enum { N = 300 };
    static struct ear ears[N];
    for (uint32_t i = 0; i < N; i++)
        listen_to(&ears[i], i);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t k = i * 77 % N; /* each once, since 77 and 300 share no factor */
        ms_topics_leave(topics, &ears[k].listener);
        for (uint32_t j = 0; j < N; j++)
            ms_topics_news(topics, j);
        cr_assert_eq(ears[k].n_heard, i, "the %u-th to leave", i);
    }
}
