/* TLS 1.3 with certificates on both sides: the home of OpenSSL.
 *
 * Who a peer is stands in its certificate as a URI SAN: eidmap://server/ID,
 * eidmap://node/ID, eidmap://operator/NAME.  Its host name does not matter: servers are
 * trusted because the cluster's CA signed the role "server". */
#ifndef EM_TLS_H
#define EM_TLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct em_tls;         /* a context: certificate, key, CA; shared by any number of sessions */
struct em_tls_session; /* one connection's state */

enum em_role { EM_ROLE_NONE = 0, EM_ROLE_NODE = 1, EM_ROLE_OPERATOR = 2, EM_ROLE_SERVER = 3 };

#define EM_IDENTITY_NAME 64

struct em_identity {
    enum em_role role;
    char name[EM_IDENTITY_NAME];
};

/* Reads the three PEM files and checks that key and certificate belong together, that the
 * CA signed it, that it is valid now and has an eidmap URI.  On failure *ret_why says
 * which file is wrong and how (free() it). */
int em_tls_new(const char *ca_file, const char *cert_file, const char *key_file,
               struct em_tls **ret_tls, char **ret_why);

/* Contexts are counted, any thread: sessions hold a reference of their own.  em_tls_free()
 * gives one back; NULL is fine for both. */
struct em_tls *em_tls_ref(struct em_tls *tls);
void em_tls_free(struct em_tls *tls);

/* Own identity, from the certificate; and until when it is valid, seconds since 1970. */
const struct em_identity *em_tls_identity(const struct em_tls *tls);
int64_t em_tls_not_after(const struct em_tls *tls);

/* 'eidmap://ROLE/NAME' to identity; 0 or -EINVAL. */
int em_identity_parse(const char *uri, struct em_identity *ret_identity);
const char *em_role_name(enum em_role role);

/* A session on a connected, non-blocking socket.  'resume' (client side, may be NULL)
 * keeps the last session ticket of one server between connections; it is offered with the context
 * that it came with alone, since own certificate and CA are part of what it stands for. */
struct em_tls_resume;
struct em_tls_resume *em_tls_resume_new(void);
void em_tls_resume_free(struct em_tls_resume *resume);
struct em_tls_session *em_tls_accept(struct em_tls *tls, int fd);
struct em_tls_session *em_tls_connect(struct em_tls *tls, int fd, struct em_tls_resume *resume);
void em_tls_session_free(struct em_tls_session *session);

/* All return > 0 or 0 when done, -EAGAIN with *ret_events the EV_READ/EV_WRITE to wait
 * for, EM_E_CLOSED at the peer's end, EM_E_TLS on failure (em_tls_session_why()). */
int em_tls_handshake(struct em_tls_session *session, int *ret_events);
ssize_t em_tls_read(struct em_tls_session *session, void *data, size_t size, int *ret_events);
ssize_t em_tls_write(struct em_tls_session *session, const void *data, size_t size,
                     int *ret_events);

/* Has OpenSSL taken bytes from the socket that em_tls_read() has not given yet? */
int em_tls_has_pending(const struct em_tls_session *session);

void em_tls_shutdown(struct em_tls_session *session);

/* After the handshake: the peer's certificate, checked against the CA and the clock (on
 * a resumed session too).  0 or EM_E_DENIED. */
int em_tls_peer(struct em_tls_session *session, struct em_identity *ret_identity);
int em_tls_was_resumed(const struct em_tls_session *session);
const char *em_tls_session_why(const struct em_tls_session *session);

#endif
