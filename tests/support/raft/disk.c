#include "raft/disk.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t disk_hash(uint64_t seed, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint64_t hash = seed ^ 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 1099511628211u;
    return hash ^ hash >> 29;
}

/* ---- states ------------------------------------------------------------------------------ */

void disk_state_set(struct disk_state *state, const struct disk_state *from)
{
    struct ms_payload *old = state->members;
    *state = *from;
    if (state->members)
        ms_payload_ref(state->members);
    ms_payload_unref(old);
}

void disk_state_fini(struct disk_state *state)
{
    ms_payload_unref(state->members);
    *state = (struct disk_state){0};
}

void disk_state_apply(struct disk_state *state, uint64_t index, const struct ms_entry *entry)
{
    const uint64_t head[] = {index, entry->term, entry->type};
    state->index = index;
    state->term = entry->term;
    state->hash = disk_hash(state->hash, head, sizeof(head));
    state->hash = disk_hash(state->hash, entry->payload->data, entry->payload->size);
    if (entry->type != RAFT_CHANGE)
        return;
    ms_payload_unref(state->members);
    state->members = ms_payload_ref(entry->payload);
    state->members_index = index;
}

void disk_state_receive(struct disk *disk, uint64_t generation, const struct disk_state *state)
{
    disk->incoming_generation = generation;
    disk_state_set(&disk->incoming, state);
}

struct ms_mark disk_mark(const struct disk_state *state)
{
    return (struct ms_mark){state->index, state->term, state->members_index, state->members->data,
                            state->members->size};
}

/* ---- the log ----------------------------------------------------------------------------- */

void disk_init(struct disk *disk)
{
    *disk = (struct disk){.first = 1};
}

void disk_fini(struct disk *disk)
{
    for (size_t i = 0; i < disk->n; i++)
        ms_payload_unref(disk->entries[i].payload);
    free(disk->entries);
    disk_state_fini(&disk->mark);
    disk_state_fini(&disk->state);
    disk_state_fini(&disk->incoming);
}

void disk_found(struct disk *disk, const uint64_t *voters, unsigned n)
{
    struct raft_configuration members;
    struct raft_buffer buf;
    char address[24];
    raft_configuration_init(&members);
    for (unsigned i = 0; i < n; i++) {
        snprintf(address, sizeof(address), "s%llu", (unsigned long long)voters[i]);
        if (raft_configuration_add(&members, voters[i], address, RAFT_VOTER))
            abort();
    }
    if (raft_configuration_encode(&members, &buf))
        abort();
    raft_configuration_close(&members);
    disk->term = 1;
    disk->has_mark = true;
    disk->first = 2;
    disk->mark = (struct disk_state){.index = 1, .term = 1, .members_index = 1};
    disk->mark.members = ms_payload_new(buf.base, buf.len);
    raft_free(buf.base);
    disk_state_set(&disk->state, &disk->mark);
}

uint64_t disk_last(const struct disk *disk)
{
    return disk->first + disk->n - 1;
}

const struct ms_entry *disk_at(const struct disk *disk, uint64_t index)
{
    return index < disk->first || index > disk_last(disk) ? NULL
                                                          : &disk->entries[index - disk->first];
}

uint64_t disk_term_at(const struct disk *disk, uint64_t index)
{
    const struct ms_entry *entry = disk_at(disk, index);
    if (entry)
        return entry->term;
    return disk->has_mark && disk->mark.index == index ? disk->mark.term : 0;
}

static const char *check_write(const struct disk *disk, const struct ms_log_write *write)
{
    uint64_t next = disk_last(disk) + 1;
    if (write->truncate && write->truncate < disk->first)
        return "it truncates what is not there";
    if (write->truncate && write->truncate < next)
        next = write->truncate;
    if (write->n_entries && write->first != next)
        return "its entries are not behind the last one";
    for (size_t i = 0; i < write->n_entries; i++)
        if (!write->entries[i].payload)
            return "an entry has no payload";
    if (write->has_vote && write->term < disk->term)
        return "its term is an older one";
    if (write->has_vote && write->term == disk->term && disk->voted_for &&
        write->voted_for != disk->voted_for)
        return "it changes the vote of a term";
    if (write->has_generation && write->generation != disk->incoming_generation)
        return "there is no such state";
    if (write->forget &&
        (!write->mark || (write->forget != UINT64_MAX && write->forget > write->mark->index)))
        return "it forgets what no state holds";
    return NULL;
}

static void drop_from(struct disk *disk, uint64_t index)
{
    while (disk->n > 0 && disk_last(disk) >= index)
        ms_payload_unref(disk->entries[--disk->n].payload);
}

static void forget(struct disk *disk, uint64_t upto)
{
    size_t n = 0;
    while (n < disk->n && disk->first + n <= upto)
        ms_payload_unref(disk->entries[n++].payload);
    if (n == 0)
        return;
    memmove(disk->entries, disk->entries + n, (disk->n - n) * sizeof(*disk->entries));
    disk->n -= n;
    disk->first += n;
}

static void append(struct disk *disk, const struct ms_entry *entry)
{
    if (disk->n == disk->room) {
        disk->room = disk->room ? disk->room * 2 : 64;
        disk->entries = em_realloc(disk->entries, disk->room * sizeof(*disk->entries));
    }
    disk->entries[disk->n] = *entry;
    ms_payload_ref(entry->payload);
    disk->n++;
}

static void set_mark(struct disk *disk, const struct ms_mark *mark)
{
    disk_state_fini(&disk->mark);
    disk->has_mark = true;
    disk->mark = (struct disk_state){mark->index, mark->term, 0, mark->members_index,
                                     ms_payload_new(mark->members, mark->members_size)};
}

const char *disk_write(struct disk *disk, const struct ms_log_write *write)
{
    const char *why = check_write(disk, write);
    if (why)
        return why;
    if (write->has_vote) {
        disk->term = write->term;
        disk->voted_for = write->voted_for;
    }
    if (write->truncate)
        drop_from(disk, write->truncate);
    for (size_t i = 0; i < write->n_entries; i++)
        append(disk, &write->entries[i]);
    if (write->mark)
        set_mark(disk, write->mark);
    if (write->forget == UINT64_MAX) {
        drop_from(disk, 0);
        disk->first = write->mark->index + 1;
    } else if (write->forget) {
        forget(disk, write->forget);
    }
    if (write->has_generation) {
        disk->generation = write->generation;
        disk_state_set(&disk->state, &disk->incoming);
    }
    return NULL;
}

int disk_start(const struct disk *disk, const struct ms_engine_config *config, uint64_t now_ms,
               bool with_payloads, struct ms_engine **ret_engine)
{
    struct ms_mark mark;
    struct ms_engine_start start = {.term = disk->term,
                                    .voted_for = disk->voted_for,
                                    .first = disk->first,
                                    .n_entries = disk->n};
    if (disk->has_mark) {
        mark = disk_mark(&disk->mark);
        start.mark = &mark;
    }
    start.entries = em_calloc(disk->n + 1, sizeof(*start.entries));
    for (size_t i = 0; i < disk->n; i++) {
        start.entries[i] = disk->entries[i];
        start.entries[i].size = (uint32_t)disk->entries[i].payload->size;
        if (!with_payloads && disk->entries[i].type != RAFT_CHANGE)
            start.entries[i].payload = NULL;
    }
    int r = ms_engine_new(config, now_ms, &start, ret_engine);
    free(start.entries);
    return r;
}
