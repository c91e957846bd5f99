/* An Open vSwitch of a benchmark's own: ovsdb-server and ovs-vswitchd with the userspace datapath,
 * in a folder of their own.  A port that is added without a type is a dummy, which costs
 * ovs-vswitchd less to make than any other.
 *
 * What goes wrong here ends the program with a sentence. */
#ifndef VSWITCH_H
#define VSWITCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct of_conn;

struct vswitch {
    char dir[64];      /* sockets, database, logs: OVS_RUNDIR */
    char remote[96];   /* "unix:DIR/db.sock" */
    const char *netns; /* NULL: ours */
    pid_t server, daemon;
};

/* Is there one to start? */
bool vswitch_is_there(void);

/* Makes the folder and starts both daemons; they answer when this returns. */
void vswitch_start(struct vswitch *ret_vswitch, const char *dir, const char *netns);
void vswitch_stop(struct vswitch *vswitch);

/* Processor time that ovs-vswitchd's main thread, which takes flows, has had. */
double vswitch_cpu_us(const struct vswitch *vswitch);

/* Starts another daemon of the family there, which logs to NAME.log in the folder. */
pid_t vswitch_spawn(const struct vswitch *vswitch, const char *name, const char *const *args);

/* Waits until there is such a file in the folder. */
void vswitch_await(const struct vswitch *vswitch, const char *name);

/* Speaks OpenFlow with its br-int, once that is there. */
struct of_conn *vswitch_connect(const struct vswitch *vswitch);

/* Flows of a table of br-int that lead to the group (OF_GROUP_ANY: all), as the switch counts
 * them. */
uint64_t vswitch_count(struct of_conn *conn, uint8_t table, uint32_t group);

/* From now on the switch tells this connection of each change of a flow in the table.  Waits for the
 * next one; when it was told, 0: nothing in 'ms'. */
void vswitch_watch(struct of_conn *conn, uint8_t table);
uint64_t vswitch_await_change(struct of_conn *conn, int ms);

#endif
