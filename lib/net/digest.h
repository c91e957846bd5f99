/* SHA-256 of what comes in pieces. */
#ifndef EM_DIGEST_H
#define EM_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define EM_DIGEST_SIZE 32

struct em_digest;

struct em_digest *em_digest_new(void);
void em_digest_free(struct em_digest *digest); /* NULL is fine */

void em_digest_add(struct em_digest *digest, const void *data, size_t size);

/* Of all that was added; nothing can be added any more. */
void em_digest_end(struct em_digest *digest, uint8_t ret_sum[EM_DIGEST_SIZE]);

#endif
