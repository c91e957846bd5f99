#include "net/tls.h"

#include "base/mem.h"
#include "eidmap/addr.h"
#include "eidmap/error.h"
#include "net/digest.h"

#include <errno.h>
#include <ev.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RESUME_LIFETIME_S 3600
#define VERIFY_DEPTH      3

static const unsigned char alpn[] = {8, 'e', 'i', 'd', 'm', 'a', 'p', '/', '1'};

struct em_tls {
    SSL_CTX *ctx;
    atomic_uint refs;
    struct em_identity identity;
    int64_t not_after;
};

struct em_tls_resume {
    SSL_SESSION *session;
    struct em_tls *tls; /* that it was made with: another one has to prove itself anew */
};

struct em_tls_session {
    SSL *ssl;
    struct em_tls *tls;
    struct em_tls_resume *resume;
    char why[160];
};

const char *em_role_name(enum em_role role)
{
    switch (role) {
    case EM_ROLE_NODE:
        return "node";
    case EM_ROLE_OPERATOR:
        return "operator";
    case EM_ROLE_SERVER:
        return "server";
    case EM_ROLE_NONE:
        break;
    }
    return "none";
}

int em_identity_parse(const char *uri, struct em_identity *ret_identity)
{
    static const enum em_role roles[] = {EM_ROLE_NODE, EM_ROLE_OPERATOR, EM_ROLE_SERVER};
    if (strncmp(uri, "eidmap://", 9) != 0)
        return -EINVAL;
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        const char *role = em_role_name(roles[i]);
        size_t n = strlen(role);
        if (strncmp(uri + 9, role, n) != 0 || uri[9 + n] != '/')
            continue;
        const char *name = uri + 9 + n + 1;
        if (em_ident_check(name, NULL))
            return -EINVAL;
        ret_identity->role = roles[i];
        snprintf(ret_identity->name, sizeof(ret_identity->name), "%s", name);
        return 0;
    }
    return -EINVAL;
}

/* The one eidmap URI of a certificate; two of them would make the role ambiguous. */
static int identity_of(X509 *cert, struct em_identity *ret_identity)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    int found = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        const char *uri = (const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
        size_t size = (size_t)ASN1_STRING_length(name->d.uniformResourceIdentifier);
        if (strlen(uri) == size && em_identity_parse(uri, ret_identity) == 0)
            found++;
    }
    GENERAL_NAMES_free(names);
    return found == 1 ? 0 : -EINVAL;
}

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) ? (int64_t)timegm(&tm) : 0;
}

static const char *openssl_why(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    return text ? text : "unknown reason";
}

static char *file_why(const char *what, const char *file)
{
    FILE *f = fopen(file, "r");
    if (!f)
        return em_asprintf("%s: %s cannot be read: %s", file, what, strerror(errno));
    fclose(f);
    return em_asprintf("%s: not a %s in PEM form (%s)", file, what, openssl_why());
}

/* A daemon has nobody to ask for a passphrase. */
static int refuse_passphrase(char *buf, int size, int is_writing, void *aux)
{
    return -1;
}

static int load_files(struct em_tls *tls, const char *ca, const char *cert, const char *key,
                      char **ret_why)
{
    if (!SSL_CTX_load_verify_file(tls->ctx, ca))
        *ret_why = file_why("CA certificate", ca);
    else if (!SSL_CTX_use_certificate_chain_file(tls->ctx, cert))
        *ret_why = file_why("certificate", cert);
    else if (!SSL_CTX_use_PrivateKey_file(tls->ctx, key, SSL_FILETYPE_PEM))
        *ret_why = ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH
                       ? em_asprintf("%s: this key does not belong to %s", key, cert)
                       : file_why("private key", key);
    else
        return 0;
    return -EINVAL;
}

/* What a peer would object to is said at start instead. */
static int check_own(struct em_tls *tls, const char *ca, const char *cert_file, char **ret_why)
{
    X509 *cert = SSL_CTX_get0_certificate(tls->ctx);
    X509_STORE_CTX *verify = X509_STORE_CTX_new();
    int r = -EINVAL;
    if (identity_of(cert, &tls->identity)) {
        *ret_why = em_asprintf("%s: has no URI eidmap://server/ID, eidmap://node/ID or "
                               "eidmap://operator/NAME; make it with 'mapctl pki'",
                               cert_file);
        goto out;
    }
    STACK_OF(X509) *chain = NULL;
    SSL_CTX_get0_chain_certs(tls->ctx, &chain);
    if (!verify || !X509_STORE_CTX_init(verify, SSL_CTX_get_cert_store(tls->ctx), cert, chain)) {
        *ret_why = em_strdup("out of memory");
        goto out;
    }
    if (X509_verify_cert(verify) != 1) {
        *ret_why = em_asprintf("%s: not valid under %s: %s", cert_file, ca,
                               X509_verify_cert_error_string(X509_STORE_CTX_get_error(verify)));
        goto out;
    }
    tls->not_after = seconds_of(X509_get0_notAfter(cert));
    r = 0;
out:
    X509_STORE_CTX_free(verify);
    return r;
}

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                       const unsigned char *in, unsigned in_size, void *arg)
{
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_size, alpn, sizeof(alpn), in, in_size) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int keep_ticket(SSL *ssl, SSL_SESSION *ticket)
{
    struct em_tls_session *session = SSL_get_app_data(ssl);
    if (!session->resume)
        return 0;
    SSL_SESSION_free(session->resume->session);
    session->resume->session = ticket;
    em_tls_free(session->resume->tls);
    session->resume->tls = em_tls_ref(session->tls);
    return 1; /* the reference is ours */
}

static void set_options(SSL_CTX *ctx)
{
    static const unsigned char context_id[] = "eidmap";
    SSL_CTX_set_default_passwd_cb(ctx, refuse_passphrase);
    SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_verify_depth(ctx, VERIFY_DEPTH);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_read_ahead(ctx, 1); /* one read(2) a turn instead of two a record */
    SSL_CTX_set_session_id_context(ctx, context_id, sizeof(context_id));
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_timeout(ctx, RESUME_LIFETIME_S);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_sess_set_new_cb(ctx, keep_ticket);
    SSL_CTX_set_alpn_select_cb(ctx, select_alpn, NULL);
    SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn));
}

/* ---- tickets ------------------------------------------------------------------------------- */

/* Of the CA certificates, in the order of the file: whoever they were vouched for by them alone. */
static bool digest_cas(const struct em_tls *tls, uint8_t ret_sum[EM_DIGEST_SIZE])
{
    STACK_OF(X509) *cas = X509_STORE_get1_all_certs(SSL_CTX_get_cert_store(tls->ctx));
    struct em_digest *digest = em_digest_new();
    bool is_done = cas != NULL;
    for (int i = 0; i < sk_X509_num(cas) && is_done; i++) {
        uint8_t sum[EVP_MAX_MD_SIZE];
        unsigned size;
        is_done = X509_digest(sk_X509_value(cas, i), EVP_sha256(), sum, &size);
        if (is_done)
            em_digest_add(digest, sum, size);
    }
    em_digest_end(digest, ret_sum);
    em_digest_free(digest);
    sk_X509_pop_free(cas, X509_free);
    return is_done;
}

/* A server's tickets are sealed by a key that follows from its private key and its CAs: so
 * they are still good after a restart, when all clients come back at once, and they are not when
 * either is another.  Whoever has the private key could speak for the server anyway, and gains
 * nothing for sessions of the past, since a resumed one has a key exchange of its own
 * (RFC 8446 section 2.2).  Without it, a key that a provider keeps to itself say, OpenSSL's
 * random one stays. */
static void set_ticket_key(struct em_tls *tls)
{
    uint8_t seed[sizeof("eidmap tickets 0") + EM_DIGEST_SIZE] = "eidmap tickets 0";
    uint8_t keys[2 * EVP_MAX_MD_SIZE], *der = NULL;
    size_t size;
    int der_size = i2d_PrivateKey(SSL_CTX_get0_privatekey(tls->ctx), &der);
    bool is_done = der_size > 0 && digest_cas(tls, seed + sizeof("eidmap tickets 0"));
    for (int i = 0; i < 2 && is_done; i++) {
        seed[sizeof("eidmap tickets 0") - 2] = (uint8_t)('0' + i);
        is_done = EVP_Q_mac(NULL, "HMAC", NULL, "SHA512", NULL, der, (size_t)der_size, seed,
                            sizeof(seed), keys + i * EVP_MAX_MD_SIZE, EVP_MAX_MD_SIZE, &size);
    }
    long wanted = SSL_CTX_set_tlsext_ticket_keys(tls->ctx, NULL, 0);
    if (is_done && wanted <= (long)sizeof(keys))
        SSL_CTX_set_tlsext_ticket_keys(tls->ctx, keys, wanted);
    OPENSSL_cleanse(keys, sizeof(keys));
    OPENSSL_clear_free(der, der_size > 0 ? (size_t)der_size : 0);
}

int em_tls_new(const char *ca_file, const char *cert_file, const char *key_file,
               struct em_tls **ret_tls, char **ret_why)
{
    ERR_clear_error();
    struct em_tls *tls = em_calloc(1, sizeof(*tls));
    tls->refs = 1;
    tls->ctx = SSL_CTX_new(TLS_method());
    int r = -ENOMEM;
    if (!tls->ctx) {
        *ret_why = em_asprintf("OpenSSL: %s", openssl_why());
        goto out;
    }
    set_options(tls->ctx);
    r = load_files(tls, ca_file, cert_file, key_file, ret_why);
    if (r == 0)
        r = check_own(tls, ca_file, cert_file, ret_why);
    if (r == 0 && tls->identity.role == EM_ROLE_SERVER)
        set_ticket_key(tls);
out:
    ERR_clear_error();
    if (r)
        em_tls_free(tls);
    else
        *ret_tls = tls;
    return r;
}

struct em_tls *em_tls_ref(struct em_tls *tls)
{
    if (tls)
        atomic_fetch_add(&tls->refs, 1);
    return tls;
}

void em_tls_free(struct em_tls *tls)
{
    if (!tls || atomic_fetch_sub(&tls->refs, 1) != 1)
        return;
    SSL_CTX_free(tls->ctx);
    free(tls);
}

const struct em_identity *em_tls_identity(const struct em_tls *tls)
{
    return &tls->identity;
}

int64_t em_tls_not_after(const struct em_tls *tls)
{
    return tls->not_after;
}

struct em_tls_resume *em_tls_resume_new(void)
{
    return em_calloc(1, sizeof(struct em_tls_resume));
}

void em_tls_resume_free(struct em_tls_resume *resume)
{
    if (!resume)
        return;
    SSL_SESSION_free(resume->session);
    em_tls_free(resume->tls);
    free(resume);
}

static struct em_tls_session *session_new(struct em_tls *tls, int fd, struct em_tls_resume *resume)
{
    struct em_tls_session *session = em_calloc(1, sizeof(*session));
    session->ssl = SSL_new(tls->ctx);
    if (!session->ssl || !SSL_set_fd(session->ssl, fd)) {
        SSL_free(session->ssl);
        free(session);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_app_data(session->ssl, session);
    session->tls = em_tls_ref(tls);
    session->resume = resume;
    return session;
}

struct em_tls_session *em_tls_accept(struct em_tls *tls, int fd)
{
    struct em_tls_session *session = session_new(tls, fd, NULL);
    if (session)
        SSL_set_accept_state(session->ssl);
    return session;
}

struct em_tls_session *em_tls_connect(struct em_tls *tls, int fd, struct em_tls_resume *resume)
{
    struct em_tls_session *session = session_new(tls, fd, resume);
    if (!session)
        return NULL;
    SSL_set_connect_state(session->ssl);
    if (resume && resume->session && resume->tls == tls)
        SSL_set_session(session->ssl, resume->session);
    return session;
}

void em_tls_session_free(struct em_tls_session *session)
{
    if (!session)
        return;
    SSL_free(session->ssl);
    em_tls_free(session->tls);
    free(session);
}

static int fail(struct em_tls_session *session, int ssl_error)
{
    long verify = SSL_get_verify_result(session->ssl);
    if (ssl_error == SSL_ERROR_SYSCALL && errno)
        snprintf(session->why, sizeof(session->why), "%s", strerror(errno));
    else if (verify != X509_V_OK)
        snprintf(session->why, sizeof(session->why), "the peer's certificate is refused: %s",
                 X509_verify_cert_error_string(verify));
    else
        snprintf(session->why, sizeof(session->why), "%s",
                 ERR_peek_last_error() ? openssl_why() : "the peer closed the connection");
    ERR_clear_error();
    return EM_E_TLS;
}

static int result(struct em_tls_session *session, int n, int *ret_events)
{
    if (n > 0)
        return n;
    int error = SSL_get_error(session->ssl, n);
    switch (error) {
    case SSL_ERROR_WANT_READ:
        *ret_events = EV_READ;
        return -EAGAIN;
    case SSL_ERROR_WANT_WRITE:
        *ret_events = EV_WRITE;
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return EM_E_CLOSED;
    default: /* OpenSSL's own set of codes */
        return fail(session, error);
    }
}

int em_tls_handshake(struct em_tls_session *session, int *ret_events)
{
    ERR_clear_error();
    errno = 0;
    int r = result(session, SSL_do_handshake(session->ssl), ret_events);
    if (r <= 0)
        return r;
    const unsigned char *proto;
    unsigned size;
    SSL_get0_alpn_selected(session->ssl, &proto, &size);
    if (size == sizeof(alpn) - 1 && memcmp(proto, alpn + 1, size) == 0)
        return 0;
    snprintf(session->why, sizeof(session->why), "the peer does not speak eidmap/1");
    return EM_E_TLS;
}

ssize_t em_tls_read(struct em_tls_session *session, void *data, size_t size, int *ret_events)
{
    ERR_clear_error();
    errno = 0;
    return result(session, SSL_read(session->ssl, data, (int)size), ret_events);
}

ssize_t em_tls_write(struct em_tls_session *session, const void *data, size_t size, int *ret_events)
{
    ERR_clear_error();
    errno = 0;
    return result(session, SSL_write(session->ssl, data, (int)size), ret_events);
}

int em_tls_has_pending(const struct em_tls_session *session)
{
    return SSL_has_pending(session->ssl);
}

void em_tls_shutdown(struct em_tls_session *session)
{
    ERR_clear_error();
    if (SSL_is_init_finished(session->ssl))
        SSL_shutdown(session->ssl);
    ERR_clear_error();
}

/* A ticket outlives the moment of its handshake: the dates are looked at each time. */
static bool is_valid_now(const X509 *cert)
{
    return X509_cmp_current_time(X509_get0_notAfter(cert)) > 0 &&
           X509_cmp_current_time(X509_get0_notBefore(cert)) < 0;
}

int em_tls_peer(struct em_tls_session *session, struct em_identity *ret_identity)
{
    X509 *cert = SSL_get0_peer_certificate(session->ssl);
    if (!cert || SSL_get_verify_result(session->ssl) != X509_V_OK)
        snprintf(session->why, sizeof(session->why), "the peer's certificate is not verified");
    else if (!is_valid_now(cert))
        snprintf(session->why, sizeof(session->why), "the peer's certificate is not valid now");
    else if (identity_of(cert, ret_identity))
        snprintf(session->why, sizeof(session->why), "the peer's certificate has no eidmap URI");
    else
        return 0;
    return EM_E_DENIED;
}

int em_tls_was_resumed(const struct em_tls_session *session)
{
    return SSL_session_reused(session->ssl);
}

const char *em_tls_session_why(const struct em_tls_session *session)
{
    return session->why[0] ? session->why : "TLS failed";
}
