/* As much of LISP's control plane (RFC 9301) as an xTR speaks with a map server: messages for
 * one IPv4 network whose endpoints are numbered. */
#ifndef LISP_H
#define LISP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LISP_UDP_PORT    4342
#define LISP_SIZE_MAX    1500
#define LISP_RECORDS_MAX 40 /* of a Map-Register, so that it fits into a packet */

/* A Map-Request for the endpoint 'number', encapsulated to the map resolver as 5.8 wants it.
 * The Map-Reply goes to 'itr', an address and a port in network byte order. */
size_t lisp_put_request(uint8_t out[LISP_SIZE_MAX], uint64_t nonce, uint32_t number,
                        uint32_t itr_be, uint16_t port_be);

/* A Map-Register of 'n' endpoints from 'first' on, all at one locator; a Map-Notify is wanted,
 * and the map server shall reply for them. */
size_t lisp_put_register(uint8_t out[LISP_SIZE_MAX], uint64_t nonce, uint32_t first, unsigned n,
                         const char *key);

/* The nonce of a Map-Notify, or of a Map-Reply; false: it is something else. */
bool lisp_is_notify(const uint8_t *data, size_t size, uint64_t *ret_nonce);
bool lisp_is_reply(const uint8_t *data, size_t size, uint64_t *ret_nonce);

/* The same of a Map-Request as lisp_put_request() encapsulates it: an echo sends it back. */
bool lisp_is_request(const uint8_t *data, size_t size, uint64_t *ret_nonce);

/* Does the Map-Reply say that endpoint 'number' is at the locator of lisp_put_register()? */
bool lisp_is_positive(const uint8_t *data, size_t size, uint32_t number);

/* The prefix in which all numbered endpoints are. */
extern const char lisp_prefix[];

#endif
