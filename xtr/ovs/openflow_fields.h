/* What openflow.c and openflow_seen.c both know of the wire; for these two. */
#ifndef OVS_OPENFLOW_FIELDS_H
#define OVS_OPENFLOW_FIELDS_H

#include "openflow.h"

/* Action and instruction types: OpenFlow 1.4, sections 7.2.4 and 7.2.5. */
enum {
    OFPAT_OUTPUT = 0,
    OFPAT_PUSH_VLAN = 17,
    OFPAT_POP_VLAN = 18,
    OFPAT_GROUP = 22,
    OFPAT_SET_FIELD = 25,
    OFPAT_EXPERIMENTER = 0xffff,
    OFPIT_GOTO_TABLE = 1,
    OFPIT_APPLY_ACTIONS = 4,
    OFPMT_OXM = 1,
};

/* The 32 bits before a field's value, without the bit that says that a mask follows. */
extern const uint32_t of_oxm_headers[OF_N_FIELDS];
#define OF_OXM_SIZE(header) ((header)&0xff)
#define OF_OXM_MASKED       0x100u

static inline uint16_t of_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t of_get32(const uint8_t *p)
{
    return (uint32_t)of_get16(p) << 16 | of_get16(p + 2);
}

static inline uint64_t of_get64(const uint8_t *p)
{
    return (uint64_t)of_get32(p) << 32 | of_get32(p + 4);
}

static inline size_t of_pad8(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

#endif
