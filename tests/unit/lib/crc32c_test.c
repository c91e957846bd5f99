#include "base/crc32c.h"

#include <criterion/criterion.h>
#include <string.h>

static uint8_t bytes[4096];

static void expect(uint32_t crc, const void *data, size_t size)
{
    cr_assert_eq(em_crc32c(0, data, size), crc, "%08x", em_crc32c(0, data, size));
    cr_assert_eq(em_crc32c_by_table(0, data, size), crc);
}

/* RFC 3720 appendix B.4, with the bytes of each CRC in the order of a number. */
Test(crc32c, the_examples_of_rfc_3720_come_out)
{
    static const uint8_t pdu[48] = {
        0x01, 0xc0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, 0x28, [40] = 0x02};
    uint8_t data[32];
    memset(data, 0, sizeof(data));
    expect(0x8a9136aa, data, sizeof(data));
    memset(data, 0xff, sizeof(data));
    expect(0x62a8ab43, data, sizeof(data));
    for (uint8_t i = 0; i < 32; i++)
        data[i] = i;
    expect(0x46dd794e, data, sizeof(data));
    for (uint8_t i = 0; i < 32; i++)
        data[i] = (uint8_t)(31 - i);
    expect(0x113fdb5c, data, sizeof(data));
    expect(0xd9963a56, pdu, sizeof(pdu));
}

Test(crc32c, nothing_has_the_sum_zero_and_nine_digits_have_the_well_known_one)
{
    expect(0, "", 0);
    expect(0xe3069283, "123456789", 9);
}

Test(crc32c, pieces_of_any_size_and_place_give_what_the_whole_gives)
{
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7919 >> 5);
    uint32_t whole = em_crc32c_by_table(0, bytes, sizeof(bytes));
    for (size_t piece = 1; piece < 70; piece++) {
        uint32_t crc = 0;
        for (size_t at = 0; at < sizeof(bytes); at += piece) {
            size_t size = sizeof(bytes) - at < piece ? sizeof(bytes) - at : piece;
            crc = piece & 1 ? em_crc32c(crc, bytes + at, size)
                            : em_crc32c_by_table(crc, bytes + at, size);
        }
        cr_assert_eq(crc, whole, "in pieces of %zu", piece);
    }
}
