/* With the instruction of SSE 4.2 where the processor has it, else eight bytes at a time by
 * tables ("slicing by eight"). */
#include "base/crc32c.h"

#include <endian.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* reflected */
#define SLICES     8

static uint32_t table[SLICES][256];

/* Before main(), so that no call needs a lock or a test. */
__attribute__((constructor)) static void fill_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        table[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < SLICES; k++)
            table[k][i] = table[k - 1][i] >> 8 ^ table[0][table[k - 1][i] & 0xff];
}

static uint64_t read_word(const uint8_t *at)
{
    uint64_t word_le;
    memcpy(&word_le, at, sizeof(word_le));
    return le64toh(word_le);
}

uint32_t em_crc32c_by_table(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *at = data;
    crc = ~crc;
    for (; size >= SLICES; at += SLICES, size -= SLICES) {
        uint64_t word = read_word(at) ^ crc;
        crc = 0;
        for (int k = 0; k < SLICES; k++)
            crc ^= table[SLICES - 1 - k][word >> 8 * k & 0xff];
    }
    for (; size; at++, size--)
        crc = crc >> 8 ^ table[0][(crc ^ *at) & 0xff];
    return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *at,
                                                                 size_t size)
{
    uint64_t state = ~crc;
    for (; size >= sizeof(uint64_t); at += sizeof(uint64_t), size -= sizeof(uint64_t))
        state = __builtin_ia32_crc32di(state, read_word(at));
    for (; size; at++, size--)
        state = __builtin_ia32_crc32qi((uint32_t)state, *at);
    return ~(uint32_t)state;
}
#endif

uint32_t em_crc32c(uint32_t crc, const void *data, size_t size)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2"))
        return by_instruction(crc, data, size);
#endif
    return em_crc32c_by_table(crc, data, size);
}
