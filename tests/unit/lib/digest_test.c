#include "net/digest.h"

#include <criterion/criterion.h>
#include <string.h>

/* FIPS 180-2 appendix B.2. */
static const char message[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
static const uint8_t expected[EM_DIGEST_SIZE] = {
    0x24, 0x8d, 0x6a, 0x61, 0xd2, 0x06, 0x38, 0xb8, 0xe5, 0xc0, 0x26, 0x93, 0x0c, 0x3e, 0x60, 0x39,
    0xa3, 0x3c, 0xe4, 0x59, 0x64, 0xff, 0x21, 0x67, 0xf6, 0xec, 0xed, 0xd4, 0x19, 0xdb, 0x06, 0xc1};

Test(digest, pieces_of_any_size_give_the_example_of_fips_180)
{
    for (size_t piece = 1; piece <= strlen(message); piece++) {
        uint8_t sum[EM_DIGEST_SIZE];
        struct em_digest *digest = em_digest_new();
        for (size_t at = 0; at < strlen(message); at += piece) {
            size_t left = strlen(message) - at;
            em_digest_add(digest, message + at, left < piece ? left : piece);
        }
        em_digest_end(digest, sum);
        em_digest_free(digest);
        cr_assert_arr_eq(sum, expected, sizeof(sum));
    }
}
