#include "base/buf.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

Test(buf, bytes_come_out_in_the_order_they_went_in)
{
    struct em_buf buf;
    uint8_t next_in = 0, next_out = 0;
    em_buf_init(&buf);
    srand(3);
    for (int i = 0; i < 20000; i++) {
        uint8_t chunk[300];
        size_t n = (size_t)rand() % sizeof(chunk);
        for (size_t j = 0; j < n; j++)
            chunk[j] = next_in++;
        em_buf_append(&buf, chunk, n);
        size_t take = (size_t)rand() % (em_buf_size(&buf) + 1);
        for (size_t j = 0; j < take; j++)
            cr_assert_eq(em_buf_head(&buf)[j], next_out++);
        em_buf_take(&buf, take);
    }
    cr_assert_eq((uint8_t)(next_in - next_out), (uint8_t)em_buf_size(&buf));
    em_buf_fini(&buf);
}

Test(buf, reserved_room_is_not_content_until_committed)
{
    struct em_buf buf;
    em_buf_init(&buf);
    memset(em_buf_reserve(&buf, 10000), 'x', 10000);
    cr_assert_eq(em_buf_size(&buf), 0);
    em_buf_commit(&buf, 9999);
    cr_assert_eq(em_buf_size(&buf), 9999);
    cr_assert_eq(em_buf_head(&buf)[9998], 'x');
    em_buf_fini(&buf);
}

Test(buf, taken_room_is_used_again)
{
    struct em_buf buf;
    em_buf_init(&buf);
    uint8_t chunk[1000] = {0};
    em_buf_append(&buf, chunk, sizeof(chunk));
    size_t size = buf.size;
    for (int i = 0; i < 1000; i++) {
        em_buf_append(&buf, chunk, sizeof(chunk));
        em_buf_take(&buf, sizeof(chunk));
    }
    cr_assert_eq(buf.size, size, "a steady queue must not grow");
    em_buf_fini(&buf);
}

Test(buf, trim_frees_only_what_is_empty)
{
    struct em_buf buf;
    em_buf_init(&buf);
    em_buf_append(&buf, "ab", 2);
    em_buf_take(&buf, 1);
    em_buf_trim(&buf);
    cr_assert_eq(em_buf_size(&buf), 1);
    cr_assert_eq(em_buf_head(&buf)[0], 'b');
    em_buf_take(&buf, 1);
    em_buf_trim(&buf);
    cr_assert_null(buf.data);
    cr_assert_eq(buf.size, 0);
    em_buf_append(&buf, NULL, 0);
    cr_assert_null(buf.data, "nothing needs no memory");
    em_buf_fini(&buf);
}
