/* What has to outlive the agent: the ports that were attached by socket, the epochs that
 * all ports held, and the boot epoch.
 *
 * The file is replaced as a whole and synced, so that it is the old or the new one after
 * any crash, and carries a checksum.  A damaged file is set aside as NAME.bad: the agent
 * must start without it, and a person may want to look at it. */
#ifndef XTR_SAVE_H
#define XTR_SAVE_H

#include "base/buf.h"
#include "ports.h"

struct xtr_saved_port {
    struct xtr_wish wish; /* its strings and EIDs are owned by the saved state */
    uint64_t epoch;
};

struct xtr_saved {
    uint64_t boot_epoch;
    struct xtr_saved_port *ports;
    size_t n_ports;
};

/* Reads DIR/ports.  0, also when there is none (all zero).  EM_E_MALFORMED: it was damaged
 * and is set aside; *ret is all zero.  -errno. */
int xtr_save_read(const char *dir, struct xtr_saved *ret_saved);
void xtr_saved_free(struct xtr_saved *saved);

/* What goes into the file; refused ports are kept too.  em_buf_fini() the bytes. */
void xtr_save_pack(const struct xtr_ports *ports, uint64_t boot_epoch, struct em_buf *ret_bytes);

/* Replaces DIR/ports, with a checksum, and syncs it; 'to' is DIR (em_saver_write_fn).  0 or -errno.
 * Any thread. */
int xtr_save_put(void *to, const struct em_buf *bytes);

/* Both at once. */
int xtr_save_write(const char *dir, const struct xtr_ports *ports, uint64_t boot_epoch);

/* Greater than any before it and, where the clock is right, than any of a lost state. */
static inline uint64_t xtr_save_next_boot(uint64_t saved, uint64_t wall_ms)
{
    return saved + 1 > wall_ms ? saved + 1 : wall_ms;
}

#endif
