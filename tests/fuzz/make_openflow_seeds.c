/* Records seeds from a switch: make_openflow_seeds PATH-OF-BRIDGE.mgmt FOLDER.  What it answers to
 * dumps of ports, groups and flows, to a frame for the controller and to a group that is not there
 * becomes a file for each message. */
#include "ovs/ofconn.h"

#include <stdio.h>
#include <string.h>

static void keep(void *aux, const struct of_message *message)
{
    static unsigned n;
    char path[512];

    snprintf(path, sizeof path, "%s/type%d-%u", (const char *)aux, (int)message->type, n++);
    FILE *file = fopen(path, "w");
    if (!file)
        return;
    fwrite(message->data, 1, message->size, file);
    fclose(file);
}

static void ask(struct of_conn *conn)
{
    static const uint8_t frame[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};
    struct em_buf *out = of_out(conn), actions;

    of_put_port_dump(out, of_xid(conn));
    of_put_group_dump(out, of_xid(conn));
    of_put_flow_dump(out, of_xid(conn), OF_TABLE_ALL, 0, 0, NULL);
    of_put_group(out, of_xid(conn), OF_GROUP_MODIFY, OF_GROUP_ALL, 0x0e1fffff, NULL, 0);
    em_buf_init(&actions);
    of_set_int(&actions, OF_REG0, 1);
    of_output(&actions, OF_PORT_CONTROLLER);
    of_put_packet_out(out, of_xid(conn), &actions, frame, sizeof frame);
    em_buf_fini(&actions);
}

int main(int argc, char **argv)
{
    struct of_conn *conn;

    if (argc != 3 || of_connect(argv[1], keep, argv[2], &conn)) {
        fprintf(stderr, "usage: %s PATH-OF-BRIDGE.mgmt FOLDER\n", argv[0]);
        return 1;
    }
    ask(conn);
    (void)of_barrier(conn);
    (void)of_barrier(conn);
    of_close(conn);
    return 0;
}
