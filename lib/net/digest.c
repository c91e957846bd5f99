#include "net/digest.h"

#include <stdlib.h>

#include <openssl/evp.h>

/* These fail when memory is out, or when the system's OpenSSL forbids SHA-256: no program of
 * ours can go on then. */
static void must(int r)
{
    if (r != 1)
        abort();
}

struct em_digest *em_digest_new(void)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    must(context && EVP_DigestInit_ex(context, EVP_sha256(), NULL));
    return (struct em_digest *)context;
}

void em_digest_free(struct em_digest *digest)
{
    EVP_MD_CTX_free((EVP_MD_CTX *)digest);
}

void em_digest_add(struct em_digest *digest, const void *data, size_t size)
{
    must(EVP_DigestUpdate((EVP_MD_CTX *)digest, data, size));
}

void em_digest_end(struct em_digest *digest, uint8_t ret_sum[EM_DIGEST_SIZE])
{
    unsigned size;
    must(EVP_DigestFinal_ex((EVP_MD_CTX *)digest, ret_sum, &size));
}
