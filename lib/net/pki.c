/* A young cluster should not need a PKI product: an operator makes a CA once and a certificate
 * for each member, on a machine of theirs, with files that can be copied.  Whoever has a PKI
 * already uses it instead; the only contract is the URI SAN and the key usages.
 *
 * Files appear whole or not at all: each is written beside its place, synced, and renamed,
 * the key first.  Serials are random (RFC 5280 wants them unique, and there is no database
 * here that could count).  There is no revocation list: a node is shut out by disabling it in
 * the map, an operator or a server by a new CA. */
#include "net/pki.h"

#include "base/mem.h"
#include "eidmap/addr.h"
#include "eidmap/error.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

/* Clocks of a young cluster disagree; a certificate is good a little before it was made. */
#define BACKDATE_S  (-300)
#define DAY_S       86400L
#define SERIAL_SIZE 16 /* RFC 5280 section 4.1.2.2: at most 20 bytes, unpredictable */

struct pair {
    EVP_PKEY *key;
    X509 *cert;
};

static void pair_fini(struct pair *pair)
{
    EVP_PKEY_free(pair->key);
    X509_free(pair->cert);
}

static int openssl_failed(const char *what, char **ret_why)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    *ret_why = em_asprintf("%s: %s", what, reason ? reason : "OpenSSL gives no reason");
    ERR_clear_error();
    return EM_E_TLS;
}

static int file_failed(const char *verb, const char *path, int err, char **ret_why)
{
    *ret_why = em_asprintf("cannot %s %s: %s", verb, path, em_strerror(err));
    return err;
}

static bool set_serial(X509 *cert)
{
    uint8_t bytes[SERIAL_SIZE];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool is_set = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    BN_free(number);
    return is_set;
}

static bool add_name(X509_NAME *subject, const char *field, const char *value)
{
    return X509_NAME_add_entry_by_txt(subject, field, MBSTRING_ASC, (const uint8_t *)value, -1, -1,
                                      0);
}

static bool add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool is_added = extension && X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    return is_added;
}

/* What a CA and a member have in common: a key, a serial, a subject, a lifetime. */
static bool pair_begin(struct pair *pair, const char *unit, const char *name, unsigned days)
{
    pair->key = EVP_EC_gen("P-256");
    pair->cert = X509_new();
    if (!pair->key || !pair->cert)
        return false;
    X509_NAME *subject = X509_get_subject_name(pair->cert);
    return X509_set_version(pair->cert, X509_VERSION_3) && set_serial(pair->cert) &&
           add_name(subject, "O", "eidmap") && add_name(subject, "OU", unit) &&
           add_name(subject, "CN", name) && X509_set_pubkey(pair->cert, pair->key) &&
           X509_gmtime_adj(X509_getm_notBefore(pair->cert), BACKDATE_S) &&
           X509_gmtime_adj(X509_getm_notAfter(pair->cert), (long)days * DAY_S);
}

static bool ca_make(struct pair *ca)
{
    if (!pair_begin(ca, "authority", "eidmap CA", EM_PKI_CA_DAYS))
        return false;
    X509 *cert = ca->cert;
    return X509_set_issuer_name(cert, X509_get_subject_name(cert)) &&
           add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           add_extension(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           add_extension(cert, cert, NID_subject_key_identifier, "hash") &&
           X509_sign(cert, ca->key, EVP_sha256());
}

/* A server also dials its peers, so it is a client too. */
static bool member_make(struct pair *member, const struct pair *ca,
                        const struct em_pki_request *request)
{
    const char *role = em_role_name(request->role);
    const char *usage = request->role == EM_ROLE_SERVER ? "serverAuth,clientAuth" : "clientAuth";
    if (!pair_begin(member, role, request->name, request->days))
        return false;
    X509 *cert = member->cert;
    const ASN1_TIME *ca_end = X509_get0_notAfter(ca->cert);
    if (ASN1_TIME_compare(X509_get0_notAfter(cert), ca_end) > 0 &&
        !X509_set1_notAfter(cert, ca_end))
        return false;
    char uri[sizeof("URI:eidmap://operator/") + EM_IDENTITY_NAME];
    snprintf(uri, sizeof(uri), "URI:eidmap://%s/%s", role, request->name);
    return X509_set_issuer_name(cert, X509_get_subject_name(ca->cert)) &&
           add_extension(cert, ca->cert, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(cert, ca->cert, NID_key_usage, "critical,digitalSignature") &&
           add_extension(cert, ca->cert, NID_ext_key_usage, usage) &&
           add_extension(cert, ca->cert, NID_subject_alt_name, uri) &&
           add_extension(cert, ca->cert, NID_subject_key_identifier, "hash") &&
           add_extension(cert, ca->cert, NID_authority_key_identifier, "keyid:always") &&
           X509_sign(cert, ca->key, EVP_sha256());
}

static int ca_open(const char *path, FILE **ret_file, char **ret_why)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        int err = -errno;
        /* One that is there must not be made again. */
        const char *hint = err == -ENOENT ? "; \"mapctl pki init\" makes it" : "";
        *ret_why = em_asprintf("cannot read %s: %s%s", path, em_strerror(err), hint);
        return err;
    }
    *ret_file = file;
    return 0;
}

static int ca_load_key(const char *path, EVP_PKEY **ret_key, char **ret_why)
{
    FILE *file = NULL;
    int r = ca_open(path, &file, ret_why);
    if (r)
        return r;
    *ret_key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
    fclose(file);
    return *ret_key ? 0 : openssl_failed(path, ret_why);
}

static int ca_load_cert(const char *path, X509 **ret_cert, char **ret_why)
{
    FILE *file = NULL;
    int r = ca_open(path, &file, ret_why);
    if (r)
        return r;
    *ret_cert = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    return *ret_cert ? 0 : openssl_failed(path, ret_why);
}

static int ca_load(const char *dir, struct pair *ca, char **ret_why)
{
    char *cert_path = em_asprintf("%s/ca.crt", dir);
    char *key_path = em_asprintf("%s/ca.key", dir);
    int r = ca_load_cert(cert_path, &ca->cert, ret_why);
    if (!r)
        r = ca_load_key(key_path, &ca->key, ret_why);
    if (!r && X509_check_private_key(ca->cert, ca->key) != 1) {
        ERR_clear_error();
        *ret_why = em_asprintf("%s does not belong to %s", key_path, cert_path);
        r = -EINVAL;
    }
    if (!r && X509_cmp_current_time(X509_get0_notAfter(ca->cert)) < 0) {
        *ret_why = em_asprintf("%s has expired; make a new one with \"mapctl pki init --force\"",
                               cert_path);
        r = -EINVAL;
    }
    free(cert_path);
    free(key_path);
    return r;
}

static bool write_pem(FILE *file, EVP_PKEY *key, X509 *cert)
{
    bool is_written = key ? PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL)
                          : PEM_write_X509(file, cert);
    return is_written && fflush(file) == 0 && fsync(fileno(file)) == 0;
}

/* Writes a key (mode 0600) or a certificate (0644) beside 'path'; *ret_temp is its name
 * until save_pair() puts it in place. */
static int save_temp(const char *path, EVP_PKEY *key, X509 *cert, char **ret_temp, char **ret_why)
{
    char *temp = em_asprintf("%s.XXXXXX", path);
    int fd = mkostemp(temp, O_CLOEXEC);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!file) {
        free(temp);
        return file_failed("write", path, -errno, ret_why);
    }
    int r = 0;
    if (!write_pem(file, key, cert) || fchmod(fd, key ? 0600 : 0644))
        r = file_failed("write", path, errno ? -errno : -EIO, ret_why);
    fclose(file);
    if (r) {
        unlink(temp);
        free(temp);
        return r;
    }
    *ret_temp = temp;
    return 0;
}

static int put_in_place(char **temp, const char *path, char **ret_why)
{
    if (rename(*temp, path))
        return file_failed("write", path, -errno, ret_why);
    free(*temp);
    *temp = NULL;
    return 0;
}

static void temp_fini(char *temp)
{
    if (temp)
        unlink(temp);
    free(temp);
}

static int save_pair(const struct pair *pair, const char *key_path, const char *cert_path,
                     char **ret_why)
{
    char *key_temp = NULL;
    char *cert_temp = NULL;
    int r = save_temp(key_path, pair->key, NULL, &key_temp, ret_why);
    if (!r)
        r = save_temp(cert_path, NULL, pair->cert, &cert_temp, ret_why);
    if (!r)
        r = put_in_place(&key_temp, key_path, ret_why);
    if (!r)
        r = put_in_place(&cert_temp, cert_path, ret_why);
    temp_fini(key_temp);
    temp_fini(cert_temp);
    return r;
}

static int refuse_existing(const char *key_path, const char *cert_path, const char *loss,
                           char **ret_why)
{
    const char *path = access(key_path, F_OK) == 0 ? key_path : cert_path;
    if (access(path, F_OK))
        return 0;
    *ret_why = em_asprintf("%s exists; --force replaces it%s", path, loss);
    return -EEXIST;
}

int em_pki_init(const char *dir, bool force, char **ret_why)
{
    if (mkdir(dir, 0755) && errno != EEXIST)
        return file_failed("make", dir, -errno, ret_why);
    struct pair ca = {0};
    char *key_path = em_asprintf("%s/ca.key", dir);
    char *cert_path = em_asprintf("%s/ca.crt", dir);
    int r = force ? 0
                  : refuse_existing(key_path, cert_path,
                                    ", and every certificate that it signed is worthless then",
                                    ret_why);
    if (!r && !ca_make(&ca))
        r = openssl_failed("cannot make the CA", ret_why);
    if (!r)
        r = save_pair(&ca, key_path, cert_path, ret_why);
    pair_fini(&ca);
    free(key_path);
    free(cert_path);
    return r;
}

static int check_request(const struct em_pki_request *request, char **ret_why)
{
    char why[EM_ADDR_WHY];
    assert(request->role != EM_ROLE_NONE);
    if (em_ident_check(request->name, why)) {
        *ret_why = em_strdup(why);
        return -EINVAL;
    }
    if (request->days < 1 || request->days > EM_PKI_MAX_DAYS) {
        *ret_why =
            em_asprintf("a certificate lives 1 .. %d days, not %u", EM_PKI_MAX_DAYS, request->days);
        return -EINVAL;
    }
    return 0;
}

int em_pki_issue(const char *dir, const struct em_pki_request *request, bool force, char **ret_why)
{
    int r = check_request(request, ret_why);
    if (r)
        return r;
    struct pair ca = {0};
    struct pair member = {0};
    char *key_path = em_pki_path(dir, request->role, request->name, "key");
    char *cert_path = em_pki_path(dir, request->role, request->name, "crt");
    if (!force)
        r = refuse_existing(key_path, cert_path, "", ret_why);
    if (!r)
        r = ca_load(dir, &ca, ret_why);
    if (!r && !member_make(&member, &ca, request))
        r = openssl_failed("cannot make the certificate", ret_why);
    if (!r)
        r = save_pair(&member, key_path, cert_path, ret_why);
    pair_fini(&ca);
    pair_fini(&member);
    free(key_path);
    free(cert_path);
    return r;
}

char *em_pki_path(const char *dir, enum em_role role, const char *name, const char *suffix)
{
    return em_asprintf("%s/%s-%s.%s", dir, em_role_name(role), name, suffix);
}
