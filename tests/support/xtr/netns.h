/* Private network namespaces for tests that program a real kernel. */
#ifndef TEST_NETNS_H
#define TEST_NETNS_H

#include <stdbool.h>

/* False if this process may make none (no CAP_SYS_ADMIN): the test should be skipped. */
bool netns_is_permitted(void);

/* A new one, which the calling thread is in from now on, with lo up; its descriptor.  It
 * goes with the last process in it and the last descriptor. */
int netns_new(void);
void netns_enter(int ns);

/* A veth pair between two namespaces; both ends up. */
void netns_connect(int ns_a, const char *dev_a, int ns_b, const char *dev_b);

/* Runs a shell command here and returns what it wrote, to both streams; free() it. */
char *netns_run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Exit status 0? */
bool netns_ok(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* True if the output of 'command' has 'text' in it; has_line() if one line has both. */
bool netns_shows(const char *command, const char *text);
bool netns_has_line(const char *command, const char *text, const char *more);

/* Frames seen on a device while it is open: a packet socket with all protocols. */
struct netns_tap;
struct netns_tap *netns_tap_open(const char *device);
/* What was seen; only VXLAN frames (UDP port 4789) count, the underlay's own do not. */
struct netns_seen {
    unsigned n_vxlan;
    unsigned n_resolution; /* of these, with ARP or neighbour discovery inside */
    unsigned n_unicast;    /* of these, to a unicast MAC */
};
/* Reads what has come in and closes. */
struct netns_seen netns_tap_close(struct netns_tap *tap);

#endif
