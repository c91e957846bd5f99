/* Questions by UDP, a number of them under way; what is not answered is asked again.
 *
 * One thread, one connected socket, many datagrams a system call. */
#ifndef UDP_LOAD_H
#define UDP_LOAD_H

#include "hist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UDP_LOAD_FLIGHT_MAX 256
#define UDP_LOAD_SIZE_MAX   1500

struct udp_load_config {
    const char *name; /* of who is asked, for a sentence about its failure */
    int fd;           /* connected */
    unsigned n_flight;
    uint32_t n;      /* questions, from 0 on; with 'seconds' all over again and again */
    uint32_t stride; /* from one question to the next, modulo n; 1: in order */
    double seconds;  /* measured, after a tenth of it to warm up; 0: each question once */
    /* Writes the question, its size. */
    size_t (*put)(void *aux, uint64_t nonce, uint32_t question, uint8_t *out);
    /* The nonce of an answer, or that nobody asked for this. */
    bool (*nonce_of)(const uint8_t *data, size_t size, uint64_t *ret_nonce);
    /* Is it the right answer?  A wrong one is the program's end; NULL: any is right. */
    bool (*is_right)(void *aux, uint32_t question, const uint8_t *data, size_t size);
    void *aux;
};

struct udp_load_result {
    double rate, seconds;
    uint64_t n_again; /* asked again after half a second */
    uint64_t longest_ns;
    struct hist hist;
};

/* Ends the program with a sentence when there is no answer for 30 s, or a wrong one. */
void udp_load_run(const struct udp_load_config *config, struct udp_load_result *ret_result);

#endif
