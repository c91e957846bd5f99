/* A certificate authority in a directory: what a first cluster needs to talk TLS.
 *
 * DIR/ca.crt and DIR/ca.key, and for each member DIR/ROLE-NAME.crt and .key, all PEM;
 * keys have mode 0600.  EC P-256 throughout.  The role stands in the certificate as
 * net/tls.h reads it: the URI SAN eidmap://ROLE/NAME.  The calls block, none logs. */
#ifndef EM_PKI_H
#define EM_PKI_H

#include "net/tls.h"

#include <stdbool.h>

#define EM_PKI_CA_DAYS  3650
#define EM_PKI_DAYS     365
#define EM_PKI_MAX_DAYS 36500

/* What one certificate is for. */
struct em_pki_request {
    enum em_role role;
    const char *name; /* as em_ident_check() wants it */
    unsigned days;    /* 1 .. EM_PKI_MAX_DAYS; it ends with the CA if that is sooner */
};

/* Makes the authority; the directory is made too (not its parents).  What exists is left
 * alone (-EEXIST) without 'force'.  0, or an error with a sentence in *ret_why (free() it). */
int em_pki_init(const char *dir, bool force, char **ret_why);

/* Makes a key and a certificate that the authority in 'dir' has signed.  Errors as above;
 * nothing is left behind by a failure. */
int em_pki_issue(const char *dir, const struct em_pki_request *request, bool force, char **ret_why);

/* DIR/ROLE-NAME.SUFFIX; free() it. */
char *em_pki_path(const char *dir, enum em_role role, const char *name, const char *suffix);

#endif
