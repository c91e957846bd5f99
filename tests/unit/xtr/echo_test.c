#include "echo.h"

#include "eidmap/error.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

static const struct xtr_echo ask = {XTR_ECHO_ASK, 7, 0x0102030405060708};
static uint8_t bytes[XTR_ECHO_SIZE + 1];
static struct xtr_echo back;

static void setup(void)
{
    xtr_echo_pack(&ask, bytes);
}

TestSuite(echo, .init = setup);

Test(echo, comes_back_as_it_was)
{
    cr_assert(eq(int, xtr_echo_parse(bytes, XTR_ECHO_SIZE, &back), 0));
    cr_assert(eq(int, back.type, XTR_ECHO_ASK));
    cr_assert(eq(u32, back.tag, 7));
    cr_assert(eq(u64, back.nonce, ask.nonce));
}

Test(echo, of_another_size_is_none)
{
    for (size_t size = 0; size < XTR_ECHO_SIZE; size++)
        cr_assert(eq(int, xtr_echo_parse(bytes, size, &back), EM_E_MALFORMED));
    cr_assert(eq(int, xtr_echo_parse(bytes, XTR_ECHO_SIZE + 1, &back), EM_E_MALFORMED));
}

Test(echo, with_another_byte_in_its_head_is_none)
{
    for (size_t i = 0; i < 8; i++) {
        setup();
        bytes[i] ^= 0x10;
        cr_assert(eq(int, xtr_echo_parse(bytes, XTR_ECHO_SIZE, &back), EM_E_MALFORMED), "byte %zu",
                  i);
    }
}
