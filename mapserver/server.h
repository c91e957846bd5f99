/* The map server as a whole: its configuration made real, until a signal ends it. */
#ifndef MS_SERVER_H
#define MS_SERVER_H

/* Serves until SIGTERM or SIGINT (returns 0) or until it cannot go on (returns 1); a failure
 * to start has been logged.  SIGHUP reads the file again.  'file' NULL: defaults.  Call once,
 * from the main thread. */
int ms_server_run(const char *file);

/* What a start would say of the file, without starting: 0, or an error with a sentence (free()
 * it). */
int ms_server_check(const char *file, char **ret_why);

#endif
