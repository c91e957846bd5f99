/* Calls to Open vSwitch's database that wait for their answer (RFC 7047 over its unix socket): for
 * what has to be done before anything else can, bridges and tunnel ports.  What has to be followed
 * is monitor.h's.
 *
 * Errors are negative, with a sentence in *ret_why (free() it).  A connection is not for keeping:
 * nobody answers the server's probes between two calls. */
#ifndef OVS_OVSDB_H
#define OVS_OVSDB_H

struct json_t;
struct ovsdb;

/* 'remote' is "unix:PATH".  'timeout_ms' is that of each call. */
int ovsdb_open(const char *remote, int timeout_ms, struct ovsdb **ret_db, char **ret_why);

/* On a connection that stands; takes it. */
struct ovsdb *ovsdb_new(int fd, int timeout_ms);

/* NULL is fine. */
void ovsdb_close(struct ovsdb *db);

/* Does all of 'ops' (an array, RFC 7047 section 5.2; taken), or nothing.  *ret_results is an array
 * with a result for each, the caller's; ret_results may be NULL.
 *   -ETIMEDOUT     no answer; whether it was done is not known
 *   -ECONNRESET    the server has gone; as above
 *   -EEXIST        somebody has that name already (a constraint of the database)
 *   -EINVAL        'ops' is NULL
 *   -EBADMSG, -EMSGSIZE  the server's answer is none
 *   -EPROTO        the server refuses it */
int ovsdb_transact(struct ovsdb *db, struct json_t *ops, struct json_t **ret_results,
                   char **ret_why);

/* The same for what ovs-vswitchd has to do, and waits until it has: then ports have their OpenFlow
 * numbers.  -ETIMEDOUT where ovs-vswitchd does not answer: then the database has the change, and
 * ovs-vswitchd does it when it comes back. */
int ovsdb_configure(struct ovsdb *db, struct json_t *ops, struct json_t **ret_results,
                    char **ret_why);

#endif
