/* Makes the sums of a changed copy of a map right again, so that a test gets behind them. */
#ifndef TEST_COPY_SUMS_H
#define TEST_COPY_SUMS_H

#include <stddef.h>
#include <stdint.h>

/* As far as the pieces can be followed. */
void copy_set_sums(uint8_t *data, size_t size);

/* Content of the n-th piece (0: the head); NULL: there is none. */
uint8_t *copy_piece(uint8_t *data, size_t size, unsigned n, size_t *ret_size);

#endif
