/* Tells systemd how a service is: the protocol of sd_notify(3), without its library. */
#ifndef EM_NOTIFY_H
#define EM_NOTIFY_H

/* Sends "READY=1", "STATUS=...", lines separated by '\n'.  Without NOTIFY_SOCKET in the
 * environment nothing is done.  0 or -errno. */
int em_notify(const char *state);

/* Interval in which the watchdog wants to hear of us, in ms; 0: there is none. */
unsigned em_notify_watchdog_ms(void);

#endif
