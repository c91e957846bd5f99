#include "udp_load.h"

#include "base/mem.h"
#include "bench.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define SLOT_BITS  8 /* of a nonce, below the count of what was sent */
#define BATCH      64
#define WARM_UP    0.1
#define AGAIN_NS   500000000u
#define LOOK_US    100000 /* for answers, before it looks what is missing */
#define GIVE_UP_NS 30000000000u

_Static_assert(UDP_LOAD_FLIGHT_MAX == 1 << SLOT_BITS, "a slot is the low bits of a nonce");

struct slot {
    uint64_t nonce, asked_ns, sent_ns; /* for the first time, and for the last */
    uint32_t question;
    bool is_open;
};

struct load {
    const struct udp_load_config *config;
    struct udp_load_result *result;
    struct slot slots[UDP_LOAD_FLIGHT_MAX];
    uint64_t n_sent;
    uint32_t next, n_left; /* questions */
    unsigned n_open;
    uint64_t start_ns, measure_ns, end_ns, answer_ns;
    struct mmsghdr out[BATCH], in[BATCH];
    struct iovec out_at[BATCH], in_at[BATCH];
    uint8_t out_bytes[BATCH][UDP_LOAD_SIZE_MAX], in_bytes[BATCH][UDP_LOAD_SIZE_MAX];
    unsigned n_out;
};

static void flush(struct load *load)
{
    unsigned done = 0;
    while (done < load->n_out) {
        int n = sendmmsg(load->config->fd, load->out + done, load->n_out - done, 0);
        if (n < 0 && errno != EINTR && errno != ENOBUFS && errno != ECONNREFUSED)
            real_fail("%s: %s", load->config->name, strerror(errno));
        if (n > 0)
            done += (unsigned)n;
    }
    load->n_out = 0;
}

static void send_slot(struct load *load, unsigned number)
{
    struct slot *slot = &load->slots[number];
    if (load->n_out == BATCH)
        flush(load);
    unsigned i = load->n_out++;
    slot->nonce = ++load->n_sent << SLOT_BITS | number;
    slot->sent_ns = bench_now_ns();
    load->out_at[i].iov_len =
        load->config->put(load->config->aux, slot->nonce, slot->question, load->out_bytes[i]);
}

static void ask(struct load *load, unsigned number)
{
    struct slot *slot = &load->slots[number];
    const struct udp_load_config *config = load->config;
    slot->is_open = config->seconds > 0 || load->n_left > 0;
    if (!slot->is_open)
        return;
    load->n_open++;
    load->n_left -= load->n_left > 0;
    slot->question = load->next;
    load->next = (uint32_t)(((uint64_t)load->next + config->stride) % config->n);
    send_slot(load, number);
    slot->asked_ns = slot->sent_ns;
}

static void take(struct load *load, const uint8_t *data, size_t size, uint64_t now)
{
    const struct udp_load_config *config = load->config;
    uint64_t nonce;
    if (!config->nonce_of(data, size, &nonce))
        real_fail("%s sends what was not asked for", config->name);
    struct slot *slot = &load->slots[nonce & (UDP_LOAD_FLIGHT_MAX - 1)];
    if (!slot->is_open || slot->nonce != nonce)
        return; /* the answer to what was asked again came late */
    if (config->is_right && !config->is_right(config->aux, slot->question, data, size))
        real_fail("%s: a wrong answer to question %u", config->name, slot->question);
    slot->is_open = false;
    load->n_open--;
    load->answer_ns = now;
    if (now >= load->measure_ns) {
        uint64_t took = now - slot->asked_ns;
        hist_add(&load->result->hist, took);
        if (took > load->result->longest_ns)
            load->result->longest_ns = took;
    }
    if (now < load->end_ns)
        ask(load, (unsigned)(slot - load->slots));
}

static void ask_again(struct load *load, uint64_t now)
{
    if (now - load->answer_ns > GIVE_UP_NS)
        real_fail("%s: no answer in 30 s", load->config->name);
    for (unsigned i = 0; i < load->config->n_flight; i++) {
        if (!load->slots[i].is_open || now - load->slots[i].sent_ns < AGAIN_NS)
            continue;
        load->result->n_again++;
        send_slot(load, i);
    }
}

static void turn(struct load *load)
{
    int n = recvmmsg(load->config->fd, load->in, BATCH, MSG_WAITFORONE, NULL);
    uint64_t now = bench_now_ns();
    if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNREFUSED)
        real_fail("%s: %s", load->config->name, strerror(errno));
    for (int i = 0; i < n; i++)
        take(load, load->in_bytes[i], load->in[i].msg_len, now);
    if (n < 0)
        ask_again(load, now);
    flush(load);
}

static void begin(struct load *load)
{
    const struct timeval look = {.tv_usec = LOOK_US};
    for (unsigned i = 0; i < BATCH; i++) {
        load->out_at[i].iov_base = load->out_bytes[i];
        load->in_at[i] = (struct iovec){load->in_bytes[i], UDP_LOAD_SIZE_MAX};
        load->out[i].msg_hdr = (struct msghdr){.msg_iov = &load->out_at[i], .msg_iovlen = 1};
        load->in[i].msg_hdr = (struct msghdr){.msg_iov = &load->in_at[i], .msg_iovlen = 1};
    }
    setsockopt(load->config->fd, SOL_SOCKET, SO_RCVTIMEO, &look, sizeof(look));
    load->start_ns = load->answer_ns = bench_now_ns();
    double seconds = load->config->seconds;
    load->measure_ns = load->start_ns + (uint64_t)(seconds * WARM_UP * 1e9);
    load->end_ns = seconds > 0 ? load->measure_ns + (uint64_t)(seconds * 1e9) : UINT64_MAX;
    load->n_left = load->config->n;
    for (unsigned i = 0; i < load->config->n_flight; i++)
        ask(load, i);
    flush(load);
}

void udp_load_run(const struct udp_load_config *config, struct udp_load_result *ret_result)
{
    struct load *load = em_calloc(1, sizeof(*load));
    assert(config->n_flight <= UDP_LOAD_FLIGHT_MAX && config->n > 0);
    memset(ret_result, 0, sizeof(*ret_result));
    load->config = config;
    load->result = ret_result;
    begin(load);
    while (load->n_open)
        turn(load);
    ret_result->seconds = (double)(load->answer_ns - load->measure_ns) / 1e9;
    ret_result->rate = (double)ret_result->hist.n / ret_result->seconds;
    free(load);
}
