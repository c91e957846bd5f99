/* Entries of the log, and the bytes that the log, the peers and the applier share. */
#ifndef MS_ENTRY_H
#define MS_ENTRY_H

#include <raft.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Immutable once made; counted, so that nobody copies it.  Any thread. */
struct ms_payload {
    atomic_uint refs;
    size_t size;
    uint8_t data[];
};

/* One reference for the caller.  'data' NULL: to be filled in by the caller at once. */
struct ms_payload *ms_payload_new(const void *data, size_t size);
struct ms_payload *ms_payload_ref(struct ms_payload *payload);
void ms_payload_unref(struct ms_payload *payload); /* NULL is fine */

/* The payload whose data libraft was given as a buffer. */
static inline struct ms_payload *ms_payload_of(const struct raft_buffer *buf)
{
    return (struct ms_payload *)((char *)buf->base - offsetof(struct ms_payload, data));
}

struct ms_entry {
    uint64_t term;
    enum raft_entry_type type;  /* RAFT_COMMAND: a Batch; RAFT_CHANGE: the members */
    struct ms_payload *payload; /* NULL: on the disk only */
    uint32_t size;              /* of the payload, where it is NULL */
};

/* A point of the log that the state holds already, with the members as of then. */
struct ms_mark {
    uint64_t index, term;
    uint64_t members_index; /* of the entry that made them */
    const void *members;    /* as raft_configuration_encode() writes them */
    size_t members_size;
};

/* What one durable write of the log does, in this order. */
struct ms_log_write {
    bool has_vote;
    uint64_t term, voted_for;
    uint64_t truncate; /* entries from here on go; 0: none */
    uint64_t first;    /* index of entries[0] */
    const struct ms_entry *entries;
    size_t n_entries;
    const struct ms_mark *mark; /* the new one, or NULL */
    uint64_t forget;            /* entries up to here go; UINT64_MAX: all.  0: none */
    bool has_generation;
    uint64_t generation; /* which state belongs to the log from now on */
};

#endif
