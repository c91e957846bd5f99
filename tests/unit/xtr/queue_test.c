/* The queue of notes: nothing is lost, nothing changes its place, ports in a row share. */
#include "queue.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

static struct xtr_queue queue;

static void push(enum xtr_note_kind kind, uint32_t network, uint32_t index)
{
    xtr_queue_push(&queue, (struct xtr_note){kind, network, index, 0});
}

static void expect(enum xtr_note_kind kind, uint32_t network, uint32_t index)
{
    struct xtr_note note;
    cr_assert(xtr_queue_peek(&queue, &note));
    cr_assert(eq(int, (int)note.kind, (int)kind));
    cr_assert(eq(u32, note.network, network));
    cr_assert(eq(u32, note.index, index));
    xtr_queue_pop(&queue);
}

static void expect_empty(void)
{
    struct xtr_note note;
    cr_assert(not(xtr_queue_peek(&queue, &note)));
    cr_assert(eq(u64, queue.head, queue.tail));
}

TestSuite(queue, .timeout = 60);

Test(queue, ports_in_a_row_share_a_note)
{
    xtr_queue_init(&queue);
    for (uint32_t i = 0; i < 1000000; i++)
        push(XTR_NOTE_PORT, 3, i);
    cr_assert(lt(u64, queue.tail, 4000));
    for (uint32_t i = 0; i < 1000000; i++)
        expect(XTR_NOTE_PORT, 3, i);
    expect_empty();
    xtr_queue_fini(&queue);
}

Test(queue, only_neighbours_of_one_network_share)
{
    xtr_queue_init(&queue);
    push(XTR_NOTE_PORT, 1, 5);
    push(XTR_NOTE_PORT, 2, 6);
    push(XTR_NOTE_PORT, 2, 6);
    push(XTR_NOTE_PORT, 2, 5);
    push(XTR_NOTE_SET, 2, 6);
    push(XTR_NOTE_SET, 2, 7);
    push(XTR_NOTE_PORT, 2, 8);
    cr_assert(eq(u64, queue.tail, 7));
    expect(XTR_NOTE_PORT, 1, 5);
    expect(XTR_NOTE_PORT, 2, 6);
    expect(XTR_NOTE_PORT, 2, 6);
    expect(XTR_NOTE_PORT, 2, 5);
    expect(XTR_NOTE_SET, 2, 6);
    expect(XTR_NOTE_SET, 2, 7);
    expect(XTR_NOTE_PORT, 2, 8);
    expect_empty();
    xtr_queue_fini(&queue);
}

Test(queue, a_note_that_is_being_answered_may_still_be_joined)
{
    xtr_queue_init(&queue);
    push(XTR_NOTE_PORT, 1, 1);
    push(XTR_NOTE_PORT, 1, 2);
    expect(XTR_NOTE_PORT, 1, 1);
    push(XTR_NOTE_PORT, 1, 3);
    expect(XTR_NOTE_PORT, 1, 2);
    expect(XTR_NOTE_PORT, 1, 3);
    expect_empty();
    push(XTR_NOTE_PORT, 1, 4); /* behind one that is over */
    cr_assert(eq(u64, queue.tail, 2));
    expect(XTR_NOTE_PORT, 1, 4);
    xtr_queue_fini(&queue);
}

/* A key, and a set after it, both with the number. */
static void push_pair(uint32_t number)
{
    struct xtr_key key = {.kind = XTR_KEY_DEVICE};
    memcpy(key.device, &number, sizeof number);
    xtr_queue_push_key(&queue, 7, &key);
    push(XTR_NOTE_SET, 7, number);
}

static void expect_pair(uint32_t number)
{
    struct xtr_note note;
    cr_assert(xtr_queue_peek(&queue, &note));
    cr_assert(eq(int, (int)note.kind, XTR_NOTE_KEY));
    cr_assert(zero(int, memcmp(xtr_queue_key(&queue, &note)->device, &number, sizeof number)));
    xtr_queue_pop(&queue);
    expect(XTR_NOTE_SET, 7, number);
}

Test(queue, bursts_of_notes_and_keys_keep_their_order)
{
    uint32_t pushed = 0, popped = 0;
    xtr_queue_init(&queue);
    for (uint32_t round = 0; round < 60; round++) {
        for (uint32_t i = 0; i < 500 * (round % 30); i++)
            push_pair(pushed++);
        for (uint32_t i = 0; popped < pushed && i < 300 * (round % 7); i++)
            expect_pair(popped++);
        if (round % 20 != 19)
            continue;
        while (popped < pushed)
            expect_pair(popped++);
        expect_empty();
    }
    xtr_queue_fini(&queue);
}
