/* An Open vSwitch of a test's own: ovsdb-server and ovs-vswitchd with the userspace datapath, in a
 * network namespace and a folder of their own.  The witness is ovs-vsctl and its like, by shell. */
#ifndef TEST_OVS_H
#define TEST_OVS_H

#include <stdbool.h>
#include <sys/types.h>

struct ovs {
    char dir[32];    /* sockets, database, logs: OVS_RUNDIR */
    char remote[48]; /* "unix:DIR/db.sock" */
    int ns;
    pid_t server, vswitchd; /* 0: does not run */
};

/* False if there is no Open vSwitch or no permission for namespaces: the test should be skipped. */
bool ovs_is_permitted(void);

/* A new namespace, which the calling thread is in from now on, and both daemons, ready. */
struct ovs *ovs_new(void);

/* Ends what runs and removes the folder.  NULL is fine. */
void ovs_stop(struct ovs *ovs);

/* One of the two, and again on the same database; to kill it is to end it by SIGKILL. */
void ovs_kill_server(struct ovs *ovs);
void ovs_start_server(struct ovs *ovs);
void ovs_kill_vswitchd(struct ovs *ovs);
void ovs_start_vswitchd(struct ovs *ovs);

/* Runs ovs-vsctl with these arguments, by shell; its output, free() it; and whether it went well.
 */
char *ovs_vsctl(const struct ovs *ovs, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool ovs_vsctl_ok(const struct ovs *ovs, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* True if the output of ovs-vsctl has 'text' in it. */
bool ovs_vsctl_shows(const struct ovs *ovs, const char *args, const char *text);

#endif
