/* A certificate authority for the time of a test, and ports on loopback that are free. */
#ifndef TEST_AUTHORITY_H
#define TEST_AUTHORITY_H

#include "net/pki.h"

struct authority {
    char dir[64];
};

void authority_open(struct authority *authority);
void authority_close(struct authority *authority);

/* Paths of the three files of a member; to be freed by authority_files_free(). */
struct authority_files {
    char *ca, *cert, *key;
};
struct authority_files authority_issue(struct authority *authority, enum em_role role,
                                       const char *name);
void authority_files_free(struct authority_files *files);

/* A context; to be freed. */
struct em_tls *authority_tls(struct authority *authority, enum em_role role, const char *name);

/* "tls://ADDRESS:PORT" into 'text', on an address of the loopback network that is this process's
 * own, so that tests which run at the same time never choose alike.  Nobody listens there now. */
void authority_address(char *text, size_t size);

#endif
