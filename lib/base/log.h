/* Log lines on stderr: logfmt, with the <N> priority that systemd understands. */
#ifndef EM_LOG_H
#define EM_LOG_H

#include <stdbool.h>

enum em_log_level {
    EM_LOG_ERROR = 3, /* syslog(3) severities */
    EM_LOG_WARN = 4,
    EM_LOG_INFO = 6,
    EM_LOG_DEBUG = 7,
};

/* 'program' is lent for ever.  Call once, before other threads start. */
void em_log_init(const char *program);

/* Any thread. */
void em_log_set_level(enum em_log_level level);
bool em_log_is_on(enum em_log_level level);

/* One line, at most 1 KiB; control characters are shown as '?', so that what a
 * peer sent cannot forge a line.  Any thread. */
void em_log(enum em_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A text of several lines, each as a line of its own. */
void em_log_lines(enum em_log_level level, const char *text);

/* At most 'burst' lines per 10 s from one place; what was left out is counted and
 * said with the next line.  'limit' is static storage of the place, zeroed. */
struct em_log_limit {
    _Atomic long window;
    _Atomic unsigned count;
    _Atomic unsigned dropped;
};
bool em_log_allowed(struct em_log_limit *limit, unsigned burst, unsigned *ret_dropped);

#define em_error(...) em_log(EM_LOG_ERROR, __VA_ARGS__)
#define em_warn(...)  em_log(EM_LOG_WARN, __VA_ARGS__)
#define em_info(...)  em_log(EM_LOG_INFO, __VA_ARGS__)
#define em_debug(...)                                                                              \
    do {                                                                                           \
        if (em_log_is_on(EM_LOG_DEBUG))                                                            \
            em_log(EM_LOG_DEBUG, __VA_ARGS__);                                                     \
    } while (0)

/* For lines that a peer can cause: five in 10 s from each place. */
#define em_warn_limited(format, ...)                                                               \
    do {                                                                                           \
        static struct em_log_limit limit_;                                                         \
        unsigned dropped_;                                                                         \
        if (em_log_allowed(&limit_, 5, &dropped_)) {                                               \
            em_log(EM_LOG_WARN, format, ##__VA_ARGS__);                                            \
            if (dropped_)                                                                          \
                em_log(EM_LOG_WARN, "%u similar lines were left out", dropped_);                   \
        }                                                                                          \
    } while (0)

#endif
