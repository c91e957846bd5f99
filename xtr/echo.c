/* Tag and nonce are opaque to whoever answers, so they go in the asker's byte order. */
#include "echo.h"

#include "eidmap/error.h"

#include <string.h>

#define AT_TYPE  5
#define AT_ZERO  6
#define AT_TAG   8
#define AT_NONCE 12

static const uint8_t head[] = {'e', 'i', 'd', 'm', 1};

void xtr_echo_pack(const struct xtr_echo *echo, uint8_t ret_bytes[XTR_ECHO_SIZE])
{
    memcpy(ret_bytes, head, sizeof head);
    ret_bytes[AT_TYPE] = (uint8_t)echo->type;
    memset(ret_bytes + AT_ZERO, 0, 2);
    memcpy(ret_bytes + AT_TAG, &echo->tag, sizeof echo->tag);
    memcpy(ret_bytes + AT_NONCE, &echo->nonce, sizeof echo->nonce);
}

int xtr_echo_parse(const uint8_t *bytes, size_t size, struct xtr_echo *ret_echo)
{
    if (size != XTR_ECHO_SIZE || memcmp(bytes, head, sizeof head) || bytes[AT_ZERO] ||
        bytes[AT_ZERO + 1] || (bytes[AT_TYPE] != XTR_ECHO_ASK && bytes[AT_TYPE] != XTR_ECHO_ANSWER))
        return EM_E_MALFORMED;
    ret_echo->type = (enum xtr_echo_type)bytes[AT_TYPE];
    memcpy(&ret_echo->tag, bytes + AT_TAG, sizeof ret_echo->tag);
    memcpy(&ret_echo->nonce, bytes + AT_NONCE, sizeof ret_echo->nonce);
    return 0;
}
