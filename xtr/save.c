/* Layout of the file, numbers big-endian: "EIDMAPX1", 8 bytes of checksum over the rest,
 * boot epoch (8), number of ports (4), then each port as a size (4) and a LocalPort message
 * of the protocol. */
#include "save.h"

#include "base/mem.h"
#include "eidmap/error.h"
#include "statefile.h"
#include "wire/convert.h"
#include "wire/msg.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC     "EIDMAPX1"
#define HEAD_SIZE 16
#define A_PORT    160 /* bytes in the file, about */
#define FILE_MAX  (256u << 20)

/* FNV-1a: the file is no one's to forge but ours; this is against torn and rotten bytes. */
static uint64_t checksum(const uint8_t *data, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 0x100000001b3u;
    return hash;
}

/* Writing */

static void pack_port(struct em_buf *out, struct em_arena *arena, const struct xtr_port *port)
{
    Eidmap__Eid *eids[XTR_PORT_EIDS];
    Eidmap__LocalPort msg = EIDMAP__LOCAL_PORT__INIT;
    msg.id = (ProtobufCBinaryData){port->id.size, (uint8_t *)(uintptr_t)port->id.bytes};
    msg.network_name = port->network;
    msg.device = (char *)(uintptr_t)port->device;
    msg.epoch = port->is_attach ? 0 : port->epoch;
    msg.source = (char *)(uintptr_t)xtr_source_name(port->source);
    msg.multihomed = port->is_multihomed;
    msg.pending = port->is_pending;
    msg.priority = port->priority;
    msg.weight = port->weight;
    msg.parent = (ProtobufCBinaryData){port->parent.size, (uint8_t *)(uintptr_t)port->parent.bytes};
    msg.tag = port->vlan;
    for (size_t i = 0; i < port->n_eids; i++)
        eids[i] = em_eid_to_msg(arena, &port->eids[i]);
    msg.eids = eids;
    msg.n_eids = port->n_eids;
    xtr_put32(out, (uint32_t)protobuf_c_message_get_packed_size(&msg.base));
    em_msg_pack(out, &msg.base);
    em_arena_reset(arena);
}

/* Most ports are as they were when the file was written last. */
static void put_port(struct em_buf *out, struct em_arena *arena, struct xtr_port *port)
{
    if (!port->packed || port->packed_change != port->change) {
        size_t before = em_buf_size(out);
        pack_port(out, arena, port);
        free(port->packed);
        port->packed_size = em_buf_size(out) - before;
        port->packed = em_memdup(em_buf_head(out) + before, port->packed_size);
        port->packed_change = port->change;
        return;
    }
    em_buf_append(out, port->packed, port->packed_size);
}

void xtr_save_pack(const struct xtr_ports *ports, uint64_t boot_epoch, struct em_buf *ret_bytes)
{
    struct em_buf *out = ret_bytes;
    struct em_arena arena;
    em_arena_init(&arena, 0);
    em_buf_init(out);
    em_buf_reserve(out, ports->n_used * (size_t)A_PORT);
    xtr_put64(out, boot_epoch);
    xtr_put32(out, ports->n_used);
    for (uint32_t i = 0; i < ports->n_items; i++)
        if (ports->items[i])
            put_port(out, &arena, ports->items[i]);
    em_arena_fini(&arena);
}

static int put_file(int fd, const struct em_buf *bytes)
{
    uint8_t head[HEAD_SIZE];
    uint64_t sum_be = htobe64(checksum(em_buf_head(bytes), em_buf_size(bytes)));
    memcpy(head, MAGIC, 8);
    memcpy(head + 8, &sum_be, sizeof sum_be);
    int r = xtr_statefile_append(fd, head, sizeof head);
    return r ? r : xtr_statefile_append(fd, em_buf_head(bytes), em_buf_size(bytes));
}

int xtr_save_put(void *to, const struct em_buf *bytes)
{
    const char *dir = to;
    int fd = xtr_statefile_create(dir, "ports");
    if (fd < 0)
        return fd;
    int r = put_file(fd, bytes);
    if (!r)
        return xtr_statefile_commit(fd, dir, "ports");
    xtr_statefile_discard(fd, dir, "ports");
    return r;
}

int xtr_save_write(const char *dir, const struct xtr_ports *ports, uint64_t boot_epoch)
{
    struct em_buf bytes;
    xtr_save_pack(ports, boot_epoch, &bytes);
    int r = xtr_save_put((void *)(uintptr_t)dir, &bytes);
    em_buf_fini(&bytes);
    return r;
}

/* Reading */

static int read_file(const char *path, uint8_t **ret_data, size_t *ret_size)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC), r = 0;
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st)) {
        r = -errno;
    } else if (st.st_size > FILE_MAX) {
        r = EM_E_MALFORMED;
    } else {
        uint8_t *data = em_malloc((size_t)st.st_size);
        ssize_t n = read(fd, data, (size_t)st.st_size);
        r = n < 0 ? -errno : n != st.st_size ? EM_E_MALFORMED : 0;
        *ret_data = data;
        *ret_size = (size_t)st.st_size;
    }
    close(fd);
    return r;
}

static int parse_eids(const Eidmap__LocalPort *msg, struct em_eid *eids)
{
    for (size_t i = 0; i < msg->n_eids; i++) {
        int r = em_eid_from_msg(msg->eids[i], &eids[i]);
        if (r)
            return r;
    }
    return 0;
}

static int parse_port(const Eidmap__LocalPort *msg, struct xtr_saved_port *ret_port)
{
    struct em_eid eids[XTR_PORT_EIDS];
    if (!msg || msg->id.len > EM_PORT_ID_SIZE || msg->n_eids > XTR_PORT_EIDS ||
        msg->priority > UINT8_MAX || msg->weight > UINT8_MAX || msg->parent.len > EM_PORT_ID_SIZE ||
        msg->tag > EM_TAG_MAX || parse_eids(msg, eids))
        return EM_E_MALFORMED;
    struct xtr_wish *wish = &ret_port->wish;
    *wish = (struct xtr_wish){
        .network = em_strdup(msg->network_name),
        .device = em_strdup(msg->device),
        .eids = em_memdup(eids, msg->n_eids * sizeof *eids),
        .n_eids = msg->n_eids,
        .priority = (uint8_t)msg->priority,
        .weight = (uint8_t)msg->weight,
        .is_multihomed = msg->multihomed,
        .is_pending = msg->pending,
        .source = xtr_source_parse(msg->source),
        .parent.size = (uint8_t)msg->parent.len,
        .vlan = (uint16_t)msg->tag,
    };
    wish->id.size = (uint8_t)msg->id.len;
    memcpy(wish->id.bytes, msg->id.data, msg->id.len);
    if (msg->parent.len)
        memcpy(wish->parent.bytes, msg->parent.data, msg->parent.len);
    ret_port->epoch = msg->epoch;
    return 0;
}

static int parse_ports(const uint8_t *at, const uint8_t *end, uint32_t n, struct xtr_saved *saved)
{
    struct em_arena arena;
    int r = 0;
    em_arena_init(&arena, 0);
    for (uint32_t i = 0; i < n && !r; i++) {
        uint32_t size = end - at < 4 ? UINT32_MAX : xtr_get32(at);
        if (end - at < 4 || (size_t)(end - at - 4) < size) {
            r = EM_E_MALFORMED;
            break;
        }
        Eidmap__LocalPort *msg =
            em_msg_unpack_as(&arena, &eidmap__local_port__descriptor, at + 4, size);
        r = parse_port(msg, &saved->ports[saved->n_ports]);
        saved->n_ports += !r;
        at += 4 + size;
        em_arena_reset(&arena);
    }
    em_arena_fini(&arena);
    return r;
}

static int parse(const uint8_t *data, size_t size, struct xtr_saved *saved)
{
    if (size < HEAD_SIZE + 12 || memcmp(data, MAGIC, 8) ||
        xtr_get64(data + 8) != checksum(data + HEAD_SIZE, size - HEAD_SIZE))
        return EM_E_MALFORMED;
    uint32_t n = xtr_get32(data + HEAD_SIZE + 8);
    if (n > size / 4)
        return EM_E_MALFORMED;
    saved->boot_epoch = xtr_get64(data + HEAD_SIZE);
    saved->ports = em_calloc(n, sizeof *saved->ports);
    return parse_ports(data + HEAD_SIZE + 12, data + size, n, saved);
}

void xtr_saved_free(struct xtr_saved *saved)
{
    for (size_t i = 0; i < saved->n_ports; i++) {
        struct xtr_wish *wish = &saved->ports[i].wish;
        free((char *)(uintptr_t)wish->network);
        free((char *)(uintptr_t)wish->device);
        free((struct em_eid *)(uintptr_t)wish->eids);
    }
    free(saved->ports);
    *saved = (struct xtr_saved){0};
}

int xtr_save_read(const char *dir, struct xtr_saved *ret_saved)
{
    char *path = em_asprintf("%s/ports", dir);
    uint8_t *data = NULL;
    size_t size = 0;
    *ret_saved = (struct xtr_saved){0};
    int r = read_file(path, &data, &size);
    if (!r)
        r = parse(data, size, ret_saved);
    if (r)
        xtr_saved_free(ret_saved);
    if (r == EM_E_MALFORMED)
        xtr_statefile_set_aside(path);
    free(data);
    free(path);
    return r == -ENOENT ? 0 : r;
}
