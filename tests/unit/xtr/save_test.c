#include "save.h"

#include "eidmap/error.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct xtr_ports ports;
static char dir[] = "/tmp/eidmap-save-XXXXXX";
static char path[64], bad[64];

static void setup(void)
{
    cr_assert(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/ports", dir);
    snprintf(bad, sizeof bad, "%s/ports.bad", dir);
    xtr_ports_init(&ports);
}

static void teardown(void)
{
    xtr_ports_fini(&ports);
    unlink(path);
    unlink(bad);
    rmdir(dir);
}

static struct xtr_port *add(const char *id, enum xtr_source source)
{
    struct em_eid eids[] = {
        {.kind = EM_EID_MAC, .size = 6, .addr = {2, 0, 0, 0, 0, 1}},
        {.kind = EM_EID_IPV6, .size = 16, .addr = {0x20, 1, 0xd, 0xb8, [15] = 1}},
    };
    struct xtr_wish wish = {.network = "blue",
                            .device = "tap0",
                            .eids = eids,
                            .n_eids = 2,
                            .priority = 3,
                            .weight = 4,
                            .is_multihomed = true,
                            .source = source};
    em_port_id_parse(id, &wish.id, NULL);
    bool is_changed;
    return xtr_ports_attach(&ports, &wish, 0, &is_changed);
}

static void flip(off_t at)
{
    char byte;
    int fd = open(path, O_RDWR);
    cr_assert(eq(int, (int)pread(fd, &byte, 1, at), 1));
    byte ^= 0x40;
    cr_assert(eq(int, (int)pwrite(fd, &byte, 1, at), 1));
    close(fd);
}

static off_t size_of(const char *file)
{
    struct stat st;
    return stat(file, &st) ? -1 : st.st_size;
}

TestSuite(save, .init = setup, .fini = teardown);

Test(save, what_is_written_is_read)
{
    xtr_port_acked(add("p1", XTR_SOURCE_SOCKET), 42);
    add("f6f4b2ac-56c0-4a3e-9b0c-2f3c1c8d0001", XTR_SOURCE_CONFIG)->is_pending = true;
    cr_assert(eq(int, xtr_save_write(dir, &ports, 77), 0));
    struct xtr_saved saved;
    cr_assert(eq(int, xtr_save_read(dir, &saved), 0));
    cr_assert(eq(u64, saved.boot_epoch, 77));
    cr_assert(eq(sz, saved.n_ports, 2));
    cr_assert(ne(int, saved.ports[0].wish.is_pending, saved.ports[1].wish.is_pending));
    const struct xtr_saved_port *p = &saved.ports[0];
    cr_assert(eq(u64, p->epoch, 42));
    cr_assert(eq(str, (char *)p->wish.network, "blue"));
    cr_assert(eq(str, (char *)p->wish.device, "tap0"));
    cr_assert(eq(sz, p->wish.n_eids, 2));
    cr_assert(eq(int, em_eid_compare(&p->wish.eids[1], &ports.items[0]->eids[1]), 0));
    cr_assert(eq(int, memcmp(&p->wish.id, &ports.items[0]->id, sizeof p->wish.id), 0));
    cr_assert(p->wish.is_multihomed && p->wish.priority == 3 && p->wish.weight == 4);
    cr_assert(p->wish.source == XTR_SOURCE_SOCKET);
    cr_assert(saved.ports[1].wish.source == XTR_SOURCE_CONFIG);
    cr_assert(eq(u64, saved.ports[1].epoch, 0), "never acknowledged: it stays an attach");
    xtr_saved_free(&saved);
}

static uint64_t saved_epoch(enum xtr_source *ret_source)
{
    struct xtr_saved saved;
    cr_assert(eq(int, xtr_save_write(dir, &ports, 1), 0));
    cr_assert(eq(int, xtr_save_read(dir, &saved), 0));
    cr_assert(eq(sz, saved.n_ports, 1));
    uint64_t epoch = saved.ports[0].epoch;
    *ret_source = saved.ports[0].wish.source;
    xtr_saved_free(&saved);
    return epoch;
}

Test(save, each_file_has_the_ports_as_they_are_then)
{
    enum xtr_source source;
    struct xtr_port *port = add("p1", XTR_SOURCE_SOCKET);
    cr_assert(eq(u64, saved_epoch(&source), 0));
    xtr_port_acked(port, 42);
    cr_assert(eq(u64, saved_epoch(&source), 42));
    cr_assert(eq(u64, saved_epoch(&source), 42));
    cr_assert(source == XTR_SOURCE_SOCKET);
    add("p1", XTR_SOURCE_CONFIG); /* nothing changes but who asks for it */
    cr_assert(eq(u64, saved_epoch(&source), 42));
    cr_assert(source == XTR_SOURCE_CONFIG);
}

Test(save, every_source_is_read_as_it_was)
{
    struct xtr_saved saved;
    add("p1", XTR_SOURCE_WATCH);
    add("p2", XTR_SOURCE_CONFIG);
    add("p3", XTR_SOURCE_SOCKET);
    cr_assert(eq(int, xtr_save_write(dir, &ports, 1), 0));
    cr_assert(eq(int, xtr_save_read(dir, &saved), 0));
    cr_assert(saved.ports[0].wish.source == XTR_SOURCE_WATCH);
    cr_assert(saved.ports[1].wish.source == XTR_SOURCE_CONFIG);
    cr_assert(saved.ports[2].wish.source == XTR_SOURCE_SOCKET);
    xtr_saved_free(&saved);
}

Test(save, a_child_knows_its_parent_and_its_tag)
{
    struct xtr_saved saved;
    struct xtr_port *child = add("c1", XTR_SOURCE_TRUNK);
    em_port_id_parse("p1", &child->parent, NULL);
    child->vlan = 101;
    cr_assert(eq(int, xtr_save_write(dir, &ports, 1), 0));
    cr_assert(eq(int, xtr_save_read(dir, &saved), 0));
    cr_assert(saved.ports[0].wish.source == XTR_SOURCE_TRUNK);
    cr_assert(
        eq(int, memcmp(&saved.ports[0].wish.parent, &child->parent, sizeof child->parent), 0));
    cr_assert(eq(int, saved.ports[0].wish.vlan, 101));
    xtr_saved_free(&saved);
}

Test(save, the_file_replaces_the_old_one)
{
    add("p1", XTR_SOURCE_SOCKET);
    cr_assert(eq(int, xtr_save_write(dir, &ports, 1), 0));
    xtr_ports_remove(&ports, ports.items[0]);
    cr_assert(eq(int, xtr_save_write(dir, &ports, 2), 0));
    struct xtr_saved saved;
    cr_assert(eq(int, xtr_save_read(dir, &saved), 0));
    cr_assert(eq(sz, saved.n_ports, 0));
    cr_assert(eq(u64, saved.boot_epoch, 2));
    xtr_saved_free(&saved);
}

Test(save, no_file_is_an_empty_state)
{
    struct xtr_saved saved;
    cr_assert(eq(int, xtr_save_read(dir, &saved), 0));
    cr_assert(eq(sz, saved.n_ports, 0));
    cr_assert(eq(u64, saved.boot_epoch, 0));
}

Test(save, every_flipped_byte_and_every_cut_is_noticed_and_set_aside)
{
    struct xtr_saved saved;
    add("p1", XTR_SOURCE_SOCKET);
    cr_assert(eq(int, xtr_save_write(dir, &ports, 77), 0));
    off_t size = size_of(path);
    for (off_t at = 0; at < size; at++) {
        cr_assert(eq(int, xtr_save_write(dir, &ports, 77), 0));
        flip(at);
        cr_assert(eq(int, xtr_save_read(dir, &saved), EM_E_MALFORMED), "byte %ld", (long)at);
        cr_assert(eq(sz, saved.n_ports, 0));
        cr_assert(eq(int, (int)size_of(bad), (int)size));
        cr_assert(eq(int, (int)size_of(path), -1));

        cr_assert(eq(int, xtr_save_write(dir, &ports, 77), 0));
        cr_assert(eq(int, truncate(path, at), 0));
        cr_assert(eq(int, xtr_save_read(dir, &saved), EM_E_MALFORMED), "cut at %ld", (long)at);
    }
}

Test(save, an_unwritable_place_is_an_error)
{
    cr_assert(eq(int, xtr_save_write("/nonexistent/eidmap", &ports, 1), -ENOENT));
}

Test(save, the_boot_epoch_always_grows)
{
    cr_assert(eq(u64, xtr_save_next_boot(0, 5000), 5000));
    cr_assert(eq(u64, xtr_save_next_boot(9000, 5000), 9001), "the clock was set back");
}
