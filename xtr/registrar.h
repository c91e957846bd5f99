/* What this node has to tell the map about its ports, and in which order.
 *
 * With each session it announces all: begin, every port with the epoch that was held, end;
 * the server then withdraws what was not among them.  After that it registers what is
 * attached or changed and withdraws what is detached.  Children of ports are not registered: the
 * map has them where their parents are.  One request is under way at a time,
 * and holds all that waited.  No I/O: the agent asks for the next step and sends it. */
#ifndef XTR_REGISTRAR_H
#define XTR_REGISTRAR_H

#include "eidmap.h"
#include "ports.h"

#define XTR_BATCH 512 /* ports in one request */

enum xtr_step {
    XTR_STEP_NONE, /* nothing to do, or something is under way */
    XTR_STEP_BEGIN,
    XTR_STEP_REGISTER,
    XTR_STEP_WITHDRAW,
    XTR_STEP_END,
};

enum xtr_session { XTR_SESSION_DOWN, XTR_SESSION_BEGIN, XTR_SESSION_ANNOUNCE, XTR_SESSION_STEADY };

/* What a claim was made of. */
struct xtr_sent {
    struct em_port_id id;
    uint32_t version;
    uint32_t network_id;
    uint32_t segmentation_id;
};

struct xtr_registrar {
    enum xtr_session session;
    bool is_busy;         /* a request is under way */
    uint64_t retry_ms;    /* not before; 0: at once */
    uint64_t announce_ms; /* when the announce began */
    /* of the request under way */
    struct xtr_sent sent[XTR_BATCH];
    size_t n;
    /* that wait to be withdrawn */
    struct em_port_ref *gone;
    size_t n_gone, gone_size;
    size_t n_withdrawing;
};

void xtr_registrar_init(struct xtr_registrar *registrar);
void xtr_registrar_fini(struct xtr_registrar *registrar);

/* A session has begun: everything is told anew.  Or it has ended: the request under way
 * is forgotten, and so are withdrawals, for the next announce does without these ports. */
void xtr_registrar_up(struct xtr_registrar *registrar, struct xtr_ports *ports);
void xtr_registrar_down(struct xtr_registrar *registrar);

/* The port is gone, but was in the map. */
void xtr_registrar_withdraw(struct xtr_registrar *registrar, const struct em_port_id *id,
                            uint64_t epoch);

/* Does the map have it here no more?  False while that is not known. */
bool xtr_registrar_is_withdrawn(const struct xtr_registrar *registrar, const struct em_port_id *id);

/* The next step.  After REGISTER and WITHDRAW the request is in the arguments: claims, whose
 * pointers are lent until a port changes, or refs; *ret_n of them.  The caller sends it and
 * reports the answer.  'knows_map': network 0 has been shown to its end; before that a
 * network's number may be one of an older map, so nothing is registered. */
enum xtr_step xtr_registrar_next(struct xtr_registrar *registrar, struct xtr_ports *ports,
                                 bool knows_map, uint64_t now_ms,
                                 struct em_claim ret_claims[XTR_BATCH],
                                 struct em_location ret_locations[XTR_BATCH],
                                 const struct em_port_ref **ret_refs, size_t *ret_n);

/* The answers. */
void xtr_registrar_registered(struct xtr_registrar *registrar, struct xtr_ports *ports,
                              const struct em_reply *reply, uint64_t now_ms);
void xtr_registrar_withdrawn(struct xtr_registrar *registrar, int err, uint64_t now_ms);
void xtr_registrar_ended(struct xtr_registrar *registrar, int err, uint64_t now_ms);

#endif
