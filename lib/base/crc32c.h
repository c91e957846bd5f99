/* CRC-32C (Castagnoli; RFC 3720 appendix B.4): has the disk or the wire changed a byte? */
#ifndef EM_CRC32C_H
#define EM_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues 'crc', which is 0 at the beginning. */
uint32_t em_crc32c(uint32_t crc, const void *data, size_t size);

/* The same without the processor's instruction, for tests. */
uint32_t em_crc32c_by_table(uint32_t crc, const void *data, size_t size);

#endif
