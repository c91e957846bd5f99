#include "mapserver/copy_sums.h"

#include "base/crc32c.h"
#include "net/digest.h"
#include "state/key.h"
#include "state/snapshot_format.h"

#include <stdbool.h>
#include <string.h>

#define HEAD_FIXED 64 /* up to the members */

uint8_t *copy_piece(uint8_t *data, size_t size, unsigned n, size_t *ret_size)
{
    size_t at = MS_SNAP_FILE_HEAD;
    for (;; n--) {
        if (size < at + MS_SNAP_PIECE_HEAD)
            return NULL;
        *ret_size = ms_read_u32(data + at + 4);
        at += MS_SNAP_PIECE_HEAD;
        if (*ret_size > size - at)
            return NULL;
        if (n == 0)
            return data + at;
        at += *ret_size;
    }
}

/* Name of a database, as the head gives it, with its NUL. */
static bool add_name(struct em_digest *digest, const uint8_t *head, size_t size, unsigned db)
{
    size_t at = HEAD_FIXED + 1;
    at += size >= HEAD_FIXED ? ms_read_u32(head + HEAD_FIXED - 4) : 0;
    for (; at + 2 <= size && at + 2 + head[at + 1] <= size; at += 2 + (size_t)head[at + 1], db--)
        if (db == 0) {
            em_digest_add(digest, head + at + 2, head[at + 1]);
            em_digest_add(digest, "", 1);
            return true;
        }
    return false;
}

static void set_digest(uint8_t *data, size_t size)
{
    uint8_t sum[EM_DIGEST_SIZE], *content;
    size_t n, n_head = 0;
    uint8_t *head = copy_piece(data, size, 0, &n_head);
    int db = -1;
    if (!head)
        return;
    struct em_digest *digest = em_digest_new();
    for (unsigned i = 1; (content = copy_piece(data, size, i, &n)); i++) {
        if (memcmp(content - MS_SNAP_PIECE_HEAD, MS_SNAP_ROWS, 4) == 0 && n) {
            if (db != content[0] && !add_name(digest, head, n_head, content[0]))
                break;
            db = content[0];
            em_digest_add(digest, content + 1, n - 1);
        } else if (n >= EM_DIGEST_SIZE) {
            em_digest_end(digest, sum);
            memcpy(content + n - EM_DIGEST_SIZE, sum, sizeof(sum));
            break;
        }
    }
    em_digest_free(digest);
}

void copy_set_sums(uint8_t *data, size_t size)
{
    uint8_t *content;
    size_t n;
    set_digest(data, size);
    for (unsigned i = 0; (content = copy_piece(data, size, i, &n)); i++) {
        uint8_t *head = content - MS_SNAP_PIECE_HEAD;
        ms_write_u32(head + 8, em_crc32c(0, content, n));
        ms_write_u32(head + 12, em_crc32c(0, head, 12));
    }
}
