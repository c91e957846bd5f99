/* Makes the sums of a changed segment of the log right again, so that a test gets behind them. */
#ifndef TEST_WAL_SUMS_H
#define TEST_WAL_SUMS_H

#include <stddef.h>
#include <stdint.h>

/* As far as the records can be followed. */
void wal_set_sums(uint8_t *segment, size_t size);

#endif
