#include "snapfile.h"

#include "base/crc32c.h"

#include <string.h>

#define MAGIC                                                                                      \
    "\x89"                                                                                         \
    "eidmap\r\n\x1a\n" /* and its NUL */
#define MAGIC_SIZE sizeof(MAGIC)
#define VERSION    1
#define PIECE_HEAD 16 /* tag, size, CRC of the content, CRC of these */
#define MAX_DBS    64

static uint32_t read_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

const char *ctl_snap_check_head(const uint8_t *data, size_t size)
{
    _Static_assert(MAGIC_SIZE + 4 == CTL_SNAP_HEAD, "magic and version");
    if (size < CTL_SNAP_HEAD)
        return "it is too short to be a copy of a map";
    if (memcmp(data, MAGIC, MAGIC_SIZE) == 0)
        return read_u32(data + MAGIC_SIZE) == VERSION
                   ? NULL
                   : "it is a copy of a map in a format that only another version of eidmap knows";
    /* PNG's trick: what a transfer as text does to line ends shows in the magic. */
    if (memcmp(data + 1, &MAGIC[1], 6) == 0)
        return "it was a copy of a map, but was changed on its way here; was it sent as text?";
    return "it is no copy of a map; \"mapctl backup FILE\" makes one";
}

/* The last piece of the file is a number per database and the digest. */
static bool is_tail(const uint8_t *piece, size_t content)
{
    return memcmp(piece, "TAIL", 4) == 0 && read_u32(piece + 4) == content &&
           read_u32(piece + 8) == em_crc32c(0, piece + PIECE_HEAD, content) &&
           read_u32(piece + 12) == em_crc32c(0, piece, 12);
}

bool ctl_snap_digest(const uint8_t *tail, size_t size, uint8_t ret_digest[CTL_SNAP_DIGEST])
{
    for (size_t n_dbs = 1; n_dbs <= MAX_DBS; n_dbs++) {
        size_t content = 8 * n_dbs + CTL_SNAP_DIGEST;
        if (size < PIECE_HEAD + content)
            break;
        if (!is_tail(tail + size - content - PIECE_HEAD, content))
            continue;
        memcpy(ret_digest, tail + size - CTL_SNAP_DIGEST, CTL_SNAP_DIGEST);
        return true;
    }
    return false;
}
