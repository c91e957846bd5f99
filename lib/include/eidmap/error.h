/* Error codes: errno's, and eidmap's own below -1000. */
#ifndef EIDMAP_ERROR_H
#define EIDMAP_ERROR_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* name, wire code (enum ErrorCode of the protocol), may the same request succeed later, text */
#define EM_ERRORS(X)                                                                              \
    X(UNSUPPORTED, 1, false, "not supported by this server")                                      \
    X(MALFORMED, 2, false, "malformed")                                                           \
    X(DENIED, 3, false, "not allowed")                                                            \
    X(NOT_FOUND, 4, false, "not found")                                                           \
    X(EXISTS, 5, false, "exists already")                                                         \
    X(CONFLICT, 6, false, "held by another port")                                                 \
    X(MOVED, 7, false, "the port has moved on")                                                   \
    X(STALE, 8, false, "changed meanwhile")                                                       \
    X(IN_USE, 9, false, "still in use")                                                           \
    X(LIMIT, 10, false, "limit reached")                                                          \
    X(NO_SPACE, 11, true, "no space left for the map")                                            \
    X(STORAGE, 12, true, "storage failed")                                                        \
    X(BUSY, 13, true, "busy, try again later")                                                    \
    X(SUPERSEDED, 14, false, "a newer session has taken over")                                    \
    X(NOT_LEADER, 15, true, "not the leader")                                                     \
    X(INTERNAL, 16, false, "internal error")                                                      \
    X(CLOSED, 101, true, "connection closed by the peer")                                         \
    X(TIMEOUT, 102, true, "timed out")                                                            \
    X(TLS, 103, true, "TLS failed")                                                               \
    X(FRAME, 104, false, "not an eidmap frame")

enum em_error {
#define X(name, wire, retry, text) EM_E_##name = -1000 - (wire),
    EM_ERRORS(X)
#undef X
};

/* Text for 'err' (0, -errno, or an em_error); static storage. */
const char *em_strerror(int err);

/* "CONFLICT", "ENOENT"; static storage. */
const char *em_errname(int err);

/* True if the same request may succeed when it is sent again later. */
bool em_error_is_retryable(int err);

/* The protocol's ErrorCode for 'err'; INTERNAL (16) for what has none. */
int em_error_to_wire(int err);

/* The em_error for a protocol ErrorCode; EM_E_INTERNAL for an unknown one. */
int em_error_from_wire(int code);

#ifdef __cplusplus
}
#endif

#endif
